import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import BundleError, BundleFormatError
from model.golden import (
    RELATIVE_TOLERANCE,
    Difference,
    GoldenRow,
    difference,
    encode_golden,
    parse_golden,
)
from model.manifest import Scalar

ROWS = [
    GoldenRow(
        row={"pH": 3.2, "colour": "größe", "ok": True, "n": None},
        prediction="barolo",
        probabilities=(0.25, 0.75),
        actual="barbera",
    ),
    GoldenRow(row={"pH": 1}, prediction=0.1),
]


# --- the file -------------------------------------------------------------------------------------


def test_encoded_rows_parse_to_the_same() -> None:
    """Nothing is lost on the way through the file, also what is not there."""
    assert parse_golden(encode_golden(ROWS)) == ROWS


def test_encoding_is_one_json_object_a_line() -> None:
    """What is None is left out."""
    assert encode_golden(ROWS).decode().splitlines() == [
        '{"row": {"pH": 3.2, "colour": "größe", "ok": true, "n": null}, '
        '"prediction": "barolo", "probabilities": [0.25, 0.75], "actual": "barbera"}',
        '{"row": {"pH": 1}, "prediction": 0.1}',
    ]


@pytest.mark.parametrize("break_", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c", "\n", "\r"])
def test_line_break_inside_a_value_does_not_end_the_row(break_: str) -> None:
    """Unicode has more line breaks than JSON lines does; only `\\n` ends a row."""
    rows = [GoldenRow(row={f"a{break_}b": f"c{break_}d"}, prediction=f"e{break_}f")]
    assert parse_golden(encode_golden(rows)) == rows


_text = st.text(st.characters(codec="utf-8"), max_size=6)
_finite = st.floats(allow_nan=False, allow_infinity=False)
_scalar = st.one_of(_text, st.integers(), _finite, st.booleans())
_golden_rows = st.builds(
    GoldenRow,
    row=st.dictionaries(_text, st.none() | _scalar, max_size=3),
    prediction=_scalar,
    probabilities=st.none() | st.lists(_finite, min_size=1, max_size=3).map(tuple),
    actual=st.none() | _scalar,
)


@given(st.lists(_golden_rows, min_size=1, max_size=4))
def test_any_golden_rows_survive_the_file(rows: list[GoldenRow]) -> None:
    """What `encode_golden` writes, `parse_golden` reads back unchanged."""
    assert parse_golden(encode_golden(rows)) == rows


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "golden.jsonl: got no rows, expected one at least"),
        (
            b"\xff\n",
            "golden.jsonl: got bytes that are no UTF-8 ('utf-8' codec can't decode byte 0xff in "
            "position 0: invalid start byte), expected text",
        ),
        (b"{\n", "golden.jsonl: line 1: got text that is no JSON, expected a JSON object"),
        (
            b"[" * 100_000,
            "golden.jsonl: line 1: got text that is no JSON, expected a JSON object",
        ),
        (
            b'{"row": {"a": ' + b"1" * 5000 + b'}, "prediction": 1}',
            "golden.jsonl: line 1: got text that is no JSON, expected a JSON object",
        ),
        (b"[]\n", "golden.jsonl: line 1: got a list of 0, expected an object with a row"),
        (
            b'{"prediction": 1}\n',
            "golden.jsonl: line 1: got an object of 1 fields, expected an object with a row",
        ),
        (
            b'{"row": {}, "prediction": 1}\n{"row": [], "prediction": 1}\n',
            "golden.jsonl: line 2: got an object of 2 fields, expected an object with a row",
        ),
        (
            b'{"row": {}}\n',
            "golden.jsonl: line 1: got the prediction null, expected a number or a label",
        ),
        (
            b'{"row": {}, "prediction": [1]}\n',
            "golden.jsonl: line 1: got the prediction a list of 1, expected a number or a label",
        ),
    ],
)
def test_damaged_file_is_refused_with_the_line(content: bytes, text: str) -> None:
    """The text names the line and what is wrong with it."""
    with pytest.raises(BundleFormatError) as caught:
        parse_golden(content)
    assert str(caught.value) == text
    assert caught.value.file.startswith("golden.jsonl")


@pytest.mark.parametrize("probabilities", ["5", "true", '"ab"', '{"a": 1}', '["x"]', "[null]"])
def test_probabilities_that_are_no_list_of_numbers_are_refused(probabilities: str) -> None:
    """Every form of nonsense is a `BundleFormatError`, never a `TypeError`."""
    content = f'{{"row": {{}}, "prediction": 1, "probabilities": {probabilities}}}\n'
    with pytest.raises(BundleFormatError) as caught:
        parse_golden(content.encode())
    assert caught.value.file == "golden.jsonl: line 1"


@pytest.mark.parametrize("actual", ["[1]", '{"a": 1}'])
def test_actual_that_is_no_scalar_is_refused(actual: str) -> None:
    """A true value is a number or a label, as a prediction is."""
    content = f'{{"row": {{}}, "prediction": 1, "actual": {actual}}}\n'
    with pytest.raises(BundleFormatError) as caught:
        parse_golden(content.encode())
    assert caught.value.file == "golden.jsonl: line 1"


CONTENT = encode_golden(ROWS)


@given(st.integers(0, len(CONTENT) - 1), st.integers(0, 255))
def test_any_changed_byte_raises_nothing_but_bundle_errors(at: int, byte: int) -> None:
    """A changed byte is refused, or leaves rows that are whole."""
    try:
        rows = parse_golden(CONTENT[:at] + bytes([byte]) + CONTENT[at + 1 :])
    except BundleError as error:
        assert error.file.startswith("golden.jsonl")
    else:
        assert rows


# --- the comparison -------------------------------------------------------------------------------


def compare(
    prediction: object,
    probabilities: list[Any] | None = None,
    *,
    expected: GoldenRow = ROWS[0],
    exact: bool = True,
) -> Difference | None:
    return difference(expected, prediction, probabilities, exact=exact, place="row 4")


def test_same_answer_is_no_difference() -> None:
    """Equal predictions and probabilities pass, exactly or not."""
    assert compare("barolo", [0.25, 0.75]) is None
    assert compare("barolo", [0.25, 0.75], exact=False) is None
    assert compare(0.1, None, expected=ROWS[1]) is None


def test_last_bit_counts_on_the_architecture_that_recorded() -> None:
    """There a prediction is the same or it is wrong."""
    nearly = math.nextafter(0.1, 1)
    found = compare(nearly, expected=ROWS[1])
    assert str(found) == "row 4.prediction: got 0.10000000000000002, expected 0.1"
    nearly = math.nextafter(0.75, 1)
    found = compare("barolo", [0.25, nearly])
    assert found == Difference("row 4.probabilities[1]", "0.7500000000000001", "0.75")


@pytest.mark.parametrize(("factor", "same"), [(0.9, True), (1.1, False)])
@pytest.mark.parametrize("sign", [1, -1])
def test_other_architecture_may_differ_within_the_tolerance(
    factor: float, same: bool, sign: int
) -> None:
    """A millionth of the value, and no more."""
    near = 0.1 * (1 + sign * factor * RELATIVE_TOLERANCE)
    assert (compare(near, expected=ROWS[1], exact=False) is None) is same
    near = 0.75 * (1 + sign * factor * RELATIVE_TOLERANCE)
    assert (compare("barolo", [0.25, near], exact=False) is None) is same


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(
    ("found", "text"),
    [
        ("barbera", "row 4.prediction: got 'barbera', expected 'barolo'"),
        (0, "row 4.prediction: got 0, expected 'barolo'"),
        (None, "row 4.prediction: got null, expected 'barolo'"),
    ],
)
def test_other_label_is_a_difference_on_any_architecture(
    found: object, text: str, exact: bool
) -> None:
    """No tolerance makes two labels one."""
    assert str(compare(found, [0.25, 0.75], exact=exact)) == text


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize(("wanted", "got"), [(1, 1.0), (1.0, 1), (1, True), (False, 0), ("1", 1)])
def test_other_type_is_a_difference_on_any_architecture(
    wanted: Scalar, got: object, exact: bool
) -> None:
    """A label 1 is not a label true, and a number as text is no number."""
    expected = GoldenRow(row={}, prediction=wanted)
    assert compare(got, expected=expected, exact=exact) is not None


@pytest.mark.parametrize("exact", [True, False])
def test_not_a_number_is_always_a_difference(exact: bool) -> None:
    """A NaN equals nothing, least of all a recorded prediction."""
    assert compare(math.nan, expected=ROWS[1], exact=exact) is not None


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (None, "row 4.probabilities: got 0 values, expected 2"),
        ([0.25], "row 4.probabilities: got 1 values, expected 2"),
        ([0.25, 0.5, 0.25], "row 4.probabilities: got 3 values, expected 2"),
        ([0.75, 0.25], "row 4.probabilities[0]: got 0.75, expected 0.25"),
        ([0.25, "0.75"], "row 4.probabilities[1]: got '0.75', expected 0.75"),
    ],
)
def test_other_probabilities_are_a_difference(found: list[Any] | None, text: str) -> None:
    """Their number, their order and their type count."""
    assert str(compare("barolo", found)) == text


def test_probabilities_that_were_not_recorded_are_a_difference() -> None:
    """A model that gave none then gives none now."""
    text = "row 4.probabilities: got 1 values, expected 0"
    assert str(compare(0.1, [0.5], expected=ROWS[1])) == text
