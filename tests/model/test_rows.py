import json
import math
import random
import struct
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model import rows as module
from model.features import FLOAT32_MAX, FeatureEncoder
from model.manifest import Feature, Policy
from model.rows import RowScanner, make_scanner, write_numbers
from tests.model.event_texts import BROKEN_NUMBERS, FIELDS, NUMBERS, OTHER_VALUES, event_texts

pytestmark = pytest.mark.kernel

SIZE = Feature(name="size", kind="float")
COUNT = Feature(name="größe", kind="int")
ACTIVE = Feature(name="active", kind="bool")
COLOUR = Feature(
    name="colour", kind="categorical", categories=("red", "grün", "a\\b", "\ud800", "1")
)
GRADE = Feature(name="grade", kind="categorical", categories=(10, 20.5, 0))
FLAG = Feature(name="flag", kind="categorical", categories=(True, False))
EVERY_KIND = (SIZE, COUNT, ACTIVE, COLOUR, GRADE, FLAG)

MAX_ROWS = 10_000


def scanner(*features: Feature, absent_field: Policy = "error") -> RowScanner:
    made = make_scanner(features, absent_field=absent_field)
    assert made is not None
    return made


def scan(event: str | bytes, *features: Feature, absent_field: Policy = "error") -> Any:
    content = event.encode() if isinstance(event, str) else event
    return scanner(*features, absent_field=absent_field).scan(content, MAX_ROWS)


def encoded(records: Any, *features: Feature, absent_field: Policy = "error") -> "array[float]":
    made = FeatureEncoder(features, absent_field=absent_field, unknown_category="error")
    return made.encode(records)


def values(event: str, *features: Feature) -> list[float]:
    found = scan(event, *features)
    assert found is not None
    return list(found[0].values)


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    fields = dict(pairs)
    assert len(fields) == len(pairs), "a key twice"
    return fields


def check(event: bytes, *features: Feature, absent_field: Policy) -> bool:
    """Whether the event is read; if so, as the general path reads it."""
    found = scan(event, *features, absent_field=absent_field)
    if found is None:
        return False
    matrix, fields = found
    value = json.loads(event.decode(), object_pairs_hook=unique, parse_constant=pytest.fail)
    if isinstance(value, dict) and "records" in value:
        records = value.pop("records")
        assert set(value) <= set(FIELDS)
        assert repr(fields) == repr(value or None)
    else:
        records = value if isinstance(value, list) else [value]
        assert fields is None
    wanted = encoded(records, *features, absent_field=absent_field)
    assert matrix.values.tobytes() == wanted.tobytes()
    assert matrix.n_rows == len(records)
    return True


# --- what is read ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        '{"records":[{"size":1.5},{"size":2.5}]}',
        '[{"size":1.5},{"size":2.5}]',
        ' [ { "size" : 1.5 } , {\n"size"\t:\r2.5 } ] ',
    ],
)
def test_rows_are_read_in_order(event: str) -> None:
    """One line of the matrix for each record, whatever the space between them."""
    assert values(event, SIZE) == [1.5, 2.5]
    found = scan(event, SIZE)
    assert found[0].n_rows == 2
    assert found[1] is None


def test_one_row_is_read() -> None:
    """An object without records is a row."""
    assert values('{"size":1.5}', SIZE) == [1.5]


def test_fields_stand_in_the_models_order() -> None:
    """Names decide, and each row may have an order of its own."""
    event = '[{"größe":2,"size":1},{"size":3,"größe":4},{"größe":6,"size":5}]'
    assert values(event, SIZE, COUNT) == [1, 2, 3, 4, 5, 6]


def test_every_kind_is_read() -> None:
    """Numbers, booleans, and categories of all types."""
    row = '{"size":1.5,"größe":3,"active":true,"colour":"grün","grade":20.5,"flag":false}'
    assert values(row, *EVERY_KIND) == [1.5, 3, 1, 1, 1, 1]
    row = '{"size":-0.0,"größe":-0,"active":0,"colour":"1","grade":10.0,"flag":true}'
    assert values(row, *EVERY_KIND) == [0, 0, 0, 4, 0, 0]


def test_null_is_missing_for_every_kind() -> None:
    """It is the same NaN as the general path writes."""
    row = dict.fromkeys([feature.name for feature in EVERY_KIND])
    found = scan(json.dumps([row], ensure_ascii=False), *EVERY_KIND)
    assert found[0].values.tobytes() == array("f", [math.nan] * 6).tobytes()


def test_fields_beside_the_rows_are_handed_over() -> None:
    """Before and after the rows, in their own types, unchecked."""
    before, after = '"id":"ä","topK":2', '"threshold":0.25,"deadlineMs":null,"replyTo":true'
    event = f'{{{before},"records":[{{"size":1}}],{after}}}'
    assert scan(event, SIZE)[1] == {
        "id": "ä",
        "topK": 2,
        "threshold": 0.25,
        "deadlineMs": None,
        "replyTo": True,
    }


def test_absent_field_is_missing_where_the_model_says_so() -> None:
    """Also where all are, and also after a row that had it."""
    found = scan('[{"size":1},{},{"größe":2}]', SIZE, COUNT, absent_field="missing")
    nan = math.nan
    assert found[0].values.tobytes() == array("f", [1, nan, nan, nan, nan, 2]).tobytes()


@pytest.mark.parametrize("text", NUMBERS)
def test_number_is_read_as_in_general_or_not_at_all(text: str) -> None:
    """At the borders of int, float64 and float32."""
    event = f'[{{"size":{text}}}]'.encode()
    if not check(event, SIZE, absent_field="error"):
        number = json.loads(text) if len(text) < 4000 else math.inf
        assert not (isinstance(number, float) and abs(number) <= FLOAT32_MAX)
        assert abs(number) >= 10**18
    check(event, Feature(name="size", kind="bool"), absent_field="error")
    for categories in ((10, 0), (1, 2.0), (0.1, 9007199254740992)):
        grade = Feature(name="size", kind="categorical", categories=categories)
        check(event, grade, absent_field="error")


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from([repr, "%.17e", "%.25e", "%.12f"]),
)
@settings(max_examples=500)
def test_any_double_is_rounded_as_python_rounds_it(number: float, form: Any) -> None:
    """In the shortest form, and in forms with more digits than that."""
    text = form(number) if callable(form) else form % number
    read = check(f'[{{"size":{text}}}]'.encode(), SIZE, absent_field="error")
    assert read is (abs(float(text)) <= FLOAT32_MAX)


@given(st.integers(0, 0x7F7FFFFE), st.integers(-3, 3), st.integers(0, 8))
@settings(max_examples=500)
def test_number_beside_the_middle_of_two_floats_is_rounded_as_python_rounds_it(
    pattern: int, off: int, digits: int
) -> None:
    """Where the fast way cannot know, the exact one decides."""
    low, high = struct.unpack("<ff", struct.pack("<II", pattern, pattern + 1))
    middle = (low + high) / 2
    for _ in range(abs(off)):
        middle = math.nextafter(middle, math.inf if off > 0 else 0)
    for text in (repr(middle), f"{middle:.{16 + digits}e}", f"-{middle:.{16 + digits}e}"):
        assert check(f'[{{"size":{text}}}]'.encode(), SIZE, absent_field="error")


@given(st.integers(-(10**18) + 1, 10**18 - 1))
def test_whole_number_of_18_digits_is_rounded_once(number: int) -> None:
    """As the general path rounds it."""
    assert check(f'[{{"size":{number}}}]'.encode(), SIZE, absent_field="error")


def test_many_categories_are_found() -> None:
    """By their text, among others of the same length."""
    names = (*[f"c{i:04d}" for i in range(3000)], "", "c")
    feature = Feature(name="colour", kind="categorical", categories=names)
    event = json.dumps([{"colour": name} for name in names])
    assert values(event, feature) == list(range(3002))


def test_many_rows_are_read() -> None:
    """The matrix grows with them."""
    draw = random.Random(1)
    records = [{"size": draw.gauss(0, 1e3), "größe": draw.randint(-9, 9)} for _ in range(2000)]
    event = json.dumps({"records": records}, ensure_ascii=False).encode()
    assert check(event, SIZE, COUNT, absent_field="error")


# --- what is left to the general path -------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        "",
        " ",
        "null",
        "1",
        "[]",
        "[[]]",
        '{"records":[]}',
        '{"records":{}}',
        '{"records":null}',
        '{"records":[{"size":1}],"records":[{"size":1}]}',
        '{"records":[{"size":1}],"id":1,"id":2}',
        '{"records":[{"size":1}],"body":1}',
        '{"records":[{"size":1}],"requestContext":{}}',
        '{"records":[{"size":1}],"id":[1]}',
        '{"id":1}',
        '{"id":1,"size":1}',
        '{"columns":["size"],"data":[[1]]}',
        '{"body":"[]"}',
        "{}",
        "[{}]",
        '[{"size":1,"size":1}]',
        '[{"size":1,"other":1}]',
        '[{"s\\u0069ze":1}]',
        '[{"size":1}]]',
        '[{"size":1},]',
        '[{"size":1,}]',
        '[{"size":1}',
        '[{"size":1}] x',
        '\ufeff[{"size":1}]',
        '[{"size":1}]\x00',
        '[{"size"',
        '[{"size":',
        "[{",
        '{"records',
        '{"records"',
        '{"',
    ],
)
def test_event_of_another_kind_is_left(event: str) -> None:
    """Other forms, duplicates, escapes, faults: the general path knows what to say."""
    assert scan(event, SIZE) is None


@pytest.mark.parametrize("text", BROKEN_NUMBERS + OTHER_VALUES[1:])
def test_value_that_is_none_is_left(text: str) -> None:
    """No number is made of what is none."""
    assert scan(f'[{{"size":{text}}}]'.encode(errors="surrogatepass"), SIZE) is None


def test_more_rows_than_asked_for_are_left() -> None:
    """No memory is spent on them."""
    event = b'[{"size":1},{"size":2},{"size":3}]'
    made = scanner(SIZE)
    assert made.scan(event, 2) is None
    assert made.scan(event, 0) is None
    assert made.scan(event, 3) is not None


def test_text_that_is_no_utf8_is_left() -> None:
    """In an id as in a name."""
    assert scan(b'{"records":[{"size":1}],"id":"\xff"}', SIZE) is None
    assert scan(b'{"records":[{"size":1}],"id":"\xed\xa0\x80"}', SIZE) is None
    assert scan(b'[{"gr\xf6\xdfe":1}]', COUNT) is None


@pytest.mark.parametrize("name", ['a"b', "a\\", "a\nb", "\ud800"])
def test_name_that_needs_an_escape_is_left(name: str) -> None:
    """Without it, it would be no JSON; the others are read."""
    feature = Feature(name=name, kind="float")
    raw = f'[{{"{name}":1}}]'.encode(errors="surrogatepass")
    assert scan(raw, feature) is None
    assert scan(json.dumps([{name: 1}]), feature) is None
    found = scan('[{"size":1}]', feature, SIZE, absent_field="missing")
    assert found[0].values[1] == 1


@pytest.mark.parametrize("name", ["records", "body", "columns", "data", "op", "requestContext"])
def test_row_of_a_model_with_a_name_of_ours_is_left(name: str) -> None:
    """It might be no row; in a list it is one."""
    feature = Feature(name=name, kind="float")
    assert scan(json.dumps({name: 1}), feature) is None
    assert values(json.dumps([{name: 1}]), feature) == [1]


def test_category_that_is_none_of_the_models_is_left() -> None:
    """Whether it is missing or wrong is not decided here."""
    assert scan('[{"colour":"violet"}]', COLOUR) is None
    assert scan('[{"grade":11}]', GRADE) is None
    only = Feature(name="flag", kind="categorical", categories=(True,))
    assert scan('[{"flag":false}]', only) is None


def test_category_beyond_a_double_is_left() -> None:
    """Two of them could be one."""
    feature = Feature(name="grade", kind="categorical", categories=(2**53 + 1, 1, 10**400))
    assert scan('[{"grade":1}]', feature) is None


def test_what_is_no_bytes_is_an_error() -> None:
    """That would be our own fault."""
    with pytest.raises(TypeError, match="expected bytes"):
        scanner(SIZE).scan("[]", 1)  # type: ignore[arg-type]


# --- both ways agree ------------------------------------------------------------------------------


@given(event=event_texts(EVERY_KIND), absent_field=st.sampled_from(["error", "missing"]))
@settings(max_examples=600)
def test_whatever_is_read_is_read_as_in_general(event: bytes, absent_field: Policy) -> None:
    """Bit for bit; and nothing is read that the general path refuses."""
    check(event, *EVERY_KIND, absent_field=absent_field)


@given(event=event_texts((SIZE, ACTIVE, FLAG), oddities=0))
def test_plain_event_is_read(event: bytes) -> None:
    """The fast way is for the common case: nothing but what float32 cannot hold is left."""
    huge = [text for text in NUMBERS if abs(_number(text)) >= 10**18]
    if not any(text.encode() in event for text in huge):
        assert check(event, SIZE, ACTIVE, FLAG, absent_field="error")


def _number(text: str) -> float:
    return json.loads(text) if len(text) < 4000 else math.inf


# --- numbers to text ------------------------------------------------------------------------------


def as_float32(number: float) -> float:
    return float(struct.unpack("<f", struct.pack("<f", number))[0])


def as_json(numbers: Any) -> str:
    return json.dumps(numbers, separators=(",", ":"))


FLOAT32 = st.integers(0, 0x7F7FFFFF).map(lambda it: struct.unpack("<f", struct.pack("<I", it))[0])


@given(st.lists(FLOAT32 | st.floats(0, 1, width=32) | st.floats(1e-4, 2**24).map(as_float32)))
@settings(max_examples=1000)
def test_float32_is_written_as_json_writes_it(numbers: list[float]) -> None:
    """The fewest digits of the float64 that it is, and the nearest of these."""
    numbers = numbers + [-number for number in numbers]
    assert write_numbers(numbers) == as_json(numbers)


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False))))
def test_any_number_is_written_as_json_writes_it(numbers: list[list[float]]) -> None:
    """In lists of lists, too."""
    assert write_numbers(numbers) == as_json(numbers)


@pytest.mark.parametrize("power", range(-14, 25))
def test_number_at_a_power_of_two_is_written_as_json_writes_it(power: int) -> None:
    """Where the doubles below lie closer; and its neighbours."""
    near = [math.ldexp(1 + step * 2**-24, power) for step in (-2, -1, 0, 2, 4)]
    assert write_numbers(near) == as_json(near)


def test_number_between_two_decimals_is_written_as_json_writes_it() -> None:
    """17 digits that end in 5 are as near to the one as to the other of 16: the even one."""
    numbers = [k / 2**17 for k in range(1, 2**17, 2)]
    assert write_numbers(numbers) == as_json(numbers)


@pytest.mark.parametrize("exponent", range(-5, 9))
def test_number_at_a_power_of_ten_is_written_as_json_writes_it(exponent: int) -> None:
    """Where there is one digit more or less before the point."""
    (pattern,) = struct.unpack("<I", struct.pack("<f", float(f"1e{exponent}")))
    near = [struct.unpack("<f", struct.pack("<I", pattern + step))[0] for step in range(-3, 4)]
    assert write_numbers(near) == as_json(near)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("extension", [True, False])
def test_number_that_json_has_not_is_no_text(
    monkeypatch: pytest.MonkeyPatch, number: float, extension: bool
) -> None:
    """It would be no JSON, with the extension or without."""
    if not extension:
        monkeypatch.setattr(module, "_rows", None)
    with pytest.raises(ValueError, match=r"number: got|JSON compliant"):
        write_numbers([1.0, number])


@pytest.mark.parametrize("numbers", [(), 1.0, [1], ["a"], [[[1.0]]], [None]])
def test_what_is_no_list_of_floats_is_an_error(numbers: Any) -> None:
    """That would be our own fault."""
    with pytest.raises(TypeError, match="expected a list of floats"):
        write_numbers(numbers)


# --- without it -----------------------------------------------------------------------------------


def test_without_the_extension_numbers_are_written_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the JSON library itself."""
    numbers = [[0.1, 1e-5], [as_float32(0.1)]]
    wanted = write_numbers(numbers)
    monkeypatch.setattr(module, "_rows", None)
    assert write_numbers(numbers) == wanted == "[[0.1,1e-05],[0.10000000149011612]]"


def test_without_the_extension_there_is_no_scanner(monkeypatch: pytest.MonkeyPatch) -> None:
    """The general path serves alone."""
    monkeypatch.setattr(module, "_rows", None)
    assert make_scanner([SIZE], absent_field="error") is None


@pytest.mark.parametrize(
    "features",
    [
        [],
        (1,),
        ((b"a", 0),),
        ((b"a", 0, []),),
        (("a", 0, ()),),
        ((b"a", 5, ()),),
        ((b"a", -1, ()),),
        ((b"a", 2, ("x",)),),
        ((b"a", 3, ("x",)),),
    ],
)
def test_extension_refuses_features_of_another_form(features: Any) -> None:
    """An error, and no crash."""
    assert module._rows is not None
    with pytest.raises((TypeError, ValueError)):
        module._rows.Scanner(features, absent_is_missing=False, takes_one_row=True)
