"""How a bridge has been doing: counts, latencies of late, and what went wrong last.

It may outlive a bridge, so that a connection made anew does not forget what was before.
"""

import math
import threading
import time
from array import array
from dataclasses import dataclass

KEPT = 1024
"""Latencies that are kept; the newest replaces the oldest, in place."""

_MAX_TEXT = 500
"""Characters of a fault's text: it has to fit a message on the bus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What became of the requests so far; those that are in none of the last four are pending.

    Attributes:
        received: requests that the subscription delivered.
        answered: those whose reply the bus took.
        refused: those that were told `busy`.
        failed: those whose reply the bus did not take.
        dropped: those that got no reply, because there was no room or the bridge ended.
    """

    received: int = 0
    answered: int = 0
    refused: int = 0
    failed: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that went wrong, and was no requester's fault.

    Attributes:
        code: a stable word.
        text: for people; holds nothing of a request.
        at_s: when, in seconds since 1970.
    """

    code: str
    text: str
    at_s: float


@dataclass(frozen=True, slots=True)
class Latencies:
    """From a request's arrival to its reply's departure, in seconds; of the last `KEPT` answers."""

    p50_s: float
    p99_s: float


class Vitals:
    """Counts and times; safe to use from several threads, and cheap enough for each request."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._received = self._answered = self._refused = self._failed = self._dropped = 0
        self._kinds: dict[str, int] = {}
        self._times = array("f", bytes(4 * KEPT))
        self._n_times = 0
        self._latencies: tuple[int, Latencies | None] = (0, None)
        self._last_fault: Fault | None = None

    @property
    def counters(self) -> Counters:
        """What became of the requests so far."""
        return self.count()[0]

    def count(self) -> tuple[Counters, dict[str, int]]:
        """Counters, and how many replies of each kind the bus took, of one moment.

        Kinds: see `interface.bridge.Answer`.
        """
        with self._guard:
            counters = Counters(
                received=self._received,
                answered=self._answered,
                refused=self._refused,
                failed=self._failed,
                dropped=self._dropped,
            )
            return counters, dict(self._kinds)

    @property
    def last_fault(self) -> Fault | None:
        """The last that was noted."""
        return self._last_fault

    def receive(self) -> None:
        """Counts a request that has arrived."""
        with self._guard:
            self._received += 1

    def answer(self, kind: str, took_s: float | None = None) -> None:
        """Counts an answer that the bus took, and keeps its latency, if any is given."""
        with self._guard:
            self._answered += 1
            if took_s is not None:
                self._times[self._n_times % KEPT] = took_s
                self._n_times += 1
            if kind:
                self._kinds[kind] = self._kinds.get(kind, 0) + 1

    def refuse(self, kind: str) -> None:
        """Counts a `busy` that the bus took."""
        with self._guard:
            self._refused += 1
            if kind:
                self._kinds[kind] = self._kinds.get(kind, 0) + 1

    def fail(self) -> None:
        """Counts a reply that the bus did not take."""
        with self._guard:
            self._failed += 1

    def drop(self, n_requests: int) -> None:
        """Counts requests that get no reply."""
        with self._guard:
            self._dropped += n_requests

    def note(self, code: str, text: str) -> None:
        """Takes note of a fault, now; of a long text the beginning."""
        self._last_fault = Fault(code, text[:_MAX_TEXT], time.time())

    def latencies(self) -> Latencies | None:
        """Of the last answers; None before the first."""
        with self._guard:
            n_times, (n_known, known) = self._n_times, self._latencies
            if n_times == n_known:  # those who ask often should cost little
                return known
            times = self._times[: min(n_times, KEPT)]
        ordered = sorted(times)
        found = Latencies(_quantile(ordered, 0.5), _quantile(ordered, 0.99))
        with self._guard:
            self._latencies = (n_times, found)
        return found


def _quantile(ordered: list[float], share: float) -> float:
    """The least of the values that so large a share of them does not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]
