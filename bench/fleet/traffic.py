"""Every device is asked all the time; who answered when is kept."""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from bench.fleet.devices import DevicePlan
from release.errors import CommandError
from release.request import asking
from release.rollout.traffic import Asker

_ANSWER_S = 30.0

Answer = tuple[float, str]
"""When, by the monotonic clock, and who: the model's name and version, or an error."""


@dataclass(frozen=True, slots=True)
class Span:
    """A time in which one model answered, without a longer gap."""

    who: str
    start_s: float
    end_s: float


class Watched:
    """The asker of one device, and all answers that it got."""

    def __init__(self) -> None:
        self.asker: Asker | None = None
        self._lock = threading.Lock()
        self._answers: list[Answer] = []

    def add(self, who: str) -> None:
        """An answer has come just now."""
        with self._lock:
            self._answers.append((time.monotonic(), who))

    def between(self, start_s: float, end_s: float) -> list[Answer]:
        """The answers of a time, and the last one before: a gap may begin with it."""
        with self._lock:
            n_before = sum(at_s < start_s for at_s, _ in self._answers)
            return [it for it in self._answers[max(0, n_before - 1) :] if it[0] <= end_s]

    def fresh(self) -> str:
        """Who answers a request that is made now.

        Raises:
            CommandError: nobody does.
        """
        if self.asker is None or not self.asker.wait_for_answer(_ANSWER_S):
            raise CommandError(f"the device: got no answer in {_ANSWER_S:.0f} s, expected one")
        return self.asker.traffic().last

    @property
    def n_answers(self) -> int:
        """All that came."""
        with self._lock:
            return len(self._answers)

    @property
    def n_lost(self) -> int:
        """Requests without an answer; known after the end."""
        return 0 if self.asker is None else self.asker.traffic().n_lost


class Traffic:
    """The askers of a fleet, for the length of the block.

    Attributes:
        watched: by device.
    """

    def __init__(
        self, plans: Sequence[DevicePlan], rows: Sequence[Mapping[str, Any]], pause_s: float
    ) -> None:
        """Asks nobody before the block begins.

        Args:
            plans: of devices that run.
            rows: to ask for.
            pause_s: between an answer and the next request to a device.
        """
        self.watched = {plan.name: Watched() for plan in plans}
        self._plans, self._rows, self._pause_s = plans, rows, pause_s

    @contextlib.contextmanager
    def run(self) -> Iterator[None]:
        """Asks for the length of the block.

        Raises:
            CommandError: a device does not answer.
        """
        stacks = [contextlib.ExitStack() for _ in self._plans]
        try:
            for plan, stack in zip(self._plans, stacks, strict=True):
                watched = self.watched[plan.name]
                client = stack.enter_context(asking(plan.root, name="fleet"))
                asker = Asker(client, self._rows, pause_s=self._pause_s, on_answer=watched.add)
                watched.asker = stack.enter_context(asker)
            for watched in self.watched.values():
                watched.fresh()
            yield
        finally:
            # Each waits for what is under way.
            with ThreadPoolExecutor(len(stacks)) as pool:
                list(pool.map(contextlib.ExitStack.close, stacks))


def longest_gap_s(answers: Sequence[Answer]) -> float:
    """Between two answers; 0 with less than two."""
    return max((after[0] - before[0] for before, after in pairwise(answers)), default=0.0)


def count(answers: Sequence[Answer]) -> dict[str, int]:
    """How many, by who answered."""
    return dict(Counter(who for _, who in answers))


def to_spans(answers: Sequence[Answer], gap_s: float) -> list[Span]:
    """The answers as spans, which a longer gap, or another model, ends."""
    spans: list[Span] = []
    for at_s, who in answers:
        last = spans[-1] if spans else None
        if last is not None and last.who == who and at_s - last.end_s <= gap_s:
            spans[-1] = Span(who, last.start_s, at_s)
        else:
            spans.append(Span(who, at_s, at_s))
    return spans
