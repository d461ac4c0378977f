"""A deployment to a group as the cloud's jobs make it: rate, abort, time-out; no clock, no I/O.

Whoever drives it says what time it is, asks whom to tell, and says what became of them. Names and
meaning are those of the CDK app's context (docs/rollout.md, 6); a minute lasts as long as is said.

One thing is simpler: an execution is QUEUED until its device is told, where the cloud makes it when
the rate allows, and the device then fetches it.

Source: AWS IoT developer guide, "How job configurations work"; AWS IoT Greengrass V2 API reference,
IoTJobAbortCriteria.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Of a job on one device. Source: AWS IoT API reference, JobExecution; it has more."""

    QUEUED = "QUEUED"
    IN_PROGRESS = "IN_PROGRESS"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELED = "CANCELED"
    TIMED_OUT = "TIMED_OUT"


OPEN = frozenset({State.QUEUED, State.IN_PROGRESS})
_FAILURES = frozenset({State.FAILED, State.TIMED_OUT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How fast, and when to stop.

    Attributes:
        base_rate: devices told in a minute at first (`baseRatePerMinute`).
        factor: by which the rate grows (`incrementFactor`).
        grow_after: each time so many devices have succeeded (`growAfterSucceeded`).
        most_rate: devices told in a minute at most (`maximumPerMinute`).
        abort_percent: of failed devices, above which no more are told (`abortPercent`).
        abort_after: devices that have to be done before that is looked at (`abortAfter`).
        timeout_minutes: for one device (`timeoutMinutes`).
    """

    base_rate: int
    factor: float
    grow_after: int
    most_rate: int
    abort_percent: float
    abort_after: int
    timeout_minutes: int


CANARY = Rules(
    base_rate=5,
    factor=1.5,
    grow_after=5,
    most_rate=50,
    abort_percent=1,
    abort_after=1,
    timeout_minutes=60,
)
FLEET = Rules(
    base_rate=10,
    factor=2,
    grow_after=10,
    most_rate=200,
    abort_percent=5,
    abort_after=10,
    timeout_minutes=180,
)
"""The CDK app's defaults, both."""


class Job:
    """A deployment to one group.

    Attributes:
        is_aborted: whether the rule has ended it.
    """

    def __init__(self, devices: Sequence[str], rules: Rules, minute_s: float) -> None:
        """Nobody is told yet.

        Args:
            devices: in the order in which they are told.
            rules: see there.
            minute_s: how many seconds a minute of the rules lasts.
        """
        self.is_aborted = False
        self._states = dict.fromkeys(devices, State.QUEUED)
        self._rules = rules
        self._minute_s = minute_s
        self._told_at_s = float("-inf")
        self._started_s: dict[str, float] = {}

    @property
    def states(self) -> Mapping[str, State]:
        """By device."""
        return dict(self._states)

    @property
    def rate(self) -> float:
        """Devices told in a minute, as of now."""
        growths = self._count(State.SUCCEEDED) // self._rules.grow_after
        return float(
            min(self._rules.most_rate, self._rules.base_rate * self._rules.factor**growths)
        )

    @property
    def is_over(self) -> bool:
        """Whether every device is done, or will not be told."""
        return not self._count(*OPEN)

    @property
    def has_succeeded(self) -> bool:
        """Whether every device has."""
        return self._count(State.SUCCEEDED) == len(self._states)

    def tell(self, now_s: float) -> str | None:
        """The device that is to be told now; None where the rate, or the end, forbids it."""
        queued = [name for name, state in self._states.items() if state is State.QUEUED]
        if not queued or now_s < self._told_at_s + self._minute_s / self.rate:
            return None
        self._told_at_s = now_s
        self._states[queued[0]] = State.IN_PROGRESS
        self._started_s[queued[0]] = now_s
        return queued[0]

    def end(self, device: str, state: State) -> bool:
        """A device is done; whether that still counts, for one that was given up does not."""
        if self._states[device] is not State.IN_PROGRESS:
            return False
        self._states[device] = state
        self._consider_abort()
        return True

    def give_up(self, now_s: float) -> list[str]:
        """The devices whose time is over now."""
        limit_s = self._rules.timeout_minutes * self._minute_s
        late = [
            name
            for name, state in self._states.items()
            if state is State.IN_PROGRESS and now_s - self._started_s[name] >= limit_s
        ]
        for name in late:
            self.end(name, State.TIMED_OUT)
        return late

    def cancel(self) -> None:
        """Nobody is told any more; who was told goes on.

        Source: AWS IoT API reference, CancelJob without `force`, which is what the rule does.
        """
        for name, state in self._states.items():
            if state is State.QUEUED:
                self._states[name] = State.CANCELED

    def _consider_abort(self) -> None:
        n_failed = self._count(*_FAILURES)
        n_done = n_failed + self._count(State.SUCCEEDED)
        is_looked_at = n_done >= self._rules.abort_after
        if is_looked_at and 100 * n_failed > self._rules.abort_percent * n_done:
            self.is_aborted = True
            self.cancel()

    def _count(self, *states: State) -> int:
        return sum(state in states for state in self._states.values())
