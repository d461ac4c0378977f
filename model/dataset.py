"""A table, or one of scikit-learn's data sets, as something to train on. Not shipped."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn import datasets

from model.errors import SourceError, describe, shorten
from model.features import FLOAT32_MAX
from model.manifest import Data, Scalar, category_type
from model.tables import fingerprint, read_table, to_scalars, with_kinds, with_names

_LOADERS = {
    "wine": datasets.load_wine,
    "breast-cancer": datasets.load_breast_cancer,
    # In their own units, as somebody would send them.
    "diabetes": lambda as_frame: datasets.load_diabetes(as_frame=as_frame, scaled=False),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dataset:
    """Features with the values to predict, as `to_dataset` checks and makes it.

    Attributes:
        X: `(n, n_features)` rows of numbers, booleans and categories.
        y: `(n,)` target: all text, all numbers or all booleans; named as its column.
        name: what to call it; a model's name where none is given.
        data: where it comes from.
    """

    X: pd.DataFrame
    y: pd.Series
    name: str
    data: Data


def load_dataset(name: str = "wine") -> Dataset:
    """One of scikit-learn's bundled data sets: `wine`, `breast-cancer` or `diabetes`.

    Raises:
        SourceError: there is none of that name.
    """
    if name not in _LOADERS:
        raise SourceError(f"the data set: got {name!r}, expected one of {', '.join(_LOADERS)}")
    bunch = _LOADERS[name](as_frame=True)
    y = bunch.target
    if "target_names" in bunch:
        y = y.map(dict(enumerate(map(str, bunch.target_names))))
    frame = bunch.data.assign(target=y)
    data = fingerprint(frame, source=f"scikit-learn's {name} data set")
    return to_dataset(frame, "target", name=name, data=data)


def read_dataset(path: Path, target: str, drop: Sequence[str] = ()) -> Dataset:
    """The data set in a table.

    Args:
        path: a CSV, Parquet or JSON file, or a folder whose CSV or Parquet files make one table.
        target: the column to predict.
        drop: columns to leave out.

    Raises:
        SourceError: the table cannot be read, or cannot be trained on; see `to_dataset`.
    """
    files = _files(path) if path.is_dir() else [path]
    frames = [read_table(file) for file in files]
    for file, other in zip(files, frames, strict=True):
        if strange := set(other.columns) ^ set(frames[0].columns):
            observed = f"the column {min(strange)!r} in only one of both"
            raise SourceError(f"{file}: got {observed}, expected the columns of {files[0].name}")
    source, single = (files[0], files[0]) if len(files) == 1 else (path, None)
    frame = frames[0] if single else pd.concat(frames, ignore_index=True)
    data = fingerprint(frame, source=source.name, path=single)
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", source.stem).strip("-._") or "model"
    return to_dataset(frame, target, name=name, drop=drop, data=data)


def _files(folder: Path) -> list[Path]:
    kinds = {".csv", ".parquet"}
    found = sorted(file for file in folder.rglob("*") if file.suffix.lower() in kinds)
    if len({file.suffix.lower() for file in found}) != 1:
        observed = "files of both kinds" if found else "no such file"
        raise SourceError(f"{folder}: got {observed}, expected CSV files or Parquet files")
    return found


def to_dataset(
    frame: pd.DataFrame,
    target: str,
    *,
    name: str,
    drop: Sequence[str] = (),
    data: Data | None = None,
) -> Dataset:
    """The data set in a table in memory.

    Args:
        frame: `(n, n_features + 1)` or more columns: the features and the target.
        target: the column to predict.
        name: what to call the data set.
        drop: columns to leave out.
        data: where the table comes from.

    Raises:
        SourceError: a column is not there, has a name that XGBoost refuses, or is of a type that
            cannot be trained on; or the target has missing values, mixed types, or only one value.
    """
    data = data or fingerprint(frame, source="a table in memory")
    frame = with_names(frame, data.source).reset_index(drop=True)
    for column in (target, *drop):
        if column not in frame.columns:
            close = difflib.get_close_matches(column, frame.columns, n=1)
            hint = f"did you mean {close[0]!r}?" if close else shorten(", ".join(frame.columns))
            expected = f"one of the table's ({hint})"
            raise SourceError(f"{data.source}: got no column {column!r}, expected {expected}")
    X = frame.drop(columns=[target, *drop])
    if X.shape[1] == 0:
        raise SourceError(f"{data.source}: got no column besides the target, expected features")
    y = pd.Series(_target_values(frame[target]), name=target)
    return Dataset(X=_trainable(X), y=y, name=name, data=data)


def _target_values(y: pd.Series) -> list[Scalar]:
    """The target as plain text, booleans or numbers, checked."""
    place = f"column {y.name!r}"
    if n_missing := int(y.isna().sum()):
        place = f"{place}, row {np.flatnonzero(y.isna())[0] + 1}"
        expected = "a value in each row; leave such rows out"
        raise SourceError(f"{place}: got a missing value ({n_missing} in all), expected {expected}")
    try:
        values = to_scalars(y.astype(object).tolist())
    except SourceError as error:
        raise SourceError(f"{place}: {error}") from error
    if len({category_type(value) for value in values}) > 1:
        expected = "all text, all numbers or all booleans"
        raise SourceError(f"{place}: got values of mixed types, expected {expected}")
    for i, value in enumerate(values):
        if not isinstance(value, str) and abs(value) > FLOAT32_MAX:
            expected = "a number that float32 can hold"
            raise SourceError(f"{place}, row {i + 1}: got {describe(value)}, expected {expected}")
    if len(set(values)) == 1:
        raise SourceError(
            f"{place}: got {describe(values[0])} in every row, expected two values at least"
        )
    return values


def _trainable(frame: pd.DataFrame) -> pd.DataFrame:
    """The features as XGBoost takes them, and as `pack` will see them again."""
    typed = with_kinds(frame)
    for name, column in typed.items():
        if bad := [sign for sign in "[]<" if sign in name]:
            expected = "none of '[', ']' and '<', which XGBoost refuses in names"
            raise SourceError(f"column {name!r}: got a name with {bad[0]!r}, expected {expected}")
        given = frame[name].dropna()
        if isinstance(column.dtype, pd.CategoricalDtype):
            typed[name] = _trainable_category(column)
        elif (
            column.isna().any() and len(given) and pd.api.types.is_bool_dtype(given.infer_objects())
        ):
            typed[name] = frame[name].astype("boolean")  # so that the model's file says: yes or no
    return typed


def _trainable_category(column: pd.Series) -> pd.Series:
    # What the table never holds the model has never seen, and the bundle must not claim to know.
    column = column.cat.remove_unused_categories()
    categories = column.cat.categories
    if len(categories) and pd.api.types.is_bool_dtype(categories.dtype):
        return column.astype("boolean" if column.isna().any() else bool)
    if len(categories) == 0 or pd.api.types.is_float_dtype(categories.dtype):
        return column.astype("float64")  # XGBoost has no categories that are floats
    return column
