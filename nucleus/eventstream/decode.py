"""Bytes to messages, however the bytes are cut; the layout is told in `encode`."""

import zlib
from collections.abc import Collection, Iterator
from uuid import UUID

from nucleus.eventstream.encode import CHECKSUM, LENGTH, OVERHEAD_BYTES, PRELUDE
from nucleus.eventstream.message import (
    INTEGER_BYTES,
    MAX_HEADERS,
    Header,
    HeaderType,
    HeaderValue,
    Message,
    MessageError,
)

PRELUDE_BYTES = PRELUDE.size + CHECKSUM.size
"""What must be there before a message's length is known and can be trusted."""


class DecodeError(ValueError):
    """Bytes are no messages; nothing that follows them can be read.

    Attributes:
        code: which of the errors, for programs.
        observed: what was found.
        expected: what should have been.
    """

    code = "decode"
    place = "message"

    def __init__(self, observed: str, expected: str) -> None:
        super().__init__(f"{self.place}: got {observed}, expected {expected}")
        self.observed = observed
        self.expected = expected


class PreludeChecksumError(DecodeError):
    """The checksum of the lengths is wrong."""

    code = "prelude_checksum"
    place = "prelude checksum"


class LengthError(DecodeError):
    """The lengths contradict each other."""

    code = "length"
    place = "lengths"


class MessageTooLargeError(DecodeError):
    """The message is longer than is accepted; it was not waited for."""

    code = "message_too_large"


class MessageChecksumError(DecodeError):
    """The checksum of the whole message is wrong."""

    code = "message_checksum"
    place = "message checksum"


class HeaderError(DecodeError):
    """The headers cannot be read."""

    code = "header"
    place = "headers"


class Decoder:
    """Takes bytes as they come and gives the messages in them.

    It holds at most one message that is not complete, and what was fed after it.
    """

    def __init__(
        self, max_message_bytes: int, header_types: Collection[HeaderType] = tuple(HeaderType)
    ) -> None:
        """Starts at the beginning of a message.

        Args:
            max_message_bytes: the longest whole message.
            header_types: those that are accepted.
        """
        self._max_message_bytes = max_message_bytes
        self._header_types = frozenset(header_types)
        self._buffer = bytearray()
        self._lengths: tuple[int, int] | None = None
        self._error: DecodeError | None = None

    @property
    def pending_bytes(self) -> int:
        """How many bytes wait for the rest of their message."""
        return len(self._buffer)

    def feed(self, data: bytes) -> None:
        """Takes the next bytes; `messages` says what they are. After an error they are dropped."""
        if self._error is None:
            self._buffer += data

    def messages(self) -> Iterator[Message]:
        """The messages that are complete, each once.

        Raises:
            DecodeError: what follows is no message; so does every later call.
        """
        while self._error is None:
            try:
                message = self._next()
            except DecodeError as error:
                self._error = error
                self._buffer.clear()
                break
            if message is None:
                return
            yield message
        raise self._error

    def _next(self) -> Message | None:
        buffer = self._buffer
        if self._lengths is None:
            if len(buffer) < PRELUDE_BYTES:
                return None
            self._lengths = self._read_prelude(bytes(buffer[:PRELUDE_BYTES]))
        total, headers_bytes = self._lengths
        if len(buffer) < total:
            return None
        data = bytes(memoryview(buffer)[:total])
        del buffer[:total]
        self._lengths = None
        return self._read_message(data, headers_bytes)

    def _read_prelude(self, data: bytes) -> tuple[int, int]:
        total, headers_bytes = PRELUDE.unpack_from(data)
        (stated,) = CHECKSUM.unpack_from(data, PRELUDE.size)
        computed = zlib.crc32(data[: PRELUDE.size])
        if stated != computed:
            raise PreludeChecksumError(f"{stated:#010x}", f"{computed:#010x}")
        if total > self._max_message_bytes:
            raise MessageTooLargeError(f"{total} bytes", f"at most {self._max_message_bytes}")
        if total < OVERHEAD_BYTES + headers_bytes:
            observed = f"{total} bytes with {headers_bytes} of headers"
            raise LengthError(observed, f"at least {OVERHEAD_BYTES + headers_bytes}")
        return total, headers_bytes

    def _read_message(self, data: bytes, headers_bytes: int) -> Message:
        end = len(data) - CHECKSUM.size
        (stated,) = CHECKSUM.unpack_from(data, end)
        computed = zlib.crc32(memoryview(data)[:end])
        if stated != computed:
            raise MessageChecksumError(f"{stated:#010x}", f"{computed:#010x}")
        payload_at = PRELUDE_BYTES + headers_bytes
        headers = _HeaderReader(data[PRELUDE_BYTES:payload_at], self._header_types).read()
        return Message(headers, data[payload_at:end])


class _HeaderReader:
    """Reads one block of headers from its start to its end."""

    def __init__(self, data: bytes, types: Collection[HeaderType]) -> None:
        self._data = data
        self._types = types
        self._at = 0

    def read(self) -> tuple[Header, ...]:
        headers: list[Header] = []
        try:
            while self._at < len(self._data):
                if len(headers) == MAX_HEADERS:
                    raise HeaderError(f"more than {MAX_HEADERS} headers", f"at most {MAX_HEADERS}")
                headers.append(self._header())
        except UnicodeDecodeError as error:
            raise HeaderError("text that is no UTF-8", "UTF-8") from error
        except MessageError as error:
            raise HeaderError(f"{error.place} of {error.observed}", error.expected) from error
        return tuple(headers)

    def _header(self) -> Header:
        name = self._take(self._take(1)[0]).decode()
        number = self._take(1)[0]
        if number not in self._types:
            known = ", ".join(str(int(kind)) for kind in sorted(self._types))
            raise HeaderError(f"type {number}", f"one of {known}")
        kind = HeaderType(number)
        return Header(name, kind, self._value(kind))

    def _value(self, kind: HeaderType) -> HeaderValue:
        if kind in INTEGER_BYTES:
            return int.from_bytes(self._take(INTEGER_BYTES[kind]), "big", signed=True)
        if kind is HeaderType.UUID:
            return UUID(bytes=self._take(16))
        if kind in (HeaderType.TRUE, HeaderType.FALSE):
            return kind is HeaderType.TRUE
        (length,) = LENGTH.unpack(self._take(LENGTH.size))
        value = self._take(length)
        return value.decode() if kind is HeaderType.STRING else value

    def _take(self, n_bytes: int) -> bytes:
        taken = self._data[self._at : self._at + n_bytes]
        if len(taken) < n_bytes:
            raise HeaderError(f"{len(taken)} bytes at their end", f"{n_bytes}")
        self._at += n_bytes
        return taken
