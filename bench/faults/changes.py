"""Changes in mid-flight: configuration, good and bad, and deployments."""

from typing import Any, ClassVar

from bench.faults.bundles import VERSIONS
from bench.faults.fault import Fault
from bench.faults.ledger import PASSING
from bench.faults.rig import Rig
from nucleus.errors import DeviceError
from release.errors import CommandError

_GOOD: dict[str, Any] = {
    "maxRows": "10000",
    "maxWaitingRequests": "64",
    "logLevel": "INFO",
    "retryAfterMs": "100",
}


class Reconfigured(Fault):
    """Other limits, and back."""

    name = "configuration changed"
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
    takes_time = True
    allowed = PASSING | {"model_changed"}
    expected = "both versions answer, each as itself; a gap while the component is exchanged"

    def inject(self, rig: Rig) -> str:
        version = self.draw.choice(VERSIONS)
        try:
            return f"{version}: {rig.deploy_bundle(version)}"
        except (CommandError, DeviceError) as error:
            return f"{version}: {error}"


def _configure(rig: Rig, value: dict[str, Any]) -> str:
    try:
        record = rig.configure(value)
    except (CommandError, DeviceError) as error:
        return str(error)
    return f"{record.result} {record.message}".strip()
