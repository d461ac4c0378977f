"""XGBoost's own library behind the Engine port: the reference, and able to serve every model.

The shared library is called directly through its C interface. XGBoost's Python package would import
numpy and scipy always, and pandas and scikit-learn where it finds them: a second of cold start.

Source: xgboost 3.2, `include/xgboost/c_api.h`; the wheel's `lib/` folder.
"""

import ctypes
import json
import sys
from array import array
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from model.errors import BundleFormatError, BundleMismatchError
from model.manifest import MODEL, Kind, Manifest

_LIBRARY_NAMES = ("libxgboost.so", "libxgboost.dylib")
_XGBOOST_KINDS: dict[Kind, frozenset[str]] = {
    "float": frozenset({"float", "q", "int"}),
    "int": frozenset({"float", "q", "int"}),
    "bool": frozenset({"i", "float", "q", "int"}),
    "categorical": frozenset({"c"}),
}
"""XGBoost's names of the feature types that a kind of ours may have (`i` is its boolean).

Source: xgboost `src/data/data.cc`, `LoadFeatureType`.
"""


class LibraryError(RuntimeError):
    """A call of the library failed; the text is its own first line."""


class XGBoostEngine:
    """One booster, held by the library."""

    def __init__(self, manifest: Manifest, model: bytes, *, n_threads: int) -> None:
        """Loads and audits the model.

        Raises:
            BundleFormatError: the library cannot read it.
            BundleMismatchError: it is not the model that the manifest describes.
        """
        self._library = load_library()
        self._handle = ctypes.c_void_p()
        self._n_features = len(manifest.features)
        self._check(self._library.XGBoosterCreate(None, 0, ctypes.byref(self._handle)))
        try:
            self._load(model)
            self._audit(manifest)
            self._set("nthread", str(n_threads))
        except BaseException:
            self.close()
            raise
        begin, end = manifest.tree_range
        self._config = json.dumps(
            {
                "type": 0,
                "training": False,
                "iteration_begin": begin,
                "iteration_end": end,
                "missing": float("nan"),
                "strict_shape": True,
                "cache_id": 0,
            }
        ).encode()
        self.n_outputs = _n_outputs(manifest)

    def predict(self, matrix: "array[float]", n_rows: int) -> Sequence[float]:
        """See `Engine.predict`."""
        address, _ = matrix.buffer_info()
        interface = b'{"data":[%d,true],"shape":[%d,%d],"typestr":"<f4","version":3}' % (
            address,
            n_rows,
            self._n_features,
        )
        shape = ctypes.POINTER(ctypes.c_uint64)()
        n_dimensions = ctypes.c_uint64()
        result = ctypes.POINTER(ctypes.c_float)()
        self._check(
            self._library.XGBoosterPredictFromDense(
                self._handle,
                interface,
                self._config,
                None,
                ctypes.byref(shape),
                ctypes.byref(n_dimensions),
                ctypes.byref(result),
            )
        )
        # The buffer belongs to the library and lasts until this thread's next call: copy it now.
        return result[: n_rows * self.n_outputs]

    def close(self) -> None:
        """See `Engine.close`."""
        if self._handle:
            self._library.XGBoosterFree(self._handle)
            self._handle = ctypes.c_void_p()

    def _check(self, status: int) -> None:
        if status != 0:
            text: bytes = self._library.XGBGetLastError()
            raise LibraryError(_first_line(text.decode(errors="replace")))

    def _set(self, name: str, value: str) -> None:
        self._check(self._library.XGBoosterSetParam(self._handle, name.encode(), value.encode()))

    def _load(self, model: bytes) -> None:
        if not model:  # over which the library ends the process
            raise BundleFormatError(MODEL, "an empty file", "a model that XGBoost can read")
        try:
            self._check(
                self._library.XGBoosterLoadModelFromBuffer(
                    self._handle, model, ctypes.c_uint64(len(model))
                )
            )
        except LibraryError as error:
            expected = "a model that XGBoost can read"
            raise BundleFormatError(MODEL, f"a file it refuses ({error})", expected) from error

    def _audit(self, manifest: Manifest) -> None:
        """Compares the booster with the manifest: columns, their types, objective, classes."""
        names = self._strings("feature_name")
        wanted = [feature.name for feature in manifest.features]
        if names != wanted:
            raise _mismatch("features", *_first_difference(names, wanted))
        types = self._strings("feature_type")
        if len(types) != len(names):
            raise _mismatch("feature types", str(len(types)), str(len(names)))
        for feature, found in zip(manifest.features, types, strict=True):
            if found not in _XGBOOST_KINDS[feature.kind]:
                place = f"type of feature {feature.name!r}"
                raise _mismatch(place, repr(found), feature.kind)
        learner = self._configuration()["learner"]
        objective = learner["objective"]["name"]
        if objective != manifest.objective:
            raise _mismatch("objective", repr(objective), repr(manifest.objective))
        n_classes = int(learner["learner_model_param"]["num_class"])
        expected = len(manifest.labels) if manifest.task == "multiclass" else 0
        if n_classes != expected:
            raise _mismatch("classes", str(n_classes), str(expected))
        rounds = self._boosted_rounds()
        if manifest.tree_range[1] > rounds:
            raise _mismatch("boosting rounds", str(rounds), f"{manifest.tree_range[1]} at least")

    def _strings(self, field: str) -> list[str]:
        count = ctypes.c_uint64()
        values = ctypes.POINTER(ctypes.c_char_p)()
        self._check(
            self._library.XGBoosterGetStrFeatureInfo(
                self._handle, field.encode(), ctypes.byref(count), ctypes.byref(values)
            )
        )
        # A damaged name is no error here: it is none of the manifest's, and the audit shows it.
        return [(values[i] or b"").decode(errors="replace") for i in range(count.value)]

    def _configuration(self) -> Any:
        length = ctypes.c_uint64()
        text = ctypes.c_char_p()
        self._check(
            self._library.XGBoosterSaveJsonConfig(
                self._handle, ctypes.byref(length), ctypes.byref(text)
            )
        )
        return json.loads(text.value or b"{}")

    def _boosted_rounds(self) -> int:
        rounds = ctypes.c_int()
        self._check(self._library.XGBoosterBoostedRounds(self._handle, ctypes.byref(rounds)))
        return rounds.value


def library_version() -> tuple[int, int, int]:
    """The version of the installed XGBoost library: (major, minor, patch)."""
    major, minor, patch = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    load_library().XGBoostVersion(ctypes.byref(major), ctypes.byref(minor), ctypes.byref(patch))
    return (major.value, minor.value, patch.value)


@cache
def load_library() -> ctypes.CDLL:
    """The shared library, loaded once.

    Raises:
        ModuleNotFoundError: XGBoost is not installed.
    """
    library = ctypes.CDLL(str(_library_path()))
    library.XGBGetLastError.restype = ctypes.c_char_p
    return library


def _library_path() -> Path:
    """Where the shared library is, found without importing the package.

    Raises:
        ModuleNotFoundError: XGBoost is not installed.
    """
    spec = find_spec("xgboost")
    folders = [Path(sys.prefix) / "lib"]  # where conda puts it
    if spec is not None and spec.origin is not None:
        folders.insert(0, Path(spec.origin).parent / "lib")
    for folder in folders:
        for name in _LIBRARY_NAMES:
            if (folder / name).exists():
                return folder / name
    message = "XGBoost's library is not installed: expected the package xgboost-cpu or xgboost"
    raise ModuleNotFoundError(message, name="xgboost")


def _n_outputs(manifest: Manifest) -> int:
    """Values for each row: `multi:softprob` gives one for each class, all others give one."""
    return len(manifest.labels) if manifest.objective == "multi:softprob" else 1


def _first_line(text: str) -> str:
    """XGBoost's message without its time stamp, source line and stack trace."""
    line = next((line for line in text.splitlines() if line.strip()), "no reason given")
    return line.split(": ", 1)[1] if line.startswith("[") and ": " in line else line


def _mismatch(place: str, observed: str, expected: str) -> BundleMismatchError:
    return BundleMismatchError(f"{MODEL}: {place}", observed, f"{expected}, as in the manifest")


def _first_difference(found: list[str], wanted: list[str]) -> tuple[str, str]:
    if len(found) != len(wanted):
        return str(len(found)), str(len(wanted))
    at = next(i for i, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1])
    return f"{found[at]!r} at place {at}", repr(wanted[at])
