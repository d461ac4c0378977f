"""Two faults at once: what is mended by one may need what the other has broken."""

from typing import ClassVar

from bench.faults.fault import EVERYWHERE, Fault
from bench.faults.processes import ComponentKilled, ComponentPaused, DeviceKilled, DevicePaused
from bench.faults.rig import Rig
from bench.faults.surroundings import ClockAhead, DiskFull, FloodOfMany, SlowReader
from bench.faults.wire import CutFrame, ShortFrame, StalledFrames, TrickledFrames


class TwoAtOnce(Fault):
    """One fault of the wire, and in the middle of it one of the processes, the disk or the bus."""

    name = "two at once"
    lasts_s = (1.0, 4.0)
    restarts_on = EVERYWHERE
    expected = "as for each of them; the longer recovery counts"
    first: ClassVar[tuple[type[Fault], ...]] = (
        CutFrame,
        ShortFrame,
        StalledFrames,
        TrickledFrames,
    )
    second: ClassVar[tuple[type[Fault], ...]] = (
        ClockAhead,
        ComponentKilled,
        ComponentPaused,
        DeviceKilled,
        DevicePaused,
        DiskFull,
        FloodOfMany,
        SlowReader,
    )

    def inject(self, rig: Rig) -> str:
        self._faults = [self.draw.choice(kinds)(self.draw) for kinds in (self.first, self.second)]
        said = [f"{fault.name}: {fault.inject(rig)}" for fault in self._faults]
        return "; ".join(said)

    def heal(self, rig: Rig) -> None:
        for fault in reversed(self._faults):
            fault.heal(rig)

    _faults: list[Fault]
