"""The models to measure: generated from a seed, trained, packed, and kept in build/bench/models.

Each has a directory:

    bundle/             what the project serves
    model.json          the booster as XGBoost saves it; model.ubj the same
    model.sha256        of model.json, in hex: what other libraries make of it is kept under that
    sample.pkl          rows to pack it with, packed-by.txt the code that did
    rows.f32            `(n_rows, n_features) float32`, categories as codes, NaN where missing
    reference.f32       `(n_reference, n_outputs) float32`: what XGBoost says of the first rows
    requests-N.jsonl    JSON texts, each a list of N records: the rows in turn
    v2-N.jsonl          the same for MLServer, in the Open Inference Protocol
    meta.json           `Meta`
"""

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import xgboost
from sklearn.datasets import load_wine

from bench.meta import Meta
from model.pack import pack
from model.source import load_model

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build" / "bench"

REQUEST_ROWS = (1, 10)
N_REFERENCE = 2_000
_N_REQUESTS = 128
_N_SAMPLE = 2_000
_SEED = 4
_N_CATEGORIES = 12
_LAYOUT = 4
"""To be raised when what a directory holds changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """A model to make.

    Attributes:
        name: of the model.
        n_features: columns, the categorical ones among them.
        n_rounds: boosting rounds; trees are as many, times the classes.
        depth: of a tree, at most.
        n_classes: 0 for regression.
        n_categorical: columns that hold text.
        missing: share of missing values.
        n_training: rows to train with.
        n_rows: rows to predict.
        wine: whether the data are scikit-learn's wine, and not random.
    """

    name: str
    n_features: int
    n_rounds: int
    depth: int
    n_classes: int = 0
    n_categorical: int = 0
    missing: float = 0.0
    n_training: int = 20_000
    n_rows: int = 100_000
    wine: bool = False


SPECS = {
    spec.name: spec
    for spec in (
        # 142 rounds for three classes: 426 trees
        Spec(name="a", n_features=13, n_rounds=142, depth=4, n_classes=3, wine=True),
        Spec(name="b", n_features=50, n_rounds=1000, depth=8),
        Spec(
            name="c",
            n_features=20,
            n_rounds=200,
            depth=6,
            n_classes=10,
            n_categorical=8,
            missing=0.08,
        ),
        Spec(name="tiny", n_features=3, n_rounds=3, depth=2, n_training=200, n_rows=2_000),
    )
}


def build(spec: Spec, folder: Path = BUILD / "models") -> Path:
    """The model's directory; made where it is not there, or is of another spec or XGBoost.

    The bundle alone is packed again whenever the code that packs it has changed.
    """
    directory = folder / spec.name
    key = _key(spec)
    meta_file = directory / "meta.json"
    if not meta_file.is_file() or json.loads(meta_file.read_bytes())["key"] != key:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        meta = _make(spec, directory, key)
        meta_file.write_text(json.dumps(asdict(meta)))  # last: without it, the directory is none
    digest = directory / "model.sha256"
    if not digest.is_file():
        digest.write_text(hashlib.sha256((directory / "model.json").read_bytes()).hexdigest())
    packed_by = directory / "packed-by.txt"
    code = _packing_code()
    if not packed_by.is_file() or packed_by.read_text() != code:
        sample = pd.read_pickle(directory / "sample.pkl")  # noqa: S301  (we wrote it)
        pack(load_model(directory / "model.ubj"), sample, name=spec.name, out=directory / "bundle")
        packed_by.write_text(code)
    return directory


def _make(spec: Spec, directory: Path, key: str) -> Meta:
    """Writes all but the bundle."""
    maker = _Maker(spec)
    training = maker.frame(spec.n_training)
    estimator = _train(spec, training, maker.target(training))
    estimator.save_model(directory / "model.json")
    estimator.save_model(directory / "model.ubj")
    # Large enough for all categories, and small enough to be described quickly.
    training.iloc[:_N_SAMPLE].to_pickle(directory / "sample.pkl")
    rows = maker.frame(spec.n_rows)
    matrix = _to_matrix(rows)
    matrix.tofile(directory / "rows.f32")
    booster = estimator.get_booster()
    outputs = booster.predict(_to_dmatrix(matrix[:N_REFERENCE], spec))
    outputs.astype("float32").tofile(directory / "reference.f32")
    for n in REQUEST_ROWS:
        _write_requests(directory, rows, matrix, n)
    trees = booster.get_dump()
    return Meta(
        key=key,
        spec=asdict(spec),
        features=list(training.columns),
        categories={
            name: list(column.cat.categories)
            for name, column in training.items()
            if isinstance(column.dtype, pd.CategoricalDtype)
        },
        n_outputs=max(spec.n_classes, 1),
        n_trees=len(trees),
        n_nodes=sum(tree.count("\n") for tree in trees),
    )


def _key(spec: Spec) -> str:
    """Of what decides the model and its rows."""
    content = json.dumps([_LAYOUT, _SEED, asdict(spec), xgboost.__version__])
    return hashlib.sha256(content.encode()).hexdigest()


def _packing_code() -> str:
    """Of what decides the bundle."""
    digest = hashlib.sha256()
    for file in sorted((ROOT / "model").glob("*")):
        if file.suffix in {".py", ".c", ".h", ".so"}:
            digest.update(file.read_bytes())
    return digest.hexdigest()


class _Maker:
    """Rows and targets of one model, the same each time."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._draw = np.random.default_rng(_SEED)
        self._wine = load_wine(as_frame=True).data if spec.wine else None

    def frame(self, n: int) -> pd.DataFrame:
        """So many rows, as a user's table would have them."""
        if self._wine is not None:
            # Wines like the real ones: a mixture of two of them, measure by measure.
            picked = self._draw.integers(0, len(self._wine), (2, n))
            share = self._draw.random((n, 1))
            values = self._wine.to_numpy()
            mixed = values[picked[0]] * share + values[picked[1]] * (1 - share)
            return pd.DataFrame(np.round(mixed, 2), columns=list(self._wine.columns))
        spec = self._spec
        columns: dict[str, Any] = {}
        for i in range(spec.n_features):
            gone = self._draw.random(n) < spec.missing
            if i < spec.n_categorical:
                codes = self._draw.integers(0, _N_CATEGORIES, n)
                codes[gone] = -1
                names = [f"k{code}" for code in range(_N_CATEGORIES)]
                columns[f"feature_{i}"] = pd.Categorical.from_codes(codes, categories=names)
            else:
                values = np.round(self._draw.normal(size=n), 4)
                columns[f"feature_{i}"] = np.where(gone, np.nan, values)
        return pd.DataFrame(columns)

    def target(self, frame: pd.DataFrame) -> npt.NDArray[Any]:
        """The true values."""
        if self._wine is not None:
            values = frame.to_numpy()
            scaled = (values - values.mean(0)) / values.std(0)
            noise = self._draw.normal(scale=0.5, size=len(frame))
            score = scaled[:, 0] + scaled[:, 6] * scaled[:, 9] + scaled[:, 11] + noise
            return np.asarray(np.digitize(score, np.quantile(score, [1 / 3, 2 / 3])))
        matrix = np.nan_to_num(_to_matrix(frame)).astype("float64")
        weights = self._draw.normal(size=matrix.shape[1])
        score = matrix @ weights + 2 * np.sin(3 * matrix[:, 0]) * matrix[:, -1]
        score += self._draw.normal(scale=0.5, size=len(frame))
        n_classes = self._spec.n_classes
        if not n_classes:
            return np.asarray(score)
        edges = np.quantile(score, np.arange(1, n_classes) / n_classes)
        return np.asarray(np.digitize(score, edges))


def _train(spec: Spec, frame: pd.DataFrame, target: npt.NDArray[Any]) -> Any:
    kind = xgboost.XGBClassifier if spec.n_classes else xgboost.XGBRegressor
    estimator = kind(
        n_estimators=spec.n_rounds,
        max_depth=spec.depth,
        learning_rate=0.05,
        max_bin=64,
        enable_categorical=spec.n_categorical > 0,
        random_state=_SEED,
    )
    return estimator.fit(frame, target)


def _to_matrix(frame: pd.DataFrame) -> npt.NDArray[Any]:
    columns = []
    for name in frame.columns:
        column = frame[name]
        if isinstance(column.dtype, pd.CategoricalDtype):
            codes = column.cat.codes.to_numpy().astype("float32")
            columns.append(np.where(codes < 0, np.float32("nan"), codes))
        else:
            columns.append(column.to_numpy().astype("float32"))
    return np.ascontiguousarray(np.stack(columns, axis=1), dtype="float32")


def _to_dmatrix(matrix: npt.NDArray[Any], spec: Spec) -> xgboost.DMatrix:
    names = [*load_wine().feature_names] if spec.wine else None
    if names is None:
        names = [f"feature_{i}" for i in range(spec.n_features)]
    types = ["c" if i < spec.n_categorical else "float" for i in range(spec.n_features)]
    return xgboost.DMatrix(
        matrix, feature_names=names, feature_types=types, enable_categorical=True
    )


def _write_requests(directory: Path, rows: pd.DataFrame, matrix: npt.NDArray[Any], n: int) -> None:
    records = list(_records(rows.iloc[: min(_N_REQUESTS * n, N_REFERENCE // n * n)]))
    direct, v2 = [], []
    for at in range(0, len(records), n):
        direct.append(json.dumps(records[at : at + n]))
        part = matrix[at : at + n]
        data = [None if value != value else value for value in part.ravel().tolist()]  # noqa: PLR0124
        tensor = {"name": "rows", "shape": list(part.shape), "datatype": "FP32", "data": data}
        v2.append(json.dumps({"inputs": [tensor]}))
    (directory / f"requests-{n}.jsonl").write_text("\n".join(direct))
    (directory / f"v2-{n}.jsonl").write_text("\n".join(v2))


def _records(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    for record in rows.astype(object).to_dict("records"):
        yield {str(name): None if pd.isna(value) else value for name, value in record.items()}
