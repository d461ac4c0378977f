"""What the gate sends to a target, and what has to come back.

Good requests replay the golden rows in every form; bad ones have to be refused with their code.
"""

import base64
import csv
import io
import json
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from container.bodies import CSV_TYPE, JSON_TYPE
from container.events import is_enveloped, is_operation
from container.handler import STATUS
from container.settings import LAMBDA_PAYLOAD_BYTES, Settings
from model.bundle import Bundle
from model.errors import describe
from model.golden import GoldenRow, differences
from model.manifest import Manifest, Scalar
from release.http_events import FORMS

Row = Mapping[str, Scalar | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One request and the check of its response.

    Attributes:
        group: under which the report counts it.
        name: which one of the group.
        event: the bytes to send.
        check: takes the parsed response and gives what is wrong with it, None where nothing is.
        is_json: whether the event is JSON of a size that AWS's own API lets through.
    """

    group: str
    name: str
    event: bytes
    check: Callable[[Any], str | None]
    is_json: bool = True


def good_cases(bundle: Bundle) -> Iterator[Case]:
    """The golden rows: alone, in one batch, shuffled, wrapped, and in each HTTP form."""
    golden = list(bundle.golden)
    rows = [row.row for row in golden]
    shuffled = _shuffle_columns(rows)

    def case(group: str, name: str, event: object, expected: Sequence[GoldenRow]) -> Case:
        check = _expects_rows(bundle, expected)
        return Case(group=group, name=name, event=_encode(event), check=check)

    for i, row in enumerate(rows):
        yield case("golden rows, alone", f"row {i}", {"records": [row]}, [golden[i]])
        # A feature may have the name of one of an event's own fields.
        if not (is_enveloped(row) or is_operation(row)):
            yield case("golden rows, as one bare object", f"row {i}", row, [golden[i]])
    yield case("golden rows, in one batch", "records", {"records": rows}, golden)
    yield case("golden rows, in one batch", "a list", rows, golden)
    yield case("golden rows, in one batch", "columns and data", _split(rows), golden)
    yield case("golden rows, columns shuffled", "records", {"records": shuffled}, golden)
    yield case("golden rows, columns shuffled", "columns and data", _split(shuffled), golden)
    text = json.dumps({"records": rows})
    encoded = base64.b64encode(text.encode()).decode()
    wrapped = "golden rows, wrapped in body"
    yield case(wrapped, "JSON text", {"body": text}, golden)
    yield case(wrapped, "JSON value", {"body": {"records": rows}}, golden)
    yield case(wrapped, "base64", {"body": encoded, "isBase64Encoded": True}, golden)
    table = _csv(shuffled)
    header = {"Content-Type": CSV_TYPE}
    yield case(wrapped, "CSV", {"body": table, "headers": header}, golden)
    for name, form in FORMS.items():
        group = f"golden rows, {name}"
        yield case(group, "JSON", form(text, JSON_TYPE), golden)
        yield case(group, "base64", form(encoded, JSON_TYPE, is_base64=True), golden)
        yield case(group, "CSV", form(table, CSV_TYPE), golden)


def bad_cases(bundle: Bundle) -> Iterator[Case]:
    """Requests that have to be refused, each with the code that it has to get."""
    for request in bad_requests(bundle):
        yield Case(
            group="bad requests",
            name=request.name,
            event=request.event,
            check=_expects_error(request.code),
            is_json=request.is_json,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRequest:
    """An event with one thing wrong.

    Attributes:
        name: what is wrong.
        code: the error code that the answer has to carry.
        event: the bytes.
        is_json: whether they are JSON of a size that AWS's own API lets through.
    """

    name: str
    code: str
    event: bytes
    is_json: bool = True


def bad_requests(bundle: Bundle) -> Iterator[BadRequest]:
    """One event for each way to be wrong that this model's features allow."""
    good = dict(bundle.golden[0].row)
    yield from _wrong_rows(bundle.manifest, good)
    yield from _wrong_bodies(good)
    yield from _wrong_events()


def _wrong_rows(manifest: Manifest, good: Row) -> Iterator[BadRequest]:
    def rows(name: str, code: str, records: object, **fields: object) -> BadRequest:
        return BadRequest(name=name, code=code, event=_encode({"records": records, **fields}))

    yield rows("no rows", "no_rows", [])
    yield rows("a row that is no object", "malformed_request", [[1, 2]])
    yield rows("an unknown feature", "unknown_feature", [{**good, "no such feature": 1}])
    many = {f"field {i}": i for i in range(10_000)}
    yield rows("10 000 unknown fields", "unknown_feature", [{**good, **many}])
    first = manifest.features[0].name
    if manifest.absent_field == "error":
        lacking = {name: value for name, value in good.items() if name != first}
        yield rows("a missing feature", "missing_feature", [lacking])
    for feature in manifest.features:
        if feature.kind != "categorical":
            yield rows("text for a number", "not_a_number", [{**good, feature.name: "acid"}])
            infinite = json.dumps({"records": [{**good, feature.name: 0.125}]})
            event = infinite.replace("0.125", "1e999").encode()
            yield BadRequest(name="1e999", code="not_a_number", event=event)
            break
    for feature in manifest.features:
        if feature.kind == "categorical":
            # A number is no category of text; text none of numbers: wrong under every policy.
            strange = 1.5 if isinstance(feature.categories[0], str) else "no such category"
            record = {**good, feature.name: strange}
            yield rows("an unknown category", "unknown_category", [record])
            break
    many_rows: dict[str, list[object]] = {"columns": [], "data": [[]] * (Settings().max_rows + 1)}
    yield BadRequest(name="too many rows", code="too_many_rows", event=_encode(many_rows))
    yield rows("a deadline long past", "deadline_exceeded", [good], deadlineMs=1)
    yield rows("an unknown option", "malformed_request", [good], colour=1)


def _wrong_bodies(good: Row) -> Iterator[BadRequest]:
    text = json.dumps({"records": [good]})
    encoded = base64.b64encode(text.encode()).decode()
    twice = '{"records": [], "records": []}'
    bodies: dict[str, dict[str, object]] = {
        "a body that is no JSON": {"body": "predict, please"},
        "an empty body": {"body": ""},
        "a body of JSON cut short": {"body": text[: len(text) // 2]},
        "a body that is not UTF-8": {"body": "//79", "isBase64Encoded": True},
        "truncated base64": {"body": encoded[: len(encoded) // 4 * 4 - 3], "isBase64Encoded": True},
        "a body nested 10 000 deep": {"body": "[" * 10_000 + "]" * 10_000},
        "a key twice": {"body": twice},
        "NaN": {"body": '[{"a": NaN}]'},
        "a number of 5 000 digits": {"body": f'[{{"a": {"9" * 5000}}}]'},
    }
    for name, event in bodies.items():
        yield BadRequest(name=name, code="malformed_request", event=_encode(event))
    form = FORMS["function-url"](text, "application/xml")
    yield BadRequest(name="a body of XML", code="unsupported_media_type", event=_encode(form))


def _wrong_events() -> Iterator[BadRequest]:
    large = _encode({"body": "x" * (LAMBDA_PAYLOAD_BYTES + 1_000_000)})
    events = {
        "7 MB": ("request_too_large", large),
        "an event that is no JSON": ("malformed_request", b"predict, please"),
        "an event that is not UTF-8": ("malformed_request", b'{"records": "\xff"}'),
        "an empty event": ("malformed_request", b""),
        "an event nested 10 000 deep": ("malformed_request", b"[" * 10_000 + b"]" * 10_000),
    }
    for name, (code, event) in events.items():
        yield BadRequest(name=name, code=code, event=event, is_json=False)


# --- checks: a parsed response to what is wrong with it -------------------------------------------


def _expects_rows(bundle: Bundle, golden: Sequence[GoldenRow]) -> Callable[[Any], str | None]:
    manifest = bundle.manifest
    model = {"name": manifest.name, "version": manifest.version}

    def check(response: Any) -> str | None:
        body = _body(response)
        if body is None or response["statusCode"] != 200:
            return f"got {_summary(response)}, expected statusCode 200"
        if body.get("model") != model:
            return f"model: got {body.get('model')}, expected {model}"
        predictions = _rows(body.get("predictions", []))
        if len(predictions) != len(golden):
            return f"got {len(predictions)} predictions, expected {len(golden)}"
        probabilities = [_rows(row) for row in _rows(body.get("probabilities", []))]
        if len(probabilities) not in {0, len(golden)}:
            return f"got {len(probabilities)} rows of probabilities, expected {len(golden)}"
        found = differences(golden, predictions, probabilities, exact=bundle.is_exact)
        return str(found[0]) if found else None

    return check


def _rows(value: Any) -> list[Any]:
    """The list that a reply should hold; none where another function sends something else."""
    return value if isinstance(value, list) else []


def _expects_error(code: str) -> Callable[[Any], str | None]:
    def check(response: Any) -> str | None:
        body = _body(response)
        found = body.get("error", {}).get("code") if body else None
        if found != code or response["statusCode"] != STATUS[code]:
            return f"got {_summary(response)}, expected {STATUS[code]} {code}"
        if "Traceback" in json.dumps(body):
            return "got a traceback, expected none"
        return None

    return check


def _body(response: Any) -> Any:
    """The body of a response, parsed where HTTP carries it as text; None if there is none."""
    if not isinstance(response, dict) or "statusCode" not in response:
        return None
    body = response.get("body")
    if isinstance(body, str):
        try:
            body = json.loads(body)
        except ValueError:
            return None
    return body if isinstance(body, dict) else None


def _summary(response: Any) -> str:
    body = _body(response)
    if body is None:
        return f"no response of ours: {describe(json.dumps(response))}"
    error = body.get("error")
    text = f"{error.get('code')}: {error.get('message')}" if isinstance(error, dict) else "no error"
    return f"{response['statusCode']} {text}"


# --- the same rows in other forms -----------------------------------------------------------------


def _encode(event: object) -> bytes:
    return json.dumps(event).encode()


def _shuffle_columns(rows: Sequence[Row]) -> list[dict[str, Scalar | None]]:
    generator = random.Random(0)  # noqa: S311  (an order, no secret)
    names = list(rows[0])
    generator.shuffle(names)
    return [{name: row[name] for name in names} for row in rows]


def _split(rows: Sequence[Row]) -> dict[str, object]:
    return {"columns": list(rows[0]), "data": [list(row.values()) for row in rows]}


def _csv(rows: Sequence[Row]) -> str:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    for row in rows:
        writer.writerow({name: _cell(value) for name, value in row.items()})
    return text.getvalue()


def _cell(value: Scalar | None) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value) if isinstance(value, float) else value
