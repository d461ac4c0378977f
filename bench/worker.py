"""A process that serves one model in one way, and is told to measure itself.

    python -m bench.worker WAY DIRECTORY THREADS

Commands come as lines of JSON on stdin, results leave as lines of JSON on stdout; what libraries
print goes to stderr. The driver gives each way its turn, so that all of them meet the same noise.
"""

import gc
import json
import os
import sys
import threading
import time
import traceback
from array import array
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.meta import read_meta
from bench.ways import WAYS, Ours, Way

_COUNTS = 500
_CHECKED_TEXTS = 100
_SECOND_NS = 1_000_000_000


class Worker:
    """One way with one model."""

    def __init__(self, way: Way, directory: Path) -> None:
        self._way = way
        self._directory = directory
        self._meta = read_meta(directory)
        self._texts: dict[int, list[str]] = {}
        self._turns: dict[int, Iterator[str]] = {}

    def text(self, rows: int, at_least_s: float) -> dict[str, Any]:
        """One turn: requests of so many rows, one after the other.

        Returns:
            `wall_us`, of each request, and `cpu_us`, of all threads, for each request on average.
        """
        turn = self._turns.setdefault(rows, cycle(self._requests(rows)))
        return _measure(self._way.answer, turn, at_least_s)

    def batch(self, rows: int, at_least_s: float) -> dict[str, Any]:
        """One turn: the same batch of so many rows, again and again, once at least."""
        predict = self._way.prepare(self._matrix(rows), rows)
        return _measure(lambda _text: predict(), cycle([""]), at_least_s, at_least=1)

    def callers(self, door: str, rows: int, n: int, at_least_s: float) -> dict[str, float]:
        """One turn: so many threads that call at once, each for so long and once at least.

        Args:
            door: `engine`, with a matrix in memory, `handler`, JSON text to JSON text, or
                `interpreter`, a loop of Python.
            rows: in each call.
            n: threads.
            at_least_s: seconds.

        Returns:
            `rows_per_second` of all threads together, until the last one has ended.
        """
        if door == "interpreter":
            return {"rows_per_second": _call_together(n, at_least_s, _count)}
        if door == "engine":
            predict = self._way.prepare(self._matrix(rows), rows)
            return {"rows_per_second": rows * _call_together(n, at_least_s, lambda _: predict())}
        texts = self._requests(rows)
        answer = self._way.answer
        rate = _call_together(n, at_least_s, lambda at: answer(texts[at % len(texts)]))
        return {"rows_per_second": rows * rate}

    def equal(self) -> dict[str, Any]:
        """How near outputs and replies are to XGBoost's own."""
        n_outputs = self._meta.n_outputs
        reference = array("f")
        reference.frombytes((self._directory / "reference.f32").read_bytes())
        n_rows = len(reference) // n_outputs
        predicted = self._way.prepare(self._matrix(n_rows), n_rows)()
        found = _compare(array("f", self._way.outputs(predicted)), reference)
        found["replies"] = self._compare_replies(reference)
        return found

    def _compare_replies(self, reference: "array[float]") -> dict[str, Any] | None:
        """The same of the values in replies; None where these are labels alone."""
        said: list[float] = []
        for text in self._requests(1)[:_CHECKED_TEXTS]:
            values = self._way.values(self._way.answer(text))
            if values is None:
                return None
            said += values
        return _compare(array("f", said), reference[: len(said)])

    def stages(self, rows: int, at_least_s: float) -> dict[str, float]:
        """Microseconds of each stage of a request, medians of one turn; of our handler alone."""
        if not isinstance(self._way, Ours):
            raise TypeError(f"stages: got {type(self._way).__name__}, expected our handler")
        from bench.stages import split_stages

        return split_stages(self._way, self._requests(rows), at_least_s)

    def _requests(self, rows: int) -> list[str]:
        if rows not in self._texts:
            file = self._directory / f"{self._way.requests}-{rows}.jsonl"
            self._texts[rows] = file.read_text().splitlines() if file.exists() else self._join(rows)
        return self._texts[rows]

    def _join(self, rows: int) -> list[str]:
        """Lists of so many records, a multiple of ten, made of the lists of ten."""
        tens = [text[1:-1] for text in self._requests(10)]
        n = rows // 10
        return [f"[{', '.join(tens[at : at + n])}]" for at in range(0, len(tens) - n + 1, n)]

    def _matrix(self, rows: int) -> "array[float]":
        matrix = array("f")
        with (self._directory / "rows.f32").open("rb") as file:
            matrix.frombytes(file.read(rows * len(self._meta.features) * 4))
        return matrix


def _measure(
    call: Callable[[str], object], turn: Iterator[str], at_least_s: float, at_least: int = 5
) -> dict[str, Any]:
    """Times calls for so long, and so many at least; where calls are many, one warms up first."""
    if at_least > 1:
        call(next(turn))
    gc.collect()
    wall: list[float] = []
    cpu = time.process_time_ns()
    end = time.perf_counter_ns() + int(at_least_s * _SECOND_NS)
    while len(wall) < at_least or time.perf_counter_ns() < end:
        text = next(turn)
        start = time.perf_counter_ns()
        call(text)
        wall.append((time.perf_counter_ns() - start) / 1e3)
    return {"wall_us": wall, "cpu_us": (time.process_time_ns() - cpu) / 1e3 / len(wall)}


def _count(_number: int) -> None:
    """Some 10 µs of Python, as long as a small request, and without memory of its own."""
    for _ in range(_COUNTS):
        pass


def _call_together(n: int, at_least_s: float, call: Callable[[int], object]) -> float:
    """Calls a second of all threads; each call gets a number, to choose an input by."""
    gc.collect()
    found: list[tuple[float, float, int]] = []
    failures: list[Exception] = []
    gate = threading.Barrier(n)

    def run(me: int) -> None:
        first = done = me * 1_000
        gate.wait()
        begin = time.perf_counter()
        try:
            while done == first or time.perf_counter() < begin + at_least_s:
                call(done)
                done += 1
        except Exception as error:
            failures.append(error)
        found.append((begin, time.perf_counter(), done - first))

    threads = [threading.Thread(target=run, args=(me,)) for me in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    seconds = max(end for _, end, _ in found) - min(begin for begin, _, _ in found)
    return sum(calls for _, _, calls in found) / seconds


def _compare(found: "array[float]", reference: "array[float]") -> dict[str, Any]:
    """Whether values are the same to the bit, the share that is not, and how far they are off."""
    if len(found) != len(reference):
        raise ValueError(f"outputs: got {len(found)} values, expected {len(reference)}")
    pairs = [
        (x, y)
        for x, y in zip(found, reference, strict=True)
        if array("f", [x]).tobytes() != array("f", [y]).tobytes()
    ]
    relative = [abs(x - y) / max(abs(y), sys.float_info.min) for x, y in pairs]
    return {
        "equal": not pairs,
        "differing": len(pairs) / len(reference),
        "max_relative": max(relative, default=0.0),
    }


def _open(name: str, directory: Path, n_threads: int) -> Way:
    if name in WAYS:
        return WAYS[name](directory, n_threads)
    from bench.competitors import COMPETITORS

    return COMPETITORS[name](directory, n_threads)


def main() -> None:
    """Opens the way, says so, and obeys until stdin ends."""
    name, directory, n_threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def say(value: dict[str, Any]) -> None:
        out.write(json.dumps(value) + "\n")

    try:
        way = _open(name, directory, n_threads)
    except Exception as error:
        traceback.print_exc()
        say({"error": _in_short(error)})
        return
    worker = Worker(way, directory)
    say({"detail": way.detail})
    for line in sys.stdin:
        command = json.loads(line)
        try:
            say(getattr(worker, command.pop("do"))(**command))
        except Exception as error:
            traceback.print_exc()
            say({"error": _in_short(error)})


def _in_short(error: Exception) -> str:
    if type(error).__name__ == "UnableError":
        return str(error)
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:120]


if __name__ == "__main__":
    main()
