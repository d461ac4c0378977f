"""One update of the fleet: driven, watched, and then each device is asked what it runs."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.fleet.bundles import FleetBundle
from bench.fleet.campaign import Campaign, Change, drive
from bench.fleet.devices import DevicePlan
from bench.fleet.job import Job, State
from bench.fleet.settings import Settings
from bench.fleet.traffic import Answer, Span, Traffic, count, longest_gap_s, to_spans
from nucleus.deployments.history import History, Result
from release.replay import replay
from release.request import asking
from release.rollout.deployment import roll_out
from release.rollout.update import bundle_update

GAP_S = 0.5
"""A longer time without an answer is drawn as one."""

_REPLAY_S = 60.0
_BEYOND_S = 30.0
"""How much longer than the job a device is watched, so that it is the job's rule that ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What became of one device.

    Attributes:
        name: of the thing.
        is_canary: whether it is one.
        state: of the job.
        why: it failed; empty where it has not.
        told_s: from the update's begin until it was told; None for never.
        ended_s: likewise, until it was done.
        answers: how many, by who answered.
        gap_s: the longest time between two answers.
        now: who answers after it.
        golden: how many golden rows are answered as recorded for whoever should answer now.
        n_golden: of so many.
        is_exact: whether every bit counted.
        deployments: the results in its history.
        spans: who answered when, from the update's begin.
    """

    name: str
    is_canary: bool
    state: State
    why: str
    told_s: float | None
    ended_s: float | None
    answers: Mapping[str, int]
    gap_s: float
    now: str
    golden: int
    n_golden: int
    is_exact: bool
    deployments: Sequence[Result | None]
    spans: Sequence[Span]


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """What became of one update.

    Attributes:
        before: the model that ran.
        model: the one that was to come.
        is_promoted: whether the fleet's turn came.
        seconds: until all jobs were over.
        until_s: until all devices were asked who answers now; here the answers end.
        devices: in order.
    """

    before: str
    model: str
    is_promoted: bool
    seconds: float
    until_s: float
    devices: Sequence[Found]


@dataclass(slots=True)
class _Course:
    """States over time, as the campaign tells them; and who answers at its end."""

    canaries: Collection[str]
    start_s: float
    states: dict[str, State] = field(default_factory=dict)
    told_s: dict[str, float] = field(default_factory=dict)
    ended_s: dict[str, float] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)
    now: Mapping[str, str] = field(default_factory=dict)

    def note(self, changes: Sequence[Change]) -> None:
        for name, state, why in changes:
            at_s = time.monotonic() - self.start_s
            self.states[name] = state
            if state is State.IN_PROGRESS:
                self.told_s[name] = at_s
            elif name in self.told_s:
                self.ended_s[name] = at_s
            self.why[name] = why


def run_phase(
    plans: Sequence[DevicePlan],
    traffic: Traffic,
    bundles: tuple[FleetBundle, FleetBundle],
    *,
    settings: Settings,
    show: Callable[[float, Mapping[str, State], Sequence[Change]], object],
) -> Phase:
    """Updates the fleet.

    Args:
        plans: of devices that run and are asked.
        traffic: that asks.
        bundles: what runs, and what is to come.
        settings: see there.
        show: told many times a second: seconds from the begin, all states, and what has changed.

    Raises:
        BundleError: a bundle cannot be opened.
        CommandError: a device does not answer any more.
        DeviceError: a device has ended.
        OSError: a file cannot be read.
    """
    old, new = bundles
    names = [plan.name for plan in plans]
    canaries, others = names[: settings.canaries], names[settings.canaries :]
    campaign = Campaign(
        Job(canaries, settings.canary_rules, settings.minute_s),
        Job(others, settings.fleet_rules, settings.minute_s),
    )
    course = _Course(canaries, time.monotonic())

    def tell(changes: Sequence[Change]) -> None:
        course.note(changes)
        show(time.monotonic() - course.start_s, campaign.states, changes)

    drive(campaign, _updater(plans, new.path, settings), tell, at_once=settings.at_once)
    seconds = time.monotonic() - course.start_s
    course.now = {plan.name: traffic.watched[plan.name].fresh() for plan in plans}
    until_s = time.monotonic()
    found = []
    for plan in plans:
        should = new if course.states[plan.name] is State.SUCCEEDED else old
        answers = traffic.watched[plan.name].between(course.start_s, until_s)
        found.append(_ask(plan, should, answers, course))
    return Phase(
        before=old.model,
        model=new.model,
        is_promoted=bool(campaign.is_promoted),
        seconds=seconds,
        until_s=until_s - course.start_s,
        devices=found,
    )


def _updater(
    plans: Sequence[DevicePlan], bundle: Path, settings: Settings
) -> Callable[[str], tuple[State, str]]:
    update = bundle_update(bundle)
    roots = {plan.name: plan.root for plan in plans}
    minutes = max(settings.canary_rules.timeout_minutes, settings.fleet_rules.timeout_minutes)
    timeout_s = minutes * settings.minute_s + _BEYOND_S

    def change(name: str) -> tuple[State, str]:
        outcome = roll_out(roots[name], update, timeout_s=timeout_s)
        if outcome.is_accepted:
            return State.SUCCEEDED, ""
        message = outcome.record.message.replace(f"{roots[name].path.parent.resolve()}/", "")
        return State.FAILED, f"{outcome.record.result}: {message}"

    return change


def _ask(
    plan: DevicePlan,
    should: FleetBundle,
    answers: Sequence[Answer],
    course: _Course,
) -> Found:
    """What a device says, after the update."""
    with asking(plan.root, name="fleet") as client:
        golden = replay(should.path, lambda rows: client.predict(rows, _REPLAY_S))
    spans = [
        Span(span.who, max(0.0, span.start_s - course.start_s), span.end_s - course.start_s)
        for span in to_spans(answers, GAP_S)
    ]
    return Found(
        name=plan.name,
        is_canary=plan.name in course.canaries,
        state=course.states[plan.name],
        why=course.why.get(plan.name, ""),
        told_s=course.told_s.get(plan.name),
        ended_s=course.ended_s.get(plan.name),
        answers=count(answers),
        gap_s=longest_gap_s(answers),
        now=course.now[plan.name],
        golden=golden.n_equal if golden.model == should.model else 0,
        n_golden=golden.n_rows,
        is_exact=golden.is_exact,
        deployments=[record.result for record in History(plan.root.deployment_history).read()],
        spans=spans,
    )
