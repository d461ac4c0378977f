"""The forest engine: a compact form of the trees, walked by a C kernel, behind the Engine port.

Equal to XGBoost's library to the last bit, without the library. docs/forest.md describes the file.
"""

import json
import zlib
from array import array
from collections.abc import Sequence

from model.errors import BundleChecksumError, BundleFormatError, BundleMismatchError
from model.manifest import FOREST, Manifest
from model.typed import Any

try:
    from model import _forest
except ImportError:  # no C compiler where it was installed: the XGBoost engine serves
    _forest = None  # type: ignore[assignment]

MAGIC = b"EXFOREST"
CRC_OFFSET = 12
"""Where the header's checksum stands; it covers everything behind itself. See docs/forest.md."""

TRANSFORMS = {
    "reg:squarederror": 0,
    "reg:squaredlogerror": 0,
    "reg:pseudohubererror": 0,
    "reg:absoluteerror": 0,
    "reg:quantileerror": 0,
    "binary:logitraw": 0,
    "rank:pairwise": 0,
    "rank:ndcg": 0,
    "rank:map": 0,
    "binary:logistic": 1,
    "reg:logistic": 1,
    "multi:softprob": 2,
    "multi:softmax": 3,
    "count:poisson": 4,
    "reg:gamma": 4,
    "reg:tweedie": 4,
    "binary:hinge": 5,
}
"""The objectives that are carried, and the code of what each makes of a sum.

Source: xgboost 3.2, `PredTransform` and `ProbToMargin` of src/objective.
"""


def is_available() -> bool:
    """Whether the kernel was built where this is installed."""
    return _forest is not None


class ForestEngine:
    """One forest, held by the kernel; safe to call from several threads."""

    def __init__(
        self, manifest: Manifest, content: bytes, *, n_threads: int, walk: str | None = None
    ) -> None:
        """Opens and audits the file.

        Args:
            manifest: what the bundle says of its model.
            content: of `model.forest`.
            n_threads: for large batches.
            walk: one of the kernel's own; the best one that this machine can do where None.

        Raises:
            BundleFormatError: the file is none, or holds what would lead out of it.
            BundleChecksumError: its content is not what was written.
            BundleMismatchError: it is not the model that the manifest describes.
            LookupError: this machine cannot do the walk.
            ModuleNotFoundError: the kernel was not built.
        """
        if not is_available():
            message = "the forest kernel is not installed: expected model._forest, which pip builds"
            raise ModuleNotFoundError(message, name="model._forest")
        _check_crc(content)
        try:
            forest = _forest.Forest(content, walk)
        except ValueError as error:
            place, observed, expected = error.args
            raise BundleFormatError(f"{FOREST}: {place}", observed, expected) from error
        _audit(forest, manifest)
        self._forest: _forest.Forest | None = forest
        self._n_threads = max(1, n_threads)
        self.n_outputs = forest.n_outputs

    def predict(self, matrix: "array[float]", n_rows: int) -> Sequence[float]:
        """See `Engine.predict`.

        Raises:
            ValueError: the matrix does not hold so many rows, or the engine is closed.
            TypeError: it does not hold float32.
        """
        if self._forest is None:
            raise ValueError("the forest engine: got a call after close, expected none")
        return self._forest.predict(matrix, n_rows, self._n_threads)

    def close(self) -> None:
        """See `Engine.close`; a prediction that is under way ends well."""
        self._forest = None


def recorded_crc(content: bytes) -> str:
    """The checksum in the header of a forest file, in 8 hexadecimal digits."""
    return f"{int.from_bytes(content[CRC_OFFSET : CRC_OFFSET + 4], 'little'):08x}"


def _check_crc(content: bytes) -> None:
    """Compares the checksum; a file too short to have one is left to the kernel to refuse."""
    at = CRC_OFFSET
    recorded = int.from_bytes(content[at : at + 4], "little")
    if len(content) < at + 4 or content[: len(MAGIC)] != MAGIC:
        return
    found = zlib.crc32(memoryview(content)[at + 4 :])
    if found != recorded:
        observed, expected = f"content with CRC-32 {found:08x}", f"{recorded:08x}, as in its header"
        raise BundleChecksumError(FOREST, observed, expected)


def _audit(forest: "_forest.Forest", manifest: Manifest) -> None:
    """Compares the forest with the manifest: columns, objective, classes, rounds."""
    objective, features = _parse_text(forest.text)
    if len(features) != forest.n_features:
        expected = f"{forest.n_features}, as in its header"
        raise BundleFormatError(f"{FOREST}: features in its text", str(len(features)), expected)
    _audit_features(features, manifest)
    if objective != manifest.objective:
        raise _mismatch("objective", repr(objective), repr(manifest.objective))
    if TRANSFORMS.get(objective) != forest.transform:
        expected = f"that of {objective}"
        raise BundleFormatError(f"{FOREST}: transform", str(forest.transform), expected)
    classes = len(manifest.labels) if manifest.task == "multiclass" else 1
    if forest.n_groups != classes:
        raise _mismatch("classes", str(forest.n_groups), str(classes))
    if manifest.tree_range != (0, forest.n_rounds):
        begin, end = manifest.tree_range
        raise _mismatch("boosting rounds", f"0 to {forest.n_rounds}", f"{begin} to {end}")


def _audit_features(features: Sequence[tuple[str, str]], manifest: Manifest) -> None:
    if len(features) != len(manifest.features):
        raise _mismatch("features", str(len(features)), str(len(manifest.features)))
    for at, ((name, kind), wanted) in enumerate(zip(features, manifest.features, strict=True)):
        if name != wanted.name:
            raise _mismatch("features", f"{name!r} at place {at}", repr(wanted.name))
        # A category's code is no number to compare with thresholds; all other kinds are numbers.
        if (kind == "c") != (wanted.kind == "categorical"):
            raise _mismatch(f"type of feature {name!r}", repr(kind), wanted.kind)


def _parse_text(text: bytes) -> tuple[str, list[tuple[str, str]]]:
    """The objective, and each feature's name and XGBoost's word for its type."""
    try:
        document: Any = json.loads(text)
        objective = document["objective"]
        features = [(name, kind) for name, kind in document["features"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _no_text(type(error).__name__) from error
    if not all(isinstance(word, str) for pair in features for word in (objective, *pair)):
        raise _no_text("other values")
    return objective, features


def _no_text(observed: str) -> BundleFormatError:
    return BundleFormatError(f"{FOREST}: text", observed, "an objective and pairs of names")


def _mismatch(place: str, observed: str, expected: str) -> BundleMismatchError:
    return BundleMismatchError(f"{FOREST}: {place}", observed, f"{expected}, as in the manifest")
