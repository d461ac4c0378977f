import json
from typing import Any

import pytest

from model.errors import (
    BundleChecksumError,
    BundleError,
    BundleFormatError,
    BundleMismatchError,
    BundleVersionError,
    Fault,
    InputError,
    describe,
    input_error,
    shorten,
)


@pytest.mark.parametrize(
    "kind", [BundleFormatError, BundleChecksumError, BundleVersionError, BundleMismatchError]
)
def test_bundle_error_of_any_kind_names_file_observed_and_expected(kind: type[BundleError]) -> None:
    """Who catches the base class can tell the three apart without parsing the text."""
    error = kind("model.ubj", "3 bytes", "a model")
    assert isinstance(error, BundleError)
    assert str(error) == "model.ubj: got 3 bytes, expected a model"
    assert (error.file, error.observed, error.expected) == ("model.ubj", "3 bytes", "a model")


def test_single_fault_is_the_whole_text_of_its_error() -> None:
    """One fault is not announced as one of several."""
    error = input_error("not_a_number", "records[3].pH", "'acid'", "a number or null")
    assert str(error) == "records[3].pH: got 'acid', expected a number or null"
    assert error.code == "not_a_number"
    assert error.total == 1
    assert error.faults == (Fault("not_a_number", "records[3].pH", "'acid'", "a number or null"),)


def test_several_faults_are_counted_and_the_first_gives_the_code() -> None:
    """The text shows the first fault and how many there are besides."""
    faults = [Fault("no_rows", "a", "b", "c"), Fault("not_a_number", "d", "e", "f")]
    error = InputError(faults)
    assert str(error) == "a: got b, expected c (and 1 more)"
    assert (error.code, error.total) == ("no_rows", 2)


def test_total_beyond_the_listed_faults_is_what_is_counted() -> None:
    """A listing that was cut still tells the true number."""
    error = InputError([Fault("no_rows", "a", "b", "c")], total=500)
    assert str(error) == "a: got b, expected c (and 499 more)"
    assert len(error.faults) == 1


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-17, "-17"),
        (99_999_999_999_999_999_999, "99999999999999999999"),
        (10**20, "an integer of 67 bits"),
        (-(10**20), "an integer of 67 bits"),
        pytest.param(10**5000, "an integer of 16610 bits", id="5001 digits"),
        (1.5, "1.5"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (float("-inf"), "-Infinity"),
        ("acid", "'acid'"),
        ("it's", '"it\'s"'),
        ("", "''"),
        ([], "a list of 0"),
        ([1, 2], "a list of 2"),
        ({"a": 1}, "an object of 1 fields"),
        (b"ab", "b'ab'"),
    ],
)
def test_any_value_is_described_in_a_few_words(value: Any, words: str) -> None:
    """A value is described as JSON has it, and a huge one by its size."""
    assert describe(value) == words


def test_long_text_is_cut_in_the_middle() -> None:
    """Start and end of a long text remain, so that it can still be found."""
    text = "a" * 40 + "b" * 40
    assert shorten(text) == "a" * 30 + "…" + "b" * 30
    assert describe(text) == "'" + "a" * 30 + "…" + "b" * 30 + "'"


def test_text_at_the_limit_is_left_whole() -> None:
    """Sixty characters pass, the sixty-first is one too many."""
    assert shorten("x" * 60) == "x" * 60
    assert shorten("x" * 61) == "x" * 30 + "…" + "x" * 30


def test_lone_surrogate_is_described_as_text_that_json_can_carry() -> None:
    """A broken character in a request cannot break the answer to it."""
    assert json.dumps(describe("\ud800")).isascii()
    assert describe("\ud800") == r"'\ud800'"
