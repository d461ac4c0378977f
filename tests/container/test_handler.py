import base64
import json
import logging
import math
import re
import time
from array import array
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import example, given
from hypothesis import strategies as st

from container.bodies import CSV_TYPE
from container.handler import STATUS, BundleHandler, BusyError, make_handler
from container.settings import Settings
from model.bundle import Bundle
from model.engine import Engine
from tests.conftest import ANSWERS, CULTIVARS, Packed, Packer, bits, in_memory
from tests.container.conftest import ALB_FORMS, FORMS, Answer, Event, http_event

GOOD = {"colour": "red", "grade": 10, "active": True, "count": 7, "size": 0.5}
WITH_HEADERS = [form for form in FORMS if form != "api-gateway-rest-console"]


def code_of(answer: dict[str, Any]) -> tuple[int, str]:
    """Status and code of a refusal, whichever form it has."""
    body = answer["body"]
    body = json.loads(body) if isinstance(body, str) else body
    return answer["statusCode"], body["error"]["code"]


def fault(code: str, place: str, observed: str, expected: str) -> dict[str, Any]:
    """The body of a refusal for a single fault."""
    detail = {"code": code, "place": place, "observed": observed, "expected": expected}
    message = f"{place}: got {observed}, expected {expected}"
    return {"error": {"code": code, "message": message, "details": [detail]}}


def too_many(n_rows: int, expected: str, *, max_rows: int) -> dict[str, Any]:
    """The body of a refusal that says how many rows would do."""
    body = fault("too_many_rows", "records", f"{n_rows} rows", expected)
    body["error"]["maxRows"] = max_rows
    return body


def base64_of(content: bytes) -> str:
    return base64.b64encode(content).decode()


# --- every form, with the predictions of the object in memory -------------------------------------


def split(rows: Any) -> Event:
    names = list(rows[0])
    return {"columns": names, "data": [[row[name] for name in names] for row in rows]}


def csv_of(rows: Any) -> str:
    """The rows as pandas would write them: an empty cell is a missing value."""
    lines = [list(rows[0])]
    lines += [["" if value is None else str(value) for value in row.values()] for row in rows]
    return "".join(f"{','.join(cells)}\r\n" for cells in lines)


def direct_events(rows: Any) -> dict[str, Any]:
    """The same rows in every direct and wrapped form."""
    text = json.dumps({"records": rows})
    turned = [dict(reversed(row.items())) for row in rows]
    return {
        "records": {"records": rows},
        "list": rows,
        "split": split(rows),
        "split with an index": {**split(rows), "index": list(range(len(rows)))},
        "turned columns": turned,
        "turned split": split(turned),
        "body as text": {"body": text},
        "body as a value": {"body": {"records": rows}},
        "body as a list": {"body": rows},
        "body as split text": {"body": json.dumps(split(rows))},
        "flag": {"body": text, "isBase64Encoded": False},
        "base64": {"body": base64_of(text.encode()), "isBase64Encoded": True},
        "CSV": {"body": csv_of(rows), "headers": {"Content-Type": CSV_TYPE}},
        "CSV with a byte order mark": {
            "body": "\ufeff" + csv_of(turned),
            "headers": {"content-type": "text/csv; charset=utf-8"},
        },
        "CSV in base64": {
            "body": base64_of(csv_of(rows).encode("utf-8-sig")),
            "isBase64Encoded": True,
            "headers": {"content-type": CSV_TYPE},
        },
    }


def assert_predictions(body: Any, packed: Packed) -> None:
    """The body holds what the object in memory predicts for all sample rows, to the last bit."""
    manifest = packed.manifest
    assert body["model"] == {"name": manifest.name, "version": manifest.version}
    predictions, probabilities = in_memory(packed, packed.frame)
    if probabilities is None:
        assert set(body) == {"model", "predictions"}
        assert bits(body["predictions"]) == bits(predictions)
    else:
        assert set(body) == {"model", "predictions", "labels", "probabilities"}
        assert body["labels"] == list(manifest.labels)
        assert body["predictions"] == predictions
        assert bits(body["probabilities"]) == bits(probabilities)


@pytest.mark.parametrize("as_bytes", [False, True], ids=["parsed", "bytes"])
@pytest.mark.parametrize("form", list(direct_events([GOOD])))
@pytest.mark.parametrize("name", ["mixed", "multiclass", "regression"])
def test_rows_in_any_direct_form_are_predicted(
    name: str, form: str, as_bytes: bool, request: pytest.FixtureRequest
) -> None:
    """Bit for bit, whether the runtime parsed the event or not (requests 1.1, 3, 4)."""
    packed: Packed = request.getfixturevalue(name)
    event = direct_events(packed.rows)[form]
    answer: Answer = make_handler(packed.bundle, Settings())
    found = answer(json.dumps(event).encode() if as_bytes else event, None)
    assert set(found) == {"statusCode", "body"}
    assert found["statusCode"] == 200
    assert_predictions(found["body"], packed)


@pytest.mark.parametrize("name", ["mixed", "multiclass", "regression"])
def test_one_bare_row_is_predicted(name: str, request: pytest.FixtureRequest) -> None:
    """The shortest form of all."""
    packed: Packed = request.getfixturevalue(name)
    answer: Answer = make_handler(packed.bundle, Settings())
    whole = answer(packed.rows, None)["body"]
    for i in range(0, len(packed.rows), 10):
        alone = answer(packed.rows[i], None)["body"]
        assert alone["predictions"] == whole["predictions"][i : i + 1]
        if "probabilities" in whole:
            assert bits(alone["probabilities"]) == bits(whole["probabilities"][i : i + 1])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("is_base64", [False, True], ids=["text", "base64"])
def test_rows_in_any_http_form_are_predicted(
    form: str, is_base64: bool, mixed: Packed, mixed_answer: Answer
) -> None:
    """The answer is the one that its service wants, with the same bits in its text."""
    text = json.dumps({"records": mixed.rows})
    body = base64_of(text.encode()) if is_base64 else text
    found = mixed_answer(http_event(form, body, is_base64=is_base64), None)
    headers = "multiValueHeaders" if form == "alb-multi-value" else "headers"
    description = {"statusDescription"} if form in ALB_FORMS else set()
    assert set(found) == {"statusCode", headers, "body", "isBase64Encoded"} | description
    assert found["statusCode"] == 200
    assert found["isBase64Encoded"] is False
    json_type: Any = "application/json"
    assert found[headers] == {
        "content-type": [json_type] if headers == "multiValueHeaders" else json_type
    }
    assert_predictions(json.loads(found["body"]), mixed)


@pytest.mark.parametrize("form", WITH_HEADERS)
def test_csv_in_any_http_form_is_predicted(form: str, mixed: Packed, mixed_answer: Answer) -> None:
    """With the service's own spelling of its headers."""
    found = mixed_answer(http_event(form, csv_of(mixed.rows), "text/csv; charset=utf-8"), None)
    assert found["statusCode"] == 200
    assert_predictions(json.loads(found["body"]), mixed)


def test_quoted_cells_of_a_csv_are_predicted(mixed_answer: Answer) -> None:
    """Quotes around names and numbers change nothing."""
    text = '"colour","grade","active","count","size"\n"red","10","true","7","0.5"\n'
    event = {"body": text, "headers": {"content-type": CSV_TYPE}}
    assert mixed_answer(event)["body"] == mixed_answer(GOOD)["body"]


def test_many_rows_at_once_from_eight_threads_are_predicted(
    mixed: Packed, mixed_answer: Answer
) -> None:
    """One handler serves several threads with the same bits."""
    event = json.dumps(mixed.rows).encode()
    wanted = mixed_answer(event)
    with ThreadPoolExecutor(8) as pool:
        assert all(found == wanted for found in pool.map(mixed_answer, [event] * 100))


# --- options and envelope -------------------------------------------------------------------------


@pytest.mark.parametrize("top_k", [1, 2, 5])
def test_top_k_of_a_body_lists_the_likeliest(
    top_k: int, multiclass: Packed, wine_answer: Answer
) -> None:
    """Instead of all probabilities (requests 2.1, 6.2)."""
    row = multiclass.rows[0]
    probabilities = dict(zip(CULTIVARS, wine_answer(row)["body"]["probabilities"][0], strict=True))
    order = sorted(CULTIVARS, key=lambda label: -probabilities[label])[:top_k]
    body = wine_answer({"records": [row], "topK": top_k})["body"]
    assert set(body) == {"model", "predictions", "topK"}
    assert body["predictions"] == order[:1]
    assert body["topK"] == [
        [{"label": label, "probability": probabilities[label]} for label in order]
    ]


@pytest.mark.parametrize("form", FORMS)
def test_options_of_a_query_string_are_honoured(form: str, mixed_answer: Answer) -> None:
    """As text, from any service."""
    query = {"topK": "1", "threshold": "0"}
    found = mixed_answer(http_event(form, json.dumps([GOOD]), query=query))
    body = json.loads(found["body"])
    assert body["predictions"] == ["yes"]
    assert len(body["topK"][0]) == 1
    query["threshold"] = "1"
    found = mixed_answer(http_event(form, json.dumps([GOOD]), query=query))
    assert json.loads(found["body"])["predictions"] == ["no"]


@pytest.mark.parametrize(("threshold", "label"), [(0, "yes"), (1, "no"), (0.0, "yes")])
def test_threshold_of_a_body_decides_the_label(
    threshold: float, label: str, mixed_answer: Answer
) -> None:
    """The probabilities stay what they are."""
    plain = mixed_answer({"records": [GOOD]})["body"]
    body = mixed_answer({"records": [GOOD], "threshold": threshold})["body"]
    assert body == {**plain, "predictions": [label]}


@pytest.mark.parametrize("rows", [{"records": [GOOD]}, {"body": json.dumps([GOOD])}, split([GOOD])])
@pytest.mark.parametrize("id_", ["a-1", "", 0, 2**60, "größe \ud800"])
def test_id_is_echoed(rows: Event, id_: Any, mixed_answer: Answer) -> None:
    """In good answers and in bad ones (requests 5.1)."""
    good = mixed_answer({**rows, "id": id_, "replyTo": "a/b"})
    assert (good["id"], good["statusCode"]) == (id_, 200)
    bad = mixed_answer({**rows, "id": id_, "topK": 0})
    assert (bad["id"], bad["statusCode"]) == (id_, 400)


def test_answer_without_an_id_has_none(mixed_answer: Answer) -> None:
    """Null is none."""
    assert "id" not in mixed_answer({"records": [GOOD], "id": None})
    assert "id" not in mixed_answer([GOOD])


def test_deadline_that_is_to_come_is_met(mixed_answer: Answer) -> None:
    """A minute is enough; so is eternity."""
    for deadline in ((time.time() + 60) * 1000, 10**400, math.inf, None):
        assert mixed_answer({"records": [GOOD], "deadlineMs": deadline})["statusCode"] == 200


def test_deadline_that_has_passed_is_exceeded(mixed_answer: Answer) -> None:
    """Nobody waits for that answer any more (requests 5.1)."""
    deadline = time.time() * 1000 - 5000
    found = mixed_answer({"records": [GOOD], "id": "a", "deadlineMs": deadline})
    assert (found["id"], code_of(found)) == ("a", (504, "deadline_exceeded"))
    (detail,) = found["body"]["error"]["details"]
    assert detail["place"] == "deadlineMs"
    late = detail["observed"].removeprefix("a deadline ").removesuffix(" ms ago")
    assert 5000 <= int(late) < 15_000
    assert detail["expected"] == "one that is still to come"


@pytest.mark.parametrize("deadline", [0, -1.5, -math.inf, pytest.param(-(10**400), id="-1e400")])
def test_deadline_long_ago_is_exceeded(deadline: Any, mixed_answer: Answer) -> None:
    """However long."""
    found = mixed_answer({"records": [GOOD], "deadlineMs": deadline})
    assert code_of(found) == (504, "deadline_exceeded")


# --- the error table ------------------------------------------------------------------------------

_COLOURS = "one of 'blue', 'green', 'red', or null"

REFUSALS: list[tuple[Any, int, dict[str, Any]]] = [
    (
        b"{",
        400,
        fault(
            "malformed_request",
            "event",
            "text that is no JSON at line 1 column 2 "
            "(Expecting property name enclosed in double quotes)",
            "JSON",
        ),
    ),
    (
        {"body": "{"},
        400,
        fault(
            "malformed_request",
            "body",
            "text that is no JSON at line 1 column 2 "
            "(Expecting property name enclosed in double quotes)",
            "JSON",
        ),
    ),
    (
        {"body": "AAA", "isBase64Encoded": True},
        400,
        fault("malformed_request", "body", "text that is no base64 (Incorrect padding)", "base64"),
    ),
    (
        {"body": base64_of(b"[\xff]"), "isBase64Encoded": True},
        400,
        fault("malformed_request", "body", "the byte 0xff at offset 1", "UTF-8"),
    ),
    (
        {"body": 'a\n"', "headers": {"content-type": "text/csv"}},
        400,
        fault(
            "malformed_request",
            "body",
            "text that is no CSV at line 2 (unexpected end of data)",
            "CSV",
        ),
    ),
    (
        [GOOD, 5],
        400,
        fault("malformed_request", "records[1]", "5", "an object of feature names and values"),
    ),
    (
        {"records": [GOOD], "topk": 1},
        400,
        fault(
            "malformed_request",
            "body.topk",
            "an unknown field",
            "nothing besides the rows but threshold and topK",
        ),
    ),
    (
        {"records": [GOOD], "topK": "many"},
        400,
        fault("malformed_request", "topK", "'many'", "a whole number of at least 1"),
    ),
    (
        {"records": [GOOD], "id": 1.5},
        400,
        fault("malformed_request", "id", "1.5", "text or a whole number"),
    ),
    (
        {**GOOD, "sise": 1},
        400,
        fault(
            "unknown_feature",
            "records[0].sise",
            "an unknown field",
            "a feature of the model (did you mean 'size'?)",
        ),
    ),
    (
        {name: value for name, value in GOOD.items() if name != "size"},
        400,
        fault("missing_feature", "records[0].size", "no such field", "a number or null"),
    ),
    (
        {"records": [GOOD, {**GOOD, "size": "acid"}]},
        400,
        fault("not_a_number", "records[1].size", "'acid'", "a number or null"),
    ),
    (
        {**GOOD, "active": 2},
        400,
        fault("not_a_number", "records[0].active", "2", "true, false or null"),
    ),
    (
        {**split([GOOD]), "data": [["pink", 10, True, 7, 0.5]]},
        400,
        fault("unknown_category", "data[0].colour", "'pink'", _COLOURS),
    ),
    (
        {**GOOD, "grade": 15},
        400,
        fault("unknown_category", "records[0].grade", "15", "one of 10, 20, 30, or null"),
    ),
    ([], 400, fault("no_rows", "records", "no rows", "one row at least")),
    ({**split([GOOD]), "data": []}, 400, fault("no_rows", "data", "no rows", "one row at least")),
    (
        {"records": [GOOD] * 10_001},
        413,
        too_many(10_001, "at most 10000", max_rows=10_000),
    ),
    (
        b" " * 6_291_457,
        413,
        fault("request_too_large", "event", "more than 6291456 bytes", "at most 6291456"),
    ),
    (
        {"body": " " * 6_291_457},
        413,
        fault("request_too_large", "body", "6291457 bytes", "at most 6291456"),
    ),
    (
        {"body": "x", "headers": {"content-type": "image/png"}},
        415,
        fault(
            "unsupported_media_type",
            "header Content-Type",
            "'image/png'",
            "application/json or text/csv",
        ),
    ),
    (
        {"body": "x", "headers": {"content-type": "text/csv; charset=latin-1"}},
        415,
        fault(
            "unsupported_media_type",
            "header Content-Type",
            "'text/csv; charset=latin-1'",
            "charset=utf-8",
        ),
    ),
]


@pytest.mark.parametrize(
    ("event", "status", "body"),
    [pytest.param(*line, id=f"{line[2]['error']['code']}-{i}") for i, line in enumerate(REFUSALS)],
)
def test_fault_of_the_caller_is_answered_with_place_observed_expected(
    event: Any, status: int, body: dict[str, Any], mixed_answer: Answer
) -> None:
    """Each line of the error table (requests 7.1)."""
    assert mixed_answer(event, None) == {"statusCode": status, "body": body}


def test_table_of_errors_is_covered() -> None:
    """Every code is provoked here; `busy`, `internal` and the deadline have tests of their own."""
    provoked = {body["error"]["code"] for _, _, body in REFUSALS}
    assert provoked | {"busy", "internal", "deadline_exceeded"} == set(STATUS)
    assert all(STATUS[body["error"]["code"]] == status for _, status, body in REFUSALS)


@pytest.mark.parametrize("form", FORMS)
def test_fault_in_an_http_request_is_answered_in_its_form(form: str, mixed_answer: Answer) -> None:
    """The status is the HTTP one, the body is text."""
    found = mixed_answer(http_event(form, json.dumps([{**GOOD, "size": "acid"}])))
    assert found["statusCode"] == 400
    assert json.loads(found["body"]) == fault(
        "not_a_number", "records[0].size", "'acid'", "a number or null"
    )
    if form in ALB_FORMS:
        assert found["statusDescription"] == "400 Bad Request"


@pytest.mark.parametrize("form", FORMS)
def test_missing_body_of_an_http_request_is_answered_in_its_form(
    form: str, mixed_answer: Answer
) -> None:
    """A GET on the URL, say; payload format 2.0 has no `body` then."""
    event = http_event(form, None)
    del event["body"]
    found = mixed_answer(event)
    wanted = fault("malformed_request", "body", "an empty body", "JSON or CSV with rows")
    assert (found["statusCode"], json.loads(found["body"])) == (400, wanted)


def test_all_faults_are_counted_and_the_first_twenty_listed(mixed_answer: Answer) -> None:
    """A caller sees the extent of it at once (requests 7.1)."""
    found = mixed_answer({"records": [{**GOOD, "size": "x", "active": 5}] * 15})
    error = found["body"]["error"]
    assert len(error["details"]) == 20
    assert error["message"] == (
        "records[0].active: got 5, expected true, false or null (and 29 more)"
    )
    assert [detail["place"] for detail in error["details"][:3]] == [
        "records[0].active",
        "records[0].size",
        "records[1].active",
    ]


@pytest.mark.parametrize(
    ("answer", "option"),
    [
        ("diabetes_answer", {"topK": 1}),
        ("diabetes_answer", {"threshold": 0.5}),
        ("wine_answer", {"threshold": 0.5}),
    ],
)
def test_option_that_the_task_does_not_have_is_malformed(
    answer: str, option: Event, request: pytest.FixtureRequest
) -> None:
    """A regression has no likeliest label, and three classes no threshold (requests 2.1)."""
    found = request.getfixturevalue(answer)({"records": [{}], **option})
    assert code_of(found) == (400, "malformed_request")


def test_option_without_probabilities_is_malformed(packed_hinge: Packed) -> None:
    """A model that gives none cannot list the likeliest (requests 2.1)."""
    answer: Answer = make_handler(packed_hinge.bundle, Settings())
    rows = packed_hinge.rows[:3]
    assert set(answer(rows)["body"]) == {"model", "predictions"}
    for option in ({"topK": 1}, {"threshold": 0.3}):
        assert code_of(answer({"records": rows, **option})) == (400, "malformed_request")


@pytest.fixture(scope="module")
def packed_hinge(packed_from: Packer) -> Packed:
    """A classifier that says labels and no probabilities."""
    frame = pd.DataFrame({"a": np.linspace(0, 1, 40)})
    estimator = xgboost.XGBClassifier(n_estimators=2, objective="binary:hinge", n_jobs=1)
    return packed_from(estimator.fit(frame, (frame["a"] > 0.5).astype(int)), frame)


def test_limits_are_those_of_the_settings(mixed: Packed) -> None:
    """A device may allow less than Lambda does."""
    settings = Settings(max_rows=2, max_request_bytes=400)
    answer: Answer = make_handler(mixed.bundle, settings)
    assert answer([GOOD] * 2)["statusCode"] == 200
    assert code_of(answer([GOOD] * 3)) == (413, "too_many_rows")
    assert code_of(answer({"body": json.dumps([GOOD]) + " " * 400})) == (413, "request_too_large")
    assert code_of(answer(json.dumps([GOOD]).encode() + b" " * 400)) == (413, "request_too_large")
    small: Answer = make_handler(mixed.bundle, Settings(max_reply_bytes=2000))
    assert small([GOOD] * 5)["statusCode"] == 200
    assert code_of(small([GOOD] * 100)) == (413, "too_many_rows")


# --- what is nobody's fault -----------------------------------------------------------------------


class FailingEngine:
    """An engine that cannot predict now."""

    n_outputs = 1

    def __init__(self, error: Exception) -> None:
        self._error = error

    def predict(self, matrix: "array[float]", n_rows: int) -> list[float]:
        raise self._error

    def close(self) -> None:
        pass


def failing(packed: Packed, error: Exception) -> Answer:
    return make_handler(Bundle(packed.manifest, "digest", list, FailingEngine(error)), Settings())


_INTERNAL = {
    "error": {
        "code": "internal",
        "message": "the request could not be served; the component's log says why",
        "details": [],
    }
}


@pytest.mark.parametrize(
    "error", [RuntimeError("the secret path"), MemoryError(), ArithmeticError(), KeyError("a")]
)
def test_internal_error_is_generic_outside_and_whole_in_the_log(
    error: Exception, mixed: Packed, caplog: pytest.LogCaptureFixture
) -> None:
    """No traceback and no text of it reaches the caller."""
    found = failing(mixed, error)({"records": [GOOD], "id": "a"})
    assert found == {"id": "a", "statusCode": 500, "body": _INTERNAL}
    (entry,) = caplog.records
    assert (entry.levelname, entry.name) == ("ERROR", "container.handler")
    assert entry.exc_info is not None
    assert entry.exc_info[1] is error


def test_internal_error_is_answered_in_the_http_form(mixed: Packed) -> None:
    """A service that got an exception instead would answer 502."""
    found = failing(mixed, RuntimeError())(http_event("alb", json.dumps([GOOD])))
    assert (found["statusCode"], found["statusDescription"]) == (500, "500 Internal Server Error")
    assert json.loads(found["body"]) == _INTERNAL


def test_busy_model_says_when_to_come_back(mixed: Packed) -> None:
    """In the body, and for HTTP in a header."""
    answer = failing(mixed, BusyError(1500))
    body = {
        "error": {
            "code": "busy",
            "message": "queue: got no free place, expected one; try again later",
            "details": [],
            "retryAfterMs": 1500,
        }
    }
    assert answer({"records": [GOOD], "id": 7}) == {"id": 7, "statusCode": 429, "body": body}
    found = answer(http_event("function-url", json.dumps([GOOD])))
    assert (found["statusCode"], json.loads(found["body"])) == (429, body)
    assert found["headers"] == {"content-type": "application/json", "retry-after": "2"}


def test_request_is_logged_without_its_rows_and_only_for_debugging(
    mixed_answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    """Payloads are nobody's business but the caller's."""
    mixed_answer({"records": [GOOD], "id": "a"})
    assert caplog.records == []
    caplog.set_level(logging.DEBUG, "container.handler")
    mixed_answer({"records": [{**GOOD, "size": 123.456}] * 2, "id": "a"})
    (entry,) = caplog.records
    facts = {name: vars(entry)[name] for name in ("request_id", "rows", "status")}
    assert facts == {"request_id": "a", "rows": 2, "status": 200}
    assert "123.456" not in str(vars(entry))


# --- about the service itself ---------------------------------------------------------------------


@pytest.mark.parametrize("as_bytes", [False, True])
def test_health_is_answered_with_what_serves(mixed: Packed, *, as_bytes: bool) -> None:
    """A Lambda has no queue, and no process of its own to speak of (requests 9.5)."""
    asked = {"op": "health", "id": "a", "deadlineMs": 9e15, "replyTo": "edgexgb/results/me"}
    event: Any = json.dumps(asked).encode() if as_bytes else asked
    manifest = mixed.manifest
    assert make_handler(mixed.bundle, Settings())(event) == {
        "id": "a",
        "statusCode": 200,
        "body": {
            "ready": True,
            "model": {
                "name": manifest.name,
                "version": manifest.version,
                "digest": mixed.bundle.digest,
            },
            "engine": mixed.bundle.engine,
        },
    }


@pytest.mark.parametrize(
    ("op", "observed"), [("helth", "'helth'"), (None, "null"), (5, "5"), (["health"], "a list")]
)
def test_unknown_operation_is_refused_by_name(op: Any, observed: str, mixed_answer: Answer) -> None:
    """With what is expected, and at the id (requests 9.1)."""
    found = mixed_answer({"op": op, "id": 3})
    assert (found["id"], code_of(found)) == (3, (400, "malformed_request"))
    message = found["body"]["error"]["message"]
    assert message.startswith(f"op: got {observed}")
    assert message.endswith(", expected 'health'")


def test_late_question_about_health_is_refused(mixed_answer: Answer) -> None:
    """As any late request is."""
    found = mixed_answer({"op": "health", "deadlineMs": 1})
    assert code_of(found) == (504, "deadline_exceeded")


@pytest.mark.parametrize(
    ("event", "code"),
    [
        ({"op": "health", "records": [GOOD]}, "malformed_request"),
        ({"op": "health", **GOOD}, "unknown_feature"),
        ([{"op": "health"}], "unknown_feature"),
    ],
)
def test_op_beside_or_in_rows_is_a_field_as_any_other(
    event: Any, code: str, mixed_answer: Answer
) -> None:
    """A model may have a feature of that name (requests 9.1)."""
    found = mixed_answer(event)
    assert found["statusCode"] == 400
    assert code in {it["code"] for it in found["body"]["error"]["details"]}


class Notes:
    """A monitor."""

    def __init__(self) -> None:
        self.notes: list[tuple[str, str]] = []

    def report(self) -> dict[str, Any]:
        return {"how": "well"}

    def note(self, code: str, text: str) -> None:
        self.notes.append((code, text))


def test_monitor_says_how_the_service_is_and_hears_of_its_errors(mixed: Packed) -> None:
    """Not of the callers', and not in words that may quote them."""
    notes = Notes()
    bundle = Bundle(mixed.manifest, "digest", list, FailingEngine(RuntimeError("secret")))
    handler = make_handler(bundle, Settings(), notes)
    exchanges = handler.answer([{"op": "health"}, [{"size": "acid"}], [GOOD]])
    assert exchanges[0].response["body"] == {"how": "well"}
    assert [it.kind for it in exchanges] == ["health", "missing_feature", "internal"]
    assert notes.notes == [("internal", "a request: got RuntimeError, expected predictions")]


# --- many at once ---------------------------------------------------------------------------------


class CountingEngine:
    """Passes on to a real engine; remembers how many rows each call had; breaks on 77."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.n_outputs = engine.n_outputs
        self.calls: list[int] = []

    def predict(self, matrix: "array[float]", n_rows: int) -> Sequence[float]:
        self.calls.append(n_rows)
        if 77.0 in matrix:
            raise RuntimeError("no 77")
        return self._engine.predict(matrix, n_rows)

    def close(self) -> None:
        self._engine.close()


def counting(packed: Packed, max_rows: int = 10_000) -> tuple[BundleHandler, CountingEngine]:
    engine = CountingEngine(packed.bundle._engine)
    bundle = Bundle(packed.manifest, "digest", list, engine)
    return make_handler(bundle, Settings(max_rows=max_rows)), engine


def events_of(rows: Sequence[Any]) -> list[Event | bytes]:
    """Good ones in several forms and sizes, bad ones between them."""
    return [
        {"records": rows[:3], "id": "a"},
        {"records": [{**rows[0], "size": "acid"}], "id": "b"},
        rows[3],
        b"no JSON",
        json.dumps({"records": rows[4:9], "id": 5}).encode(),
        {"records": rows[9:11], "id": "late", "deadlineMs": 1},
        {"records": rows[11:14], "threshold": 0.3, "id": "c"},
        {"records": rows[14:16], "topK": 1, "id": "d"},
        http_event("alb", json.dumps(rows[16:18])),
    ]


def without_time(response: dict[str, Any]) -> dict[str, Any]:
    """A late request's answer says by how much it is late."""
    text = re.sub(r"a deadline [0-9]+ ms ago", "a deadline N ms ago", json.dumps(response))
    return dict(json.loads(text))


def test_events_at_once_get_the_answers_that_each_gets_alone(mixed: Packed) -> None:
    """To the last bit, the bad ones too; with one call for each threshold."""
    handler, engine = counting(mixed)
    events = events_of(mixed.rows)
    alone = [handler(event) for event in events]
    engine.calls.clear()
    together = [exchange.response for exchange in handler.answer(events)]
    assert [without_time(it) for it in together] == [without_time(it) for it in alone]
    assert sorted(engine.calls) == [3, 3 + 1 + 5 + 2 + 2]


def test_events_at_once_are_predicted_in_matrices_of_at_most_the_most_rows(mixed: Packed) -> None:
    """Memory stays bounded, however many wait."""
    handler, engine = counting(mixed, max_rows=10)
    exchanges = handler.answer([{"records": mixed.rows[i : i + 4]} for i in range(0, 24, 4)])
    assert engine.calls == [8, 8, 8]
    labels, _ = in_memory(mixed, mixed.frame)
    found = [label for it in exchanges for label in it.response["body"]["predictions"]]
    assert found == labels[:24]


def test_event_that_breaks_the_model_does_not_break_its_neighbours(mixed: Packed) -> None:
    """What was to be predicted together is tried one by one."""
    handler, _ = counting(mixed)
    bad = {**GOOD, "size": 77.0}
    found = handler.answer([[GOOD], [bad], [GOOD]])
    assert [it.response["statusCode"] for it in found] == [200, 500, 200]
    assert found[0].response == handler([GOOD])


def test_refused_event_keeps_its_id_and_reply_topic(mixed: Packed) -> None:
    """A busy component reads no more of a request than where its refusal has to go."""
    handler, engine = counting(mixed)
    event = json.dumps({"records": [GOOD], "id": "a", "replyTo": "t/1"}).encode()
    exchange = handler.refuse(event, BusyError(50))
    assert (exchange.door.reply_to, exchange.response["id"]) == ("t/1", "a")
    assert code_of(exchange.response) == (429, "busy")
    assert handler.refuse(b"no JSON", BusyError(50)).response["statusCode"] == 429
    assert engine.calls == []


# --- attacks --------------------------------------------------------------------------------------

_ROW = json.dumps(GOOD)

BODIES: dict[str, bytes] = {
    "not JSON": b"<xml/>",
    "half JSON": _ROW[:-1].encode(),
    "not UTF-8": b'{"size": "\xff\xfe"}',
    "UTF-16": _ROW.encode("utf-16"),
    "empty": b"",
    "blank": b" \r\n\t",
    "7 MB of one text": b'"' + b"x" * 7_340_032 + b'"',
    "7 MB of brackets": b"[" * 7_340_032,
    "nested 10 000 lists": b"[" * 10_000 + b"]" * 10_000,
    "nested 10 000 objects": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "nested 500 lists": b"[" * 500 + b"]" * 500,
    "10 000 unknown fields": json.dumps({f"x{i}": i for i in range(10_000)}).encode(),
    "1e999": _ROW.replace("0.5", "1e999").encode(),
    "-1e999": _ROW.replace("0.5", "-1e999").encode(),
    "1e39": _ROW.replace("0.5", "1e39").encode(),
    "NaN": _ROW.replace("0.5", "NaN").encode(),
    "Infinity": _ROW.replace("0.5", "Infinity").encode(),
    "-Infinity": _ROW.replace("0.5", "-Infinity").encode(),
    "duplicate keys": (_ROW[:-1] + ', "size": 0.5}').encode(),
    "duplicate records": b'{"records": [], "records": [' + _ROW.encode() + b"]}",
    "5 000 digits": _ROW.replace("0.5", "1" * 5000).encode(),
    "4 000 digits": _ROW.replace("0.5", "1" * 4000).encode(),
    "lone surrogate as a value": _ROW.replace('"red"', '"\\ud800"').encode(),
    "lone surrogate as a name": _ROW.replace('"size"', '"\\udfff"').encode(),
    "null character": _ROW.replace('"red"', '"\\u0000"').encode(),
    "null": b"null",
    "a number": b"5",
    "a text": b'"records"',
    "rows of rows": b"[[1, 2, 3, 4, 5]]",
    "prototype": b'{"__proto__": {"size": 1}}',
    "wide split": json.dumps({"columns": [f"x{i}" for i in range(10_000)], "data": []}).encode(),
    "deep value": _ROW.replace("0.5", "[" * 900 + "]" * 900).encode(),
    "columns of lists": b'{"columns": [[[]], {}, null], "data": [[1, 2, 3]]}',
}


def assert_refused(found: dict[str, Any]) -> None:
    """A 4xx with a code, short, and nothing of Python's in it."""
    status, code = code_of(found)
    assert status in {400, 413}
    assert STATUS[code] == status
    text = json.dumps(found, allow_nan=False)
    assert len(text) < 20_000
    assert "Traceback" not in text
    assert ".py" not in text


@pytest.mark.parametrize("body", list(BODIES))
def test_hostile_event_is_refused_and_the_next_one_served(body: str, mixed_answer: Answer) -> None:
    """As the bytes of the event itself."""
    assert_refused(mixed_answer(BODIES[body]))
    assert mixed_answer(GOOD)["statusCode"] == 200


@pytest.mark.parametrize("body", list(BODIES))
@pytest.mark.parametrize("form", ["http-api-2.0", "alb-multi-value"])
def test_hostile_http_body_is_refused_and_the_next_one_served(
    body: str, form: str, mixed_answer: Answer
) -> None:
    """As base64 in an HTTP event, and as its text where it is one."""
    encoded = base64_of(BODIES[body])
    assert_refused(mixed_answer(http_event(form, encoded, is_base64=True)))
    try:
        text = BODIES[body].decode()
    except UnicodeDecodeError:
        text = BODIES[body].decode("latin-1")
    assert_refused(mixed_answer(http_event(form, text)))
    assert mixed_answer(http_event(form, _ROW))["statusCode"] == 200


@pytest.mark.parametrize("cut", range(1, 4))
def test_truncated_base64_is_refused(cut: int, mixed_answer: Answer) -> None:
    """Where the text breaks off, or the JSON in it."""
    encoded = base64_of(json.dumps([GOOD] * 3).encode())
    for length in (len(encoded) - cut, len(encoded) - 4 * cut):
        found = mixed_answer({"body": encoded[:length], "isBase64Encoded": True})
        assert code_of(found) == (400, "malformed_request")


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(10**5000, id="5 001 digits"),
        math.nan,
        math.inf,
        b"bytes",
        {1, 2},
        object(),
        1j,
    ],
)
def test_hostile_value_of_a_parsed_event_is_not_a_number(value: Any, mixed_answer: Answer) -> None:
    """What JSON text could not have held is refused, too."""
    found = mixed_answer({"records": [{**GOOD, "size": value}]})
    assert code_of(found) == (400, "not_a_number")


def test_field_names_that_are_no_text_are_unknown(mixed_answer: Answer) -> None:
    """A runtime other than Lambda's might hand over such a thing."""
    assert code_of(mixed_answer({"records": [{**GOOD, "\ud800": 1}]})) == (400, "unknown_feature")


# --- properties -----------------------------------------------------------------------------------

_KEYS = st.sampled_from(
    [
        *GOOD,
        "records",
        "columns",
        "data",
        "index",
        "body",
        "isBase64Encoded",
        "headers",
        "multiValueHeaders",
        "content-type",
        "requestContext",
        "elb",
        "http",
        "httpMethod",
        "resourcePath",
        "queryStringParameters",
        "multiValueQueryStringParameters",
        "topK",
        "threshold",
        "id",
        "deadlineMs",
        "replyTo",
    ]
) | st.text(max_size=5)
_SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=10**30),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["red", "text/csv", "application/json", _ROW, "e30=", "[]", 10**400, -(10**400)]
    ),
)
_JSON = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6),
    max_leaves=12,
)
_STATUSES = {200, 400, 413, 415, 504}


def assert_answered(found: Any) -> None:
    """One of the statuses that a caller can cause, in a dict that JSON can hold."""
    assert isinstance(found, dict)
    assert type(found["statusCode"]) is int
    assert found["statusCode"] in _STATUSES
    json.dumps(found, allow_nan=False)


@given(_JSON)
@example({"records": [GOOD], "deadlineMs": -(10**400)})
@example({"records": [GOOD], "threshold": 10**400})
@example({"requestContext": {"elb": 1}, "body": 5})
def test_any_json_value_is_answered(mixed_answer: Answer, event: Any) -> None:
    """Never with a 500, never with an exception."""
    assert_answered(mixed_answer(event, None))


@given(st.dictionaries(st.sampled_from(list(GOOD)), _SCALARS))
def test_any_row_is_answered(lenient_answer: Answer, row: Event) -> None:
    """Where gaps and unknown categories are taken, too."""
    assert_answered(lenient_answer([row], None))


@given(st.sampled_from(FORMS), _JSON, st.booleans(), st.none() | st.text(max_size=20))
def test_any_http_body_is_answered(
    mixed_answer: Answer, form: str, body: Any, is_base64: bool, content_type: str | None
) -> None:
    """Of whatever type, under whatever name."""
    assert_answered(mixed_answer(http_event(form, body, content_type, is_base64=is_base64)))


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(mixed_answer: Answer, event: bytes) -> None:
    """Few of them are JSON."""
    assert_answered(mixed_answer(event, None))


@given(_JSON)
def test_bytes_of_any_json_value_are_answered(mixed_answer: Answer, event: Any) -> None:
    """As Lambda hands them over; NaN is spelt as Python spells it."""
    assert_answered(mixed_answer(json.dumps(event).encode(), None))


@given(st.text(max_size=200))
def test_any_text_as_csv_is_answered(lenient_answer: Answer, text: str) -> None:
    """Few of them are a table."""
    event = {"body": text, "headers": {"content-type": CSV_TYPE}}
    assert_answered(lenient_answer(event, None))


_CELLS = st.lists(st.sampled_from(["", "red", "10", "true", "1e5", "nan", '"', "x"]), max_size=6)


@given(st.permutations(list(GOOD)), st.lists(_CELLS, max_size=4))
def test_any_cells_under_the_right_header_are_answered(
    lenient_answer: Answer, header: list[str], rows: list[list[str]]
) -> None:
    """Short rows, long rows, quotes in the middle."""
    text = "\n".join(",".join(cells) for cells in [header, *rows])
    event = {"body": text, "headers": {"content-type": CSV_TYPE}}
    assert_answered(lenient_answer(event, None))


@given(st.sampled_from(ANSWERS), st.integers(0, 159))
def test_any_sample_row_gets_one_of_the_labels(
    mixed: Packed, mixed_answer: Answer, label: str, at: int
) -> None:
    """And its probability is the one of the likelier label."""
    body = mixed_answer(mixed.rows[at])["body"]
    said = body["predictions"][0]
    assert (said == label) is (body["probabilities"][0][ANSWERS.index(label)] > 0.5)
