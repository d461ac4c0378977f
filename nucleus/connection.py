"""One client of the IPC server: bytes to operations, answers to bytes."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, assert_never

from nucleus.eventstream.decode import DecodeError, Decoder
from nucleus.eventstream.encode import encode_message
from nucleus.eventstream.message import STREAM_ID, Message
from nucleus.eventstream.rpc import (
    ConnectRequested,
    Event,
    OperationRequested,
    PingReceived,
    ProtocolViolated,
    ServerProtocol,
    StreamEnded,
    StreamRejected,
)
from nucleus.eventstream.service import NAMESPACE
from nucleus.operation import Caller, IpcError, Operation, Operations
from nucleus.personality import Personality
from nucleus.tokens import Tokens

LAST_WORD_S = 0.5
"""How long a client may take to read why its connection is closed, before it is.

awsiotsdk that finds the end of a connection together with the refusal mostly overlooks the
refusal. Source: seen with awscrt 0.36, in 83 of 100 cases.
"""

CLOSING_TIMEOUT_S = 2.0
"""How long a connection that closes may take to send what was written to it before."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What all connections of a server share.

    Attributes:
        personality: which nucleus this is.
        tokens: who may connect.
        operations: what the device can do.
        max_unread_bytes: what may wait for a client that does not read.
    """

    personality: Personality
    tokens: Tokens
    operations: Operations
    max_unread_bytes: int

    def find(self, operation: str) -> Operation | None:
        """The operation of this full name; None where the device, or its nucleus, has none."""
        name = operation.removeprefix(NAMESPACE)
        allowed = self.personality.operations
        if name == operation or (allowed is not None and name not in allowed):
            return None
        return self.operations.get(name)


class Connection(asyncio.Protocol):
    """One client, from its coming to its end.

    Attributes:
        number: unique in its server.
        ended: done when nothing is left of it.
    """

    def __init__(
        self,
        service: Service,
        number: int,
        on_open: "Callable[[Connection], None]",
        on_end: "Callable[[Connection], None]",
    ) -> None:
        """Waits for its transport.

        Args:
            service: what it serves.
            number: unique in its server.
            on_open: told once, when it has its transport.
            on_end: told once, at its end.
        """
        self.number = number
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._service = service
        self._on_open = on_open
        self._on_end = on_end
        self._protocol = ServerProtocol(service.personality)
        self._decoder = Decoder(service.personality.max_packet_bytes, self._protocol.header_types)
        self._transport: asyncio.Transport | None = None
        self._caller: Caller | None = None
        self._streams: dict[int, _Stream] = {}
        self._has_said_last_word = False
        self._deadline: asyncio.TimerHandle | None = None

    # --- what asyncio calls -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._on_open(self)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self._is_closing:
            return
        self._decoder.feed(data)
        try:
            for message in self._decoder.messages():
                self._receive(message)
        except DecodeError as error:
            _log.warning("connection %d is closed: %s", self.number, error)
            self.close()
        except Exception:
            _log.exception("connection %d is closed for a fault of the device", self.number)
            self.close()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`; the other way does not stay open."""
        self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        del exc
        self._set_deadline(None)
        self._end_streams()
        if self._caller is not None:
            _log.info("component %s disconnected", self._caller.component)
        self._on_end(self)
        self.ended.set_result(None)

    # --- what the server and the streams call -----------------------------------------------------

    def close(self) -> None:
        """Ends the connection as soon as what was written has been sent; a second call is idle."""
        if self._transport is None or self._transport.is_closing():
            return
        self._transport.close()
        loop = asyncio.get_running_loop()
        self._set_deadline(loop.call_later(CLOSING_TIMEOUT_S, self._transport.abort))
        self._end_streams()

    def send_event(self, stream_id: int, event_type: str, event: Mapping[str, Any]) -> None:
        """Sends an event of a subscription, unless it cannot be sent."""
        try:
            message = self._protocol.replies.event(stream_id, event_type, event)
        except ValueError as error:
            # As the classic nucleus loses an event that holds a NaN.
            _log.warning("connection %d: an event was lost: %s", self.number, error)
            return
        data = encode_message(message)
        if self._fits(data) or not self._service.personality.drops_large_events:
            self._write(data)
        else:
            _log.debug("connection %d: an event of %d bytes was lost", self.number, len(data))

    # --- acting -----------------------------------------------------------------------------------

    @property
    def _is_closing(self) -> bool:
        ends = self._transport is None or self._transport.is_closing()
        return ends or self._has_said_last_word

    def _set_deadline(self, deadline: asyncio.TimerHandle | None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = deadline

    def _close_with(self, last_word: Message | None) -> None:
        """Closes the connection, at once or when the client has read the reason."""
        if last_word is None:
            self.close()
            return
        self._send(last_word)
        self._has_said_last_word = True
        self._end_streams()
        loop = asyncio.get_running_loop()
        self._set_deadline(loop.call_later(LAST_WORD_S, self.close))

    def _receive(self, message: Message) -> None:
        if not self._is_closing:
            self._act(self._protocol.receive(message))

    def _act(self, event: Event | None) -> None:
        match event:
            case None:
                pass
            case ConnectRequested():
                self._connect(event)
            case OperationRequested():
                self._operate(event)
            case StreamEnded(stream_id):
                self._end_stream(stream_id)
            case StreamRejected(stream_id, reply):
                self._end_stream(stream_id)
                self._send(reply)
            case PingReceived(reply):
                self._send(reply)
            case ProtocolViolated(reason, reply):
                _log.warning("connection %d is closed: got %s", self.number, reason)
                self._close_with(reply)
            case _:
                assert_never(event)

    def _connect(self, event: ConnectRequested) -> None:
        component = self._service.tokens.component_of(event.token) if event.token else None
        if component is None:
            _log.warning("connection %d is closed: its CONNECT was refused", self.number)
            self._close_with(self._protocol.refuse())
            return
        self._caller = Caller(component, self.number)
        self._send(self._protocol.accept())
        _log.info("component %s connected", component)

    def _operate(self, event: OperationRequested) -> None:
        _log.debug("connection %d: %s (%d)", self.number, event.operation, event.stream_id)
        operation = self._service.find(event.operation)
        replies = self._protocol.replies
        if operation is None:
            self._send(replies.no_operation(event.stream_id, event.operation))
        elif event.request is None:
            self._send(replies.failure(event.stream_id))
        else:
            self._run(operation, event.operation.removeprefix(NAMESPACE), event, event.request)

    def _run(
        self, operation: Operation, name: str, event: OperationRequested, request: dict[str, Any]
    ) -> None:
        assert self._caller is not None
        replies, stream_id = self._protocol.replies, event.stream_id
        stream = _Stream(self, stream_id)
        is_open = False
        try:
            response = operation.run(self._caller, request, stream)
            answer = replies.first_response if operation.is_subscription else replies.response
            reply = answer(stream_id, name, response)
            is_open = operation.is_subscription
        except IpcError as error:
            reply = replies.error(stream_id, error)
        except Exception:
            _log.exception("connection %d: %s failed", self.number, name)
            reply = replies.failure(stream_id)
        if is_open:
            self._end_stream(stream_id)  # lite lets a client use an id again
            self._protocol.keep_open(stream_id)
            self._streams[stream_id] = stream
            self._send(reply)
            stream.open()
        else:
            stream.end()
            self._send(reply)

    def _end_stream(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None:
            stream.end()

    def _end_streams(self) -> None:
        for stream_id in list(self._streams):
            self._end_stream(stream_id)

    # --- sending ----------------------------------------------------------------------------------

    def _fits(self, data: bytes) -> bool:
        return len(data) <= self._service.personality.max_packet_bytes

    def _send(self, message: Message) -> None:
        data = encode_message(message)
        if not self._fits(data) and self._service.personality.drops_large_events:
            stream_id = message.integer(STREAM_ID) or 0
            data = encode_message(self._protocol.replies.failure(stream_id))
        self._write(data)

    def _write(self, data: bytes) -> None:
        """Sends, or disconnects whoever would not read it."""
        if self._transport is None or self._is_closing:
            return
        if not self._fits(data):
            _log.warning(
                "connection %d is closed: got an answer of %d bytes", self.number, len(data)
            )
            self.close()
            return
        self._transport.write(data)
        unread = self._transport.get_write_buffer_size()
        if unread > self._service.max_unread_bytes:
            _log.warning("connection %d is closed: it left %d bytes unread", self.number, unread)
            self._transport.abort()
            self._end_streams()


class _Stream:
    """The stream of a subscription, as its operation sees it."""

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self._early: list[tuple[str, Mapping[str, Any]]] = []
        self._callbacks: list[Callable[[], None]] = []
        self._is_open = False
        self._has_ended = False

    def send(self, event_type: str, event: Mapping[str, Any]) -> None:
        """See `Stream`."""
        if self._is_open:
            self._connection.send_event(self._stream_id, event_type, event)
        elif not self._has_ended:
            self._early.append((event_type, event))

    def on_close(self, callback: Callable[[], None]) -> None:
        """See `Stream`."""
        if self._has_ended:
            callback()
        else:
            self._callbacks.append(callback)

    def open(self) -> None:
        """Lets the events out; the first response has been sent."""
        self._is_open = not self._has_ended
        early, self._early = self._early, []
        for event_type, event in early:
            self.send(event_type, event)

    def end(self) -> None:
        """Tells everybody who wants to know; a second call does nothing."""
        self._is_open = False
        self._has_ended = True
        self._early = []
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            try:
                callback()
            except Exception:
                _log.exception("the end of a stream could not be told")
