"""A raw client for the IPC socket, to say what no proper client would say."""

import json
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nucleus.eventstream.decode import DecodeError, Decoder
from nucleus.eventstream.encode import encode_message
from nucleus.eventstream.message import Header, Message, MessageFlag, MessageType, make_message
from nucleus.eventstream.message import text_header as text

PATIENCE_S = 10.0
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
FRAMES = Path(__file__).parents[1] / "data" / "frames"


def frame(name: str) -> bytes:
    """The bytes of a golden frame."""
    return bytes.fromhex((FRAMES / f"{name}.hex").read_text())


def connect_message(token: str, *extra: Header, version: str | None = "0.1.0") -> Message:
    """A CONNECT as awsiotsdk writes it."""
    headers = extra if version is None else (text(":version", version), *extra)
    payload = json.dumps({"authToken": token}).encode()
    return make_message(MessageType.CONNECT, 0, extra=headers, payload=payload)


def request_message(
    stream_id: int, operation: str, request: Any, flags: MessageFlag = MessageFlag.NONE
) -> Message:
    """The first message of a stream; bytes are sent as they are."""
    payload = request if isinstance(request, bytes) else json.dumps(request).encode()
    headers = (
        text(":content-type", "application/json"),
        text("service-model-type", f"aws.greengrass#{operation}Request"),
        text("operation", f"aws.greengrass#{operation}"),
    )
    return make_message(
        MessageType.APPLICATION_MESSAGE, stream_id, flags=flags, extra=headers, payload=payload
    )


def end_message(stream_id: int) -> Message:
    """The client's end of a stream."""
    flags = MessageFlag.TERMINATE_STREAM
    return make_message(MessageType.APPLICATION_MESSAGE, stream_id, flags=flags)


def decode_all(pieces: Iterable[bytes], max_message_bytes: int) -> tuple[list[Message], str]:
    """The messages in a stream that comes in pieces, and the error that ends it; empty for none.

    Raises:
        AssertionError: more than a message waited to be whole.
    """
    decoder = Decoder(max_message_bytes)
    found: list[Message] = []
    for piece in pieces:
        decoder.feed(piece)
        try:
            for message in decoder.messages():
                found.append(message)  # noqa: PERF402  (those before an error count)
        except DecodeError as error:
            return found, f"{error.code}: {error}"
        assert decoder.pending_bytes < max_message_bytes
    return found, ""


class Client:
    """A socket that speaks messages."""

    def __init__(self, connection: socket.socket) -> None:
        self.socket = connection
        self._decoder = Decoder(MAX_MESSAGE_BYTES)
        self._messages: list[Message] = []

    def send(self, *messages: Message | bytes) -> None:
        """Sends messages, or any bytes, as one piece."""
        self.socket.sendall(
            b"".join(it if isinstance(it, bytes) else encode_message(it) for it in messages)
        )

    def receive(self) -> Message | None:
        """The next message; None where the server has closed the connection."""
        while not self._messages:
            try:
                data = self.socket.recv(1 << 16)
            except ConnectionResetError:
                data = b""
            if not data:
                assert self._decoder.pending_bytes == 0
                return None
            self._decoder.feed(data)
            self._messages += self._decoder.messages()
        return self._messages.pop(0)

    def expect(self) -> Message:
        """The next message, which must come."""
        message = self.receive()
        assert message is not None, "the connection is closed"
        return message

    def call(self, stream_id: int, operation: str, request: Any) -> Message:
        """Sends a request; gives its first response."""
        self.send(request_message(stream_id, operation, request))
        return self.expect()


def parts(message: Message) -> tuple[MessageType, MessageFlag, int, str | None, Any]:
    """Type, flags, stream id, service-model-type and the payload, parsed where it is JSON."""
    kind, flags, stream_id = (
        message.integer(name) for name in (":message-type", ":message-flags", ":stream-id")
    )
    assert kind is not None
    assert flags is not None
    assert stream_id is not None
    payload: Any = message.payload
    if message.text(":content-type") == "application/json":
        payload = json.loads(payload)
    model_type = message.text("service-model-type")
    return MessageType(kind), MessageFlag(flags), stream_id, model_type, payload


@contextmanager
def client(path: Path) -> Iterator[Client]:
    """A connection that has said nothing yet."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE_S)
        connection.connect(os.fspath(path))
        yield Client(connection)


@contextmanager
def connected(path: Path, token: str) -> Iterator[Client]:
    """A connection that has been accepted."""
    with client(path) as found:
        found.send(connect_message(token))
        assert parts(found.expect())[:2] == (
            MessageType.CONNECT_ACK,
            MessageFlag.CONNECTION_ACCEPTED,
        )
        yield found
