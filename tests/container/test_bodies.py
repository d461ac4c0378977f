import base64
import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from container.bodies import CSV_TYPE, Query, parse_body, parse_json
from container.settings import Settings
from model.errors import InputError
from model.features import Table

ROWS = [{"size": 1.5}, {"size": None}]


def parse(
    body: object,
    *,
    media_type: str = "",
    is_base64: bool = False,
    max_bytes: int = 1000,
    max_rows: int = 100,
    options: Mapping[str, str] | None = None,
) -> Query:
    return parse_body(
        body,
        media_type=media_type,
        is_base64=is_base64,
        settings=Settings(max_request_bytes=max_bytes, max_rows=max_rows),
        options=options or {},
    )


def refusal(body: object, **options: Any) -> str:
    """Code and text with which a body is refused."""
    with pytest.raises(InputError) as caught:
        parse(body, **options)
    assert caught.value.total == 1
    return f"{caught.value.code}: {caught.value}"


def encoded(content: bytes) -> str:
    return base64.b64encode(content).decode()


# --- forms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "rows"),
    [
        ({"records": ROWS}, ROWS),
        (ROWS, ROWS),
        ({"size": 1.5}, [{"size": 1.5}]),
        ({}, [{}]),
        ([], []),
        ({"records": []}, []),
        ({"columns": ["size"], "data": [[1.5], [None]]}, Table(["size"], [[1.5], [None]])),
        (
            {"columns": ["size"], "index": [7, 8], "data": [[1.5], [None]]},
            Table(["size"], [[1.5], [None]]),
        ),
        ({"columns": 1}, [{"columns": 1}]),
        ({"data": 1, "index": 2}, [{"data": 1, "index": 2}]),
    ],
)
@pytest.mark.parametrize("way", ["value", "text", "bytes", "base64"])
def test_each_form_gives_its_rows(value: Any, rows: Any, way: str) -> None:
    """As a JSON value, as text, as bytes or as base64 (requests 1.1, 3.1)."""
    text = json.dumps(value)
    body: dict[str, Any] = {
        "value": value,
        "text": text,
        "bytes": text.encode(),
        "base64": encoded(text.encode()),
    }
    assert parse(body[way], is_base64=way == "base64") == Query(rows=rows)


@pytest.mark.parametrize(
    ("value", "count"),
    [(ROWS, 2), ([], 0), ({"size": 1}, 1), ({"columns": ["a"], "data": [[1], [2], [3]]}, 3)],
)
def test_rows_are_counted(value: Any, count: int) -> None:
    """In a table as in records."""
    assert parse(value).n_rows == count


@pytest.mark.parametrize(
    ("value", "words"),
    [("5", "5"), ('"text"', "'text'"), ("true", "true"), ("null", "null"), ("1.5", "1.5")],
)
def test_value_that_holds_no_rows_is_malformed(value: str, words: str) -> None:
    """A bare number is no row."""
    assert refusal(value) == (
        f"malformed_request: body: got {words}, "
        "expected an object with records, columns and data, a list of rows, or one row"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"records": 5}, "records: got 5, expected a list"),
        ({"records": {"size": 1}}, "records: got an object of 1 fields, expected a list"),
        ({"records": None}, "records: got null, expected a list"),
        ({"columns": "a", "data": []}, "columns: got 'a', expected a list"),
        ({"columns": [], "data": {}}, "data: got an object of 0 fields, expected a list"),
        (
            {"records": [], "extra": 1},
            "body.extra: got an unknown field, "
            "expected nothing besides the rows but threshold and topK",
        ),
        (
            {"columns": [], "data": [], "records2": 1},
            "body.records2: got an unknown field, "
            "expected nothing besides the rows but threshold and topK",
        ),
        (
            {"records": [], "x" * 100: 1},
            f"body.{'x' * 30}…{'x' * 30}: got an unknown field, "
            "expected nothing besides the rows but threshold and topK",
        ),
    ],
)
def test_form_that_is_not_right_is_malformed(value: Any, text: str) -> None:
    """The place says which field (requests 2.2)."""
    assert refusal(value) == f"malformed_request: {text}"


# --- options --------------------------------------------------------------------------------------


def test_options_stand_beside_the_rows() -> None:
    """Beside records as beside columns and data (requests 2.1)."""
    wanted = Query(rows=ROWS, top_k=2, threshold=0.25)
    assert parse({"records": ROWS, "topK": 2, "threshold": 0.25}) == wanted
    table = parse({"columns": [], "data": [], "topK": 1, "threshold": 1})
    assert (table.top_k, table.threshold) == (1, 1.0)


def test_options_of_a_query_string_are_text() -> None:
    """They are read like the body's own, which win over them."""
    options = {"topK": "3", "threshold": "0.75", "utm_source": "x"}
    bodies: list[Any] = [ROWS, {"size": 1}, {"records": ROWS}, {"columns": [], "data": []}]
    for body in bodies:
        query = parse(body, options=options)
        assert (query.top_k, query.threshold) == (3, 0.75)
    query = parse("size\n1\n", media_type=CSV_TYPE, options=options)
    assert (query.top_k, query.threshold) == (3, 0.75)
    query = parse({"records": ROWS, "topK": 1}, options=options)
    assert (query.top_k, query.threshold) == (1, 0.75)


def test_options_of_null_are_not_given() -> None:
    """As everywhere, null is nothing."""
    assert parse({"records": ROWS, "topK": None, "threshold": None}) == Query(rows=ROWS)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (-1, "-1"),
        (1.0, "1.0"),
        (True, "true"),
        ("", "''"),
        ("two", "'two'"),
        ("0", "0"),
        ("-1", "'-1'"),
        ("1.0", "'1.0'"),
        ("\u0661", "'\u0661'"),
        ("9" * 10, "'9999999999'"),
        ([], "a list of 0"),
    ],
)
def test_top_k_that_is_no_count_is_malformed(value: Any, words: str) -> None:
    """A whole number from 1 on."""
    assert refusal({"records": ROWS, "topK": value}) == (
        f"malformed_request: topK: got {words}, expected a whole number of at least 1"
    )


@pytest.mark.parametrize("value", [0, 1, 0.0, 1.0, 0.5, "0", "1", " 0.5 ", "5e-1"])
def test_threshold_from_0_to_1_is_taken(value: Any) -> None:
    """Both ends included."""
    assert parse({"records": ROWS, "threshold": value}).threshold == float(value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (-0.1, "-0.1"),
        (1.1, "1.1"),
        (2, "2"),
        (True, "true"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        ("nan", "'nan'"),
        ("half", "'half'"),
        ("", "''"),
        ({}, "an object of 0 fields"),
    ],
)
def test_threshold_that_is_no_probability_is_malformed(value: Any, words: str) -> None:
    """A number from 0 to 1."""
    assert refusal({"records": ROWS, "threshold": value}) == (
        f"malformed_request: threshold: got {words}, expected a number from 0 to 1"
    )


# --- encodings ------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [None, "", b""])
@pytest.mark.parametrize("is_base64", [False, True])
def test_empty_body_is_malformed(body: Any, is_base64: bool) -> None:
    """Also where it was to be base64."""
    if is_base64 and body == b"":
        body = ""
    assert refusal(body, is_base64=is_base64) == (
        "malformed_request: body: got an empty body, expected JSON or CSV with rows"
    )


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("e30", "text that is no base64 (Incorrect padding)"),
        ("e30===", "text that is no base64 (Excess data after padding)"),
        ("e3 0=", "text that is no base64 (Only base64 data is allowed)"),
        ("größe", "text that is no base64 (string argument should contain only ASCII characters)"),
    ],
)
def test_text_that_is_no_base64_is_malformed(body: str, words: str) -> None:
    """A truncated one among them."""
    assert refusal(body, is_base64=True) == f"malformed_request: body: got {words}, expected base64"


@pytest.mark.parametrize(
    ("body", "words"), [({"a": 1}, "an object of 1 fields"), ([1], "a list of 1"), (5, "5")]
)
def test_value_that_is_called_base64_is_malformed(body: Any, words: str) -> None:
    """The flag says that there is text."""
    assert refusal(body, is_base64=True) == (
        f"malformed_request: body: got {words}, expected base64 text, as isBase64Encoded says"
    )


def test_body_over_the_limit_is_too_large() -> None:
    """Counted in bytes, after base64, before anything is parsed."""
    text = json.dumps({"size": "ü" * 10}, ensure_ascii=False)
    size = len(text.encode())
    assert size == len(text) + 10
    assert parse(text, max_bytes=size).n_rows == 1
    wanted = f"request_too_large: body: got {size} bytes, expected at most {size - 1}"
    assert refusal(text, max_bytes=size - 1) == wanted
    assert refusal(text.encode(), max_bytes=size - 1) == wanted
    assert refusal(encoded(text.encode()), is_base64=True, max_bytes=size - 1) == wanted
    assert refusal("x" * 1001, media_type="image/png") == (
        "request_too_large: body: got 1001 bytes, expected at most 1000"
    )


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\xff{}", "the byte 0xff at offset 0"),
        (b'{"gr\xfc": 1}', "the byte 0xfc at offset 4"),
        ('{"a": 1}'.encode("utf-16"), "the byte 0xff at offset 0"),
        (b'{"a": "\xed\xa0\x80"}', "the byte 0xed at offset 7"),
        (b"\xc3", "the byte 0xc3 at offset 0"),
    ],
)
@pytest.mark.parametrize("is_base64", [False, True])
def test_bytes_that_are_no_utf8_are_malformed(content: bytes, words: str, is_base64: bool) -> None:
    """The first byte that is wrong is named."""
    body = encoded(content) if is_base64 else content
    assert refusal(body, is_base64=is_base64) == (
        f"malformed_request: body: got {words}, expected UTF-8"
    )


@pytest.mark.parametrize("body", ["\ufeff[]", b"\xef\xbb\xbf[]"])
def test_byte_order_mark_is_passed_over(body: str | bytes) -> None:
    """Some editors write one (requests 3.2)."""
    assert parse(body).rows == []


def test_lone_surrogate_in_text_is_no_reason_to_fail() -> None:
    """JSON can spell one, and a name with one is a name that no model has."""
    assert parse('{"\\ud800": 1}').rows == [{"\ud800": 1}]
    assert parse('{"\ud800": 1}').rows == [{"\ud800": 1}]


@pytest.mark.parametrize(
    "media_type",
    [
        "",
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        'application/json;charset="UTF-8"',
        "application/json; charset=utf8; x=y",
        " application/json ; Charset = utf-8".replace(" = ", "="),
        "application/json; charset=us-ascii",
    ],
)
def test_json_may_be_announced_in_any_spelling(media_type: str) -> None:
    """Media types have no case, and may have parameters."""
    assert parse("[]", media_type=media_type).rows == []


@pytest.mark.parametrize(
    ("media_type", "expected"),
    [
        ("image/png", "application/json or text/csv"),
        ("text/plain", "application/json or text/csv"),
        ("application/x-www-form-urlencoded", "application/json or text/csv"),
        ("json", "application/json or text/csv"),
        ("application/json; charset=latin-1", "charset=utf-8"),
        ("text/csv; charset=utf-16", "charset=utf-8"),
    ],
)
def test_other_media_type_is_unsupported(media_type: str, expected: str) -> None:
    """A body is not read as what it is not."""
    assert refusal("[]", media_type=media_type) == (
        f"unsupported_media_type: header Content-Type: got {media_type!r}, expected {expected}"
    )


def test_media_type_of_a_json_value_does_not_matter() -> None:
    """Somebody has parsed it already (requests 3.1)."""
    assert parse([], media_type="image/png").rows == []


# --- JSON -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"a": 1}', "[1.5, null]", ' "x" ', "1e308"])
def test_json_is_parsed(text: str) -> None:
    """Any value that JSON has."""
    assert parse_json(text, "body") == json.loads(text)


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("", "text that is no JSON at line 1 column 1 (Expecting value)", "JSON"),
        (
            "{",
            "text that is no JSON at line 1 column 2 "
            "(Expecting property name enclosed in double quotes)",
            "JSON",
        ),
        ("[1,\n2", "text that is no JSON at line 2 column 2 (Expecting ',' delimiter)", "JSON"),
        ("[] []", "text that is no JSON at line 1 column 4 (Extra data)", "JSON"),
        (
            "{'a': 1}",
            "text that is no JSON at line 1 column 2 "
            "(Expecting property name enclosed in double quotes)",
            "JSON",
        ),
        ("[NaN]", "the constant NaN", "JSON, which has null and no NaN or Infinity"),
        ("[Infinity]", "the constant Infinity", "JSON, which has null and no NaN or Infinity"),
        ("[-Infinity]", "the constant -Infinity", "JSON, which has null and no NaN or Infinity"),
        ('{"a": 1, "b": 2, "a": 1}', "the key 'a' twice", "each key once in an object"),
        ('[{"x": {"a": 1, "a": 2}}]', "the key 'a' twice", "each key once in an object"),
        ("1" * 5000, "a number of thousands of digits", "numbers that float32 can hold"),
        (
            '{"a": -' + "1" * 5000 + "}",
            "a number of thousands of digits",
            "numbers that float32 can hold",
        ),
    ],
)
def test_text_that_is_no_strict_json_is_malformed(text: str, words: str, expected: str) -> None:
    """Python's reader takes more than JSON; this one does not (requests 3.2)."""
    with pytest.raises(InputError) as caught:
        parse_json(text, "here")
    assert caught.value.code == "malformed_request"
    assert str(caught.value) == f"here: got {words}, expected {expected}"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 10**5 + "]" * 10**5])
def test_json_nested_too_deep_is_malformed(text: str) -> None:
    """The parser's own limit, not a crash."""
    with pytest.raises(InputError) as caught:
        parse_json(text, "body")
    assert str(caught.value) == "body: got JSON nested too deep, expected rows of plain values"


def test_error_of_the_parser_is_not_chained() -> None:
    """What a log shows of a caller's mistake is the mistake alone."""
    with pytest.raises(InputError) as caught:
        parse_json("{", "body")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


# --- CSV ------------------------------------------------------------------------------------------


def csv(text: str) -> Table:
    rows = parse(text, media_type="text/csv; charset=utf-8", max_bytes=10**6).rows
    assert isinstance(rows, Table)
    assert (rows.place, rows.columns_place, rows.textual) == ("records", "header", True)
    return rows


@pytest.mark.parametrize(
    "text",
    [
        "a,b\n1,x\n2,\n",
        "a,b\r\n1,x\r\n2,\r\n",
        "a,b\r1,x\r2,\r",
        "a,b\n1,x\n2,",
        "\ufeffa,b\n1,x\n2,\n",
        '"a","b"\n"1","x"\n"2",""\n',
        "a,b\n\n1,x\n\n2,\n\n",
    ],
)
def test_csv_is_a_header_and_rows_of_cells(text: str) -> None:
    """With any line end, a byte order mark, quotes, blank lines (requests 3.3)."""
    table = csv(text)
    assert (table.columns, table.rows) == (["a", "b"], [["1", "x"], ["2", ""]])


def test_names_in_the_header_are_taken_as_they_are() -> None:
    """A model trained on a file with such a header has the spaces in its features' names."""
    assert csv("a , b\n1,x\n").columns == ["a ", " b"]


def test_quoted_cell_may_hold_anything() -> None:
    """Commas, quotes and line ends among it."""
    table = csv('a\n"x,y"\n"say ""hi"""\n"two\r\nlines"\n')
    assert table.rows == [["x,y"], ['say "hi"'], ["two\r\nlines"]]


@pytest.mark.parametrize(("text", "columns"), [("a,b\n", ["a", "b"]), ("a", ["a"]), ("\n", [])])
def test_csv_without_rows_has_none(text: str, columns: list[str]) -> None:
    """The encoder refuses it then, with its reason."""
    table = csv(text)
    assert (table.columns, table.rows) == (columns, [])


@pytest.mark.parametrize(
    ("text", "line"),
    [('a\n"x\n', 2), ('a\n"x"y\n', 2), ("a\n" + "x" * 200_000 + "\n", 2)],
)
def test_text_that_is_no_csv_is_malformed(text: str, line: int) -> None:
    """The reader's reason is passed on."""
    found = refusal(text, media_type=CSV_TYPE, max_bytes=10**6)
    assert found.startswith(f"malformed_request: body: got text that is no CSV at line {line} (")
    assert found.endswith("), expected CSV")


# --- properties -----------------------------------------------------------------------------------


@given(st.binary(max_size=100), st.sampled_from(["", "text/csv"]), st.booleans())
def test_any_bytes_give_a_query_or_an_input_error(
    content: bytes, media_type: str, is_base64: bool
) -> None:
    """Nothing else can come out, whatever goes in."""
    body = encoded(content) if is_base64 else content
    try:
        query = parse(body, media_type=media_type, is_base64=is_base64)
    except InputError as error:
        assert error.code == "malformed_request"
    else:
        assert query.n_rows >= 0


@given(st.text(max_size=100), st.sampled_from(["", "text/csv"]), st.booleans())
def test_any_text_gives_a_query_or_an_input_error(
    text: str, media_type: str, is_base64: bool
) -> None:
    """Also text that no encoding can hold."""
    try:
        query = parse(text, media_type=media_type, is_base64=is_base64)
    except InputError as error:
        assert error.code == "malformed_request"
    else:
        assert query.n_rows >= 0


_cell = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=6)


@given(st.lists(st.tuples(_cell, _cell), min_size=1, max_size=4))
def test_any_quoted_cells_survive_csv(rows: list[tuple[str, str]]) -> None:
    """What is quoted is read back as it was."""
    lines = ["a,b", *(",".join('"' + c.replace('"', '""') + '"' for c in row) for row in rows)]
    assert csv("\n".join(lines)).rows == [list(row) for row in rows]


# --- texts of too many parts ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "media_type"),
    [
        ("[" + '{"a":1},' * 10_201 + "]", ""),  # no JSON, for that matter: it is never parsed
        ("[" + "[]," * 10_200, ""),
        ("a\n" + "1\n" * 10_200, CSV_TYPE),
    ],
    ids=["objects", "lists", "lines"],
)
def test_text_of_far_more_parts_than_rows_is_refused_before_it_is_parsed(
    text: str, media_type: str
) -> None:
    """Parsed, it would take many times its size."""
    found = refusal(text, media_type=media_type, max_bytes=10**6)
    assert re.fullmatch(r"too_many_rows: records: got 1020\d rows, expected at most 100", found)
    assert refusal(encoded(text.encode()), is_base64=True, media_type=media_type, max_bytes=10**6)


def test_rows_beyond_the_limit_within_reason_are_counted_exactly() -> None:
    """So that whoever asks learns how many there were; see `parse_query`."""
    assert parse("[" + ",".join(['{"a":1}'] * 10_199) + "]", max_bytes=10**6).n_rows == 10_199
