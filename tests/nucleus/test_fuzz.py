"""Random and mutated bytes: only documented errors, and a server that lives on.

In the suite each fuzzer has a second or two; with `EDGEXGB_FUZZ_SECONDS=300` in the environment
each has that long, with fresh seeds. A failure prints its seed; `EDGEXGB_FUZZ_SEED` repeats it.
"""

import os
import random
import socket
import struct
import time
import zlib
from collections.abc import Iterator
from uuid import UUID

import pytest

from nucleus.eventstream.encode import encode_message
from nucleus.eventstream.message import (
    INTEGER_BYTES,
    Header,
    HeaderType,
    Message,
    MessageFlag,
    MessageType,
)
from nucleus.personality import Personality
from tests.nucleus.conftest import RunningServer, running_server
from tests.nucleus.golden import GOLDEN
from tests.nucleus.wire import (
    Client,
    client,
    connect_message,
    connected,
    decode_all,
    end_message,
    frame,
    parts,
    request_message,
)

SECONDS = float(os.environ.get("EDGEXGB_FUZZ_SECONDS", "1.2"))
IS_LONG = "EDGEXGB_FUZZ_SECONDS" in os.environ
FIRST_SEED = int(os.environ.get("EDGEXGB_FUZZ_SEED", str(time.time_ns()) if IS_LONG else "0"))

LIMIT = 10_000


def seeds() -> Iterator[int]:
    """One after the other, until the time is over."""
    deadline = time.monotonic() + SECONDS
    seed = FIRST_SEED
    while time.monotonic() < deadline:
        yield seed
        seed += 1


def sealed(headers: bytes, payload: bytes) -> bytes:
    """A frame with right checksums around any block of headers."""
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    body = prelude + struct.pack(">I", zlib.crc32(prelude)) + headers + payload
    return body + struct.pack(">I", zlib.crc32(body))


class Mutator:
    """Makes bytes that are nearly right."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def chance(self, share: float) -> bool:
        return self._random.random() < share

    def pick(self, *options: object) -> object:
        return self._random.choice(options)

    def noise(self, most: int) -> bytes:
        return self._random.randbytes(self._random.randint(0, most))

    def mutate(self, data: bytes) -> bytes:
        """Flips, cuts, doubles and inserts."""
        changed = bytearray(data)
        for _ in range(self._random.randint(1, 4)):
            at = self._random.randint(0, max(0, len(changed) - 1))
            match self._random.randint(0, 4):
                case 0 if changed:
                    changed[at] ^= 1 << self._random.randint(0, 7)
                case 1:
                    del changed[at : at + self._random.randint(1, 8)]
                case 2:
                    changed[at:at] = changed[at : at + self._random.randint(1, 16)]
                case 3:
                    changed[at:at] = self.noise(8)
                case _:
                    del changed[at:]
        return bytes(changed)

    def integer(self, kind: HeaderType) -> int:
        most = 1 << (8 * INTEGER_BYTES[kind] - 1)
        if self.chance(0.7):
            return self._random.randint(-2, 9)
        return self._random.choice([-most, most - 1, 0])

    def header(self) -> Header:
        names = (":message-type", ":message-flags", ":stream-id", "operation", ":version", "é", "")
        name = self._random.choice(names)
        kind = self._random.choice([*HeaderType, HeaderType.INT32, HeaderType.INT32])
        if kind in INTEGER_BYTES:
            return Header(name, kind, self.integer(kind))
        if kind is HeaderType.STRING:
            return Header(name, kind, self._random.choice(["", "aws.greengrass#Fly", "\0é"]))
        if kind is HeaderType.BYTES:
            return Header(name, kind, self.noise(20))
        if kind is HeaderType.UUID:
            return Header(name, kind, UUID(int=self._random.getrandbits(128)))
        return Header(name, kind, kind is HeaderType.TRUE)

    def piece(self, whole: Message) -> bytes:
        """Some bytes for the decoder, made from a message."""
        data = encode_message(whole)
        match self._random.randint(0, 5):
            case 0:
                return data
            case 1:
                return self.mutate(data)
            case 2:
                return self.noise(60)
            case 3:
                return sealed(self.noise(60), self.noise(20))
            case 4:
                headers_bytes = int.from_bytes(data[4:8], "big")
                return sealed(self.mutate(data[12 : 12 + headers_bytes]), whole.payload)
            case _:
                headers = tuple(self.header() for _ in range(self._random.randint(0, 6)))
                return encode_message(Message(headers, self.mutate(whole.payload)))

    def cut(self, data: bytes) -> Iterator[bytes]:
        """The same bytes in pieces."""
        at = 0
        while at < len(data):
            size = self._random.randint(1, 200)
            yield data[at : at + size]
            at += size

    def conversation(self, token: str) -> Iterator[bytes]:
        """What a rude client sends, one piece after the other."""
        if self.chance(0.9):
            yield encode_message(connect_message(token))
        else:
            yield self.mutate(encode_message(connect_message(token)))
        stream_id = 0
        for _ in range(self._random.randint(0, 8)):
            stream_id = stream_id + 1 if self.chance(0.95) else self._random.randint(-1, 4)
            message = self._message(stream_id)
            yield encode_message(message) if self.chance(0.8) else self.piece(message)

    def _message(self, stream_id: int) -> Message:
        topic = self.pick("a", "a/+", "#", "", 1, None, "x" * 300, {})
        union = self.pick(
            {"binaryMessage": {"message": "aGk="}},
            {"jsonMessage": {"message": {"x": [1] * self._random.randint(0, 250)}}},
            {"binaryMessage": {"message": "?"}},
            {},
            None,
        )
        flags = MessageFlag(self._random.choice([0, 0, 0, 0, 1, 2, 3]))
        match self._random.randint(0, 6):
            case 0 | 1:
                request = {"topic": topic, "receiveMode": self.pick(None, "RECEIVE_ALL_MESSAGES")}
                return request_message(stream_id, "SubscribeToTopic", request, flags)
            case 2 | 3:
                body = {"topic": topic, "publishMessage": union}
                return request_message(stream_id, "PublishToTopic", body, flags)
            case 4:
                return end_message(self._random.randint(0, 4))
            case 5:
                return request_message(stream_id, "Fly", self.noise(20))
            case _:
                kind = self._random.choice(list(MessageType))
                return Message(
                    tuple(
                        Header(it.name, it.type, int(kind)) if it.name == ":message-type" else it
                        for it in end_message(stream_id if self.chance(0.5) else 0).headers
                    )
                )


def test_decoder_raises_documented_errors_alone() -> None:
    """And gives the same, however the bytes are cut; it holds no more than one message."""
    for seed in seeds():
        mutator = Mutator(seed)
        whole = mutator.pick(*GOLDEN.values())
        assert isinstance(whole, Message)
        data = b"".join(mutator.piece(whole) for _ in range(3))
        found = decode_all([data], LIMIT)
        assert decode_all(mutator.cut(data), LIMIT) == found, f"seed {seed}"
        for message in found[0]:
            again = decode_all([encode_message(message)], LIMIT)
            assert again == ([message], ""), f"seed {seed}"


@pytest.mark.parametrize("name", sorted(GOLDEN))
def test_every_prefix_of_a_frame_waits(name: str) -> None:
    """And no prefix is taken for a message."""
    data = frame(name)
    for length in range(len(data)):
        assert decode_all([data[:length]], LIMIT) == ([], "")


def say(peer: Client, pieces: Iterator[bytes], mutator: Mutator) -> None:
    """Sends it all, unless the server has had enough; reads only now and then."""
    peer.socket.settimeout(0.001)
    for piece in pieces:
        try:
            peer.socket.sendall(piece)
            if mutator.chance(0.3):
                peer.socket.recv(1 << 16)
        except TimeoutError:
            continue
        except OSError:
            return


def assert_serves(server: RunningServer, token: str) -> None:
    """A fresh client publishes to itself, and nothing else is left."""
    server.wait_for(lambda: server.server.n_connections == 0)
    assert server.call(lambda: server.pubsub.n_subscriptions) == 0
    with connected(server.path, token) as peer:
        peer.call(1, "SubscribeToTopic", {"topic": "fresh"})
        union = {"binaryMessage": {"message": "aGk="}}
        peer.send(request_message(2, "PublishToTopic", {"topic": "fresh", "publishMessage": union}))
        found = {parts(peer.expect())[3] for _ in range(2)}
    assert found == {
        "aws.greengrass#SubscriptionResponseMessage",
        "aws.greengrass#PublishToTopicResponse",
    }
    server.wait_for(lambda: server.server.n_connections == 0)


def test_server_survives_rude_clients(
    personality: Personality, caplog: pytest.LogCaptureFixture
) -> None:
    """Several at a time; no fault is its own, and nothing of them stays."""
    caplog.set_level("ERROR")
    with running_server(personality) as server:
        token = server.token()
        for seed in seeds():
            mutator = Mutator(seed)
            with client(server.path) as first, client(server.path) as second:
                for peer in (first, second):
                    say(peer, mutator.conversation(token), mutator)
                if mutator.chance(0.3):
                    first.socket.shutdown(socket.SHUT_WR)
            if seed % 20 == 0:
                assert_serves(server, token)
            assert not caplog.records, f"seed {seed}: {caplog.text}"
        assert_serves(server, token)
