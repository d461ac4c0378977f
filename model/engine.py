"""The Engine port: a matrix in, the model's raw outputs out."""

import logging
from array import array
from collections.abc import Mapping, Sequence

from model.errors import BundleMismatchError, BundleVersionError
from model.manifest import FOREST, MANIFEST, MODEL, Manifest, dotted
from model.typed import Protocol

_log = logging.getLogger(__name__)


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


def open_engine(manifest: Manifest, files: Mapping[str, bytes], *, n_threads: int) -> Engine:
    """The engine that serves this model, audited against the manifest.

    That is the kernel for the compact forest where the bundle has one, and this installation the
    kernel; XGBoost itself otherwise.

    Args:
        manifest: of the bundle.
        files: the content of its other files, by name.
        n_threads: for large batches.

    Raises:
        BundleVersionError: XGBoost is to serve, and the model was written by a newer one than the
            one installed. An older one would load it without complaint and predict wrong numbers.
        BundleFormatError: the engine cannot read its file.
        BundleMismatchError: the model is not the one that the manifest describes.
    """
    if FOREST in files:
        from model.forest_engine import ForestEngine, is_available, recorded_crc

        if is_available():
            content = files[FOREST]
            engine = ForestEngine(manifest, content, n_threads=n_threads)
            if (found := recorded_crc(content)) != manifest.forest.crc32:
                engine.close()
                expected = f"{manifest.forest.crc32}, as in the manifest"
                raise BundleMismatchError(FOREST, f"a file with CRC-32 {found}", expected)
            return engine
        _log.info("this installation has no compiled kernel; XGBoost serves")
    # The library takes milliseconds to load that the kernel does without.
    from model.xgboost_engine import XGBoostEngine, library_version

    runtime = library_version()
    if manifest.xgboost_version > runtime:
        observed = f"a model written by XGBoost {dotted(manifest.xgboost_version)}"
        expected = f"at most {dotted(runtime)}, the version installed here"
        raise BundleVersionError(f"{MANIFEST}: xgboost_version", observed, expected)
    return XGBoostEngine(manifest, files[MODEL], n_threads=n_threads)
