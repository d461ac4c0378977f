"""A core device as its users run it: a process of its own, which tests look at from outside."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from consumer.client import InferenceClient
from interface.greengrass import SOCKET_VARIABLE, CoreDevice, connect
from nucleus.personality import PERSONALITIES
from nucleus.root import DeviceRoot
from release.components import INFERENCE
from tests.device.waiting import wait_until

Line = dict[str, Any]

_STOP_S = 60.0


class RunningDevice:
    """`edgexgb device start` in a root; may be killed and started again there."""

    def __init__(
        self,
        path: Path,
        arguments: Sequence[object],
        personality: str,
        configurations: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            path: the root.
            arguments: of `edgexgb device start`, but for those that follow here.
            personality: the nucleus to behave like.
            configurations: what is merged into the components' own.
        """
        self.root = DeviceRoot(path)
        self.personality = PERSONALITIES[personality]
        self.output = path.parent / f"{path.name}.out"
        self._words = ["--root", str(path), "--personality", personality, *map(str, arguments)]
        for name, fields in (configurations or {}).items():
            self._words += ["--configure", f"{name}={json.dumps(fields)}"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
        for process in self.processes():  # only after a test that has failed
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()

    # --- its life ---------------------------------------------------------------------------------

    def launch(self) -> None:
        """Starts the device, and waits for nothing."""
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "release.cli", "device", "start", *self._words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def start(self) -> Self:
        """Starts the device, and waits until each component is where it stays."""
        self.launch()
        self.wait_settled()
        return self

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The device's own process."""
        assert self._process is not None
        return self._process

    def wait_settled(self) -> None:
        """Waits until each component is RUNNING, FINISHED or BROKEN."""
        wait_until(lambda: self.status()["settled"], f"settled components in {self.root.path}")

    def kill(self) -> None:
        """`kill -9`; the components are left to themselves."""
        self.process.kill()
        self.process.wait(_STOP_S)

    def stop(self) -> None:
        """Stops the device as `edgexgb device stop` does; nothing where none runs."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    # --- what it shows ----------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The status of this very device; unsettled and empty before it has one."""
        assert self.process.poll() is None, self.output.read_text()
        holder = self.root.holder()
        if holder is None or holder["pid"] != self.process.pid:
            return {"settled": False, "components": []}
        return self.root.read_status()

    def component(self, name: str = INFERENCE) -> dict[str, Any]:
        """A component's status; empty before there is one."""
        found = (it for it in self.status()["components"] if it["name"] == name)
        return next(found, {})

    def wait_state(self, state: str, name: str = INFERENCE, *, not_pid: int | None = None) -> int:
        """Waits for a state, of another process than one that is known; the shell's process id."""

        def look() -> bool:
            status = self.component(name)
            is_new = not_pid is None or status.get("pid") not in {not_pid, None}
            return status.get("state") == state and is_new

        wait_until(look, f"{name} {state}")
        pid: int = self.component(name)["pid"] or 0
        return pid

    def lines(self, name: str = INFERENCE) -> list[Line]:
        """What a component has logged so far, as JSON."""
        return list(self._lines(name))

    def _lines(self, name: str) -> Iterator[Line]:
        with contextlib.suppress(FileNotFoundError):
            for text in self.root.log(name).read_text().splitlines():
                start = text.find('{"timestamp"')
                if start < 0:
                    continue
                with contextlib.suppress(ValueError):
                    line, _end = json.JSONDecoder().raw_decode(text[start:])
                    yield line

    def messages(self, name: str = INFERENCE) -> list[str]:
        """The texts of what a component has logged."""
        return [line["message"] for line in self.lines(name)]

    def processes(self) -> list[psutil.Process]:
        """The processes of its components: all that have its socket in their environment."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if (
                    process.pid != os.getpid()
                    and process.environ().get(SOCKET_VARIABLE) == str(self.root.socket)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
        return found

    def server(self, name: str = INFERENCE) -> psutil.Process:
        """The process that runs a component."""
        return psutil.Process(self.component(name)["pid"])

    # --- asking it --------------------------------------------------------------------------------

    def connect(self) -> CoreDevice:
        """A connection with the tools' token, as the device has it now."""
        socket, token = self.root.read_tools_token()
        limit = None if self.personality.name == "classic" else self.personality.max_packet_bytes
        return connect(socket, token, max_packet_bytes=limit)

    def client(self, **options: Any) -> InferenceClient:
        """A client with a connection of its own."""
        return InferenceClient(self.connect, **options)
