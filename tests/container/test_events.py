import base64
import json
from typing import Any

import pytest

from container.bodies import CSV_TYPE, Query
from container.events import (
    Door,
    ReplyShape,
    decode_event,
    error_body,
    is_enveloped,
    parse_query,
    recognise,
)
from container.settings import Settings
from model.bundle import Bundle, Prediction
from model.errors import Fault, InputError
from model.features import Table
from tests.conftest import Packed
from tests.container.conftest import ALB_FORMS, FORMS, Event, http_event

ROWS = [{"size": 1.5}]
TEXT = json.dumps({"records": ROWS})
ENCODED = base64.b64encode(TEXT.encode()).decode()


def query_of(event: object, **limits: Any) -> Query:
    return parse_query(event, recognise(event), Settings(**limits))


def refusal(event: object, **limits: Any) -> str:
    """Code and text with which an event is refused."""
    with pytest.raises(InputError) as caught:
        query_of(event, **limits)
    assert caught.value.total == 1
    return f"{caught.value.code}: {caught.value}"


# --- bytes ----------------------------------------------------------------------------------------


def test_event_that_is_parsed_already_is_left_as_it_is() -> None:
    """Other runtimes parse events themselves."""
    event = {"records": ROWS}
    assert decode_event(event, Settings(max_request_bytes=1)) is event


def test_bytes_of_an_event_are_parsed() -> None:
    """Up to the limit, which counts bytes."""
    content = TEXT.encode()
    assert decode_event(content, Settings(max_request_bytes=len(content))) == {"records": ROWS}


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "malformed_request: event: got an empty event, expected JSON with rows"),
        (b" \n", "malformed_request: event: got an empty event, expected JSON with rows"),
        (b"[\xff]", "malformed_request: event: got the byte 0xff at offset 1, expected UTF-8"),
        (
            b"[",
            "malformed_request: event: got text that is no JSON at line 1 column 2 "
            "(Expecting value), expected JSON",
        ),
        (
            b'{"a": 1, "a": 2}',
            "malformed_request: event: got the key 'a' twice, expected each key once in an object",
        ),
        (
            b"x" * 101,
            "request_too_large: event: got more than 100 bytes, expected at most 100",
        ),
    ],
)
def test_bytes_that_are_no_event_are_refused(content: bytes, text: str) -> None:
    """Before anything is known of it, the place is the event itself (requests 4.3)."""
    with pytest.raises(InputError) as caught:
        decode_event(content, Settings(max_request_bytes=100))
    assert f"{caught.value.code}: {caught.value}" == text


# --- doors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_http_event_is_recognised_by_its_service(form: str) -> None:
    """By marks that only that service sets (requests 4.1)."""
    door = recognise(http_event(form, TEXT))
    assert door.form == ("alb" if form in ALB_FORMS else "api-gateway")
    assert door.multi_value_headers == (form == "alb-multi-value")
    assert (door.id, door.deadline_ms) == (None, None)


@pytest.mark.parametrize(
    "event",
    [
        None,
        5,
        "text",
        [],
        ROWS,
        {"size": 1},
        {"body": TEXT},
        {"body": TEXT, "headers": {"content-type": CSV_TYPE}},
        {"requestContext": None, "body": TEXT},
        {"requestContext": {}, "records": ROWS},
        {"requestContext": 5},
        {"httpMethod": 1, "path": 2},
    ],
)
def test_other_event_is_direct(event: object) -> None:
    """A `body` alone does not make an event HTTP; it may even be a feature's name."""
    assert recognise(event) == Door()


@pytest.mark.parametrize("id_", ["a", "", 5, 0, -1, None])
def test_envelope_is_read_beside_the_rows(id_: Any) -> None:
    """Beside records, a body, or columns and data (requests 5.1)."""
    forms: list[Event] = [{"records": []}, {"body": "[]"}, {"columns": [], "data": []}]
    for rows in forms:
        door = recognise({**rows, "id": id_, "deadlineMs": 1.5, "replyTo": "a/b"})
        assert door == Door(id=id_, deadline_ms=1.5, reply_to="a/b")


def test_envelope_of_a_bare_row_is_its_features() -> None:
    """A row's own field may be called `id` (requests 1.5)."""
    assert recognise({"id": "x", "deadlineMs": "y"}) == Door()
    assert not is_enveloped({"id": 1, "columns": 2})
    assert is_enveloped({"columns": 1, "data": 2})


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("id", 1.5, "id: got 1.5, expected text or a whole number"),
        ("id", True, "id: got true, expected text or a whole number"),
        ("id", [], "id: got a list of 0, expected text or a whole number"),
        ("id", "x" * 257, "id: got text of 257 characters, expected at most 256"),
        ("id", 2**64, "id: got 18446744073709551616, expected at most 64 bits"),
        ("replyTo", 5, "replyTo: got 5, expected a topic"),
        ("deadlineMs", "5", "deadlineMs: got '5', expected milliseconds since 1970"),
        ("deadlineMs", True, "deadlineMs: got true, expected milliseconds since 1970"),
        (
            "deadlineMs",
            {},
            "deadlineMs: got an object of 0 fields, expected milliseconds since 1970",
        ),
    ],
)
def test_envelope_of_a_wrong_type_is_a_fault(field: str, value: Any, text: str) -> None:
    """It could not be honoured; the fields that can be are kept, so that the answer arrives."""
    good = {"id": "a", "replyTo": "topic/b", "deadlineMs": 5.0}
    door = recognise({"records": ROWS, **good, field: value})
    assert door.fault is not None
    assert f"{door.fault.code}: {door.fault}" == f"malformed_request: {text}"
    wanted = {**good, field: None}
    assert {"id": door.id, "replyTo": door.reply_to, "deadlineMs": door.deadline_ms} == wanted


# --- queries --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_base64", [False, True])
def test_http_event_gives_its_rows(form: str, is_base64: bool) -> None:
    """Text or base64, from any service."""
    event = http_event(form, ENCODED if is_base64 else TEXT, is_base64=is_base64)
    assert query_of(event) == Query(rows=ROWS)


@pytest.mark.parametrize("form", [name for name in FORMS if name != "api-gateway-rest-console"])
def test_csv_in_an_http_event_gives_its_rows(form: str) -> None:
    """The header of any spelling, in the map of either form, says what the body is."""
    query = query_of(http_event(form, "size\n1.5\n", "Text/CSV; charset=UTF-8"))
    assert isinstance(query.rows, Table)
    assert (query.rows.columns, query.rows.rows) == (["size"], [["1.5"]])


@pytest.mark.parametrize("form", FORMS)
def test_query_string_gives_options(form: str) -> None:
    """Of several values the last counts, whichever map the service sends."""
    query = query_of(http_event(form, TEXT, query={"topK": "2", "threshold": "0.25", "x": "y"}))
    assert (query.top_k, query.threshold) == (2, 0.25)


@pytest.mark.parametrize("form", FORMS)
def test_http_event_without_content_type_is_json(form: str) -> None:
    """As most callers mean it (requests 3.1)."""
    assert query_of(http_event(form, TEXT, None)) == Query(rows=ROWS)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("way", ["absent", "null", "empty"])
def test_http_event_without_body_is_malformed(form: str, way: str) -> None:
    """Payload format 2.0 leaves the key out, others send null."""
    event = http_event(form, "" if way == "empty" else None)
    if way == "absent":
        del event["body"]
    assert refusal(event) == (
        "malformed_request: body: got an empty body, expected JSON or CSV with rows"
    )


@pytest.mark.parametrize("form", FORMS)
def test_header_maps_may_be_null_or_nonsense(form: str) -> None:
    """The console of API Gateway sends null; nothing else is worth an error either."""
    nonsense: list[Any] = [None, [], 5, {}, {"content-type": None}, {"content-type": []}]
    for nothing in nonsense:
        event = http_event(form, TEXT)
        event.update(headers=nothing, multiValueHeaders=nothing)
        event.update(queryStringParameters=nothing, multiValueQueryStringParameters=nothing)
        assert query_of(event) == Query(rows=ROWS)


@pytest.mark.parametrize(
    "event",
    [
        {"body": TEXT},
        {"body": TEXT, "isBase64Encoded": False},
        {"body": TEXT, "isBase64Encoded": None},
        {"body": {"records": ROWS}},
        {"body": ROWS},
        {"body": {"size": 1.5}},
        {"body": ENCODED, "isBase64Encoded": True},
        {"body": TEXT, "headers": {"Content-Type": "application/json"}},
        {"body": TEXT, "headers": None},
        {"body": TEXT, "id": "a", "replyTo": "b/c", "deadlineMs": 1},
    ],
)
def test_wrapped_event_gives_its_rows(event: Event) -> None:
    """The body as text, base64 or JSON value; the flag may be absent (requests 4.2)."""
    assert query_of(event) == Query(rows=ROWS)


def test_wrapped_event_may_be_csv() -> None:
    """Its headers say so."""
    query = query_of({"body": "size\n1.5\n", "headers": {"content-type": "text/csv"}})
    assert isinstance(query.rows, Table)


def test_options_may_stand_beside_a_body() -> None:
    """Inside the body they win (requests 2.1)."""
    query = query_of({"body": TEXT, "topK": 1, "threshold": 0.5})
    assert (query.top_k, query.threshold) == (1, 0.5)
    assert query_of({"body": json.dumps({"records": [], "topK": 2}), "topK": 1}).top_k == 2


def test_unknown_field_beside_a_body_is_malformed() -> None:
    """A misspelt option is not passed over in silence."""
    assert refusal({"body": TEXT, "isBase64encoded": True}) == (
        "malformed_request: event: got the unknown field 'isBase64encoded', expected body with "
        "deadlineMs, headers, id, isBase64Encoded, replyTo, threshold, topK and nothing else"
    )


@pytest.mark.parametrize(
    ("value", "words"), [("true", "'true'"), (1, "1"), ({}, "an object of 0 fields")]
)
def test_base64_flag_of_a_wrong_type_is_malformed(value: Any, words: str) -> None:
    """`"false"` would otherwise be true."""
    assert refusal({"body": TEXT, "isBase64Encoded": value}) == (
        f"malformed_request: isBase64Encoded: got {words}, expected true or false"
    )


@pytest.mark.parametrize(
    ("event", "rows"),
    [
        ({"records": ROWS, "id": 1, "replyTo": "a", "deadlineMs": 5}, ROWS),
        ({"columns": ["a"], "data": [[1]], "id": "x"}, Table(["a"], [[1]])),
        (ROWS, ROWS),
        ({"size": 1.5}, ROWS),
        ({"id": 5, "size": 1.5}, [{"id": 5, "size": 1.5}]),
        ({"records": [{"body": 1}]}, [{"body": 1}]),
    ],
)
def test_direct_event_gives_its_rows(event: object, rows: Any) -> None:
    """Without the envelope's fields where it has one (requests 1.5)."""
    assert query_of(event) == Query(rows=rows)


@pytest.mark.parametrize(
    ("event", "words"),
    [(None, "null"), (5, "5"), ("[]", "'[]'"), (True, "true"), (1.5, "1.5")],
)
def test_event_without_rows_is_malformed(event: object, words: str) -> None:
    """The forms are listed."""
    assert refusal(event) == (
        f"malformed_request: event: got {words}, expected an object with records, "
        "columns and data, or body; a list of rows, or one row"
    )


@pytest.mark.parametrize(
    "event",
    [
        {"records": ROWS * 4},
        {"body": json.dumps(ROWS * 4)},
        {"columns": ["a"], "data": [[1]] * 4},
        ROWS * 4,
        http_event("http-api-2.0", json.dumps(ROWS * 4)),
        http_event("alb", "a\n1\n2\n3\n4\n", CSV_TYPE),
    ],
)
def test_more_rows_than_the_limit_are_too_many(event: object) -> None:
    """Counted in each form, before a single one is read (requests 7.1)."""
    assert query_of(event, max_rows=4).n_rows == 4
    assert refusal(event, max_rows=3) == ("too_many_rows: records: got 4 rows, expected at most 3")


# --- responses ------------------------------------------------------------------------------------


def test_direct_response_is_a_status_and_a_value() -> None:
    """The id is there where the request had one (requests 5.1)."""
    assert Door().respond(200, {"a": 1}) == {"statusCode": 200, "body": {"a": 1}}
    assert Door(id=0).respond(400, {}) == {"id": 0, "statusCode": 400, "body": {}}
    assert Door(id="").respond(400, {}) == {"id": "", "statusCode": 400, "body": {}}


def test_http_response_is_a_status_headers_and_text() -> None:
    """As API Gateway and function URLs want it."""
    assert Door(form="api-gateway").respond(200, {"a": [0.5, "ü"]}) == {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": '{"a":[0.5,"\\u00fc"]}',
        "isBase64Encoded": False,
    }


def test_alb_response_has_a_description_and_headers_as_they_came() -> None:
    """As lists where the target group sends lists."""
    assert Door(form="alb").respond(413, {}) == {
        "statusCode": 413,
        "statusDescription": "413 Content Too Large",
        "headers": {"content-type": "application/json"},
        "body": "{}",
        "isBase64Encoded": False,
    }
    found = Door(form="alb", multi_value_headers=True).respond(200, {})
    assert found == {
        "statusCode": 200,
        "statusDescription": "200 OK",
        "multiValueHeaders": {"content-type": ["application/json"]},
        "body": "{}",
        "isBase64Encoded": False,
    }


@pytest.mark.parametrize(("wait_ms", "wait_s"), [(1, "1"), (1000, "1"), (1001, "2"), (0, "1")])
def test_busy_http_response_says_when_to_come_back(wait_ms: int, wait_s: str) -> None:
    """The header counts whole seconds, rounded up."""
    body = {"error": {"retryAfterMs": wait_ms}}
    found = Door(form="api-gateway").respond(429, body)
    assert found["headers"]["retry-after"] == wait_s
    found = Door(form="alb", multi_value_headers=True).respond(429, body)
    assert found["multiValueHeaders"]["retry-after"] == [wait_s]


# --- answers --------------------------------------------------------------------------------------


def test_answer_of_a_regression_is_numbers(regression: Packed) -> None:
    """With the model's name and version (requests 6.1)."""
    shape = ReplyShape(regression.bundle)
    assert shape.body(Prediction([1.5, 2.5]), Query(rows=[])) == {
        "model": {"name": "diabetes", "version": "1.0.0"},
        "predictions": [1.5, 2.5],
    }


def test_answer_of_a_classification_has_all_probabilities(multiclass: Packed) -> None:
    """Beside the labels in their order (requests 6.2)."""
    prediction = Prediction(["barolo"], [[0.5, 0.25, 0.25]])
    assert ReplyShape(multiclass.bundle).body(prediction, Query(rows=[])) == {
        "model": {"name": "wine", "version": "1.2.3"},
        "predictions": ["barolo"],
        "labels": ["barolo", "grignolino", "barbera"],
        "probabilities": [[0.5, 0.25, 0.25]],
    }


@pytest.mark.parametrize(
    ("top_k", "likeliest"),
    [
        (1, ["barbera"]),
        (2, ["barbera", "barolo"]),
        (3, ["barbera", "barolo", "grignolino"]),
        (99, ["barbera", "barolo", "grignolino"]),
    ],
)
def test_top_k_lists_the_likeliest_labels(
    multiclass: Packed, top_k: int, likeliest: list[str]
) -> None:
    """Of equals the first, and no more than there are (requests 6.2)."""
    values = {"barolo": 0.25, "grignolino": 0.25, "barbera": 0.5}
    prediction = Prediction(["barbera"], [list(values.values())])
    body = ReplyShape(multiclass.bundle).body(prediction, Query(rows=[], top_k=top_k))
    assert body == {
        "model": {"name": "wine", "version": "1.2.3"},
        "predictions": ["barbera"],
        "topK": [[{"label": name, "probability": values[name]} for name in likeliest]],
    }


@pytest.mark.parametrize(
    ("name", "query", "text"),
    [
        (
            "regression",
            Query(rows=[], top_k=2),
            "topK: got 2, expected no topK: the model gives no probabilities",
        ),
        (
            "regression",
            Query(rows=[], top_k=10**4000),
            "topK: got an integer of 13288 bits, expected no topK: "
            "the model gives no probabilities",
        ),
        (
            "regression",
            Query(rows=[], threshold=0.5),
            "threshold: got 0.5, expected no threshold: the task is regression",
        ),
        (
            "multiclass",
            Query(rows=[], threshold=0.5),
            "threshold: got 0.5, expected no threshold: the task is multiclass",
        ),
    ],
)
def test_option_without_a_meaning_for_the_task_is_malformed(
    name: str, query: Query, text: str, request: pytest.FixtureRequest
) -> None:
    """An option that changes nothing would only seem to work (requests 2.1)."""
    packed: Packed = request.getfixturevalue(name)
    with pytest.raises(InputError) as caught:
        ReplyShape(packed.bundle).check(query, 10**6)
    assert f"{caught.value.code}: {caught.value}" == f"malformed_request: {text}"


@pytest.mark.parametrize("name", ["regression", "binary", "multiclass"])
@pytest.mark.parametrize("top_k", [None, 1, 2])
def test_reply_at_the_limit_of_rows_stays_under_its_bytes(
    name: str, top_k: int | None, request: pytest.FixtureRequest
) -> None:
    """The estimate is never below the truth, however long the numbers are written."""
    packed: Packed = request.getfixturevalue(name)
    labels = packed.manifest.labels
    if not labels and top_k:
        return
    _check_estimate(packed.bundle, top_k)


@pytest.mark.parametrize("letter", ["я", '"', "\\", "x", "\n"])
@pytest.mark.parametrize("top_k", [None, 1])
def test_reply_with_labels_that_are_escaped_stays_under_its_bytes(
    binary: Packed, letter: str, top_k: int | None
) -> None:
    """An HTTP answer holds JSON text inside JSON text, where a letter may take seven bytes."""
    manifest = binary.manifest._replace(labels=("a", letter * 60))
    _check_estimate(Bundle(manifest, "digest", list, binary.bundle._engine), top_k)


def test_reply_with_many_labels_stays_under_its_bytes(binary: Packed) -> None:
    """They stand in it once, beside the rows, of which there are few here."""
    labels = tuple(f"{i}-{'x' * 60}" for i in range(50))
    manifest = binary.manifest._replace(labels=labels)
    _check_estimate(Bundle(manifest, "digest", list, binary.bundle._engine), None, 15_000, 2)


def _check_estimate(
    bundle: Bundle, top_k: int | None, limit: int = 100_000, least: int = 20
) -> None:
    ids = ("\U0001f332" * 256, '"' * 256, "\x00" * 256)
    for door in (Door(form="alb"), *(Door(id=it) for it in ids)):
        _check_estimate_at(door, bundle, top_k, limit, least)


def _check_estimate_at(
    door: Door, bundle: Bundle, top_k: int | None, limit: int, least: int
) -> None:
    shape, labels = ReplyShape(bundle), bundle.manifest.labels

    def fits(n_rows: int) -> bool:
        try:
            shape.check(Query(rows=[{}] * n_rows, top_k=top_k), limit, door.id)
        except InputError:
            return False
        return True

    most = max(n for n in range(1, 5000) if fits(n))
    long = -1.1754943508222875e-38  # as many letters as a float32 takes
    prediction = Prediction(
        [max(labels, key=lambda label: len(str(label)), default=long)] * most,
        [[long] * len(labels)] * most if labels else None,
    )
    body = shape.body(prediction, Query(rows=[{}] * most, top_k=top_k))
    assert len(json.dumps(door.respond(200, body), separators=(",", ":"))) <= limit
    assert most > least


def test_more_rows_than_a_reply_can_hold_are_too_many(regression: Packed) -> None:
    """Lambda would drop the reply; a refusal beforehand tells how many fit."""
    shape = ReplyShape(regression.bundle)
    with pytest.raises(InputError) as caught:
        shape.check(Query(rows=[{}] * 11), 1024 + 26 * 10)
    assert f"{caught.value.code}: {caught.value}" == (
        "too_many_rows: records: got 11 rows, "
        "expected at most 10, whose reply stays under 1284 bytes"
    )
    shape.check(Query(rows=[{}] * 10), 1024 + 26 * 10)
    shape.check(Query(rows=[{}]), 1)


def test_error_body_lists_each_fault() -> None:
    """Code and text of the first, and all in their parts (requests 7.1)."""
    faults = [Fault("no_rows", "a", "b", "c"), Fault("not_a_number", "d", "e", "f")]
    assert error_body(InputError(faults, total=7)) == {
        "error": {
            "code": "no_rows",
            "message": "a: got b, expected c (and 6 more)",
            "details": [
                {"code": "no_rows", "place": "a", "observed": "b", "expected": "c"},
                {"code": "not_a_number", "place": "d", "observed": "e", "expected": "f"},
            ],
        }
    }
