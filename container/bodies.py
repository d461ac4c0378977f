"""The body of a request, whatever its encoding, to rows and options.

A body arrives as text or bytes (then it is parsed, strictly) or as a JSON value that the runtime
parsed before. The forms are numbered in docs/requests.md.
"""

import json
from collections.abc import Mapping, Sequence

from container.settings import Settings
from model.errors import Fault, InputError, describe, input_error, shorten
from model.features import Matrix, Rows, Table, parse_number
from model.typed import Any, NamedTuple, NoReturn

JSON_TYPE = "application/json"
CSV_TYPE = "text/csv"

OPTIONS = frozenset({"topK", "threshold"})
"""What a caller may ask beside the rows."""


_MORE_PARTS = 10_000
"""Objects and lists beside those that are rows: an HTTP event has some."""


class TooManyRowsError(InputError):
    """A request of more rows than are served at once.

    Attributes:
        max_rows: how many are, so that a caller may split the request.
    """

    def __init__(self, n_rows: int, max_rows: int, expected: str) -> None:
        super().__init__([Fault("too_many_rows", "records", f"{n_rows} rows", expected)])
        self.max_rows = max_rows


class Query(NamedTuple):
    """What a caller asks.

    Attributes:
        rows: what to predict; not checked yet, but for being a list.
        top_k: how many of the likeliest labels to list, None for all probabilities.
        threshold: above which a binary model says the second label, None for its default.
    """

    rows: Rows
    top_k: int | None = None
    threshold: float | None = None

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        if isinstance(self.rows, Matrix):
            return self.rows.n_rows
        return len(self.rows.rows if isinstance(self.rows, Table) else self.rows)


def parse_body(
    body: object,
    *,
    media_type: str,
    is_base64: bool,
    settings: Settings,
    options: Mapping[str, str],
) -> Query:
    """The query in a body.

    Args:
        body: text, bytes, or a JSON value already parsed; None where there was no body.
        media_type: of text or bytes; a JSON value is taken as it is.
        is_base64: whether the text is base64 of the real body.
        settings: say how large a body may be.
        options: `topK` and `threshold` as text, from a query string; the body's own win.

    Raises:
        InputError: `malformed_request`, `request_too_large`, `unsupported_media_type`, `no_rows`.
        TooManyRowsError: see `check_parts`.
    """
    if is_base64:
        body = _decode_base64(body)
    if body is None or body in ("", b""):
        raise input_error("malformed_request", "body", "an empty body", "JSON or CSV with rows")
    value = body
    if isinstance(body, str | bytes):
        size = len(body) if isinstance(body, bytes) else len(body.encode(errors="surrogatepass"))
        if size > settings.max_request_bytes:
            expected = f"at most {settings.max_request_bytes}"
            raise input_error("request_too_large", "body", f"{size} bytes", expected)
        text = _decode_text(body)
        kind = _media_type(media_type)
        if kind == CSV_TYPE:
            check_parts(text, "\n", settings.max_rows)
            return _with_options(_parse_csv(text), options)
        check_parts(text, "{[", settings.max_rows)
        value = parse_json(text, "body")
    return _with_options(value, options)


def check_parts(text: str, marks: str, max_rows: int) -> None:
    """Refuses a text of far more objects, lists or lines than rows may be, before it is parsed.

    A few bytes of it become a hundred in memory: a request within the limit of bytes could take
    more than a small function has.

    Args:
        text: to be parsed.
        marks: the characters that begin a part.
        max_rows: see `Settings`.

    Raises:
        TooManyRowsError: there are more.
    """
    n_parts = sum(map(text.count, marks))
    if n_parts > 2 * max_rows + _MORE_PARTS:
        raise TooManyRowsError(n_parts, max_rows, f"at most {max_rows}")


def parse_json(text: str, place: str) -> object:
    """The JSON value in a text.

    Raises:
        InputError: `malformed_request`: no JSON, NaN or Infinity, a key twice in one object, or
            nested too deep.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
    except _RepeatedKeyError as error:
        observed, expected = f"the key {describe(error.key)} twice", "each key once in an object"
    except _ConstantError as error:
        observed, expected = f"the constant {error}", "JSON, which has null and no NaN or Infinity"
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        observed, expected = f"text that is no JSON at {where} ({error.msg})", "JSON"
    except RecursionError:
        observed, expected = "JSON nested too deep", "rows of plain values"
    except ValueError:  # an integer of more digits than Python converts
        observed, expected = "a number of thousands of digits", "numbers that float32 can hold"
    raise input_error("malformed_request", place, observed, expected) from None


class _RepeatedKeyError(Exception):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


class _ConstantError(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise _RepeatedKeyError(key)
            seen.add(key)
    return fields


def _refuse_constant(name: str) -> NoReturn:
    raise _ConstantError(name)


def _decode_base64(body: object) -> bytes | None:
    if body is None:
        return None
    if not isinstance(body, str):
        expected = "base64 text, as isBase64Encoded says"
        raise input_error("malformed_request", "body", describe(body), expected)
    # Imported where it is needed, like csv below: most functions never do, and all start colder.
    import base64

    try:
        return base64.b64decode(body, validate=True)
    except ValueError as error:
        observed = f"text that is no base64 ({error})"
        raise input_error("malformed_request", "body", observed, "base64") from error


def _decode_text(body: str | bytes) -> str:
    """The text without a byte order mark; spreadsheets write one into CSV."""
    text = body if isinstance(body, str) else decode_utf8(body, "body")
    return text.removeprefix("\ufeff")


def decode_utf8(content: bytes, place: str) -> str:
    """The text in the bytes.

    Raises:
        InputError: `malformed_request`: the first byte that is no UTF-8, and where.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        observed = f"the byte 0x{content[error.start]:02x} at offset {error.start}"
        raise input_error("malformed_request", place, observed, "UTF-8") from error


def _media_type(header: str) -> str:
    """`application/json` or `text/csv`, out of a Content-Type header; JSON where it is empty."""
    kind, *parameters = (part.strip().lower() for part in header.split(";"))
    if kind not in {"", JSON_TYPE, CSV_TYPE}:
        expected = f"{JSON_TYPE} or {CSV_TYPE}"
        place = "header Content-Type"
        raise input_error("unsupported_media_type", place, describe(header), expected)
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "utf8", "us-ascii"}:
            place = "header Content-Type"
            raise input_error("unsupported_media_type", place, describe(header), "charset=utf-8")
    return kind or JSON_TYPE


# --- rows and options in a JSON value -------------------------------------------------------------


def _with_options(value: object, options: Mapping[str, str]) -> Query:
    """The query in a parsed body, whichever of the forms it has."""
    if isinstance(value, Table):
        rows: Rows = value
        fields: dict[str, Any] = {}
    elif isinstance(value, list):
        rows, fields = value, {}
    elif isinstance(value, dict) and "records" in value:
        fields = {key: item for key, item in value.items() if key != "records"}
        rows = _list(value["records"], "records")
    elif isinstance(value, dict) and "columns" in value and "data" in value:
        # pandas' to_json(orient="split") writes an index; rows are answered in order without it.
        fields = {k: v for k, v in value.items() if k not in {"columns", "data", "index"}}
        rows = Table(_list(value["columns"], "columns"), _list(value["data"], "data"))
    elif isinstance(value, dict):
        return to_query([value], options)  # one row, whose fields are features
    else:
        expected = "an object with records, columns and data, a list of rows, or one row"
        raise input_error("malformed_request", "body", describe(value), expected)
    for key in fields:
        if key not in OPTIONS:
            expected = f"nothing besides the rows but {' and '.join(sorted(OPTIONS))}"
            place = f"body.{shorten(key)}"
            raise input_error("malformed_request", place, "an unknown field", expected)
    return to_query(rows, {**options, **fields})


def to_query(rows: Rows, options: Mapping[str, object]) -> Query:
    """The query of rows and of the options beside them; what else is beside them is passed over.

    Raises:
        InputError: `malformed_request`: an option is wrong.
    """
    return Query(
        rows=rows,
        top_k=_top_k(options.get("topK")),
        threshold=_threshold(options.get("threshold")),
    )


def _list(value: object, place: str) -> Sequence[object]:
    if not isinstance(value, list):
        raise input_error("malformed_request", place, describe(value), "a list")
    return value


def _top_k(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if value is None or (type(value) is int and value >= 1):
        return value
    expected = "a whole number of at least 1"
    raise input_error("malformed_request", "topK", describe(value), expected)


def _threshold(value: object) -> float | None:
    if value is None:
        return None
    number = parse_number(value) if isinstance(value, str) else value
    if type(number) in {int, float} and 0 <= number <= 1:  # type: ignore[operator]
        return float(number)  # type: ignore[arg-type]
    raise input_error("malformed_request", "threshold", describe(value), "a number from 0 to 1")


# --- CSV ------------------------------------------------------------------------------------------


def _parse_csv(text: str) -> Table:
    """The rows under a header line (RFC 4180); an empty cell is a missing value."""
    import csv
    import io

    lines = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        # A line with nothing on it, such as a last one, is no row.
        header, *rows = [line for line in lines if line] or [[]]
    except csv.Error as error:
        observed = f"text that is no CSV at line {lines.line_num} ({error})"
        raise input_error("malformed_request", "body", observed, "CSV") from error
    return Table(
        header,
        rows,
        place="records",
        columns_place="header",
        textual=True,
    )
