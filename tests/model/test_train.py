import argparse
import hashlib
import math
import os
import pickle
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.bundle import Bundle, open_bundle
from model.dataset import Dataset, load_dataset, read_dataset, to_dataset
from model.errors import SourceError
from model.hyperparameters import Hyperparameters, TaskChoice, add_arguments
from model.tables import to_records
from model.train import MIN_ROWS_OF_LABEL, TrainingResult, _split, main, run, summarize, train
from tests.conftest import bits
from tests.model.training_tables import machines, numbers

ROOT = Path(__file__).parents[2]
Captured = pytest.CaptureFixture[str]

FEW = Hyperparameters(n_estimators=12, max_depth=3)


def train_in(folder: Path, dataset: Dataset, **options: Any) -> TrainingResult:
    options = {"hyperparameters": FEW, "progress": False, **options}
    return train(dataset, name="sample", out=folder / "bundle", plots=folder / "plots", **options)


def is_png(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG\r\n\x1a\n")


def opened(result: TrainingResult) -> Bundle:
    return open_bundle(result.bundle)


# --- the bundled data sets ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "task", "labels", "better", "plots"),
    [
        (
            "wine",
            "multiclass",
            ("class_0", "class_1", "class_2"),
            {"accuracy": 1, "log_loss": -1},
            ["feature-importance.png", "confusion-matrix.png"],
        ),
        (
            "breast-cancer",
            "binary",
            ("benign", "malignant"),
            {"accuracy": 1, "log_loss": -1},
            ["feature-importance.png", "confusion-matrix.png"],
        ),
        (
            "diabetes",
            "regression",
            (),
            {"rmse": -1, "mae": -1, "r2": 1},
            ["feature-importance.png", "residuals.png"],
        ),
    ],
)
def test_bundled_data_set_becomes_a_bundle_that_beats_the_baseline(
    tmp_path: Path,
    name: str,
    task: str,
    labels: tuple[str, ...],
    better: dict[str, int],
    plots: list[str],
) -> None:
    """Each data set is trained, measured against a trivial model, drawn and packed."""
    dataset = load_dataset(name)
    result = train_in(tmp_path, dataset, hyperparameters=Hyperparameters(n_estimators=60))
    assert (result.task, result.labels) == (task, labels)
    assert set(result.metrics) == set(better) | {f"baseline_{metric}" for metric in better}
    assert all(type(v) is float and math.isfinite(v) for v in result.metrics.values())
    for metric, sign in better.items():
        assert sign * result.metrics[metric] > sign * result.metrics[f"baseline_{metric}"]
    assert [plot.name for plot in result.plots] == plots
    assert all(is_png(plot) for plot in result.plots)
    bundle = opened(result)
    assert bundle.replay() == []
    assert bundle.manifest.labels == labels
    assert bundle.manifest.metrics == result.metrics
    assert bundle.manifest.data == dataset.data
    assert bundle.manifest.tree_range == (0, result.rounds)
    assert {row.actual for row in bundle.golden} <= set(dataset.y)
    bundle.close()


# --- tables of the user ---------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_file_with_every_kind_of_column_predicts_as_in_memory(tmp_path: Path, suffix: str) -> None:
    """Categories, booleans and missing values come through training and packing to the bit."""
    file = tmp_path / f"machines{suffix}"
    frame = machines()
    frame.to_csv(file, index=False) if suffix == ".csv" else frame.to_parquet(file)
    dataset = read_dataset(file, "hot")
    result = train_in(tmp_path, dataset)
    bundle = opened(result)
    kinds = {feature.name: feature.kind for feature in bundle.manifest.features}
    assert kinds == {
        "celsius": "float",
        "starts": "int",
        "site": "categorical",
        "serviced": "bool",
        "indoors": "bool",
    }
    answer = bundle.predict(to_records(dataset.X, kinds))
    assert bits(answer.probabilities) == bits(result.model.predict_proba(dataset.X))
    assert answer.predictions == [result.labels[code] for code in result.model.predict(dataset.X)]
    assert bundle.manifest.data.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (bundle.manifest.data.source, bundle.manifest.data.rows) == (file.name, len(frame))
    bundle.close()


def test_categories_that_no_row_has_are_not_promised(tmp_path: Path) -> None:
    """A category of the column's type alone was never seen, so a request with it is refused."""
    frame = machines()
    frame["site"] = pd.Categorical(frame["site"], categories=["west", "south", "north"])
    bundle = opened(train_in(tmp_path, to_dataset(frame, "hot", name="machines")))
    (site,) = [feature for feature in bundle.manifest.features if feature.name == "site"]
    assert site.categories == ("south", "north")
    bundle.close()


@pytest.mark.parametrize(
    ("categories", "kind", "known"),
    [
        ([3, 5], "categorical", (3, 5)),
        ([1.5, 2.5], "float", ()),
        ([False, True], "bool", ()),
        ([], "float", ()),
    ],
)
def test_categories_of_any_type_are_trained_on(
    tmp_path: Path, categories: list[Any], kind: str, known: tuple[Any, ...]
) -> None:
    """XGBoost knows categories of text and whole numbers; others are what they look like."""
    frame = machines()
    values = [categories[i % len(categories)] if categories else None for i in range(len(frame))]
    frame["extra"] = pd.Categorical(values, categories=categories)
    bundle = opened(train_in(tmp_path, to_dataset(frame, "hot", name="machines")))
    extra = next(feature for feature in bundle.manifest.features if feature.name == "extra")
    assert (extra.kind, extra.categories) == (kind, known)
    bundle.close()


# --- the task and the split -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "task", "reason", "labels"),
    [
        (["no", "yes"], "binary", "the target is text", ("no", "yes")),
        ([True, False], "binary", "the target is boolean", (False, True)),
        ([1, 0], "binary", "the target has 2 different whole numbers in 120 rows", (0, 1)),
        ([30, 10, 20], "multiclass", "3 different whole numbers", (10, 20, 30)),
        ([2.0, 1.0], "binary", "2 different whole numbers", (1.0, 2.0)),
        (pd.array([5, 7], dtype="Int64"), "binary", "2 different whole numbers", (5, 7)),
        (pd.Categorical(["b", "a"], categories=["z", "b", "a"]), "binary", "text", ("a", "b")),
        (range(20), "multiclass", "20 different whole numbers", tuple(range(20))),
        (range(24), "regression", "the target has 24 different whole numbers in 120 rows", ()),
        ([0.5, 1.0], "regression", "the target has 2 different numbers in 120 rows", ()),
    ],
)
def test_task_is_decided_by_the_values_and_says_why(
    tmp_path: Path, values: Any, task: str, reason: str, labels: tuple[Any, ...]
) -> None:
    """Text, booleans and few whole numbers are labels, kept as they were written and sorted."""
    y = pd.Series(values)
    dataset = to_dataset(numbers(pd.concat([y] * (120 // len(y)))), "y", name="sample")
    result = train_in(tmp_path, dataset)
    assert (result.task, result.labels) == (task, labels)
    assert reason in result.reason
    bundle = opened(result)
    assert [type(label) for label in bundle.manifest.labels] == [type(label) for label in labels]
    bundle.close()


def test_few_whole_numbers_in_few_rows_are_a_quantity(tmp_path: Path) -> None:
    """Ten values in ten rows are no labels, few as they are."""
    result = train_in(tmp_path, to_dataset(numbers(range(10)), "y", name="sample"))
    assert (result.task, result.rows) == ("regression", (6, 2, 2))


@pytest.mark.parametrize(("choice", "task"), [("regression", "regression"), ("auto", "binary")])
def test_asked_task_wins_over_the_values(tmp_path: Path, choice: TaskChoice, task: str) -> None:
    """A count that looks like labels is predicted as a number where the user says so."""
    dataset = to_dataset(numbers([1, 2] * 30), "y", name="sample")
    result = train_in(tmp_path, dataset, task=choice)
    assert result.task == task
    assert (result.reason == "as asked") == (choice == "regression")


@pytest.mark.parametrize(
    ("values", "choice", "message"),
    [
        (
            ["rare"] * 4 + ["common"] * 20,
            "auto",
            (
                "the target: got the label 'rare' in 4 of 24 rows, "
                "expected 5 at least, for training, early stopping and the test"
            ),
        ),
        (
            np.arange(30) / 7,
            "classification",
            (
                "the target: got the label 0.0 in 1 of 30 rows, "
                "expected 5 at least, for training, early stopping and the test"
            ),
        ),
        (np.arange(9) / 7, "auto", "the table: got 9 rows, expected 10 at least"),
        (
            np.arange(30) * -1e17,
            "auto",
            (
                "column 'y': got 2.9e+18, expected at most 1e+15, "
                "as XGBoost squares it in float32; scale the target"
            ),
        ),
        (
            ["a", "b"] * 10,
            "regression",
            "column 'y': got text values, expected numbers for a regression",
        ),
        (
            [True, False] * 10,
            "regression",
            "column 'y': got boolean values, expected numbers for a regression",
        ),
    ],
)
def test_target_that_does_not_suit_the_task_is_refused(
    tmp_path: Path, values: Any, choice: TaskChoice, message: str
) -> None:
    """The error names the label that is too rare, or what the target holds; nothing is written."""
    with pytest.raises(SourceError) as caught:
        train_in(tmp_path, to_dataset(numbers(values), "y", name="sample"), task=choice)
    assert str(caught.value) == message
    assert list(tmp_path.iterdir()) == []


@given(st.lists(st.integers(MIN_ROWS_OF_LABEL, 40), min_size=2, max_size=12), st.integers(0, 9))
def test_each_label_is_in_each_part_of_the_split(sizes: list[int], seed: int) -> None:
    """Every row is in one part; a label of five rows is still in all three, 3 to 1 to 1."""
    y = np.repeat(np.arange(len(sizes)), sizes)
    parts = _split(y, tuple(range(len(sizes))), seed)
    assert sorted(np.concatenate(parts)) == list(range(len(y)))
    for label, size in enumerate(sizes):
        counts = [int((y[part] == label).sum()) for part in parts]
        assert counts[1] == counts[2] == round(size / 5) >= 1
        assert counts[0] >= 3


def test_split_is_drawn_at_random_by_the_seed() -> None:
    """A table that is sorted must not be cut into its beginning, middle and end."""
    y = np.arange(100.0)
    (one, _, first), (again, _, second), (other, _, third) = (_split(y, (), s) for s in (1, 1, 2))
    assert (one.tolist(), first.tolist()) == (again.tolist(), second.tolist())
    assert (one.tolist(), first.tolist()) != (other.tolist(), third.tolist())
    assert abs(y[first].mean() - y.mean()) < 15


# --- training -------------------------------------------------------------------------------------


def test_same_seed_gives_the_same_model_and_another_seed_does_not(tmp_path: Path) -> None:
    """A model can be made again to the last byte."""
    dataset = to_dataset(machines(), "hot", name="machines")
    files = []
    for i, seed in enumerate((1, 1, 2)):
        how = Hyperparameters(n_estimators=12, seed=seed)
        result = train_in(tmp_path / str(i), dataset, hyperparameters=how)
        files.append((result.bundle / "model.ubj").read_bytes())
        assert result.model.random_state == seed
    assert files[0] == files[1]
    assert files[0] != files[2]


def test_metrics_are_of_the_rows_held_out(tmp_path: Path) -> None:
    """Accuracy and log loss, the model's and the training shares', as counted by hand."""
    dataset = to_dataset(machines(), "hot", name="machines")
    result = train_in(tmp_path, dataset)
    y = (dataset.y == "yes").to_numpy().astype(int)
    fitted, _, held_out = _split(y, result.labels, FEW.seed)
    truth, share = y[held_out], y[fitted].mean()
    for prefix, likely in (
        ("", result.model.predict_proba(dataset.X.iloc[held_out])[:, 1]),
        ("baseline_", np.full(len(truth), share)),
    ):
        accuracy = ((likely > 0.5) == truth).mean()
        log_loss = -np.log(np.where(truth == 1, likely, 1 - likely)).mean()
        assert result.metrics[f"{prefix}accuracy"] == pytest.approx(accuracy)
        assert result.metrics[f"{prefix}log_loss"] == pytest.approx(log_loss, rel=1e-5)


def test_training_stops_early_and_uses_the_best_round(tmp_path: Path) -> None:
    """Rounds after the best one are trained, but neither packed nor counted."""
    how = Hyperparameters(n_estimators=500, early_stopping_rounds=5)
    result = train_in(tmp_path, load_dataset("diabetes"), hyperparameters=how)
    trained = result.model.get_booster().num_boosted_rounds()
    assert result.rounds + 5 == trained < 500
    bundle = opened(result)
    assert bundle.manifest.tree_range == (0, result.rounds)
    bundle.close()


def test_trained_model_can_be_pickled(tmp_path: Path) -> None:
    """The result's model is an ordinary one, without the progress bar's locks."""
    dataset = load_dataset("wine")
    result = train_in(tmp_path, dataset, progress=True)
    copy = pickle.loads(pickle.dumps(result.model))
    assert bits(copy.predict_proba(dataset.X)) == bits(result.model.predict_proba(dataset.X))


def test_policies_name_and_version_are_in_the_bundle(tmp_path: Path) -> None:
    """What the user says of the model reaches its manifest."""
    policies = {"absent_field": "missing", "unknown_category": "missing"}
    bundle = opened(train_in(tmp_path, load_dataset(), version="2.1.0", **policies))
    found = bundle.manifest
    assert (found.name, found.version) == ("sample", "2.1.0")
    assert (found.absent_field, found.unknown_category) == ("missing", "missing")
    bundle.close()


def test_progress_is_on_stderr_alone_and_only_where_wanted(tmp_path: Path, capfd: Captured) -> None:
    """Programs read stdout; a quiet training says nothing at all."""
    train_in(tmp_path, load_dataset(), progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "training" in err
    assert "round 12 mlogloss" in err
    train_in(tmp_path, load_dataset(), progress=False)
    assert capfd.readouterr() == ("", "")


def test_summary_says_all_and_ends_with_the_bundle(tmp_path: Path) -> None:
    """A person reads rows, task, metrics beside the baseline; a program the last line."""
    result = train_in(tmp_path, load_dataset())
    lines = summarize(result).splitlines()
    assert lines[:2] == [
        "wine: 178 rows (106 to train, 36 to stop early, 36 held out), 13 features",
        "task: multiclass (the target is text), labels class_0, class_1, class_2",
    ]
    accuracy, baseline = result.metrics["accuracy"], result.metrics["baseline_accuracy"]
    assert lines[4].split() == ["accuracy", f"{accuracy:.5g}", f"{baseline:.5g}"]
    assert lines[-1] == str(result.bundle)


# --- the command and the SageMaker script ---------------------------------------------------------


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


def test_run_without_folders_writes_below_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bundle's folder is named by model and version, the plots are beside it."""
    monkeypatch.chdir(tmp_path)
    result = run(parsed("--quiet", "--n-estimators", "5", "--version", "3.0.0"))
    assert result.bundle == Path("build/wine-3.0.0")
    assert {plot.parent for plot in result.plots} == {Path("build/wine-3.0.0-plots")}


@pytest.mark.parametrize(
    ("words", "environ", "code", "message"),
    [
        (
            ["--target", "y"],
            {},
            1,
            "error: --target: got 'y' without --data, expected both",
        ),
        (
            ["--drop", "id"],
            {},
            1,
            "error: --drop: got ['id'] without --data, expected both",
        ),
        (
            ["--data", "x.csv"],
            {},
            1,
            "error: --target: got none, expected the column of --data to predict",
        ),
        (
            ["--data", "x.csv", "--target", "y"],
            {},
            1,
            "error: x.csv: got no such file, expected a table",
        ),
        (
            ["--max-depth", "0"],
            {},
            1,
            "error: max_depth: got 0, expected a number from 1 to 30",
        ),
        (
            ["--n-estimators", "2", "--quiet", "--name", "my model"],
            {},
            1,
            (
                "error: the name: got 'my model', "
                "expected letters, digits, '-', '_' and '.', at most 128"
            ),
        ),
        (
            ["--max_depth", "deep"],
            {},
            2,
            "error: argument --max-depth/--max_depth: invalid int value: 'deep'",
        ),
        (
            ["--gamma", "1"],
            {},
            2,
            "error: unrecognized arguments: --gamma 1",
        ),
        (
            ["--target", "y"],
            {"SM_MODEL_DIR": "model"},
            1,
            "error: SM_CHANNEL_TRAIN: got none, expected the folder of a channel 'train'",
        ),
        (
            ["--target", "y"],
            {"SM_MODEL_DIR": "model", "SM_CHANNEL_TRAIN": "."},
            1,
            "error: .: got no such file, expected CSV files or Parquet files",
        ),
    ],
)
def test_mistake_of_the_user_is_one_line_on_stderr(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
    words: list[str],
    environ: dict[str, str],
    code: int,
    message: str,
) -> None:
    """No traceback, no usage page, nothing on stdout, nothing written, and an exit code."""
    monkeypatch.chdir(tmp_path)
    try:
        found = main(words, environ)
    except SystemExit as stop:
        found = int(stop.code or 0)
    out, err = capsys.readouterr()
    assert (found, out, err) == (code, "", f"{message}\n")
    assert list(tmp_path.iterdir()) == []


def test_destination_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: Captured) -> None:
    """The operating system's errors are a user's mistake too."""
    (tmp_path / "file").write_text("")
    code = main(["--quiet", "--n-estimators", "2", "--out", str(tmp_path / "file" / "x")], {})
    out, err = capsys.readouterr()
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1


def sagemaker(
    command: list[str], folder: Path, cwd: Path, **more: str
) -> subprocess.CompletedProcess[str]:
    """Runs a training job as SageMaker does: folders as variables, hyperparameters as options."""
    variables = {
        "SM_CHANNEL_TRAIN": str(folder / "train"),
        "SM_MODEL_DIR": str(folder / "model"),
        **more,
    }
    (folder / "train").mkdir()
    machines(120).iloc[:70].to_csv(folder / "train" / "a.csv", index=False)
    machines(120).iloc[70:].to_csv(folder / "train" / "b.csv", index=False)
    words = ["--target", "hot", "--max_depth", "2", "--n_estimators", "5", "--quiet"]
    return subprocess.run(
        [sys.executable, *command, *words],
        cwd=cwd,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_script_trains_in_a_sagemaker_job(tmp_path: Path) -> None:
    """As a file, with the project not installed: bundle and plots go where SageMaker collects."""
    site = sysconfig.get_path("purelib")  # with -S the libraries are there, our own install is not
    done = sagemaker(
        ["-S", str(ROOT / "model" / "train.py")],
        tmp_path,
        tmp_path,
        SM_OUTPUT_DATA_DIR=str(tmp_path / "output"),
        PYTHONPATH=site,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "model" / "bundle")
    bundle = open_bundle(tmp_path / "model" / "bundle")
    assert (bundle.manifest.name, bundle.manifest.labels) == ("train", ("no", "yes"))
    assert bundle.manifest.data.rows == 120
    bundle.close()
    plots = sorted(file.name for file in (tmp_path / "output").iterdir())
    assert plots == ["confusion-matrix.png", "feature-importance.png"]


def test_module_puts_plots_beside_the_model_where_no_output_folder_is_set(tmp_path: Path) -> None:
    """`python -m model.train` reads the same variables."""
    done = sagemaker(["-m", "model.train"], tmp_path, ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == str(tmp_path / "model" / "bundle")
    assert (tmp_path / "model" / "plots" / "feature-importance.png").is_file()


def test_options_win_over_sagemaker_variables(tmp_path: Path, capsys: Captured) -> None:
    """Who names a data set and a folder means them."""
    words = ["--dataset", "diabetes", "--out", str(tmp_path / "b"), "--n-estimators", "2"]
    environ = {"SM_CHANNEL_TRAIN": str(tmp_path), "SM_MODEL_DIR": str(tmp_path / "model")}
    assert main([*words, "--plots", str(tmp_path / "p"), "--quiet"], environ) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "p"]
