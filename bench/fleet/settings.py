"""What a run is made with."""

from dataclasses import dataclass

from bench.fleet.job import CANARY, FLEET, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How large the fleet is, and how it is updated.

    Attributes:
        devices: all of them.
        canaries: of those, the first.
        lite: of those, the last, which behave like nucleus lite; none of them a canary, for lite
            does not roll back.
        minute_s: how long a minute of the rules lasts here.
        at_once: devices that start, or are updated, at a time, at most.
        pause_s: between an answer and the next request to the same device.
        canary_rules: of the canaries' job.
        fleet_rules: of the others'.
    """

    devices: int = 20
    canaries: int = 2
    lite: int = 0
    minute_s: float = 2.0
    at_once: int = 4
    pause_s: float = 0.1
    canary_rules: Rules = CANARY
    fleet_rules: Rules = FLEET
