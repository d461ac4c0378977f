"""The proof of one engine by another: that it covers what matters, and finds what differs."""

from array import array
from collections.abc import Sequence

import numpy as np
import pytest

from model.engine import Engine
from model.forest_engine import ForestEngine
from model.proof import first_difference, thresholds_of
from model.xgboost_engine import XGBoostEngine
from tests.conftest import Packed, bits


class Recording:
    """Notes the rows that an engine is asked about; spoils an answer where it is told to."""

    def __init__(self, engine: Engine, spoil_at: int | None = None) -> None:
        self._engine = engine
        self._spoil_at = spoil_at
        self.n_outputs = engine.n_outputs
        self.rows: list[np.ndarray] = []

    def predict(self, matrix: "array[float]", n_rows: int) -> Sequence[float]:
        before = sum(map(len, self.rows))
        self.rows.append(np.asarray(matrix, dtype=np.float32).reshape(n_rows, -1))
        found = list(self._engine.predict(matrix, n_rows))
        if self._spoil_at is not None and before <= self._spoil_at < before + n_rows:
            at = (self._spoil_at - before) * self.n_outputs
            found[at] = float(np.nextafter(np.float32(found[at]), np.float32(np.inf)))
        return found

    def close(self) -> None:
        self._engine.close()


def engines(packed: Packed) -> tuple[XGBoostEngine, ForestEngine]:
    compact = (packed.directory / "model.forest").read_bytes()
    return (
        XGBoostEngine(packed.manifest, packed.model, n_threads=1),
        ForestEngine(packed.manifest, compact, n_threads=1),
    )


def thresholds(packed: Packed) -> list[np.ndarray]:
    booster = packed.estimator.get_booster()
    return thresholds_of(bytes(booster.save_raw("json")), len(packed.manifest.features))


def test_thresholds_are_those_of_numeric_splits(mixed: Packed) -> None:
    """Each once, in order; a categorical split has none."""
    found = thresholds(mixed)
    names = [feature.name for feature in mixed.manifest.features]
    text = mixed.estimator.get_booster().trees_to_dataframe()
    for name, values in zip(names, found, strict=True):
        splits = text[(text["Feature"] == name) & text["Category"].isna()]["Split"]
        wanted = np.unique(splits.astype(np.float32))
        assert bits(values) == bits(wanted)
    assert [len(values) for values in found[:2]] == [0, 0]


@pytest.mark.kernel
def test_proof_hits_each_threshold_and_a_float_to_each_side(regression: Packed) -> None:
    """Missing values, zero of both signs and the largest floats are among the rows as well."""
    reference, candidate = engines(regression)
    seen = Recording(candidate)
    cuts = thresholds(regression)
    n_rows, text = first_difference(
        reference, seen, regression.manifest.features, cuts, least_rows=20_000
    )
    assert (text, n_rows >= 20_000) == ("", True)
    rows = np.concatenate(seen.rows)
    for at, values in enumerate(cuts):
        for direction in (-np.inf, np.inf):
            beside = np.nextafter(values, np.float32(direction))
            assert np.isin([*values, *beside], rows[:, at]).all()
        assert np.isnan(rows[:, at]).any()
        assert (np.abs(rows[:, at]) > 3e38).any()
    assert np.signbit(rows[rows == 0]).any()
    assert np.isnan(rows).all(axis=1).any()


@pytest.mark.kernel
def test_proof_has_categories_beyond_the_last(mixed: Packed) -> None:
    """And each that there is."""
    reference, candidate = engines(mixed)
    seen = Recording(candidate)
    _, text = first_difference(
        reference, seen, mixed.manifest.features, thresholds(mixed), least_rows=10_000
    )
    assert text == ""
    rows = np.concatenate(seen.rows)
    assert set(rows[~np.isnan(rows[:, 0]), 0]) == {0.0, 1.0, 2.0, 3.0, 4.0, 5.0}


@pytest.mark.kernel
def test_one_bit_in_one_row_is_found_and_named(multiclass: Packed) -> None:
    """In the first batch, in the few rows tried again, and in the last batch."""
    for spoil_at in (0, 4_100, 19_000):
        reference, candidate = engines(multiclass)
        spoilt = Recording(candidate, spoil_at)
        _, text = first_difference(
            reference,
            spoilt,
            multiclass.manifest.features,
            thresholds(multiclass),
            least_rows=20_000,
        )
        assert "got np.float32(" in text
        assert "expected np.float32(" in text
