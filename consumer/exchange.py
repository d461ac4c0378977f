"""One message out, its reply in: ids, the bound on messages in flight, and what ends a wait.

Everything here runs on the client's event loop, but `Exchange._deliver`, which the bus calls.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from consumer.connection import Connection
from interface.envelope import Reply, parse_reply
from interface.errors import ConnectionLostError, EnvelopeError, TransportError
from interface.pubsub import PubSub

MAX_UNREAD = 1024
"""Messages on the reply topic that wait to be looked at; anyone may publish there."""

SILENT_WAITS = 3
SILENT_S = 3.0
"""How many waits in a row must end without a sound, and for how long, before the connection is made
anew. A subscription may be deaf (see `interface.hearing`), and a client that may not publish to its
own reply topic cannot prove that it hears.
"""

SILENT_BESIDE_S = 15.0
"""The same while others still wait, whose replies a new connection would lose; under load somebody
always does. As long as `interface.hearing` takes to find a subscription deaf.
"""

QUIET_S = 60.0
"""Between two warnings about messages that are no replies."""

Encode = Callable[[str], bytes]
"""Makes a message of the id that it shall have."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where messages go.

    Attributes:
        connect: makes a connection; may block.
        request_topic: what the service listens to.
        reply_topic: where this client's replies arrive, and nobody else's.
        max_in_flight: messages without an answer yet.
    """

    connect: Callable[[], PubSub]
    request_topic: str
    reply_topic: str
    max_in_flight: int


class Exchange:
    """Messages and their replies over one connection at a time."""

    def __init__(self, route: Route, loop: asyncio.AbstractEventLoop) -> None:
        self._route = route
        self._loop = loop
        self._slots = asyncio.Semaphore(route.max_in_flight)  # first come, first served
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._unread: deque[bytes] = deque()
        self._count = 0
        self._silent = 0
        self._silent_since = 0.0
        self._quiet_until = -math.inf
        self.connection = Connection(
            route.connect, route.reply_topic, self._deliver, self._fail_all, loop
        )

    async def ask(self, encode: Encode, ends: float) -> Reply:
        """The reply to one message.

        Args:
            encode: makes the message.
            ends: when to stop trying to connect, in the loop's time. The wait for the reply is
                bounded by whoever asks, with a cancellation.

        Raises:
            TransportError: there is no connection, it was lost, or the bus refused the message.
        """
        async with self._slots:
            return await self.ask_at_once(encode, ends)

    async def ask_at_once(self, encode: Encode, ends: float) -> Reply:
        """As `ask`, however many messages are in flight.

        Raises:
            TransportError: see `ask`.
        """
        await self._renew_if_silent(ends)
        self._count += 1
        identity = f"{self._route.reply_topic[-8:]}-{self._count:08x}"
        sent = await self._publish(encode(identity), ends)
        # Nothing has run on the loop since, so no reply can have been missed.
        reply: asyncio.Future[Reply] = self._loop.create_future()
        self._waiting[identity] = reply
        sent.add_done_callback(partial(self._note_sent, identity))
        asked = self._loop.time()
        try:
            return await reply
        except asyncio.CancelledError:
            self._silent_since = self._silent_since if self._silent else asked
            self._silent += 1
            raise
        finally:
            del self._waiting[identity]

    async def _publish(self, message: bytes, ends: float) -> "Future[None]":
        """Hands the message to the bus, without waiting for its answer."""
        link = await self.connection.open(ends)
        sent = link.publish(self._route.request_topic, message)
        if sent.done() and isinstance(error := sent.exception(), ConnectionLostError):
            # It was gone before, and the message never left; only we had not been told yet.
            self.connection.drop(link, error)
            link = await self.connection.open(ends)
            sent = link.publish(self._route.request_topic, message)
        return sent

    async def _renew_if_silent(self, ends: float) -> None:
        silent_s = self._loop.time() - self._silent_since
        bearable_s = SILENT_BESIDE_S if self._waiting else SILENT_S
        if self._silent < SILENT_WAITS or silent_s < bearable_s:
            return
        _log.warning("no reply for some time, connecting anew", extra={"requests": self._silent})
        self._silent = 0
        link = await self.connection.open(ends)
        self.connection.drop(link, ConnectionLostError("reply topic: got silence"))

    def _note_sent(self, identity: str, sent: "Future[None]") -> None:
        """Ends the wait for an answer to a message that never left; on any thread."""
        error = sent.exception()
        if error is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._fail, identity, error)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            _log.debug("told after the end")

    def _fail(self, identity: str, error: BaseException) -> None:
        reply = self._waiting.get(identity)
        if reply is not None and not reply.done():
            reply.set_exception(error)

    def _fail_all(self, error: TransportError) -> None:
        _log.warning("connection lost", extra={"error": str(error), "waiting": len(self._waiting)})
        for identity in list(self._waiting):
            lost = ConnectionLostError(str(error))
            lost.__cause__ = error
            self._fail(identity, lost)

    def _deliver(self, payload: bytes) -> None:
        """Takes a message on the reply topic, on a thread of the bus; returns at once."""
        if len(self._unread) >= MAX_UNREAD:
            return  # a flood, which is not ours: each reply has its request, and these are few
        self._unread.append(payload)
        try:
            self._loop.call_soon_threadsafe(self._read)
        except RuntimeError:
            _log.debug("heard after the end")

    def _read(self) -> None:
        payload = self._unread.popleft()
        self._silent = 0
        try:
            reply = parse_reply(payload)
        except EnvelopeError as error:
            self._note_foreign(error)
            return
        waiting = self._waiting.get(reply.id) if isinstance(reply.id, str) else None
        if waiting is None or waiting.done():
            _log.debug("a reply that nobody waits for", extra={"status": reply.status})
            return
        waiting.set_result(reply)

    def _note_foreign(self, error: EnvelopeError) -> None:
        """Logs, without a word of the message, that there was one that is no reply."""
        level = logging.DEBUG
        if self._loop.time() >= self._quiet_until:
            self._quiet_until = self._loop.time() + QUIET_S
            level = logging.WARNING
        _log.log(level, "no reply, passed over", extra={"error": str(error)})
