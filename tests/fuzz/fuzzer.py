"""Runs the fuzzer, atheris over libFuzzer, on one target, and says what came of it."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.targets import PLANTED, SEEDS, TARGETS

ATHERIS = Path(sys.prefix) / "share" / "fuzz"
"""Where `make setup` puts the fuzzer: beside the environment, which has no use for it else."""

_ROOT = Path(__file__).parents[2]
_RUNS = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
_COVERAGE = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_SECONDS_FOR_ONE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run.

    Attributes:
        runs: how many inputs were tried.
        edges: how many edges of the code were reached.
        found: the input that raised, ran for too long, or took too much memory; None without one.
        report: what the fuzzer has printed.
    """

    runs: int
    edges: int
    found: bytes | None
    report: str

    @property
    def summary(self) -> str:
        """What the report says of the finding."""
        _, traceback, rest = self.report.partition("=== Uncaught")
        if traceback:
            found = traceback + rest.partition("\nINFO: ")[0]
            # That of a recursion has thousands of lines, which are all the same.
            return found if len(found) <= 6000 else f"{found[:3000]}\n…\n{found[-3000:]}"
        return self.report[-3000:]


def is_available() -> bool:
    """Whether the fuzzer is installed."""
    return (ATHERIS / "atheris").is_dir()


def fuzz(name: str, folder: Path, extent: Sequence[str], seed: int) -> Outcome:
    """Fuzzes a target, beginning with its seeds.

    Args:
        name: of the target.
        folder: of the run: what is found stays there, and so do the inputs that reached new code.
        extent: libFuzzer's own options that say how long.
        seed: of its random numbers; with a number of runs as the extent, a run repeats itself.
    """
    corpus = folder / "corpus"
    if name in TARGETS and not corpus.exists():
        shutil.copytree(SEEDS / name, corpus)
    corpus.mkdir(parents=True, exist_ok=True)
    words = folder / "words"
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in _target_words(name)))
    options = (
        f"-seed={seed}",
        f"-dict={words}",
        f"-timeout={_SECONDS_FOR_ONE}",
        f"-artifact_prefix={folder}/found-",
        "-rss_limit_mb=2048",
        "-print_final_stats=1",
        *extent,
    )
    paths = [str(_ROOT), str(ATHERIS), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz.child", name, *options, str(corpus)],
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "PYTHONHASHSEED": "0",
            "TMPDIR": str(folder),
        },
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    report = done.stdout + done.stderr
    found = sorted(folder.glob("found-*"))
    if done.returncode and not found:
        raise RuntimeError(f"the fuzzer: got exit code {done.returncode}, expected 0\n{report}")
    return Outcome(
        runs=int(match[1]) if (match := _RUNS.search(report)) else 0,
        edges=int(_COVERAGE.findall(report)[-1][0]) if _COVERAGE.search(report) else 0,
        found=found[0].read_bytes() if found else None,
        report=report,
    )


def _target_words(name: str) -> tuple[bytes, ...]:
    return (TARGETS.get(name) or PLANTED).words


def _escaped(word: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in word)
