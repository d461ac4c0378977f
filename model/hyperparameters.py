"""What a training can be told, as values and as options of a command. Standard library only.

Apart from `model.train`, so that a command shows its help without loading what trains.
"""

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

from model.errors import SourceError, describe
from model.manifest import Policy
from model.typed import Literal, get_args

TaskChoice = Literal["auto", "classification", "regression"]

DATASETS = ("wine", "breast-cancer", "diabetes")
"""scikit-learn's bundled data sets that `load_dataset` knows: 3 labels, 2 labels, a number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """How to train, in XGBoost's own names; the defaults suit small tables.

    Raises:
        SourceError: a value is out of its range.
    """

    n_estimators: int = 1000
    max_depth: int = 4
    learning_rate: float = 0.1
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    min_child_weight: float = 1.0
    reg_lambda: float = 1.0
    early_stopping_rounds: int = 30
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (low, high, _) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                expected = f"a number from {low:g} to {high:g}"
                raise SourceError(f"{name}: got {describe(value)}, expected {expected}")


RANGES: dict[str, tuple[float, float, str]] = {
    "n_estimators": (1, 1_000_000, "boosting rounds, at most"),
    "max_depth": (1, 30, "levels of a tree, at most"),
    "learning_rate": (1e-6, 1, "how much of a tree counts"),
    "subsample": (1e-3, 1, "share of the rows for each tree"),
    "colsample_bytree": (1e-3, 1, "share of the features for each tree"),
    "min_child_weight": (0, 1e9, "smallest sum of row weights (Hessian) in a leaf"),
    "reg_lambda": (0, 1e9, "L2 regularization of the leaves"),
    "early_stopping_rounds": (1, 1_000_000, "rounds without improvement before training stops"),
    "seed": (0, 2**31 - 1, "of split and sampling; the same seed gives the same model"),
}

DEFAULTS = Hyperparameters()


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options of a training to a parser; `run` reads them."""
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group()
    text = "one of scikit-learn's data sets (default: wine)"
    source.add_argument("--dataset", choices=DATASETS, help=text)
    text = "a CSV or Parquet file, or a folder of such"
    source.add_argument("--data", type=Path, metavar="FILE", help=text)
    add("--target", metavar="COLUMN", help="the column of --data to predict")
    text = "a column of --data to leave out, such as a row's number; may be repeated"
    add("--drop", action="append", default=[], metavar="COLUMN", help=text)
    text = "what the target is (default: auto, which looks at its values)"
    add("--task", choices=get_args(TaskChoice), default="auto", help=text)
    add("--name", help="the model's name (default: the data's)")
    add("--version", default="1.0.0", help="a semantic version (default: %(default)s)")
    add("--out", type=Path, metavar="DIR", help="the bundle (default: build/NAME-VERSION)")
    add("--plots", type=Path, metavar="DIR", help="the plots (default: OUT-plots)")
    add_policies(parser)
    add("--quiet", action="store_true", help="show no progress bar")
    group = parser.add_argument_group("hyperparameters (with - or _ in their names)")
    for name, default in asdict(DEFAULTS).items():
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        text = f"{RANGES[name][2]} (default: %(default)s)"
        kind = type(default)
        group.add_argument(*flags, dest=name, type=kind, default=default, metavar="N", help=text)


def add_policies(parser: argparse.ArgumentParser) -> None:
    """Adds the options of what a bundle does with rows that are not whole."""
    for option, subject in {
        "--absent-field": "a feature that a request leaves out",
        "--unknown-category": "a category never seen in training",
    }.items():
        text = f"{subject} is an error or a missing value (default: error)"
        parser.add_argument(option, choices=get_args(Policy), default="error", help=text)
