"""The processes that serve, one for each way, and their turns."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.models import ROOT
from bench.plan import COMPETITORS
from bench.spread import spread

EXTRA_PYTHON = Path(sys.prefix) / "share" / "bench" / "bin" / "python"
"""Of the environment that `make bench` makes for the competitors."""

_STOP_S = 10.0


class WorkerError(Exception):
    """A way cannot serve this model, or failed; the text says why in short."""


class Served:
    """A worker process, which measures one way with one model."""

    def __init__(self, way: str, directory: Path, n_threads: int = 0) -> None:
        """Starts it.

        Args:
            way: its name in `bench.plan.WAYS`.
            directory: of the model.
            n_threads: that predict; 0 for what the way itself has.

        Raises:
            WorkerError: it cannot serve this model, or is not installed.
        """
        self.way = way
        python = EXTRA_PYTHON if way in COMPETITORS else Path(sys.executable)
        if not python.exists():
            raise WorkerError("not installed")
        command = [str(python), "-m", "bench.worker", way, str(directory), str(n_threads)]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**os.environ, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            self.detail: str = self._read()["detail"]
        except BaseException:
            self.stop()
            raise

    def ask(self, do: str, **arguments: Any) -> Any:
        """The worker's answer to a command of `bench.worker.Worker`.

        Raises:
            WorkerError: it failed.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading says what became of it
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        return self._read()

    def stop(self) -> None:
        """Ends the process."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise WorkerError(f"ended with code {self._process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer


class Crew:
    """Workers of one model, ended together; those that cannot serve it are kept as reasons."""

    def __init__(self, ways: Sequence[str], directory: Path, n_threads: int = 0) -> None:
        """Starts them, one after the other."""
        self.served: dict[str, Served] = {}
        self.reasons: dict[str, str] = {}
        for way in ways:
            try:
                self.served[way] = Served(way, directory, n_threads)
            except WorkerError as error:
                self.reasons[way] = str(error)
            except BaseException:
                self.stop()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Ends all."""
        for served in self.served.values():
            served.stop()

    def each(self) -> Iterator[Served]:
        """Those that still serve, as a turn has them."""
        yield from list(self.served.values())

    def dismiss(self, served: Served, reason: str) -> None:
        """Goes on without one."""
        self.reasons[served.way] = reason
        del self.served[served.way]
        served.stop()

    def take_turns(
        self, rounds: int, turn: Callable[[Served], dict[str, Any]]
    ) -> dict[str, dict[str, Any]]:
        """What each way measured, turn by turn; a first round warms up and does not count.

        Returns:
            By way: a `Spread` in microseconds as JSON, with `cpu_us` beside it.
        """
        wall: dict[str, list[list[float]]] = {}
        cpu: dict[str, list[float]] = {}
        for number in range(rounds + 1):
            for served in self.each():
                try:
                    found = turn(served)
                except WorkerError as error:
                    self.dismiss(served, str(error))
                    continue
                if number:
                    wall.setdefault(served.way, []).append(found["wall_us"])
                    cpu.setdefault(served.way, []).append(found["cpu_us"])
        return {
            way: {**spread(turns).to_json(), "cpu_us": spread([cpu[way]]).p50}
            for way, turns in wall.items()
            if way in self.served
        }
