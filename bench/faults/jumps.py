"""Faults of the device's clock: all processes of the device see it jump, and jump back.

So it is with a device without a battery: its clock begins in 1970, or where it was when the device
was switched off, until the network tells the time.
"""

from typing import ClassVar

from bench.faults import clock
from bench.faults.fault import Fault
from bench.faults.rig import Rig, RigError

_HOUR_S = 3600.0
_YEAR_S = 365.25 * 24 * _HOUR_S


class AllAhead(Fault):
    """The clock of the device, and so of all that runs on it, jumps ahead by an hour, and back."""

    name = "all clocks ahead 1 h"
    lasts_s = (2.0, 4.0)
    allowed = frozenset({"deadline_exceeded"})
    offset_s: ClassVar[float] = _HOUR_S
    expected = "what is under way at the jump is too late; nothing else changes"

    @classmethod
    def lacks(cls) -> str:
        return clock.lacks()

    def inject(self, rig: Rig) -> str:
        self._jump(rig, self.offset_s)
        return f"{self.offset_s:+g} s for all, {rig.clock.n_wall_waits if rig.clock else 0} waits by it"

    def heal(self, rig: Rig) -> None:
        self._jump(rig, 0.0)

    def _jump(self, rig: Rig, offset_s: float) -> None:
        if rig.clock is None:
            raise RigError(f"{self.name}: got no clock that may jump, expected one")
        rig.clock.set(offset_s)


class AllBehind(AllAhead):
    """The clock of the device, and so of all that runs on it, jumps back by an hour, and ahead."""

    name = "all clocks behind 1 h"
    offset_s = -_HOUR_S
    expected = "nothing changes; what is under way at the jump ahead is too late"


class AllFarAhead(AllAhead):
    """The clock of the device, and so of all that runs on it, jumps ahead by 50 years, and back."""

    name = "all clocks ahead 50 years"
    offset_s = 50 * _YEAR_S
    expected = "as for an hour: nobody counts years"
