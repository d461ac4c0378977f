"""Golden rows, asked for of something that may be another model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.prediction import Prediction
from model.errors import BundleError
from release.replay import replay
from tests.conftest import Packed

Rows = Sequence[Mapping[str, Any]]


def answered(packed: Packed, rows: Rows, *, version: str = "1.2.3", wrong: int = 0) -> Prediction:
    """What a component says that serves this bundle, but for the first rows' labels."""
    prediction = packed.bundle.predict([dict(row) for row in rows])
    assert prediction.probabilities is not None
    predictions = [*("other",) * wrong, *prediction.predictions[wrong:]]
    return Prediction(
        model="wine",
        version=version,
        predictions=tuple(predictions),
        labels=tuple(packed.manifest.labels),
        probabilities=tuple(map(tuple, prediction.probabilities)),
    )


def test_same_model_gives_the_recorded_answers(multiclass: Packed) -> None:
    """All golden rows are asked for at once, in order."""
    asked: list[Rows] = []

    def predict(rows: Rows) -> Prediction:
        asked.append(rows)
        return answered(multiclass, rows)

    found = replay(multiclass.directory, predict)
    n = len(multiclass.bundle.golden)
    assert asked == [[it.row for it in multiclass.bundle.golden]]
    assert (found.model, found.n_rows, found.n_equal, found.is_exact) == ("wine 1.2.3", n, n, True)
    assert list(found.differences) == []
    assert str(found) == f"{n} of {n} golden rows equal to the last bit"


def test_rows_that_differ_are_told_one_by_one(multiclass: Packed) -> None:
    """By their number among the golden rows."""
    found = replay(multiclass.directory, lambda rows: answered(multiclass, rows, wrong=2))
    n = len(multiclass.bundle.golden)
    assert str(found) == f"{n - 2} of {n} golden rows equal to the last bit"
    labels = [it.prediction for it in multiclass.bundle.golden]
    assert list(found.differences) == [
        f"row {i}.prediction: got 'other', expected {labels[i]!r}" for i in range(2)
    ]


def test_another_version_is_a_difference_even_where_all_rows_are_equal(multiclass: Packed) -> None:
    """It comes first, for it explains the others."""
    found = replay(
        multiclass.directory, lambda rows: answered(multiclass, rows, version="1.2.4", wrong=1)
    )
    assert found.model == "wine 1.2.4"
    assert found.n_equal == found.n_rows - 1
    assert len(found.differences) == 2
    assert found.differences[0] == (
        "the model: got wine 1.2.4, expected wine 1.2.3 as in the bundle"
    )


def test_bundle_that_cannot_be_opened_is_told_before_anybody_is_asked(tmp_path: Path) -> None:
    """There is nothing to ask for."""
    with pytest.raises(BundleError, match=r"manifest\.json"):
        replay(tmp_path, lambda rows: pytest.fail(f"asked for {rows}"))
