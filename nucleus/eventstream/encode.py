"""A message to its bytes.

The layout, all big-endian: total length, length of the headers, CRC-32 of these two; headers;
payload; CRC-32 of everything before it. A header is its name's length in one byte, the name, the
type in one byte, and the value.
Source: aws-greengrass-lite, docs/spec/library/eventstream.md.
"""

import struct
import zlib
from uuid import UUID

from nucleus.eventstream.message import INTEGER_BYTES, Header, HeaderType, Message

PRELUDE = struct.Struct(">II")
"""Total length and length of the headers, in bytes."""

CHECKSUM = struct.Struct(">I")
LENGTH = struct.Struct(">H")

OVERHEAD_BYTES = PRELUDE.size + 2 * CHECKSUM.size
"""Of a message with no headers and no payload."""


def encode_message(message: Message) -> bytes:
    """The bytes of a message."""
    headers = b"".join(map(_encode_header, message.headers))
    prelude = PRELUDE.pack(OVERHEAD_BYTES + len(headers) + len(message.payload), len(headers))
    head = prelude + CHECKSUM.pack(zlib.crc32(prelude)) + headers
    checksum = zlib.crc32(message.payload, zlib.crc32(head))
    return b"".join((head, message.payload, CHECKSUM.pack(checksum)))


def _encode_header(header: Header) -> bytes:
    name = header.name.encode()
    return b"".join((bytes((len(name),)), name, bytes((header.type,)), _encode_value(header)))


def _encode_value(header: Header) -> bytes:
    value = header.value
    if isinstance(value, str):
        value = value.encode()
    if isinstance(value, bytes):
        return LENGTH.pack(len(value)) + value
    if isinstance(value, UUID):
        return value.bytes
    if header.type in (HeaderType.TRUE, HeaderType.FALSE):
        return b""
    return value.to_bytes(INTEGER_BYTES[header.type], "big", signed=True)
