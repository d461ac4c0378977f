"""A core device's socket with all that the component asks of it, in this process."""

import contextlib
import json
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from interface.greengrass import CoreDevice, connect
from nucleus.authorization import Authorization
from nucleus.configuration import ConfigurationStore
from nucleus.operation import Caller, Json, Operation, Operations, Stream
from nucleus.operations.configuration import configuration_operations
from nucleus.operations.lifecycle import UpdateNotices, lifecycle_operations
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import Personality
from tests.nucleus.conftest import RunningServer, running_server

NAME = "edgexgb.Inference"
PATIENCE_S = 30.0


@dataclass(slots=True)
class Served:
    """The server, and what was asked of it.

    Attributes:
        server: see there.
        store: the configurations; to be used through `configure` alone.
        notices: of updates, to be used on the server's loop alone.
        calls: each operation's name, and a topic or state where it has one.
        reports: the states that were reported.
    """

    server: RunningServer
    store: ConfigurationStore
    notices: UpdateNotices
    calls: list[tuple[str, str]] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)

    def connect(self, component: str = NAME) -> CoreDevice:
        """A connection of a component."""
        return connect(str(self.server.path), self.server.token(component))

    def configure(self, **values: Any) -> None:
        """Changes the component's configuration."""
        now_ms = time.time_ns() // 1_000_000
        self.server.call(lambda: self.store.open(NAME).merge((), values, now_ms))

    def drop_connections(self) -> None:
        """Closes every connection, and serves on."""

        def drop() -> None:
            for connection in list(self.server.server._connections):
                connection.close()

        self.server.call(drop)

    def wait_running(self, times: int = 1) -> None:
        """Returns once the component has reported RUNNING so often."""
        self.server.wait_for(lambda: self.reports.count("RUNNING") >= times)

    @contextlib.contextmanager
    def asking(self, topic: str = "edgexgb/results") -> Iterator[Callable[..., dict[str, Any]]]:
        """A requester: publishes an event to a topic, and gives the reply."""
        replies: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        with contextlib.closing(self.connect("Requester")) as device:
            device.subscribe(topic, replies.put, lambda error: None)

            def ask(event: Mapping[str, Any], to: str = "edgexgb/requests") -> dict[str, Any]:
                device.publish(to, json.dumps(event).encode()).result(PATIENCE_S)
                reply: dict[str, Any] = json.loads(replies.get(timeout=PATIENCE_S))
                return reply

            yield ask


class _Lifecycles:
    def __init__(self, reports: list[str]) -> None:
        self._reports = reports

    def report(self, component: str, state: str) -> None:
        assert component == NAME
        self._reports.append(state)

    def restart(self, component: str) -> None:
        raise KeyError(component)


def _noted(name: str, operation: Operation, calls: list[tuple[str, str]]) -> Operation:
    """The operation, which notes that the component called it."""

    def run(caller: Caller, request: Json, stream: Stream) -> Json:
        if caller.component == NAME:
            calls.append((name, str(request.get("topic", request.get("state", "")))))
        return operation.run(caller, request, stream)

    return Operation(run, operation.is_subscription)


@contextlib.contextmanager
def served(
    personality: Personality, *, access_control: Mapping[str, Any] | None = None, **values: Any
) -> Iterator[Served]:
    """A server for the component.

    Args:
        personality: which nucleus it is.
        access_control: the component's; None where everything is allowed to it.
        values: its configuration.
    """
    calls: list[tuple[str, str]] = []
    reports: list[str] = []
    store = ConfigurationStore()
    store.open(NAME).apply({}, (), {"logLevel": "INFO", **values}, 1)
    notices = UpdateNotices()
    authorization = Authorization(personality)
    authorization.allow_everything("Requester")
    if access_control is None:
        authorization.allow_everything(NAME)
    else:
        authorization.load(NAME, access_control)
    operations: Operations = {
        **LocalPubSub(personality, authorization.check).operations(),
        **configuration_operations(store, personality),
        **lifecycle_operations(_Lifecycles(reports), notices, authorization, personality),
    }
    noted = {name: _noted(name, operation, calls) for name, operation in operations.items()}
    with running_server(personality, noted) as server:
        yield Served(server, store, notices, calls, reports)


@contextlib.contextmanager
def in_thread(run: Callable[[], int], stop: Callable[[], None]) -> Iterator["queue.Queue[int]"]:
    """Where the exit code of a component will be, which is stopped at the end at the latest."""
    codes: queue.Queue[int] = queue.Queue()
    thread = threading.Thread(target=lambda: codes.put(run()), name="component")
    thread.start()
    try:
        yield codes
    finally:
        stop()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()
