import csv
import json
import os
import platform
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import xgboost
from sklearn.datasets import load_diabetes
from sklearn.pipeline import Pipeline

from model.bundle import Bundle, open_bundle
from model.errors import BundleMismatchError, SourceError
from model.features import Table
from model.forest_engine import is_available
from model.manifest import Data, Forest, Scalar
from model.pack import pack
from model.source import load_model
from model.tables import read_table, to_records, with_kinds
from model.xgboost_engine import library_version
from tests.conftest import BUNDLE_FILES, CULTIVARS, Packed, Packer, bits, mixed_frame

MODELS = Path(__file__).parents[1] / "data" / "models"

_DIABETES = load_diabetes(as_frame=True)
FRAME: pd.DataFrame = _DIABETES.data
PROGRESS: np.ndarray[Any, np.dtype[np.float64]] = _DIABETES.target.to_numpy()  # from 25 to 346
SHARE = PROGRESS / 400
HIGH = (PROGRESS > 140).astype(int)
LEVEL = np.digitize(PROGRESS, [100, 180])
TREES: dict[str, Any] = {"n_estimators": 4, "max_depth": 3, "n_jobs": 1}

REGRESSIONS: dict[str, tuple[Any, dict[str, Any]]] = {
    "reg:squarederror": (PROGRESS, {}),
    "reg:squaredlogerror": (SHARE, {"min_child_weight": 0}),
    "reg:logistic": (SHARE, {}),
    "reg:pseudohubererror": (SHARE, {"min_child_weight": 0}),
    "reg:absoluteerror": (PROGRESS, {}),
    "reg:quantileerror": (PROGRESS, {"quantile_alpha": 0.3}),
    "reg:gamma": (PROGRESS, {}),
    "reg:tweedie": (PROGRESS, {}),
    "count:poisson": (PROGRESS, {}),
}
CLASSIFICATIONS: dict[str, Any] = {
    "binary:logistic": HIGH,
    "binary:logitraw": HIGH,
    "binary:hinge": HIGH,
    "multi:softprob": LEVEL,
    "multi:softmax": LEVEL,
}
PROBABILISTIC = {"binary:logistic", "multi:softprob"}


@cache
def fitted(objective: str, **extra: Any) -> Any:
    """A wrapper trained for an objective on the diabetes data."""
    if objective in REGRESSIONS:
        target, needed = REGRESSIONS[objective]
        return xgboost.XGBRegressor(**TREES, objective=objective, **needed, **extra).fit(
            FRAME, target
        )
    target = CLASSIFICATIONS[objective]
    return xgboost.XGBClassifier(**TREES, objective=objective, **extra).fit(FRAME, target)


def assert_equal(bundle: Bundle, estimator: Any, frame: pd.DataFrame, rows: Any = None) -> None:
    """The bundle predicts what the wrapper predicts, to the last bit; not all rows alike."""
    found = bundle.predict(to_records(frame) if rows is None else rows)
    wanted = estimator.predict(frame)
    assert len(set(wanted.tolist())) > 1
    assert bits(found.predictions) == bits(wanted)
    if bundle.manifest.labels and bundle.manifest.objective in PROBABILISTIC:
        assert bits(found.probabilities) == bits(estimator.predict_proba(frame))
    else:
        assert found.probabilities is None


def refusal(*arguments: Any, **options: Any) -> str:
    """The text with which something is refused."""
    with pytest.raises(SourceError) as caught:
        pack(*arguments, **{"name": "sample", **options})
    return str(caught.value)


# --- every model that is supported ----------------------------------------------------------------


@pytest.mark.parametrize("objective", [*REGRESSIONS, *CLASSIFICATIONS])
def test_objective_is_carried_to_the_last_bit(objective: str, packed_from: Packer) -> None:
    """Each supported objective, from the wrapper in memory."""
    estimator = fitted(objective)
    packed = packed_from(estimator, FRAME)
    assert packed.manifest.objective == objective
    assert_equal(packed.bundle, estimator, FRAME)


@pytest.mark.parametrize("objective", [*REGRESSIONS, *CLASSIFICATIONS])
def test_objective_is_carried_through_a_model_file(
    objective: str, packed_from: Packer, tmp_path: Path
) -> None:
    """The same by way of `save_model` and `load_model`."""
    estimator = fitted(objective)
    estimator.save_model(tmp_path / "model.ubj")
    packed = packed_from(load_model(tmp_path / "model.ubj"), FRAME)
    assert_equal(packed.bundle, estimator, FRAME)


@pytest.mark.parametrize("objective", ["reg:squarederror", "binary:logistic", "multi:softprob"])
def test_dart_is_carried_to_the_last_bit(objective: str, packed_from: Packer) -> None:
    """Trees with weights are scaled as XGBoost scales them."""
    estimator = fitted(objective, booster="dart", rate_drop=0.5, random_state=1)
    assert_equal(packed_from(estimator, FRAME).bundle, estimator, FRAME)


@pytest.mark.parametrize(
    ("wrapper", "target"),
    [
        (xgboost.XGBRFRegressor, PROGRESS),
        (xgboost.XGBRFClassifier, HIGH),
        (xgboost.XGBRFClassifier, LEVEL),
    ],
)
def test_random_forest_is_carried_to_the_last_bit(
    wrapper: Any, target: Any, packed_from: Packer
) -> None:
    """One round of many trees."""
    estimator = wrapper(n_estimators=7, max_depth=4, n_jobs=1).fit(FRAME, target)
    packed = packed_from(estimator, FRAME)
    assert packed.manifest.tree_range == (0, 1)
    assert_equal(packed.bundle, estimator, FRAME)


def test_regressor_with_a_binary_objective_predicts_a_number(packed_from: Packer) -> None:
    """What the wrapper calls a regression is one; its numbers happen to be probabilities."""
    estimator = xgboost.XGBRegressor(**TREES, objective="binary:logistic").fit(FRAME, HIGH)
    packed = packed_from(estimator, FRAME)
    assert packed.manifest.task == "regression"
    assert_equal(packed.bundle, estimator, FRAME)


def test_classifier_with_a_regression_objective_predicts_a_label(packed_from: Packer) -> None:
    """What the wrapper calls a classification is one; above a half it says the second label."""
    estimator = xgboost.XGBClassifier(**TREES, objective="reg:squarederror").fit(FRAME, HIGH)
    packed = packed_from(estimator, FRAME)
    assert packed.manifest.task == "binary"
    assert_equal(packed.bundle, estimator, FRAME)


@pytest.mark.parametrize("named", [True, False], ids=["names", "no names"])
@pytest.mark.parametrize("objective", [*REGRESSIONS, *CLASSIFICATIONS])
def test_bare_booster_is_carried_to_the_last_bit(
    objective: str, named: bool, packed_from: Packer
) -> None:
    """Trained by `xgboost.train`, with feature names or without."""
    target, extra = REGRESSIONS.get(objective) or (CLASSIFICATIONS[objective], {})
    if objective.startswith("multi:"):
        extra = {"num_class": 3}
    columns = FRAME if named else FRAME.to_numpy()
    data = xgboost.DMatrix(columns, label=target, nthread=1)
    parameters = {"objective": objective, "max_depth": 3, "nthread": 1, **extra}
    booster = xgboost.train(parameters, data, 4)
    packed = packed_from(booster, FRAME)
    found = packed.bundle.predict(packed.rows)
    raw = booster.predict(data)
    match objective:
        case "binary:logistic":
            assert bits(found.probabilities) == bits(np.column_stack([1 - raw, raw]))
            assert found.predictions == (raw > 0.5).astype(int).tolist()
        case "multi:softprob":
            assert bits(found.probabilities) == bits(raw)
            assert found.predictions == raw.argmax(axis=1).tolist()
        case "binary:logitraw" | "binary:hinge":
            assert found.predictions == (raw > 0.5).astype(int).tolist()
        case _:
            assert bits(found.predictions) == bits(raw)
    assert [feature.name for feature in packed.manifest.features] == list(FRAME.columns)


def test_booster_of_two_softprob_classes_is_carried_through_a_file(
    packed_from: Packer, tmp_path: Path
) -> None:
    """`multi:softprob` with two classes is a multiclass model of two."""
    data = xgboost.DMatrix(FRAME, label=HIGH, nthread=1)
    parameters = {"objective": "multi:softprob", "num_class": 2, "nthread": 1}
    booster = xgboost.train(parameters, data, 3)
    booster.save_model(tmp_path / "model.json")
    packed = packed_from(load_model(tmp_path / "model.json"), FRAME)
    assert bits(packed.bundle.predict(packed.rows).probabilities) == bits(booster.predict(data))


# --- early stopping -------------------------------------------------------------------------------


def stopped(wrapper: Any, target: Any, **extra: Any) -> Any:
    """A wrapper that stopped early, with rounds beyond the best in its booster."""
    estimator = wrapper(
        n_estimators=60,
        max_depth=3,
        learning_rate=0.9,
        n_jobs=1,
        early_stopping_rounds=5,
        random_state=1,
        **extra,
    )
    estimator.fit(FRAME[:300], target[:300], eval_set=[(FRAME[300:], target[300:])], verbose=False)
    assert estimator.get_booster().num_boosted_rounds() > estimator.best_iteration + 1
    return estimator


@pytest.mark.parametrize("way", ["memory", "file"])
@pytest.mark.parametrize(
    ("wrapper", "target", "extra"),
    [
        (xgboost.XGBRegressor, PROGRESS, {}),
        (xgboost.XGBClassifier, HIGH, {}),
        (xgboost.XGBClassifier, LEVEL, {}),
        (xgboost.XGBClassifier, LEVEL, {"num_parallel_tree": 3, "subsample": 0.5}),
        (xgboost.XGBRegressor, PROGRESS, {"booster": "dart", "rate_drop": 0.3}),
    ],
    ids=["regression", "binary", "multiclass", "parallel trees", "dart"],
)
def test_early_stopping_is_honoured(
    wrapper: Any, target: Any, extra: dict[str, Any], way: str, packed_from: Packer, tmp_path: Path
) -> None:
    """The rounds that the wrapper uses are the rounds in the bundle, and no others."""
    estimator = stopped(wrapper, target, **extra)
    model: Any = estimator
    if way == "file":
        estimator.save_model(tmp_path / "model.json")
        model = load_model(tmp_path / "model.json")
    packed = packed_from(model, FRAME)
    assert packed.manifest.tree_range == (0, estimator.best_iteration + 1)
    kept = xgboost.Booster()
    kept.load_model(bytearray(packed.model))
    assert kept.num_boosted_rounds() == estimator.best_iteration + 1
    assert_equal(packed.bundle, estimator, FRAME)


def test_early_stopping_of_a_bare_booster_is_honoured(packed_from: Packer) -> None:
    """As the wrapper around the same file would (its own `predict` takes all rounds)."""
    train = xgboost.DMatrix(FRAME[:300], label=PROGRESS[:300], nthread=1)
    held_out = xgboost.DMatrix(FRAME[300:], label=PROGRESS[300:], nthread=1)
    booster = xgboost.train(
        {"nthread": 1, "eta": 0.9},
        train,
        60,
        evals=[(held_out, "valid")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )
    packed = packed_from(booster, FRAME)
    data, end = xgboost.DMatrix(FRAME, nthread=1), booster.best_iteration + 1
    found = packed.bundle.predict(packed.rows).predictions
    assert bits(found) == bits(booster.predict(data, iteration_range=(0, end)))
    assert bits(found) != bits(booster.predict(data))


# --- model files of other releases ----------------------------------------------------------------


def _release(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.removeprefix("xgboost-").split(".")))


RELEASES = sorted(folder.name for folder in MODELS.glob("xgboost-*"))
INSTALLED = library_version()
KINDS = ["regression", "binary", "multiclass", "categorical"]


def test_recorded_models_are_there() -> None:
    """From the oldest release that is promised to the newest that is installed."""
    assert RELEASES[0] == "xgboost-1.6.2"
    assert f"xgboost-{xgboost.__version__}" in RELEASES


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("release", [name for name in RELEASES if _release(name) <= INSTALLED])
def test_file_of_any_release_gives_its_recorded_predictions(
    release: str, kind: str, suffix: str, tmp_path: Path
) -> None:
    """What that release's wrapper predicted, early stopping included, is what the bundle predicts.

    The rows go in as the cells of the CSV that the release itself read.
    """
    folder = MODELS / release
    expected = json.loads((folder / f"{kind}.expected.json").read_text())
    rows_path = folder / f"{kind}.rows.csv"
    directory = pack(
        load_model(folder / f"{kind}.{suffix}"),
        read_table(rows_path),
        name=kind,
        out=tmp_path / "bundle",
        categories=expected.get("categories"),
    )
    bundle = open_bundle(directory)
    with rows_path.open(newline="") as file:
        header, *cells = csv.reader(file)
    found = bundle.predict(Table(header, cells, textual=True))
    assert bits(found.predictions) == bits(expected["predict"])
    assert (found.probabilities is None) is ("predict_proba" not in expected)
    if found.probabilities is not None:
        assert bits(found.probabilities) == bits(expected["predict_proba"])
    assert bundle.manifest.tree_range == (0, expected["best_iteration"] + 1)
    assert bundle.manifest.xgboost_version == library_version()
    bundle.close()


@pytest.mark.parametrize("suffix", ["json", "ubj"])
@pytest.mark.parametrize("release", ["xgboost-1.6.2", "xgboost-3.0.5"])
def test_categorical_file_without_categories_is_refused_for_rows_from_csv(
    release: str, suffix: str, tmp_path: Path
) -> None:
    """Guessing the order of the codes would predict wrong numbers without a sign of it."""
    model = load_model(MODELS / release / f"categorical.{suffix}")
    rows = read_table(MODELS / release / "categorical.rows.csv")
    assert refusal(model, rows, out=tmp_path / "bundle") == (
        "column 'size': got values whose category codes the model file does not tell, expected "
        "Parquet with the training's category type, or the categories in training order "
        "(--categories)"
    )
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("release", ["xgboost-1.6.2", "xgboost-3.0.5"])
def test_categorical_file_without_categories_takes_them_from_typed_rows(
    release: str, packed_from: Packer
) -> None:
    """A Parquet file keeps the category type of the training, and so the order of the codes."""
    expected = json.loads((MODELS / release / "categorical.expected.json").read_text())
    rows = read_table(MODELS / release / "categorical.rows.csv")
    for name, categories in expected["categories"].items():
        rows[name] = rows[name].astype(pd.CategoricalDtype(categories))
    packed = packed_from(load_model(MODELS / release / "categorical.ubj"), rows)
    found = packed.bundle.predict(to_records(with_kinds(rows)))
    assert bits(found.probabilities) == bits(expected["predict_proba"])


def test_stored_categories_win_over_what_the_rows_say(
    mixed_estimator: Any, packed_from: Packer
) -> None:
    """Rows whose own categories stand in another order are recoded by value."""
    frame = mixed_frame()
    turned = frame.copy()
    turned["colour"] = turned["colour"].cat.reorder_categories(["red", "green", "blue"])
    turned["grade"] = turned["grade"].astype("int64")
    packed = packed_from(mixed_estimator, turned)
    assert packed.manifest.features[0].categories == ("blue", "green", "red")
    assert packed.manifest.features[1].categories == (10, 20, 30)
    assert bits(packed.bundle.predict(to_records(frame)).probabilities) == bits(
        mixed_estimator.predict_proba(frame)
    )


@pytest.mark.parametrize("names", [["grün", "rot"], ["日本", "x"], ["x\u2028y", "b"], ["é", "e"]])
def test_categories_beyond_ascii_are_carried_to_the_last_bit(
    names: list[str], packed_from: Packer
) -> None:
    """XGBoost 3.2 tears such names in the model (dmlc/xgboost#12371); the rows have them whole."""
    draw = np.random.default_rng(0)
    colour = pd.Categorical(draw.choice(names, 80), categories=names)
    frame = pd.DataFrame({"colour": colour, "size": draw.normal(size=80)})
    estimator = xgboost.XGBRegressor(**TREES, enable_categorical=True)
    estimator.fit(frame, frame["colour"].cat.codes + frame["size"])
    packed = packed_from(estimator, frame)
    assert packed.manifest.features[0].categories == tuple(names)
    assert_equal(packed.bundle, estimator, frame)


# --- pickles and pipelines ------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["binary", "multiclass", "regression", "mixed"])
def test_joblib_file_becomes_a_bundle_with_trust(
    name: str, packed_from: Packer, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """A model saved from a notebook is as good as the one in it."""
    original: Packed = request.getfixturevalue(name)
    path = tmp_path / "model.joblib"
    joblib.dump(original.estimator, path)
    labels = original.manifest.labels or None
    packed = packed_from(load_model(path, trust=True), original.frame, labels=labels)
    assert packed.bundle.predict(packed.rows) == original.bundle.predict(original.rows)


def test_pipeline_of_a_single_step_becomes_a_bundle(
    regression: Packed, packed_from: Packer
) -> None:
    """The step is what is packed."""
    packed = packed_from(Pipeline([("model", regression.estimator)]), regression.frame)
    assert_equal(packed.bundle, regression.estimator, regression.frame)


# --- what stands in the bundle --------------------------------------------------------------------


def test_manifest_says_what_was_packed(multiclass: Packed) -> None:
    """Name, labels, versions and where the rows come from."""
    manifest = multiclass.manifest
    assert (manifest.name, manifest.version, manifest.format) == ("wine", "1.2.3", 2)
    assert (manifest.task, manifest.objective) == ("multiclass", "multi:softprob")
    assert manifest.labels == CULTIVARS
    assert manifest.tree_range == (0, 4)
    assert manifest.machine == platform.machine()
    assert manifest.xgboost_version == library_version()
    assert manifest.metrics == {}
    assert (manifest.data.source, manifest.data.rows) == ("a table in memory", 178)
    assert (manifest.absent_field, manifest.unknown_category) == ("error", "error")
    assert datetime.fromisoformat(manifest.created).utcoffset() is not None
    assert sorted(os.listdir(multiclass.directory)) == BUNDLE_FILES
    if is_available():
        assert manifest.forest.refusal == ""
        assert manifest.forest.proved_rows >= 100_000
    else:
        assert manifest.forest == Forest(refusal="no compiled kernel was there to prove it with")


def test_features_have_the_kinds_of_the_training_data(mixed: Packed) -> None:
    """In the order of the model's columns, with what the rows show of each."""
    features = mixed.manifest.features
    assert [(feature.name, feature.kind) for feature in features] == [
        ("colour", "categorical"),
        ("grade", "categorical"),
        ("active", "bool"),
        ("count", "int"),
        ("size", "float"),
    ]
    assert features[0].categories == ("blue", "green", "red")
    assert features[1].categories == (10, 20, 30)
    assert (features[3].minimum, features[3].maximum) == (0.0, 49.0)
    assert features[4].missing_rate == mixed.frame["size"].isna().mean() > 0


def test_policies_and_metrics_are_written_down(lenient: Packed, packed_from: Packer) -> None:
    """They are the packer's decision and the trainer's measurement."""
    manifest = lenient.manifest
    assert (manifest.absent_field, manifest.unknown_category) == ("missing", "missing")
    data = Data(source="wine.csv", sha256="0" * 64, rows=3)
    packed = packed_from(lenient.estimator, lenient.frame, metrics={"auc": 0.9}, data=data)
    assert packed.manifest.metrics == {"auc": 0.9}
    assert packed.manifest.data == data


def test_golden_rows_hold_labels_and_true_values(multiclass: Packed) -> None:
    """A class number of the model never shows; the truth stands beside the prediction."""
    golden = multiclass.bundle.golden
    assert len(golden) == 64
    assert {row.prediction for row in golden} == set(CULTIVARS)
    assert {row.actual for row in golden} == set(CULTIVARS)
    assert sum(row.actual == row.prediction for row in golden) > 50
    assert all(row.row in multiclass.rows for row in golden)


def test_golden_rows_without_truth_have_none(binary: Packed) -> None:
    """What is not known is not written."""
    assert {row.actual for row in binary.bundle.golden} == {None}
    assert b"actual" not in (binary.directory / "golden.jsonl").read_bytes()


def test_golden_rows_hold_missing_values_and_every_category(mixed: Packed) -> None:
    """The edges of the data are what an update is judged by (bundle 3.2)."""
    rows = [golden.row for golden in mixed.bundle.golden]
    assert {row["colour"] for row in rows} == {"red", "green", "blue", None}
    assert {row["grade"] for row in rows} == {10, 20, 30}
    assert {row["active"] for row in rows} == {True, False}
    assert None in {row["size"] for row in rows}


@pytest.mark.parametrize(
    ("target", "actual"),
    [
        (LEVEL.tolist(), {"low", "medium", "high"}),
        (pd.Series(LEVEL, index=reversed(range(442))), {"low", "medium", "high"}),
        ([("low", "medium", "high")[level] for level in LEVEL], {"low", "medium", "high"}),
        ([None] * 442, {None}),
        ([float("nan")] * 442, {None}),
    ],
    ids=["class numbers", "a series", "labels", "none known", "NaN"],
)
def test_true_values_become_labels(
    target: Sequence[Any], actual: set[Any], packed_from: Packer
) -> None:
    """Whether they come as class numbers or as labels; one that is missing is left out."""
    labels = ("low", "medium", "high")
    packed = packed_from(fitted("multi:softprob"), FRAME, labels=labels, target=target)
    assert {row.actual for row in packed.bundle.golden} == actual


@pytest.mark.parametrize(
    "labels", [("no", "yes"), (False, True), (0, 1), (-1, 1), (0.5, 1.5), ("größer", "kleiner")]
)
def test_labels_are_answered_as_the_user_wrote_them(
    labels: tuple[Scalar, Scalar], packed_from: Packer
) -> None:
    """Text stays text, a boolean a boolean, a number a number."""
    packed = packed_from(fitted("binary:logistic"), FRAME, labels=labels)
    found = packed.bundle.predict(packed.rows).predictions
    assert {json.dumps(value) for value in found} == {json.dumps(label) for label in labels}


def test_labels_not_given_are_the_class_numbers(packed_from: Packer) -> None:
    """As XGBoost itself would answer."""
    assert packed_from(fitted("multi:softprob"), FRAME).manifest.labels == (0, 1, 2)


# --- rows of other shapes -------------------------------------------------------------------------


def test_rows_may_have_more_columns_in_another_order(packed_from: Packer) -> None:
    """The target may still be among them."""
    estimator = fitted("reg:squarederror")
    turned = FRAME[FRAME.columns[::-1]].assign(target=PROGRESS)
    packed = packed_from(estimator, turned)
    assert [feature.name for feature in packed.manifest.features] == list(FRAME.columns)
    assert_equal(packed.bundle, estimator, FRAME)


def test_rows_may_have_any_index(packed_from: Packer) -> None:
    """Rows are counted by position, also where an index has repeats."""
    estimator = fitted("reg:squarederror")
    frame = FRAME.set_axis([5] * len(FRAME), axis="index")
    packed = packed_from(estimator, frame, target=PROGRESS)
    first = packed.bundle.golden[0]
    position = packed.rows.index(first.row)
    assert first.actual == PROGRESS[position]
    assert_equal(packed.bundle, estimator, FRAME)


def test_columns_without_names_are_numbered(packed_from: Packer) -> None:
    """A model trained on an array, and the array as a table: features `0`, `1`, `2`, …"""
    columns = FRAME.to_numpy()
    estimator = xgboost.XGBRegressor(**TREES).fit(columns, PROGRESS)
    packed = packed_from(estimator, pd.DataFrame(columns))
    assert [feature.name for feature in packed.manifest.features] == list(map(str, range(10)))
    rows = [dict(zip(map(str, range(10)), row, strict=True)) for row in columns.tolist()]
    assert bits(packed.bundle.predict(rows).predictions) == bits(estimator.predict(columns))


@pytest.mark.parametrize("name", ["alcohol [%]", "a<b", "größe", "two words", 'quo"te', "a.b"])
def test_feature_may_have_any_name(name: str, packed_from: Packer) -> None:
    """Names that XGBoost itself would not take are given to the bundle's model all the same."""
    columns = FRAME.to_numpy()
    estimator = xgboost.XGBRegressor(**TREES).fit(columns, PROGRESS)
    frame = FRAME.rename(columns={"age": name})
    packed = packed_from(estimator, frame)
    assert packed.manifest.features[0].name == name
    found = packed.bundle.predict(packed.rows)
    assert bits(found.predictions) == bits(estimator.predict(columns))


def test_boolean_feature_with_gaps_in_the_sample_stays_boolean(
    mixed_estimator: Any, packed_from: Packer
) -> None:
    """pandas turns the column into numbers; the request's type is the training's."""
    frame = mixed_frame()
    frame["active"] = frame["active"].astype(object)
    frame.loc[:3, "active"] = None
    packed = packed_from(mixed_estimator, frame)
    assert packed.manifest.features[2].kind == "bool"
    assert {type(row.row["active"]) for row in packed.bundle.golden} == {bool, type(None)}


@pytest.mark.parametrize("dtype", ["float32", "float16", "Float64", "int64", "Int64", "uint8"])
def test_number_of_any_type_is_predicted_as_by_the_wrapper(dtype: str, packed_from: Packer) -> None:
    """However pandas stores it."""
    frame = (FRAME * 1000).round().abs().clip(upper=250).astype(dtype)
    estimator = xgboost.XGBRegressor(**TREES).fit(frame, PROGRESS)
    packed = packed_from(estimator, frame)
    rows = to_records(with_kinds(frame))
    assert bits(packed.bundle.predict(rows).predictions) == bits(estimator.predict(frame))


def test_feature_that_is_missing_throughout_the_sample_is_taken(packed_from: Packer) -> None:
    """Nothing is known of it but its name."""
    estimator = fitted("reg:squarederror")
    packed = packed_from(estimator, FRAME.assign(age=np.nan))
    feature = packed.manifest.features[0]
    assert (feature.kind, feature.minimum, feature.missing_rate) == ("float", None, 1.0)


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "two words", "-x", "a/b", "x" * 129, "größe", "a\n"])
def test_name_that_greengrass_would_refuse_is_refused(
    regression: Packed, tmp_path: Path, name: str
) -> None:
    """Before anything else is done."""
    text = refusal(regression.estimator, regression.frame, name=name, out=tmp_path / "b")
    assert text == (
        f"the name: got {name!r}, expected letters, digits, '-', '_' and '.', at most 128"
    )


@pytest.mark.parametrize("version", ["", "1", "1.0", "v1.0.0", "1.0.0.0", "1.0.0-" + "x" * 60])
def test_version_that_is_not_semantic_is_refused(
    regression: Packed, tmp_path: Path, version: str
) -> None:
    """Greengrass compares component versions by these rules."""
    text = refusal(regression.estimator, regression.frame, version=version, out=tmp_path / "b")
    assert text == f"the version: got {version!r}, expected a semantic version such as 1.0.0"


@pytest.mark.parametrize(
    ("task", "labels", "text"),
    [
        ("multiclass", ["a", "b"], "got 2, expected 3: 3 classes"),
        ("multiclass", [], "got 0, expected 3: 3 classes"),
        ("binary", ["a", "b", "c"], "got 3, expected 2: 2 classes"),
        ("regression", ["a"], "got 1, expected 0: regression, which has none"),
    ],
)
def test_wrong_number_of_labels_is_refused(
    task: str,
    labels: list[str],
    text: str,
    request: pytest.FixtureRequest,
    tmp_path: Path,
) -> None:
    """Each class has one label."""
    packed: Packed = request.getfixturevalue(task)
    found = refusal(packed.estimator, packed.frame, labels=labels, out=tmp_path / "b")
    assert found == f"the labels: {text}"


def test_missing_column_is_refused(regression: Packed, tmp_path: Path) -> None:
    """The first feature that the sample lacks is named."""
    text = refusal(regression.estimator, regression.frame.drop(columns=["bmi"]), out=tmp_path / "b")
    assert text == (
        "the sample rows: got no column 'bmi', expected every feature of the model; it has 10"
    )


def test_other_number_of_columns_is_refused_where_the_model_has_no_names(tmp_path: Path) -> None:
    """There the columns can only be taken as they come."""
    estimator = xgboost.XGBRegressor(**TREES).fit(FRAME.to_numpy(), PROGRESS)
    assert refusal(estimator, FRAME.assign(target=1), out=tmp_path / "b") == (
        "the sample rows: got 11 columns, expected 10: the model file has no names to pick them by"
    )


def test_column_that_is_there_twice_is_refused(regression: Packed, tmp_path: Path) -> None:
    """Which of the two is meant is not to be guessed."""
    frame = pd.concat([FRAME, FRAME[["bmi"]]], axis="columns")
    assert refusal(regression.estimator, frame, out=tmp_path / "b") == (
        "the sample rows: got the column 'bmi' twice, expected each name once"
    )


def test_no_rows_are_refused(regression: Packed, tmp_path: Path) -> None:
    """A bundle without golden rows proves nothing."""
    assert refusal(regression.estimator, FRAME[:0], out=tmp_path / "b") == (
        "the sample rows: got no rows, expected one at least"
    )


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("colour", "pink", "got 'pink', expected one of ['blue', 'green', 'red']"),
        ("grade", 40, "got 40, expected one of [10, 20, 30]"),
    ],
)
def test_unknown_category_in_the_sample_is_refused(
    mixed: Packed, tmp_path: Path, name: str, value: Scalar, text: str
) -> None:
    """A value that training never saw has no code."""
    frame = mixed.frame.copy()
    frame[name] = frame[name].astype(object)
    frame.loc[5, name] = value
    found = refusal(mixed.estimator, frame, out=tmp_path / "b")
    assert found == f"column '{name}': {text}"


def test_text_where_the_model_wants_numbers_is_refused(regression: Packed, tmp_path: Path) -> None:
    """The trees compare with thresholds."""
    text = refusal(regression.estimator, FRAME.assign(bmi="high"), out=tmp_path / "b")
    assert text == "column 'bmi': got text, expected numbers, as the model was trained on"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ([0, 1, 2], "the target: got 3 values, expected 442, one for each row"),
        ([5] * 442, "the target: got 5, expected one of ['low', 'medium', 'high']"),
        (["lo"] * 442, "the target: got 'lo', expected one of ['low', 'medium', 'high']"),
        ([[1]] * 442, "got a list of 1, expected text, a number or a boolean"),
    ],
)
def test_true_values_that_are_no_labels_are_refused(
    target: list[Any], text: str, tmp_path: Path
) -> None:
    """They are checked as far as they are kept, with the golden rows."""
    model, options = fitted("multi:softprob"), {"labels": ["low", "medium", "high"]}
    assert refusal(model, FRAME, out=tmp_path / "b", target=target, **options) == text


def test_model_that_cannot_be_carried_is_refused(tmp_path: Path) -> None:
    """The judgement of `inspect_model` comes through."""
    text = refusal(xgboost.XGBRegressor(), FRAME, out=tmp_path / "b")
    assert text == (
        "the model: got a model that was not trained, which is not supported: it has no trees"
    )


# --- the destination ------------------------------------------------------------------------------


def test_older_bundle_is_replaced(regression: Packed, tmp_path: Path) -> None:
    """Nothing of it is left, and nothing beside it."""
    out = tmp_path / "deep" / "bundle"
    pack(regression.estimator, FRAME, name="old", out=out)
    (out / "stray.txt").write_text("x")
    assert pack(regression.estimator, FRAME, name="new", out=out) == out
    bundle = open_bundle(out)
    assert bundle.manifest.name == "new"
    bundle.close()
    assert sorted(os.listdir(out)) == BUNDLE_FILES
    assert os.listdir(out.parent) == ["bundle"]


def test_empty_directory_is_filled(regression: Packed, tmp_path: Path) -> None:
    """Somebody made it beforehand."""
    pack(regression.estimator, FRAME, name="a", out=tmp_path)
    open_bundle(tmp_path).close()


@pytest.mark.parametrize("make", [Path.touch, lambda path: (path / "x").mkdir(parents=True)])
def test_destination_that_is_no_bundle_is_left_alone(
    regression: Packed, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """`--out` at somebody's home directory does no harm."""
    out = tmp_path / "precious"
    make(out)
    assert refusal(regression.estimator, FRAME, out=out) == (
        f"{out}: got something that is no bundle, expected a bundle or nothing"
    )
    assert os.listdir(tmp_path) == ["precious"]


class Rounded(xgboost.XGBRegressor):  # type: ignore[misc]  # it has no types
    """An estimator that adds to what the trees say, which no bundle can carry."""

    def predict(self, *args: Any, **options: Any) -> Any:
        return super().predict(*args, **options).round()


def test_bundle_that_cannot_be_proved_leaves_the_older_one(
    regression: Packed, tmp_path: Path
) -> None:
    """What was written is opened and replayed before it takes the place of what was there."""
    out = tmp_path / "bundle"
    pack(regression.estimator, regression.frame, name="old", out=out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    with pytest.raises(BundleMismatchError) as caught:
        pack(Rounded(**TREES).fit(FRAME, PROGRESS), FRAME, name="new", out=out)
    assert str(caught.value).startswith("golden.jsonl: row 0.prediction: got ")
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    assert os.listdir(tmp_path) == ["bundle"]


def test_label_that_is_there_twice_is_refused(binary: Packed, tmp_path: Path) -> None:
    """An answer would not say which of the two is meant."""
    text = refusal(binary.estimator, binary.frame, out=tmp_path / "b", labels=["same", "same"])
    assert text == "the labels: got ['same', 'same'], expected each label once"
