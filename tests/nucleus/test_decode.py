import struct
import zlib
from collections.abc import Iterator
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.eventstream.decode import (
    DecodeError,
    Decoder,
    HeaderError,
    LengthError,
    MessageChecksumError,
    MessageTooLargeError,
    PreludeChecksumError,
)
from nucleus.eventstream.encode import encode_message
from nucleus.eventstream.message import (
    INTEGER_BYTES,
    MAX_VALUE_BYTES,
    Header,
    HeaderType,
    HeaderValue,
    Message,
)
from tests.nucleus.golden import GOLDEN, golden
from tests.nucleus.wire import frame

LIMIT = 10_000


def decode(data: bytes, limit: int = LIMIT) -> list[Message]:
    decoder = Decoder(limit)
    decoder.feed(data)
    return list(decoder.messages())


def sealed(headers: bytes, payload: bytes = b"", length: int | None = None) -> bytes:
    """A frame with right checksums around any block of headers."""
    total = 16 + len(headers) + len(payload)
    prelude = struct.pack(">II", total, len(headers) if length is None else length)
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


# --- golden frames: whole, byte by byte, with trailing bytes --------------------------------------


@golden
def test_whole_frame_is_its_message(name: str) -> None:
    """Every one that was recorded."""
    assert decode(frame(name)) == [GOLDEN[name]]


@golden
def test_frame_fed_byte_by_byte_comes_with_its_last_byte(name: str) -> None:
    """And not before."""
    decoder = Decoder(LIMIT)
    data = frame(name)
    for byte in data[:-1]:
        decoder.feed(bytes((byte,)))
        assert list(decoder.messages()) == []
    assert decoder.pending_bytes == len(data) - 1
    decoder.feed(data[-1:])
    assert list(decoder.messages()) == [GOLDEN[name]]
    assert decoder.pending_bytes == 0


@golden
def test_trailing_bytes_wait_for_the_rest_of_their_message(name: str) -> None:
    """A frame ends where it says."""
    decoder = Decoder(LIMIT)
    data = frame(name)
    decoder.feed(data + data[:20])
    assert list(decoder.messages()) == [GOLDEN[name]]
    assert decoder.pending_bytes == 20
    decoder.feed(data[20:])
    assert list(decoder.messages()) == [GOLDEN[name]]


def test_all_frames_in_one_piece_come_in_order() -> None:
    """A busy client sends several at once."""
    data = b"".join(frame(name) for name in GOLDEN)
    assert decode(data) == list(GOLDEN.values())


# --- what is refused ------------------------------------------------------------------------------


def flip(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


@golden
def test_any_flipped_bit_is_found(name: str) -> None:
    """By one checksum or the other."""
    data = frame(name)
    for at in range(len(data)):
        expected = PreludeChecksumError if at < 12 else MessageChecksumError
        with pytest.raises(expected):
            decode(flip(data, at))


@pytest.mark.parametrize(
    ("data", "error", "code", "text"),
    [
        (
            flip(frame("connect-ack"), 0),
            PreludeChecksumError,
            "prelude_checksum",
            "prelude checksum: got 0x374cfe3f, expected 0xfbe6fea1",
        ),
        (
            flip(frame("connect-ack"), 70),
            MessageChecksumError,
            "message_checksum",
            "message checksum: got 0xe237e27c, expected 0xe237e27d",
        ),
        (
            sealed(b"", length=1),
            LengthError,
            "length",
            "lengths: got 16 bytes with 1 of headers, expected at least 17",
        ),
        (
            sealed(b"", b"x" * 9_985),
            MessageTooLargeError,
            "message_too_large",
            "message: got 10001 bytes, expected at most 10000",
        ),
        (
            sealed(b"\x01a\x0a"),
            HeaderError,
            "header",
            "headers: got type 10, expected one of 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        (
            sealed(b"\x01a\x04\x00\x00\x00"),
            HeaderError,
            "header",
            "headers: got 3 bytes at their end, expected 4",
        ),
        (
            sealed(b"\x01a\x07\x00\x05abc"),
            HeaderError,
            "header",
            "headers: got 3 bytes at their end, expected 5",
        ),
        (sealed(b"\x05a"), HeaderError, "header", "headers: got 1 bytes at their end, expected 5"),
        (
            sealed(b"\x01\xff\x00"),
            HeaderError,
            "header",
            "headers: got text that is no UTF-8, expected UTF-8",
        ),
        (
            sealed(b"\x00\x00" * 1025),
            HeaderError,
            "header",
            "headers: got more than 1024 headers, expected at most 1024",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bytes_that_are_no_message_are_refused(
    data: bytes, error: type[DecodeError], code: str, text: str
) -> None:
    """With the reason, in words and as a code."""
    with pytest.raises(error) as refusal:
        decode(data)
    assert str(refusal.value) == text
    assert refusal.value.code == code


def test_value_that_is_too_long_is_refused() -> None:
    """A length of two bytes could say more than is allowed."""
    length = MAX_VALUE_BYTES + 1
    headers = b"\x01a\x06" + struct.pack(">H", length) + bytes(length)
    with pytest.raises(HeaderError) as refusal:
        decode(sealed(headers), limit=1 << 20)
    assert str(refusal.value) == "headers: got header 'a' of 32768 bytes, expected at most 32767"


def test_message_that_is_too_long_is_refused_before_it_has_come() -> None:
    """Its first twelve bytes are enough, so nothing is kept for it."""
    decoder = Decoder(LIMIT)
    decoder.feed(sealed(b"", b"x" * LIMIT)[:12])
    with pytest.raises(MessageTooLargeError):
        list(decoder.messages())
    assert decoder.pending_bytes == 0


def test_message_of_exactly_the_limit_is_accepted() -> None:
    """The limit counts all bytes of it."""
    data = sealed(b"", b"x" * (LIMIT - 16))
    assert len(data) == LIMIT
    assert decode(data) == [Message((), b"x" * (LIMIT - 16))]


def test_messages_before_an_error_are_given_and_none_after() -> None:
    """Where a frame is broken, nobody knows where the next one starts."""
    decoder = Decoder(LIMIT)
    decoder.feed(frame("connect") + flip(frame("connect"), 3) + frame("connect"))
    found: Iterator[Message] = decoder.messages()
    assert next(found) == GOLDEN["connect"]
    with pytest.raises(PreludeChecksumError) as first:
        next(found)
    decoder.feed(frame("connect"))
    assert decoder.pending_bytes == 0
    with pytest.raises(PreludeChecksumError) as second:
        list(decoder.messages())
    assert second.value is first.value


def test_header_type_that_is_not_accepted_is_refused() -> None:
    """Nucleus lite reads two of them."""
    decoder = Decoder(LIMIT, (HeaderType.INT32, HeaderType.STRING))
    decoder.feed(frame("connect") + encode_message(Message((Header("a", HeaderType.BYTE, 1),))))
    found = decoder.messages()
    assert next(found) == GOLDEN["connect"]
    with pytest.raises(HeaderError) as refusal:
        next(found)
    assert str(refusal.value) == "headers: got type 2, expected one of 4, 7"


# --- properties -----------------------------------------------------------------------------------


def values(kind: HeaderType) -> st.SearchStrategy[HeaderValue]:
    if kind in INTEGER_BYTES:
        most = 1 << (8 * INTEGER_BYTES[kind] - 1)
        return st.integers(-most, most - 1)
    if kind is HeaderType.STRING:
        return st.text(max_size=20)
    if kind is HeaderType.BYTES:
        return st.binary(max_size=20)
    if kind is HeaderType.UUID:
        return st.integers(0, 2**128 - 1).map(lambda value: UUID(int=value))
    return st.just(kind is HeaderType.TRUE)


headers = st.sampled_from(HeaderType).flatmap(
    lambda kind: st.builds(Header, st.text(max_size=10), st.just(kind), values(kind))
)
messages = st.builds(Message, st.lists(headers, max_size=6).map(tuple), st.binary(max_size=50))


@given(st.lists(messages, max_size=4), st.lists(st.integers(1, 40), min_size=1, max_size=8))
def test_any_messages_survive_any_cutting(sent: list[Message], sizes: list[int]) -> None:
    """What was encoded is decoded, however the bytes arrive."""
    data = b"".join(map(encode_message, sent))
    decoder = Decoder(LIMIT)
    found: list[Message] = []
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        decoder.feed(data[at : at + size])
        found += decoder.messages()
        at, turn = at + size, turn + 1
    assert found == sent
    assert decoder.pending_bytes == 0
