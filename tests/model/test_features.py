import math
from array import array
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import MAX_FAULTS, InputError
from model.features import FLOAT32_MAX, FeatureEncoder, Matrix, Rows, Table, parse_number
from model.manifest import Feature, Policy

COLOUR = Feature(name="colour", kind="categorical", categories=("red", "green"))
GRADE = Feature(name="grade", kind="categorical", categories=(10, 20.5))
FLAG = Feature(name="flag", kind="categorical", categories=(False, True))
ACTIVE = Feature(name="active", kind="bool")
COUNT = Feature(name="count", kind="int")
SIZE = Feature(name="size", kind="float")
EVERY_KIND = (COLOUR, GRADE, ACTIVE, COUNT, SIZE)
GOOD = {"colour": "green", "grade": 10, "active": True, "count": 7, "size": 0.5}


def encoder(
    *features: Feature, absent_field: Policy = "error", unknown_category: Policy = "error"
) -> FeatureEncoder:
    return FeatureEncoder(features, absent_field=absent_field, unknown_category=unknown_category)


def same(found: Sequence[float], wanted: Sequence[float]) -> bool:
    """Equal to the bit as float32; NaN equals NaN."""
    return array("f", found).tobytes() == array("f", wanted).tobytes()


def faults(rows: Rows, made: FeatureEncoder) -> list[str]:
    """The faults of rows that must be refused, each with its code."""
    with pytest.raises(InputError) as caught:
        made.encode(rows)
    return [f"{fault.code}: {fault}" for fault in caught.value.faults]


# --- what is taken --------------------------------------------------------------------------------


def test_row_of_every_kind_becomes_numbers_in_manifest_order() -> None:
    """Categories become their codes, booleans 0 and 1, numbers themselves."""
    assert same(encoder(*EVERY_KIND).encode([GOOD]), [1, 0, 1, 7, 0.5])


def test_columns_in_any_order_are_matched_by_name() -> None:
    """The order of a row's fields means nothing."""
    turned = dict(reversed(GOOD.items()))
    made = encoder(*EVERY_KIND)
    assert same(made.encode([turned]), made.encode([GOOD]))


def test_rows_follow_each_other_in_the_matrix() -> None:
    """The matrix is row after row."""
    rows = [{"count": 1, "size": 2}, {"size": 4, "count": 3}]
    assert same(encoder(COUNT, SIZE).encode(rows), [1, 2, 3, 4])


def test_null_is_missing_for_every_kind() -> None:
    """JSON's null is the one missing value, and NaN in the matrix."""
    row = dict.fromkeys(GOOD)
    assert all(map(math.isnan, encoder(*EVERY_KIND).encode([row])))


def test_single_numeric_feature_is_read() -> None:
    """One column is no special case to the caller."""
    assert same(encoder(SIZE).encode([{"size": 1.5}, {"size": None}]), [1.5, math.nan])


@pytest.mark.parametrize(
    ("value", "number"), [(True, 1), (False, 0), (1, 1), (0, 0), (1.0, 1), (0.0, 0)]
)
def test_boolean_may_be_written_as_number(value: Any, number: float) -> None:
    """pandas writes a boolean column with gaps as 0.0 and 1.0."""
    assert same(encoder(ACTIVE).encode([{"active": value}]), [number])


def test_whole_number_feature_takes_a_fraction() -> None:
    """What was whole in training need not be whole for ever."""
    assert same(encoder(COUNT).encode([{"count": 2.5}]), [2.5])


def test_number_category_is_matched_by_value() -> None:
    """10 and 10.0 are one number in JSON, and so one category."""
    assert same(encoder(GRADE).encode([{"grade": 10.0}, {"grade": 20.5}]), [0, 1])


def test_boolean_category_is_matched() -> None:
    """A feature of categories may be a boolean one."""
    assert same(encoder(FLAG).encode([{"flag": True}, {"flag": False}]), [1, 0])


@pytest.mark.parametrize("value", [FLOAT32_MAX, -FLOAT32_MAX, 1e-46, -0.0, 2**63, 10**38])
def test_number_that_float32_can_hold_is_rounded_to_it(value: float) -> None:
    """The nearest float32, as XGBoost itself would convert it."""
    assert same(encoder(SIZE).encode([{"size": value}]), [value])


def test_whole_number_beyond_a_double_is_rounded_once() -> None:
    """XGBoost converts int64 to float32 in one rounding; through a double it would be two."""
    value = 2**60 + 2**36 + 1
    assert encoder(COUNT).encode([{"count": value}])[0] == 2**60 + 2**37


def test_table_is_read_like_records() -> None:
    """pandas' split form gives the same matrix."""
    made = encoder(*EVERY_KIND)
    names = ["size", "count", "active", "grade", "colour"]
    table = Table(names, [[GOOD[name] for name in names]])
    assert same(made.encode(table), made.encode([GOOD]))


def test_matrix_is_what_it_is() -> None:
    """What was encoded before is not looked at again."""
    made = encoder(SIZE)
    values = made.encode([{"size": 1.5}, {"size": None}])
    assert made.encode(Matrix(values, n_rows=2)) is values


# --- the numbers that are refused -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("acid", "'acid'"),
        ("1", "'1'"),
        (True, "true"),
        ([1], "a list of 1"),
        ({}, "an object of 0 fields"),
        (math.nan, "NaN"),
        (math.inf, "Infinity"),
        (-math.inf, "-Infinity"),
        (3.5e38, "3.5e+38"),
        (-(10**39), "an integer of 130 bits"),
        pytest.param(10**5000, "an integer of 16610 bits", id="5001 digits"),
    ],
)
@pytest.mark.parametrize("others", [(), (COUNT,)], ids=["alone", "beside another"])
def test_value_that_is_no_finite_float32_is_not_a_number(
    value: Any, words: str, others: tuple[Feature, ...]
) -> None:
    """NaN, infinities and overflows never reach the model, whichever way the row is read."""
    row = {"size": value, **{feature.name: 1 for feature in others}}
    found = faults([row], encoder(SIZE, *others))
    assert found == [f"not_a_number: records[0].size: got {words}, expected a number or null"]


@pytest.mark.parametrize("values", [(math.nan, 1), (1, math.nan), (math.inf, -math.inf)])
def test_special_value_in_any_column_is_found(values: tuple[float, float]) -> None:
    """The quick way through a row of numbers lets nothing slip, wherever it stands."""
    row = dict(zip(("size", "count"), values, strict=True))
    found = faults([row], encoder(SIZE, COUNT))
    assert len(found) == sum(not math.isfinite(value) for value in values)


@pytest.mark.parametrize(("value", "words"), [(2, "2"), (0.5, "0.5"), ("true", "'true'")])
def test_value_that_is_no_boolean_is_refused(value: Any, words: str) -> None:
    """Only true, false, 0 and 1 are truth values."""
    found = faults([{"active": value}], encoder(ACTIVE))
    text = f"records[0].active: got {words}, expected true, false or null"
    assert found == [f"not_a_number: {text}"]


# --- categories -----------------------------------------------------------------------------------


@pytest.mark.parametrize(("value", "words"), [("blue", "'blue'"), ("Red", "'Red'"), ("", "''")])
def test_unknown_category_is_refused_where_the_policy_is_error(value: str, words: str) -> None:
    """The caller learns which categories there are."""
    text = f"records[0].colour: got {words}, expected one of 'red', 'green', or null"
    assert faults([{"colour": value}], encoder(COLOUR)) == [f"unknown_category: {text}"]


def test_unknown_category_is_missing_where_the_policy_is_missing() -> None:
    """The same row is then taken, as if the value were null."""
    made = encoder(COLOUR, unknown_category="missing")
    assert same(made.encode([{"colour": "blue"}]), made.encode([{"colour": None}]))


@pytest.mark.parametrize("policy", ["error", "missing"])
@pytest.mark.parametrize(
    ("feature", "value", "words", "expected"),
    [
        (COLOUR, 1, "1", "one of 'red', 'green', or null"),
        (COLOUR, True, "true", "one of 'red', 'green', or null"),
        (COLOUR, ["red"], "a list of 1", "one of 'red', 'green', or null"),
        (GRADE, "10", "'10'", "one of 10, 20.5, or null"),
        (GRADE, True, "true", "one of 10, 20.5, or null"),
        (GRADE, math.nan, "NaN", "one of 10, 20.5, or null"),
        (GRADE, math.inf, "Infinity", "one of 10, 20.5, or null"),
        (FLAG, 1, "1", "one of false, true, or null"),
        (FLAG, "true", "'true'", "one of false, true, or null"),
    ],
)
def test_category_of_another_type_is_refused_under_any_policy(
    feature: Feature, value: Any, words: str, expected: str, policy: Policy
) -> None:
    """A wrong type is a mistake, not a category that training did not see."""
    found = faults([{feature.name: value}], encoder(feature, unknown_category=policy))
    text = f"records[0].{feature.name}: got {words}, expected {expected}"
    assert found == [f"unknown_category: {text}"]


def test_many_categories_are_listed_in_part() -> None:
    """An error text does not grow with the model."""
    feature = Feature(name="c", kind="categorical", categories=tuple("abcdefghij"))
    names = "'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', … 10 in all"
    text = f"records[0].c: got 'z', expected one of {names}, or null"
    assert faults([{"c": "z"}], encoder(feature)) == [f"unknown_category: {text}"]


# --- fields ---------------------------------------------------------------------------------------


def test_absent_field_is_refused_where_the_policy_is_error() -> None:
    """The text says what the field would hold."""
    assert faults([{"size": 1}], encoder(SIZE, ACTIVE, COLOUR)) == [
        "missing_feature: records[0].active: got no such field, expected true, false or null",
        "missing_feature: records[0].colour: got no such field, "
        "expected one of 'red', 'green', or null",
    ]


def test_absent_field_is_null_where_the_policy_is_missing() -> None:
    """A row may then leave out what it does not know, down to nothing at all."""
    made = encoder(*EVERY_KIND, absent_field="missing")
    assert same(made.encode([{"count": 1}]), made.encode([{**dict.fromkeys(GOOD), "count": 1}]))
    assert same(made.encode([{}]), made.encode([dict.fromkeys(GOOD)]))


@pytest.mark.parametrize("policy", ["error", "missing"])
def test_unknown_field_is_refused_with_the_closest_name(policy: Policy) -> None:
    """A misspelt name is not silently a missing value, under any policy."""
    found = faults([{"size": 1, "cuont": 2}], encoder(SIZE, absent_field=policy))
    text = "records[0].cuont: got an unknown field, expected a feature of the model"
    assert found == [f"unknown_feature: {text} ('size')"]
    found = faults([{"sise": 1, "size": 2}], encoder(SIZE, absent_field=policy))
    text = "records[0].sise: got an unknown field, expected a feature of the model"
    assert found == [f"unknown_feature: {text} (did you mean 'size'?)"]


def test_misspelt_field_among_numbers_is_two_faults() -> None:
    """As many fields as features, but not the same ones."""
    assert faults([{"size": 1, "cuont": 2}], encoder(SIZE, COUNT)) == [
        "missing_feature: records[0].count: got no such field, expected a number or null",
        "unknown_feature: records[0].cuont: got an unknown field, "
        "expected a feature of the model (did you mean 'count'?)",
    ]


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("plain_2", "records[0].plain_2"),
        ("größe", "records[0].größe"),
        ("two words", 'records[0]["two words"]'),
        ('a"b', r'records[0]["a\"b"]'),
        ("a.b", 'records[0]["a.b"]'),
        ("", 'records[0][""]'),
    ],
)
def test_field_is_named_as_a_path(name: str, place: str) -> None:
    """A name that would make the path ambiguous stands in brackets."""
    feature = Feature(name=name, kind="float")
    found = faults([{name: "x"}], encoder(feature))
    assert found == [f"not_a_number: {place}: got 'x', expected a number or null"]


@pytest.mark.parametrize(
    ("row", "words"), [(5, "5"), (None, "null"), ("a", "'a'"), ([1, 2], "a list of 2")]
)
def test_row_that_is_no_object_is_malformed(row: Any, words: str) -> None:
    """Bare values have no names to match by."""
    text = f"records[1]: got {words}, expected an object of feature names and values"
    assert faults([{"size": 1}, row], encoder(SIZE)) == [f"malformed_request: {text}"]


def test_no_rows_is_refused() -> None:
    """Nothing asked, nothing answered."""
    assert faults([], encoder(SIZE)) == ["no_rows: records: got no rows, expected one row at least"]
    assert faults(Table(["size"], []), encoder(SIZE)) == [
        "no_rows: data: got no rows, expected one row at least"
    ]


# --- many faults ----------------------------------------------------------------------------------


def test_all_faults_of_all_rows_are_listed_in_order() -> None:
    """A caller fixes a request once, not once for each fault."""
    rows = [{"size": "a", "active": 3}, {"size": 1, "active": True}, {"x": 1, "active": None}]
    assert faults(rows, encoder(SIZE, ACTIVE)) == [
        "not_a_number: records[0].size: got 'a', expected a number or null",
        "not_a_number: records[0].active: got 3, expected true, false or null",
        "missing_feature: records[2].size: got no such field, expected a number or null",
        "unknown_feature: records[2].x: got an unknown field, "
        "expected a feature of the model ('size', 'active')",
    ]


def test_faults_beyond_the_listed_ones_are_counted() -> None:
    """Twenty are shown, the number is that of all."""
    with pytest.raises(InputError) as caught:
        encoder(SIZE).encode([{"size": "x"}] * 33)
    assert len(caught.value.faults) == MAX_FAULTS == 20
    assert caught.value.total == 33
    assert caught.value.faults[-1].place == "records[19].size"
    assert str(caught.value) == (
        "records[0].size: got 'x', expected a number or null (and 32 more)"
    )


def test_row_of_ten_thousand_unknown_fields_is_refused_in_short() -> None:
    """The answer does not grow with the attack."""
    row = {f"x{i}": i for i in range(10_000)} | {"size": 1}
    with pytest.raises(InputError) as caught:
        encoder(SIZE).encode([row])
    assert caught.value.total == 10_000
    assert len(caught.value.faults) == MAX_FAULTS
    assert caught.value.code == "unknown_feature"


# --- tables ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("columns", "found"),
    [
        (
            ["size", "size"],
            [
                "malformed_request: columns[1]: got 'size' again, expected each name once",
                "missing_feature: columns: got no column 'count', expected every feature",
            ],
        ),
        (
            ["size", 3],
            [
                "malformed_request: columns[1]: got 3, expected a column's name as text",
                "missing_feature: columns: got no column 'count', expected every feature",
            ],
        ),
        (
            ["size", "conut"],
            [
                "unknown_feature: columns[1]: got the unknown field 'conut', "
                "expected a feature of the model (did you mean 'count'?)",
                "missing_feature: columns: got no column 'count', expected every feature",
            ],
        ),
        (
            ["count"],
            ["missing_feature: columns: got no column 'size', expected every feature"],
        ),
        (
            [],
            [
                "missing_feature: columns: got no column 'size', expected every feature",
                "missing_feature: columns: got no column 'count', expected every feature",
            ],
        ),
    ],
)
def test_columns_that_are_not_the_models_are_refused(columns: list[Any], found: list[str]) -> None:
    """A table's names are checked once, before its rows."""
    assert faults(Table(columns, [[1] * len(columns)]), encoder(SIZE, COUNT)) == found


def test_absent_column_is_missing_where_the_policy_is_missing() -> None:
    """A table follows the same policy as records."""
    made = encoder(SIZE, COUNT, absent_field="missing")
    assert same(made.encode(Table(["count"], [[1]])), [math.nan, 1])


@pytest.mark.parametrize(
    ("row", "words"),
    [([1], "1 values"), ([1, 2, 3], "3 values"), (5, "5"), ({"size": 1}, "an object of 1 fields")],
)
def test_table_row_of_another_length_is_malformed(row: Any, words: str) -> None:
    """A row that is short or long is not guessed at."""
    found = faults(Table(["size", "count"], [[1, 2], row]), encoder(SIZE, COUNT))
    text = f"data[1]: got {words}, expected 2 values, one for each column"
    assert found == [f"malformed_request: {text}"]


def test_fault_in_a_table_is_placed_by_row_and_name() -> None:
    """The path names the table's rows by where they stand in the request."""
    table = Table(["size"], [[1], ["x"]])
    assert faults(table, encoder(SIZE)) == [
        "not_a_number: data[1].size: got 'x', expected a number or null"
    ]


def test_places_of_a_table_are_those_it_was_made_with() -> None:
    """A CSV has a header and records, not columns and data."""
    csv: dict[str, Any] = {"place": "records", "columns_place": "header", "textual": True}
    assert faults(Table(["x"], [["1"]], **csv), encoder(SIZE, absent_field="missing")) == [
        "unknown_feature: header[0]: got the unknown field 'x', "
        "expected a feature of the model ('size')"
    ]
    assert faults(Table(["size"], [["1", "2"]], **csv), encoder(SIZE)) == [
        "malformed_request: records[0]: got 2 values, expected 1 values, one for each column"
    ]


# --- cells of text --------------------------------------------------------------------------------


def cells(feature: Feature, *texts: str) -> "array[float]":
    return encoder(feature).encode(Table([feature.name], [[text] for text in texts], textual=True))


def test_empty_cell_is_missing_for_every_kind() -> None:
    """A CSV has no other way to say null."""
    for feature in (*EVERY_KIND, FLAG):
        assert math.isnan(cells(feature, "")[0])


@pytest.mark.parametrize(
    ("feature", "text", "number"),
    [
        (SIZE, "1.5", 1.5),
        (SIZE, " -2e3 ", -2000),
        (COUNT, "7", 7),
        (ACTIVE, "true", 1),
        (ACTIVE, "True", 1),
        (ACTIVE, " FALSE ", 0),
        (ACTIVE, "1", 1),
        (ACTIVE, "0", 0),
        (ACTIVE, "1.0", 1),
        (ACTIVE, "0.0", 0),
        (COLOUR, "green", 1),
        (GRADE, "10", 0),
        (GRADE, "20.5", 1),
        (GRADE, "10.0", 0),
        (FLAG, "True", 1),
        (FLAG, "false", 0),
    ],
)
def test_cell_is_read_as_its_feature_says(feature: Feature, text: str, number: float) -> None:
    """Text in a cell becomes what JSON would have held, also as pandas writes it."""
    assert same(cells(feature, text), [number])


@pytest.mark.parametrize(
    ("feature", "text", "code", "expected"),
    [
        (SIZE, "acid", "not_a_number", "a number or null"),
        (SIZE, "nan", "not_a_number", "a number or null"),
        (SIZE, "inf", "not_a_number", "a number or null"),
        (SIZE, "1_0", "not_a_number", "a number or null"),
        (SIZE, "0x10", "not_a_number", "a number or null"),
        (SIZE, "1e999", "not_a_number", "a number or null"),
        (SIZE, "\u0661", "not_a_number", "a number or null"),
        (ACTIVE, "yes", "not_a_number", "true, false or null"),
        (ACTIVE, "2", "not_a_number", "true, false or null"),
        (COLOUR, "blue", "unknown_category", "one of 'red', 'green', or null"),
        (COLOUR, " red", "unknown_category", "one of 'red', 'green', or null"),
        (GRADE, "ten", "unknown_category", "one of 10, 20.5, or null"),
        (FLAG, "ja", "unknown_category", "one of false, true, or null"),
    ],
)
def test_cell_that_cannot_be_read_is_shown_as_it_is(
    feature: Feature, text: str, code: str, expected: str
) -> None:
    """The caller sees the cell's own text."""
    with pytest.raises(InputError) as caught:
        cells(feature, text)
    shown = f"data[0].{feature.name}: got {text!r}, expected {expected}"
    assert (caught.value.code, str(caught.value)) == (code, shown)


@pytest.mark.parametrize(
    ("text", "number"), [("1", 1.0), ("-.5", -0.5), ("1e3", 1000.0), (" 2 ", 2.0)]
)
def test_number_in_a_text_is_parsed(text: str, number: float) -> None:
    """Plain decimal notation, with blanks around it."""
    assert parse_number(text) == number


@pytest.mark.parametrize("text", ["", "x", "1_0", "nan", "-inf", "1e999", "1,5", "1" * 5000])
def test_text_without_a_finite_number_gives_none(text: str) -> None:
    """Python's own liberties are not the caller's."""
    assert parse_number(text) is None


# --- properties -----------------------------------------------------------------------------------

_values = {
    "colour": st.sampled_from(["red", "green", None]),
    "grade": st.sampled_from([10, 20.5, None]),
    "active": st.sampled_from([True, False, None]),
    "count": st.none() | st.integers(-(10**30), 10**30),
    "size": st.none() | st.floats(width=32, allow_nan=False, allow_infinity=False),
}
_rows = st.lists(st.fixed_dictionaries(_values), min_size=1, max_size=6)


@given(_rows, st.permutations(list(_values)))
def test_order_of_columns_never_matters(rows: list[dict[str, Any]], order: list[str]) -> None:
    """Any order of fields, and the split form, give the same matrix."""
    made = encoder(*EVERY_KIND)
    wanted = made.encode(rows)
    assert same(made.encode([{name: row[name] for name in order} for row in rows]), wanted)
    assert same(made.encode(Table(order, [[row[name] for name in order] for row in rows])), wanted)


@given(_rows)
def test_matrix_of_a_batch_is_the_matrices_of_its_rows(rows: list[dict[str, Any]]) -> None:
    """No row influences another."""
    made = encoder(*EVERY_KIND)
    single = array("f")
    for row in rows:
        single += made.encode([row])
    assert same(made.encode(rows), single)


@given(_rows)
def test_absent_equals_null_where_the_policy_is_missing(rows: list[dict[str, Any]]) -> None:
    """Leaving a field out and writing null are then the same thing."""
    made = encoder(*EVERY_KIND, absent_field="missing")
    bare = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert same(made.encode(bare), made.encode(rows))


@given(_rows)
def test_absent_is_a_missing_feature_where_the_policy_is_error(rows: list[dict[str, Any]]) -> None:
    """Each null that is left out is one fault of that kind, and there is no other."""
    bare = [{name: value for name, value in row.items() if value is not None} for row in rows]
    absent = sum(value is None for row in rows for value in row.values())
    made = encoder(*EVERY_KIND)
    if absent == 0:
        assert same(made.encode(bare), made.encode(rows))
        return
    with pytest.raises(InputError) as caught:
        made.encode(bare)
    assert caught.value.total == absent
    assert {fault.code for fault in caught.value.faults} == {"missing_feature"}


_anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=4,
)
_any_row = st.dictionaries(st.sampled_from(list(GOOD)) | st.text(max_size=8), _anything) | _anything


@given(st.lists(_any_row, max_size=4))
def test_any_rows_give_a_matrix_without_infinities_or_an_input_error(rows: list[Any]) -> None:
    """Nothing else can come out, whatever goes in."""
    made = encoder(*EVERY_KIND, absent_field="missing", unknown_category="missing")
    try:
        matrix = made.encode(rows)
    except InputError as error:
        assert 1 <= len(error.faults) <= MAX_FAULTS
        assert error.total >= len(error.faults)
    else:
        assert len(matrix) == len(rows) * len(EVERY_KIND)
        assert not any(map(math.isinf, matrix))
