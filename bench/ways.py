"""Ways to serve a model, as one would write them with what each library documents.

A way takes a JSON text, a list of records, and gives a JSON text back; for the batches, it predicts
a matrix. Only what a way needs is imported, and only once it is chosen: these run in processes
that are measured.
"""

import json
from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.meta import Meta, read_meta


class Way(Protocol):
    """How a model is served."""

    @property
    def detail(self) -> str:
        """What exactly serves: a library's name and version, or an engine."""

    @property
    def requests(self) -> str:
        """The stem of the files with its requests."""

    def answer(self, text: str) -> str:
        """The reply to a request."""

    def values(self, reply: str) -> list[float] | None:
        """What a reply says, as the model's outputs row after row; None where it says labels."""

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        """What predicts `(n_rows * n_features,) float32`: the call that is measured."""

    def outputs(self, predicted: Any) -> Sequence[float]:
        """The result of that call, row after row."""


class Columns:
    """Records to a matrix, as one writes it with numpy."""

    def __init__(self, meta: Meta) -> None:
        import numpy as np

        self._np = np
        self._names = meta.features
        codes = {
            name: {text: code for code, text in enumerate(known)}
            for name, known in meta.categories.items()
        }
        self._codes = [codes.get(name) for name in meta.features]
        self._is_numeric = not codes

    def parse(self, text: str) -> Any:
        """The matrix of a request: `(n_rows, n_features) float32`."""
        records = json.loads(text)
        if self._is_numeric:
            rows = [[record[name] for name in self._names] for record in records]
        else:
            pairs = list(zip(self._names, self._codes, strict=True))
            rows = [
                [
                    record[name] if codes is None else codes.get(record[name])
                    for name, codes in pairs
                ]
                for record in records
            ]
        return self._np.array(rows, dtype="float32")

    def wrap(self, matrix: "array[float]", n_rows: int) -> Any:
        """A matrix as numpy has it, without a copy."""
        return self._np.frombuffer(matrix, dtype="float32").reshape(n_rows, len(self._names))


def flatten(predicted: Any) -> Sequence[float]:
    """A numpy array of outputs, row after row."""
    found: list[float] = predicted.ravel().tolist()
    return found


class Sample:
    """The common sample handler: pandas reads the body, the scikit-learn wrapper predicts."""

    requests = "requests"

    def __init__(self, directory: Path, n_threads: int) -> None:
        import numpy as np
        import pandas as pd
        import xgboost

        meta = read_meta(directory)
        self._pd = pd
        self._np = np
        kind = xgboost.XGBClassifier if meta.n_outputs > 1 else xgboost.XGBRegressor
        self._model = kind()
        self._model.load_model(directory / "model.json")
        if n_threads:  # the sample itself leaves it to the library
            self._model.set_params(n_jobs=n_threads)
        self._meta = meta
        self._columns = Columns(meta)
        self.detail = f"pandas {pd.__version__}, xgboost {xgboost.__version__}"

    def answer(self, text: str) -> str:
        from io import StringIO

        rows = self._pd.read_json(StringIO(text))
        for name, known in self._meta.categories.items():
            rows[name] = self._pd.Categorical(rows[name], categories=known)
        return json.dumps(self._model.predict(rows).tolist())

    def values(self, reply: str) -> list[float] | None:
        return json.loads(reply) if self._meta.n_outputs == 1 else None

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        rows = self._pd.DataFrame(self._columns.wrap(matrix, n_rows), columns=self._meta.features)
        for name, known in self._meta.categories.items():
            codes = rows[name].fillna(-1).astype(int)
            rows[name] = self._pd.Categorical.from_codes(codes, categories=known)
        if self._meta.n_outputs > 1:
            return lambda: self._model.predict_proba(rows)
        return lambda: self._model.predict(rows)

    def outputs(self, predicted: Any) -> Sequence[float]:
        return flatten(predicted)


class Inplace:
    """`Booster.inplace_predict`, with json around it."""

    requests = "requests"

    def __init__(self, directory: Path, n_threads: int) -> None:
        import xgboost

        self._meta = read_meta(directory)
        self._columns = Columns(self._meta)
        self._booster = xgboost.Booster(
            {"nthread": n_threads or 1}, model_file=str(directory / "model.ubj")
        )
        self.detail = f"xgboost {xgboost.__version__}"

    def answer(self, text: str) -> str:
        matrix = self._columns.parse(text)
        return json.dumps(self._predict(matrix).tolist())

    def values(self, reply: str) -> list[float] | None:
        return _flat(json.loads(reply))

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        rows = self._columns.wrap(matrix, n_rows)
        return lambda: self._predict(rows)

    def _predict(self, rows: Any) -> Any:
        return self._booster.inplace_predict(rows, validate_features=False)

    def outputs(self, predicted: Any) -> Sequence[float]:
        return flatten(predicted)


class Ours:
    """This project's handler, with the engine that the bundle gives."""

    requests = "requests"

    def __init__(self, directory: Path, n_threads: int) -> None:
        from container.events import encode_response
        from container.handler import make_handler
        from container.settings import Settings
        from model.bundle import open_bundle

        self._n_outputs = read_meta(directory).n_outputs
        self.bundle = open_bundle(directory / "bundle", n_threads=n_threads or 1)
        self._choose_engine(directory, n_threads or 1)
        self.handler = make_handler(self.bundle, Settings())
        self.engine = self.bundle._engine  # noqa: SLF001  (its name and its time are what we tell)
        self._encode = encode_response
        self.detail = _describe(self.engine)

    def _choose_engine(self, directory: Path, n_threads: int) -> None:
        """The bundle's own choice stands."""

    def answer(self, text: str) -> str:
        # As `container.lambda_function` has the runtime call it.
        return self._encode(self.handler(text.encode(), None))

    def values(self, reply: str) -> list[float] | None:
        body = json.loads(reply)["body"]
        if isinstance(body, str):
            body = json.loads(body)
        return _flat(body.get("probabilities", body["predictions"]))

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        return lambda: self.engine.predict(matrix, n_rows)

    def outputs(self, predicted: Any) -> Sequence[float]:
        return list(predicted)


class CApi(Ours):
    """XGBoost's C API behind this project's handler: `XGBoostEngine`, whatever the bundle has."""

    def _choose_engine(self, directory: Path, n_threads: int) -> None:
        from model.xgboost_engine import XGBoostEngine

        if not isinstance(self.bundle._engine, XGBoostEngine):  # noqa: SLF001
            model = (directory / "bundle" / "model.ubj").read_bytes()
            self.bundle.close()
            engine = XGBoostEngine(self.bundle.manifest, model, n_threads=n_threads)
            self.bundle._engine = engine  # noqa: SLF001


def _describe(engine: object) -> str:
    """An engine's class, and the way it walks through trees where it has several."""
    name = type(engine).__name__
    walk = getattr(getattr(engine, "_forest", None), "walk", None)
    return f"{name}, {walk}" if walk else name


def _flat(values: list[Any]) -> list[float]:
    if values and isinstance(values[0], list):
        return [value for row in values for value in row]
    return values


WAYS: dict[str, Callable[[Path, int], Way]] = {
    "sample": Sample,
    "inplace": Inplace,
    "capi": CApi,
    "ours": Ours,
}
