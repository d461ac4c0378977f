"""The server's side of one connection as a state machine: messages in, events out, no I/O.

A connection begins with one CONNECT. After it each stream carries one operation: its first
message is the request, and whoever sends the flag TERMINATE_STREAM ends it. An operation is
answered before the next message is read, so only the streams of subscriptions stay open.
Source: aws-c-event-stream, source/event_stream_rpc_server.c (classic); aws-greengrass-lite,
modules/ggipcd/src/ipc_server.c (lite).
"""

import json
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from nucleus.eventstream.message import (
    MESSAGE_FLAGS,
    MESSAGE_TYPE,
    STREAM_ID,
    HeaderType,
    Message,
    MessageFlag,
    MessageType,
)
from nucleus.eventstream.replies import Replies
from nucleus.operation import Json
from nucleus.personality import Personality

VERSION = "0.1.0"
"""Of the protocol. Source: awsiotsdk 1.31, awsiot/eventstreamrpc.py."""


@dataclass(frozen=True, slots=True)
class ConnectRequested:
    """A CONNECT came: say `accept` or `refuse`.

    Attributes:
        token: None where the CONNECT is to be refused for what it is.
    """

    token: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class OperationRequested:
    """A new stream: answer it, and say `keep_open` for a subscription.

    Attributes:
        stream_id: of the stream.
        operation: as the client names it, such as `aws.greengrass#PublishToTopic`.
        request: its JSON object; None where the payload is none.
    """

    stream_id: int
    operation: str
    request: Json | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class StreamEnded:
    """The client ended an open stream."""

    stream_id: int


@dataclass(frozen=True, slots=True)
class StreamRejected:
    """What came on a stream cannot be: send the reply; the stream has ended, were it open."""

    stream_id: int
    reply: Message


@dataclass(frozen=True, slots=True)
class PingReceived:
    """A PING: send the reply."""

    reply: Message


@dataclass(frozen=True, slots=True)
class ProtocolViolated:
    """The client broke the protocol: send the reply, if there is one, and close the connection.

    Attributes:
        reason: what was wrong.
        reply: None where the connection is closed in silence.
    """

    reason: str
    reply: Message | None


Event = (
    ConnectRequested
    | OperationRequested
    | StreamEnded
    | StreamRejected
    | PingReceived
    | ProtocolViolated
)


class _Phase(Enum):
    NEW = auto()
    DECIDING = auto()
    OPEN = auto()
    CLOSED = auto()


class ServerProtocol:
    """What the messages of one connection mean."""

    def __init__(self, personality: Personality) -> None:
        self.replies = Replies(personality)
        self._personality = personality
        self._phase = _Phase.NEW
        self._last_stream_id = 0
        self._open: set[int] = set()

    @property
    def header_types(self) -> tuple[HeaderType, ...]:
        """The types of headers that may be decoded."""
        if self._personality.reads_every_header:
            return tuple(HeaderType)
        return (HeaderType.INT32, HeaderType.STRING)

    def accept(self) -> Message:
        """Accepts the CONNECT; gives the ACK."""
        self._phase = _Phase.OPEN
        return self.replies.accept()

    def refuse(self) -> Message | None:
        """Refuses the CONNECT, after which the connection must be closed; gives the ACK, if any."""
        self._phase = _Phase.CLOSED
        return self.replies.refuse()

    def keep_open(self, stream_id: int) -> None:
        """Keeps the stream of a subscription open until either side ends it."""
        self._open.add(stream_id)

    def end_stream(self, stream_id: int) -> Message | None:
        """Ends a stream from this side; gives the message, or None where it had ended already."""
        if stream_id not in self._open:
            return None
        self._open.remove(stream_id)
        return self.replies.end(stream_id)

    def receive(self, message: Message) -> Event | None:
        """What a message means; None where it means nothing.

        After `ProtocolViolated` and `refuse` nothing means anything.
        """
        if self._phase is _Phase.CLOSED:
            return None
        try:
            return self._receive(message)
        except _ViolationError as violation:
            self._phase = _Phase.CLOSED
            self._open.clear()
            reply = self.replies.violation(violation.reason, violation.message_type)
            return ProtocolViolated(violation.reason, reply)

    def _receive(self, message: Message) -> Event | None:
        kind = message.integer(MESSAGE_TYPE)
        flags = message.integer(MESSAGE_FLAGS)
        stream_id = message.integer(STREAM_ID)
        if kind is None or flags is None or stream_id is None:
            raise _ViolationError("a message without its three headers")
        if self._phase is not _Phase.OPEN:
            return self._before_connect(message, kind, flags, stream_id)
        if not self._personality.answers_violations:
            return self._on_lite(message, kind, flags, stream_id)
        if stream_id:
            return self._on_stream(message, kind, flags, stream_id)
        return self._without_stream(message, kind)

    def _before_connect(self, message: Message, kind: int, flags: int, stream_id: int) -> Event:
        if kind != MessageType.CONNECT or self._phase is not _Phase.NEW:
            raise _ViolationError("another message than one CONNECT before its ACK")
        if stream_id:
            raise _ViolationError("a CONNECT on a stream")
        if flags & _FLAGS and not self._personality.answers_violations:
            raise _ViolationError("a CONNECT with flags")
        self._phase = _Phase.DECIDING
        version = message.text(":version")
        if version != VERSION and (version is not None or self._personality.requires_version):
            return ConnectRequested(None)
        token = (self._parse(message.payload) or {}).get("authToken")
        return ConnectRequested(token if isinstance(token, str) else None)

    def _without_stream(self, message: Message, kind: int) -> Event | None:
        if kind == MessageType.PING:
            return PingReceived(self.replies.pong(message))
        if kind == MessageType.PING_RESPONSE:
            return None
        if kind == MessageType.CONNECT:
            raise _ViolationError("a second CONNECT")
        if kind in (
            MessageType.CONNECT_ACK,
            MessageType.PROTOCOL_ERROR,
            MessageType.INTERNAL_ERROR,
        ):
            raise _ViolationError(
                f"a message of type {kind} from a client", MessageType.INTERNAL_ERROR
            )
        raise _ViolationError(f"a message of type {kind} on no stream")

    def _on_stream(self, message: Message, kind: int, flags: int, stream_id: int) -> Event | None:
        if kind not in (MessageType.APPLICATION_MESSAGE, MessageType.APPLICATION_ERROR):
            raise _ViolationError(f"a message of type {kind} on a stream")
        if stream_id < 0:
            raise _ViolationError(f"the stream id {stream_id}")
        ends = bool(flags & MessageFlag.TERMINATE_STREAM)
        if stream_id <= self._last_stream_id:
            return self._on_old_stream(stream_id, ends=ends)
        if stream_id != self._last_stream_id + 1:
            raise _ViolationError(f"the stream id {stream_id} after {self._last_stream_id}")
        operation = message.text("operation")
        if not operation:
            raise _ViolationError("a new stream without an operation")
        self._last_stream_id = stream_id
        if ends:  # the client has gone before it was heard
            return None
        return OperationRequested(stream_id, operation, self._parse(message.payload))

    def _on_old_stream(self, stream_id: int, *, ends: bool) -> Event | None:
        if stream_id not in self._open:
            if ends:  # both sides ended it at the same time
                return None
            raise _ViolationError(f"a message on the closed stream {stream_id}")
        self._open.remove(stream_id)
        if ends:
            return StreamEnded(stream_id)
        # No operation takes more than its request.
        return StreamRejected(stream_id, self.replies.failure(stream_id))

    def _on_lite(self, message: Message, kind: int, flags: int, stream_id: int) -> Event | None:
        if not stream_id:
            raise _ViolationError("a message on no stream")
        if flags & MessageFlag.TERMINATE_STREAM:
            if stream_id not in self._open:
                return None
            self._open.remove(stream_id)
            return StreamEnded(stream_id)
        operation = message.text("operation")
        if kind != MessageType.APPLICATION_MESSAGE or flags & _FLAGS or operation is None:
            self._open.discard(stream_id)
            return StreamRejected(stream_id, self.replies.failure(stream_id))
        return OperationRequested(stream_id, operation, self._parse(message.payload))

    def _parse(self, payload: bytes) -> Json | None:
        """The JSON object in a payload; None where there is none."""
        constant = None if self._personality.mimics_java_json else _refuse_constant
        try:
            value = json.loads(payload, parse_constant=constant)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


_FLAGS = MessageFlag.CONNECTION_ACCEPTED | MessageFlag.TERMINATE_STREAM


class _ViolationError(Exception):
    def __init__(self, reason: str, message_type: MessageType = MessageType.PROTOCOL_ERROR) -> None:
        super().__init__(reason)
        self.reason = reason
        self.message_type = message_type


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"JSON: got {name}, expected a number")
