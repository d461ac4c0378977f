"""Faults of what is around: the disk, the clock, and others on the bus."""

import contextlib
import json
import resource
import signal
import threading
from collections.abc import Callable
from typing import ClassVar

import psutil
from awsiot.greengrasscoreipc import connect as ipc_connect
from awsiot.greengrasscoreipc import model

from bench.faults.asker import connector
from bench.faults.crowd import Child
from bench.faults.fault import NOTHING, Fault
from bench.faults.proxy import TO_CLIENT, Stall
from bench.faults.rig import Rig
from interface.envelope import REQUEST_TOPIC
from interface.greengrass import CoreDevice

_DEAFENING_VALUES = 100
"""Nucleus lite takes them, and has no room for them where it delivers."""

_TIMEOUT_S = 10.0


class DiskFull(Fault):
    """The disk of the device's root is full: logs, states, configuration, deployments.

    Where no disk of our own may be mounted, no process of the device may write files instead.
    """

    name = "disk full"
    lasts_s = (3.0, 6.0)
    allowed = NOTHING
    expected = "lines are lost, and nothing else"

    def inject(self, rig: Rig) -> str:
        if rig.disk == "tmpfs":
            with (
                (rig.root.path / "ballast").open("wb", buffering=0) as file,
                contextlib.suppress(OSError),
            ):
                while True:
                    file.write(bytes(4096))
            return "a tmpfs without room"
        self._limit(rig, 0)
        return "RLIMIT_FSIZE 0"

    def heal(self, rig: Rig) -> None:
        if rig.disk == "tmpfs":
            (rig.root.path / "ballast").unlink(missing_ok=True)
        else:
            self._limit(rig, resource.RLIM_INFINITY)

    def _limit(self, rig: Rig, n_bytes: int) -> None:
        process = psutil.Process(rig.device.pid)
        process.rlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


class ClockAhead(Fault):
    """The clock of a consumer jumps ahead of the component's by an hour, and back."""

    name = "clock ahead 1 h"
    lasts_s = (2.0, 4.0)
    allowed = frozenset({"deadline_exceeded", "request_timeout"})
    offset_s: ClassVar[float] = 3600.0
    expected = "deadlines are far away; requests under way at the jump back may be too late"

    def inject(self, rig: Rig) -> str:
        self._asker = self.draw.choice(rig.askers)
        self._asker.child.order(clock_s=self.offset_s)
        return f"{self._asker.name}: {self.offset_s:+g} s"

    def heal(self, rig: Rig) -> None:  # noqa: ARG002  (the asker is known)
        self._asker.child.order(clock_s=0.0)


class ClockBehind(ClockAhead):
    """The clock of a consumer jumps back by an hour, and forward again."""

    name = "clock behind 1 h"
    offset_s = -3600.0
    expected = "each request says that its deadline has passed, until the clocks agree again"


class SlowReader(Fault):
    """Somebody subscribes to everything, and reads nothing."""

    name = "slow consumer"
    lasts_s = (4.0, 8.0)
    allowed = NOTHING
    expected = "the device keeps 64 MiB for it at most; nobody else notices"

    def inject(self, rig: Rig) -> str:
        fields = rig.specification()
        self._device = connector(rig.root, fields["socket"], None)()
        ours = psutil.Process().pid
        self._device.watch("edgexgb/#", lambda *_: None, lambda _error: None)
        n_links = rig.proxy.tamper(lambda link: link.pid == ours, TO_CLIENT, Stall)
        return f"edgexgb/#, {n_links} connections"

    def heal(self, rig: Rig) -> None:
        rig.proxy.cut(lambda link: link.pid == psutil.Process().pid)
        rig.proxy.heal()
        self._device.close()

    _device: CoreDevice


class Junk(Fault):
    """Messages that are no requests, between good ones."""

    name = "malformed messages"
    lasts_s = (3.0, 5.0)
    allowed = NOTHING
    expected = "each is refused; good ones are answered as ever"

    def inject(self, rig: Rig) -> str:
        max_bytes = 6000 if rig.personality == "lite" else self.draw.choice((6000, 100_000))
        seed = self.draw.getrandbits(32)
        self._pest = rig.pest("junk", max_bytes=max_bytes, seed=seed)
        return f"up to {max_bytes} bytes"

    def heal(self, rig: Rig) -> None:
        _note(rig, "malformed", self._pest)

    _pest: Child


class Oversized(Junk):
    """Messages longer than the bus takes, or than is any use."""

    name = "oversized messages"
    allowed = frozenset({"busy", "request_timeout"})
    expected = "lite ends the sender's connection; classic carries them, and they are refused"

    def inject(self, rig: Rig) -> str:
        max_bytes = 20_000 if rig.personality == "lite" else 2_000_000
        self._pest = rig.pest("junk", max_bytes=max_bytes, seed=self.draw.getrandbits(32))
        return f"up to {max_bytes} bytes"


class Deafening(Fault):
    """A `jsonMessage` to the requests' topic that is too rich for nucleus lite."""

    name = "deafening message"
    lasts_s = (2.0, 2.0)  # after it nothing is answered that was asked before
    expected = "classic: refused as any other; lite: the component hears nothing until it probes"

    def inject(self, rig: Rig) -> str:
        message = {"values": list(range(_DEAFENING_VALUES))}
        publish = model.PublishMessage(json_message=model.JsonMessage(message=message))
        request = model.PublishToTopicRequest(topic=REQUEST_TOPIC, publish_message=publish)
        _, token = rig.root.read_tools_token()
        device = ipc_connect(ipc_socket=rig.specification()["socket"], authtoken=token)
        try:
            operation = device.new_publish_to_topic()
            operation.activate(request).result(_TIMEOUT_S)
            operation.get_response().result(_TIMEOUT_S)
        finally:
            device.close()
        return f"a list of {_DEAFENING_VALUES} numbers"


class FloodOfOne(Fault):
    """One sends without waiting, while the component gets a tenth of its time."""

    name = "flood from one"
    lasts_s = (3.0, 5.0)
    n_connections: ClassVar[int] = 1
    expected = "the queue stays within its bounds: `busy` for some, and all is well afterwards"

    def inject(self, rig: Rig) -> str:
        self._pest = rig.pest("flood", connections=self.n_connections)
        self._is_over = threading.Event()
        self._brake = threading.Thread(target=_brake, args=(rig.server, self._is_over))
        self._brake.start()
        return f"{self.n_connections} connections, the component runs a tenth of the time"

    def heal(self, rig: Rig) -> None:
        _note(rig, "flood", self._pest)
        self._is_over.set()
        self._brake.join()

    _pest: Child
    _is_over: threading.Event
    _brake: threading.Thread


class FloodOfMany(FloodOfOne):
    """Twelve connections do so at once."""

    name = "flood from many"
    n_connections = 12


def _brake(find: Callable[[], psutil.Process | None], is_over: threading.Event) -> None:
    """Lets a process run 10 ms of 100."""
    server = find()
    with contextlib.suppress(psutil.NoSuchProcess):
        while server is not None and not is_over.is_set():
            server.send_signal(signal.SIGSTOP)
            is_over.wait(0.09)
            server.send_signal(signal.SIGCONT)
            is_over.wait(0.01)


def _note(rig: Rig, who: str, pest: Child) -> None:
    said = pest.end().strip()
    with contextlib.suppress(ValueError):
        for what, n in json.loads(said.splitlines()[-1] if said else "").items():
            rig.ledger.note(f"{who}: {what}", n)
