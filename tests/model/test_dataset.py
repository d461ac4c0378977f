from pathlib import Path

import pandas as pd
import pytest

from model.dataset import load_dataset, read_dataset, to_dataset
from model.errors import SourceError
from tests.model.training_tables import machines, numbers


def test_wine_is_the_default_data_set() -> None:
    """Who names none gets wine, with its labels as text."""
    dataset = load_dataset()
    assert (dataset.name, dataset.data.source) == ("wine", "scikit-learn's wine data set")
    assert sorted(set(dataset.y)) == ["class_0", "class_1", "class_2"]


def test_diabetes_is_in_its_own_units() -> None:
    """A request says an age of 59, and not 0.038."""
    assert load_dataset("diabetes").X["age"].between(19, 79).all()


def test_unknown_data_set_is_refused() -> None:
    """The error names the ones there are."""
    with pytest.raises(SourceError) as caught:
        load_dataset("iris")
    expected = "the data set: got 'iris', expected one of wine, breast-cancer, diabetes"
    assert str(caught.value) == expected


def test_dropped_columns_are_not_features(tmp_path: Path) -> None:
    """A column that names the row is left out, by name and repeatedly."""
    file = tmp_path / "machines.csv"
    machines().assign(serial=range(200)).to_csv(file, index=False)
    dataset = read_dataset(file, "hot", drop=["serial", "site"])
    assert list(dataset.X.columns) == ["celsius", "starts", "serviced", "indoors"]


def test_name_of_a_file_becomes_a_name_that_a_model_may_have(tmp_path: Path) -> None:
    """Spaces and brackets cannot be in a component's name."""
    numbers([1.5] * 10 + [2.5] * 10).to_csv(tmp_path / "my data (2).csv", index=False)
    assert read_dataset(tmp_path / "my data (2).csv", "y").name == "my-data-2"


def test_files_of_a_folder_are_one_table(tmp_path: Path) -> None:
    """A channel of several files is read in the order of their names."""
    frame = machines()
    frame.iloc[:120].to_csv(tmp_path / "part-1.csv", index=False)
    frame.iloc[120:, ::-1].to_csv(tmp_path / "part-2.csv", index=False)
    (tmp_path / "_SUCCESS").write_text("")
    dataset = read_dataset(tmp_path, "hot")
    pd.testing.assert_frame_equal(dataset.X, to_dataset(frame, "hot", name="all").X)
    assert (dataset.name, dataset.data.source, dataset.data.rows) == (
        tmp_path.name,
        tmp_path.name,
        200,
    )


def test_folder_with_one_file_is_that_file(tmp_path: Path) -> None:
    """Name and digest are the file's."""
    file = tmp_path / "machines.csv"
    machines().to_csv(file, index=False)
    assert read_dataset(tmp_path, "hot").data == read_dataset(file, "hot").data
    assert read_dataset(tmp_path, "hot").name == "machines"


def test_folder_that_is_no_table_is_refused(tmp_path: Path) -> None:
    """No table, tables of both kinds, and tables of other columns each have their error."""
    expected = "expected CSV files or Parquet files"
    with pytest.raises(SourceError) as caught:
        read_dataset(tmp_path, "hot")
    assert str(caught.value) == f"{tmp_path}: got no such file, {expected}"
    machines().to_csv(tmp_path / "a.csv", index=False)
    machines().rename(columns={"site": "place"}).to_csv(tmp_path / "b.csv", index=False)
    with pytest.raises(SourceError) as caught:
        read_dataset(tmp_path, "hot")
    assert str(caught.value) == (
        f"{tmp_path / 'b.csv'}: got the column 'place' in only one of both, "
        "expected the columns of a.csv"
    )
    machines().to_parquet(tmp_path / "c.parquet")
    with pytest.raises(SourceError) as caught:
        read_dataset(tmp_path, "hot")
    assert str(caught.value) == f"{tmp_path}: got files of both kinds, {expected}"


def test_long_file_of_mixed_values_is_text_throughout(tmp_path: Path) -> None:
    """pandas reads a large file in parts; a column must not be numbers here and text there."""
    file = tmp_path / "long.csv"
    codes = ["1"] * 300_000 + ["x"] * 300_000  # pandas' parts are of 262 144 rows
    pd.DataFrame({"code": codes, "y": [0, 1] * 300_000}).to_csv(file, index=False)
    assert list(read_dataset(file, "y").X["code"].cat.categories) == ["1", "x"]


@pytest.mark.parametrize(
    ("frame", "target", "drop", "message"),
    [
        (
            machines(),
            "hott",
            (),
            (
                "a table in memory: got no column 'hott', expected one of the table's "
                "(did you mean 'hot'?)"
            ),
        ),
        (
            numbers([1, 2]),
            "price",
            (),
            "a table in memory: got no column 'price', expected one of the table's (x, y)",
        ),
        (
            numbers([1, 2]),
            "y",
            ("z",),
            "a table in memory: got no column 'z', expected one of the table's (x, y)",
        ),
        (
            numbers([1, 2]),
            "y",
            ("x",),
            "a table in memory: got no column besides the target, expected features",
        ),
        (
            pd.DataFrame([[1, 2, 3]], columns=["x", "x", "y"]),
            "y",
            (),
            "a table in memory: got the column 'x' twice, expected each name once",
        ),
        (
            numbers(["a", None, "b", None]),
            "y",
            (),
            (
                "column 'y', row 2: got a missing value (2 in all), expected a value in each row; "
                "leave such rows out"
            ),
        ),
        (
            numbers(["a", "a"]),
            "y",
            (),
            "column 'y': got 'a' in every row, expected two values at least",
        ),
        (
            numbers(pd.Series(["a", 1], dtype=object)),
            "y",
            (),
            "column 'y': got values of mixed types, expected all text, all numbers or all booleans",
        ),
        (
            numbers(pd.to_datetime(["2026-01-01", "2026-01-02"])),
            "y",
            (),
            (
                "column 'y': got Timestamp('2026-01-01 00:00:00'), "
                "expected text, a number or a boolean"
            ),
        ),
        (
            numbers([0.0, float("inf")]),
            "y",
            (),
            "column 'y', row 2: got Infinity, expected a number that float32 can hold",
        ),
        (
            numbers([1, 2]).assign(x=[0.0, -1e39]),
            "y",
            (),
            "column 'x', row 2: got -1e+39, expected a number that float32 can hold",
        ),
        (
            numbers([1, 2]).rename(columns={"x": "air [K]"}),
            "y",
            (),
            (
                "column 'air [K]': got a name with '[', expected none of '[', ']' and '<', "
                "which XGBoost refuses in names"
            ),
        ),
        (
            numbers([1, 2]).assign(when=pd.to_datetime(["2026-01-01", "2026-01-02"])),
            "y",
            (),
            (
                "column 'when': got values of type datetime64[us], "
                "expected numbers, booleans or text; drop it, or convert it first"
            ),
        ),
    ],
)
def test_table_that_cannot_be_trained_on_is_refused(
    frame: pd.DataFrame, target: str, drop: tuple[str, ...], message: str
) -> None:
    """The error says the place, what was found and what was expected."""
    with pytest.raises(SourceError) as caught:
        to_dataset(frame, target, name="sample", drop=drop)
    assert str(caught.value) == message
