from typing import Any

import pytest

from nucleus.operations.json_message import (
    DEAFENING_BYTES,
    REFUSED_BYTES,
    depth,
    lite_bytes,
    to_doubles,
)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 0), ("text", 0), (None, 0), ([], 1), ({}, 1), ([1], 1), ([[], [[]]], 3), ({"a": [{}]}, 3)],
)
def test_depth_counts_what_is_in_each_other(value: Any, expected: int) -> None:
    """A plain value is in nothing."""
    assert depth(value) == expected


def test_depth_has_no_bound_of_its_own() -> None:
    """It must not fail where Python's own recursion would."""
    value: Any = []
    for _ in range(5_000):
        value = [value]
    assert depth(value) == 5_001


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, 63),
        ("a long text", 63),
        ([1, 2], 63 + 2 * 11),
        ({"a": 1, "b": 2}, 63 + 2 * 21),
        ({"a": [1, {"b": 2}]}, 63 + 21 + 2 * 11 + 21),
    ],
)
def test_memory_on_lite_counts_elements_and_pairs(value: Any, expected: int) -> None:
    """Texts stay where they came."""
    assert lite_bytes(value) == expected


def test_limits_are_those_that_were_seen() -> None:
    """On a running lite, a list of 45 deafened and one of 44 did not; one of 200 was refused."""
    assert lite_bytes([0] * 44) <= DEAFENING_BYTES < lite_bytes([0] * 45)
    assert lite_bytes([0] * 200) > REFUSED_BYTES


def test_numbers_become_doubles() -> None:
    """Booleans are no numbers; what no double can hold is infinite."""
    found = to_doubles({"a": [1, True, None, "1", -(10**400)], "b": 10**400})
    assert repr(found) == "{'a': [1.0, True, None, '1', -inf], 'b': inf}"
