from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer import errors
from consumer.errors import Fault, InferenceError, parse_error
from tests.consumer.conftest import refusal

CODES = {
    "malformed_request": errors.MalformedRequestError,
    "unknown_feature": errors.UnknownFeatureError,
    "missing_feature": errors.MissingFeatureError,
    "not_a_number": errors.NotANumberError,
    "unknown_category": errors.UnknownCategoryError,
    "no_rows": errors.NoRowsError,
    "too_many_rows": errors.TooManyRowsError,
    "request_too_large": errors.RequestTooLargeError,
    "unsupported_media_type": errors.UnsupportedMediaTypeError,
    "busy": errors.BusyError,
    "internal": errors.InternalError,
    "deadline_exceeded": errors.DeadlineExceededError,
}
"""The error table of docs/requests.md, section 7."""


@pytest.mark.parametrize("code", list(CODES))
def test_code_of_the_table_has_its_class(code: str) -> None:
    """And keeps code and message."""
    found = parse_error(refusal(code, "place: got a, expected b"), 0, "records")
    assert type(found) is CODES[code]
    assert (found.code, str(found)) == (code, "place: got a, expected b")


def test_unknown_code_is_the_base_class() -> None:
    """A newer service may have more of them."""
    found = parse_error(refusal("brand_new"), 0, "records")
    assert type(found) is InferenceError
    assert found.code == "brand_new"


def test_deadline_of_the_service_is_a_timeout() -> None:
    """One `except TimeoutError` catches both sides' clocks."""
    assert issubclass(errors.DeadlineExceededError, TimeoutError)
    assert issubclass(errors.RequestTimeoutError, TimeoutError)


@pytest.mark.parametrize(
    ("text", "renumbered"),
    [
        ("data[3].pH: got 'acid', expected b", "records[103].pH: got 'acid', expected b"),
        ("records[0]: got a, expected b", "records[100]: got a, expected b"),
        ("data[3]: got 'data[3]', expected b", "records[103]: got 'data[3]', expected b"),
        ("columns[3]: got a, expected b", "columns[3]: got a, expected b"),
        ("records: got a, expected b", "records: got a, expected b"),
        ("mydata[3]: got a, expected b", "mydata[3]: got a, expected b"),
    ],
)
def test_rows_of_a_part_are_numbered_as_the_callers(text: str, renumbered: str) -> None:
    """Only where the text begins; what was observed stays."""
    place, new_place = (it.partition(":")[0] for it in (text, renumbered))
    body = refusal("not_a_number", text)
    body["error"]["details"] = [
        {"code": "not_a_number", "place": place, "observed": "a", "expected": "b"}
    ]
    found = parse_error(body, 100, "records")
    assert found.message == renumbered
    assert found.details == (Fault("not_a_number", new_place, "a", "b"),)


def test_rows_are_called_as_the_caller_calls_them() -> None:
    """A table's are `data`, whatever the message had."""
    found = parse_error(refusal("not_a_number", "records[0].x: got a, expected b"), 2, "data")
    assert found.message == "data[2].x: got a, expected b"


def test_odd_value_in_a_detail_is_passed_over() -> None:
    """Lists in lists may be nested deeper than they can be written as text."""
    body = refusal("not_a_number", "a: got b, expected c")
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    body["error"]["details"] = [{"code": "a", "place": nested, "observed": 5}]
    assert parse_error(body, 0, "records").details == (Fault("a", "", "", ""),)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["code", "message", "details", "place"]), inner)
    ),
    max_leaves=10,
)


@given(_JSON)
def test_any_refusal_is_an_error_with_a_text(error: Any) -> None:
    """However odd it is."""
    found = parse_error({"error": error}, 0, "records")
    assert isinstance(found, InferenceError)
    assert isinstance(str(found), str)
    assert found.code != ""


def test_refusal_without_a_message_says_so() -> None:
    """A text is better than none."""
    found = parse_error({}, 0, "records")
    assert str(found) == "reply: got a refusal without a message"
    assert found.code == "unknown"
