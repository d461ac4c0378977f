"""A running IPC server for the tests of everybody who speaks to one."""

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from nucleus.operation import Operation, Operations
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import PERSONALITIES, Personality
from nucleus.server import IpcServer
from nucleus.tokens import Tokens

PATIENCE_S = 20.0

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RunningServer:
    """A server on an event loop in a thread of its own.

    Attributes:
        path: of the socket.
        personality: which nucleus it is.
        server: to be used through `call` alone.
        pubsub: likewise; its operations are served unless the test gave others of their names.
        loop: where all of it lives.
    """

    path: Path
    personality: Personality
    server: IpcServer
    pubsub: LocalPubSub
    loop: asyncio.AbstractEventLoop
    _tokens: Tokens

    def token(self, component: str = "Component") -> str:
        """The component's token."""
        return self.call(lambda: self._tokens.issue(component))

    def call(self, function: Callable[[], Result]) -> Result:
        """What a function gives, on the server's event loop."""

        async def run() -> Result:
            return function()

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(PATIENCE_S)

    def stop(self) -> None:
        """Closes the server, as when the device stops; a second call does nothing."""
        asyncio.run_coroutine_threadsafe(self.server.close(), self.loop).result(PATIENCE_S)

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Returns when a condition holds, looked at on the server's event loop."""
        deadline = time.monotonic() + PATIENCE_S
        while not self.call(condition):
            assert time.monotonic() < deadline, "the condition did not come true"
            time.sleep(0.002)


def allow(component: str, service: str, operation: str, resource: str) -> None:
    """Authorises everything."""


@contextmanager
def running_server(
    personality: Personality,
    operations: Operations | None = None,
    *,
    authorize: Callable[[str, str, str, str], None] = allow,
    **options: Any,
) -> Iterator[RunningServer]:
    """A server that is stopped at the end, with everything that is left of it.

    Args:
        personality: which nucleus it is.
        operations: served beside those of local pub/sub, and before them.
        authorize: for local pub/sub.
        options: for `IpcServer`.
    """
    directory = Path(tempfile.mkdtemp(prefix="ipc"))  # a path of pytest's may be too long
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="ipc-server", daemon=True)
    thread.start()
    try:
        pubsub = LocalPubSub(personality, authorize)
        served: Mapping[str, Operation] = {**pubsub.operations(), **(operations or {})}
        tokens = Tokens(personality)
        path = directory / "ipc.socket"
        server = IpcServer(path, personality, tokens, served, **options)
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE_S)
        running = RunningServer(path, personality, server, pubsub, loop, tokens)
        try:
            yield running
        finally:
            running.stop()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE_S)
        loop.close()
        shutil.rmtree(directory)


@pytest.fixture(params=sorted(PERSONALITIES))
def personality(request: pytest.FixtureRequest) -> Personality:
    """Each nucleus."""
    return PERSONALITIES[request.param]
