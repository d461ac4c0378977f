"""A run: a rig under load, and a schedule of faults that is worked off on it."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.faults.catalogue import FAULTS
from bench.faults.fault import Fault
from bench.faults.ledger import Ledger, Violation, Window
from bench.faults.resources import Holding, Sampler, hold, judge_holdings, trace
from bench.faults.rig import MAX_WAITING, Rig
from bench.faults.schedule import Entry, Schedule

RECOVERY_S = 60.0
"""Within which everybody must have answers again."""

_WARM_S = 3.0
_CALM_S = 6.0
_POLL_S = 0.005
_DETAIL_CHARACTERS = 200
_LAST_S = 60.0
"""The end of a run, over which memory is compared."""
_HAND_S = 2.0
"""How long somebody needs to see that a component is BROKEN, and to restart it."""

Say = Callable[[str], object]


@dataclass(slots=True)
class Run:
    """What a run came to; times are in seconds of this machine's monotonic clock."""

    personality: str
    seed: int
    disk: str
    began_s: float = 0.0
    ended_s: float = 0.0
    windows: list[Window] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)
    notes: dict[str, int] = field(default_factory=dict)
    per_second: dict[int, int] = field(default_factory=dict)
    longest_queue: int = 0
    holdings: list[Holding] = field(default_factory=list)
    memory: dict[str, list[tuple[float, int, float]]] = field(default_factory=dict)
    violations: list[Violation] = field(default_factory=list)


def carry_out(
    schedule: Schedule,
    say: Say,
    logs: Path | None = None,
    *,
    make_rig: type[Rig] = Rig,
) -> Run:
    """Works a schedule off, for so long as it may; the last fault is recovered from.

    Args:
        schedule: of its faults.
        say: told a line after each fault.
        logs: the directory for the logs of device and components; None for none.
        make_rig: what it is worked off on.

    Raises:
        RigError: the bench itself does not work.
    """
    ledger = Ledger()
    with make_rig(schedule.personality, schedule.seed, ledger, logs=logs) as rig:
        run = Run(schedule.personality, schedule.seed, rig.disk)
        _warm_up(rig)
        run.began_s = time.monotonic()
        with Sampler(rig) as sampler:
            for entry in _in_time(schedule, run.began_s):
                _keep_watch(rig, entry.calm_s)
                window = _suffer(rig, entry)
                number = len(ledger.windows)
                say(f"{time.monotonic() - run.began_s:6.1f} s {number:3} {_told(window)}")
                for violation in ledger.verdict(time.monotonic(), is_over=False):
                    if violation.at_s >= window.began_s - entry.calm_s:
                        say(f"  VIOLATION {violation.kind}: {violation.text}")
            _keep_watch(rig, _CALM_S)
        run.ended_s = time.monotonic()
        run.holdings = hold(sampler.samples, _LAST_S)
        run.memory = trace(sampler.samples, run.began_s)
    _close(run, ledger, is_steady=schedule.steady_s > 0)
    return run


def _in_time(schedule: Schedule, began_s: float) -> Iterator[Entry]:
    """Faults for which there is time, first the common ones, and then those of the steady end."""
    parts = (
        (schedule.entries, schedule.seconds - schedule.steady_s),
        (schedule.steady, schedule.seconds),
    )
    for entries, until_s in parts:
        for entry in entries:
            if time.monotonic() - began_s > until_s:
                break
            yield entry


def _close(run: Run, ledger: Ledger, *, is_steady: bool) -> None:
    run.windows = ledger.windows
    run.lost = [ledger.lost_in(window) for window in ledger.windows]
    run.totals, run.notes = dict(ledger.totals), dict(ledger.notes)
    run.per_second = dict(ledger.per_second)
    run.longest_queue = ledger.longest_queue
    if run.longest_queue > MAX_WAITING:
        ledger.violate("queue", run.ended_s, f"got {run.longest_queue} requests that waited")
    run.violations = ledger.verdict(run.ended_s, is_over=True)
    run.violations += judge_holdings(run.holdings, run.ended_s, is_steady=is_steady)


def _warm_up(rig: Rig) -> None:
    """Waits until everybody has answers."""
    rig.wait_for_answers()
    _keep_watch(rig, _WARM_S)


def _keep_watch(rig: Rig, seconds: float) -> None:
    """Calm; a component that the nucleus has given up would be nobody's fault then."""
    time.sleep(seconds)
    if rig.component().get("state") == "BROKEN":
        rig.ledger.violate("broken in calm", time.monotonic(), str(rig.component()))


def _suffer(rig: Rig, entry: Entry) -> Window:
    """One fault, from its injection to the recovery from it."""
    kind = FAULTS[entry.fault]
    fault: Fault = kind(random.Random(entry.seed))  # noqa: S311  (no secret)
    window = Window(
        fault=entry.fault,
        detail="",
        began_s=time.monotonic(),
        allowed=kind.allowed_on.get(rig.personality, kind.allowed),
        mixes=kind.mixes,
        holds_callers=kind.holds_callers,
    )
    rig.ledger.open_window(window)
    by_hand = rig.by_hand
    window.detail = fault.inject(rig)[:_DETAIL_CHARACTERS]
    time.sleep(entry.lasts_s)
    fault.heal(rig)
    is_over_at_once = not entry.lasts_s and not kind.takes_time
    window.healed_s = window.began_s if is_over_at_once else time.monotonic()
    window.recovered_s = _await_recovery(rig, window)
    window.by_hand = rig.by_hand - by_hand
    return window


def _await_recovery(rig: Rig, window: Window) -> float | None:
    """When all askers had an answer again to something that they asked since the fault began."""
    assert window.healed_s is not None
    end_s = time.monotonic() + RECOVERY_S
    broken_s: float | None = None
    while time.monotonic() < end_s:
        answered = [
            rig.ledger.answered_since(name, window.began_s, window.healed_s)
            for name in rig.connections()
        ]
        found = [it for it in answered if it is not None]
        if len(found) == len(answered):
            return max(found)
        if rig.component().get("state") != "BROKEN":
            broken_s = None
        elif broken_s is None:
            broken_s = time.monotonic()
        elif time.monotonic() - broken_s > _HAND_S:
            rig.mend()
            broken_s = None
        time.sleep(_POLL_S)
    return None


def _told(window: Window) -> str:
    healed_s, recovered_s = window.healed_s or 0.0, window.recovered_s
    took = "NO RECOVERY" if recovered_s is None else f"{recovered_s - healed_s:.3f} s"
    outcomes = ", ".join(f"{n} {what}" for what, n in sorted(window.outcomes.items()))
    by_hand = " (restarted by hand)" if window.by_hand else ""
    took += f", silent {window.silent_s:.2f} s"
    return f"{window.fault} [{window.detail}] {took}{by_hand}: {outcomes}"
