"""Table to trained model to bundle; also a SageMaker training script. Not shipped.

`python -m model.train` and `python model/train.py` take the options of `edgexgb train`, and read
SageMaker's variables besides. Bundle and plots are all that is written.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NoReturn

if __name__ == "__main__" and not __package__:
    # Started as a file: Python has put this folder on the path, not the one that holds `model`.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

import numpy as np
import pandas as pd
import xgboost
from rich.console import Console
from rich.progress import BarColumn, Progress
from sklearn import dummy, metrics

from model.dataset import Dataset, load_dataset, read_dataset
from model.errors import BundleError, SourceError, describe, shorten
from model.hyperparameters import DEFAULTS, Hyperparameters, TaskChoice, add_arguments
from model.manifest import Policy, Scalar, Task, category_type
from model.pack import check_destination, check_identity, pack
from model.plots import draw_confusion, draw_importance, draw_residuals

MIN_ROWS = 10
"""The fewest rows of a regression: two of them are held out, which R² needs."""

MIN_ROWS_OF_LABEL = 5
"""The fewest rows of a label: one of five is held out, and one decides when to stop."""

MAX_AUTO_LABELS = 20
"""Whole numbers with more distinct values than this are a quantity, unless the user says not."""

MAX_TARGET = 1e15
"""The largest number to predict: a million squares of it still have a sum in float32."""

MANY_CELLS = 500_000
"""From this many values on a second thread pays; on less, threads wait for each other."""

_Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingResult:
    """A trained model, packed.

    Attributes:
        bundle: the bundle's directory.
        plots: the PNG files.
        metrics: on the rows held out; a trivial model's under `baseline_…`.
        model: the `XGBClassifier` or `XGBRegressor`.
        dataset: what it was trained on.
        task: what a prediction is.
        reason: why this task.
        labels: the class labels in the order of XGBoost's class numbers; empty for regression.
        rows: how many to train, to stop early, and held out.
        rounds: boosting rounds used.
    """

    bundle: Path
    plots: tuple[Path, ...]
    metrics: Mapping[str, float]
    model: Any
    dataset: Dataset
    task: Task
    reason: str
    labels: tuple[Scalar, ...]
    rows: tuple[int, int, int]
    rounds: int


# --- the task -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Problem:
    """What XGBoost gets: labels as numbers, rows in three parts.

    Attributes:
        X: `(n, n_features)` rows.
        y: `(n,)` numbers; of a classification places in `labels`.
        labels: empty for regression.
        parts: positions of the rows to train, to stop early, and held out.
    """

    X: pd.DataFrame
    y: _Array
    labels: tuple[Scalar, ...]
    parts: tuple[_Array, _Array, _Array]

    def part(self, number: int) -> tuple[pd.DataFrame, _Array]:
        positions = self.parts[number]
        return self.X.iloc[positions], self.y[positions]


def _pose(dataset: Dataset, choice: TaskChoice, seed: int) -> tuple[_Problem, str]:
    """The problem, and why it is this one."""
    values = dataset.y.tolist()
    is_class, reason = _is_classification(dataset.y.name, values, choice)
    if not is_class and (largest := max(map(abs, values))) > MAX_TARGET:
        expected = f"at most {MAX_TARGET:g}, as XGBoost squares it in float32; scale the target"
        raise SourceError(f"column {dataset.y.name!r}: got {largest:g}, expected {expected}")
    labels = tuple(sorted(set(values))) if is_class else ()
    numbers = {label: number for number, label in enumerate(labels)}
    y = np.array([numbers[value] for value in values] if is_class else values, dtype="float64")
    return _Problem(X=dataset.X, y=y, labels=labels, parts=_split(y, labels, seed)), reason


def _is_classification(name: str, values: Sequence[Scalar], choice: TaskChoice) -> tuple[bool, str]:
    """Whether the target is a label, and why."""
    kind = category_type(values[0])
    if choice == "regression" and kind != "number":
        raise SourceError(f"column {name!r}: got {kind} values, expected numbers for a regression")
    if choice != "auto":
        return choice == "classification", "as asked"
    if kind != "number":
        return True, f"the target is {kind}"
    is_whole = all(float(value).is_integer() for value in values)
    n_distinct = len(set(values))
    few = min(MAX_AUTO_LABELS, len(values) // MIN_ROWS_OF_LABEL)
    seen = f"{n_distinct} different {'whole ' if is_whole else ''}numbers in {len(values)} rows"
    return is_whole and n_distinct <= few, f"the target has {seen}"


def _split(y: _Array, labels: Sequence[Scalar], seed: int) -> tuple[_Array, _Array, _Array]:
    """Positions of the rows to train, to stop early, and held out: 60, 20 and 20 % of each label.

    scikit-learn's stratified split, done twice, may leave a rare label out of a part.
    """
    if len(y) < MIN_ROWS:
        raise SourceError(f"the table: got {len(y)} rows, expected {MIN_ROWS} at least")
    groups = [np.flatnonzero(y == number) for number in range(len(labels))]
    for label, positions in zip(labels, groups, strict=True):
        if len(positions) < MIN_ROWS_OF_LABEL:
            observed = f"the label {describe(label)} in {len(positions)} of {len(y)} rows"
            expected = f"{MIN_ROWS_OF_LABEL} at least, for training, early stopping and the test"
            raise SourceError(f"the target: got {observed}, expected {expected}")
    random = np.random.default_rng(seed)
    train, stop, test = [], [], []
    for positions in groups or [np.arange(len(y))]:
        shuffled = random.permutation(positions)
        n = round(len(shuffled) / 5)
        test.append(shuffled[:n])
        stop.append(shuffled[n : 2 * n])
        train.append(shuffled[2 * n :])
    ordered = [np.sort(np.concatenate(part)) for part in (train, stop, test)]
    return ordered[0], ordered[1], ordered[2]


# --- training -------------------------------------------------------------------------------------


def train(  # noqa: PLR0913  (what, how, and where to; six have defaults)
    dataset: Dataset,
    *,
    name: str,
    out: Path,
    plots: Path,
    version: str = "1.0.0",
    task: TaskChoice = "auto",
    hyperparameters: Hyperparameters = DEFAULTS,
    absent_field: Policy = "error",
    unknown_category: Policy = "error",
    progress: bool = True,
) -> TrainingResult:
    """A model trained on the data set, packed, measured and drawn.

    Of the rows, 60 % train, 20 % say when to stop, 20 % are held out for metrics and plots. The
    same data, seed and XGBoost give the same model, to the last byte.

    Args:
        dataset: what to learn.
        name: the model's name.
        out: the bundle's directory; an older bundle there is replaced.
        plots: the directory for the PNG files.
        version: the model's semantic version.
        task: what a prediction is; `auto` says it from the target's values.
        hyperparameters: how to train.
        absent_field: whether a request may leave a feature out.
        unknown_category: whether a category never seen counts as missing.
        progress: whether to show a progress bar on stderr.

    Raises:
        SourceError: the target does not suit the task, there are too few rows, or see `pack`.
        BundleError: the bundle does not predict what the model predicted; nothing is left behind.
        OSError: bundle or plots cannot be written.
    """
    check_identity(name, version)  # `pack` does, but minutes later
    check_destination(out)
    problem, reason = _pose(dataset, task, hyperparameters.seed)
    labels = problem.labels
    model = _fit(problem, hyperparameters, progress=progress)
    measured = _measure(problem, model)
    bundle = pack(
        model,
        dataset.X,
        name=name,
        out=out,
        version=version,
        target=dataset.y.tolist(),
        labels=labels or None,
        metrics=measured,
        data=dataset.data,
        absent_field=absent_field,
        unknown_category=unknown_category,
    )
    n_train, n_stop, n_test = map(len, problem.parts)
    return TrainingResult(
        bundle=bundle,
        plots=_draw(problem, model, plots, target=dataset.y.name),
        metrics=measured,
        model=model,
        dataset=dataset,
        task="regression" if not labels else "binary" if len(labels) == 2 else "multiclass",
        reason=reason,
        labels=labels,
        rows=(n_train, n_stop, n_test),
        rounds=model.best_iteration + 1,
    )


def _fit(problem: _Problem, how: Hyperparameters, *, progress: bool) -> Any:
    """The trained wrapper; it knows its best round."""
    settings = asdict(how)
    settings["random_state"] = settings.pop("seed")
    n_labels = len(problem.labels)
    objective = {0: "reg:squarederror", 2: "binary:logistic"}.get(n_labels, "multi:softprob")
    metric = {0: "rmse", 2: "logloss"}.get(n_labels, "mlogloss")
    wrapper = xgboost.XGBClassifier if n_labels else xgboost.XGBRegressor
    with _progress_bar(how.n_estimators, metric, shown=progress) as report:
        model = wrapper(
            objective=objective,
            eval_metric=metric,
            tree_method="hist",
            enable_categorical=True,
            n_jobs=os.cpu_count() if problem.X.size >= MANY_CELLS else 1,
            callbacks=[report],
            **settings,
        )
        model.fit(*problem.part(0), eval_set=[problem.part(1)], verbose=False)
    return model.set_params(callbacks=None)  # their lock would keep it from being pickled


class _Report(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # it has no types
    """Tells a progress bar of each round."""

    def __init__(self, bar: Progress, metric: str) -> None:
        super().__init__()
        self._bar = bar
        self._metric = metric

    def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
        """Never asks to stop."""
        del model
        score = f"{self._metric} {evals_log['validation_0'][self._metric][-1]:.4f}"
        self._bar.update(self._bar.task_ids[0], completed=epoch + 1, score=score)
        return False


@contextmanager
def _progress_bar(rounds: int, metric: str, *, shown: bool) -> Iterator[_Report]:
    columns = ("training", BarColumn(), "round {task.completed}", "{task.fields[score]}")
    # Without ipywidgets rich's own notebook display is a warning; a line of text will do.
    console = Console(stderr=True, force_jupyter=False)
    with Progress(*columns, console=console, disable=not shown) as bar:
        task = bar.add_task("", total=rounds, score="")
        yield _Report(bar, metric)
        bar.update(task, total=bar.tasks[0].completed)  # to have stopped early is to be done


def _measure(problem: _Problem, model: Any) -> dict[str, float]:
    """Metrics on the held-out rows: the model's, and those of the training rows' mean or shares."""
    y_train = problem.part(0)[1]
    trivial = dummy.DummyClassifier(strategy="prior") if problem.labels else dummy.DummyRegressor()
    baseline = trivial.fit(np.zeros((len(y_train), 1)), y_train)
    X, y = problem.part(2)
    found: dict[str, float] = {}
    for prefix, judged, rows in (("", model, X), ("baseline_", baseline, np.zeros((len(y), 1)))):
        values = judged.predict(rows)
        if problem.labels:
            shares = judged.predict_proba(rows).astype("float64")
            shares /= shares.sum(axis=1, keepdims=True)  # in float32 they miss 1 by a rounding
            found[f"{prefix}accuracy"] = float(metrics.accuracy_score(y, values))
            numbers = range(len(problem.labels))
            found[f"{prefix}log_loss"] = float(metrics.log_loss(y, shares, labels=numbers))
        else:
            found[f"{prefix}rmse"] = float(metrics.root_mean_squared_error(y, values))
            found[f"{prefix}mae"] = float(metrics.mean_absolute_error(y, values))
            found[f"{prefix}r2"] = float(metrics.r2_score(y, values))
    return found


def _draw(problem: _Problem, model: Any, folder: Path, *, target: str) -> tuple[Path, ...]:
    used = model.get_booster()[: model.best_iteration + 1]
    gains = used.get_score(importance_type="gain")
    importance = folder / "feature-importance.png"
    draw_importance(gains, importance, n_features=problem.X.shape[1])
    X, y = problem.part(2)
    predicted = model.predict(X).tolist()
    if problem.labels:
        quality = folder / "confusion-matrix.png"
        draw_confusion([int(value) for value in y], predicted, problem.labels, quality)
    else:
        quality = folder / "residuals.png"
        draw_residuals(y.tolist(), predicted, quality, target=target)
    return importance, quality


def summarize(result: TrainingResult) -> str:
    """A result in a few lines for people; the last one is the bundle's directory."""
    n_train, n_stop, n_test = result.rows
    n_rows, n_features = result.dataset.X.shape
    used = f"{n_train} to train, {n_stop} to stop early, {n_test} held out"
    names = f", labels {shorten(', '.join(map(str, result.labels)))}" if result.labels else ""
    lines = [
        f"{result.dataset.name}: {n_rows} rows ({used}), {n_features} features",
        f"task: {result.task} ({result.reason}){names}",
        f"boosting rounds used: {result.rounds}",
        f"{'on the rows held out:':<22}{'model':>12}{'baseline':>12}",
    ]
    for name, value in result.metrics.items():
        if not name.startswith("baseline_"):
            baseline = result.metrics[f"baseline_{name}"]
            lines.append(f"  {name.replace('_', ' '):<20}{value:>12.5g}{baseline:>12.5g}")
    return "\n".join([*lines, *(f"plot: {plot}" for plot in result.plots), str(result.bundle)])


# --- the command ----------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> TrainingResult:
    """Trains as the options of `add_arguments` say.

    Raises:
        SourceError: the options contradict each other, or see `read_dataset` and `train`.
        BundleError: see `train`.
        OSError: see `train`.
    """
    how = Hyperparameters(**{f.name: getattr(arguments, f.name) for f in fields(Hyperparameters)})
    if arguments.data is None:
        for option, value in (("--target", arguments.target), ("--drop", arguments.drop)):
            if value:
                raise SourceError(f"{option}: got {value!r} without --data, expected both")
        dataset = load_dataset(arguments.dataset or "wine")
    elif arguments.target is None:
        raise SourceError("--target: got none, expected the column of --data to predict")
    else:
        dataset = read_dataset(arguments.data, arguments.target, arguments.drop)
    name = arguments.name or dataset.name
    out = arguments.out or Path("build") / f"{name}-{arguments.version}"
    return train(
        dataset,
        name=name,
        out=out,
        plots=arguments.plots or out.with_name(f"{out.name}-plots"),
        version=arguments.version,
        task=arguments.task,
        hyperparameters=how,
        absent_field=arguments.absent_field,
        unknown_category=arguments.unknown_category,
        progress=not arguments.quiet,
    )


def _with_sagemaker(
    arguments: argparse.Namespace, environ: Mapping[str, str]
) -> argparse.Namespace:
    """The options, with SageMaker's folders where none are given.

    Source: github.com/aws/sagemaker-training-toolkit, ENVIRONMENT_VARIABLES.md.
    """
    chosen = dict(vars(arguments))
    channel, folder = environ.get("SM_CHANNEL_TRAIN"), environ.get("SM_MODEL_DIR")
    if not (chosen["data"] or chosen["dataset"]):
        if channel:
            chosen["data"] = Path(channel)
        elif folder:  # a job whose channel has another name must not train on wine instead
            raise SourceError(
                "SM_CHANNEL_TRAIN: got none, expected the folder of a channel 'train'"
            )
    if folder:
        chosen["out"] = chosen["out"] or Path(folder) / "bundle"
        plots = environ.get("SM_OUTPUT_DATA_DIR") or Path(folder) / "plots"
        chosen["plots"] = chosen["plots"] or Path(plots)
    return argparse.Namespace(**chosen)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}\n")


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> int:
    """Trains as the command line and SageMaker's variables say; the exit code."""
    parser = _Parser(prog="python -m model.train", description="Train a model and pack it.")
    add_arguments(parser)
    arguments = parser.parse_args(argv)
    try:
        result = run(_with_sagemaker(arguments, environ))
    except (SourceError, BundleError, OSError) as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return 1
    print(summarize(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
