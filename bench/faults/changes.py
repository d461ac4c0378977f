"""Changes in mid-flight: configuration, good and bad, and deployments."""

import threading
import time
from typing import Any, ClassVar

from bench.faults.bundles import VERSIONS
from bench.faults.fault import EVERYWHERE, Fault
from bench.faults.ledger import PASSING
from bench.faults.processes import ComponentKilled, DeviceKilled
from bench.faults.proxy import everyone
from bench.faults.rig import MAX_WAITING, Rig, RigError
from bench.faults.surroundings import DiskFull
from interface.errors import TransportError
from nucleus.deployments.history import History
from nucleus.errors import DeviceError
from release.errors import CommandError

_MIDDLE_S = 4.5
"""A deployment under full load takes as long: it is deferred for three seconds."""

_GOOD: dict[str, Any] = {
    "maxRows": "10000",
    "maxWaitingRequests": str(MAX_WAITING),
    "logLevel": "INFO",
    "retryAfterMs": "100",
}


class Reconfigured(Fault):
    """Other limits, and back."""

    name = "configuration changed"
    restarts_on = ("lite",)
    lasts_s = (1.0, 3.0)
    allowed = PASSING | {"model_changed"}
    expected = "classic: followed without a break; lite: the component is restarted"
    values: ClassVar[tuple[dict[str, Any], ...]] = (
        {"maxRows": 50.0, "maxWaitingRequests": 32, "logLevel": "WARNING"},
        {"retryAfterMs": "20", "maxWaitingRequests": "8.0"},
    )

    def inject(self, rig: Rig) -> str:
        value = self.draw.choice(self.values)
        return f"{value}: {_configure(rig, value)}"

    def heal(self, rig: Rig) -> None:
        _configure(rig, _GOOD)


class Nonsense(Reconfigured):
    """Values that are no good, and back."""

    name = "configuration nonsense"
    expected = "classic: named in the log, the old one stays; lite: down until it is taken back"
    values = (
        {"maxRows": "many"},
        {"maxWaitingRequests": -1, "logLevel": 7},
        {"retryAfterMs": {"a": []}, "maxRows": True},
        {"maxRows": "1" * 5000},
    )


class RolledOut(Fault):
    """A deployment of another version of the model."""

    name = "deployment"
    restarts_on = EVERYWHERE
    takes_time = True
    allowed = PASSING | {"model_changed"}
    expected = "both versions answer, each as itself; a gap while the component is exchanged"

    def inject(self, rig: Rig) -> str:
        version = self.draw.choice(VERSIONS)
        return f"{version}: {_roll_out(rig, version)}"


class RolledOutInTrouble(Fault):
    """A deployment, and in the middle of it a kill, a cut, or a full disk."""

    name = "deployment in trouble"
    restarts_on = EVERYWHERE
    takes_time = True
    allowed = PASSING | {"model_changed"}
    expected = "it succeeds, or all is as before; in any case it has an end"

    def inject(self, rig: Rig) -> str:
        version = self.draw.choice(VERSIONS)
        name = self.draw.choice(("component killed", "cut", "disk full", "device killed"))
        said: list[str] = []
        rolling = threading.Thread(target=lambda: said.append(_roll_out(rig, version)))
        rolling.start()
        time.sleep(self.draw.uniform(0.0, _MIDDLE_S))
        self._trouble(rig, name)
        rolling.join()
        _check_ends(rig)
        return f"{version}, {name}: {said[0]}"

    def _trouble(self, rig: Rig, name: str) -> None:
        if name == "cut":
            rig.proxy.cut(everyone)
            return
        kinds = {it.name: it for it in (ComponentKilled, DiskFull, DeviceKilled)}
        fault = kinds[name](self.draw)
        fault.inject(rig)
        time.sleep(self.draw.uniform(0.0, 1.0))
        fault.heal(rig)


def _roll_out(rig: Rig, version: str) -> str:
    try:
        return rig.deploy_bundle(version)
    except (CommandError, DeviceError, TransportError, OSError) as error:
        return str(error)


def _check_ends(rig: Rig) -> None:
    """Waits until each deployment on record has a result."""

    def have_ended() -> bool:
        records = History(rig.root.deployment_history).read()
        return all(record.result is not None for record in records)

    try:
        rig.wait(have_ended, "the end of a deployment")
    except RigError as error:
        rig.ledger.violate("deployment without an end", time.monotonic(), str(error))


def _configure(rig: Rig, value: dict[str, Any]) -> str:
    try:
        record = rig.configure(value)
    except (CommandError, DeviceError) as error:
        return str(error)
    return f"{record.result} {record.message}".strip()
