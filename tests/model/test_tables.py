import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.errors import SourceError
from model.manifest import Data, Feature, Histogram
from model.tables import (
    GOLDEN_ROWS,
    MAX_GOLDEN_ROWS,
    choose_golden,
    describe_feature,
    fingerprint,
    read_table,
    to_records,
    to_scalars,
    with_kinds,
)
from tests.conftest import mixed_frame


def refusal(call: Any, *arguments: Any) -> str:
    """The text with which something is refused."""
    with pytest.raises(SourceError) as caught:
        call(*arguments)
    return str(caught.value)


# --- reading --------------------------------------------------------------------------------------

RECORDS = [
    {"size": 0.1, "count": 1, "colour": "red", "ok": True},
    {"size": None, "count": 2, "colour": None, "ok": False},
]


def write(folder: Path, name: str, content: str) -> Path:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return path


@pytest.fixture(params=["csv", "CSV", "json", "jsonl", "parquet"])
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """The same two rows in each of the formats."""
    suffix = request.param
    match suffix.lower():
        case "csv":
            return write(
                tmp_path, f"t.{suffix}", "size,count,colour,ok\n0.1,1,red,True\n,2,,False\n"
            )
        case "json":
            return write(tmp_path, "t.json", json.dumps(RECORDS))
        case "jsonl":
            return write(tmp_path, "t.jsonl", "".join(json.dumps(row) + "\n" for row in RECORDS))
    path = tmp_path / "t.parquet"
    pd.DataFrame(RECORDS).to_parquet(path)
    return path


def test_table_of_any_format_has_the_same_rows(table: Path) -> None:
    """CSV, Parquet, JSON records and JSON lines say the same thing."""
    assert to_records(with_kinds(read_table(table))) == RECORDS


def test_parquet_keeps_its_categories(tmp_path: Path) -> None:
    """Their order is the order of XGBoost's codes."""
    frame = pd.DataFrame({"c": pd.Categorical(["b", "a"], categories=["b", "a", "z"])})
    frame.to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet")["c"].cat.categories) == ["b", "a", "z"]


@pytest.mark.parametrize("text", ["0.1", "2.2250738585072014e-308", "0.30000000000000004", "1e23"])
def test_number_in_a_csv_is_read_to_the_nearest_double(tmp_path: Path, text: str) -> None:
    """The last bit of a golden row is worth keeping."""
    frame = read_table(write(tmp_path, "t.csv", f"a\n{text}\n"))
    assert float(frame["a"].iloc[0]).hex() == float(text).hex()


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("code", ["1", "2"]),
        ("timestamp", [1767225600, 1767225601]),
        ("updated_at", [1767225600, 1767225601]),
        ("size", [0.1 + 0.2, 1e23]),
        ("day", ["2026-01-01", "2026-01-02"]),
    ],
)
def test_value_in_json_keeps_its_type_and_its_bits(
    tmp_path: Path, name: str, values: list[Any], suffix: str
) -> None:
    """JSON has types of its own; nothing is to be guessed from a column's name or its text."""
    rows = [{name: value} for value in values]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    path = write(tmp_path, f"t.{suffix}", json.dumps(rows) if suffix == "json" else lines)
    assert read_table(path)[name].tolist() == values


def test_column_names_are_text(tmp_path: Path) -> None:
    """A model's feature names are, too."""
    pd.DataFrame({0: [1.5]}).rename(columns=str).to_parquet(tmp_path / "t.parquet")
    assert list(read_table(tmp_path / "t.parquet").columns) == ["0"]
    assert list(read_table(write(tmp_path, "t.csv", "0,1\n5,6\n")).columns) == ["0", "1"]


def test_absent_table_is_named(tmp_path: Path) -> None:
    """Whatever its format was to be."""
    for suffix in ("csv", "json", "jsonl", "parquet"):
        path = tmp_path / f"none.{suffix}"
        assert refusal(read_table, path) == f"{path}: got no such file, expected a table"


@pytest.mark.parametrize(("name", "kind"), [("t.xlsx", ".xlsx"), ("t", "nameless")])
def test_table_of_another_format_is_refused(tmp_path: Path, name: str, kind: str) -> None:
    """The formats that can be read are listed."""
    path = write(tmp_path, name, "x")
    text = f"{path}: got a {kind} file, expected .csv, .parquet, .json, .jsonl"
    assert refusal(read_table, path) == text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t.csv", ""),
        ("t.csv", 'a,b\n"1,2\n'),
        ("t.csv", "a\n1\n2,3\n"),
        ("t.csv", "a,b\n1,2,3\n4,5,6\n"),
        ("t.json", "{"),
        ("t.json", '{"a": 1}'),
        ("t.json", "5"),
        ("t.jsonl", '{"a": 1}\n{'),
        ("t.parquet", "no parquet"),
    ],
)
def test_table_that_cannot_be_read_is_refused_on_one_line(
    tmp_path: Path, name: str, content: str
) -> None:
    """The reader's own reason follows in brackets, without its trace."""
    path = write(tmp_path, name, content)
    text = refusal(read_table, path)
    assert text.startswith(f"{path}: got a file that cannot be read (")
    assert text.endswith(")")
    assert "\n" not in text


def test_table_that_is_no_utf8_is_refused(tmp_path: Path) -> None:
    """A file in another encoding is not guessed at."""
    (tmp_path / "t.csv").write_bytes(b"gr\xfcn\n1\n")
    text = refusal(read_table, tmp_path / "t.csv")
    assert text.startswith(f"{tmp_path}/t.csv: got a file that cannot be read (")


def test_directory_in_place_of_a_table_is_refused(tmp_path: Path) -> None:
    """What the system says about a file is passed on."""
    (tmp_path / "t.csv").mkdir()
    text = refusal(read_table, tmp_path / "t.csv")
    assert text.startswith(f"{tmp_path}/t.csv: got a file that cannot be read (")


@pytest.mark.parametrize(("name", "content"), [("t.csv", "a,b\n"), ("t.json", "[]")])
def test_table_without_rows_is_refused(tmp_path: Path, name: str, content: str) -> None:
    """There is nothing to learn from a header."""
    path = write(tmp_path, name, content)
    assert refusal(read_table, path) == f"{path}: got no rows, expected one at least"


def test_column_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    """Which of the two a model would get is not to be guessed."""
    path = write(tmp_path, "t.csv", "a,b,a\n1,2,3\n")
    text = f"{path}: got the column 'a' twice, expected each name once"
    assert refusal(read_table, path) == text


# --- where rows come from -------------------------------------------------------------------------


def test_fingerprint_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    """Anybody can compute it again with sha256sum."""
    path = write(tmp_path, "t.csv", "a\n1\n2\n")
    digest = hashlib.sha256(b"a\n1\n2\n").hexdigest()
    found = fingerprint(read_table(path), source="t.csv", path=path)
    assert found == Data(source="t.csv", sha256=digest, rows=2)


def test_fingerprint_of_a_table_in_memory_is_that_of_its_csv() -> None:
    """The index is no part of the data."""
    frame = pd.DataFrame({"a": [1, 2]}, index=[7, 8])
    digest = hashlib.sha256(b"a\n1\n2\n").hexdigest()
    assert fingerprint(frame, source="x") == Data(source="x", sha256=digest, rows=2)


# --- kinds ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("column", "dtype", "values"),
    [
        (pd.Series([1, 2]), "int64", [1, 2]),
        (pd.Series([1, 2], dtype="uint8"), "uint8", [1, 2]),
        (pd.Series([1, 2], dtype="Int64"), "int64", [1, 2]),
        (pd.Series([1, None], dtype="Int64"), "float64", [1.0, None]),
        (pd.Series([1.5, None]), "float64", [1.5, None]),
        (pd.Series([1.5, None], dtype="Float32"), "float64", [1.5, None]),
        (pd.Series([0.5, 1], dtype="float32"), "float32", [0.5, 1.0]),
        (pd.Series([True, False]), "bool", [True, False]),
        (pd.Series([True, False], dtype="boolean"), "bool", [True, False]),
        (pd.Series([True, False], dtype=object), "bool", [True, False]),
        (pd.Series([True, None], dtype="boolean"), "float64", [1.0, None]),
        (pd.Series([True, None, False], dtype=object), "float64", [1.0, None, 0.0]),
        (pd.Series([None, None], dtype=object), "float64", [None, None]),
        (pd.Series([np.nan, np.nan]), "float64", [None, None]),
        (pd.Series(["b", "a", None]), "category", ["b", "a", None]),
        (pd.Series(["b", "a", None], dtype=object), "category", ["b", "a", None]),
        (pd.Series(["b", "a", None], dtype="string"), "category", ["b", "a", None]),
        (pd.Series([2, 1], dtype="category"), "category", [2, 1]),
    ],
)
def test_column_becomes_numbers_booleans_or_categories(
    column: pd.Series, dtype: str, values: list[Any]
) -> None:
    """Whatever pandas calls it, the values stay and the type is one that XGBoost takes."""
    frame = with_kinds(pd.DataFrame({"x": column}))
    assert str(frame["x"].dtype) == dtype
    assert [row["x"] for row in to_records(frame)] == values


def test_text_becomes_categories_in_alphabetical_order() -> None:
    """The codes do not depend on the order of the rows; a missing text is no category."""
    frame = with_kinds(pd.DataFrame({"x": ["b", None, "a", "b"]}))
    assert list(frame["x"].cat.categories) == ["a", "b"]


def test_rows_keep_their_order_whatever_their_index() -> None:
    """Rows are counted by position; an index from a split or with repeats means nothing."""
    frame = pd.DataFrame({"x": ["b", "a", "c"], "y": [1, 2, 3]}, index=[5, 5, 1])
    assert to_records(with_kinds(frame)) == [
        {"x": "b", "y": 1},
        {"x": "a", "y": 2},
        {"x": "c", "y": 3},
    ]


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pd.to_datetime(pd.Series(["2026-01-01", None])), "datetime64[us]"),
        (pd.Series([1, "a"], dtype=object), "object"),
        (pd.Series([[1], [2]], dtype=object), "object"),
    ],
)
def test_column_of_another_type_is_refused(column: pd.Series, dtype: str) -> None:
    """The user is told what to do with it."""
    assert refusal(with_kinds, pd.DataFrame({"x": column})) == (
        f"column 'x': got values of type {dtype}, "
        "expected numbers, booleans or text; drop it, or convert it first"
    )


@pytest.mark.parametrize(
    ("value", "words"), [(np.inf, "Infinity"), (-np.inf, "-Infinity"), (3.5e38, "3.5e+38")]
)
def test_number_that_float32_cannot_hold_is_refused(value: float, words: str) -> None:
    """A request could not hold it either; the row is counted from 1, as people do."""
    text = refusal(with_kinds, pd.DataFrame({"x": [1.0, np.nan, value]}))
    assert text == (f"column 'x', row 3: got {words}, expected a number that float32 can hold")


def test_column_of_too_many_categories_is_refused() -> None:
    """A column that names its row cannot be learnt from."""
    frame = pd.DataFrame({"x": [f"id{i}" for i in range(1001)]})
    assert refusal(with_kinds, frame) == (
        "column 'x': got 1001 categories, expected at most 1000; if it names the row, drop it"
    )
    assert len(with_kinds(frame[:1000])["x"].cat.categories) == 1000


# --- description ----------------------------------------------------------------------------------


def test_numbers_are_described_by_range_and_histogram() -> None:
    """Missing values are a rate, and no part of the rest."""
    column = pd.Series([0.0, 1.0, 10.0, np.nan])
    found = describe_feature("x", column, "float")
    assert (found.minimum, found.maximum, found.missing_rate) == (0.0, 10.0, 0.25)
    assert found.histogram.edges == tuple(map(float, range(11)))
    assert found.histogram.counts == (1, 1, 0, 0, 0, 0, 0, 0, 0, 1)


def test_constant_column_is_described() -> None:
    """A single value has a range of nothing and a histogram around it."""
    found = describe_feature("x", pd.Series([2, 2]), "int")
    assert (found.minimum, found.maximum) == (2.0, 2.0)
    assert sum(found.histogram.counts) == 2


def test_booleans_are_described_by_two_counts() -> None:
    """False, then true; with gaps they come as numbers."""
    histogram = Histogram(edges=(), counts=(1, 2))
    wanted = Feature(name="x", kind="bool", minimum=0.0, maximum=1.0, histogram=histogram)
    assert describe_feature("x", pd.Series([True, False, True]), "bool") == wanted
    found = describe_feature("x", pd.Series([1.0, 0.0, 1.0, np.nan]), "bool")
    assert (found.histogram, found.missing_rate) == (histogram, 0.25)


def test_categories_are_described_by_a_count_each() -> None:
    """In the order of the codes, also those that do not occur."""
    column = pd.Series(pd.Categorical(["b", None, "b", "a"], categories=["b", "z", "a"]))
    assert describe_feature("x", column, "categorical") == Feature(
        name="x",
        kind="categorical",
        categories=("b", "z", "a"),
        missing_rate=0.25,
        histogram=Histogram(edges=(), counts=(2, 0, 1)),
    )


def test_column_of_nothing_has_no_range() -> None:
    """Nothing is known but that everything is missing."""
    found = describe_feature("x", pd.Series([np.nan, np.nan]), "float")
    assert found == Feature(name="x", kind="float", missing_rate=1.0)


# --- golden rows ----------------------------------------------------------------------------------


def covers(frame: pd.DataFrame, positions: list[int]) -> bool:
    """Whether each column's edges, categories and a gap are among the rows."""
    chosen = frame.iloc[positions]
    for name in frame.columns:
        column, part = frame[name], chosen[name]
        if column.isna().any() and not part.isna().any():
            return False
        if isinstance(column.dtype, pd.CategoricalDtype):
            if set(column.dropna()) != set(part.dropna()):
                return False
        elif column.notna().any() and (column.min(), column.max()) != (part.min(), part.max()):
            return False
    return True


def test_golden_rows_show_the_edges_of_the_data() -> None:
    """Smallest, largest, each category and a gap, and then a sample (bundle 3.2)."""
    frame = mixed_frame()
    positions = choose_golden(frame)
    assert len(positions) == GOLDEN_ROWS == 64
    assert positions == sorted(set(positions))
    assert covers(frame, positions)
    assert choose_golden(frame) == positions
    assert choose_golden(frame, seed=1) != positions


_columns = st.lists(
    st.sampled_from(["numbers", "booleans", "texts", "nothing"]), min_size=1, max_size=4
)


@given(_columns, st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_golden_rows_cover_any_table(kinds: list[str], n_rows: int, seed: int) -> None:
    """Whatever the columns hold, no edge is left out and no row is there twice."""
    draw = np.random.default_rng(seed)
    made: dict[str, Any] = {
        "numbers": lambda: np.where(draw.random(n_rows) < 0.1, np.nan, draw.normal(size=n_rows)),
        "booleans": lambda: draw.choice([True, False], n_rows),
        "texts": lambda: pd.Series(
            draw.choice(np.array(["a", "b", "c", None]), n_rows), dtype=object
        ),
        "nothing": lambda: np.full(n_rows, np.nan),
    }
    frame = with_kinds(pd.DataFrame({f"x{i}": made[kind]() for i, kind in enumerate(kinds)}))
    positions = choose_golden(frame)
    assert positions == sorted(set(positions))
    assert set(positions) <= set(range(n_rows))
    assert len(positions) == min(GOLDEN_ROWS, n_rows)
    assert covers(frame, positions)


def test_golden_rows_are_limited() -> None:
    """A table of very many categories does not fill the bundle."""
    frame = with_kinds(pd.DataFrame({"x": [f"c{i}" for i in range(900)]}))
    assert len(choose_golden(frame)) == MAX_GOLDEN_ROWS == 512


def test_golden_rows_are_more_where_the_edges_ask_for_it() -> None:
    """A hundred categories are a hundred golden rows."""
    frame = with_kinds(pd.DataFrame({"x": [f"c{i % 100}" for i in range(900)]}))
    assert len(choose_golden(frame)) == 100


# --- cells ----------------------------------------------------------------------------------------


def test_records_hold_plain_json_values() -> None:
    """No numpy type reaches the JSON encoder."""
    frame = with_kinds(
        pd.DataFrame({"i": [1, 2], "f": [0.5, None], "b": [True, False], "c": ["x", None]})
    )
    found = to_records(frame)
    assert found == [
        {"i": 1, "f": 0.5, "b": True, "c": "x"},
        {"i": 2, "f": None, "b": False, "c": None},
    ]
    assert [type(value) for value in found[0].values()] == [int, float, bool, str]


def test_kind_turns_numbers_into_booleans() -> None:
    """A boolean column with gaps is numbers to pandas, and booleans in a request."""
    frame = pd.DataFrame({"b": [1.0, 0.0, np.nan]})
    found = [row["b"] for row in to_records(frame, {"b": "bool"})]
    assert found == [True, False, None]
    assert [type(value) for value in found] == [bool, bool, type(None)]


def test_float32_value_is_written_exactly() -> None:
    """It becomes the double that is equal to it."""
    frame = pd.DataFrame({"f": np.array([0.1], dtype="float32")})
    assert to_records(frame) == [{"f": 0.10000000149011612}]


def test_scalars_are_unwrapped() -> None:
    """numpy's scalars become Python's."""
    found = to_scalars([np.int64(1), np.float32(0.5), np.bool_(True), "a", 2])
    assert found == [1, 0.5, True, "a", 2]
    assert [type(value) for value in found] == [int, float, bool, str, int]


@pytest.mark.parametrize(("value", "words"), [(None, "null"), ([1], "a list of 1"), (b"a", "b'a'")])
def test_cell_without_a_json_form_is_refused(value: Any, words: str) -> None:
    """A label or a category is text, a number or a boolean."""
    assert refusal(to_scalars, [value]) == (f"got {words}, expected text, a number or a boolean")
