"""Open a bundle: parse, audit, load. Predict with it.

Nothing is unpickled here, ever: a bundle is JSON, JSON lines and XGBoost's own UBJ.
"""

import math
import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

from model.digest import sha256
from model.engine import Engine, open_engine
from model.errors import (
    BundleChecksumError,
    BundleFormatError,
    BundleMismatchError,
    InputError,
)
from model.features import FeatureEncoder, Rows
from model.golden import Difference, GoldenRow, differences, parse_golden
from model.manifest import FOREST, GOLDEN, MANIFEST, Manifest, Scalar, parse_manifest
from model.typed import Any, NamedTuple

DEFAULT_THRESHOLD = 0.5
"""Above it a binary model says the second label. Source: `XGBClassifier.predict`, xgboost 3.2."""

PROBABILISTIC = frozenset({"binary:logistic", "reg:logistic", "multi:softprob"})
"""The objectives whose output is a probability, where the task is a classification."""


class Prediction(NamedTuple):
    """What a model says about n rows.

    Attributes:
        predictions: `(n,)` numbers for regression, else labels as the user wrote them.
        probabilities: `(n, n_labels)` in the manifest's order of labels; None where the model's
            objective gives none.
    """

    predictions: list[Scalar]
    probabilities: list[list[float]] | None = None


class Bundle:
    """An open, audited model.

    Attributes:
        manifest: what is known of it.
        digest: sha256 of `manifest.json`, which holds those of all other files: the model's
            identity.
    """

    def __init__(
        self,
        manifest: Manifest,
        digest: str,
        read_golden: Callable[[], Sequence[GoldenRow]],
        engine: Engine,
    ) -> None:
        self.manifest = manifest
        self.digest = digest
        self._read_golden = read_golden
        self._engine = engine
        self._encoder = FeatureEncoder(
            manifest.features,
            absent_field=manifest.absent_field,
            unknown_category=manifest.unknown_category,
        )

    @cached_property
    def golden(self) -> Sequence[GoldenRow]:
        """What the original model predicted; read when first asked for.

        Raises:
            BundleFormatError, BundleChecksumError: the file is not good; never after an audit.
        """
        return self._read_golden()

    def predict(self, rows: Rows, threshold: float = DEFAULT_THRESHOLD) -> Prediction:
        """The model's answer to the rows.

        Args:
            rows: n records, or a table of n rows; see `model.features`.
            threshold: of a binary task: above it the second label is said. Other tasks ignore it.

        Raises:
            InputError: the rows are not what the model takes; see `FeatureEncoder.encode`.
        """
        return self.predict_matrix(self.encode(rows), threshold)

    def encode(self, rows: Rows) -> "array[float]":
        """The rows as the model reads them: `(n * n_features,) float32`.

        Matrices of several callers may be joined, and predicted as one.

        Raises:
            InputError: see `FeatureEncoder.encode`.
        """
        return self._encoder.encode(rows)

    def predict_matrix(
        self, matrix: "array[float]", threshold: float = DEFAULT_THRESHOLD
    ) -> Prediction:
        """The model's answer to `(n * n_features,) float32`, at least one row.

        Raises:
            ArithmeticError: the model itself gave a NaN or an infinity, which JSON cannot hold.
        """
        n_rows = len(matrix) // len(self.manifest.features)
        outputs = self._engine.predict(matrix, n_rows)
        if not math.isfinite(sum(outputs)):  # float32 values never overflow a float64 sum
            raise ArithmeticError("the model's output: got a NaN or infinity, expected numbers")
        labels = self.manifest.labels
        match self.manifest.task:
            case "regression":
                return Prediction(list(outputs))
            case "binary":
                chosen: list[Scalar] = [labels[output > threshold] for output in outputs]
                if self.manifest.objective not in PROBABILISTIC:
                    return Prediction(chosen)
                negative = _complement(outputs)
                return Prediction(
                    chosen, [list(pair) for pair in zip(negative, outputs, strict=True)]
                )
            case "multiclass":
                if self.manifest.objective not in PROBABILISTIC:  # multi:softmax: the class number
                    return Prediction([labels[int(output)] for output in outputs])
                n = len(labels)
                rows = [list(outputs[i : i + n]) for i in range(0, len(outputs), n)]
                # The first of equal maxima, as numpy's argmax has it.
                return Prediction([labels[row.index(max(row))] for row in rows], rows)

    def replay(self) -> list[Difference]:
        """Predicts the golden rows, all at once; what is not as recorded, nothing where all is.

        Raises:
            BundleMismatchError: a golden row is not even what the model takes.
        """
        try:
            answer = self.predict([golden.row for golden in self.golden])
        except InputError as error:
            fault = error.faults[0]
            place = f"{GOLDEN}: {fault.place}"
            raise BundleMismatchError(place, fault.observed, fault.expected) from error
        return differences(
            self.golden, answer.predictions, answer.probabilities, exact=self.is_exact
        )

    @property
    def is_exact(self) -> bool:
        """Whether this machine's architecture recorded the golden rows, so that each bit counts."""
        import platform  # slow to load, and only a replay asks

        return self.manifest.machine == platform.machine()

    @property
    def engine(self) -> str:
        """Which engine `open_engine` has chosen: `forest` or `xgboost`."""
        if FOREST in self.manifest.files:
            from model.forest_engine import is_available  # only where it has been imported already

            if is_available():
                return "forest"
        return "xgboost"

    def close(self) -> None:
        """Frees the model."""
        self._engine.close()


def open_bundle(
    directory: str | os.PathLike[str], *, n_threads: int = 1, audit: bool = True
) -> Bundle:
    """The bundle in a directory, after its audit.

    Args:
        directory: holds `manifest.json` and the files that it names.
        n_threads: for large batches; a container's CPU share is not seen by the library itself.
        audit: reads every file and compares its sha256. Else only what predictions need is read: a
            compact forest is compared by the CRC-32 in the manifest, which takes a tenth of the
            time, any other file by its sha256 once it is asked for.

    Raises:
        BundleFormatError: a file is missing or unreadable.
        BundleVersionError: format or model are newer than this runtime.
        BundleChecksumError: a file's content is not what the manifest recorded.
        BundleMismatchError: the model is not the one that the manifest describes.
    """
    content = _read(directory, MANIFEST)
    manifest = parse_manifest(content)
    lazy = _LazyFiles(directory, manifest.files)
    files: Mapping[str, bytes] = lazy
    if audit:
        files = {name: lazy.read_checked(name) for name in lazy}
    golden = parse_golden(files[GOLDEN]) if audit else None
    engine = open_engine(manifest, files, n_threads=n_threads)
    return Bundle(manifest, sha256(content), lambda: golden or parse_golden(lazy[GOLDEN]), engine)


class _LazyFiles(Mapping[str, bytes]):
    """The other files of a bundle, each read, and compared with the manifest, when it is taken."""

    def __init__(self, directory: str | os.PathLike[str], recorded: Mapping[str, str]) -> None:
        self._directory = directory
        self._recorded = recorded

    def __getitem__(self, name: str) -> bytes:
        if name == FOREST:  # whose engine compares it
            return _map(self._directory, name)
        return self.read_checked(name)

    def read_checked(self, name: str) -> bytes:
        """The content, once its sha256 is the recorded one.

        Raises:
            BundleFormatError: the file is missing or unreadable.
            BundleChecksumError: the content is another.
        """
        content = _read(self._directory, name)
        found, recorded = sha256(content), self._recorded[name]
        if found != recorded:
            size = f"{len(content)} bytes with sha256 {found[:12]}…"
            raise BundleChecksumError(name, size, f"sha256 {recorded[:12]}…, as in the manifest")
        return content

    def __contains__(self, name: object) -> bool:
        return name in self._recorded

    def __iter__(self) -> Iterator[str]:
        return iter(self._recorded)

    def __len__(self) -> int:
        return len(self._recorded)


def check_replay(bundle: Bundle) -> None:
    """Replays the golden rows.

    Raises:
        BundleMismatchError: the first prediction that is not as recorded, and how many there are.
    """
    if found := bundle.replay():
        first = found[0]
        more = f" ({len(found)} of {len(bundle.golden)} golden rows differ)"
        raise BundleMismatchError(f"{GOLDEN}: {first.place}", first.observed, first.expected + more)


def _read(directory: str | os.PathLike[str], name: str) -> bytes:
    path = os.path.join(directory, name)  # noqa: PTH118  (pathlib is slow to load)
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            return file.read()
    except FileNotFoundError as error:
        is_there = os.path.isdir(directory)  # noqa: PTH112
        where = "no such file" if is_there else "no such directory"
        raise BundleFormatError(path, where, "a bundle's file") from error
    except OSError as error:
        observed = error.strerror or str(error)
        raise BundleFormatError(path, observed, "a readable file") from error


def _map(directory: str | os.PathLike[str], name: str) -> bytes:
    """The content as the page cache has it; to read megabytes costs a page fault for each 4 KB."""
    import mmap

    try:
        with open(os.path.join(directory, name), "rb") as file:  # noqa: PTH118, PTH123
            flags = mmap.MAP_PRIVATE | getattr(mmap, "MAP_POPULATE", 0)
            content: Any = mmap.mmap(file.fileno(), 0, flags=flags, prot=mmap.PROT_READ)
    except (OSError, ValueError):  # an empty file, or one that cannot be mapped
        return _read(directory, name)
    found: bytes = content  # for whoever takes buffers
    return found


def _complement(probabilities: Sequence[float]) -> "array[float]":
    """1 - p in float32, as XGBoost's wrapper computes it.

    The subtraction in float64 followed by one rounding gives the same bits as one in float32.
    Source: S. Figueroa, "When is double rounding innocuous?", 1995 (53 >= 2 * 24 + 2).
    """
    return array("f", [1.0 - p for p in probabilities])
