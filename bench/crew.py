"""The processes that serve, one for each way, and their turns."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.models import BUILD, ROOT
from bench.plan import COMPETITORS
from bench.spread import quantiles, spread

EXTRA_PYTHON = Path(sys.prefix) / "share" / "bench" / "bin" / "python"
"""Of the environment that `make bench` makes for the competitors."""

LOGS = BUILD / "logs"
"""What each worker wrote on stderr, by model and way; the next one overwrites it."""

_STOP_S = 10.0
_LAST_LINES = 5


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
            raise WorkerError("not installed; `make bench` installs it")
        command = [str(python), "-m", "bench.worker", way, str(directory), str(n_threads)]
        self.log = LOGS / f"{directory.name}-{way}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("wb") as log:
            # A session of its own, with the compilers that it may start: a Ctrl-C reaches us alone.
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**os.environ, "PYTHONWARNINGS": "ignore"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self.detail: str = self._read()["detail"]
        except BaseException:
            self.kill()
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
        """Lets the process end, or ends it."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self.kill()

    def kill(self) -> None:
        """Ends the process, and what it has started, now; a second call does nothing."""
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()

    def _read(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            code = self._process.wait()
            last = self._log_end()
            for text in last:
                print(f"{self.log.name}: {text}", file=sys.stderr)
            why = f": {last[-1][:100]}" if last else ""
            raise WorkerError(f"ended with code {code}{why}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer

    def _log_end(self) -> list[str]:
        """The last lines that it wrote on stderr."""
        return self.log.read_text(errors="replace").strip().splitlines()[-_LAST_LINES:]


class Crew:
    """Workers of one model, ended together; those that cannot serve it are kept as reasons."""

    def __init__(self, ways: Sequence[str], directory: Path, n_threads: int = 0) -> None:
        """Starts them, one after the other."""
        self._name = directory.name
        self.served: dict[str, Served] = {}
        self.reasons: dict[str, str] = {}
        for way in ways:
            try:
                self.served[way] = Served(way, directory, n_threads)
            except WorkerError as error:
                self.reasons[way] = str(error)
            except BaseException:
                self.stop(Served.kill)
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop(Served.stop if kind is None else Served.kill)

    def stop(self, end: Callable[[Served], None] = Served.stop) -> None:
        """Ends all."""
        for served in self.served.values():
            end(served)

    def each(self) -> Iterator[Served]:
        """Those that still serve, as a turn has them."""
        yield from list(self.served.values())

    def demand(self, way: str) -> Served:
        """The worker of a way that has to serve.

        Raises:
            WorkerError: it does not; the text says why, and where its log is.
        """
        if way not in self.served:
            reason = self.reasons.get(way, "not asked for")
            log = LOGS / f"{self._name}-{way}.log"
            raise WorkerError(f"model {self._name}: {way} does not serve: {reason} (see {log})")
        return self.served[way]

    def dismiss(self, served: Served, reason: str) -> None:
        """Goes on without one."""
        self.reasons[served.way] = reason
        del self.served[served.way]
        served.kill()

    def take_turns(
        self,
        rounds: int,
        turn: Callable[[Served], dict[str, Any]],
        *,
        ways: frozenset[str] | None = None,
        warm_up: bool = True,
    ) -> dict[str, dict[str, Any]]:
        """What each way measured, turn by turn.

        Args:
            rounds: turns of each way.
            turn: asks one worker for `wall_us` and `cpu_us`.
            ways: that take part; all where None.
            warm_up: whether a first round comes before, and does not count.

        Returns:
            By way: a `Spread` in microseconds as JSON, with `cpu_us` and `quantiles` beside it.
        """
        wall: dict[str, list[list[float]]] = {}
        cpu: dict[str, list[float]] = {}
        for number in range(rounds + warm_up):
            for served in self.each():
                if ways is not None and served.way not in ways:
                    continue
                try:
                    found = turn(served)
                except WorkerError as error:
                    self.dismiss(served, str(error))
                    continue
                if number >= warm_up:
                    wall.setdefault(served.way, []).append(found["wall_us"])
                    cpu.setdefault(served.way, []).append(found["cpu_us"])
        return {
            way: {
                **spread(turns).to_json(),
                "cpu_us": spread([cpu[way]]).p50,
                "quantiles": quantiles(turns),
            }
            for way, turns in wall.items()
            if way in self.served
        }
