"""Record small models and their predictions with the xgboost that is installed.

    python record.py OUT_DIR

trains four models (fixed seed, one thread, early stopping, so that the file holds more trees
than its predictions use), and writes for each of them into OUT_DIR:

    NAME.json, NAME.ubj   the model, by the scikit-learn wrapper's `save_model`
    NAME.rows.csv         rows of features; an empty cell is a missing value
    NAME.expected.json    what the wrapper in memory predicted on these rows, read from the CSV

Runs unmodified from xgboost 1.6.2 (Python 3.8) to 3.2.0 (Python 3.11); it imports nothing of the
project. README.md pins the versions that made each folder.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

SEED = 7
ROWS = 24
PATIENCE = 8
CATEGORIES = {  # in code order, which is not the alphabet's
    "size": ["small", "medium", "large"],
    "color": ["red", "green", "blue", "amber", "violet"],
}


class Case(NamedTuple):
    """What one model is trained on, and how."""

    wrapper: type[Any]
    features: pd.DataFrame
    target: pd.Series[Any]
    train_share: float
    params: dict[str, Any]

    def new(self) -> Any:
        """Return a wrapper that has not been fitted."""
        return self.wrapper(n_jobs=1, **self.params)


def bunch(load: Any, wrapper: type[Any], train_share: float, **params: Any) -> Case:
    """Return a case made of one of scikit-learn's own data sets."""
    data = load(as_frame=True)
    return Case(wrapper, data.data, data.target, train_share, params)


def categorical() -> Case:
    """Return a synthetic case: numbers, a flag, texts, and some of them missing."""
    rng = np.random.RandomState(SEED)
    n = 300
    size, color = rng.randint(0, 3, n), rng.randint(0, 5, n)
    temperature, pressure = rng.normal(20, 5, n), rng.normal(0, 1, n)
    count, active = rng.randint(0, 10, n), rng.rand(n) < 0.5
    score = (
        np.array([-1.0, 1.5, 0.0])[size]
        + np.array([1.0, -1.5, 0.5, -0.5, 1.5])[color]
        + 0.2 * (temperature - 20)
        + pressure
        + 0.2 * (count - 4.5)
        + active
        + rng.normal(0, 1, n)
    )
    temperature[rng.rand(n) < 0.1] = np.nan
    pressure[rng.rand(n) < 0.1] = np.nan
    color[rng.rand(n) < 0.1] = -1  # a missing text
    features = pd.DataFrame(
        {
            "temperature": temperature,
            "pressure": pressure,
            "count": count.astype("int64"),
            "active": active,
            "size": pd.Categorical.from_codes(size, CATEGORIES["size"]),
            "color": pd.Categorical.from_codes(color, CATEGORIES["color"]),
        }
    )
    target = pd.Series((score > 0.5).astype("int64"))
    params = {"enable_categorical": True, "max_depth": 4, "learning_rate": 0.7}
    return Case(xgboost.XGBClassifier, features, target, 0.6, params)


def cases() -> dict[str, Case]:
    """Return the four models by name."""
    regressor, classifier = xgboost.XGBRegressor, xgboost.XGBClassifier
    return {
        "regression": bunch(load_diabetes, regressor, 0.6, max_depth=3, learning_rate=0.5),
        "binary": bunch(load_breast_cancer, classifier, 0.6, max_depth=3, learning_rate=0.9),
        "multiclass": bunch(load_wine, classifier, 0.3, max_depth=3, learning_rate=1.1),
        "categorical": categorical(),
    }


def fit(case: Case) -> tuple[Any, pd.DataFrame]:
    """Train with early stopping; return the wrapper and some rows of the validation split."""
    order = np.random.RandomState(SEED).permutation(len(case.features))
    cut = int(len(order) * case.train_share)
    train, valid = order[:cut], order[cut:]
    model = case.new().set_params(
        n_estimators=40, tree_method="hist", random_state=SEED, early_stopping_rounds=PATIENCE
    )
    X, y = case.features, case.target
    model.fit(
        X.iloc[train], y.iloc[train], eval_set=[(X.iloc[valid], y.iloc[valid])], verbose=False
    )
    gaps = valid[X.iloc[valid].isna().any(axis=1).to_numpy()][: ROWS // 2]
    picked = X.iloc[np.concatenate([gaps, valid[~np.isin(valid, gaps)]])[:ROWS]]
    assert picked.isna().any().equals(X.isna().any()), "a column's missing values are not covered"
    return model, picked.reset_index(drop=True)


def read_rows(path: Path, like: pd.DataFrame) -> pd.DataFrame:
    """Read rows back, with the types and categories of `like`, and to the same doubles."""
    return pd.read_csv(
        path,
        dtype=like.dtypes.to_dict(),
        keep_default_na=False,
        na_values=[""],
        float_precision="round_trip",
        encoding="utf-8",
    )


def predictions(model: Any, rows: pd.DataFrame, **options: Any) -> dict[str, np.ndarray[Any, Any]]:
    """Return what the wrapper predicts: float32, except for the labels, which are integers."""
    methods = [name for name in ("predict", "predict_proba") if hasattr(model, name)]
    found = {name: getattr(model, name)(rows, **options) for name in methods}
    assert found[methods[-1]].dtype == np.float32
    return found


def same_bits(a: dict[str, np.ndarray[Any, Any]], b: dict[str, np.ndarray[Any, Any]]) -> bool:
    """Tell whether two sets of predictions are the same to the last bit."""
    return a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and a[name].tobytes() == b[name].tobytes() for name in a
    )


def record(name: str, case: Case, out: Path) -> None:
    """Train one model and write its four files."""
    model, picked = fit(case)
    rows_path = out / f"{name}.rows.csv"
    picked.to_csv(rows_path, index=False, encoding="utf-8")
    rows = read_rows(rows_path, picked)
    pd.testing.assert_frame_equal(rows, picked, check_exact=True)

    rounds = model.get_booster().num_boosted_rounds()
    assert model.best_iteration + 1 + PATIENCE == rounds, "early stopping did not stop"
    found = predictions(model, rows)
    every_tree = predictions(model, rows, iteration_range=(0, rounds))
    assert not same_bits(found, every_tree), "the trees after the best make no difference"

    expected = {
        "xgboost": xgboost.__version__,
        "best_iteration": int(model.best_iteration),
        "rounds": rounds,
    }
    texts = rows.select_dtypes("category")
    if len(texts.columns):
        expected["categories"] = {column: list(texts[column].cat.categories) for column in texts}
    expected.update({method: values.tolist() for method, values in found.items()})
    text = json.dumps(expected, indent=1) + "\n"
    (out / f"{name}.expected.json").write_text(text, encoding="utf-8")

    for suffix in ("json", "ubj"):
        path = out / f"{name}.{suffix}"
        model.save_model(path)
        fresh = case.wrapper(enable_categorical=bool(len(texts.columns)))
        fresh.load_model(path)
        assert same_bits(predictions(fresh, rows), found), f"{path} predicts something else"
    if len(texts.columns):
        trees = json.loads((out / f"{name}.json").read_text(encoding="utf-8"))
        trees = trees["learner"]["gradient_booster"]["model"]["trees"]
        assert any(tree["categories"] for tree in trees), "no tree splits on a category"
    print(f"{name}: best iteration {model.best_iteration} of {rounds} rounds")


def main() -> None:
    """Record every model into the folder that the command line names."""
    if len(sys.argv) != 2:
        sys.exit("usage: python record.py OUT_DIR")
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    print(f"xgboost {xgboost.__version__}")
    for name, case in cases().items():
        record(name, case, out)


if __name__ == "__main__":
    main()
