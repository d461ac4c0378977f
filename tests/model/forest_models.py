"""Models made up node by node, which XGBoost loads as its own; and what it predicts with them."""

import json
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import xgboost
from hypothesis import strategies as st

Matrix = npt.NDArray[np.float32]

SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-45, -1e-45, 1.1754944e-38, 3.4028235e38, -3.4028235e38, 0.1]
"""Thresholds where comparisons go wrong first: zeros, subnormals, the largest and the smallest."""

_PARENT_OF_ROOT = 2147483647


@dataclass
class Tree:
    """A tree under construction; node 0 is the root."""

    left: list[int] = field(default_factory=list)
    right: list[int] = field(default_factory=list)
    parent: list[int] = field(default_factory=list)
    feature: list[int] = field(default_factory=list)
    value: list[float] = field(default_factory=list)
    default_left: list[int] = field(default_factory=list)
    categories: dict[int, list[int]] = field(default_factory=dict)

    def add_leaf(self, value: float, parent: int = _PARENT_OF_ROOT) -> int:
        self.left.append(-1)
        self.right.append(-1)
        self.parent.append(parent)
        self.feature.append(0)
        self.value.append(value)
        self.default_left.append(0)
        return len(self.left) - 1

    def split(self, node: int, feature: int, value: float, default_left: bool = False) -> None:
        """Makes a leaf an inner node; its children are leaves of plus and minus its value."""
        leaf = self.value[node]
        self.feature[node], self.value[node] = feature, value
        self.default_left[node] = int(default_left)
        self.left[node] = self.add_leaf(leaf, node)
        self.right[node] = self.add_leaf(-leaf, node)

    def document(self, at: int, n_features: int) -> dict[str, Any]:
        n = len(self.left)
        nodes = sorted(self.categories)
        sizes = [len(self.categories[node]) for node in nodes]
        return {
            "id": at,
            "left_children": self.left,
            "right_children": self.right,
            "parents": self.parent,
            "split_indices": self.feature,
            "split_conditions": self.value,
            "default_left": self.default_left,
            "split_type": [int(node in self.categories) for node in range(n)],
            "categories": [c for node in nodes for c in self.categories[node]],
            "categories_nodes": nodes,
            "categories_segments": [sum(sizes[:i]) for i in range(len(sizes))],
            "categories_sizes": sizes,
            "base_weights": [0.0] * n,
            "loss_changes": [0.0] * n,
            "sum_hessian": [float(n - i) for i in range(n)],
            "tree_param": {
                "num_deleted": "0",
                "num_feature": str(n_features),
                "num_nodes": str(n),
                "size_leaf_vector": "1",
            },
        }


def model_bytes(
    trees: Sequence[Tree],
    *,
    n_features: int,
    types: Sequence[str] | None = None,
    objective: str = "reg:squarederror",
    base_score: str = "5E-1",
    n_classes: int = 0,
    num_parallel_tree: int = 1,
) -> bytes:
    """The model in XGBoost's JSON, tree i of class i modulo the classes."""
    groups = max(1, n_classes)
    of = [i // num_parallel_tree % groups for i in range(len(trees))]
    step = groups * num_parallel_tree
    types = types or ["float"] * n_features
    document = {
        "learner": {
            "attributes": {},
            "feature_names": [f"f{i}" for i in range(n_features)],
            "feature_types": list(types),
            "gradient_booster": {
                "model": {
                    "gbtree_model_param": {
                        "num_parallel_tree": str(num_parallel_tree),
                        "num_trees": str(len(trees)),
                    },
                    "iteration_indptr": list(range(0, len(trees) + 1, step)),
                    "tree_info": of,
                    "trees": [tree.document(i, n_features) for i, tree in enumerate(trees)],
                },
                "name": "gbtree",
            },
            "learner_model_param": {
                "base_score": base_score,
                "boost_from_average": "1",
                "num_class": str(n_classes),
                "num_feature": str(n_features),
                "num_target": "1",
            },
            "objective": _objective(objective, n_classes),
        },
        "version": [3, 2, 0],
    }
    return json.dumps(document).encode()


def _objective(name: str, n_classes: int) -> dict[str, Any]:
    parameters: dict[str, dict[str, str]] = {
        "count:poisson": {"poisson_regression_param": {"max_delta_step": "0.7"}},
        "reg:tweedie": {"tweedie_regression_param": {"tweedie_variance_power": "1.5"}},
        "reg:pseudohubererror": {"pseudo_huber_param": {"huber_slope": "1"}},
        "reg:quantileerror": {"quantile_loss_param": {"quantile_alpha": "[0.5]"}},
    }.get(name, {"reg_loss_param": {"scale_pos_weight": "1"}})
    if name.startswith("multi:"):
        parameters = {"softmax_multiclass_param": {"num_class": str(n_classes)}}
    if name.startswith("rank:"):
        parameters = {
            "lambdarank_param": {
                "lambdarank_num_pair_per_sample": "1",
                "lambdarank_pair_method": "topk",
            }
        }
    return {"name": name, **parameters}


def load(model: bytes) -> xgboost.Booster:
    booster = xgboost.Booster({"nthread": 1})
    booster.load_model(bytearray(model))
    return booster


def reference(booster: xgboost.Booster, rows: Matrix) -> bytes:
    """All bits of what XGBoost itself predicts, row after row."""
    found = booster.inplace_predict(rows, validate_features=False)
    return np.asarray(found, np.float32).tobytes()


def to_matrix(rows: Matrix) -> "array[float]":
    matrix = array("f")
    matrix.frombytes(np.ascontiguousarray(rows, np.float32).tobytes())
    return matrix


# --- generated models -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Example:
    """A generated model with rows that come near its thresholds."""

    model: bytes
    rows: Matrix


@st.composite
def examples(draw: st.DrawFn) -> Example:
    """Few trees of any shape; rows of thresholds, their neighbours, categories, missing values."""
    seed = draw(st.integers(0, 2**32 - 1))
    source = np.random.default_rng(seed)
    n_features = draw(st.integers(1, 6))
    limit = draw(st.sampled_from([0, 4, 32, 70]))  # categories; 0: none
    n_classes = draw(st.sampled_from([0, 0, 2, 5]))
    parallel = draw(st.sampled_from([1, 1, 3]))
    n_trees = draw(st.integers(1, 6)) * parallel * max(1, n_classes)
    chain = draw(st.booleans())
    splits = draw(st.integers(0, 24))
    types = ["c" if limit and i % 2 == 0 else "float" for i in range(n_features)]
    trees = [_random_tree(source, types, limit, splits, chain) for _ in range(n_trees)]
    objective = "reg:squarederror"
    if n_classes:
        objective = draw(st.sampled_from(["multi:softprob", "multi:softmax"]))
    model = model_bytes(
        trees,
        n_features=n_features,
        types=types,
        objective=objective,
        n_classes=n_classes,
        num_parallel_tree=parallel,
    )
    n_rows = draw(st.sampled_from([1, 2, 5, 6, 7, 15, 16, 17, 33, 64, 65]))
    return Example(model, _random_rows(source, trees, types, limit, n_rows))


def _random_tree(
    source: np.random.Generator, types: Sequence[str], limit: int, splits: int, chain: bool
) -> Tree:
    tree = Tree()
    tree.add_leaf(float(np.float32(source.normal())))
    leaf = 0
    for _ in range(int(source.integers(0, splits + 1))):
        leaves = [node for node, left in enumerate(tree.left) if left < 0]
        leaf = leaves[-1] if chain else int(source.choice(leaves))
        feature = int(source.integers(len(types)))
        special = source.random() < 0.5
        threshold = source.choice(SPECIAL) if special else source.normal()
        tree.split(leaf, feature, float(np.float32(threshold)), bool(source.integers(2)))
        if types[feature] == "c":
            chosen = source.choice(limit, int(source.integers(1, min(limit, 9))), replace=False)
            tree.categories[leaf] = sorted(int(c) for c in chosen)
    return tree


def _random_rows(
    source: np.random.Generator,
    trees: Sequence[Tree],
    types: Sequence[str],
    limit: int,
    n_rows: int,
) -> Matrix:
    split = {v for t in trees for v, left in zip(t.value, t.left, strict=True) if left >= 0}
    values = np.array([*split, *SPECIAL], np.float32)
    infinity = np.float32(np.inf)
    with np.errstate(over="ignore", under="ignore"):
        beside = [np.nextafter(values, infinity), np.nextafter(values, -infinity)]
    near = np.concatenate([values, *beside])
    near = near[np.isfinite(near)]
    codes = np.array([-1, -0.5, -0.0, 31, 32, 33, 2**24 - 1, 2**24, 3e9, *range(limit + 2)])
    rows = np.empty((n_rows, len(types)), np.float32)
    for i, kind in enumerate(types):
        rows[:, i] = source.choice(codes if kind == "c" else near, n_rows)
    rows[source.random(rows.shape) < 0.2] = np.nan
    return rows
