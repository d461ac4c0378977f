"""What travels on the socket: a message of headers and a payload.

Values validate themselves, so that what exists can be encoded.
Source: aws-greengrass-lite, docs/spec/library/eventstream.md; aws-c-event-stream,
include/aws/event-stream/event_stream.h and event_stream_rpc.h.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from uuid import UUID

MAX_NAME_BYTES = 255
"""Of a header's name. Source: aws-c-event-stream, AWS_EVENT_STREAM_HEADER_NAME_LEN_MAX."""

MAX_VALUE_BYTES = 32_767
"""Of a text or bytes header. Source: aws-c-event-stream, AWS_EVENT_STREAM_HEADER_VALUE_LEN_MAX."""

MAX_HEADERS = 1024
"""Of one message. Source: aws-c-event-stream, AWS_EVENT_STREAM_MESSAGE_MAX_HEADERS."""

MESSAGE_TYPE = ":message-type"
MESSAGE_FLAGS = ":message-flags"
STREAM_ID = ":stream-id"

HeaderValue = bool | int | bytes | str | UUID


class HeaderType(IntEnum):
    """How a header's value is written."""

    TRUE = 0
    FALSE = 1
    BYTE = 2
    INT16 = 3
    INT32 = 4
    INT64 = 5
    BYTES = 6
    STRING = 7
    TIMESTAMP = 8
    UUID = 9


INTEGER_BYTES = {
    HeaderType.BYTE: 1,
    HeaderType.INT16: 2,
    HeaderType.INT32: 4,
    HeaderType.INT64: 8,
    HeaderType.TIMESTAMP: 8,
}
"""The width of each signed integer type; a timestamp counts milliseconds since 1970."""


class MessageType(IntEnum):
    """The header `:message-type`; the first two belong to a stream, the others to none."""

    APPLICATION_MESSAGE = 0
    APPLICATION_ERROR = 1
    PING = 2
    PING_RESPONSE = 3
    CONNECT = 4
    CONNECT_ACK = 5
    PROTOCOL_ERROR = 6
    INTERNAL_ERROR = 7


class MessageFlag(IntFlag):
    """The header `:message-flags`."""

    NONE = 0
    CONNECTION_ACCEPTED = 1
    TERMINATE_STREAM = 2


class MessageError(ValueError):
    """A message cannot be: `PLACE: got OBSERVED, expected EXPECTED`.

    Attributes:
        place: the header, or the message.
        observed: what it is.
        expected: what it should be.
    """

    code = "message"

    def __init__(self, place: str, observed: str, expected: str) -> None:
        super().__init__(f"{place}: got {observed}, expected {expected}")
        self.place = place
        self.observed = observed
        self.expected = expected


@dataclass(frozen=True, slots=True)
class Header:
    """A named value.

    Attributes:
        name: up to 255 bytes of UTF-8.
        type: how the value is written.
        value: True and False for their types, an integer in the type's range (a timestamp in
            milliseconds since 1970), up to 32 767 bytes, text of as many bytes in UTF-8, or a
            UUID.

    Raises:
        MessageError: the name or the value cannot be written.
    """

    name: str
    type: HeaderType
    value: HeaderValue

    def __post_init__(self) -> None:
        _check_text("header name", self.name, MAX_NAME_BYTES)
        kind, value, place = self.type, self.value, f"header {self.name!r}"
        if kind in INTEGER_BYTES:
            _check_integer(place, value, INTEGER_BYTES[kind])
        elif kind is HeaderType.STRING:
            _check_text(place, value, MAX_VALUE_BYTES)
        elif kind is HeaderType.BYTES:
            _check_type(place, value, bytes)
            _check_size(place, len(value), MAX_VALUE_BYTES)  # type: ignore[arg-type]
        elif kind is HeaderType.UUID:
            _check_type(place, value, UUID)
        elif value is not (kind is HeaderType.TRUE):
            raise MessageError(place, repr(value), str(kind is HeaderType.TRUE))


@dataclass(frozen=True, slots=True)
class Message:
    """One message.

    Attributes:
        headers: up to 1024, in their order.
        payload: any bytes.

    Raises:
        MessageError: there are too many headers.
    """

    headers: tuple[Header, ...]
    payload: bytes = b""

    def __post_init__(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise MessageError("message", f"{len(self.headers)} headers", f"at most {MAX_HEADERS}")

    def integer(self, name: str) -> int | None:
        """The value of the last int32 header of this name, whatever its case; None without one."""
        value = self._last(name, HeaderType.INT32)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str | None:
        """The value of the last text header of this name, whatever its case; None without one."""
        value = self._last(name, HeaderType.STRING)
        return value if isinstance(value, str) else None

    def _last(self, name: str, kind: HeaderType) -> HeaderValue | None:
        for header in reversed(self.headers):
            if header.type is kind and header.name.lower() == name:
                return header.value
        return None


def make_message(
    message_type: MessageType,
    stream_id: int,
    *,
    flags: MessageFlag = MessageFlag.NONE,
    extra: tuple[Header, ...] = (),
    payload: bytes = b"",
) -> Message:
    """A message of the RPC protocol.

    Args:
        message_type: of the message.
        stream_id: zero where the message belongs to no stream.
        flags: of the message.
        extra: the headers beside the protocol's own three.
        payload: any bytes.

    Raises:
        MessageError: a header cannot be written.
    """
    headers = (
        Header(MESSAGE_TYPE, HeaderType.INT32, int(message_type)),
        Header(MESSAGE_FLAGS, HeaderType.INT32, int(flags)),
        Header(STREAM_ID, HeaderType.INT32, stream_id),
        *extra,
    )
    return Message(headers, payload)


def text_header(name: str, value: str) -> Header:
    """A header of text.

    Raises:
        MessageError: the name or the text cannot be written.
    """
    return Header(name, HeaderType.STRING, value)


def _check_type(place: str, value: object, expected: type) -> None:
    if not isinstance(value, expected):
        raise MessageError(place, f"a {type(value).__name__}", f"a {expected.__name__}")


def _check_size(place: str, n_bytes: int, most: int) -> None:
    if n_bytes > most:
        raise MessageError(place, f"{n_bytes} bytes", f"at most {most}")


def _check_text(place: str, value: object, most: int) -> None:
    _check_type(place, value, str)
    assert isinstance(value, str)
    try:
        n_bytes = len(value.encode())
    except UnicodeEncodeError as error:
        raise MessageError(place, "half a surrogate pair", "text that UTF-8 can hold") from error
    _check_size(place, n_bytes, most)


def _check_integer(place: str, value: object, n_bytes: int) -> None:
    if isinstance(value, bool):  # which Python takes for an integer
        raise MessageError(place, "a bool", "a int")
    _check_type(place, value, int)
    assert isinstance(value, int)
    most = 1 << (8 * n_bytes - 1)
    if not -most <= value < most:
        raise MessageError(place, str(value), f"an integer of {n_bytes} bytes")
