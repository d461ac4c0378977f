"""Section 5: Lambda through AWS's emulator, cold and warm: ours, an empty function, the sample."""

import contextlib
import functools
import http.client
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from bench.installed import command, install
from bench.models import SPECS, build
from bench.plan import Plan
from bench.progress import Progress
from bench.spread import spread
from release.emulator import INVOCATIONS, Emulator, run_emulator

_FUNCTIONS = ("empty", "ours", "sample")
_SAMPLE = [sys.executable, "-m", "awslambdaric", "bench.sample_function.handler"]


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model and function: `warm` and `cold` in milliseconds, resident bytes when warm."""
    progress.begin(2 * len(plan.models))
    tree = install()
    return {model: _measure_model(plan, progress, tree, model) for model in plan.models}


def _measure_model(plan: Plan, progress: Progress, tree: Path, model: str) -> dict[str, Any]:
    directory = build(SPECS[model])
    open_function = functools.partial(_function, tree=tree, directory=directory)
    texts = (directory / "requests-1.jsonl").read_text().splitlines()
    progress.step(f"model {model}, first invocations")
    cold: dict[str, list[float]] = {name: [] for name in _FUNCTIONS}
    for _ in range(plan.cold):
        for name in _FUNCTIONS:
            with open_function(name) as function:
                cold[name].append(function.invoke(texts[0]))
    progress.step(f"model {model}, warm")
    warm: dict[str, list[list[float]]] = {name: [] for name in _FUNCTIONS}
    with contextlib.ExitStack() as stack:
        functions = {name: stack.enter_context(open_function(name)) for name in _FUNCTIONS}
        for function in functions.values():
            for _ in range(3):
                function.invoke(texts[0])
        for number in range(plan.rounds):
            for name, function in functions.items():
                picked = [texts[(number + i) % len(texts)] for i in range(plan.warm)]
                warm[name].append([function.invoke(text) for text in picked])
        memory = {name: function.resident_bytes() for name, function in functions.items()}
    return {
        name: {
            "warm_ms": spread(warm[name]).to_json(),
            "cold_ms": spread([cold[name]]).to_json(),
            "rss_bytes": memory[name],
        }
        for name in _FUNCTIONS
    }


class _Function:
    """A function in an emulator of its own."""

    def __init__(self, emulator: Emulator, command: Sequence[str]) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=60)
        self._command = list(command)

    def invoke(self, text: str) -> float:
        """Milliseconds from request to reply.

        Raises:
            RuntimeError: the reply is none of a function that works.
        """
        content = text.encode()
        start = time.perf_counter()
        self._connection.request("POST", INVOCATIONS, content)
        response = self._connection.getresponse()
        reply = response.read()
        ms = (time.perf_counter() - start) * 1e3
        if response.status != 200 or b'"body"' not in reply:
            raise RuntimeError(f"{self._command[-1]}: got {reply[:200]!r}, expected a prediction")
        return ms

    def resident_bytes(self) -> int:
        """Of the process that runs the function."""
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.cmdline() == self._command and _is_ours(process):
                    return int(process.memory_info().rss)
        return 0

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


def _is_ours(process: psutil.Process) -> bool:
    return psutil.Process().pid in {parent.pid for parent in process.parents()}


@contextlib.contextmanager
def _function(name: str, *, tree: Path, directory: Path) -> Iterator[_Function]:
    environment = {
        "BENCH_MODEL": str(directory),
        "EDGEXGB_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }
    words = _SAMPLE if name == "sample" else command(tree, name)
    with run_emulator(directory / "bundle", command=words, environment=environment) as emulator:
        function = _Function(emulator, words)
        try:
            yield function
        finally:
            function.close()
