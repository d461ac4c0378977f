"""Faults of processes: killed, stopped, out of memory."""

import contextlib
import random
import resource
import signal
from collections.abc import Sequence

import psutil

from bench.faults.crowd import Asker
from bench.faults.fault import EVERYWHERE, NOTHING, Fault
from bench.faults.ledger import PASSING
from bench.faults.rig import Rig


class DeviceKilled(Fault):
    """The device is killed, and started again: its IPC server, its tokens, its components."""

    name = "device killed"
    restarts_on = EVERYWHERE
    lasts_s = (0.2, 1.5)
    expected = "the next device ends what is left of the old one, and goes on where it was"

    def inject(self, rig: Rig) -> str:
        rig.kill_device()
        return "SIGKILL"

    def heal(self, rig: Rig) -> None:
        rig.start_device()


class Pause(Fault):
    """Processes stand still for a while."""

    def __init__(self, draw: random.Random) -> None:
        super().__init__(draw)
        self._stopped: list[psutil.Process] = []

    def stop(self, processes: Sequence[psutil.Process]) -> str:
        """Stops them; which."""
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGSTOP)
                self._stopped.append(process)
        return f"SIGSTOP, {len(self._stopped)} processes"

    def heal(self, rig: Rig) -> None:  # noqa: ARG002  (they are known)
        for process in self._stopped:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


class DevicePaused(Pause):
    """The core device stands still."""

    name = "device paused 5 s"
    lasts_s = (5.0, 5.0)
    expected = "requests run into their timeout; what was held up is answered or dropped"

    def inject(self, rig: Rig) -> str:
        return self.stop([psutil.Process(rig.device.pid)])


class DevicePausedLong(DevicePaused):
    """The core device stands still for a minute; in a soak."""

    name = "device paused 60 s"
    restarts_on = EVERYWHERE
    lasts_s = (60.0, 60.0)
    expected = (
        "component and clients give the connection up and make another; the component may end"
    )


class ComponentPaused(Pause):
    """The component stands still."""

    name = "component paused"
    lasts_s = (1.0, 8.0)
    expected = "as for the device; on the bus nobody else is held up"

    def inject(self, rig: Rig) -> str:
        server = rig.server()
        return self.stop([] if server is None else [server])


class ComponentKilled(Fault):
    """The component is killed."""

    name = "component killed"
    restarts_on = EVERYWHERE
    expected = "the nucleus starts it anew; what it had not answered ends in a timeout"

    def inject(self, rig: Rig) -> str:
        server = rig.server()
        if server is None:
            return "nobody was there"
        with contextlib.suppress(psutil.NoSuchProcess):
            server.kill()
        return "SIGKILL"


class AskerKilled(Fault):
    """A consumer is killed, and started again."""

    name = "consumer killed"
    restarts_on = EVERYWHERE
    lasts_s = (0.1, 1.0)
    allowed = NOTHING
    expected = "its own requests end with it; nobody else notices"

    def inject(self, rig: Rig) -> str:
        self._asker = self.draw.choice(rig.askers)
        name = self._asker.name
        return f"SIGKILL to {name}, {self._asker.kill()} requests had nobody any more"

    def heal(self, rig: Rig) -> None:  # noqa: ARG002  (the process is known)
        self._asker.start()

    _asker: Asker


class AskerPaused(Pause):
    """A consumer stands still, and with it the reading of its replies."""

    name = "consumer paused"
    lasts_s = (1.0, 6.0)
    holds_callers = True
    expected = "its own requests run into their timeouts; nobody else notices"

    def inject(self, rig: Rig) -> str:
        asker = self.draw.choice(rig.askers)
        return f"{self.stop([psutil.Process(asker.child.process.pid)])}, {asker.name}"


class MemoryRefused(Fault):
    """The component gets no memory any more: its address space may not grow."""

    name = "out of memory"
    restarts_on = EVERYWHERE
    lasts_s = (2.0, 12.0)
    allowed = PASSING | {"internal"}
    expected = "it answers on with what it has, or says `internal`, or ends and is started anew"

    def inject(self, rig: Rig) -> str:
        self._server = rig.server()
        if self._server is None:
            return "nobody was there"
        with contextlib.suppress(psutil.NoSuchProcess):
            used = self._server.memory_info().vms
            self._server.rlimit(resource.RLIMIT_AS, (used, resource.RLIM_INFINITY))
        return f"RLIMIT_AS {used // 2**20} MiB"

    def heal(self, rig: Rig) -> None:  # noqa: ARG002  (they are known)
        if self._server is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
            self._server.rlimit(resource.RLIMIT_AS, unlimited)

    _server: psutil.Process | None = None
