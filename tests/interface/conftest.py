"""What the tests of this package wait for and speak through."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import pytest

from interface.errors import TransportError
from interface.pubsub import Deliver, Lost, MemoryBus, MemoryPubSub, PubSub, Subscription

WAIT_S = 20.0
"""For what must happen; machines that run tests are slow at times."""


def wait_until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Waits for a condition that becomes true by itself."""
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "the condition did not come true"
        time.sleep(0.002)


class Recorder:
    """Takes what a subscription delivers, and what it is told about its end."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.errors: list[TransportError] = []
        self._changed = threading.Condition()

    def deliver(self, payload: bytes) -> None:
        with self._changed:
            self.payloads.append(payload)
            self._changed.notify_all()

    def lost(self, error: TransportError) -> None:
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, timeout_s), (self.payloads, self.errors)

    def wait_payloads(self, n: int) -> list[bytes]:
        self.wait(lambda: len(self.payloads) >= n)
        return self.payloads

    def wait_error(self) -> TransportError:
        self.wait(lambda: self.errors)
        return self.errors[0]


class Tampered:
    """A connection whose publishing a test decides about."""

    def __init__(self, inner: PubSub) -> None:
        self.inner = inner
        self.lost: list[Lost] = []
        self.published: list[tuple[str, bytes]] = []
        self.error: Callable[[str, bytes], TransportError | None] = lambda _topic, _payload: None
        self.hold: Callable[[str, bytes], bool] = lambda _topic, _payload: False
        self.held: list[Future[None]] = []

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        self.lost.append(lost)
        return self.inner.subscribe(topic, deliver, lost)

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        self.published.append((topic, payload))
        error = self.error(topic, payload)
        if error is None and not self.hold(topic, payload):
            return self.inner.publish(topic, payload)
        done: Future[None] = Future()
        if error is not None:
            done.set_exception(error)
        else:
            self.held.append(done)
        return done

    def close(self) -> None:
        self.inner.close()


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    """A bus in memory whose subscriptions all end with the test."""
    bus = MemoryBus()
    yield bus
    bus.deafen()


@pytest.fixture
def pubsub(bus: MemoryBus) -> Iterator[MemoryPubSub]:
    """A connection to it."""
    connection = bus.connect()
    yield connection
    connection.close()
