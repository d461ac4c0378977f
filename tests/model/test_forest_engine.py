import json
import random
import struct
import subprocess
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from model import forest_engine
from model.errors import BundleChecksumError, BundleFormatError, BundleMismatchError
from model.forest import encode_forest
from model.forest_engine import ForestEngine, is_available
from model.xgboost_engine import XGBoostEngine
from tests.conftest import Packed, bits
from tests.model.forest_models import Tree, model_bytes, to_matrix

pytestmark = pytest.mark.kernel

if is_available():
    from model import _forest

    WALKS = _forest.walks()
else:
    WALKS = []

ROOT = Path(__file__).parents[2]
NODES = 64
"""Where the nodes begin. docs/forest.md, 1."""


def matrix_of(packed: Packed) -> "array[float]":
    return packed.bundle.encode(packed.rows)


def with_crc(content: bytes | bytearray) -> bytes:
    """The content with the checksum that belongs to it."""
    return bytes(content[:12]) + struct.pack("<I", zlib.crc32(content[16:])) + bytes(content[16:])


def stump_file() -> bytearray:
    """A forest of one tree: a root over two leaves, and eight slots."""
    tree = Tree()
    tree.add_leaf(0.25)
    tree.split(0, 0, 0.5)
    return bytearray(encode_forest(model_bytes([tree], n_features=1)))


def categorical_file() -> bytearray:
    """The same with a set of two words in the words."""
    tree = Tree()
    tree.add_leaf(0.25)
    tree.split(0, 0, 0.5)
    tree.categories[0] = [3, 40]
    return bytearray(encode_forest(model_bytes([tree], n_features=1, types=["c"])))


@pytest.fixture
def engine(multiclass: Packed) -> Iterator[ForestEngine]:
    content = encode_forest(multiclass.model)
    opened = ForestEngine(multiclass.manifest, content, n_threads=1)
    yield opened
    opened.close()


# --- predictions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("walk", WALKS)
@pytest.mark.parametrize("name", ["multiclass", "binary", "regression", "mixed"])
def test_outputs_equal_the_librarys_to_the_last_bit(
    name: str, walk: str, request: pytest.FixtureRequest
) -> None:
    """Whole batch and single rows, for each kind of bundle and each walk."""
    packed: Packed = request.getfixturevalue(name)
    matrix, n_rows = matrix_of(packed), len(packed.rows)
    library = XGBoostEngine(packed.manifest, packed.model, n_threads=1)
    forest = ForestEngine(packed.manifest, encode_forest(packed.model), n_threads=1, walk=walk)
    assert forest.n_outputs == library.n_outputs
    wanted = library.predict(matrix, n_rows)
    assert bits(forest.predict(matrix, n_rows)) == bits(wanted)
    n = len(matrix) // n_rows
    rows = [forest.predict(matrix[i : i + n], 1) for i in range(0, len(matrix), n)]
    assert bits(rows) == bits(wanted)
    library.close()
    forest.close()


def test_outputs_are_plain_floats(engine: ForestEngine, multiclass: Packed) -> None:
    """They go into JSON without another conversion."""
    found = engine.predict(matrix_of(multiclass)[:13], 1)
    assert [type(value) for value in found] == [float] * 3


def test_callers_at_once_get_the_same_bits(multiclass: Packed) -> None:
    """Batches that leave the interpreter's lock and start threads, with single rows between."""
    content = encode_forest(multiclass.model)
    engine = ForestEngine(multiclass.manifest, content, n_threads=2)
    matrix = matrix_of(multiclass) * 300
    n_rows = len(matrix) // 13
    wanted = bits(engine.predict(matrix, n_rows))

    def predict_all(n: int) -> bool:
        one = bits(engine.predict(matrix[:13], 1)) == wanted[: 3 * 8]
        return one and bits(engine.predict(matrix, n_rows)) == wanted

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(predict_all, range(8)))
    engine.close()


def test_best_walk_is_taken(engine: ForestEngine) -> None:
    """Without a word from anybody the first of the list walks; the last is plain C, everywhere."""
    assert engine._forest is not None
    assert engine._forest.walk == WALKS[0]
    assert WALKS[-1] == "plain"


def test_unknown_walk_is_refused(multiclass: Packed) -> None:
    """A walk that this machine cannot do would end the process."""
    with pytest.raises(LookupError) as caught:
        ForestEngine(multiclass.manifest, encode_forest(multiclass.model), n_threads=1, walk="sse9")
    assert str(caught.value) == "walk: got sse9, expected one that this machine can do"


def test_closed_engine_refuses_to_predict(multiclass: Packed) -> None:
    """A use after `close` is an error, not a crash; closing twice is none."""
    engine = ForestEngine(multiclass.manifest, encode_forest(multiclass.model), n_threads=1)
    engine.close()
    engine.close()
    with pytest.raises(ValueError, match=r"^the forest engine: got a call after close"):
        engine.predict(matrix_of(multiclass)[:13], 1)


@pytest.mark.parametrize("n_values", [0, 12, 14, 26])
def test_matrix_of_another_size_is_refused(engine: ForestEngine, n_values: int) -> None:
    """Not a byte beyond the caller's buffer is read."""
    with pytest.raises(ValueError) as caught:
        engine.predict(array("f", [0.0] * n_values), 1)
    expected = f"matrix: got {n_values * 4} bytes for 1 rows, expected 52 for each"
    assert str(caught.value) == expected


@pytest.mark.parametrize("n_rows", [0, -1, -(2**63), 2**63 - 1])
def test_number_of_rows_out_of_range_is_refused(engine: ForestEngine, n_rows: int) -> None:
    """Nor does a product of two numbers go round."""
    with pytest.raises(ValueError, match=r"^matrix: got 52 bytes for"):
        engine.predict(array("f", [0.0] * 13), n_rows)


@pytest.mark.parametrize("matrix", [array("i", [0] * 13), array("d", [0.0] * 13), bytes(52)])
def test_matrix_of_other_items_is_refused(engine: ForestEngine, matrix: Any) -> None:
    """Whole numbers read as float32 would predict nonsense."""
    with pytest.raises(TypeError, match=r"^matrix: got other items, expected float32$"):
        engine.predict(matrix, 1)


def test_absent_kernel_is_named(multiclass: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no compiler was found, the caller is told before a request comes."""
    monkeypatch.setattr(forest_engine, "_forest", None)
    assert not is_available()
    with pytest.raises(ModuleNotFoundError, match=r"the forest kernel is not installed") as caught:
        ForestEngine(multiclass.manifest, encode_forest(multiclass.model), n_threads=1)
    assert caught.value.name == "model._forest"


def test_serving_imports_neither_xgboost_nor_the_encoder() -> None:
    """The device has neither."""
    code = (
        "import sys, model.forest_engine\n"
        "print([name for name in ('xgboost', 'numpy', 'ctypes', 'model.forest', 'model.ubj',"
        " 'model.xgboost_engine') if name in sys.modules])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


# --- files that are not the manifest's ------------------------------------------------------------


def changed_text(content: bytes, change: Callable[[Any], Any]) -> bytes:
    """The file with another text at its end."""
    size = struct.unpack_from("<I", content, 40)[0]
    document = json.loads(content[-size:])
    change(document)
    text = json.dumps(document).encode()
    fresh = bytearray(content[:-size] + text)
    struct.pack_into("<I", fresh, 40, len(text))
    return with_crc(fresh)


def mismatch(packed: Packed, content: bytes) -> str:
    with pytest.raises(BundleMismatchError) as caught:
        ForestEngine(packed.manifest, content, n_threads=1)
    return str(caught.value)


@pytest.mark.parametrize("name", ["binary", "regression", "mixed"])
def test_forest_of_another_bundle_is_a_mismatch(
    name: str, multiclass: Packed, request: pytest.FixtureRequest
) -> None:
    """Intact files of two bundles do not make one."""
    other: Packed = request.getfixturevalue(name)
    text = mismatch(multiclass, encode_forest(other.model))
    count = len(other.manifest.features)
    assert text == f"model.forest: features: got {count}, expected 13, as in the manifest"


def test_renamed_feature_is_a_mismatch(multiclass: Packed) -> None:
    """The first name that differs is shown with its place."""
    content = changed_text(
        encode_forest(multiclass.model), lambda text: text["features"][2].__setitem__(0, "asch")
    )
    assert mismatch(multiclass, content) == (
        "model.forest: features: got 'asch' at place 2, expected 'ash', as in the manifest"
    )


def test_feature_of_another_kind_is_a_mismatch(mixed: Packed) -> None:
    """A category's code is no number to compare with thresholds."""
    content = changed_text(
        encode_forest(mixed.model), lambda text: text["features"][0].__setitem__(1, "float")
    )
    assert mismatch(mixed, content) == (
        "model.forest: type of feature 'colour': got 'float', expected categorical, "
        "as in the manifest"
    )


def test_another_objective_is_a_mismatch(binary: Packed) -> None:
    """The objective decides what an output means."""
    content = changed_text(
        encode_forest(binary.model), lambda text: text.update(objective="reg:logistic")
    )
    assert mismatch(binary, content) == (
        "model.forest: objective: got 'reg:logistic', expected 'binary:logistic', "
        "as in the manifest"
    )


def test_transform_of_another_objective_is_refused(binary: Packed) -> None:
    """A margin is not to pass for a probability."""
    content = bytearray(encode_forest(binary.model))
    content[10] = 0
    with pytest.raises(BundleFormatError) as caught:
        ForestEngine(binary.manifest, with_crc(content), n_threads=1)
    assert str(caught.value) == ("model.forest: transform: got 0, expected that of binary:logistic")


def test_another_number_of_classes_is_a_mismatch(multiclass: Packed) -> None:
    """Each label belongs to one output."""
    packed = multiclass.manifest._replace(labels=("a", "b"))
    with pytest.raises(
        BundleMismatchError, match=r"classes: got 3, expected 2, as in the manifest"
    ):
        ForestEngine(packed, encode_forest(multiclass.model), n_threads=1)


@pytest.mark.parametrize("tree_range", [(0, 3), (0, 5), (1, 4)])
def test_another_tree_range_is_a_mismatch(multiclass: Packed, tree_range: tuple[int, int]) -> None:
    """A forest holds exactly the trees that are used."""
    manifest = multiclass.manifest._replace(tree_range=tree_range)
    with pytest.raises(BundleMismatchError) as caught:
        ForestEngine(manifest, encode_forest(multiclass.model), n_threads=1)
    begin, end = tree_range
    assert str(caught.value) == (
        f"model.forest: boosting rounds: got 0 to 4, expected {begin} to {end}, as in the manifest"
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda text: text.pop("objective"), id="no objective"),
        pytest.param(lambda text: text.update(features=3), id="a number"),
        pytest.param(lambda text: text.update(features=[["a"]]), id="no pair"),
        pytest.param(lambda text: text.update(features=[]), id="too few"),
        pytest.param(lambda text: text["features"][0].__setitem__(0, 1), id="no text"),
    ],
)
def test_text_of_another_form_is_refused(multiclass: Packed, change: Any) -> None:
    """What the file says of itself is checked before it is compared."""
    content = changed_text(encode_forest(multiclass.model), change)
    with pytest.raises(BundleFormatError, match=r"^model.forest: "):
        ForestEngine(multiclass.manifest, content, n_threads=1)


# --- files that are damaged or hostile ------------------------------------------------------------


def test_every_changed_byte_is_refused(regression: Packed) -> None:
    """The checksum covers all that is behind it; what is before it has one value alone."""
    content = encode_forest(regression.model)
    for at in range(len(content)):
        damaged = bytearray(content)
        damaged[at] ^= 1 << at % 8
        with pytest.raises((BundleFormatError, BundleChecksumError, BundleMismatchError)) as caught:
            ForestEngine(regression.manifest, bytes(damaged), n_threads=1)
        assert caught.value.file.startswith("model.forest"), at


def test_file_that_is_cut_off_anywhere_is_refused() -> None:
    """Whether or not the checksum was made to fit."""
    content = stump_file()
    for end in range(len(content)):
        with pytest.raises(ValueError):
            _forest.Forest(bytes(content[:end]))


@pytest.mark.parametrize(
    ("offset", "code", "value", "text"),
    [
        (0, "B", 0, ("magic", "other bytes", "EXFOREST")),
        (8, "H", 2, ("version", "2", "1")),
        (10, "H", 6, ("transform", "6", "at most 5")),
        (16, "I", 0, ("features", "0", "1 to 16383")),
        (16, "I", 2**14, ("features", "16384", "1 to 16383")),
        (20, "I", 0, ("groups", "0", "1 to 4096")),
        (20, "I", 2, ("groups", "2", "1, as the transform has it")),
        (28, "I", 0, ("trees", "0", "1 to 1048576")),
        (28, "I", 2**32 - 1, ("trees", "4294967295", "1 to 1048576")),
        (32, "I", 0, ("nodes", "0", "1 to 134217728")),
        (32, "I", 2**28, ("nodes", "268435456", "1 to 134217728")),
        (36, "I", 2**28, ("words", "268435456", "at most 134217728")),
        (60, "I", 7, ("reserved field", "7", "0")),
        (NODES + 12, "H", 0, ("tree 0: node 1", "a child of two nodes", "a tree")),
        (NODES + 12, "H", 1, ("tree 0: node 1", "a child of two nodes", "a tree")),
        (
            NODES + 12,
            "H",
            3,
            ("tree 0: node 1", "a child beyond the last node", "children within the tree"),
        ),
        (
            NODES + 14,
            "H",
            2,
            ("tree 0: node 1", "a feature beyond the last", "a feature of the model"),
        ),
        (
            NODES + 14,
            "H",
            1 << 15,
            ("tree 0: node 1", "a categorical node", "none, as the tree has it"),
        ),
        (NODES + 8, "f", float("nan"), ("tree 0: node 1", "NaN", "a threshold")),
        (
            NODES + 16,
            "f",
            float("inf"),
            ("tree 0: node 2", "another", "a leaf that is finite and holds itself"),
        ),
        (
            NODES + 20,
            "H",
            3,
            ("tree 0: node 2", "another", "a leaf that is finite and holds itself"),
        ),
        (
            NODES + 22,
            "H",
            1 | 1 << 14,
            ("tree 0: node 2", "another", "a leaf that is finite and holds itself"),
        ),
        (128, "I", 8, ("tree 0: node 8", "nodes out of place", "nodes of the file")),
        (128, "I", 1, ("tree 0: node 1", "nodes out of place", "nodes of the file")),
        (132, "I", 1, ("tree 0: node 0", "nodes out of place", "nodes of the file")),
        (132, "I", 9, ("tree 0: node 0", "nodes out of place", "nodes of the file")),
        (136, "H", 0, ("tree 0: node 1", "another depth", "that of the tree")),
        (136, "H", 2, ("tree 0: node 1", "another depth", "that of the tree")),
        (138, "H", 1, ("tree 0: node 0", "a group beyond the last", "a group of the model")),
        (140, "H", 3, ("tree 0: node 0", "unknown flags", "0, 1 or 2")),
        (142, "H", 1, ("tree 0: node 0", "unknown flags", "0, 1 or 2")),
        (144, "f", float("nan"), ("base score of group", "0", "one with a finite margin")),
    ],
)
def test_what_would_lead_out_of_the_file_is_refused(
    offset: int, code: str, value: float, text: tuple[str, str, str]
) -> None:
    """Each number of the file, out of its bounds."""
    content = stump_file()
    struct.pack_into(f"<{code}", content, offset, value)
    with pytest.raises(ValueError) as caught:
        _forest.Forest(bytes(content))
    assert caught.value.args == text


@pytest.mark.parametrize(("offset", "value"), [(NODES + 8, 1), (NODES + 8, 2**32 - 1), (128, 3)])
def test_set_beyond_the_words_is_refused(offset: int, value: int) -> None:
    """A set's place and its own length are both of the file's making."""
    content = categorical_file()
    struct.pack_into("<I", content, offset, value)
    with pytest.raises(ValueError) as caught:
        _forest.Forest(bytes(content))
    expected = ("tree 0: node 1", "a set beyond the words", "a set within them")
    assert caught.value.args == expected


def test_mutated_files_are_refused_or_predict() -> None:
    """Thousands of damaged files, each walk: nothing but an answer or a `ValueError`."""
    source = random.Random(11)
    draw = np.random.default_rng(11)
    trees = []
    for i in range(5):
        tree = Tree()
        tree.add_leaf(1.0)
        for node in range(0, 40, 2):
            tree.split(node, node % 3, float(node))
            if node % 3 == 0:
                tree.categories[node] = [node, 1 + 40 * (i % 2)]
        trees.append(tree)
    content = encode_forest(model_bytes(trees, n_features=3, types=["c", "float", "float"]))
    rows = to_matrix(draw.uniform(-2, 50, (20, 3)).astype(np.float32))
    opened = 0
    for _ in range(4000):
        damaged = bytearray(content)
        for _ in range(source.randint(1, 3)):
            damaged[source.randrange(len(damaged))] = source.randrange(256)
        try:
            forests = [_forest.Forest(bytes(damaged), walk) for walk in WALKS]
        except ValueError:
            continue
        opened += 1
        n = forests[0].n_features
        if n == 3:
            found = {bits(f.predict(rows, 20, 1)) for f in forests}
            assert len(found) == 1
    assert 100 < opened < 3900
