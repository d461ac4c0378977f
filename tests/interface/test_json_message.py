"""JSON that passed through a nucleus is JSON again."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interface.json_message import encode_message


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"id": 7.0, "x": 0.1}, '{"id":7,"x":0.1}'),
        ([1.0, -2.0, 0.0, 2.0**53], "[1,-2,0,9007199254740992]"),
        (-0.0, "-0.0"),
        (1e300, "1e+300"),
        (2.0**54, "1.8014398509481984e+16"),
        ([True, None, 5, "7.0"], '[true,null,5,"7.0"]'),
        ({"é": "\ud800"}, '{"\\u00e9":"\\ud800"}'),
        (math.nan, "NaN"),
        (-math.inf, "-Infinity"),
    ],
)
def test_message_is_written_compactly_with_whole_numbers(value: object, text: str) -> None:
    """A sign of zero stays, and so does what is too large to be exact."""
    assert encode_message(value).decode() == text


@given(
    st.recursive(
        st.integers(-(2**53), 2**53) | st.floats(allow_nan=False) | st.text() | st.none(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=10,
    )
)
def test_message_means_the_same(value: Any) -> None:
    """Numbers are equal, whatever they are written as."""
    assert json.loads(encode_message(value)) == value
