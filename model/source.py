"""A trained model in a file or in memory, and whether it can become a bundle. Not shipped."""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xgboost
from sklearn.pipeline import Pipeline

from model.bundle import PROBABILISTIC
from model.errors import SourceError, describe, shorten
from model.manifest import Scalar, Task, dotted
from model.probe import can_load
from model.xgboost_engine import library_version

_REGRESSION = frozenset(
    {
        "reg:squarederror",
        "reg:squaredlogerror",
        "reg:logistic",
        "reg:pseudohubererror",
        "reg:absoluteerror",
        "reg:quantileerror",
        "reg:gamma",
        "reg:tweedie",
        "count:poisson",
    }
)
_BINARY = frozenset({"binary:logistic", "binary:logitraw", "binary:hinge"})
_MULTICLASS = frozenset({"multi:softprob", "multi:softmax"})
_UBJ_VERSION = re.compile(rb"version\[#L.{8}((?:i.){3})\}\Z", re.DOTALL)
_JSON_VERSION = re.compile(rb'"version"\s*:\s*\[\s*(\d+)\s*,\s*(\d+)\s*,\s*(\d+)\s*\]\s*\}\s*\Z')
_RANKING = ("a ranking model", "its scores only order rows within one query")
_PICKLES = (".joblib", ".pkl", ".pickle")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A model that can become a bundle.

    Attributes:
        estimator: what predicts: a scikit-learn wrapper, or the booster itself.
        booster: the trees.
        task: what a prediction is.
        objective: XGBoost's name of it.
        n_classes: 2 for binary, 0 for regression.
        tree_range: the boosting rounds that the wrapper uses.
        rounds: all rounds in the file.
    """

    estimator: Any
    booster: xgboost.Booster
    task: Task
    objective: str
    n_classes: int
    tree_range: tuple[int, int]
    rounds: int

    def predict(
        self, rows: pd.DataFrame, labels: Sequence[Scalar]
    ) -> tuple[list[Scalar], list[tuple[float, ...]] | None]:
        """What the original object predicts: predictions, and probabilities where it has them."""
        data = rows if self.booster.feature_names else rows.to_numpy(dtype="float32")
        if isinstance(self.estimator, xgboost.Booster):
            return self._predict_booster(data, labels)
        found = self.estimator.predict(data)
        if self.task == "regression":
            return [float(value) for value in found], None
        if self.objective not in PROBABILISTIC:
            return [labels[int(value)] for value in found], None
        table = self.estimator.predict_proba(data)
        if found.ndim > 1:  # of multi:softprob with two classes the wrapper makes two labels a row
            found = table.argmax(axis=1)
        predictions = [labels[int(value)] for value in found]
        return predictions, [tuple(float(value) for value in row) for row in table]

    def _predict_booster(
        self, data: Any, labels: Sequence[Scalar]
    ) -> tuple[list[Scalar], list[tuple[float, ...]] | None]:
        matrix = xgboost.DMatrix(data, enable_categorical=True)
        found = self.booster.predict(matrix, iteration_range=self.tree_range)
        if self.task == "regression":
            return [float(value) for value in found], None
        if self.objective == "multi:softprob":
            predictions = [labels[int(row.argmax())] for row in found]
            return predictions, [tuple(float(value) for value in row) for row in found]
        if self.objective == "multi:softmax":
            return [labels[int(value)] for value in found], None
        predictions = [labels[int(value > 0.5)] for value in found]
        if self.objective not in PROBABILISTIC:
            return predictions, None
        pairs = zip(np.float32(1) - found, found, strict=True)
        return predictions, [(float(no), float(yes)) for no, yes in pairs]


def load_model(path: Path, *, trust: bool = False) -> TrainedModel:
    """The model in a file: XGBoost's `.json` or `.ubj`, or a joblib or pickle file.

    Args:
        path: the file.
        trust: whether a pickle may be opened; that runs whatever code the file holds.

    Raises:
        SourceError: the file cannot be read or trusted, or holds what a bundle cannot carry.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SourceError(f"{path}: got {error.strerror}, expected a model file") from error
    if path.suffix.lower() in _PICKLES or content[:1] == b"\x80":
        if not trust:
            expected = "--trust, since opening such a file runs whatever code it holds"
            raise SourceError(f"{path}: got a pickled model, expected {expected}")
        return inspect_model(_unpickle(path))
    return inspect_model(_load_booster(path, content))


def _unpickle(path: Path) -> Any:
    import joblib  # only a pickle needs it

    try:
        return joblib.load(path)
    except ModuleNotFoundError as error:
        message = f"{path}: got an object of the module {error.name!r}, expected it installed here"
        raise SourceError(message) from error
    except xgboost.core.XGBoostError as error:
        text = "an XGBoost object of another version, expected it saved with save_model"
        raise SourceError(f"{path}: got {text}") from error
    except Exception as error:  # a pickle can raise whatever it likes
        reason = str(error) or type(error).__name__
        raise SourceError(f"{path}: got a file that does not unpickle ({reason})") from error


def _load_booster(path: Path, content: bytes) -> Any:
    """The wrapper that the file's model belongs to, with the model loaded."""
    _check_file(path, content)
    booster = xgboost.Booster()
    booster.load_model(bytearray(content))
    wrapped = _wrapper_attributes(path, booster)
    kind = wrapped.get("_estimator_type")
    learner = _learner(booster)
    objective = learner["objective"]["name"]
    if kind == "ranker" or objective.startswith("rank:"):
        raise _refuse(*_RANKING)
    _check_missing(wrapped.get("missing"))
    if learner["gradient_booster"]["name"] == "gblinear":
        return booster  # refused by `inspect_model`, before a wrapper stumbles over it
    is_classifier = kind == "classifier" or (kind is None and objective in _BINARY | _MULTICLASS)
    wrapper = xgboost.XGBClassifier() if is_classifier else xgboost.XGBRegressor()
    _best_round(booster)  # the wrapper would not name the attribute
    wrapper.load_model(bytearray(content))
    return wrapper


def _check_file(path: Path, content: bytes) -> None:
    """Refuses a file that the library would load wrongly, or stumble over."""
    writer = _writer(content)
    if writer is not None and writer > library_version():
        # It would be loaded without complaint, and may predict wrong numbers.
        expected = f"at most {dotted(library_version())}, the version installed here"
        raise SourceError(f"{path}: got a model of XGBoost {dotted(writer)}, expected {expected}")
    if writer is None or not can_load(path):
        expected = "XGBoost's .json or .ubj format; save the model anew with save_model"
        raise SourceError(f"{path}: got a file that XGBoost cannot read, expected {expected}")


def _wrapper_attributes(path: Path, booster: xgboost.Booster) -> dict[str, Any]:
    """What scikit-learn's wrapper wrote into a model file: its parameters to 1.7, then its type."""
    text = booster.attr("scikit_learn") or "{}"
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        observed = f"the attribute scikit_learn {describe(text)}"
        raise SourceError(f"{path}: got {observed}, expected what XGBoost's wrapper writes there")
    return found


def _check_missing(missing: Any) -> None:
    """Refuses another missing value than NaN, as far as a model tells."""
    if missing is None or (isinstance(missing, int | float) and math.isnan(missing)):
        return
    why = "a request says null for a missing value; train with NaN in its place"
    raise _refuse(f"missing={missing}", why)


def _best_round(booster: xgboost.Booster) -> int:
    """The number of boosting rounds that the wrapper uses."""
    rounds: int = booster.num_boosted_rounds()
    text = booster.attr("best_iteration")
    if text is None:
        return rounds
    if not text.isascii() or not text.isdigit() or int(text) >= rounds:
        why = f"the rounds are 0 to {rounds - 1}; a booster that was sliced keeps the attribute"
        raise _refuse(f"best_iteration {shorten(text)}", why)
    return int(text) + 1


def _writer(content: bytes) -> tuple[int, ...] | None:
    """The version of XGBoost that wrote a model file; None where that is not to be seen.

    Source: `version` is the last key of both formats in the files of XGBoost 1.6 to 3.4.
    """
    if found := _UBJ_VERSION.search(content[-64:]):
        return tuple(found[1][1::2])
    if found := _JSON_VERSION.search(content[-256:]):
        return tuple(map(int, found.groups()))
    return None


def inspect_model(model: Any) -> TrainedModel:
    """What is known of a model in memory.

    Args:
        model: an `XGBClassifier`, `XGBRegressor`, one of their random forests, a `Booster`, or a
            scikit-learn `Pipeline` with one of these as its only step.

    Raises:
        SourceError: it is something else, or of a kind that a bundle cannot carry; says which.
    """
    if isinstance(model, Pipeline):
        if len(model.steps) > 1:
            names = ", ".join(type(step).__name__ for _, step in model.steps[:-1])
            why = f"{names} would have to run on the device; give the model alone, and its input"
            raise _refuse("a Pipeline with other steps", why)
        model = model.steps[0][1]
    if isinstance(model, xgboost.XGBRanker):
        raise _refuse(*_RANKING)
    wrappers = (xgboost.XGBClassifier, xgboost.XGBRegressor)
    if not isinstance(model, (*wrappers, xgboost.Booster)):
        kind = f"{type(model).__module__.split('.')[0]}.{type(model).__name__}"
        raise _refuse(f"an object of type {kind}", "only XGBoost's trees are served")
    _check_missing(getattr(model, "missing", None))
    if callable(getattr(model, "objective", None)):
        raise _refuse("a custom objective", "its link function is code that the model file lacks")
    try:
        booster = model if isinstance(model, xgboost.Booster) else model.get_booster()
        learner = _learner(booster)
    except (xgboost.core.XGBoostError, ValueError) as error:
        # scikit-learn's NotFittedError is a ValueError.
        raise _refuse("a model that was not trained", "it has no trees") from error
    task, n_classes = _task(model, learner)
    rounds = booster.num_boosted_rounds()
    if rounds == 0:
        raise _refuse("a model that was not trained", "it has no trees")
    return TrainedModel(
        estimator=model,
        booster=booster,
        task=task,
        objective=learner["objective"]["name"],
        n_classes=n_classes,
        tree_range=(0, _best_round(booster)),
        rounds=rounds,
    )


def _task(model: Any, learner: Mapping[str, Any]) -> tuple[Task, int]:
    """What the model predicts, and among how many classes; refuses what a bundle cannot carry."""
    booster = learner["gradient_booster"]["name"]
    if booster not in {"gbtree", "dart"}:
        raise _refuse(f"the booster {booster}", "only trees are served (gbtree, dart)")
    parameters = learner["learner_model_param"]
    if int(parameters.get("num_target", "1")) > 1:
        why = "a reply holds one prediction for each row"
        raise _refuse(f"a multi-output model of {parameters['num_target']} targets", why)
    objective = learner["objective"]["name"]
    if objective.startswith("rank:"):
        raise _refuse(*_RANKING)
    if objective.startswith("survival:"):
        raise _refuse("a survival model", "its output is a hazard or a time, not a prediction yet")
    if objective not in _REGRESSION | _BINARY | _MULTICLASS:
        raise _refuse(f"the objective {objective}", "it is none of XGBoost's that a bundle knows")
    if objective in _MULTICLASS:
        if isinstance(model, xgboost.XGBRegressor):
            raise _refuse(f"an XGBRegressor with {objective}", "its output is no single number")
        return "multiclass", int(parameters["num_class"])
    if isinstance(model, xgboost.XGBClassifier) or (
        objective in _BINARY and isinstance(model, xgboost.Booster)
    ):
        return "binary", 2
    return "regression", 0


def stored_categories(booster: xgboost.Booster) -> dict[str, list[Scalar]]:
    """The categories that the model file itself holds, by feature; XGBoost writes them from 3.1."""
    types = booster.feature_types or []
    if "c" not in types:
        return {}
    try:
        pairs = booster.get_categories(export_to_arrow=True).to_arrow()
        stored = {name: values.to_pylist() for name, values in pairs if values is not None}
    except (ValueError, TypeError):
        return {}
    # XGBoost 3.2 counts characters where it should count bytes: of `grün` it gives back `grü`, and
    # where that leaves half a character, the error above.
    return {name: values for name, values in stored.items() if all(map(_is_ascii, values))}


def _is_ascii(category: Scalar) -> bool:
    return not isinstance(category, str) or category.isascii()


def _learner(booster: xgboost.Booster) -> Any:
    return json.loads(booster.save_config())["learner"]


def _refuse(what: str, why: str) -> SourceError:
    return SourceError(f"the model: got {what}, which is not supported: {why}")
