"""What processes hold: memory, threads and file descriptors, sampled, and judged at the end."""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

import psutil

from bench.faults.ledger import Violation
from bench.faults.rig import Rig

_EVERY_S = 1.0
_SETTLED_S = 30.0
"""The age after which a process's memory is compared."""
_GROWTH = 1.05
_MOST_BYTES = 512 * 2**20
_SLACK = {"threads": 6, "descriptors": 12}


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process held.

    Attributes:
        at_s: when.
        role: `device`, `component` or an asker.
        pid: of the process.
        age_s: of the process.
        rss_bytes: in memory.
        threads: of it.
        descriptors: that it has open.
        is_calm: whether no fault was about.
    """

    at_s: float
    role: str
    pid: int
    age_s: float
    rss_bytes: int
    threads: int
    descriptors: int
    is_calm: bool


class Sampler:
    """Takes samples in the background."""

    def __init__(self, rig: Rig) -> None:
        self.samples: list[Sample] = []
        self._rig = rig
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._has_ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._has_ended.wait(_EVERY_S):
            windows = self._rig.ledger.windows
            is_calm = not windows or windows[-1].recovered_s is not None
            for role, pid in self._processes():
                with contextlib.suppress(psutil.Error, OSError):
                    self.samples.append(_look(role, pid, is_calm=is_calm))

    def _processes(self) -> Iterator[tuple[str, int]]:
        yield "device", self._rig.device.pid
        server = self._rig.server()
        if server is not None:
            yield "component", server.pid
        for number, asker in enumerate(self._rig.askers):
            yield f"asker {number}", asker.child.process.pid


def _look(role: str, pid: int, *, is_calm: bool) -> Sample:
    process = psutil.Process(pid)
    with process.oneshot():
        return Sample(
            at_s=time.monotonic(),
            role=role,
            pid=pid,
            age_s=time.time() - process.create_time(),
            rss_bytes=process.memory_info().rss,
            threads=process.num_threads(),
            descriptors=process.num_fds(),
            is_calm=is_calm,
        )


@dataclass(frozen=True, slots=True)
class Holding:
    """What one role held over a run.

    Attributes:
        role: see `Sample`.
        peak_bytes: the most memory.
        growth: of a process's memory over the last part of the run; None where none lived so long.
        threads: in the calm at the beginning, and at the end.
        descriptors: the same.
    """

    role: str
    peak_bytes: int
    growth: float | None
    threads: tuple[int, int]
    descriptors: tuple[int, int]


def hold(samples: Iterable[Sample], last_s: float) -> list[Holding]:
    """What each role held.

    Args:
        samples: of a run.
        last_s: the length of the last part of the run, over which memory is compared.
    """
    by_role: dict[str, list[Sample]] = {}
    for sample in samples:
        by_role.setdefault(sample.role, []).append(sample)
    found = []
    for role, those in by_role.items():
        calm = [it for it in those if it.is_calm] or those
        found.append(
            Holding(
                role=role,
                peak_bytes=max(it.rss_bytes for it in those),
                growth=_growth(calm, calm[-1].at_s - last_s),
                threads=_both_ends([it.threads for it in calm]),
                descriptors=_both_ends([it.descriptors for it in calm]),
            )
        )
    return found


def judge_holdings(
    holdings: Iterable[Holding], at_s: float, *, is_steady: bool
) -> Iterator[Violation]:
    """What is more than it should be; growth only where a run has a steady end."""
    for one in holdings:
        if one.peak_bytes > _MOST_BYTES:
            yield Violation("memory", at_s, f"{one.role}: got {one.peak_bytes >> 20} MiB")
        if is_steady and one.growth is None:
            yield Violation("memory", at_s, f"{one.role}: got no process to compare")
        if is_steady and one.growth is not None and one.growth > _GROWTH:
            yield Violation("memory", at_s, f"{one.role}: got a growth by {one.growth - 1:.1%}")
        for what, slack in _SLACK.items():
            first, last = getattr(one, what)
            if last > first + slack:
                text = f"{one.role}: got {last} at the end, expected about {first}"
                yield Violation(what, at_s, text)


def trace(samples: Iterable[Sample], began_s: float) -> dict[str, list[tuple[float, int, float]]]:
    """By role: seconds since the beginning, process, and its MiB in memory."""
    found: dict[str, list[tuple[float, int, float]]] = {}
    for it in samples:
        point = (round(it.at_s - began_s, 1), it.pid, round(it.rss_bytes / 2**20, 1))
        found.setdefault(it.role, []).append(point)
    return found


def _both_ends(values: list[int]) -> tuple[int, int]:
    return round(statistics.median(values[:5])), min(values[-5:])


def _growth(calm: list[Sample], since_s: float) -> float | None:
    """Of the process that runs at the end."""
    own = [it for it in calm if it.pid == calm[-1].pid and it.at_s >= since_s]
    if len(own) < 10 or own[0].age_s < _SETTLED_S:
        return None
    first = statistics.median(it.rss_bytes for it in own[:5])
    return statistics.median(it.rss_bytes for it in own[-5:]) / first
