"""The kernel where Python cannot take it: on another architecture, and between several callers."""

import runpy
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xgboost
from hypothesis import given, settings

from model.forest import encode_forest
from tests.model.forest_models import Example, Matrix, Tree, examples, load, model_bytes, reference

HERE = Path(__file__).parent
ROOT = HERE.parents[1]

CROSS_COMPILER = shutil.which("aarch64-linux-gnu-gcc")
EMULATOR = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
COMPILER = shutil.which("cc")

needs_arm = pytest.mark.skipif(
    CROSS_COMPILER is None or EMULATOR is None,
    reason="no ARM here: apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user",
)
needs_compiler = pytest.mark.kernel  # what built it builds programs of it, too


def compile_c(compiler: str, source: Path, target: Path, *more: str) -> Path:
    """The program, built as setup.py builds the kernel, or with `more` flags."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **_: None)
        flags = runpy.run_path(str(ROOT / "setup.py"))["WALK_FLAGS"]
    include = f"-I{ROOT / 'model'}"
    command = [
        compiler,
        *flags,
        *more,
        "-Werror",
        include,
        "-static",
        str(source),
        "-o",
        str(target),
    ]
    subprocess.run([*command, "-lm", "-lpthread"], check=True)
    return target


# --- ARM ------------------------------------------------------------------------------------------


class Arm:
    """The kernel for 64-bit ARM machines, emulated."""

    def __init__(self, directory: Path) -> None:
        assert CROSS_COMPILER is not None
        self._directory = directory
        program = compile_c(
            CROSS_COMPILER, HERE / "forest_harness.c", directory / "harness", "-static"
        )
        self._command = [str(EMULATOR), str(program)]

    def predict(self, content: bytes, rows: Matrix) -> dict[str, bytes]:
        """For each walk all bits of what it predicts."""
        forest, matrix = self._directory / "model.forest", self._directory / "rows.f32"
        forest.write_bytes(content)
        matrix.write_bytes(np.ascontiguousarray(rows, np.float32).tobytes())
        command = [*self._command, str(forest), str(matrix), "2"]
        found = subprocess.run(command, capture_output=True, check=True).stdout
        size = len(found) // 2  # of one walk's
        parts = (found[:size], found[size:])
        return {struct.unpack("8s", part[:8])[0].rstrip(b"\0").decode(): part[8:] for part in parts}


@pytest.fixture(scope="module")
def arm(tmp_path_factory: pytest.TempPathFactory) -> Arm:
    return Arm(tmp_path_factory.mktemp("arm"))


def agree(arm: Arm, model: bytes, rows: Matrix) -> None:
    wanted = reference(load(model), rows)
    assert arm.predict(encode_forest(model), rows) == {"neon": wanted, "plain": wanted}


@needs_arm
@settings(max_examples=25)
@given(example=examples())
def test_outputs_on_arm_are_the_librarys_here(arm: Arm, example: Example) -> None:
    """Trees of any shape; categories, missing values, thresholds hit; at once and row by row."""
    agree(arm, example.model, example.rows)


def trained(
    *,
    n_features: int,
    n_rounds: int,
    depth: int,
    n_classes: int,
    n_categorical: int,
    missing: float,
) -> tuple[bytes, Matrix]:
    """A model as `bench` has them, of fewer rounds, and rows for it."""
    source = np.random.default_rng(n_features)
    values = source.normal(size=(1500, n_features)).astype(np.float32)
    values[:, :n_categorical] = source.integers(0, 12, (1500, n_categorical))
    values[source.random(values.shape) < missing] = np.nan
    target = np.nan_to_num(values).sum(axis=1)
    objective = {"objective": "reg:squarederror"}
    if n_classes:
        target = np.digitize(target, np.quantile(target, np.arange(1, n_classes) / n_classes))
        objective = {"objective": "multi:softprob", "num_class": str(n_classes)}
    types = ["c"] * n_categorical + ["float"] * (n_features - n_categorical)
    matrix = xgboost.DMatrix(
        pd.DataFrame(values), label=target, feature_types=types, enable_categorical=True
    )
    booster = xgboost.train(
        {**objective, "max_depth": depth, "nthread": 1}, matrix, num_boost_round=n_rounds
    )
    return bytes(booster.save_raw("ubj")), values[:203]


@needs_arm
@pytest.mark.parametrize(
    ("n_features", "n_rounds", "depth", "n_classes", "n_categorical", "missing"),
    [
        pytest.param(13, 20, 4, 3, 0, 0.0, id="a"),
        pytest.param(50, 30, 8, 0, 0, 0.0, id="b"),
        pytest.param(20, 10, 6, 10, 8, 0.08, id="c"),
        pytest.param(5, 9, 1, 0, 0, 0.5, id="stumps"),
    ],
)
def test_trained_models_predict_the_same_on_arm(
    arm: Arm,
    n_features: int,
    n_rounds: int,
    depth: int,
    n_classes: int,
    n_categorical: int,
    missing: float,
) -> None:
    """Deep trees and low ones, sums of many, and `expf` of another C library."""
    model, rows = trained(
        n_features=n_features,
        n_rounds=n_rounds,
        depth=depth,
        n_classes=n_classes,
        n_categorical=n_categorical,
        missing=missing,
    )
    agree(arm, model, rows)


# --- callers at once ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A program that counts who walks, and a forest for it."""
    assert COMPILER is not None
    directory = tmp_path_factory.mktemp("callers")
    trees = []
    for _ in range(60):
        tree = Tree()
        tree.add_leaf(0.1)
        for node in range(3):
            tree.split(node, node, 0.5)
        trees.append(tree)
    forest = directory / "model.forest"
    forest.write_bytes(encode_forest(model_bytes(trees, n_features=3)))
    program = compile_c(COMPILER, HERE / "forest_callers.c", directory / "callers", "-O1")
    return [str(program), str(forest)]


def most_walking(callers: list[str], *arguments: int) -> int:
    command = [*callers, *map(str, arguments)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout)


@needs_compiler
@pytest.mark.parametrize("n_threads", [1, 2, 4])
def test_lone_caller_gets_all_threads_and_no_more(callers: list[str], n_threads: int) -> None:
    """The walk waits until so many are in it; each thread is the caller or a helper."""
    assert most_walking(callers, 1, n_threads, n_threads) == n_threads


@needs_compiler
@pytest.mark.parametrize(("n_callers", "n_threads"), [(2, 2), (4, 1), (4, 2), (4, 4), (16, 2)])
def test_callers_at_once_share_the_helpers(
    callers: list[str], n_callers: int, n_threads: int
) -> None:
    """Each walks for itself; the helpers are those of one caller. All get the same bits."""
    found = most_walking(callers, n_callers, n_threads, n_threads)
    assert n_threads <= found <= n_callers + n_threads - 1
