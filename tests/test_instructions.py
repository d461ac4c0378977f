"""Instructions of the hot path, counted by valgrind: what a timed test cannot guard.

Each figure is within its bound of the one recorded in tests/data/instructions.json. Where a change
is worth more instructions, or saves some, record anew and commit the file:

    EDGEXGB_RECORD_INSTRUCTIONS=1 python -m pytest tests/test_instructions.py

The interpreter's own share differs between its versions, so each has figures of its own.
"""

import json
import os
import platform
import random
import re
import shutil
import subprocess
import sys
from array import array
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from model.forest import encode_forest
from tests.conftest import Packed
from tests.model.forest_models import Tree, model_bytes

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("valgrind") is None, reason="counts with valgrind"),
    pytest.mark.skipif(platform.machine() != "x86_64", reason="figures are those of x86-64"),
]

ROOT = Path(__file__).parents[1]
RECORD = Path(__file__).parent / "data" / "instructions.json"
IS_RECORDING = os.environ.get("EDGEXGB_RECORD_INSTRUCTIONS") == "1"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"

COUNTER = ("valgrind", "--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
"""The cheapest of the tools that count. Valgrind has no AVX-512, and says so to the kernel."""

N_FEATURES = 20


@dataclass(frozen=True, slots=True)
class Work:
    """What is counted.

    Attributes:
        arguments: of `tests.counted`, but for the last.
        times: calls that are counted.
        server: what has to serve: an engine, or a walk.
    """

    arguments: tuple[str, ...]
    times: int
    server: str


def run(work: Work, times: int, bytecode: Path, *command: str, **environment: str) -> str:
    """What a process that does the work so often says on stderr; in no environment but its own."""
    done = subprocess.run(
        [*command, sys.executable, "-m", "tests.counted", *work.arguments, str(times)],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "PYTHONHASHSEED": "0",
            "PYTHONPYCACHEPREFIX": str(bytecode),
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def count(work: Work, times: int, bytecode: Path) -> int:
    """Instructions of a whole process that does the work so often."""
    said = run(work, times, bytecode, *COUNTER, PYTHONDONTWRITEBYTECODE="1")
    assert said.splitlines()[0] == work.server
    found = re.search(r"I\s+refs:\s+([\d,]+)", said)
    assert found is not None, said
    return int(found[1].replace(",", ""))


def instructions(work: Work, bytecode: Path) -> int:
    """Instructions of one call: the difference of N and 2 N calls, divided by N."""
    once, twice = (count(work, n * work.times, bytecode) for n in (1, 2))
    return round((twice - once) / work.times)


# --- the work -------------------------------------------------------------------------------------


def forest_file() -> bytes:
    """The compact form of 200 trees of depth 6, drawn by a generator that never changes."""
    source = random.Random(5)
    trees = []
    for _ in range(200):
        tree = Tree()
        tree.add_leaf(source.gauss(0, 0.1))
        for node in range(63):
            feature = source.randrange(N_FEATURES)
            tree.split(node, feature, source.gauss(0, 1), source.random() < 0.5)
        trees.append(tree)
    return encode_forest(model_bytes(trees, n_features=N_FEATURES))


def matrix(n_rows: int) -> bytes:
    """Rows near the thresholds, some of their values missing."""
    source = random.Random(6)
    n = n_rows * N_FEATURES
    values = [float("nan") if source.random() < 0.1 else source.gauss(0, 1) for _ in range(n)]
    return array("f", values).tobytes()


@pytest.fixture(scope="module")
def counted(multiclass: Packed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """The instructions of one call of each kind of work."""
    folder = tmp_path_factory.mktemp("counted")

    def write(name: str, content: bytes) -> str:
        path = folder / name
        path.write_bytes(content)
        return str(path)

    def request(n_rows: int, times: int) -> Work:
        event = json.dumps({"records": multiclass.rows[:n_rows]}).encode()
        asked = write(f"{n_rows}.json", event)
        return Work(("request", str(multiclass.directory), asked), times, "ForestEngine")

    def kernel(n_rows: int, times: int) -> Work:
        asked = write(f"{n_rows}.matrix", matrix(n_rows))
        return Work(("kernel", forest, asked), times, "avx2")

    forest = write("model.forest", forest_file())
    works = {
        "request of 1 row": request(1, 500),
        "request of 10 rows": request(10, 200),
        "kernel, 1 row": kernel(1, 1000),
        "kernel, 1000 rows": kernel(1000, 5),
    }
    bytecode = folder / "bytecode"
    for work in works.values():
        run(work, 1, bytecode)  # so that no run that counts has a module to compile
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = pool.map(lambda work: instructions(work, bytecode), works.values())
        found = dict(zip(works, counts, strict=True))
    if IS_RECORDING:
        record(found)
    return found


# --- the record -----------------------------------------------------------------------------------


def read_record() -> dict[str, Any]:
    return dict(json.loads(RECORD.read_bytes()))


def record(found: dict[str, int]) -> None:
    """Writes the figures of this version of Python, and leaves all others."""
    content = read_record()
    content["python"][PYTHON] = found
    RECORD.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n")


@pytest.mark.parametrize(
    "work", ["request of 1 row", "request of 10 rows", "kernel, 1 row", "kernel, 1000 rows"]
)
def test_hot_path_takes_no_more_instructions_than_recorded(
    counted: dict[str, int], work: str
) -> None:
    """Nor less than half: then it was not the work that was counted, or the record is stale."""
    content = read_record()
    recorded = content["python"][PYTHON][work]
    least, most = recorded // 2, int(recorded * content["headroom"])
    assert least <= counted[work] <= most, (
        f"{work}: got {counted[work]} instructions, expected {least} to {most} "
        f"({recorded} recorded for Python {PYTHON}); the docstring of {Path(__file__).name} says "
        "how to record anew"
    )
