"""Small bundles, each beside the object in memory that it was packed from."""

import hashlib
import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import settings
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from model.bundle import Bundle, open_bundle
from model.golden import GoldenRow, encode_golden
from model.manifest import Manifest, Scalar
from model.pack import pack
from model.tables import to_records, with_kinds
from tests.skips import (  # noqa: F401  (pytest finds its hooks here)
    HAS_KERNEL,
    pytest_configure,
    pytest_make_collect_report,
    pytest_runtest_makereport,
    pytest_runtest_setup,
)

# A red run says something about the commit: the same examples every time.
settings.register_profile("suite", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("suite")

Row = dict[str, Any]

CULTIVARS = ("barolo", "grignolino", "barbera")
DIAGNOSES = ("malignant", "benign")
ANSWERS = ("no", "yes")

COMPACT = ["model.forest"] if HAS_KERNEL else []
BUNDLE_FILES = ["golden.jsonl", "manifest.json", *COMPACT, "model.ubj"]
"""Of what is packed here: the compact form is there where a kernel could prove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Packed:
    """A bundle and where it comes from.

    Attributes:
        directory: of the bundle.
        bundle: the same, open.
        estimator: the scikit-learn wrapper in memory.
        frame: all sample rows, with their kinds.
        rows: the same as records.
    """

    directory: Path
    bundle: Bundle
    estimator: Any = field(repr=False)
    frame: pd.DataFrame = field(repr=False)
    rows: Sequence[Row] = field(repr=False)

    @property
    def manifest(self) -> Manifest:
        return self.bundle.manifest

    @property
    def model(self) -> bytes:
        return (self.directory / "model.ubj").read_bytes()


Packer = Callable[..., Packed]


@pytest.fixture(autouse=True)
def as_loud_as_before() -> Iterator[None]:
    """The root logger's level, which entry points set, is the default's in each test."""
    logging.getLogger().setLevel(logging.WARNING)
    yield
    logging.getLogger().setLevel(logging.WARNING)


def bits(values: Any) -> bytes:
    """All bits of numbers in any nesting; `-0.0` and `0.0` are not the same."""
    return np.asarray(values, dtype=np.float64).tobytes()


def mixed_frame() -> pd.DataFrame:
    """A table as from CSV: text and number categories, booleans, whole numbers, missing values."""
    draw = np.random.default_rng(7)
    n = 160
    written = pd.DataFrame(
        {
            "colour": draw.choice(np.array(["red", "green", "blue", None]), n),
            "grade": draw.choice([10, 20, 30], n),
            "active": draw.choice([True, False], n),
            "count": draw.integers(0, 50, n),
            "size": np.where(draw.random(n) < 0.2, np.nan, draw.normal(size=n)),
        }
    )
    read = pd.read_csv(io.StringIO(written.to_csv(index=False)))
    read["grade"] = read["grade"].astype("category")
    return with_kinds(read)


@pytest.fixture(scope="session")
def packed_from(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Packer]:
    """Packs any estimator; closes its bundle at the end."""
    opened: list[Bundle] = []

    def make(estimator: Any, frame: pd.DataFrame, **options: Any) -> Packed:
        out = tmp_path_factory.mktemp("packed") / "bundle"
        options.setdefault("name", "sample")
        directory = pack(estimator, frame, out=out, **options)
        bundle = open_bundle(directory)
        opened.append(bundle)
        return Packed(
            directory=directory,
            bundle=bundle,
            estimator=estimator,
            frame=frame,
            rows=to_records(frame),
        )

    yield make
    for bundle in opened:
        bundle.close()


@pytest.fixture(scope="session")
def multiclass(packed_from: Packer) -> Packed:
    """Wine: three classes with text labels, 13 numbers."""
    data = load_wine(as_frame=True)
    estimator = xgboost.XGBClassifier(n_estimators=4, max_depth=3, n_jobs=1)
    estimator.fit(data.data, data.target)
    target = [CULTIVARS[value] for value in data.target]
    return packed_from(
        estimator, data.data, name="wine", version="1.2.3", labels=CULTIVARS, target=target
    )


@pytest.fixture(scope="session")
def binary(packed_from: Packer) -> Packed:
    """Breast cancer: two classes with text labels, 30 numbers."""
    data = load_breast_cancer(as_frame=True)
    estimator = xgboost.XGBClassifier(n_estimators=5, max_depth=3, n_jobs=1)
    estimator.fit(data.data, data.target)
    return packed_from(estimator, data.data, name="breast-cancer", labels=DIAGNOSES)


@pytest.fixture(scope="session")
def regression(packed_from: Packer) -> Packed:
    """Diabetes: a number from 10 numbers."""
    data = load_diabetes(as_frame=True)
    estimator = xgboost.XGBRegressor(n_estimators=5, max_depth=3, n_jobs=1)
    estimator.fit(data.data, data.target)
    return packed_from(estimator, data.data, name="diabetes", target=list(data.target))


@pytest.fixture(scope="session")
def mixed_estimator() -> Any:
    """A binary classifier of `mixed_frame`."""
    frame = mixed_frame()
    truth = (frame["count"] > 25) ^ (frame["colour"] == "red") ^ (frame["grade"] == 20)
    estimator = xgboost.XGBClassifier(
        n_estimators=6, max_depth=4, n_jobs=1, enable_categorical=True
    )
    return estimator.fit(frame, truth.astype(int))


@pytest.fixture(scope="session")
def mixed(packed_from: Packer, mixed_estimator: Any) -> Packed:
    """Every kind of feature, missing values, two classes; a request must name every feature."""
    return packed_from(mixed_estimator, mixed_frame(), name="mixed", labels=ANSWERS)


@pytest.fixture(scope="session")
def lenient(packed_from: Packer, mixed_estimator: Any) -> Packed:
    """As `mixed`; an absent feature and an unknown category count as missing."""
    return packed_from(
        mixed_estimator,
        mixed_frame(),
        name="lenient",
        labels=ANSWERS,
        absent_field="missing",
        unknown_category="missing",
    )


def in_memory(packed: Packed, frame: pd.DataFrame) -> tuple[list[Scalar], Any]:
    """What the wrapper itself says: predictions, and probabilities where it gives them."""
    found = packed.estimator.predict(frame)
    labels = packed.manifest.labels
    if not labels:
        return [float(value) for value in found], None
    return [labels[int(value)] for value in found], packed.estimator.predict_proba(frame)


# --- bundles to be damaged ------------------------------------------------------------------------


def copy_bundle(packed: Packed, folder: Path) -> Path:
    """A bundle of one's own, to change."""
    return Path(shutil.copytree(packed.directory, folder / "bundle"))


def change_manifest(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Changes the fields of `manifest.json`, which nothing signs."""
    path = directory / "manifest.json"
    fields = json.loads(path.read_bytes())
    change(fields)
    path.write_text(json.dumps(fields))


def without_forest(directory: Path) -> Path:
    """Takes the compact form out of a bundle, so that XGBoost serves it."""

    def change(fields: dict[str, Any]) -> None:
        fields["files"].pop("model.forest", None)
        fields["forest"] = {"proved_rows": 0, "refusal": "taken out", "crc32": ""}

    change_manifest(directory, change)
    return directory


def replace_file(directory: Path, name: str, content: bytes) -> None:
    """Writes a file and its checksum, so that what parses the file is reached."""
    (directory / name).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()

    def change(fields: dict[str, Any]) -> None:
        fields["files"][name] = digest
        if name == "model.forest":
            fields["forest"]["crc32"] = content[12:16][::-1].hex()

    change_manifest(directory, change)


def with_golden(packed: Packed, folder: Path, change: Callable[[list[GoldenRow]], object]) -> Path:
    """A bundle of one's own with other golden rows."""
    directory = copy_bundle(packed, folder)
    rows = list(packed.bundle.golden)
    change(rows)
    replace_file(directory, "golden.jsonl", encode_golden(rows))
    return directory
