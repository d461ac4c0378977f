"""AWS's runtime interface emulator with awslambdaric inside: a Lambda on loopback.

The emulator's binary is found, in this order: `EDGEXGB_RIE`, `aws-lambda-rie` on the path, the
package `aws-sam-cli`, which `make setup` puts beside the environment.

Source: aws-lambda-runtime-interface-emulator, README; awslambdaric, README.
"""

import contextlib
import ctypes
import os
import platform
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from release.errors import CommandError

FUNCTION = (sys.executable, "-m", "container.entry")
"""The bundle's function, as the image starts it."""

INVOCATIONS = "/2015-03-31/functions/function/invocations"

_ARCHITECTURES = {"x86_64": "x86_64", "aarch64": "arm64"}
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1
_START_S = 10.0
_STOP_S = 2.0


class Emulator:
    """A running emulator; `url` takes invocations until `stop`."""

    def __init__(
        self,
        bundle: Path,
        *,
        port: int | None = None,
        command: Sequence[str] = FUNCTION,
        environment: Mapping[str, str] | None = None,
        show_log: bool = False,
    ) -> None:
        """Starts it; the function itself starts with the first invocation.

        Args:
            bundle: the directory to serve.
            port: on loopback; a free one where None.
            command: starts the function; the image's own entry where none is given.
            environment: variables for the function besides ours.
            show_log: whether what emulator and function write goes to our stderr, and not to `log`.

        Raises:
            CommandError: no emulator here, the port is taken, or it does not start.
        """
        binary = find_binary()
        self.port = port if port is not None else _free_port()
        if not _is_free(self.port):
            raise CommandError(f"port {self.port}: got one in use, expected a free one")
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed in stop)
        command = [
            str(binary),
            "--log-level",
            "error",
            "--runtime-interface-emulator-address",
            f"127.0.0.1:{self.port}",
            "--runtime-api-address",
            f"127.0.0.1:{_free_port()}",
            *command,
        ]
        variables = {
            **os.environ,
            "EDGEXGB_BUNDLE": str(bundle.resolve()),
            # The emulator keeps what it finds here; without, its log says `Version: $LATEST` only.
            "AWS_LAMBDA_FUNCTION_NAME": "function",
            "AWS_LAMBDA_FUNCTION_TIMEOUT": "60",
            **(environment or {}),
        }
        # A session of its own, so that stopping finds the function too, and a Ctrl-C in the
        # terminal reaches us alone and is handled once.
        self._process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.DEVNULL,
            preexec_fn=_die_with_parent,  # noqa: PLW1509  (no thread of ours runs yet)
            stdout=sys.stderr if show_log else self._log,
            stderr=sys.stderr if show_log else subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            self._wait_until_listening()
        except BaseException:
            self.stop()
            raise

    def log(self) -> str:
        """All that emulator and function have written so far."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def is_running(self) -> bool:
        """Whether the emulator is still there."""
        return self._process.poll() is None

    def stop(self) -> None:
        """Ends emulator and function; a second call does nothing."""
        if self._log.closed:
            return
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            # The emulator gives the function a process group of its own, but not a session.
            for pid in _session_members(self._process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal_number)
            if self._wait_until_gone():
                break
        self._log.close()

    def _wait_until_gone(self) -> bool:
        """Whether every process of the session has gone, after a while."""
        end = time.monotonic() + _STOP_S
        while time.monotonic() < end:
            if not _session_members(self._process.pid):
                self._process.wait()  # reaps it
                return True
            time.sleep(0.01)
        return False

    def _wait_until_listening(self) -> None:
        end = time.monotonic() + _START_S
        while time.monotonic() < end:
            if not self.is_running():
                lines = self.log().strip().splitlines() or ["no output"]
                raise CommandError(
                    f"the emulator: got an early exit ({lines[-1]}), expected a start"
                )
            with (
                contextlib.suppress(OSError),
                socket.create_connection(("127.0.0.1", self.port), 1),
            ):
                return
            time.sleep(0.01)
        raise CommandError(f"the emulator: got no answer in {_START_S:.0f} s, expected a start")


@contextlib.contextmanager
def run_emulator(
    bundle: Path,
    *,
    port: int | None = None,
    command: Sequence[str] = FUNCTION,
    environment: Mapping[str, str] | None = None,
    show_log: bool = False,
) -> Iterator[Emulator]:
    """An `Emulator` that is stopped at the end of the block, however it ends."""
    emulator = Emulator(
        bundle, port=port, command=command, environment=environment, show_log=show_log
    )
    try:
        yield emulator
    finally:
        emulator.stop()


def find_binary(environment: Mapping[str, str] = os.environ) -> Path:
    """The emulator's binary.

    Raises:
        CommandError: there is none for this machine; says how to get one.
    """
    if chosen := environment.get("EDGEXGB_RIE"):
        if not os.access(chosen, os.X_OK):
            raise CommandError(f"EDGEXGB_RIE: got {chosen!r}, expected an executable file")
        return Path(chosen)
    if found := shutil.which("aws-lambda-rie"):
        return Path(found)
    machine = platform.machine()
    if platform.system() != "Linux" or machine not in _ARCHITECTURES:
        here = f"{platform.system()} on {machine}"
        raise CommandError(f"the emulator: got {here}, expected Linux on x86_64 or aarch64")
    packages = [Path(sys.prefix) / "share" / "emulator" / "samcli"]
    spec = find_spec("samcli")
    if spec is not None and spec.origin is not None:
        packages.append(Path(spec.origin).parent)
    name = f"aws-lambda-rie-{_ARCHITECTURES[machine]}"
    for package in packages:
        binary = package / "local" / "rapid" / name
        if binary.exists():
            if not os.access(binary, os.X_OK):
                binary.chmod(0o755)
            return binary
    raise CommandError("the emulator: got no aws-lambda-rie here, expected it after `make setup`")


def _die_with_parent() -> None:
    """Has the kernel end this process when its parent is gone, however that came about.

    Source: prctl(2), PR_SET_PDEATHSIG. The emulator does the same for the function.
    """
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _session_members(session: int) -> list[int]:
    """The living processes of a session. The emulator is for Linux alone, and so is /proc."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):  # it ended just now
                state, _, _, of = (entry / "stat").read_text().rpartition(")")[2].split()[:4]
                if state != "Z" and int(of) == session:
                    found.append(int(entry.name))
    return found


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _is_free(port: int) -> bool:
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except (OSError, OverflowError):
            return False
    return True
