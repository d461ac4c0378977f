"""Rows as the caller has them to messages that the bus takes.

Each row is encoded once; a message is the head of its request with some of these pieces behind it.
So the size of any part is known without encoding it, and a batch of any size is cut in one pass.
"""

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from consumer.errors import (
    MalformedRequestError,
    NoRowsError,
    NotANumberError,
    RequestTooLargeError,
)
from interface.envelope import Request, encode_request

_ENCODER = json.JSONEncoder(allow_nan=False, ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True, slots=True)
class Table:
    """Rows as a table; see docs/requests.md, 1.1 and 3.3.

    Attributes:
        columns: the names of the features.
        data: one list of values for each row.
        textual: whether the values are cells of a CSV file, which the service reads as their
            column's kind; then all of them are text.
    """

    columns: Sequence[str]
    data: Sequence[Sequence[Any]]
    textual: bool = False

    def __len__(self) -> int:
        return len(self.data)

    def cut(self, start: int, stop: int) -> "Table":
        """The rows from `start` to before `stop`."""
        return Table(self.columns, self.data[start:stop], self.textual)


Records = Sequence[Mapping[str, Any]]
Rows = Records | Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """Rows as pieces of messages.

    Attributes:
        pieces: one for each row.
        event: what stands in a request beside the rows.
        opening: between the request's head and the first piece.
        between: between two pieces.
        closing: after the last piece.
        rows_name: what the caller calls its rows: `records` or `data`.
    """

    pieces: Sequence[bytes]
    event: Mapping[str, Any]
    opening: bytes
    between: bytes
    closing: bytes
    rows_name: Literal["records", "data"]

    def message(self, request: Request, span: "Span") -> bytes:
        """The bytes of the request, whose event has the options, with the rows of the span.

        Raises:
            EnvelopeError: an option is no JSON.
        """
        event = {**self.event, **request.event}
        head = encode_request(replace(request, event=event))[:-1]  # without its closing brace
        rows = self.between.join(self.pieces[span.start : span.stop])
        return b"".join((head, self.opening, rows, self.closing))


@dataclass(frozen=True, slots=True)
class Span:
    """Rows from `start` to before `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start


def to_rows(value: object) -> Rows:
    """Rows in any form that docs/requests.md, 1.1 has, or a pandas DataFrame.

    Raises:
        MalformedRequestError: none of these.
    """
    if isinstance(value, Table):
        return value
    if isinstance(value, Mapping):
        return _from_mapping(value)
    to_dict = getattr(value, "to_dict", None)
    if to_dict is not None and hasattr(value, "columns"):
        split = to_dict(orient="split")
        # NaN is how pandas writes a missing value, in a column of numbers at least.
        data = [[None if _is_nan(item) else item for item in row] for row in split["data"]]
        return Table(split["columns"], data)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return value
    raise _malformed("rows", f"a {type(value).__name__}", "records, a table, or one record")


def _from_mapping(value: Mapping[str, Any]) -> Rows:
    if "records" in value:
        known, rows = {"records"}, value["records"]
    elif "columns" in value and "data" in value:
        known = {"columns", "data", "index"}
        if not isinstance(value["columns"], list) or not isinstance(value["data"], list):
            raise _malformed("rows", "columns and data of another type", "two lists")
        rows = Table(value["columns"], value["data"])
    else:
        return [value]
    if unknown := [name for name in value if name not in known]:
        raise _malformed("rows", f"the unknown field {unknown[0]!r}", "nothing beside the rows")
    if isinstance(rows, Mapping | str | bytes) or not isinstance(rows, Table | Sequence):
        raise _malformed("records", f"a {type(rows).__name__}", "a list")
    return rows


def _is_nan(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def encode_rows(rows: Rows) -> Encoded:
    """The rows as pieces: of a table where all records have the same names, for that is shorter.

    Raises:
        MalformedRequestError: a row is none, or holds what is not JSON.
        NoRowsError: there are none.
        NotANumberError: a NaN or an infinity.
    """
    place: Literal["records", "data"] = (
        "data" if isinstance(rows, Table) and not rows.textual else "records"
    )
    if len(rows) == 0:
        raise NoRowsError(f"{place}: got no rows, expected one row at least")
    if isinstance(rows, Table):
        return _encode_csv(rows) if rows.textual else _encode_table(rows.columns, rows.data, place)
    for i, record in enumerate(rows):
        _check_record(f"records[{i}]", record)
    names = list(rows[0])
    if names and all(record.keys() == rows[0].keys() for record in rows):
        data = [[record[name] for name in names] for record in rows]
        return _encode_table(names, data, place)
    return Encoded(
        pieces=[_encode(f"records[{i}]", dict(record)) for i, record in enumerate(rows)],
        event={},
        opening=b',"records":[',
        between=b",",
        closing=b"]}",
        rows_name=place,
    )


def _check_record(place: str, record: object) -> None:
    if not isinstance(record, Mapping):
        raise _malformed(place, f"a {type(record).__name__}", "an object")
    for name in record:
        # JSON would make the text "1" of the number 1.
        if not isinstance(name, str):
            raise _malformed(place, f"the field {name!r}", "names of features as text")


def _encode_table(
    columns: Sequence[str], data: Sequence[Sequence[Any]], place: Literal["records", "data"]
) -> Encoded:
    names = list(columns)
    pieces = []
    for i, row in enumerate(data):
        if isinstance(row, Mapping | str | bytes) or not isinstance(row, Sequence):
            raise _malformed(f"{place}[{i}]", f"a {type(row).__name__}", "a list")
        pieces.append(_encode(f"{place}[{i}]", list(row), names))
    for i, name in enumerate(names):
        if not isinstance(name, str):
            raise _malformed(f"columns[{i}]", f"{name!r}", "a column's name as text")
        _encode(f"columns[{i}]", name)
    return Encoded(
        pieces=pieces,
        event={"columns": names},
        opening=b',"data":[',
        between=b",",
        closing=b"]}",
        rows_name=place,
    )


def _encode_csv(table: Table) -> Encoded:
    return Encoded(
        pieces=[_encode_line(f"records[{i}]", row) for i, row in enumerate(table.data)],
        event={"headers": {"content-type": "text/csv"}},
        opening=b',"body":"' + _encode_line("header", table.columns) + b"\\n",
        between=b"\\n",
        closing=b'"}',
        rows_name="records",
    )


def _encode_line(place: str, cells: Sequence[str]) -> bytes:
    """A line of CSV as a part of JSON text."""
    line = io.StringIO()
    csv.writer(line).writerow(cells)  # whose line ends decide which cells need quotes
    return _encode(place, line.getvalue().removesuffix("\r\n"))[1:-1]


def _encode(place: str, value: object, names: Sequence[str] = ()) -> bytes:
    """One row, or one name, as JSON; a wrong value is looked for only once encoding has failed."""
    try:
        return _ENCODER.encode(value).encode()
    except (TypeError, ValueError, RecursionError):
        pass
    items: Sequence[tuple[object, object]] = [("", value)]
    if isinstance(value, dict):
        items = [(f".{name}", item) for name, item in value.items()]
    elif isinstance(value, list):
        items = [(f".{names[i]}" if i < len(names) else "", v) for i, v in enumerate(value)]
    for name, item in items:
        where = f"{place}{name}"
        if isinstance(item, float) and not math.isfinite(item):
            raise NotANumberError(f"{where}: got {item}, expected a finite number or null")
        try:
            _ENCODER.encode(item).encode()
        except (TypeError, ValueError, RecursionError) as error:
            observed = f"a {type(item).__name__} that is no JSON ({error})"
            raise _malformed(where, observed, "a number, text, true, false or null") from error
    raise _malformed(place, "names that are no JSON", "names of features as text")


def _malformed(place: str, observed: str, expected: str) -> MalformedRequestError:
    return MalformedRequestError(f"{place}: got {observed}, expected {expected}")


def fit(
    rows: Encoded, span: Span, *, head_bytes: int, max_bytes: int, max_rows: int | None
) -> list[Span]:
    """The span in spans that each fit into a message, as few as can be.

    Args:
        rows: the pieces.
        span: which of them.
        head_bytes: of a message without any row.
        max_bytes: of a whole message.
        max_rows: of a message; None where only its size counts.

    Raises:
        RequestTooLargeError: a single row does not fit.
    """
    room = max_bytes - head_bytes
    spans = []
    start, used = span.start, 0
    for i in range(span.start, span.stop):
        size = len(rows.pieces[i])
        if size > room:
            raise RequestTooLargeError(
                f"{rows.rows_name}[{i}]: got a row for a message of {head_bytes + size} bytes, "
                f"expected at most {max_bytes}"
            )
        more = size + (len(rows.between) if i > start else 0)
        if used + more > room or i - start == max_rows:
            spans.append(Span(start, i))
            start, used, more = i, 0, size
        used += more
    spans.append(Span(start, span.stop))
    return spans


def halve(span: Span) -> int:
    """How many rows each half of a span has, at most."""
    return -(-len(span) // 2)
