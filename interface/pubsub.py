"""The PubSub port: how components reach each other, whatever carries the messages.

`MemoryBus` is the port's twin in memory, for tests and for trying things out.
"""

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from typing import Protocol

from interface.errors import ConnectionLostError, TransportError

Deliver = Callable[[bytes], None]
"""Takes a message's payload; must hand it over and return at once, for it may run on the thread
that reads the connection."""

Lost = Callable[[TransportError], None]
"""Told once when a subscription has ended and nobody closed it; must return at once."""


class Subscription(Protocol):
    """An open subscription."""

    def close(self) -> None:
        """Ends it; a second call does nothing. `lost` is not told."""


class PubSub(Protocol):
    """One connection to the bus; safe to use from several threads."""

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        """Has every message on the topic delivered, in order, one at a time.

        Own messages are delivered too.

        Raises:
            NotPermittedError: the policy does not allow it.
            TransportError: the connection is gone, or the bus refused or did not answer.
        """

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        """Sends a message; messages of one connection to one topic arrive in order.

        It does not wait: the future ends when the bus has taken the message, or holds the
        `TransportError` that says why not. Nothing is raised here.
        """

    def close(self) -> None:
        """Ends the connection and its subscriptions; a second call does nothing."""


class MemoryBus:
    """A bus in memory; each subscription has its own thread, as each component has."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connections: list[MemoryPubSub] = []
        self._open: list[_MemorySubscription] = []

    def connect(self) -> "MemoryPubSub":
        """A connection."""
        connection = MemoryPubSub(self)
        with self._lock:
            self._connections.append(connection)
        return connection

    def break_connections(self) -> None:
        """Ends every connection as a core device does that goes away."""
        with self._lock:
            lost, self._open = self._open, []
            for connection in self._connections:
                connection.is_open = False
            self._connections.clear()
        for subscription in lost:
            subscription.end(ConnectionLostError("the bus went away"))

    def deafen(self) -> None:
        """Drops every subscription without telling anyone, as nucleus lite may."""
        with self._lock:
            deaf, self._open = self._open, []
        for subscription in deaf:
            subscription.end(None)

    def _add(self, subscription: "_MemorySubscription") -> None:
        with self._lock:
            if not subscription.owner.is_open:
                raise ConnectionLostError("the connection is closed")
            self._open.append(subscription)
        subscription.start()

    def _remove(self, subscription: "_MemorySubscription") -> None:
        with self._lock:
            if subscription in self._open:
                self._open.remove(subscription)

    def _publish(self, topic: str, payload: bytes) -> None:
        with self._lock:
            for subscription in self._open:
                if subscription.topic == topic:
                    subscription.put(payload)

    def _close(self, owner: "MemoryPubSub") -> None:
        with self._lock:
            owner.is_open = False
            if owner in self._connections:
                self._connections.remove(owner)
            closed = [it for it in self._open if it.owner is owner]
            self._open = [it for it in self._open if it.owner is not owner]
        for subscription in closed:
            subscription.end(None)


class MemoryPubSub:
    """A connection to a `MemoryBus`."""

    def __init__(self, bus: MemoryBus) -> None:
        self._bus = bus
        self.is_open = True

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        """See `PubSub`."""
        subscription = _MemorySubscription(self._bus, self, topic, deliver, lost)
        self._bus._add(subscription)  # noqa: SLF001  (a friend of its own module)
        return subscription

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        """See `PubSub`."""
        done: Future[None] = Future()
        if self.is_open:
            self._bus._publish(topic, payload)  # noqa: SLF001
            done.set_result(None)
        else:
            done.set_exception(ConnectionLostError("the connection is closed"))
        return done

    def close(self) -> None:
        """See `PubSub`."""
        self._bus._close(self)  # noqa: SLF001


class _MemorySubscription:
    def __init__(
        self, bus: MemoryBus, owner: MemoryPubSub, topic: str, deliver: Deliver, lost: Lost
    ) -> None:
        self.owner = owner
        self.topic = topic
        self._bus = bus
        self._deliver = deliver
        self._lost = lost
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._ended = False
        self._error: TransportError | None = None

    def start(self) -> None:
        name = f"memory-bus {self.topic}"
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def put(self, payload: bytes) -> None:
        with self._changed:
            self._waiting.append(payload)
            self._changed.notify()

    def end(self, error: TransportError | None) -> None:
        with self._changed:
            self._ended = True
            self._error = error
            self._changed.notify()

    def close(self) -> None:
        self._bus._remove(self)  # noqa: SLF001
        self.end(None)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if self._ended:
                    break
                payload = self._waiting.popleft()
            self._deliver(payload)
        if self._error is not None:
            self._lost(self._error)
