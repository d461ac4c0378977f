"""`python -m bench.faults.pest SPECIFICATION`: somebody who publishes more than is good, or worse.

`flood`: as many requests as the bus takes, on some connections, without waiting for replies.
`junk`: messages that are no requests, too long, too deep, or aimed at others.

It says `ready` when it has connected, and when stdin ends, in a line of JSON, how many messages it
has published and heard.
"""

import contextlib
import json
import random
import sys
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path

from bench.faults.answers import Answers
from bench.faults.asker import connector
from interface.envelope import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    Request,
    encode_request,
    parse_reply,
)
from interface.errors import EnvelopeError, TransportError
from interface.greengrass import CoreDevice
from nucleus.root import DeviceRoot

_UNDER_WAY = 512
"""Publications of one connection that the bus has not taken yet."""

_ROWS = 24
_PAUSE_S = 0.01
_BYTES_PER_S = 2_000_000
"""Of bad messages."""


class Pest:
    """One connection of it."""

    def __init__(self, device: CoreDevice, answers: Answers, counts: Counter[str]) -> None:
        self._device = device
        self._answers = answers
        self._counts = counts
        self._topic = f"{RESULT_TOPIC}/pest-{uuid.uuid4().hex}"
        self._slots = threading.Semaphore(_UNDER_WAY)

    def flood(self, has_ended: threading.Event) -> None:
        """Requests without end."""
        self._device.subscribe(self._topic, self._hear, lambda _error: None)
        rows = self._answers.rows[:_ROWS]
        columns = list(rows[0])
        event = {"columns": columns, "data": [[row[it] for it in columns] for row in rows]}
        number = 0
        while not has_ended.is_set():
            number += 1
            request = Request(id=number, event=event, reply_to=self._topic)
            self._publish(REQUEST_TOPIC, encode_request(request))

    def junk(self, has_ended: threading.Event, draw: random.Random, max_bytes: int) -> None:
        """One bad message after the other."""
        for heard in (
            self._topic,
            RESULT_TOPIC,
        ):  # where replies go that cannot go where they should
            self._device.subscribe(heard, self._hear, lambda _error: None)
        while True:
            for payload in bad_messages(draw, self._topic, max_bytes):
                self._publish(REQUEST_TOPIC, payload)
                # Bad, and not many: a flood is another fault.
                if has_ended.wait(max(_PAUSE_S, len(payload) / _BYTES_PER_S)):
                    return

    def _publish(self, topic: str, payload: bytes) -> None:
        self._slots.acquire()
        self._counts["published"] += 1
        self._device.publish(topic, payload).add_done_callback(self._note)

    def _note(self, done: "Future[None]") -> None:
        self._slots.release()
        if done.exception() is not None:
            self._counts["not taken"] += 1

    def _hear(self, payload: bytes) -> None:
        with contextlib.suppress(EnvelopeError):
            self._counts[f"status {parse_reply(payload).status}"] += 1


def bad_messages(draw: random.Random, topic: str, max_bytes: int) -> Iterator[bytes]:
    """What no request should be; up to so many bytes each."""
    good = b'{"id":1,"replyTo":"%s","records":[{"hue":1.0}]}' % topic.encode()
    yield good[: draw.randrange(len(good))]
    yield draw.randbytes(draw.randrange(64))
    yield b""
    yield b"null"
    yield b"[" * min(100_000, max_bytes)
    yield b'{"a":' * min(20_000, max_bytes // 5)
    yield b'{"id":1,"replyTo":"edgexgb/results/#","records":[{}]}'
    yield b'{"id":1,"replyTo":"edgexgb/requests","records":[{}]}'
    yield b'{"id":1e999,"records":[{"hue":1e999}]}'
    yield b'{"id":' + b"9" * 2000 + b"}"
    yield b'{"records":[' + b'{"hue":NaN},' * 20 + b"{}]}"
    yield b'{"id":"' + "\u2028\x00\ud7ff".encode() + b'","body":"\\ud800","isBase64Encoded":1}'
    yield b'{"id":1,"deadlineMs":-1e300,"records":' + b" " * (max_bytes // 2) + b"[]}"
    yield b'{"records":[' + b"{}," * (max_bytes // 3 - 20) + b"{}]}"


def main(specification: str) -> None:
    """Goes on until stdin ends."""
    fields = json.loads(specification)
    answers = Answers(Path(fields["answers"]))
    root = DeviceRoot(Path(fields["root"]))
    counts: Counter[str] = Counter()
    has_ended = threading.Event()
    connect_now = connector(root, fields["socket"], None)
    threads: list[threading.Thread] = []
    devices: list[CoreDevice] = []
    with contextlib.suppress(TransportError):
        for n in range(fields["connections"]):
            devices.append(connect_now())
            pest = Pest(devices[-1], answers, counts)
            work = partial(pest.flood, has_ended)
            if fields["mode"] == "junk":
                draw = random.Random(fields["seed"] + n)  # noqa: S311  (no secret)
                work = partial(pest.junk, has_ended, draw, fields["max_bytes"])
            threads.append(threading.Thread(target=work, daemon=True))
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    sys.stdin.read()
    has_ended.set()
    for device in devices:
        device.close()
    print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
