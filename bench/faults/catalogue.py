"""All faults, by name."""

import logging
from collections.abc import Iterable

from bench.faults.changes import Nonsense, Reconfigured, RolledOut, RolledOutInTrouble
from bench.faults.container import ContainerOutOfMemory
from bench.faults.fault import Fault
from bench.faults.jumps import AllAhead, AllBehind, AllFarAhead, AllIn1970
from bench.faults.pairs import TwoAtOnce
from bench.faults.processes import (
    AskerKilled,
    AskerPaused,
    ComponentKilled,
    ComponentPaused,
    DeviceKilled,
    DevicePaused,
    DevicePausedLong,
    MemoryRefused,
)
from bench.faults.surroundings import (
    ClockAhead,
    ClockBehind,
    Deafening,
    DiskFull,
    FloodOfMany,
    FloodOfOne,
    Junk,
    Oversized,
    SlowReader,
)
from bench.faults.wire import (
    CutFrame,
    DoubledEvents,
    RefusedToken,
    ShortFrame,
    SilentDeafness,
    StalledFrames,
    SwappedEvents,
    TrickledFrames,
)

_OFTEN: tuple[type[Fault], ...] = (
    CutFrame,
    ShortFrame,
    TrickledFrames,
    StalledFrames,
    DoubledEvents,
    SwappedEvents,
    SilentDeafness,
    RefusedToken,
    DeviceKilled,
    DevicePaused,
    ComponentKilled,
    ComponentPaused,
    AskerKilled,
    AskerPaused,
    MemoryRefused,
    DiskFull,
    ClockAhead,
    ClockBehind,
    AllAhead,
    AllBehind,
    AllFarAhead,
    AllIn1970,
    SlowReader,
    FloodOfOne,
    FloodOfMany,
    Junk,
    Oversized,
    Deafening,
    Reconfigured,
    Nonsense,
    RolledOut,
    RolledOutInTrouble,
    TwoAtOnce,
)
_LOADS = (FloodOfMany, FloodOfOne, SlowReader, Junk, Oversized)
_SOAKING: tuple[type[Fault], ...] = (DevicePausedLong,)
_IN_CONTAINERS: tuple[type[Fault], ...] = (ContainerOutOfMemory,)

_NOT_IN_CONTAINERS = (AllAhead, AllBehind, AllFarAhead, AllIn1970, MemoryRefused)
"""Faults of a clock that no image has, and of a limit that is not the container's own."""

_log = logging.getLogger(__name__)

FAULTS: dict[str, type[Fault]] = {kind.name: kind for kind in (*_OFTEN, *_SOAKING, *_IN_CONTAINERS)}


def lasting_s(
    names: Iterable[str] = (), *, soaks: bool = False, is_container: bool = False
) -> dict[str, tuple[float, float]]:
    """How long each of the faults lasts; of all, those of a soak or of a container only there.

    Those that this machine lacks something for are left out, and the log says so; of all, those of
    the clock in a container, too.

    Raises:
        KeyError: there is no fault of a name.
    """
    wanted = list(names) or _usual(soaks=soaks, is_container=is_container)
    lacking = {name: FAULTS[name].lacks() for name in wanted}
    for name, lacks in lacking.items():
        if lacks:
            _log.warning("left out: %s: %s", name, lacks)
    return {name: FAULTS[name].lasts_s for name in wanted if not lacking[name]}


def _usual(*, soaks: bool, is_container: bool) -> list[str]:
    """The names of all faults of such a run."""
    kinds = [*_OFTEN, *(_SOAKING if soaks else ()), *(_IN_CONTAINERS if is_container else ())]
    return [it.name for it in kinds if not (is_container and it in _NOT_IN_CONTAINERS)]


def steady(names: Iterable[str], personality: str) -> list[str]:
    """Of these faults, those that end no process on a device of this personality.

    Those after which processes hold the most come first, and once more at the end.
    """
    those = [name for name in names if personality not in FAULTS[name].restarts_on]
    loads = [name for name in those if FAULTS[name] in _LOADS]
    return [*loads, *(name for name in those if name not in loads), *loads]
