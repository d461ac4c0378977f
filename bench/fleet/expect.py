"""What the two updates have to show; each expectation is a line that is met, or not."""

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from bench.fleet.job import State
from bench.fleet.phase import Found, Phase
from model.golden import describe_equality
from nucleus.deployments.history import Result


@dataclass(frozen=True, slots=True)
class Check:
    """One expectation."""

    is_met: bool
    text: str

    def __str__(self) -> str:
        """A line, whose first word says how it went."""
        return f"{'met    ' if self.is_met else 'NOT MET'}  {self.text}"


def check_bad(phase: Phase) -> Iterator[Check]:
    """The canaries went back, and the other devices have never heard of it."""
    canaries = [device for device in phase.devices if device.is_canary]
    others = [device for device in phase.devices if not device.is_canary]
    told = [device for device in canaries if device.told_s is not None]
    # The rule may stop it before the last of them is told.
    n_spared = len(canaries) - len(told) or ""
    yield _all(
        told,
        lambda it: it.state is State.FAILED and it.deployments == [Result.FAILED_ROLLBACK_COMPLETE],
        f"canaries FAILED, and rolled back{n_spared and f'; {n_spared} more were spared'}",
    )
    yield Check(not phase.is_promoted, "the fleet's job was never started")
    yield _all(
        others,
        lambda it: it.state is State.CANCELED and it.told_s is None and not it.deployments,
        "other devices have never heard of it: their histories are empty",
    )
    yield from _answers(phase, phase.before)
    yield Check(
        all(set(device.answers) == {phase.before} for device in phase.devices),
        f"{phase.model} has not answered once, on no device",
    )


def check_good(phase: Phase, n_told_before: int) -> Iterator[Check]:
    """It has reached all.

    Args:
        phase: of the good model.
        n_told_before: canaries that were told of the bad one.
    """
    yield Check(phase.is_promoted, "the canaries succeeded, and the fleet's turn came by itself")
    yield _all(phase.devices, lambda it: it.state is State.SUCCEEDED, "devices SUCCEEDED")
    n_deployments = sum(len(device.deployments) for device in phase.devices)
    n_expected = len(phase.devices) + n_told_before
    yield Check(
        n_deployments == n_expected,
        f"{n_deployments} deployments in all histories: one for each device, and "
        f"{n_told_before} of the bad model",
    )
    yield from _answers(phase, phase.model)
    yield Check(
        all(set(device.answers) <= {phase.before, phase.model} for device in phase.devices),
        f"every answer was of {phase.before} or {phase.model}",
    )


def check_lost(n_lost: int, n_answers: int) -> Check:
    """Every request was answered in the end."""
    return Check(n_lost == 0, f"{n_lost} of {n_answers + n_lost} requests were lost")


def describe_gaps(phase: Phase) -> str:
    """The longest time without an answer, of devices that were told and of the others."""
    told = [device.gap_s for device in phase.devices if device.told_s is not None]
    others = [device.gap_s for device in phase.devices if device.told_s is None]
    parts = [
        f"{name}: p50 {statistics.median(gaps):.2f} s, most {max(gaps):.2f} s"
        for name, gaps in (("updated", told), ("not told", others))
        if gaps
    ]
    return f"longest time without an answer, over devices; {'; '.join(parts)}"


def _answers(phase: Phase, model: str) -> Iterator[Check]:
    yield _all(phase.devices, lambda it: it.now == model, f"devices answer as {model} now")
    n_golden = sum(device.n_golden for device in phase.devices)
    n_equal = sum(device.golden for device in phase.devices)
    is_exact = all(device.is_exact for device in phase.devices)
    equality = describe_equality(exact=is_exact)
    text = f"{n_equal} of {n_golden} golden rows, asked over each device's bus, equal {equality}"
    yield Check(n_equal == n_golden, text)


def _all(devices: Sequence[Found], holds: Callable[[Found], bool], text: str) -> Check:
    """Holds for each, of one at least."""
    n = sum(map(holds, devices))
    return Check(n == len(devices) > 0, f"{n} of {len(devices)} {text}")
