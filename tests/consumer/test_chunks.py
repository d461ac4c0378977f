import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.chunks import Rows, Span, Table, encode_rows, fit, halve, to_rows
from consumer.errors import (
    InferenceError,
    MalformedRequestError,
    NoRowsError,
    NotANumberError,
    RequestTooLargeError,
)
from interface.envelope import Request
from tests.consumer.conftest import rows_of

REQUEST = Request(id="1", event={})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (5, "rows: got a int, expected records, a table, or one record"),
        ("text", "rows: got a str, expected records, a table, or one record"),
        ({"records": 5}, "records: got a int, expected a list"),
        ({"records": {"x": 1}}, "records: got a dict, expected a list"),
        (
            {"records": [], "topK": 1},
            "rows: got the unknown field 'topK', expected nothing beside the rows",
        ),
        (
            {"columns": "x", "data": []},
            "rows: got columns and data of another type, expected two lists",
        ),
        ([5], "records[0]: got a int, expected an object"),
        ([{"x": 1}, None], "records[1]: got a NoneType, expected an object"),
        ([{1: 1}], "records[0]: got the field 1, expected names of features as text"),
        (Table(["x"], [5]), "data[0]: got a int, expected a list"),  # type: ignore[list-item]
        (Table(["x"], [{"x": 1}]), "data[0]: got a dict, expected a list"),  # type: ignore[list-item]
        (Table([5], [[1]]), "columns[0]: got 5, expected a column's name as text"),  # type: ignore[list-item]
        (
            [{"\ud800": 1}, {}],
            "records[0]: got names that are no JSON, expected names of features as text",
        ),
    ],
)
def test_rows_of_another_form_are_refused(rows: Any, message: str) -> None:
    """Before anything is sent; the text says where and why."""
    with pytest.raises(MalformedRequestError) as caught:
        encode_rows(to_rows(rows))
    assert str(caught.value) == message


@pytest.mark.parametrize("rows", [[], {"records": []}, Table(["x"], []), Table([], [], True)])
def test_no_rows_are_refused(rows: Any) -> None:
    """In every form."""
    with pytest.raises(NoRowsError, match=r"^(records|data): got no rows, expected one row at "):
        encode_rows(to_rows(rows))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_json_has_not_is_refused_with_its_place(value: float) -> None:
    """In each form as the caller would look for it."""
    forms: list[tuple[Rows, str]] = [
        ([{"x": 1}, {"x": value}], "records[1].x"),
        ([{"x": 1}, {"y": value}], "records[1].y"),
        (Table(["x"], [[1], [value]]), "data[1].x"),
    ]
    for rows, place in forms:
        with pytest.raises(NotANumberError) as caught:
            encode_rows(rows)
        assert str(caught.value) == f"{place}: got {value}, expected a finite number or null"


@pytest.mark.parametrize("value", [b"x", {1}, object(), 1j, "\ud800"])
def test_value_that_json_has_not_is_refused_with_its_place(value: Any) -> None:
    """Its type is said, and why."""
    with pytest.raises(MalformedRequestError) as caught:
        encode_rows([{"x": 1, "y": value}])
    start = f"records[0].y: got a {type(value).__name__} that is no JSON ("
    assert str(caught.value).startswith(start)


def test_changing_the_rows_afterwards_changes_nothing() -> None:
    """They are read once, when they are encoded."""
    rows = [{"x": 1}]
    encoded = encode_rows(rows)
    rows[0]["x"] = 2
    assert json.loads(encoded.message(REQUEST, Span(0, 1)))["data"] == [[1]]


_SCALARS = st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8"))
_VALUES = _SCALARS | st.floats(allow_nan=False, allow_infinity=False)
_RECORDS = st.lists(
    st.dictionaries(st.text(st.characters(codec="utf-8"), max_size=3), _VALUES, max_size=4),
    min_size=1,
    max_size=8,
)


@given(_RECORDS, st.data())
def test_message_of_any_span_has_its_rows(records: list[dict[str, Any]], data: Any) -> None:
    """As records or as a table; each value is the same to the bit."""
    start = data.draw(st.integers(0, len(records) - 1))
    stop = data.draw(st.integers(start + 1, len(records)))
    message = encode_rows(records).message(REQUEST, Span(start, stop))
    found = rows_of(json.loads(message))
    assert [repr(sorted(row.items())) for row in found] == [
        repr(sorted(row.items())) for row in records[start:stop]
    ]


@given(st.lists(st.text('a"\\é \n', max_size=40), min_size=1, max_size=30), st.integers(60, 200))
def test_spans_fit_and_none_could_be_longer(texts: list[str], max_bytes: int) -> None:
    """A message is as full as its rows allow."""
    rows = encode_rows([{"x": text} for text in texts])
    head = len(rows.message(REQUEST, Span(0, 0)))
    whole = Span(0, len(texts))
    try:
        spans = fit(rows, whole, head_bytes=head, max_bytes=max_bytes, max_rows=None)
    except RequestTooLargeError as error:
        assert any(head + len(piece) > max_bytes for piece in rows.pieces)
        assert str(error).startswith("records[")
        return
    assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
    assert spans[-1].stop == len(texts)
    for span in spans:
        assert len(rows.message(REQUEST, span)) <= max_bytes
        if span.stop < len(texts):
            longer = Span(span.start, span.stop + 1)
            assert len(rows.message(REQUEST, longer)) > max_bytes


def test_row_too_large_for_a_message_says_how_large() -> None:
    """Nothing of the batch is sent then."""
    rows = encode_rows(Table(["x"], [["a"], ["b" * 100]]))
    with pytest.raises(RequestTooLargeError) as caught:
        fit(rows, Span(0, 2), head_bytes=50, max_bytes=100, max_rows=None)
    expected = "data[1]: got a row for a message of 154 bytes, expected at most 100"
    assert str(caught.value) == expected
    assert isinstance(caught.value, InferenceError)


@pytest.mark.parametrize(
    ("max_rows", "lengths"), [(None, [5]), (5, [5]), (2, [2, 2, 1]), (1, [1] * 5)]
)
def test_spans_have_no_more_rows_than_may_be(max_rows: int | None, lengths: list[int]) -> None:
    """Where the service has said how many."""
    rows = encode_rows([{"x": i} for i in range(5)])
    spans = fit(rows, Span(0, 5), head_bytes=50, max_bytes=1000, max_rows=max_rows)
    assert [len(span) for span in spans] == lengths


def test_halves_cover_the_whole() -> None:
    """The first half of an odd span is the longer one."""
    assert [halve(Span(10, 10 + n)) for n in (2, 3, 8, 9)] == [1, 2, 4, 5]
