import gzip
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from model.errors import SourceError
from model.manifest import Task
from model.source import TrainedModel, inspect_model, load_model, stored_categories
from model.xgboost_engine import library_version
from tests.conftest import CULTIVARS, Packed, bits, in_memory

ROOT = Path(__file__).parents[2]
RECORDED = ROOT / "tests" / "data" / "models"

FRAME = pd.DataFrame(np.random.default_rng(3).normal(size=(60, 3)), columns=["a", "b", "c"])
NUMBER = (FRAME["a"] + FRAME["b"]).to_numpy()
BINARY = (NUMBER > 0).astype(int)
THREE = np.digitize(NUMBER, [-0.7, 0.7])
TREES: dict[str, Any] = {"n_estimators": 3, "max_depth": 2, "n_jobs": 1}


def train(objective: str, label: Any, n_rounds: int = 3, **parameters: Any) -> xgboost.Booster:
    """A booster by XGBoost's own interface."""
    data = xgboost.DMatrix(FRAME, label=label, nthread=1)
    return xgboost.train({"nthread": 1, "objective": objective, **parameters}, data, n_rounds)


def refusal(model: Any) -> str:
    """The text with which a model in memory is refused."""
    with pytest.raises(SourceError) as caught:
        inspect_model(model)
    return str(caught.value)


def file_refusal(path: Path, *, trust: bool = False) -> str:
    """The text with which a model file is refused."""
    with pytest.raises(SourceError) as caught:
        load_model(path, trust=trust)
    return str(caught.value)


# --- models that are taken ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "task", "objective", "n_classes", "rounds"),
    [
        (
            lambda: xgboost.XGBRegressor(**TREES).fit(FRAME, NUMBER),
            "regression",
            "reg:squarederror",
            0,
            3,
        ),
        (
            lambda: xgboost.XGBClassifier(**TREES).fit(FRAME, BINARY),
            "binary",
            "binary:logistic",
            2,
            3,
        ),
        (
            lambda: xgboost.XGBClassifier(**TREES).fit(FRAME, THREE),
            "multiclass",
            "multi:softprob",
            3,
            3,
        ),
        (
            lambda: xgboost.XGBRFRegressor(**TREES).fit(FRAME, NUMBER),
            "regression",
            "reg:squarederror",
            0,
            1,
        ),
        (
            lambda: xgboost.XGBRFClassifier(**TREES).fit(FRAME, THREE),
            "multiclass",
            "multi:softprob",
            3,
            1,
        ),
        (
            lambda: xgboost.XGBRegressor(**TREES, booster="dart").fit(FRAME, NUMBER),
            "regression",
            "reg:squarederror",
            0,
            3,
        ),
        (
            lambda: xgboost.XGBRegressor(**TREES, objective="binary:logistic").fit(FRAME, BINARY),
            "regression",
            "binary:logistic",
            0,
            3,
        ),
        (lambda: train("reg:squarederror", NUMBER), "regression", "reg:squarederror", 0, 3),
        (lambda: train("reg:logistic", BINARY), "regression", "reg:logistic", 0, 3),
        (lambda: train("binary:hinge", BINARY), "binary", "binary:hinge", 2, 3),
        (
            lambda: train("multi:softmax", THREE, num_class=3),
            "multiclass",
            "multi:softmax",
            3,
            3,
        ),
    ],
)
def test_model_is_inspected(
    make: Callable[[], Any], task: Task, objective: str, n_classes: int, rounds: int
) -> None:
    """What a bundle has to know is read from the model itself."""
    model = make()
    found = inspect_model(model)
    assert found.estimator is model
    assert (found.task, found.objective, found.n_classes) == (task, objective, n_classes)
    assert (found.rounds, found.tree_range) == (rounds, (0, rounds))


def test_pipeline_of_a_single_step_is_the_step(regression: Packed) -> None:
    """A Pipeline around nothing but the model changes nothing."""
    found = inspect_model(Pipeline([("model", regression.estimator)]))
    assert found.estimator is regression.estimator


def test_early_stopping_sets_the_tree_range() -> None:
    """The wrapper predicts with the rounds up to the best, and so does the bundle."""
    model = xgboost.XGBRegressor(
        n_estimators=60, max_depth=2, learning_rate=1.0, n_jobs=1, early_stopping_rounds=4
    )
    model.fit(FRAME[:40], NUMBER[:40], eval_set=[(FRAME[40:], NUMBER[40:])], verbose=False)
    found = inspect_model(model)
    assert found.rounds == model.get_booster().num_boosted_rounds()
    assert found.tree_range == (0, model.best_iteration + 1)
    assert found.tree_range[1] + 4 == found.rounds


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "mixed"])
def test_trained_model_predicts_what_the_object_does(
    name: str, request: pytest.FixtureRequest
) -> None:
    """Golden rows are the original object's own answers, with labels for class numbers."""
    packed: Packed = request.getfixturevalue(name)
    found = inspect_model(packed.estimator).predict(packed.frame, packed.manifest.labels)
    predictions, probabilities = in_memory(packed, packed.frame)
    assert found[0] == predictions
    if probabilities is None:
        assert found[1] is None
    else:
        assert bits(found[1]) == bits(probabilities)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("name", ["binary", "multiclass", "regression"])
def test_file_is_loaded_as_what_was_saved(
    name: str, suffix: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The wrapper that comes out of the file predicts what the one that went in does."""
    packed: Packed = request.getfixturevalue(name)
    path = tmp_path / f"model.{suffix}"
    packed.estimator.save_model(path)
    found = load_model(path)
    assert found.task == packed.manifest.task
    assert found.objective == packed.manifest.objective
    assert type(found.estimator) is type(packed.estimator)
    labels = packed.manifest.labels
    assert found.predict(packed.frame, labels)[0] == in_memory(packed, packed.frame)[0]


@pytest.mark.parametrize(
    ("objective", "label", "extra", "task"),
    [
        ("reg:squarederror", NUMBER, {}, "regression"),
        ("reg:logistic", BINARY, {}, "regression"),
        ("binary:logistic", BINARY, {}, "binary"),
        ("multi:softprob", THREE, {"num_class": 3}, "multiclass"),
        ("multi:softmax", THREE, {"num_class": 3}, "multiclass"),
        ("multi:softprob", BINARY, {"num_class": 2}, "multiclass"),
    ],
)
def test_file_of_a_bare_booster_is_loaded_by_its_objective(
    tmp_path: Path, objective: str, label: Any, extra: dict[str, Any], task: Task
) -> None:
    """Where no wrapper wrote its name into the file, the objective says what it predicts."""
    booster = train(objective, label, **extra)
    booster.save_model(tmp_path / "model.json")
    found = load_model(tmp_path / "model.json")
    assert (found.task, found.objective) == (task, objective)
    labels = tuple(range(found.n_classes))
    assert found.predict(FRAME, labels) == inspect_model(booster).predict(FRAME, labels)


# --- models that are refused ----------------------------------------------------------------------


def _multi_output() -> Any:
    return xgboost.XGBRegressor(**TREES).fit(FRAME, np.column_stack([NUMBER, -NUMBER]))


def _multi_label() -> Any:
    return xgboost.XGBClassifier(**TREES).fit(FRAME, np.column_stack([BINARY, 1 - BINARY]))


def _quantiles() -> Any:
    model = xgboost.XGBRegressor(
        **TREES, objective="reg:quantileerror", quantile_alpha=np.array([0.1, 0.5, 0.9])
    )
    return model.fit(FRAME, NUMBER)


def _custom(truth: Any, guess: Any) -> tuple[Any, Any]:
    return guess - truth, np.ones_like(guess)


_MULTIPLE = "a reply holds one prediction for each row"
_RANKING = "its scores only order rows within one query"
_SURVIVAL = "its output is a hazard or a time, not a prediction yet"
_UNTRAINED = "got a model that was not trained, which is not supported: it has no trees"


IN_A_FILE_TOO = [
    pytest.param(
        lambda: xgboost.XGBRanker(**TREES).fit(FRAME, BINARY, group=[30, 30]),
        f"got a ranking model, which is not supported: {_RANKING}",
        id="ranker",
    ),
    pytest.param(
        lambda: train("rank:pairwise", BINARY),
        f"got a ranking model, which is not supported: {_RANKING}",
        id="ranking booster",
    ),
    pytest.param(
        lambda: train("reg:squarederror", NUMBER, booster="gblinear", updater="coord_descent"),
        "got the booster gblinear, which is not supported: only trees are served (gbtree, dart)",
        id="gblinear",
    ),
    pytest.param(
        _multi_output,
        f"got a multi-output model of 2 targets, which is not supported: {_MULTIPLE}",
        id="two targets",
    ),
    pytest.param(
        _multi_label,
        f"got a multi-output model of 2 targets, which is not supported: {_MULTIPLE}",
        id="two labels at once",
    ),
    pytest.param(
        _quantiles,
        f"got a multi-output model of 3 targets, which is not supported: {_MULTIPLE}",
        id="several quantiles",
    ),
    pytest.param(
        lambda: train("survival:cox", NUMBER),
        f"got a survival model, which is not supported: {_SURVIVAL}",
        id="survival",
    ),
    pytest.param(lambda: train("reg:squarederror", NUMBER, n_rounds=0), _UNTRAINED, id="no rounds"),
]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        *IN_A_FILE_TOO,
        pytest.param(
            lambda: Pipeline(
                [("scale", StandardScaler()), ("model", xgboost.XGBRegressor(**TREES))]
            ),
            "got a Pipeline with other steps, which is not supported: StandardScaler would have "
            "to run on the device; give the model alone, and its input",
            id="pipeline",
        ),
        pytest.param(
            lambda: xgboost.XGBRegressor(**TREES, objective=_custom).fit(FRAME, NUMBER),
            "got a custom objective, which is not supported: "
            "its link function is code that the model file lacks",
            id="custom objective",
        ),
        pytest.param(
            lambda: xgboost.XGBRegressor(**TREES, objective="multi:softprob", num_class=3).fit(
                FRAME, THREE
            ),
            "got an XGBRegressor with multi:softprob, which is not supported: "
            "its output is no single number",
            id="regressor of classes",
        ),
        pytest.param(xgboost.XGBClassifier, _UNTRAINED, id="untrained classifier"),
        pytest.param(xgboost.XGBRegressor, _UNTRAINED, id="untrained regressor"),
        pytest.param(xgboost.Booster, _UNTRAINED, id="empty booster"),
        pytest.param(
            lambda: LinearRegression().fit(FRAME, NUMBER),
            "got an object of type sklearn.LinearRegression, which is not supported: "
            "only XGBoost's trees are served",
            id="other estimator",
        ),
        pytest.param(
            lambda: {"model": 1},
            "got an object of type builtins.dict, which is not supported: "
            "only XGBoost's trees are served",
            id="no model",
        ),
        pytest.param(
            lambda: Pipeline([("model", LinearRegression())]),
            "got an object of type sklearn.LinearRegression, which is not supported: "
            "only XGBoost's trees are served",
            id="pipeline of another estimator",
        ),
    ],
)
def test_model_that_a_bundle_cannot_carry_is_refused(make: Callable[[], Any], text: str) -> None:
    """The sentence says what it is and why it is not taken."""
    assert refusal(make()) == f"the model: {text}"


@pytest.mark.parametrize(("make", "text"), IN_A_FILE_TOO)
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_file_of_such_a_model_is_refused_for_the_same_reason(
    make: Callable[[], Any], text: str, suffix: str, tmp_path: Path
) -> None:
    """What a file holds is judged as the object in memory is."""
    path = tmp_path / f"model.{suffix}"
    make().save_model(path)
    assert file_refusal(path) == f"the model: {text}"


@pytest.mark.parametrize("missing", [-999.0, 0])
def test_model_with_another_missing_value_is_refused(missing: float) -> None:
    """The wrapper turns that number into a gap; a request would have to say null for it."""
    frame = FRAME.mask(FRAME > 1, missing)
    model = xgboost.XGBRegressor(**TREES, missing=missing).fit(frame, NUMBER)
    assert refusal(model) == (
        f"the model: got missing={missing}, which is not supported: "
        "a request says null for a missing value; train with NaN in its place"
    )


@pytest.mark.parametrize(
    ("best", "text"), [("9", "got best_iteration 9"), ("x", "got best_iteration"), ("-1", "got ")]
)
@pytest.mark.parametrize("way", ["memory", "file"])
def test_best_iteration_that_is_not_in_the_model_is_refused(
    best: str, text: str, way: str, tmp_path: Path
) -> None:
    """A booster that was sliced keeps the attribute of the whole one."""
    booster = train("reg:squarederror", NUMBER)
    booster.set_attr(best_iteration=best)
    if way == "memory":
        assert refusal(booster).startswith(f"the model: {text}")
    else:
        booster.save_model(tmp_path / "model.json")
        assert text in file_refusal(tmp_path / "model.json")


@pytest.mark.parametrize("attribute", ["x", "[]", "5"])
def test_file_with_a_strange_wrapper_attribute_is_refused(attribute: str, tmp_path: Path) -> None:
    """Anybody may set it, and only the wrapper writes JSON there."""
    booster = train("reg:squarederror", NUMBER)
    booster.set_attr(scikit_learn=attribute)
    path = tmp_path / "model.json"
    booster.save_model(path)
    assert file_refusal(path).startswith(f"{path}: got ")


# --- files that are refused -----------------------------------------------------------------------


def test_absent_file_is_refused(tmp_path: Path) -> None:
    """The path is in the text."""
    path = tmp_path / "none.json"
    text = f"{path}: got No such file or directory, expected a model file"
    assert file_refusal(path) == text
    text = f"{tmp_path}: got Is a directory, expected a model file"
    assert file_refusal(tmp_path) == text


@pytest.mark.parametrize("name", ["model.json", "model.ubj", "model.bin", "model"])
@pytest.mark.parametrize(
    "content", [b"no model", b"{}", b"[1, 2]", b"binf\x00\x00", b"{", b"\x00" * 64]
)
def test_file_that_is_no_model_is_refused(tmp_path: Path, name: str, content: bytes) -> None:
    """XGBoost's trace stays out of the text."""
    path = tmp_path / name
    path.write_bytes(content)
    assert file_refusal(path) == (
        f"{path}: got a file that XGBoost cannot read, "
        "expected XGBoost's .json or .ubj format; save the model anew with save_model"
    )


@pytest.mark.parametrize("percent", [0, 1, 50, 99])
@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_truncated_file_is_refused_and_does_not_end_the_process(
    regression: Packed, tmp_path: Path, suffix: str, percent: int
) -> None:
    """XGBoost 3.2 aborts over an empty buffer, and reads beyond the end of one that is cut."""
    path = tmp_path / f"model.{suffix}"
    regression.estimator.save_model(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * percent // 100])
    assert file_refusal(path).startswith(f"{path}: got ")


# --- pickles --------------------------------------------------------------------------------------


def _write_pickle(model: Any, path: Path) -> None:
    path.write_bytes(pickle.dumps(model))


@pytest.mark.parametrize(
    ("save", "name"),
    [
        (joblib.dump, "model.joblib"),
        (lambda model, path: joblib.dump(model, path, compress=3), "packed.joblib"),
        (_write_pickle, "model.pkl"),
        (_write_pickle, "model.PICKLE"),
        (_write_pickle, "model.sav"),
    ],
)
def test_pickled_model_needs_trust(
    multiclass: Packed, tmp_path: Path, save: Callable[[Any, Path], Any], name: str
) -> None:
    """Only who says so lets a pickle run; the model inside is then as good as any."""
    path = tmp_path / name
    save(multiclass.estimator, path)
    assert file_refusal(path) == (
        f"{path}: got a pickled model, "
        "expected --trust, since opening such a file runs whatever code it holds"
    )
    found = load_model(path, trust=True).predict(multiclass.frame, CULTIVARS)
    assert found[0] == in_memory(multiclass, multiclass.frame)[0]


def test_pickled_booster_is_taken_with_trust(regression: Packed, tmp_path: Path) -> None:
    """Also without a wrapper around it."""
    path = tmp_path / "model.pkl"
    _write_pickle(regression.estimator.get_booster(), path)
    found = load_model(path, trust=True)
    assert found.predict(regression.frame, ())[0] == in_memory(regression, regression.frame)[0]


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["model.pkl", "model.json", "model"])
def test_pickle_runs_no_code_without_trust(tmp_path: Path, name: str) -> None:
    """Not even one that is called otherwise; with trust it would have run."""
    sprung, path = tmp_path / "sprung", tmp_path / name
    _write_pickle(Trap(sprung), path)
    file_refusal(path)
    assert not sprung.exists()
    file_refusal(path, trust=True)
    assert sprung.exists()


def test_pickle_of_something_else_is_refused(tmp_path: Path) -> None:
    """Trust does not make a linear model a tree."""
    path = tmp_path / "model.joblib"
    joblib.dump(LinearRegression().fit(FRAME, NUMBER), path)
    assert file_refusal(path, trust=True) == (
        "the model: got an object of type sklearn.LinearRegression, which is not supported: "
        "only XGBoost's trees are served"
    )


def test_pickle_of_a_module_that_is_absent_is_refused(tmp_path: Path) -> None:
    """The text names the module to install."""
    path = tmp_path / "model.pkl"
    path.write_bytes(b"cabsent_module\nThing\n.")
    assert file_refusal(path, trust=True) == (
        f"{path}: got an object of the module 'absent_module', expected it installed here"
    )


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.9])
@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_truncated_pickle_is_refused(
    regression: Packed, tmp_path: Path, compress: Any, share: float
) -> None:
    """Whatever the reader stumbles over, it is a `SourceError` that names the file."""
    path = tmp_path / "model.joblib"
    joblib.dump(regression.estimator, path, compress=compress)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    assert file_refusal(path, trust=True).startswith(f"{path}: got a file that does not unpickle (")


@pytest.mark.parametrize(
    "content",
    [b"garbage", b"\x80\x05garbage", b"(dp0\n.", b"\x80\x04K.", gzip.compress(b"no pickle"), b"I1"],
)
def test_pickle_that_is_garbage_is_refused(tmp_path: Path, content: bytes) -> None:
    """No exception of pickle's many gets through."""
    path = tmp_path / "model.pkl"
    path.write_bytes(content)
    assert file_refusal(path, trust=True)


# --- categories -----------------------------------------------------------------------------------


def test_stored_categories_are_read_from_the_model(mixed: Packed) -> None:
    """In the order of the codes, for the categorical features alone."""
    assert stored_categories(mixed.estimator.get_booster()) == {
        "colour": ["blue", "green", "red"],
        "grade": [10, 20, 30],
    }


def test_model_without_categorical_features_stores_none(regression: Packed) -> None:
    """There is nothing to ask the sample rows for."""
    assert stored_categories(regression.estimator.get_booster()) == {}


@pytest.mark.parametrize("release", ["1.6.2", "1.7.6", "2.0.3", "2.1.4", "3.0.5"])
def test_file_of_an_old_release_stores_none(release: str) -> None:
    """Only from 3.1 on are they in the file."""
    booster = load_model(RECORDED / f"xgboost-{release}" / "categorical.ubj").booster
    assert stored_categories(booster) == {}


@pytest.mark.parametrize(
    "names", [["grün", "rot"], ["a", "bé"], ["日本", "x"], ["ä", "ö", "ü"], ["x\u2028y", "b"]]
)
def test_stored_categories_beyond_ascii_are_whole_or_absent(names: list[str]) -> None:
    """XGBoost 3.2 cuts UTF-8 by letters (dmlc/xgboost#12371); a torn name must not be believed."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame({"x": pd.Categorical(draw.choice(names, 60), categories=names)})
    model = xgboost.XGBRegressor(**TREES, enable_categorical=True)
    model.fit(frame, frame["x"].cat.codes)
    assert stored_categories(model.get_booster()) in ({"x": names}, {})


def test_trained_model_is_plain_data(regression: Packed) -> None:
    """It cannot be changed between inspection and packing."""
    found = inspect_model(regression.estimator)
    assert isinstance(found, TrainedModel)
    with pytest.raises(AttributeError):
        found.task = "binary"  # type: ignore[misc]


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_file_of_a_newer_release_is_refused(
    regression: Packed, tmp_path: Path, suffix: str
) -> None:
    """XGBoost loads it without complaint, and may predict wrong numbers."""
    path = tmp_path / f"model.{suffix}"
    regression.estimator.save_model(path)
    major, minor, patch = library_version()
    ours, newer = f"[{major},{minor},{patch}]".encode(), f"[{major},{minor + 1},0]".encode()
    if suffix == "ubj":
        ours, newer = bytes([105, minor, 105, patch, 125]), bytes([105, minor + 1, 105, 0, 125])
    head, found, tail = path.read_bytes().rpartition(ours)
    assert found
    path.write_bytes(head + newer + tail)
    assert file_refusal(path) == (
        f"{path}: got a model of XGBoost {major}.{minor + 1}.0, "
        f"expected at most {major}.{minor}.{patch}, the version installed here"
    )
