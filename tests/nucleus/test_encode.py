import struct
import zlib
from uuid import UUID

from nucleus.eventstream.encode import OVERHEAD_BYTES, encode_message
from nucleus.eventstream.message import Header, HeaderType, Message
from tests.nucleus.golden import GOLDEN, golden
from tests.nucleus.wire import frame


@golden
def test_golden_message_has_the_recorded_bytes(name: str) -> None:
    """Made and read by the unmodified clients of AWS."""
    assert encode_message(GOLDEN[name]) == frame(name)


def test_empty_message_is_overhead_alone() -> None:
    """Two lengths and two checksums."""
    data = encode_message(Message(()))
    prelude = struct.pack(">II", 16, 0)
    head = prelude + struct.pack(">I", zlib.crc32(prelude))
    assert data == head + struct.pack(">I", zlib.crc32(head))
    assert len(data) == OVERHEAD_BYTES


def test_every_header_type_has_its_form() -> None:
    """Big-endian and signed; text and bytes after their length."""
    headers = (
        Header("t", HeaderType.TRUE, value=True),
        Header("f", HeaderType.FALSE, value=False),
        Header("b", HeaderType.BYTE, -2),
        Header("h", HeaderType.INT16, -2),
        Header("i", HeaderType.INT32, 258),
        Header("q", HeaderType.INT64, -2),
        Header("y", HeaderType.BYTES, b"\x00\xff"),
        Header("é", HeaderType.STRING, "ü"),
        Header("", HeaderType.TIMESTAMP, 1),
        Header("u", HeaderType.UUID, UUID(int=1)),
    )
    expected = (
        b"\x01t\x00"
        b"\x01f\x01"
        b"\x01b\x02\xfe"
        b"\x01h\x03\xff\xfe"
        b"\x01i\x04\x00\x00\x01\x02"
        b"\x01q\x05\xff\xff\xff\xff\xff\xff\xff\xfe"
        b"\x01y\x06\x00\x02\x00\xff"
        b"\x02\xc3\xa9\x07\x00\x02\xc3\xbc"
        b"\x00\x08\x00\x00\x00\x00\x00\x00\x00\x01"
        b"\x01u\x09" + bytes(15) + b"\x01"
    )
    assert encode_message(Message(headers))[12:-4] == expected
