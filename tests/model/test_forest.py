import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from hypothesis import given

from model.forest import UnsupportedForestError, encode_forest
from model.forest_engine import TRANSFORMS, is_available
from model.ubj import parse_ubj
from tests.model.forest_models import (
    SPECIAL,
    Example,
    Matrix,
    Tree,
    examples,
    load,
    model_bytes,
    reference,
    to_matrix,
)

pytestmark = pytest.mark.kernel

if is_available():
    from model import _forest

    WALKS = _forest.walks()
else:
    WALKS = []

MODELS = Path(__file__).parents[1] / "data" / "models"


def outputs(content: bytes, rows: Matrix, walk: str | None = None, n_threads: int = 1) -> bytes:
    """All bits of what the kernel predicts, row after row."""
    forest = _forest.Forest(content, walk)
    return np.array(forest.predict(to_matrix(rows), len(rows), n_threads), np.float32).tobytes()


def assert_equal(model: bytes, rows: Matrix) -> None:
    """Every walk of this machine gives what XGBoost gives, to the last bit."""
    wanted = reference(load(model), rows)
    content = encode_forest(model)
    for walk in WALKS:
        assert outputs(content, rows, walk) == wanted, walk


def stump(leaf: float = 0.25, feature: int = 0, **of: Any) -> Tree:
    tree = Tree()
    tree.add_leaf(leaf)
    tree.split(0, feature, **{"value": 0.5, **of})
    return tree


def edited(model: bytes, change: Any) -> bytes:
    document = json.loads(model)
    change(document["learner"])
    return json.dumps(document).encode()


# --- equal to XGBoost -----------------------------------------------------------------------------


@given(examples())
def test_generated_models_predict_as_xgboost(example: Example) -> None:
    """Any shape, categories, missing values, thresholds hit and missed by one float."""
    assert_equal(example.model, example.rows)


@pytest.mark.parametrize("objective", sorted(TRANSFORMS))
def test_every_objective_predicts_as_xgboost(objective: str) -> None:
    """Margins near and far, where exponentials overflow, vanish or are clamped."""
    n_classes = 3 if objective.startswith("multi:") else 0
    far = [0.0, 0.3, 1.5, 17.0, 90.0, 200.0]
    trees = [stump(far[i % 6] / (1 + i % 3), i % 2, value=float(i)) for i in range(12)]
    draw = np.random.default_rng(1)
    rows = draw.uniform(-1, 13, (200, 2)).astype(np.float32)
    for score in ("5E-1", "[2.5E-1]", "9.9999E-1", "1E-7"):
        assert_equal(
            model_bytes(
                trees, n_features=2, objective=objective, n_classes=n_classes, base_score=score
            ),
            rows,
        )


def test_base_score_of_each_class_is_added_to_its_own() -> None:
    """XGBoost 3.1 and later write a vector."""
    trees = [stump(0.1 * i) for i in range(6)]
    model = model_bytes(
        trees,
        n_features=1,
        objective="multi:softprob",
        n_classes=3,
        base_score="[1E-1,-3E-1,7E-1]",
    )
    assert_equal(model, np.array([[0], [1]], np.float32))


@pytest.mark.parametrize(
    "path",
    [file.relative_to(MODELS) for file in sorted(MODELS.glob("*/*.ubj"))],
    ids=str,
)
def test_models_of_every_release_predict_as_xgboost(path: Path) -> None:
    """What the installed XGBoost makes of a file of any release, the forest makes too."""
    model = (MODELS / path).read_bytes()
    booster = load(model)
    draw = np.random.default_rng(5)
    rows = (draw.normal(size=(150, booster.num_features())) * 100).astype(np.float32)
    rows[draw.random(rows.shape) < 0.1] = np.nan
    for i, kind in enumerate(booster.feature_types or []):
        if kind == "c":
            rows[:, i] = draw.integers(-1, 7, len(rows))
    content = encode_forest(model)
    assert outputs(content, rows) == reference(booster, rows)
    assert content == encode_forest((MODELS / path).with_suffix(".json").read_bytes())


@pytest.mark.parametrize("n_rows", [1, 2, 5, 6, 7, 15, 16, 17, 32, 255, 256, 257, 1000])
@pytest.mark.parametrize("walk", WALKS)
def test_batches_of_any_size_equal_their_rows(walk: str, n_rows: int) -> None:
    """The edges of tiles and blocks are not seen from outside."""
    trees = [stump(0.1 + i / 7, i % 3, value=i / 4) for i in range(40)]
    content = encode_forest(model_bytes(trees, n_features=3))
    rows = np.random.default_rng(2).uniform(-1, 11, (n_rows, 3)).astype(np.float32)
    rows[::5, 1] = np.nan
    single = b"".join(outputs(content, rows[i : i + 1], "plain") for i in range(n_rows))
    assert outputs(content, rows, walk) == single


def test_threads_change_no_bit() -> None:
    """Rows are shared among threads, sums are not."""
    trees = [stump(0.1 + i / 7, i % 3, value=i / 40) for i in range(400)]
    content = encode_forest(model_bytes(trees, n_features=3))
    rows = np.random.default_rng(2).uniform(-1, 11, (2051, 3)).astype(np.float32)
    wanted = outputs(content, rows)
    for n_threads in (2, 3, 64, 10**6):
        assert outputs(content, rows, n_threads=n_threads) == wanted


@pytest.mark.parametrize("depth", [1, 4, 5, 6, 9])
@pytest.mark.parametrize("n_features", [1, 300])
def test_trained_trees_of_any_depth_predict_as_xgboost(depth: int, n_features: int) -> None:
    """At five levels the kernels go from registers to memory."""
    draw = np.random.default_rng(depth)
    rows = draw.normal(size=(700, n_features)).astype(np.float32)
    rows[draw.random(rows.shape) < 0.05] = np.nan
    data = xgboost.DMatrix(rows, np.nan_to_num(rows).sum(axis=1) + draw.normal(size=700), nthread=1)
    booster = xgboost.train({"max_depth": depth, "nthread": 1, "min_child_weight": 0}, data, 9)
    assert_equal(bytes(booster.save_raw("ubj")), rows)


def test_lossguide_trees_predict_as_xgboost() -> None:
    """One long branch makes a tree deep and its nodes few."""
    draw = np.random.default_rng(3)
    rows = draw.normal(size=(900, 4)).astype(np.float32)
    target = np.exp(3 * rows[:, 0]) + rows[:, 1]
    parameters = {
        "grow_policy": "lossguide", "max_leaves": 60, "max_depth": 0, "nthread": 1,
        "num_parallel_tree": 2, "subsample": 0.7,
    }  # fmt: skip
    booster = xgboost.train(parameters, xgboost.DMatrix(rows, target, nthread=1), 5)
    assert_equal(bytes(booster.save_raw("ubj")), rows)


def test_tree_of_one_leaf_predicts_its_value() -> None:
    """A tree that found no split still counts."""
    tree = Tree()
    tree.add_leaf(0.75)
    assert_equal(model_bytes([tree, stump()], n_features=1), np.zeros((20, 1), np.float32))


def test_infinite_values_go_where_xgboost_sends_them() -> None:
    """Requests hold none, but a matrix may; a leaf stays where it is all the same."""
    trees = [stump(0.5, value=v) for v in SPECIAL]
    rows = np.array([[np.inf], [-np.inf], [np.nan], [3.4028235e38]], np.float32)
    assert_equal(model_bytes(trees, n_features=1), np.repeat(rows, 8, axis=0))


# --- the file -------------------------------------------------------------------------------------


def test_file_is_as_documented_byte_by_byte() -> None:
    """docs/forest.md, 2 to 6: a stump over two features."""
    tree = stump(0.25, feature=1, value=0.5, default_left=True)
    content = encode_forest(model_bytes([tree], n_features=2))
    assert content[:12] == b"EXFOREST" + bytes([1, 0, 0, 0])
    assert struct.unpack("<7I", content[16:44]) == (2, 1, 1, 1, 8, 0, len(content) - 64 - 64 - 20)
    assert content[44:64] == bytes(20)
    nodes = [struct.unpack_from("<fI", content, 64 + 8 * i) for i in range(4)]
    assert nodes == [
        (0.0, 0),
        (0.5, 2 | 1 << 16 | 1 << 30),
        (0.25, 2 | 2 << 16),
        (-0.25, 3 | 2 << 16),
    ]
    assert struct.unpack_from("<IIHHHH", content, 128) == (0, 4, 1, 0, 0, 0)
    assert struct.unpack_from("<f", content, 144) == (0.5,)
    assert json.loads(content[148:]) == {
        "objective": "reg:squarederror",
        "features": [["f0", "float"], ["f1", "float"]],
    }


def test_small_sets_stand_in_their_nodes_and_large_ones_in_the_words() -> None:
    """docs/forest.md, 3: which of the two is a matter of each tree."""
    small, large = stump(), stump()
    small.categories[0] = [0, 31]
    large.categories[0] = [1, 32, 64]
    content = encode_forest(model_bytes([small, large], n_features=1, types=["c"]))
    assert struct.unpack_from("<I", content, 64 + 8) == (1 | 1 << 31,)
    assert struct.unpack_from("<I", content, 64 + 64 + 8) == (0,)
    assert struct.unpack_from("<4I", content, 64 + 128) == (3, 2, 1, 1)
    assert [content[64 + 128 + 16 + 16 * i + 12] for i in range(2)] == [1, 2]


def test_nodes_that_cannot_be_reached_are_left_out() -> None:
    """Pruning leaves some behind."""
    tree = stump()
    plain = encode_forest(model_bytes([tree], n_features=1))
    tree.add_leaf(9.0, 0)
    assert encode_forest(model_bytes([tree], n_features=1)) == plain


# --- what is not carried --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            lambda m: m["gradient_booster"].update(name="dart"),
            "the booster dart: only gbtree is carried",
        ),
        (
            lambda m: m["gradient_booster"].update(name="gblinear"),
            "the booster gblinear: only gbtree is carried",
        ),
        (
            lambda m: m["objective"].update(name="survival:cox"),
            "the objective survival:cox: it is none that is carried",
        ),
        (
            lambda m: m["learner_model_param"].update(num_target="2"),
            "2 outputs for each row: one is carried",
        ),
        (
            lambda m: m["learner_model_param"].update(num_feature="16384"),
            "16384 features: 1 to 16383 are carried",
        ),
        (
            lambda m: m["learner_model_param"].update(num_class="4097"),
            "4097 classes: at most 4096 are carried",
        ),
        (
            lambda m: m["learner_model_param"].update(num_class="3"),
            "3 classes with reg:squarederror: none are carried",
        ),
        (
            lambda m: m["learner_model_param"].update(base_score="[1,2]"),
            "2 base scores: 1 are carried",
        ),
        (
            lambda m: _tree(m)["tree_param"].update(size_leaf_vector="2"),
            "leaves that are vectors: only numbers are carried",
        ),
        (
            lambda m: _tree(m)["split_conditions"].__setitem__(1, float("inf")),
            "tree 0: a leaf of inf",
        ),
        (
            lambda m: _tree(m)["split_conditions"].__setitem__(0, float("nan")),
            "tree 0: a threshold of NaN",
        ),
        (
            lambda m: m["gradient_booster"]["model"].update(trees=[], tree_info=[]),
            "0 trees: 1 to 1048576 are carried",
        ),
    ],
)
def test_what_is_not_carried_is_named(change: Any, text: str) -> None:
    """`pack` says why XGBoost's own engine has to serve."""
    model = edited(model_bytes([stump()], n_features=1), change)
    with pytest.raises(UnsupportedForestError) as caught:
        encode_forest(model)
    assert str(caught.value) == text


def _tree(learner: Any) -> Any:
    return learner["gradient_booster"]["model"]["trees"][0]


def test_tree_too_large_is_named() -> None:
    """A child's number has 16 bits."""
    tree = Tree()
    tree.add_leaf(1.0)
    for node in range(2**15):
        tree.split(node, 0, 0.5)
    with pytest.raises(UnsupportedForestError) as caught:
        encode_forest(model_bytes([tree], n_features=1))
    assert str(caught.value) == "tree 0: 65538 nodes: at most 65536 are carried"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda m: m.pop("objective"), id="no objective"),
        pytest.param(lambda m: _tree(m)["left_children"].__setitem__(0, 0), id="a cycle"),
        pytest.param(lambda m: _tree(m)["right_children"].__setitem__(0, 1), id="a child of two"),
        pytest.param(lambda m: _tree(m)["left_children"].__setitem__(0, 9), id="a child beyond"),
        pytest.param(lambda m: _tree(m)["split_indices"].__setitem__(0, 1), id="a feature beyond"),
        pytest.param(
            lambda m: _tree(m)["parents"].append(0) or _tree(m)["default_left"].pop(), id="lengths"
        ),
        pytest.param(lambda m: _tree(m).update(id=4), id="an id beyond"),
        pytest.param(
            lambda m: m["gradient_booster"]["model"].update(tree_info=[1]), id="a group beyond"
        ),
        pytest.param(lambda m: m.update(learner_model_param=[]), id="a list"),
    ],
)
def test_contradictory_model_is_refused(change: Any) -> None:
    """What XGBoost does not write is no forest, and no traceback either."""
    with pytest.raises(ValueError):
        encode_forest(edited(model_bytes([stump()], n_features=1), change))


@pytest.mark.parametrize(
    "model", [b"", b"{", b"{}", b"[]", b"Z", b"no model", b'{"learner":', b'{"a":1}']
)
def test_what_is_no_model_is_refused(model: bytes) -> None:
    """Empty, cut off, something else."""
    with pytest.raises(ValueError):
        encode_forest(model)


def test_ubj_that_is_cut_off_anywhere_is_refused() -> None:
    """A prefix of a document is none."""
    model = bytes(load(model_bytes([stump()], n_features=1)).save_raw("ubj"))
    assert parse_ubj(model)["learner"]["feature_names"] == ["f0"]
    for end in range(len(model)):
        with pytest.raises(ValueError):
            parse_ubj(model[:end])
