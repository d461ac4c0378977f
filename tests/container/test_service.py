import json
from typing import Any

import pytest

from container.bodies import TooManyRowsError
from container.events import encode_response
from container.handler import STATUS, BundleHandler, BusyError, make_handler
from container.service import LONGEST_REFUSAL_BYTES, BundleService
from container.settings import Settings
from interface.bridge import Answer
from model.errors import MAX_FAULTS, Fault, InputError
from tests.conftest import Packed, in_memory

RESULTS = "edgexgb/results"


@pytest.fixture(scope="module")
def service(multiclass: Packed) -> BundleService:
    """The wine bundle on the bus, with messages of 6 KiB."""
    return BundleService(make_handler(multiclass.bundle, Settings(max_reply_bytes=6144)), RESULTS)


def request(rows: object, **envelope: object) -> bytes:
    return json.dumps({"records": rows, **envelope}).encode()


def test_each_reply_goes_where_its_request_wants_it(
    multiclass: Packed, service: BundleService
) -> None:
    """To the result topic, or one under it (requests 8.1)."""
    rows = multiclass.rows
    answers = service.answer(
        [
            request(rows[:2], id="a"),
            request(rows[2:3], id="b", replyTo=f"{RESULTS}/me"),
            b"\xff",
            request(rows[3:4]),
        ]
    )
    assert [answer.topic for answer in answers] == [RESULTS, f"{RESULTS}/me", RESULTS, RESULTS]
    replies = [json.loads(answer.payload) for answer in answers]
    assert [reply.get("id") for reply in replies] == ["a", "b", None, None]
    labels, _ = in_memory(multiclass, multiclass.frame)
    good = [replies[0], replies[1], replies[3]]
    assert [label for it in good for label in it["body"]["predictions"]] == labels[:4]
    assert replies[2]["body"]["error"]["code"] == "malformed_request"


@pytest.mark.parametrize(
    ("reply_to", "text"),
    [
        ("elsewhere", "replyTo: got 'elsewhere', expected a topic under edgexgb/results/"),
        ("edgexgb/results/+", "replyTo: got 'edgexgb/results/+', expected a topic under"),
        ("edgexgb/results/", "replyTo: got 'edgexgb/results/', expected a topic under"),
        ("edgexgb/resultsX/a", "replyTo: got 'edgexgb/resultsX/a', expected a topic under"),
        (f"{RESULTS}/{'a' * 300}", "replyTo: got a topic of 316 characters, expected at most 256"),
        (5, "replyTo: got 5, expected a topic"),
    ],
)
def test_reply_topic_elsewhere_is_refused_at_the_result_topic(
    reply_to: Any, text: str, multiclass: Packed, service: BundleService
) -> None:
    """Else whoever may ask could have us write to any topic that we may write to."""
    (answer,) = service.answer([request(multiclass.rows[:1], id=1, replyTo=reply_to)])
    reply = json.loads(answer.payload)
    assert (answer.topic, reply["id"], reply["statusCode"]) == (RESULTS, 1, 400)
    assert reply["body"]["error"]["message"].startswith(text)


def test_busy_reply_goes_where_the_request_wants_it(service: BundleService) -> None:
    """With the time after which to come back."""
    answer = service.refuse(request([], id="a", replyTo=f"{RESULTS}/me"), 70)
    reply = json.loads(answer.payload)
    assert (answer.topic, reply["id"], reply["statusCode"]) == (f"{RESULTS}/me", "a", 429)
    assert reply["body"]["error"]["retryAfterMs"] == 70


def test_request_whose_reply_would_not_fit_says_how_many_rows_would(
    multiclass: Packed, service: BundleService
) -> None:
    """And that many do fit (requests 8.3)."""
    rows = list(multiclass.rows)
    (answer,) = service.answer([request(rows, id="a")])
    error = json.loads(answer.payload)["body"]["error"]
    assert error["code"] == "too_many_rows"
    (answer,) = service.answer([request(rows[: error["maxRows"]], id="a")])
    assert json.loads(answer.payload)["statusCode"] == 200
    assert len(answer.payload) <= 6144


def test_refusal_that_is_too_long_loses_details_then_its_text(service: BundleService) -> None:
    """Its code is the last to go."""
    (answer,) = service.answer([request([{f"no-such-{i}-{'x' * 60}": 1 for i in range(40)}])])
    assert len(answer.payload) > 2500
    full = json.loads(answer.payload)["body"]["error"]
    cut = service.too_large(answer, 2500)
    error = json.loads(cut.payload)["body"]["error"]
    assert len(cut.payload) <= 2500
    assert 0 < len(error["details"]) < len(full["details"])
    assert error["message"] == full["message"]
    least = json.loads(service.too_large(answer, 150).payload)
    assert least["statusCode"] == 400
    assert least["body"]["error"] == {
        "code": "missing_feature",
        "message": "the text is longer than a message may be",
        "details": [],
    }


@pytest.mark.parametrize(
    "context", [{"elb": {}}, {"http": {}}, {"resourcePath": "/"}], ids=["alb", "http", "rest"]
)
def test_refusal_of_http_that_is_too_long_gives_up_its_details(
    service: BundleService, context: dict[str, Any]
) -> None:
    """Anybody who may ask can send such an event; it must not be the component's end."""
    body = json.dumps([{f"no-such-{i}-{'x' * 60}": 1 for i in range(40)}])
    (answer,) = service.answer([json.dumps({"requestContext": context, "body": body}).encode()])
    assert len(answer.payload) > 2500
    cut = service.too_large(answer, 2500)
    assert len(cut.payload) <= 2500
    reply = json.loads(cut.payload)
    assert reply["statusCode"] == 400
    assert 0 < len(json.loads(reply["body"])["error"]["details"]) < 20


def test_good_reply_that_is_too_long_becomes_an_error(service: BundleService) -> None:
    """The bus would close the connection over it."""
    payload = json.dumps({"id": 5, "statusCode": 200, "body": {"predictions": [0] * 500}}).encode()
    found = service.too_large(Answer("a/b", payload), 1000)
    assert found.topic == "a/b"
    reply = json.loads(found.payload)
    assert (reply["id"], reply["statusCode"]) == (5, 413)
    text = f"reply: got {len(payload)} bytes, expected at most 1000"
    assert reply["body"]["error"] == {"code": "too_many_rows", "message": text, "details": []}


LONGEST_ID = "\U0001f332" * 256
MOST = 10**18 - 1
"""The largest number that the environment and the configuration take."""


def refusals(handler: BundleHandler, event: dict[str, Any]) -> list[Answer]:
    """One of each code with all details that there can be, and those that carry a number."""
    faults = [Fault("", "records[0].hue", "x" * 300, "y" * 300)] * MAX_FAULTS
    errors: list[InputError | BusyError] = [
        InputError([fault._replace(code=code) for fault in faults])
        for code in STATUS
        if code != "busy"
    ]
    errors += [TooManyRowsError(MOST, MOST, "fewer"), BusyError(MOST)]
    found = [handler.refuse(json.dumps(event).encode(), error) for error in errors]
    return [Answer(RESULTS, encode_response(it.response).encode(), it.kind) for it in found]


@pytest.mark.parametrize(
    "context",
    [{"http": {}}, {"httpMethod": "POST"}, {"elb": {}}],
    ids=["http", "rest", "alb"],
)
def test_refusal_of_http_fits_the_shortest_message(
    service: BundleService, multiclass: Packed, context: dict[str, Any]
) -> None:
    """It has no `id`, which is most of the longest of the direct ones."""
    handler = make_handler(multiclass.bundle, Settings())
    event = {"requestContext": context, "multiValueHeaders": {}, "id": LONGEST_ID}
    for answer in refusals(handler, event):
        assert len(service.too_large(answer, 1).payload) < 500 < LONGEST_REFUSAL_BYTES


@pytest.mark.parametrize("event", [{"records": []}, {"op": "health"}], ids=["rows", "health"])
def test_longest_refusal_fits_the_shortest_message_exactly(
    service: BundleService, multiclass: Packed, event: dict[str, Any]
) -> None:
    """Else there would be requests without a reply, whatever the bus takes (requests 8.3)."""
    answers = refusals(make_handler(multiclass.bundle, Settings()), {**event, "id": LONGEST_ID})
    assert all(len(answer.payload) > 3000 for answer in answers)
    least = [service.too_large(answer, 1) for answer in answers]
    assert max(len(answer.payload) for answer in least) == LONGEST_REFUSAL_BYTES
    cut = [service.too_large(answer, LONGEST_REFUSAL_BYTES) for answer in answers]
    assert all(len(answer.payload) <= LONGEST_REFUSAL_BYTES for answer in cut)
    errors = [json.loads(answer.payload) for answer in cut]
    assert [it["body"]["error"]["code"] for it in errors] == [it.kind for it in answers]
    assert all(it["id"] == LONGEST_ID for it in errors)


def test_good_reply_with_the_longest_id_that_is_too_long_fits_as_a_refusal(
    multiclass: Packed,
) -> None:
    """And so does what is said about health, where a message has no room for that."""
    service = BundleService(make_handler(multiclass.bundle, Settings()), RESULTS)
    for event in (request(multiclass.rows[:40], id=LONGEST_ID), health_request(LONGEST_ID)):
        (answer,) = service.answer([event])
        assert answer.kind in {"", "health"}
        cut = service.too_large(answer, LONGEST_REFUSAL_BYTES)
        assert len(cut.payload) <= LONGEST_REFUSAL_BYTES
        assert json.loads(cut.payload)["statusCode"] == 413


@pytest.mark.parametrize("id_", ["a", LONGEST_ID], ids=["short", "longest"])
def test_as_many_rows_as_a_refusal_names_are_served_whatever_the_id(
    service: BundleService, multiclass: Packed, id_: str
) -> None:
    """It is part of the reply, too (requests 7.3)."""
    rows = list(multiclass.rows)
    (answer,) = service.answer([request(rows, id=id_)])
    most = json.loads(answer.payload)["body"]["error"]["maxRows"]
    (answer,) = service.answer([request(rows[:most], id=id_)])
    assert json.loads(answer.payload)["statusCode"] == 200
    assert len(answer.payload) <= 6144


def health_request(id_: str) -> bytes:
    return json.dumps({"op": "health", "id": id_}).encode()


def test_adopted_handler_and_topic_serve_from_then_on(multiclass: Packed, binary: Packed) -> None:
    """As the configuration has it after a change."""
    service = BundleService(make_handler(multiclass.bundle, Settings()), RESULTS)
    service.adopt(make_handler(binary.bundle, Settings()), "other")
    (answer,) = service.answer([request(binary.rows[:1])])
    assert answer.topic == "other"
    assert json.loads(answer.payload)["body"]["model"]["name"] == "breast-cancer"


@pytest.mark.parametrize(
    ("payload", "is_urgent"),
    [
        (b'{"op": "health"}', True),
        (b'{"id":7,"replyTo":"edgexgb/results/me","deadlineMs":1,"op":"no such"}', True),
        (b'{"op": "health"}'.ljust(1024), True),
        (b'{"op": "health"}'.ljust(1025), False),
        (b'{"op": "health", "records": []}', False),
        (b'{"op": 5, "hue": 1}', False),
        (b'{"records": [{"op": 5}]}', False),
        (b'{"hue": "op"}', False),
        (b'["op"]', False),
        (b'"op"', False),
        (b'{"op"', False),
        (b"[" * 1000 + b'"op"', False),
        (b'\xff"op"', False),
        (b"", False),
    ],
)
def test_only_a_question_about_the_service_itself_is_urgent(
    service: BundleService, payload: bytes, is_urgent: bool
) -> None:
    """Rows wait their turn, whatever their names are (requests 9.3)."""
    assert service.is_urgent(payload) == is_urgent


def test_answers_are_of_the_kind_of_their_error(multiclass: Packed, service: BundleService) -> None:
    """So that they are counted by it."""
    row = list(multiclass.rows[:1])
    answers = service.answer(
        [
            request(row),
            request(row, replyTo="elsewhere"),
            request([{"hue": "acid"}]),
            request([]),
            b'{"op":"health"}',
        ]
    )
    kinds = ["", "malformed_request", "missing_feature", "no_rows", "health"]
    assert [answer.kind for answer in answers] == kinds
    assert service.refuse(request(row), 70).kind == "busy"
    assert service.too_large(answers[2], 150).kind == "missing_feature"
    assert service.too_large(answers[0], 150).kind == "too_many_rows"
