from typing import Any
from uuid import UUID

import pytest

from nucleus.eventstream.message import (
    MAX_HEADERS,
    Header,
    HeaderType,
    Message,
    MessageError,
    MessageFlag,
    MessageType,
    make_message,
    text_header,
)


@pytest.mark.parametrize(
    ("name", "kind", "value", "text"),
    [
        ("n" * 256, HeaderType.TRUE, True, "header name: got 256 bytes, expected at most 255"),
        ("é" * 128, HeaderType.TRUE, True, "header name: got 256 bytes, expected at most 255"),
        (
            "\ud800",
            HeaderType.TRUE,
            True,
            "header name: got half a surrogate pair, expected text that UTF-8 can hold",
        ),
        (b"n", HeaderType.TRUE, True, "header name: got a bytes, expected a str"),
        ("n", HeaderType.TRUE, False, "header 'n': got False, expected True"),
        ("n", HeaderType.TRUE, 1, "header 'n': got 1, expected True"),
        ("n", HeaderType.FALSE, True, "header 'n': got True, expected False"),
        ("n", HeaderType.BYTE, 128, "header 'n': got 128, expected an integer of 1 bytes"),
        ("n", HeaderType.BYTE, -129, "header 'n': got -129, expected an integer of 1 bytes"),
        ("n", HeaderType.INT16, 2**15, "header 'n': got 32768, expected an integer of 2 bytes"),
        ("n", HeaderType.INT32, True, "header 'n': got a bool, expected a int"),
        ("n", HeaderType.INT32, "1", "header 'n': got a str, expected a int"),
        ("n", HeaderType.INT64, 1.0, "header 'n': got a float, expected a int"),
        ("n", HeaderType.BYTES, "x", "header 'n': got a str, expected a bytes"),
        (
            "n",
            HeaderType.BYTES,
            b"x" * 32_768,
            "header 'n': got 32768 bytes, expected at most 32767",
        ),
        (
            "n",
            HeaderType.STRING,
            "x" * 32_768,
            "header 'n': got 32768 bytes, expected at most 32767",
        ),
        ("n", HeaderType.UUID, "x", "header 'n': got a str, expected a UUID"),
    ],
)
def test_header_that_cannot_be_written_is_refused(
    name: Any, kind: HeaderType, value: Any, text: str
) -> None:
    """By its constructor, so that none exists."""
    with pytest.raises(MessageError) as refusal:
        Header(name, kind, value)
    assert str(refusal.value) == text
    assert refusal.value.code == "message"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (HeaderType.TRUE, True),
        (HeaderType.FALSE, False),
        (HeaderType.BYTE, -128),
        (HeaderType.INT16, 2**15 - 1),
        (HeaderType.INT32, -(2**31)),
        (HeaderType.INT64, 2**63 - 1),
        (HeaderType.TIMESTAMP, -(2**63)),
        (HeaderType.BYTES, b"x" * 32_767),
        (HeaderType.STRING, "é" * 16_383),
        (HeaderType.UUID, UUID(int=5)),
    ],
)
def test_header_at_its_limit_is_accepted(kind: HeaderType, value: Any) -> None:
    """And keeps its value."""
    assert Header("n" * 255, kind, value).value == value


def test_message_with_too_many_headers_is_refused() -> None:
    """The client of AWS reads no more either."""
    header = text_header("a", "b")
    assert len(Message((header,) * MAX_HEADERS).headers) == 1024
    with pytest.raises(MessageError) as refusal:
        Message((header,) * (MAX_HEADERS + 1))
    assert str(refusal.value) == "message: got 1025 headers, expected at most 1024"


def test_lookup_ignores_case_and_other_types_and_takes_the_last() -> None:
    """As the client of AWS compares names."""
    message = Message(
        (
            Header(":Stream-ID", HeaderType.INT32, 1),
            Header(":stream-id", HeaderType.INT32, 2),
            Header(":stream-id", HeaderType.INT64, 3),
            text_header(":stream-id", "four"),
            text_header("Operation", "five"),
        )
    )
    assert message.integer(":stream-id") == 2
    assert message.text(":stream-id") == "four"
    assert message.text("operation") == "five"
    assert message.integer("operation") is None
    assert message.text("absent") is None


def test_protocol_message_has_its_three_headers_first() -> None:
    """Then what it says beside them."""
    made = make_message(
        MessageType.APPLICATION_ERROR,
        7,
        flags=MessageFlag.TERMINATE_STREAM,
        extra=(text_header("a", "b"),),
        payload=b"p",
    )
    assert made == Message(
        (
            Header(":message-type", HeaderType.INT32, 1),
            Header(":message-flags", HeaderType.INT32, 2),
            Header(":stream-id", HeaderType.INT32, 7),
            Header("a", HeaderType.STRING, "b"),
        ),
        b"p",
    )
