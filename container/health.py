"""How the component is: what `{"op": "health"}` is answered, and what the log says once a minute.

docs/requests.md, section 9, has the fields.
"""

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

from container.events import HEALTH
from container.handler import describe_served
from interface.bridge import Bridge
from interface.logs import to_utc
from interface.vitals import Fault, Vitals
from model.bundle import Bundle

_STATM = "/proc/self/statm"
_INTERNAL = "internal"


class Health:
    """What is known of the component, from its start on, whatever becomes of its connections.

    It is a `container.handler.Monitor`.

    Attributes:
        vitals: what its bridges count.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Takes what serves; the component starts now."""
        self.vitals = Vitals()
        self._served = describe_served(bundle)
        self._started_s = time.monotonic()
        self._bridge: Bridge | None = None

    def attach(self, bridge: Bridge) -> None:
        """The component is ready: it has reported RUNNING, and this bridge hears."""
        self._bridge = bridge

    def detach(self) -> None:
        """It is ready no longer."""
        self._bridge = None

    def note(self, code: str, text: str) -> None:
        """Takes the last error; the text holds nothing of a request."""
        self.vitals.note(code, text)

    def report(self) -> dict[str, Any]:
        """The fields, as JSON values."""
        bridge = self._bridge
        counters, refused = self.vitals.count()
        n_internal, n_health = refused.pop(_INTERNAL, 0), refused.pop(HEALTH, 0)
        # Those that were refused for want of room are not among the answered.
        n_refused = sum(refused.values()) - counters.refused
        return {
            **self._served,
            "ready": bridge is not None,
            "uptimeSeconds": round(time.monotonic() - self._started_s, 1),
            "waiting": 0 if bridge is None else bridge.waiting,
            "maxWaiting": None if bridge is None else bridge.limits.max_waiting,
            "served": counters.answered - n_refused - n_internal - n_health,
            "refused": dict(sorted(refused.items())),
            "failed": n_internal + counters.failed + counters.dropped,
            "latencyMs": self._latency(),
            "lastError": _error(self.vitals.last_fault),
            "residentBytes": resident_bytes(),
        }

    def _latency(self) -> Mapping[str, float] | None:
        found = self.vitals.latencies()
        if found is None:
            return None
        return {"p50": round(found.p50_s * 1000, 3), "p99": round(found.p99_s * 1000, 3)}


class Interval:
    """Says when something that is done from time to time is due again."""

    def __init__(self) -> None:
        """Begins now."""
        self._since_s = time.monotonic()

    def left_s(self, every_s: float) -> float | None:
        """Seconds to wait until it is due, 0 where it is; None where `every_s` is 0: never."""
        if every_s == 0:
            return None
        left_s = max(0.0, self._since_s + every_s - time.monotonic())
        return min(left_s, threading.TIMEOUT_MAX)

    def restart(self) -> None:
        """It was done."""
        self._since_s = time.monotonic()


def resident_bytes(statm: str = _STATM) -> int | None:
    """The memory that the process has now; None where the system does not say so.

    Source: proc(5): the second number of statm is in pages.
    """
    try:
        with open(statm, "rb") as file:  # noqa: PTH123  (asked often)
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return None


def _error(fault: Fault | None) -> Mapping[str, str] | None:
    if fault is None:
        return None
    return {"code": fault.code, "message": fault.text, "when": to_utc(fault.at_s)}
