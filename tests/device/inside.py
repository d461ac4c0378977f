"""A core device in the test's own process, where a test must reach inside."""

import asyncio
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from consumer.client import InferenceClient
from interface.greengrass import CoreDevice, connect
from nucleus.device import Device, Placement
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import PERSONALITIES
from nucleus.root import DeviceRoot
from release.components import INFERENCE
from tests.device.recipes import recipe_text
from tests.device.waiting import wait_until

_T = TypeVar("_T")

_STOP_S = 60.0


class InsideDevice:
    """The inference component on a device whose event loop has a thread of this process."""

    def __init__(
        self,
        path: Path,
        bundle: Path,
        personality: str,
        configuration: Mapping[str, Any] | None = None,
    ) -> None:
        """Starts nothing yet.

        Args:
            path: the root.
            bundle: what the component serves.
            personality: the nucleus to behave like.
            configuration: what is merged into the component's own.
        """
        self.root = DeviceRoot(path)
        merged = {"python": sys.executable, "bundle": str(bundle), **(configuration or {})}
        self.device = Device(
            self.root,
            [Placement(place="container/recipe.yaml", recipe=recipe_text("container"))],
            configurations={INFERENCE: merged},
            personality=PERSONALITIES[personality],
            platform={"runtime": "process"},
        )
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="core device")
        self._error: BaseException | None = None

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self.device.run(self._stop))
        except BaseException as error:
            self._error = error
        finally:
            self._loop.close()

    def __enter__(self) -> Self:
        self._thread.start()
        wait_until(lambda: self.state() in {"RUNNING", "BROKEN"} or self._error, "a start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(_STOP_S)
        assert not self._thread.is_alive()
        if self._error is not None:
            raise self._error

    @property
    def pubsub(self) -> LocalPubSub:
        """The bus; for `call`."""
        return self.device.pubsub

    def call(self, function: Callable[[], _T]) -> _T:
        """What the function gives, called on the device's event loop."""

        async def run() -> _T:
            return function()

        return self.wait(run())

    def wait(self, coroutine: Coroutine[Any, Any, _T], timeout_s: float = _STOP_S) -> _T:
        """What the coroutine gives, run on the device's event loop."""
        return self.begin(coroutine).result(timeout_s)

    def begin(self, coroutine: Coroutine[Any, Any, _T]) -> "Future[_T]":
        """The coroutine, begun on the device's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def configure(self, value: Mapping[str, Any], timestamp_ms: int) -> None:
        """Changes the component's configuration, as the component itself might."""
        store = self.device._store[INFERENCE]
        self.call(lambda: store.merge((), value, timestamp_ms))

    def component(self) -> dict[str, Any]:
        """The component's status; empty before there is one."""
        holder = self.root.holder()
        found = self.root.read_status()["components"] if holder else []
        return found[0] if found else {}

    def state(self) -> str:
        """The component's state; empty before there is one."""
        return str(self.component().get("state", ""))

    def log(self) -> str:
        """What the component has logged so far."""
        return self.root.log(INFERENCE).read_text()

    def connect(self) -> CoreDevice:
        """A connection with the tools' token."""
        return connect(*self.root.read_tools_token())

    def client(self, **options: Any) -> InferenceClient:
        """A client with a connection of its own."""
        return InferenceClient(self.connect, **options)
