"""All that a run needs: a device, its component, a proxy before it, and those who ask."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from bench.faults import clock
from bench.faults.bundles import VERSIONS, Material, make_material
from bench.faults.crowd import Asker, Child
from bench.faults.ledger import Ledger
from bench.faults.proxy import Proxy
from bench.models import ROOT
from nucleus.deployments.history import Record
from nucleus.errors import DeviceError
from nucleus.process_tree import die_with_parent
from nucleus.root import DeviceRoot
from release.bus import connected
from release.components import INFERENCE
from release.deploy import watch
from release.errors import CommandError
from release.rollout.deployment import roll_out
from release.rollout.update import Update, bundle_update

TIMEOUT_S = 2.0
"""Of a request."""

MAX_WAITING = 64
"""Requests in the component's queue."""

CONFIGURATION = {"deferUpdateSeconds": "3", "maxWaitingRequests": str(MAX_WAITING)}
"""Full load defers every update for as long as it may."""

_START_S = 60.0
_STOP_S = 60.0
_DISK_BYTES = 24 * 1024 * 1024
_POLL_S = 0.005


class RigError(Exception):
    """The bench itself does not work; nothing can be said of what it tests."""


class Rig:
    """Builds all of it in a temporary directory, and takes it away again.

    Attributes:
        personality: of the device.
        folder: of everything.
        root: of the device.
        disk: what the device's root is on: `tmpfs` where we may mount one, else `shared`.
        material: bundles, rows and answers.
        ledger: the books.
        askers: the consumers.
        proxy: before the device; listens while the device runs.
        clock: of device, component and consumers; None where there can be none that may jump.
    """

    def __init__(
        self,
        personality: str,
        seed: int,
        ledger: Ledger,
        *,
        logs: Path | None = None,
        n_askers: int = 2,
    ) -> None:
        """Does nothing yet.

        Args:
            personality: of the device.
            seed: of what askers draw.
            ledger: the books.
            logs: the directory for logs that outlive the rig; None for none.
            n_askers: how many consumers.
        """
        self._logs = logs
        self.personality = personality
        self.seed = seed
        self.ledger = ledger
        self.askers: list[Asker] = []
        self._n_askers = n_askers
        self.by_hand = 0
        self.clock: clock.Clock | None = None
        self._token = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            # Short, because a socket's path may have 107 bytes only.
            name = stack.enter_context(tempfile.TemporaryDirectory(prefix="faults-"))
            self.folder = Path(name)
            self.root = DeviceRoot(self.folder / "root")
            self.disk = stack.enter_context(_own_disk(self.root.path))
            self.material: Material = make_material(self.folder)
            self.prepare(stack)
            self._public = self.folder / "askers.socket"
            self._private = self.root.path / "device.socket"  # on the same disk
            self.proxy = Proxy([self._public, self.root.socket], self._private)
            stack.callback(self.proxy.close)
            stack.callback(self._keep_logs)
            stack.callback(self._stop_device)
            self.start_device()
            self.wait_state("RUNNING")
            stack.callback(self._stop_askers)
            for n in range(self._n_askers):
                specification = {**self.specification(), "seed": 10 * self.seed + n, "threads": 4}
                self.askers.append(
                    Asker(f"asker {n}", self.ledger, specification, self.folder / "askers.err")
                )
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def connections(self) -> list[str]:
        """All who ask, as the ledger calls them."""
        return [name for asker in self.askers for name in asker.connections()]

    def specification(self) -> dict[str, Any]:
        """What a process must know to reach the device."""
        return {
            "root": str(self.root.path),
            "socket": str(self._public),
            "answers": str(self.material.path),
            "max_packet_bytes": 10_000 if self.personality == "lite" else None,
            "timeout_s": TIMEOUT_S,
            "environment": dict(self._environment()),
        }

    def _environment(self) -> Mapping[str, str]:
        return {} if self.clock is None else self.clock.environment

    def _interpreter(self) -> dict[str, str]:
        """What has the component run by an interpreter with the clock: it inherits nothing."""
        return {} if self.clock is None else {"python": str(self.clock.python)}

    # --- what the device runs ---------------------------------------------------------------------

    def prepare(self, stack: contextlib.ExitStack) -> None:
        """Makes what the component needs beside the material: as a process, the clock.

        Args:
            stack: takes it away again.

        Raises:
            RigError: it cannot be made.
        """
        if not clock.lacks():
            self.clock = stack.enter_context(clock.Clock(self.folder))

    def program(self) -> list[str]:
        """What `edgexgb device start` is to run."""
        return [str(self.material.bundles[VERSIONS[0]])]

    def configuration(self) -> Mapping[str, Any]:
        """What is merged into the component's configuration."""
        return {**CONFIGURATION, **self._interpreter()}

    def update(self, version: str) -> Update:
        """What is deployed for a version of the model."""
        return bundle_update(self.material.bundles[version])

    # --- the device -------------------------------------------------------------------------------

    @property
    def device(self) -> subprocess.Popen[bytes]:
        """The device's process."""
        assert self._process is not None
        return self._process

    def start_device(self) -> None:
        """Starts it where it stopped, and puts the proxy before it.

        Raises:
            RigError: it does not come up.
        """
        words = [*self.program(), "--root", str(self.root.path)]
        words += ["--personality", self.personality]
        words += ["--configure", f"{INFERENCE}={json.dumps(dict(self.configuration()))}"]
        with (self.folder / "device.out").open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "release.cli", "device", "start", *words],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self._environment()},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (it takes no lock)
            )
        self.wait(self._has_token, "a token for tools")
        # The component needs far longer than this to start, so it meets the proxy alone.
        self.root.socket.rename(self._private)
        self.proxy.listen()

    def kill_device(self) -> None:
        """`kill -9`; its components are left to themselves."""
        self.device.kill()
        self.device.wait()
        self.proxy.deafen()
        self._private.unlink(missing_ok=True)

    def _has_token(self) -> bool:
        if self.device.poll() is not None:
            raise RigError(f"the device: got its end: {self._last_words()}")
        with contextlib.suppress(DeviceError, OSError):
            holder = self.root.holder()
            if holder is not None and holder["pid"] == self.device.pid:
                _, token = self.root.read_tools_token()
                if token != self._token:
                    self._token = token
                    return True
        return False

    def _last_words(self) -> str:
        return (self.folder / "device.out").read_text(errors="replace")[-500:]

    def _stop_device(self) -> None:
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
        self._process.terminate()
        try:
            self._process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            self.ledger.violate("hung", time.monotonic(), "the device did not stop")

    def _keep_logs(self) -> None:
        if self._logs is None:
            return
        shutil.rmtree(self._logs, ignore_errors=True)
        shutil.copytree(self.root.path / "logs", self._logs)
        for name in ("device.out", "askers.err", "pests.err"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copy(self.folder / name, self._logs)

    def _stop_askers(self) -> None:
        for asker in self.askers:
            asker.end()

    # --- the component ----------------------------------------------------------------------------

    def component(self) -> Mapping[str, Any]:
        """The component's status; empty where the device shows none."""
        with contextlib.suppress(DeviceError, OSError, KeyError):
            holder = self.root.holder()
            if holder is None or holder["pid"] != self.device.pid:
                return {}
            components = self.root.read_status()["components"]
            found: dict[str, Any] = next((it for it in components if it["name"] == INFERENCE), {})
            return found
        return {}

    def server(self) -> psutil.Process | None:
        """The component's process; None where there is none just now."""
        pid = self.component().get("pid")
        if pid is None:
            return None
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(pid)
        return None

    def wait_state(self, state: str, timeout_s: float = _START_S) -> None:
        """Waits for a state of the component.

        Raises:
            RigError: it does not come.
        """
        self.wait(lambda: self.component().get("state") == state, state, timeout_s)

    def mend(self) -> bool:
        """Restarts the component where the nucleus has given up; whether it had to."""
        if self.component().get("state") != "BROKEN":
            return False
        with contextlib.suppress(CommandError, DeviceError), connected(self.root) as device:
            device.restart_component(INFERENCE)
            self.by_hand += 1
            self.ledger.note("restarts by hand")
            return True
        return False

    # --- deployments ------------------------------------------------------------------------------

    def deploy_bundle(self, version: str) -> str:
        """Rolls a bundle out, and waits for its end; the result."""
        fields, update = self._interpreter(), self.update(version)
        outcome = roll_out(self.root, update, configuration=fields, timeout_s=_START_S)
        return str(outcome.record.result)

    def configure(self, fields: Mapping[str, Any]) -> Record:
        """Deploys a configuration, and waits for its end.

        Raises:
            CommandError: the device did not take it.
        """
        request = {
            "componentToConfiguration": {INFERENCE: {"MERGE": dict(fields)}},
            "failureHandlingPolicy": "ROLLBACK",
        }
        with connected(self.root) as device:
            deployment_id = device.create_local_deployment(request)
        return watch(self.root, deployment_id, _START_S, lambda _: None)

    # --- others -----------------------------------------------------------------------------------

    def pest(self, mode: str, **fields: object) -> Child:
        """Somebody who makes trouble, until `end` is called on it."""
        specification = {**self.specification(), "mode": mode, "connections": 1, **fields}
        child = Child("pest", specification, self.folder / "pests.err")
        child.wait_ready()
        return child

    def wait_for_answers(self) -> None:
        """Waits until everybody has an answer to something that was asked since.

        Raises:
            RigError: somebody gets none.
        """
        now_s = time.monotonic()
        for name in self.connections():
            self.wait(
                lambda: self.ledger.answered_since(name, now_s, now_s),  # noqa: B023
                f"answers for {name}",
            )

    def wait(self, look: Callable[[], object], what: str, timeout_s: float = _START_S) -> None:
        """Waits for what must happen by itself.

        Raises:
            RigError: it does not.
        """
        end = time.monotonic() + timeout_s
        while not look():
            if time.monotonic() > end:
                raise RigError(
                    f"{what}: got nothing of it in {timeout_s:g} s: {self._last_words()}"
                )
            time.sleep(_POLL_S)


@contextlib.contextmanager
def _own_disk(path: Path) -> Iterator[str]:
    """A directory on a disk of its own that is soon full, where we may mount one."""
    path.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={_DISK_BYTES},mode=0755", "edgexgb-faults"]
    may_mount = os.geteuid() == 0 and shutil.which("mount") is not None
    if (
        not may_mount
        or subprocess.run(
            ["mount", *options, str(path)], check=False, capture_output=True
        ).returncode
    ):
        yield "shared"
        return
    try:
        yield "tmpfs"
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)
