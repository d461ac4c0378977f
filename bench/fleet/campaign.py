"""The canaries' job, then the fleet's; and what drives both with real time and a few threads."""

import contextlib
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue

from bench.fleet.job import Job, State

_POLL_S = 0.02

Update = Callable[[str], tuple[State, str]]
"""Updates the device of a name, for as long as that takes; its state, and why, if it failed."""
Change = tuple[str, State, str]
"""A device, its state now, and why."""


class Campaign:
    """Two jobs, the second of which waits for the first.

    In the CDK app the promotion is a person's: `-c deployToFleet=true`. Here it is automatic.

    Attributes:
        is_promoted: whether the fleet's turn has come; None before that is known.
    """

    def __init__(self, canaries: Job, fleet: Job) -> None:
        self.is_promoted: bool | None = None
        self._canaries, self._fleet = canaries, fleet

    @property
    def states(self) -> Mapping[str, State]:
        """By device, the canaries first."""
        return {**self._canaries.states, **self._fleet.states}

    @property
    def is_over(self) -> bool:
        """Whether nothing can happen any more."""
        return self._canaries.is_over and self._fleet.is_over

    def tell(self, now_s: float) -> str | None:
        """The device that is to be told now; None for nobody."""
        return self._current().tell(now_s)

    def end(self, device: str, state: State) -> bool:
        """A device is done; whether that still counts."""
        counts = self._job_of(device).end(device, state)
        self._consider_promotion()
        return counts

    def give_up(self, now_s: float) -> list[str]:
        """The devices whose time is over now."""
        late = [*self._canaries.give_up(now_s), *self._fleet.give_up(now_s)]
        self._consider_promotion()
        return late

    def _consider_promotion(self) -> None:
        if self.is_promoted is None and self._canaries.is_over:
            self.is_promoted = self._canaries.has_succeeded
            if not self.is_promoted:
                # In the cloud there is no deployment to them then.
                self._fleet.cancel()

    def _current(self) -> Job:
        return self._fleet if self.is_promoted else self._canaries

    def _job_of(self, device: str) -> Job:
        return self._canaries if device in self._canaries.states else self._fleet


def drive(
    campaign: Campaign,
    update: Update,
    tell: Callable[[Sequence[Change]], object],
    *,
    at_once: int,
) -> None:
    """Runs a campaign to its end.

    Args:
        campaign: nobody has been told.
        update: called in threads; what it raises fails the device.
        tell: called in this thread many times a second, with what has changed since.
        at_once: devices that are updated at a time, at most: they share one machine, where those
            of a real fleet have one each.
    """
    ended: SimpleQueue[Change] = SimpleQueue()
    n_running = 0
    known = dict(campaign.states)

    def look(why: Mapping[str, str]) -> None:
        changes = _changes(known, campaign.states, why)
        known.update(campaign.states)
        tell(changes)

    while not campaign.is_over:
        if n_running < at_once and (name := campaign.tell(time.monotonic())) is not None:
            n_running += 1
            words = (update, name, ended)
            threading.Thread(target=_update, args=words, name=name, daemon=True).start()
        look({})
        why = dict.fromkeys(campaign.give_up(time.monotonic()), "its time is over")
        with contextlib.suppress(Empty):
            name, state, text = ended.get(timeout=_POLL_S)
            n_running -= 1
            if campaign.end(name, state):
                why[name] = text
        look(why)


def _changes(
    known: Mapping[str, State], states: Mapping[str, State], why: Mapping[str, str]
) -> list[Change]:
    found = [
        (name, state, why.get(name, ""))
        for name, state in states.items()
        if state is not known[name]
    ]
    # Who was canceled has been because of another, which comes first.
    return sorted(found, key=lambda change: change[1] is State.CANCELED)


def _update(update: Update, name: str, ended: "SimpleQueue[Change]") -> None:
    try:
        state, why = update(name)
    except Exception as error:  # whatever it is, the device has not got the update
        state, why = State.FAILED, str(error)
    ended.put((name, state, why))
