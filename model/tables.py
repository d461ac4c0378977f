"""Tables of a user's data: read, described, and picked for golden rows. Not shipped."""

import csv
import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from model.errors import SourceError, describe
from model.features import FLOAT32_MAX
from model.manifest import Data, Feature, Histogram, Kind, Scalar

GOLDEN_ROWS = 64
"""How many golden rows there are where the edges of the data do not ask for more."""

MAX_GOLDEN_ROWS = 512
MAX_CATEGORIES = 1000

_BINS = 10


def read_table(path: Path) -> pd.DataFrame:
    """The table in a CSV, a Parquet, or a JSON file of records (or one record a line).

    Raises:
        SourceError: no such file, another format, or no rows.
    """
    readers = {
        ".csv": _read_csv,
        ".parquet": pd.read_parquet,
        ".json": lambda file: _from_records(json.loads(file.read_text(encoding="utf-8"))),
        ".jsonl": lambda file: _from_records(
            [
                json.loads(line)
                for line in file.read_text(encoding="utf-8").split("\n")
                if line.strip()
            ]
        ),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise SourceError(
            f"{path}: got a {path.suffix or 'nameless'} file, expected {', '.join(readers)}"
        )
    try:
        frame: pd.DataFrame = reader(path)
    except FileNotFoundError as error:
        raise SourceError(f"{path}: got no such file, expected a table") from error
    except (ValueError, OSError, UnicodeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(f"{path}: got a file that cannot be read ({reason})") from error
    if frame.empty:
        raise SourceError(f"{path}: got no rows, expected one at least")
    return with_names(frame, str(path))


def with_names(frame: pd.DataFrame, place: str) -> pd.DataFrame:
    """The table with its column names as text.

    Raises:
        SourceError: two columns have one name; which of them is meant is not to be guessed.
    """
    frame = frame.set_axis(frame.columns.map(str), axis="columns")
    if frame.columns.has_duplicates:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise SourceError(f"{place}: got the column {twice!r} twice, expected each name once")
    return frame


def _read_csv(path: Path) -> pd.DataFrame:
    with warnings.catch_warnings():
        # Of a row with a value too many pandas drops one, and says so in a warning.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            # In one piece: pandas would guess the types of a large file's parts one by one.
            frame = pd.read_csv(path, index_col=False, low_memory=False)
        except pd.errors.ParserWarning as error:
            raise ValueError("a row has more values than the header") from error
    with path.open(newline="", encoding="utf-8-sig") as file:
        header = next(csv.reader(file), [])
    if len(header) == frame.shape[1] and all(header):
        frame.columns = header  # as they stand there; of two alike pandas renames one
    return frame


def _from_records(records: Any) -> pd.DataFrame:
    # pandas' own reader guesses types from a column's name and text.
    if not isinstance(records, list) or not all(isinstance(row, dict) for row in records):
        raise ValueError("no list of objects")
    return pd.DataFrame.from_records(records)


def fingerprint(frame: pd.DataFrame, *, source: str, path: Path | None = None) -> Data:
    """Where rows come from: the digest of the file, or of the table as CSV where there is none."""
    content = path.read_bytes() if path else frame.to_csv(index=False).encode()
    return Data(source=source, sha256=hashlib.sha256(content).hexdigest(), rows=len(frame))


def with_kinds(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with each column as numbers, booleans or categories; text becomes categories.

    Raises:
        SourceError: a column is none of these, holds infinities, or too many categories.
    """
    columns = {}
    for name, column in frame.items():
        place = f"column {name!r}"
        if isinstance(column.dtype, pd.CategoricalDtype):
            columns[name] = column
        elif pd.api.types.is_bool_dtype(column.dropna().infer_objects()) and column.notna().any():
            # With missing values pandas calls such a column `object`; as numbers it keeps both.
            columns[name] = column.astype(bool if column.notna().all() else "float64")
        elif pd.api.types.is_numeric_dtype(column.dtype):
            columns[name] = _plain_numbers(column, place)
        elif column.isna().all():
            columns[name] = column.astype("float64")
        elif all(isinstance(value, str) for value in column.dropna()):
            columns[name] = column.astype(str).where(column.notna(), None).astype("category")
        else:
            expected = "numbers, booleans or text; drop it, or convert it first"
            raise SourceError(f"{place}: got values of type {column.dtype}, expected {expected}")
        if isinstance(columns[name].dtype, pd.CategoricalDtype):
            n_categories = len(columns[name].cat.categories)
            if n_categories > MAX_CATEGORIES:
                expected = f"at most {MAX_CATEGORIES}; if it names the row, drop it"
                raise SourceError(f"{place}: got {n_categories} categories, expected {expected}")
    return pd.DataFrame(columns, index=frame.index)


def _plain_numbers(column: pd.Series, place: str) -> pd.Series:
    """The column with numpy's own type; pandas' nullable types have no place in the C library."""
    if not isinstance(column.dtype, np.dtype):
        whole = pd.api.types.is_integer_dtype(column.dtype) and column.notna().all()
        column = column.astype("int64" if whole else "float64")
    values = column.to_numpy(dtype="float64")
    too_large = np.flatnonzero(np.abs(values) > FLOAT32_MAX)
    if len(too_large):
        observed = describe(float(values[too_large[0]]))
        expected = "a number that float32 can hold"
        raise SourceError(f"{place}, row {too_large[0] + 1}: got {observed}, expected {expected}")
    return column


def describe_feature(name: str, column: pd.Series, kind: Kind) -> Feature:
    """The manifest's entry for a column."""
    present = column.dropna()
    missing_rate = float(column.isna().mean())
    if kind == "categorical":
        codes = column.cat.codes.to_numpy()
        counts = np.bincount(codes[codes >= 0], minlength=len(column.cat.categories))
        categories = tuple(to_scalar(category) for category in column.cat.categories)
        histogram = Histogram(edges=(), counts=tuple(map(int, counts)))
        return Feature(
            name=name,
            kind=kind,
            categories=categories,
            missing_rate=missing_rate,
            histogram=histogram,
        )
    values = present.to_numpy(dtype="float64")
    if len(values) == 0:
        return Feature(name=name, kind=kind, missing_rate=missing_rate)
    if kind == "bool":
        histogram = Histogram(edges=(), counts=(int((values == 0).sum()), int((values == 1).sum())))
    else:
        counted, edges = np.histogram(values, bins=_BINS)
        histogram = Histogram(edges=tuple(map(float, edges)), counts=tuple(map(int, counted)))
    return Feature(
        name=name,
        kind=kind,
        minimum=float(values.min()),
        maximum=float(values.max()),
        missing_rate=missing_rate,
        histogram=histogram,
    )


def choose_golden(frame: pd.DataFrame, *, seed: int = 0) -> list[int]:
    """Positions of rows that together show the data's edges, and a random sample besides.

    For each column: its smallest and largest value, each category, and a missing value, as far as
    there are any; then rows drawn at random up to `GOLDEN_ROWS`. At most `MAX_GOLDEN_ROWS`.
    """
    chosen: dict[int, None] = {}
    for name in frame.columns:
        column = frame[name]
        missing = np.flatnonzero(column.isna())
        if len(missing):
            chosen[int(missing[0])] = None
        if isinstance(column.dtype, pd.CategoricalDtype):
            _, first = np.unique(column.cat.codes.to_numpy(), return_index=True)
            chosen.update(dict.fromkeys(map(int, first)))
        elif len(missing) < len(column):
            numbers = column.to_numpy(dtype="float64")
            chosen[int(np.nanargmin(numbers))] = None
            chosen[int(np.nanargmax(numbers))] = None
    positions = list(chosen)[:MAX_GOLDEN_ROWS]
    for position in np.random.default_rng(seed).permutation(len(frame)):
        if len(positions) >= min(GOLDEN_ROWS, len(frame)):
            break
        if int(position) not in chosen:
            positions.append(int(position))
    return sorted(positions)


def to_records(
    frame: pd.DataFrame, kinds: Mapping[str, Kind] | None = None
) -> list[dict[str, Scalar | None]]:
    """The rows as a request holds them: JSON values by name, None where missing.

    Args:
        frame: the rows.
        kinds: what a column is for the model, where its type alone does not say.
    """
    columns = {
        name: [_value(value, (kinds or {}).get(name)) for value in column]
        for name, column in frame.items()
    }
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def _value(value: Any, kind: Kind | None) -> Scalar | None:
    if pd.isna(value):
        return None
    scalar = to_scalar(value)
    return bool(scalar) if kind == "bool" else scalar


def to_scalar(value: Any) -> Scalar:
    """A cell as a JSON value.

    Raises:
        SourceError: it has no such form.
    """
    value = value.item() if isinstance(value, np.generic) else value
    if not isinstance(value, Scalar):
        raise SourceError(f"got {describe(value)}, expected text, a number or a boolean")
    return value


def to_scalars(values: Sequence[Any]) -> list[Scalar]:
    """Cells as JSON values; see `to_scalar`."""
    return [to_scalar(value) for value in values]
