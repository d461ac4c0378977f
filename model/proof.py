"""Whether another engine gives XGBoost's own bits, tried on many rows. Not shipped.

Rows are made where engines differ: at each threshold and one float to each side of it, at the edges
of categories and beyond, with values missing, far outside of what training saw, and within.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt

from model.engine import Engine
from model.manifest import Feature

PROVED_ROWS = 100_000
"""How many rows are tried at least."""

_BATCH_ROWS = 4096
_SMALL_BATCHES = (*range(1, 18), 31, 32, 33, 63, 64, 65)
_MISSING_RATE = 0.15
_EXTREMES = (0.0, -0.0, 1e-45, -1e-45, 1.1754944e-38, 1e30, -1e30, 3.4028235e38, -3.4028235e38)
_BEYOND = 3
"""Category codes beyond the last that are tried."""

Matrix = npt.NDArray[np.float32]


def thresholds_of(model: bytes, n_features: int) -> list[Matrix]:
    """The thresholds of each feature's numeric splits: sorted, each once.

    Args:
        model: in XGBoost's JSON.
        n_features: of the model.
    """
    trees = json.loads(model)["learner"]["gradient_booster"]["model"]["trees"]
    found: list[list[Matrix]] = [[] for _ in range(n_features)]
    for tree in trees:
        is_split = np.asarray(tree["left_children"]) >= 0
        kinds = np.asarray(tree.get("split_type") or np.zeros(len(is_split)))
        is_numeric = is_split & (kinds == 0)
        features = np.asarray(tree["split_indices"])[is_numeric]
        values = np.asarray(tree["split_conditions"], dtype=np.float32)[is_numeric]
        for feature in np.unique(features):
            found[feature].append(values[features == feature])
    return [np.unique(np.concatenate(each)) if each else _none() for each in found]


def first_difference(
    reference: Engine,
    candidate: Engine,
    features: Sequence[Feature],
    thresholds: Sequence[Matrix],
    least_rows: int = PROVED_ROWS,
) -> tuple[int, str]:
    """How many rows were tried, and what differed first; an empty text where nothing did.

    Args:
        reference: XGBoost.
        candidate: the engine that is to prove itself.
        features: of the model.
        thresholds: of each feature; see `thresholds_of`.
        least_rows: how many to try at least.
    """
    tried = 0
    for matrix in _matrices(features, thresholds, least_rows, np.random.default_rng(0)):
        expected = _predict(reference, matrix)
        if text := _compare(expected, _predict(candidate, matrix), matrix):
            return tried, text
        if tried == 0:  # other kernels may serve few rows
            at = 0
            for size in _SMALL_BATCHES:
                few = matrix[at : at + size]
                n = size * reference.n_outputs
                start = at * reference.n_outputs
                if text := _compare(expected[start : start + n], _predict(candidate, few), few):
                    return tried, f"in a batch of {size}: {text}"
                at += size
        tried += len(matrix)
    return tried, ""


def _predict(engine: Engine, matrix: Matrix) -> Matrix:
    buffer = array("f")
    buffer.frombytes(np.ascontiguousarray(matrix).tobytes())
    return np.asarray(engine.predict(buffer, len(matrix)), dtype=np.float32)


def _compare(expected: Matrix, found: Matrix, matrix: Matrix) -> str:
    differs = expected.view(np.uint32) != found.view(np.uint32)
    if not differs.any():
        return ""
    at = int(np.argmax(differs))
    row = at // (len(expected) // len(matrix))
    return f"row {matrix[row].tolist()}: got {found[at]!r}, expected {expected[at]!r}"


def _matrices(
    features: Sequence[Feature],
    thresholds: Sequence[Matrix],
    least_rows: int,
    draw: np.random.Generator,
) -> Iterator[Matrix]:
    """The rows, in batches `(n, n_features)`; a mixture of all kinds first."""
    edges = [_edges(each) for each in thresholds]
    makers: list[Callable[[int, int], Matrix]] = [
        lambda n, _: _columns(features, lambda f: _within(f, n, draw)),
        lambda n, _: _columns(features, lambda f: _outside(f, n, draw)),
        lambda n, at: np.stack(
            [_cycled(edge, n, at, f, draw) for f, edge in zip(features, edges, strict=True)], axis=1
        ),
    ]
    longest = max((len(edge) for edge in edges), default=0)
    batches = max(-(-least_rows // _BATCH_ROWS), len(makers) * -(-longest // _BATCH_ROWS))
    mixed = np.concatenate([make(_BATCH_ROWS // 3, 0) for make in makers])
    yield _with_gaps(draw.permutation(mixed), draw)
    for i in range(batches):
        matrix = makers[i % len(makers)](_BATCH_ROWS, i // len(makers) * _BATCH_ROWS)
        # Half of the batches whole, so that a missing value does not hide what is below it.
        yield matrix if i // len(makers) % 2 else _with_gaps(matrix, draw)


def _columns(features: Sequence[Feature], make: Callable[[Feature], Matrix]) -> Matrix:
    return np.stack([make(feature) for feature in features], axis=1)


def _with_gaps(matrix: Matrix, draw: np.random.Generator) -> Matrix:
    matrix = matrix.copy()
    matrix[draw.random(matrix.shape) < _MISSING_RATE] = np.nan
    matrix[: len(matrix) // 50] = np.nan
    return matrix


def _edges(thresholds: Matrix) -> Matrix:
    """Each threshold with the float before and the one after."""
    below = np.nextafter(thresholds, np.float32(-np.inf))
    above = np.nextafter(thresholds, np.float32(np.inf))
    return np.concatenate([thresholds, below, above])


def _cycled(edge: Matrix, n: int, at: int, feature: Feature, draw: np.random.Generator) -> Matrix:
    """Values from `at` on, in a circle, in an order of their own; what has no edges is drawn."""
    if not len(edge) or feature.kind == "categorical":
        return _within(feature, n, draw)
    order = np.random.default_rng(len(edge)).permutation(len(edge))
    return np.asarray(edge[order[np.arange(at, at + n) % len(edge)]], dtype=np.float32)


def _within(feature: Feature, n: int, draw: np.random.Generator) -> Matrix:
    if feature.kind == "categorical":
        return draw.integers(0, len(feature.categories), n).astype(np.float32)
    if feature.kind == "bool":
        return draw.integers(0, 2, n).astype(np.float32)
    low, high = feature.minimum or 0.0, feature.maximum or 0.0
    values = draw.uniform(low, high, n) if low < high else np.full(n, low)
    return (np.round(values) if feature.kind == "int" else values).astype(np.float32)


def _outside(feature: Feature, n: int, draw: np.random.Generator) -> Matrix:
    if feature.kind == "categorical":
        return draw.integers(0, len(feature.categories) + _BEYOND, n).astype(np.float32)
    span = max(abs(feature.minimum or 0.0), abs(feature.maximum or 0.0), 1e-3)
    wide = np.clip(draw.standard_normal(n) * span * 10.0 ** draw.integers(0, 8, n), -3e38, 3e38)
    values = np.where(draw.random(n) < 0.2, draw.choice(_EXTREMES, n), wide)
    return values.astype(np.float32)


def _none() -> Matrix:
    return np.empty(0, dtype=np.float32)
