"""Other libraries that serve XGBoost's models; each runs where `competitors.lock` is installed.

What is made of a model once (ONNX, compiled C) is kept by its content, in `converted` beside the
folder of models: compiling the largest takes minutes.
"""

import asyncio
import importlib
import json
import os
from array import array
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.meta import read_meta
from bench.ways import Columns, Way, flatten


class UnableError(Exception):
    """A library cannot carry this model; the text says why, in a word or two."""


def _keep(directory: Path, kind: str, make: Callable[[Path], None]) -> Path:
    """The file that was made of this model's content; `make` writes it where it is not there.

    Args:
        directory: of the model.
        kind: what is made, and by which version; its suffix becomes the file's.
        make: writes the file, at another path first: a file that is there is whole.
    """
    digest = (directory / "model.sha256").read_text()
    file = directory.parent.parent / "converted" / f"{digest[:16]}-{kind}"
    if not file.is_file():
        file.parent.mkdir(exist_ok=True)
        partial = file.with_name(f"partial-{os.getpid()}{file.suffix}")
        try:
            make(partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    return file


class Onnx:
    """ONNX Runtime, with the model converted by onnxmltools."""

    requests = "requests"

    def __init__(self, directory: Path, n_threads: int) -> None:
        meta = read_meta(directory)
        if meta.categories:
            raise UnableError("no categories")
        runtime = importlib.import_module("onnxruntime")
        file = _keep(
            directory,
            f"onnxmltools-{version('onnxmltools')}.onnx",
            lambda target: _convert(directory, target, len(meta.features)),
        )
        options = runtime.SessionOptions()
        options.intra_op_num_threads = n_threads or 1
        options.inter_op_num_threads = 1
        self._session = runtime.InferenceSession(
            str(file), options, providers=["CPUExecutionProvider"]
        )
        outputs = [output.name for output in self._session.get_outputs()]
        self._output = outputs[-1]  # of a classifier: the labels, then the probabilities
        self._columns = Columns(meta)
        self.detail = f"onnxruntime {runtime.__version__}"

    def answer(self, text: str) -> str:
        return json.dumps(self._predict(self._columns.parse(text)).tolist())

    def values(self, reply: str) -> list[float] | None:
        return [value for row in json.loads(reply) for value in row]

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        rows = self._columns.wrap(matrix, n_rows)
        return lambda: self._predict(rows)

    def _predict(self, rows: Any) -> Any:
        return self._session.run([self._output], {"rows": rows})[0]

    def outputs(self, predicted: Any) -> Sequence[float]:
        return flatten(predicted)


def _convert(directory: Path, file: Path, n_features: int) -> None:
    xgboost = importlib.import_module("xgboost")
    tools = importlib.import_module("onnxmltools")
    types = importlib.import_module("onnxmltools.convert.common.data_types")
    meta = read_meta(directory)
    model = xgboost.XGBClassifier() if meta.n_outputs > 1 else xgboost.XGBRegressor()
    model.load_model(directory / "model.json")
    booster = model.get_booster()
    booster.feature_names = [f"f{i}" for i in range(n_features)]  # the converter takes no others
    booster.feature_types = None
    kind = types.FloatTensorType([None, n_features])
    converted = tools.convert_xgboost(model, initial_types=[("rows", kind)])
    # A table of labels and probabilities for each row would be slower still.
    file.write_bytes(converted.SerializeToString())


class Tl2cgen:
    """tl2cgen: the trees as C, compiled by the system's compiler."""

    requests = "requests"

    def __init__(self, directory: Path, n_threads: int) -> None:
        tl2cgen = importlib.import_module("tl2cgen")
        file = _keep(
            directory,
            f"tl2cgen-{tl2cgen.__version__}.so",
            lambda target: _compile(directory, target),
        )
        self._tl2cgen = tl2cgen
        self._predictor = tl2cgen.Predictor(str(file), nthread=n_threads or 1)
        self._columns = Columns(read_meta(directory))
        self.detail = f"tl2cgen {tl2cgen.__version__}"

    def answer(self, text: str) -> str:
        return json.dumps(self._predict(self._columns.parse(text)).tolist())

    def values(self, reply: str) -> list[float] | None:
        return _deep(json.loads(reply))

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        rows = self._columns.wrap(matrix, n_rows)
        return lambda: self._predict(rows)

    def _predict(self, rows: Any) -> Any:
        return self._predictor.predict(self._tl2cgen.DMatrix(rows))

    def outputs(self, predicted: Any) -> Sequence[float]:
        return flatten(predicted)


def _compile(directory: Path, file: Path) -> None:
    treelite = importlib.import_module("treelite")
    try:
        model = treelite.frontend.load_xgboost_model(str(directory / "model.json"))
    except treelite.TreeliteError as error:
        raise UnableError("model not readable") from error
    importlib.import_module("tl2cgen").export_lib(
        model,
        toolchain="gcc",
        libpath=str(file),
        params={"parallel_comp": 64},
        verbose=False,
        nthread=2,
    )


class MLServer:
    """MLServer's XGBoost runtime, called in-process: its own request and response, no network."""

    requests = "v2"

    def __init__(self, directory: Path, n_threads: int) -> None:
        meta = read_meta(directory)
        settings = importlib.import_module("mlserver.settings")
        runtime = importlib.import_module("mlserver_xgboost")
        self._types = importlib.import_module("mlserver.types")
        parameters = settings.ModelParameters(uri=str(directory / "model.json"))
        self._model = runtime.XGBoostModel(
            settings.ModelSettings(
                name="model", implementation=runtime.XGBoostModel, parameters=parameters
            )
        )
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self._model.load())
        if n_threads and hasattr(self._model, "_model"):
            self._model._model.set_params(n_jobs=n_threads)  # noqa: SLF001
        self._wanted = ["predict_proba"] if meta.n_outputs > 1 else ["predict"]
        self._columns = Columns(meta)
        self.detail = f"mlserver-xgboost {version('mlserver-xgboost')}"

    def answer(self, text: str) -> str:
        request = self._types.InferenceRequest.model_validate_json(text)
        request.outputs = [self._types.RequestOutput(name=name) for name in self._wanted]
        response = self._loop.run_until_complete(self._model.predict(request))
        reply: str = response.model_dump_json()
        return reply

    def values(self, reply: str) -> list[float] | None:
        return _deep(json.loads(reply)["outputs"][0]["data"])

    def prepare(self, matrix: "array[float]", n_rows: int) -> Callable[[], Any]:
        rows = self._columns.wrap(matrix, n_rows)
        predict = getattr(self._model._model, self._wanted[0])  # noqa: SLF001
        return lambda: predict(rows)

    def outputs(self, predicted: Any) -> Sequence[float]:
        return flatten(predicted)


def _deep(values: Any) -> list[float]:
    if not isinstance(values, list):
        return [values]
    return [leaf for value in values for leaf in _deep(value)]


COMPETITORS: dict[str, Callable[[Path, int], Way]] = {
    "onnx": Onnx,
    "tl2cgen": Tl2cgen,
    "mlserver": MLServer,
}
