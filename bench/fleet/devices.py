"""The devices: each a process, `edgexgb device start`, with the component as a process below it."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil

from bench.models import ROOT
from interface.greengrass import SOCKET_VARIABLE
from nucleus.process_tree import die_with_parent
from nucleus.root import DeviceRoot
from release.components import INFERENCE
from release.device import look
from release.errors import CommandError

_START_S = 120.0
_STOP_S = 60.0
_KILL_S = 5.0
_POLL_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """A device that is to be.

    Attributes:
        name: of the thing.
        root: its directory.
        personality: the nucleus it behaves like.
    """

    name: str
    root: DeviceRoot
    personality: str


class Fleet:
    """Devices that run for the length of the block, however it ends.

    They have sessions of their own, so that a Ctrl-C in the terminal reaches us alone, and end when
    we are killed.
    """

    def __init__(self, plans: Sequence[DevicePlan], bundle: Path) -> None:
        """Starts nothing yet.

        Args:
            plans: see there.
            bundle: what each serves at first.
        """
        self._plans = plans
        self._bundle = bundle
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self, at_once: int, show: Callable[[int], object]) -> None:
        """Starts all of them, and returns once their components run.

        No thread of ours may run yet, as they are forked.

        Args:
            at_once: how many are starting at a time, at most.
            show: told many times a second how many run.

        Raises:
            CommandError: one did not start.
            DeviceError: one of an earlier run still does.
        """
        waiting, starting = list(self._plans), dict[str, tuple[DevicePlan, float]]()
        while waiting or starting:
            while waiting and len(starting) < at_once:
                plan = waiting.pop(0)
                self._processes[plan.name] = self._start(plan)
                starting[plan.name] = plan, time.monotonic() + _START_S
            for name, (plan, end) in list(starting.items()):
                if self._runs(plan, end):
                    del starting[name]
            show(len(self._plans) - len(waiting) - len(starting))
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Stops all of them, together; kills those that do not."""
        for process in self._processes.values():
            process.terminate()
        end = time.monotonic() + _STOP_S
        for process in self._processes.values():
            try:
                process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def resident_bytes(self) -> int:
        """Of all processes of all devices, shared pages counted for each."""
        total = 0
        for process in self._all_processes():
            with contextlib.suppress(psutil.Error):
                total += process.memory_info().rss
        return total

    def _all_processes(self) -> list[psutil.Process]:
        found = []
        for process in self._processes.values():
            with contextlib.suppress(psutil.Error):
                device = psutil.Process(process.pid)
                found += [device, *device.children(recursive=True)]
        return found

    def _start(self, plan: DevicePlan) -> "subprocess.Popen[bytes]":
        plan.root.check_free()
        plan.root.make()
        # A device that begins anew still remembers what became of its deployments.
        shutil.rmtree(plan.root.deployment_history, ignore_errors=True)
        words = ("--root", str(plan.root.path), "--thing-name", plan.name, "--fresh")
        configuration = f"{INFERENCE}={json.dumps({'logLevel': 'WARNING'})}"
        with _log(plan.root).open("wb") as output:
            return subprocess.Popen(
                [
                    *(sys.executable, "-m", "release.cli", "device", "start", str(self._bundle)),
                    *(*words, "--personality", plan.personality, "--configure", configuration),
                ],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (no thread of ours)
            )

    def _runs(self, plan: DevicePlan, end: float) -> bool:
        """Whether a device runs, with its component.

        Raises:
            CommandError: it does not, and will not.
        """
        process = self._processes[plan.name]
        components, is_settled = look(plan.root, process.pid)
        states = [component["state"] for component in components]
        if is_settled and states == ["RUNNING"]:
            return True
        if process.poll() is not None:
            lines = _log(plan.root).read_text(errors="replace").strip().splitlines()
            observed = (lines or ["no output"])[-1]
        elif "BROKEN" in states:
            observed = f"a BROKEN component ({components[0]['last_error']})"
        elif time.monotonic() > end:
            observed = f"{states or 'no device'} after {_START_S:.0f} s"
        else:
            return False
        raise CommandError(f"{plan.name}: got {observed}, expected it to run; see {plan.root.path}")


def plan_devices(folder: Path, n: int, n_lite: int) -> list[DevicePlan]:
    """So many devices, of which the last are as nucleus lite.

    Args:
        folder: of their roots.
        n: all of them.
        n_lite: of those.
    """
    digits = max(2, len(str(n)))
    names = [f"device-{number:0{digits}}" for number in range(1, n + 1)]
    return [
        DevicePlan(
            name=name,
            root=DeviceRoot(folder / name),
            personality="lite" if at >= n - n_lite else "classic",
        )
        for at, name in enumerate(names)
    ]


def end_leftovers(roots: Iterable[DeviceRoot]) -> list[str]:
    """Components that have outlived their devices, in words; they are killed.

    They are known by the socket in their environment, whoever is their parent by now.
    """
    sockets = {str(root.socket) for root in roots}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            is_ours = process.environ().get(SOCKET_VARIABLE) in sockets
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} ({' '.join(process.cmdline())[:80]})")
                process.kill()
                process.wait(_KILL_S)
    return found


def _log(root: DeviceRoot) -> Path:
    return root.path / "device.out"
