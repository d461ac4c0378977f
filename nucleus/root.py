"""The directory of a core device: what is where, and who holds it.

device.lock                   held while a device runs; says which
status.json                   the components and their states
ipc.socket                    where components connect
cli_ipc_info/user-UID         how tools of this user connect, as greengrass-cli expects it
config/effectiveConfig.json   the components' configuration
deployments/                  what runs, kept from one start to the next, and what became of each
logs/ work/ packages/         as on a real device
"""

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from nucleus.errors import DeviceError

SOCKET_PATH_BYTES = 107
"""The longest path of a Unix socket. Source: unix(7), `sun_path`."""

_ROOT_MODE = 0o755
"""Components may be other users, in containers, too, who have to get to the socket.

Source: aws-greengrass-nucleus, util/Permissions.java, `setRootPermission`.
"""

_PRIVATE_MODE = 0o700
"""Of logs, deployments and every component's configuration.

Source: aws-greengrass-nucleus, util/Permissions.java, `setConfigPermission` and its like.
"""

_LOCK_S = 0.5
"""Whoever only looks whether a device runs holds the lock for an instant."""


@dataclass(frozen=True, slots=True)
class DeviceRoot:
    """The paths under one root."""

    path: Path

    @property
    def socket(self) -> Path:
        """Where components connect; elsewhere where the root's path is too long for a socket."""
        path = self.path.resolve() / "ipc.socket"
        if len(os.fsencode(path)) <= SOCKET_PATH_BYTES:
            return path
        name = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"edgexgb-{os.getuid()}-{name}" / "ipc.socket"

    @contextlib.contextmanager
    def socket_directory(self) -> Iterator[None]:
        """Has the socket's directory, as long as it is needed where it is not the root itself.

        Raises:
            DeviceError: it is somebody else's: temporary directories are everybody's.
        """
        directory = self.socket.parent
        if directory == self.path.resolve():
            yield
            return
        directory.mkdir(exist_ok=True, mode=_ROOT_MODE)
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid():
            raise DeviceError(f"{directory}: got somebody else's, expected a directory of ours")
        directory.chmod(_ROOT_MODE)
        try:
            yield
        finally:
            with contextlib.suppress(OSError):  # also where somebody has put a file there
                directory.rmdir()

    @property
    def configuration(self) -> Path:
        """The file of the components' configuration."""
        return self.path / "config" / "effectiveConfig.json"

    @property
    def deployments(self) -> Path:
        """The directory of what is kept from one start to the next."""
        return self.path / "deployments"

    @property
    def has_state(self) -> bool:
        """Whether a device has run here, so that one can go on."""
        return (self.deployments / "current").is_symlink()

    @property
    def deployment_history(self) -> Path:
        """The directory of what became of deployments."""
        return self.deployments / "history"

    def log(self, component: str) -> Path:
        """A component's log."""
        return self.path / "logs" / f"{component}.log"

    def work(self, component: str) -> Path:
        """A component's working directory."""
        return self.path.resolve() / "work" / component

    def make(self) -> None:
        """Makes the directory where it is missing; components, as whatever user, may look into it.

        But for what concerns the device alone: a container sees the whole of it, beside the socket.

        Raises:
            OSError: it cannot be made.
        """
        if not self.path.exists():
            self.path.mkdir(parents=True, exist_ok=True)
            self.path.chmod(_ROOT_MODE)
        for private in (self.configuration.parent, self.deployments, self.path / "logs"):
            private.mkdir(mode=_PRIVATE_MODE, exist_ok=True)

    @contextlib.contextmanager
    def hold(self, facts: Mapping[str, object], status: Mapping[str, object]) -> Iterator[None]:
        """Holds the root for one device; the kernel lets go of it however the device ends.

        Args:
            facts: what the device says of itself, beside its process id.
            status: of the device; in place before anybody sees that it runs, for there may be
                one of an earlier device.

        Raises:
            DeviceError: another device holds it.
            OSError: the directory cannot be made or written.
        """
        self.make()
        with (self.path / "device.lock").open("a+") as file:
            end = time.monotonic() + _LOCK_S
            while not _locked(file, fcntl.LOCK_EX):
                if time.monotonic() > end:
                    self.check_free()
                    raise DeviceError(f"{self.path}: got a lock held by others, expected none")
                time.sleep(0.02)
            file.truncate(0)
            self.write_status(status)
            json.dump({"pid": os.getpid(), **facts}, file)
            file.flush()
            try:
                yield
            finally:
                file.truncate(0)

    def holder(self) -> dict[str, Any] | None:
        """What the device that runs here said of itself; None where none runs."""
        # A file without JSON is one that a device is just about to write.
        with (
            contextlib.suppress(FileNotFoundError, ValueError),
            (self.path / "device.lock").open() as file,
        ):
            if not _locked(file, fcntl.LOCK_SH):
                facts: dict[str, Any] = json.load(file)
                return facts
        return None

    def check_free(self) -> None:
        """Returns where no device runs here.

        Raises:
            DeviceError: one does.
        """
        if (holder := self.holder()) is not None:
            observed = f"a core device that runs (pid {holder['pid']})"
            expected = "none; `edgexgb device stop` ends it"
            raise DeviceError(f"{self.path}: got {observed}, expected {expected}")

    def running(self) -> dict[str, Any]:
        """What the device that runs here said of itself.

        Raises:
            DeviceError: none runs.
        """
        holder = self.holder()
        if holder is None:
            expected = "one; `edgexgb device start` starts it"
            raise DeviceError(f"{self.path}: got no core device that runs, expected {expected}")
        return holder

    def write_status(self, status: Mapping[str, object]) -> None:
        """Replaces the status."""
        write_json(self.path / "status.json", status)

    def read_status(self) -> dict[str, Any]:
        """The status that a running device wrote last.

        Raises:
            DeviceError: no device runs.
        """
        self.running()
        return read_json(self.path / "status.json")

    def write_tools_token(self, token: str) -> None:
        """Has tools of this user find socket and token.

        Source: aws-greengrass-cli, `NucleusAdapterIpcClientImpl`: file and field names.
        """
        fields = {"cli_auth_token": token, "domain_socket_path": str(self.socket)}
        write_json(self._tools_file, fields, mode=0o600)

    def read_tools_token(self) -> tuple[str, str]:
        """The socket's path and this user's token.

        Raises:
            DeviceError: no device runs here, or it wrote none.
        """
        fields = read_json(self._tools_file)
        try:
            return fields["domain_socket_path"], fields["cli_auth_token"]
        except KeyError as error:
            raise DeviceError(
                f"{self._tools_file}: got no {error}, expected a core device's file"
            ) from error

    @property
    def _tools_file(self) -> Path:
        return self.path / "cli_ipc_info" / f"user-{os.getuid()}"


def _locked(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def write_json(path: Path, value: object, *, mode: int = 0o644) -> None:
    """Replaces a file, so that whoever reads it sees the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "w") as file:
        json.dump(value, file, indent=2)
    temporary.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file.

    Raises:
        DeviceError: there is none, or it holds no object.
    """
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise DeviceError(f"{path}: got no such file, expected a core device's file") from error
    except (ValueError, OSError) as error:
        raise DeviceError(f"{path}: got {error}, expected a core device's file") from error
    if not isinstance(value, dict):
        raise DeviceError(f"{path}: got a {type(value).__name__}, expected an object")
    return value
