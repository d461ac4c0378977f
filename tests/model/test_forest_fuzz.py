"""The reader of forest files, and every walk, under a coverage-guided fuzzer with sanitizers.

The fuzzer is forest_fuzz.c, built here by clang with libFuzzer, AddressSanitizer and
UndefinedBehaviorSanitizer. In the suite it makes a fixed number of runs from a fixed seed; with
`EDGEXGB_FUZZ_SECONDS=300` in the environment it has that long, and a fresh seed. What it finds
stands in the failure: the report, and the file in base64.
"""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from model.forest import encode_forest
from tests.conftest import Packed
from tests.model.forest_models import Tree, model_bytes

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("clang") is None, reason="builds the fuzzer with clang"),
]

SECONDS = os.environ.get("EDGEXGB_FUZZ_SECONDS")
EXTENT = ["-runs=1000000", "-seed=1"] if SECONDS is None else [f"-max_total_time={SECONDS}"]

HARNESS = Path(__file__).parent / "forest_fuzz.c"
SOURCES = Path(__file__).parents[2] / "model"

FLAGS = [
    "-std=c11",
    "-O1",
    "-g",
    "-ffp-contract=off",
    "-fsanitize=fuzzer,address,undefined",
    "-fno-sanitize-recover=undefined",
]


def build(sources: Path, fuzzer: Path) -> Path:
    """The fuzzer of the kernel in a folder."""
    done = subprocess.run(
        ["clang", *FLAGS, f"-I{sources}", str(HARNESS), "-lm", "-o", str(fuzzer)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return fuzzer


def fuzz(fuzzer: Path, corpus: Path, *options: str) -> tuple[int, str]:
    """The exit code, and the report; what is found on the way is left beside the fuzzer."""
    done = subprocess.run(
        [
            str(fuzzer),
            "-max_len=4096",
            "-timeout=20",
            "-print_final_stats=1",
            *options,
            str(corpus),
        ],
        cwd=fuzzer.parent,
        env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "print_stacktrace=1"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stderr


def small_forests() -> list[bytes]:
    """A stump, and trees with sets inline and in the words: files where each byte matters."""
    files = []
    for categories in ([], [3, 7], [3, 40]):
        trees = []
        for leaf in (0.25, -1.0):
            tree = Tree()
            tree.add_leaf(leaf)
            tree.split(0, 0, 0.5)
            tree.split(1, 1, 1.5, True)
            if categories:
                tree.categories[0] = categories
            trees.append(tree)
        types = ["c" if categories else "float", "float"]
        files.append(encode_forest(model_bytes(trees, n_features=2, types=types)))
    return files


@pytest.fixture(scope="module")
def seeds(
    multiclass: Packed,
    binary: Packed,
    mixed: Packed,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A folder of good files, from which the fuzzer sets out."""
    folder = tmp_path_factory.mktemp("seeds")
    trained = [encode_forest(packed.model) for packed in (multiclass, binary, mixed)]
    for i, content in enumerate([*trained, *small_forests()]):
        assert len(content) <= 4096
        (folder / f"{i}.forest").write_bytes(content)
    return folder


def corpus_of(seeds: Path, folder: Path) -> Path:
    """A copy: the fuzzer adds to its corpus."""
    return Path(shutil.copytree(seeds, folder / "corpus"))


def test_fuzzer_finds_nothing(seeds: Path, tmp_path: Path) -> None:
    """Whatever the bytes: refused, or predicted within bounds, by all walks alike."""
    code, report = fuzz(build(SOURCES, tmp_path / "fuzz"), corpus_of(seeds, tmp_path), *EXTENT)
    assert code == 0, report[-4000:]
    assert "stat::number_of_executed_units" in report


@pytest.mark.parametrize(
    "check", ["left + 1 >= tree->n_nodes", "!forest_set_fits(forest, node.value)"]
)
def test_fuzzer_finds_a_check_that_is_not_there(seeds: Path, tmp_path: Path, check: str) -> None:
    """The silence of the other test says something."""
    sources = tmp_path / "model"
    sources.mkdir()
    for path in SOURCES.glob("*.h"):
        shutil.copy(path, sources)
    core = sources / "forest_core.h"
    text = core.read_text()
    assert text.count(check) == 1
    core.write_text(text.replace(check, "false"))
    code, report = fuzz(
        build(sources, tmp_path / "fuzz"), corpus_of(seeds, tmp_path), "-runs=400000", "-seed=1"
    )
    assert code != 0
    assert "ERROR: AddressSanitizer: " in report
    assert "in forest_" in report
