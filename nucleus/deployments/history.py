"""What became of each deployment: one small file for each, replaced as it goes on.

So whoever watches reads a file, as with the device's status, and a device that is killed leaves
behind how far it was.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from nucleus.deployments.document import Deployment
from nucleus.errors import DeviceError
from nucleus.root import read_json, write_json

KEPT = 100
"""How many deployments are remembered."""


class Phase(StrEnum):
    """How far a deployment is."""

    QUEUED = "QUEUED"
    PREPARING = "PREPARING"
    NOTIFYING = "NOTIFYING"
    ACTIVATING = "ACTIVATING"
    ROLLING_BACK = "ROLLING_BACK"
    DONE = "DONE"


class Result(StrEnum):
    """How a deployment has ended. Source: aws-greengrass-nucleus, DeploymentResult.

    CANCELED is no result there, but a status of its own; here a deployment has but one end.
    """

    SUCCESSFUL = "SUCCESSFUL"
    FAILED_NO_STATE_CHANGE = "FAILED_NO_STATE_CHANGE"
    FAILED_ROLLBACK_COMPLETE = "FAILED_ROLLBACK_COMPLETE"
    FAILED_ROLLBACK_NOT_REQUESTED = "FAILED_ROLLBACK_NOT_REQUESTED"
    FAILED_UNABLE_TO_ROLLBACK = "FAILED_UNABLE_TO_ROLLBACK"
    REJECTED = "REJECTED"
    CANCELED = "CANCELED"


@dataclass(slots=True, kw_only=True)
class Record:
    """One deployment.

    Attributes:
        number: counts the deployments of a device from 1.
        id: of the deployment.
        add: versions by component.
        remove: components.
        configure: components that it configures.
        created: in seconds since 1970.
        ended: likewise; None as long as it has not.
        began_s: when the device took it, in seconds of its monotonic clock; None where that was
            another device's.
        took_s: from then to its end, whatever was done to the clock meanwhile; None where it has
            not ended, or in the hands of another device.
        phase: how far it is.
        waiting: what it waits for, in a few words; empty for nothing.
        intended: the result that it has once its state is the current one; None before that is
            tried.
        result: None as long as it has none.
        message: why it has failed, or what has happened; empty where all is well.
    """

    number: int
    id: str
    add: dict[str, str] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)
    configure: list[str] = field(default_factory=list)
    created: float
    ended: float | None = None
    began_s: float | None = None
    took_s: float | None = None
    phase: Phase = Phase.QUEUED
    waiting: str = ""
    intended: Result | None = None
    result: Result | None = None
    message: str = ""

    def end(self, result: Result, message: str = "") -> None:
        """It is over."""
        self.phase, self.waiting = Phase.DONE, ""
        self.result, self.message = result, message
        self.ended = time.time()
        if self.began_s is not None:
            self.took_s = time.monotonic() - self.began_s


class History:
    """The files under one directory."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def open(self, deployment: Deployment) -> Record:
        """A record for a new deployment, written.

        Raises:
            OSError: it cannot be.
        """
        numbers = [int(path.stem) for path in self._files()]
        record = Record(
            number=max(numbers, default=0) + 1,
            id=deployment.id,
            add={name: str(version) for name, version in deployment.add.items()},
            remove=list(deployment.remove),
            configure=sorted(deployment.configurations),
            created=deployment.created_ms / 1000,
            began_s=time.monotonic(),
        )
        self.write(record)
        for path in self._files()[:-KEPT]:
            path.unlink(missing_ok=True)
        return record

    def write(self, record: Record) -> None:
        """Replaces a record.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self._path / f"{record.number:06d}.json", asdict(record))

    def read(self) -> list[Record]:
        """All records, the oldest first.

        Raises:
            DeviceError: a file is no record.
        """
        return [record for path in self._files() if (record := _load(path)) is not None]

    def find(self, deployment_id: str) -> Record | None:
        """The record of a deployment; None where there is none any more.

        Raises:
            DeviceError: a file is no record.
        """
        for path in reversed(self._files()):
            record = _load(path)
            if record is not None and record.id == deployment_id:
                return record
        return None

    def conclude(self, result_of: Callable[[Record], tuple[Result, str]]) -> list[Record]:
        """Ends what an earlier device has left unfinished; what was concluded.

        Raises:
            DeviceError: a file is no record.
            OSError: one cannot be written.
        """
        open_ones = [record for record in self.read() if record.result is None]
        for record in open_ones:
            record.began_s = None  # by a clock that may have begun anew
            record.end(*result_of(record))
            self.write(record)
        return open_ones

    def _files(self) -> list[Path]:
        return sorted(self._path.glob("[0-9]*.json"))


def _load(path: Path) -> Record | None:
    """A record; None where it has gone meanwhile, as the oldest do."""
    try:
        content = read_json(path)
    except DeviceError:
        if path.exists():
            raise
        return None
    return _parse(content, path)


def _parse(content: dict[str, Any], path: Path) -> Record:
    try:
        results = {
            key: None if content[key] is None else Result(content[key])
            for key in ("intended", "result")
        }
        return Record(**{**content, "phase": Phase(content["phase"]), **results})
    except (KeyError, TypeError, ValueError) as error:
        raise DeviceError(f"{path}: got {error}, expected a deployment's record") from error
