"""The Engine port: a matrix in, the model's raw outputs out."""

from array import array
from collections.abc import Sequence
from typing import Protocol

from model.errors import BundleVersionError
from model.manifest import MANIFEST, Manifest, dotted
from model.xgboost_engine import XGBoostEngine, library_version


class Engine(Protocol):
    """Predicts with one model; safe to call from several threads."""

    @property
    def n_outputs(self) -> int:
        """Values for each row: 1, or one for each class."""

    def predict(self, matrix: "array[float]", n_rows: int) -> Sequence[float]:
        """The outputs of each row.

        Args:
            matrix: `(n_rows * n_features,) float32`, row after row, NaN where missing.
            n_rows: how many rows the matrix holds, at least 1.

        Returns:
            `(n_rows * n_outputs,)` float32 values as Python floats, row after row.
        """

    def close(self) -> None:
        """Frees the model; `predict` must not be called any more."""


def open_engine(manifest: Manifest, model: bytes, *, n_threads: int) -> Engine:
    """The engine that serves this model, audited against the manifest.

    Raises:
        BundleVersionError: the model was written by a newer XGBoost than the one installed. An
            older one would load it without complaint and predict wrong numbers.
        BundleFormatError: the library cannot read the model.
        BundleMismatchError: the model is not the one that the manifest describes.
    """
    runtime = library_version()
    if manifest.xgboost_version > runtime:
        observed = f"a model written by XGBoost {dotted(manifest.xgboost_version)}"
        expected = f"at most {dotted(runtime)}, the version installed here"
        raise BundleVersionError(f"{MANIFEST}: xgboost_version", observed, expected)
    return XGBoostEngine(manifest, model, n_threads=n_threads)
