import subprocess
import sys
from array import array
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost

from model.errors import BundleFormatError, BundleMismatchError
from model.manifest import Feature, Manifest, Task
from model.xgboost_engine import LibraryError, XGBoostEngine, library_version
from tests.conftest import Packed, bits, copy_bundle, replace_file, without_forest

ROOT = Path(__file__).parents[2]


def matrix_of(packed: Packed) -> "array[float]":
    """All rows of a packed bundle of plain numbers as an engine reads them."""
    return array("f", packed.frame.to_numpy(dtype="float32").ravel().tolist())


@pytest.fixture(scope="module")
def engine(multiclass: Packed) -> Iterator[XGBoostEngine]:
    opened = XGBoostEngine(multiclass.manifest, multiclass.model, n_threads=1)
    yield opened
    opened.close()


def mismatch(manifest: Manifest, model: bytes) -> str:
    """The text with which a model is refused that is not the manifest's."""
    with pytest.raises(BundleMismatchError) as caught:
        XGBoostEngine(manifest, model, n_threads=1)
    assert caught.value.file.startswith("model.ubj")
    return str(caught.value)


def booster_bytes(booster: xgboost.Booster) -> bytes:
    return bytes(booster.save_raw("ubj"))


def renamed(manifest: Manifest, **names: str) -> Manifest:
    """The manifest with other names of its features."""
    features = tuple(
        feature._replace(name=names.get(feature.name, feature.name))
        for feature in manifest.features
    )
    return manifest._replace(features=features)


# --- predictions ----------------------------------------------------------------------------------


def test_outputs_equal_the_boosters_to_the_last_bit(
    engine: XGBoostEngine, multiclass: Packed
) -> None:
    """One value for each class and row, row after row, as the Python package gives them."""
    n_rows = len(multiclass.frame)
    found = engine.predict(matrix_of(multiclass), n_rows)
    wanted = multiclass.estimator.get_booster().inplace_predict(multiclass.frame)
    assert engine.n_outputs == 3
    assert wanted.shape == (n_rows, 3)
    assert bits(found) == bits(wanted)


def test_outputs_are_plain_floats(engine: XGBoostEngine, multiclass: Packed) -> None:
    """They go into JSON without another conversion."""
    found = engine.predict(matrix_of(multiclass)[:13], 1)
    assert [type(value) for value in found] == [float] * 3


def test_earlier_outputs_survive_later_predictions(
    engine: XGBoostEngine, multiclass: Packed
) -> None:
    """The library reuses its buffer; what was returned must not change with it."""
    matrix = matrix_of(multiclass)
    first = engine.predict(matrix[:13], 1)
    kept = list(first)
    engine.predict(matrix[-13:], 1)
    assert list(first) == kept


def test_tree_range_of_the_manifest_is_what_predicts(regression: Packed) -> None:
    """Fewer rounds than the file has give the predictions of these rounds."""
    manifest = regression.manifest._replace(tree_range=(1, 3))
    engine = XGBoostEngine(manifest, regression.model, n_threads=1)
    found = engine.predict(matrix_of(regression), len(regression.frame))
    booster = regression.estimator.get_booster()
    wanted = booster.inplace_predict(regression.frame, iteration_range=(1, 3))
    assert bits(found) == bits(wanted)
    assert bits(found) != bits(booster.inplace_predict(regression.frame))
    engine.close()


def test_number_of_threads_changes_no_bit(engine: XGBoostEngine, multiclass: Packed) -> None:
    """Rows are shared among threads, sums are not."""
    matrix, n_rows = matrix_of(multiclass) * 20, len(multiclass.frame) * 20
    threaded = XGBoostEngine(multiclass.manifest, multiclass.model, n_threads=2)
    assert bits(threaded.predict(matrix, n_rows)) == bits(engine.predict(matrix, n_rows))
    threaded.close()


def test_eight_threads_at_once_get_the_same_bits(engine: XGBoostEngine, multiclass: Packed) -> None:
    """The library's result buffer belongs to a thread, and nothing else is shared."""
    matrix = matrix_of(multiclass)
    rows = [matrix[at : at + 13] for at in range(0, len(matrix), 13)]
    wanted = [bits(engine.predict(row, 1)) for row in rows]
    assert len(set(wanted)) > 8

    def predict_all(start: int) -> bool:
        order = [(start + i) % len(rows) for i in range(len(rows))] * 3
        return all(bits(engine.predict(rows[i], 1)) == wanted[i] for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(predict_all, range(0, 80, 10)))


def test_closed_engine_refuses_to_predict(multiclass: Packed) -> None:
    """A use after `close` is an error, not a crash; closing twice is none."""
    engine = XGBoostEngine(multiclass.manifest, multiclass.model, n_threads=1)
    engine.close()
    engine.close()
    with pytest.raises(LibraryError) as caught:
        engine.predict(matrix_of(multiclass)[:13], 1)
    assert str(caught.value) == (
        "DMatrix/Booster has not been initialized or has already been disposed."
    )


def test_library_version_is_that_of_the_package() -> None:
    """The library that is called is the one that pip installed."""
    assert ".".join(map(str, library_version())) == xgboost.__version__


def test_absent_library_is_named() -> None:
    """Without XGBoost the error says which package is wanted (its interpreter sees no packages)."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "from model.xgboost_engine import library_version\n"
        "try: library_version()\n"
        "except ModuleNotFoundError as error: print(error.name, '|', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        "xgboost | XGBoost's library is not installed: "
        "expected the package xgboost-cpu or xgboost\n"
    )


def test_empty_model_is_refused_and_does_not_end_the_process(
    regression: Packed, tmp_path: Path
) -> None:
    """XGBoost 3.2 aborts its process over an empty buffer, so this one runs in its own."""
    directory = without_forest(copy_bundle(regression, tmp_path))
    replace_file(directory, "model.ubj", b"")
    code = (
        "import pathlib, sys\n"
        "from model.bundle import open_bundle\n"
        "from model.errors import BundleFormatError\n"
        "try: open_bundle(pathlib.Path(sys.argv[1]))\n"
        "except BundleFormatError as error: print(error.file)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "model.ubj\n")


# --- models that are refused ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda model: b"no model", id="garbage"),
        pytest.param(lambda model: b"{", id="first byte alone"),
        pytest.param(lambda model: b"{}", id="another object"),
        pytest.param(lambda model: model.replace(b"learner", b"loarner"), id="key changed"),
    ],
)
def test_unreadable_model_is_refused(multiclass: Packed, damage: Any) -> None:
    """What the library cannot parse is a `BundleFormatError` with the library's reason."""
    with pytest.raises(BundleFormatError) as caught:
        XGBoostEngine(multiclass.manifest, damage(multiclass.model), n_threads=1)
    assert caught.value.file == "model.ubj"
    assert caught.value.observed.startswith("a file it refuses (")
    assert "\n" not in caught.value.observed
    assert caught.value.expected == "a model that XGBoost can read"


def test_renamed_feature_is_a_mismatch(multiclass: Packed) -> None:
    """The first name that differs is shown with its place."""
    text = mismatch(renamed(multiclass.manifest, ash="asch"), multiclass.model)
    assert text == (
        "model.ubj: features: got 'ash' at place 2, expected 'asch', as in the manifest"
    )


def test_reordered_features_are_a_mismatch(multiclass: Packed) -> None:
    """Two columns that changed places would give plausible wrong numbers."""
    features = multiclass.manifest.features
    swapped = multiclass.manifest._replace(features=(features[1], features[0], *features[2:]))
    assert mismatch(swapped, multiclass.model) == (
        "model.ubj: features: got 'alcohol' at place 0, expected 'malic_acid', as in the manifest"
    )


def test_another_number_of_features_is_a_mismatch(multiclass: Packed) -> None:
    """A row of another length would be read beyond its end."""
    fewer = multiclass.manifest._replace(features=multiclass.manifest.features[:-1])
    assert mismatch(fewer, multiclass.model) == (
        "model.ubj: features: got 13, expected 12, as in the manifest"
    )


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("colour", "float", "type of feature 'colour': got 'c', expected float"),
        ("size", "categorical", "type of feature 'size': got 'float', expected categorical"),
        ("active", "int", "type of feature 'active': got 'i', expected int"),
    ],
)
def test_feature_of_another_kind_is_a_mismatch(
    mixed: Packed, name: str, kind: Any, text: str
) -> None:
    """A category's code is not a number to compare with thresholds, nor the other way round."""

    def changed(feature: Feature) -> Feature:
        categories = ("a",) if kind == "categorical" else ()
        wanted = feature.name == name
        return feature._replace(kind=kind, categories=categories) if wanted else feature

    features = tuple(changed(feature) for feature in mixed.manifest.features)
    found = mismatch(mixed.manifest._replace(features=features), mixed.model)
    assert found == f"model.ubj: {text}, as in the manifest"


def test_model_without_feature_types_is_a_mismatch(regression: Packed) -> None:
    """`pack` always writes types; a model without them was put there by somebody else."""
    names = [feature.name for feature in regression.manifest.features]
    columns = regression.frame.to_numpy()
    data = xgboost.DMatrix(columns, label=columns[:, 0], feature_names=names, nthread=1)
    booster = xgboost.train({"nthread": 1}, data, 5)
    assert booster.feature_types is None
    text = mismatch(regression.manifest, booster_bytes(booster))
    assert text.startswith("model.ubj: ")


def test_feature_name_that_is_no_utf8_is_refused(multiclass: Packed) -> None:
    """A damaged name inside the model is an error of the bundle, not of the decoder."""
    damaged = multiclass.model.replace(b"malic_acid", b"malic\xffacid")
    assert damaged != multiclass.model
    with pytest.raises((BundleFormatError, BundleMismatchError)) as caught:
        XGBoostEngine(multiclass.manifest, damaged, n_threads=1)
    assert caught.value.file.startswith("model.ubj")


@pytest.mark.parametrize("objective", ["multi:softmax", "reg:squarederror", ""])
def test_another_objective_is_a_mismatch(multiclass: Packed, objective: str) -> None:
    """The objective decides what an output means."""
    text = mismatch(multiclass.manifest._replace(objective=objective), multiclass.model)
    assert text == (
        f"model.ubj: objective: got 'multi:softprob', expected '{objective}', as in the manifest"
    )


@pytest.mark.parametrize(
    ("task", "labels", "expected"),
    [
        ("multiclass", ("a", "b"), 2),
        ("multiclass", ("a", "b", "c", "d"), 4),
        ("binary", ("a", "b"), 0),
        ("regression", (), 0),
    ],
)
def test_another_number_of_classes_is_a_mismatch(
    multiclass: Packed, task: Task, labels: tuple[str, ...], expected: int
) -> None:
    """Each label belongs to one output of the model."""
    manifest = multiclass.manifest._replace(task=task, labels=labels)
    assert mismatch(manifest, multiclass.model) == (
        f"model.ubj: classes: got 3, expected {expected}, as in the manifest"
    )


@pytest.mark.parametrize("end", [5, 10**30])
def test_tree_range_beyond_the_model_is_a_mismatch(multiclass: Packed, end: int) -> None:
    """Rounds that a file lost would otherwise be missing without a sign."""
    text = mismatch(multiclass.manifest._replace(tree_range=(0, end)), multiclass.model)
    assert text == (
        f"model.ubj: boosting rounds: got 4, expected {end} at least, as in the manifest"
    )


@pytest.mark.parametrize("name", ["binary", "regression", "mixed"])
def test_model_of_another_bundle_is_a_mismatch(
    name: str, multiclass: Packed, request: pytest.FixtureRequest
) -> None:
    """Intact files of two bundles do not make one."""
    other: Packed = request.getfixturevalue(name)
    text = mismatch(multiclass.manifest, other.model)
    count = len(other.manifest.features)
    assert text == f"model.ubj: features: got {count}, expected 13, as in the manifest"


def test_categorical_codes_are_read_from_the_matrix(mixed: Packed) -> None:
    """Codes in, no recoding: the matrix holds what the trees compare with."""
    engine = XGBoostEngine(mixed.manifest, mixed.model, n_threads=1)
    codes = mixed.frame.copy()
    for name in ("colour", "grade"):
        codes[name] = codes[name].cat.codes.replace(-1, np.nan)
    matrix = array("f", codes.to_numpy(dtype="float32").ravel().tolist())
    found = engine.predict(matrix, len(codes))
    assert bits(found) == bits(mixed.estimator.predict_proba(mixed.frame)[:, 1])
    engine.close()
