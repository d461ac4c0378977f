"""Rows out of files: CSV, JSON, and JSON lines."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from consumer.chunks import Records, Rows, Table, to_rows
from consumer.errors import MalformedRequestError

MAX_FILE_BYTES = 64 * 1024 * 1024
"""A larger file is refused; a device has better uses for its memory."""

SAMPLES = Path(__file__).with_name("samples.json")
"""Rows of the wine data set. Source: UCI Machine Learning Repository, Wine, CC BY 4.0, as
scikit-learn has it."""


class RowsError(ValueError):
    """A file that does not hold rows; the text says where and why."""


def read_rows(path: Path) -> Rows:
    """The rows in a file; its suffix says how to read it.

    Cells of a CSV file stay text, for only the service knows what kind a column has.

    Raises:
        OSError: the file cannot be read.
        RowsError: it does not hold rows.
    """
    read = READERS.get(path.suffix.lower())
    if read is None:
        raise RowsError(f"{path.name}: got another suffix, expected {', '.join(READERS)}")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        observed = f"more than {MAX_FILE_BYTES} bytes"
        raise RowsError(f"{path.name}: got {observed}, expected no more")
    try:
        text = content.decode("utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        observed = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise RowsError(f"{path.name}: got {observed}, expected UTF-8") from error
    rows = read(text, path.name)
    if len(rows) == 0:
        raise RowsError(f"{path.name}: got no rows, expected one row at least")
    return rows


def cut_rows(rows: Rows, start: int, stop: int) -> Rows:
    """The rows from `start` to before `stop`."""
    return rows.cut(start, stop) if isinstance(rows, Table) else rows[start:stop]


def _read_csv(text: str, place: str) -> Rows:
    """The table under a header line (RFC 4180)."""
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    lines: list[list[str]] = []
    try:
        for line in reader:
            if not line:  # such as a last one
                continue
            if lines and len(line) != len(lines[0]):
                where = f"{place}: line {reader.line_num}"
                raise RowsError(f"{where}: got {len(line)} cells, expected {len(lines[0])}")
            lines.append(line)
    except csv.Error as error:
        observed = f"text that is no CSV ({error})"
        where = f"{place}: line {reader.line_num}"
        raise RowsError(f"{where}: got {observed}, expected CSV") from error
    return Table(lines[0], lines[1:], textual=True) if lines else []


def _read_json(text: str, place: str) -> Rows:
    try:
        return to_rows(_parse(text, place))
    except MalformedRequestError as error:
        raise RowsError(f"{place}: {error}") from error


def _read_json_lines(text: str, place: str) -> Rows:
    records: list[Mapping[str, Any]] = []
    # JSON text may hold what `splitlines` takes for a line's end.
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        record = _parse(line, f"{place}: line {number}")
        if not isinstance(record, dict):
            observed = f"a {type(record).__name__}"
            raise RowsError(f"{place}: line {number}: got {observed}, expected an object")
        records.append(record)
    found: Records = records
    return found


def _parse(text: str, place: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        observed = f"text that is no JSON at {where} ({error.msg})"
    except RecursionError:
        observed = "JSON nested too deep"
    except ValueError as error:
        observed = str(error) if isinstance(error, _ConstantError) else "a number of many digits"
    raise RowsError(f"{place}: got {observed}, expected JSON with rows")


class _ConstantError(ValueError):
    pass


def _refuse(constant: str) -> NoReturn:
    raise _ConstantError(f"the constant {constant}")


READERS: Mapping[str, Callable[[str, str], Rows]] = {
    ".csv": _read_csv,
    ".json": _read_json,
    ".jsonl": _read_json_lines,
}
"""By suffix: what reads a file's text."""
