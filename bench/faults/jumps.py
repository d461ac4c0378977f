"""Faults of the device's clock: all processes of the device see it jump, and jump back.

So it is with a device without a battery: its clock begins in 1970, or where it was when the device
was switched off, until the network tells the time.
"""

import time
from typing import ClassVar

from bench.faults import clock
from bench.faults.fault import Fault
from bench.faults.rig import Rig, RigError

_HOUR_S = 3600.0
_YEAR_S = 365.25 * 24 * _HOUR_S
_BOOTED_S = 100.0
"""Since 1970 by a clock that has no battery, some time after it began."""


class AllAhead(Fault):
    """The clock of the device, and so of all that runs on it, jumps ahead by an hour, and back."""

    name = "all clocks ahead 1 h"
    lasts_s = (2.0, 4.0)
    allowed = frozenset({"deadline_exceeded"})
    jump_s: ClassVar[float] = _HOUR_S
    expected = "what is under way at the jump is too late; nothing else changes"

    @classmethod
    def lacks(cls) -> str:
        return clock.lacks()

    def offset_s(self) -> float:
        """From the machine's clock to the one that all shall believe in."""
        return self.jump_s

    def inject(self, rig: Rig) -> str:
        shared = _clock(rig)
        shared.set(self.offset_s())
        return f"{shared.offset_s:+.0f} s; waits by that clock so far: {shared.n_wall_waits}"

    def heal(self, rig: Rig) -> None:
        _clock(rig).set(0.0)


class AllBehind(AllAhead):
    """The clock of the device, and so of all that runs on it, jumps back by an hour, and ahead."""

    name = "all clocks behind 1 h"
    jump_s = -_HOUR_S
    expected = "nothing changes; what is under way at the jump ahead is too late"


class AllFarAhead(AllAhead):
    """The clock of the device, and so of all that runs on it, jumps ahead by 50 years, and back."""

    name = "all clocks ahead 50 years"
    jump_s = 50 * _YEAR_S
    expected = "as for an hour: nobody counts years"


class AllIn1970(AllAhead):
    """The clock of the device, and so of all that runs on it, is in 1970, until it is set."""

    name = "all clocks in 1970"
    expected = "as for an hour behind"

    def offset_s(self) -> float:
        return _BOOTED_S - time.time()


def _clock(rig: Rig) -> clock.Clock:
    if rig.clock is None:
        raise RigError(f"a clock that may jump: got none, expected one: {clock.lacks()}")
    return rig.clock
