"""An asker by hand: several requests under way, one reply topic, and an eye on the order."""

import json
import random
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Protocol

from bench.faults.answers import Answers
from bench.faults.ledger import ANSWERED, WRONG
from interface.envelope import (
    REQUEST_TOPIC,
    RESULT_TOPIC,
    Reply,
    Request,
    encode_request,
    parse_reply,
)
from interface.errors import DeafError, EnvelopeError, TransportError
from interface.greengrass import CoreDevice

_WINDOW = 8
_PATIENCE_S = 0.25
_KEPT = 4096
_SILENT_S = 4.0
"""Without any reply, after which the connection is made anew: this asker has no probes."""
_PAUSE_S = 0.1


class Book(Protocol):
    """Where it is written down; see `bench.faults.asker.Records`."""

    def begin(self, timeout_s: float) -> int:
        """The number of a request that begins now."""

    def end(self, number: int, outcome: str, detail: str = "") -> None:
        """A request ends."""

    def odd(self, kind: str, text: str) -> None:
        """A reply is not as it should be."""

    def note(self, what: str) -> None:
        """Something to count."""


@dataclass(frozen=True, slots=True)
class _Asked:
    picked: list[int]
    ends_s: float


class Order:
    """What replies may come: each id once, and those that do not say `busy` in order.

    The order is that of one connection: what another one has held up comes when it comes.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._last = 0
        self._before = 0
        self._seen: OrderedDict[int, None] = OrderedDict()

    def connect(self, last: int) -> None:
        """Another connection begins; `last` is the last request of those before."""
        self._before = last

    def take(self, number: int, *, is_busy: bool) -> None:
        """Looks at a reply."""
        if number in self._seen:
            self._book.odd("twice", f"a second reply to {number}")
            return
        self._seen[number] = None
        if len(self._seen) > _KEPT:
            self._seen.popitem(last=False)
        if is_busy or number <= self._before:
            return
        if number < self._last:
            self._book.odd("out of order", f"a reply to {number} after one to {self._last}")
        self._last = max(self._last, number)


class Ordered:
    """Asks by hand until it is told to stop."""

    def __init__(
        self,
        connect: Callable[[], CoreDevice],
        answers: Answers,
        book: Book,
        seed: int,
        timeout_s: float,
    ) -> None:
        self._connect = connect
        self._answers = answers
        self._book = book
        self._draw = random.Random(seed)  # noqa: S311  (no secret)
        self._timeout_s = timeout_s
        self._topic = f"{RESULT_TOPIC}/ordered-{uuid.uuid4().hex}"
        self._order = Order(book)
        self._asked: dict[int, _Asked] = {}
        self._last_asked = 0
        self._last_asked_s = 0.0
        self._heard: SimpleQueue[bytes | tuple[int, TransportError]] = SimpleQueue()

    def run(self, has_ended: threading.Event) -> None:
        """Asks, on one connection after the other."""
        while not has_ended.is_set():
            try:
                device = self._connect()
            except Exception:  # no device, or not yet
                time.sleep(_PAUSE_S)
                continue
            try:
                self._ask_on(device, has_ended)
            except TransportError as error:
                self._end_all(error.code)
            finally:
                device.close()
        self._end_all("request_timeout")

    def _end_all(self, outcome: str) -> None:
        for number in list(self._asked):
            del self._asked[number]
            self._book.end(number, outcome)

    def _ask_on(self, device: CoreDevice, has_ended: threading.Event) -> None:
        """Asks on one connection.

        Raises:
            TransportError: it is lost, or silent.
        """
        self._heard = heard = SimpleQueue[bytes | tuple[int, TransportError]]()
        device.subscribe(self._topic, heard.put, lambda error: heard.put((0, error)))
        self._order.connect(self._last_asked)
        spoke_s = time.monotonic()
        while not has_ended.is_set() or self._asked:
            while self._may_ask() and not has_ended.is_set():
                self._ask(device)
            try:
                item = heard.get(timeout=0.1)
            except Empty:
                item = None
            if isinstance(item, tuple):
                self._fail(*item)
            elif item is not None:
                spoke_s = time.monotonic()
                self._take(item)
            self._give_up()
            if time.monotonic() - spoke_s > _SILENT_S:
                raise DeafError("replies: got silence, expected some")

    def _may_ask(self) -> bool:
        """Whether there is room; where all under way may be lost, one more is tried at times."""
        since_s = time.monotonic() - self._last_asked_s
        return len(self._asked) < _WINDOW or since_s > _PATIENCE_S

    def _ask(self, device: CoreDevice) -> None:
        self._last_asked_s = time.monotonic()
        picked = [self._draw.randrange(len(self._answers.rows)) for _ in range(2)]
        number = self._last_asked = self._book.begin(self._timeout_s)
        heard = self._heard
        self._asked[number] = _Asked(picked, time.monotonic() + self._timeout_s)
        request = Request(
            id=number,
            event={"records": [self._answers.rows[at] for at in picked]},
            reply_to=self._topic,
            deadline_ms=int((time.time() + self._timeout_s) * 1000),
        )
        sent = device.publish(REQUEST_TOPIC, encode_request(request))

        def look(done: "Future[None]") -> None:
            error = done.exception()
            if isinstance(error, TransportError):
                heard.put((number, error))

        sent.add_done_callback(look)

    def _fail(self, number: int, error: TransportError) -> None:
        """A request was not taken, or, with number 0, the subscription has ended.

        Raises:
            TransportError: it has.
        """
        if number == 0 or error.code == "connection_lost":
            raise error
        if self._asked.pop(number, None) is not None:
            self._book.end(number, error.code, str(error))

    def _take(self, payload: bytes) -> None:
        try:
            reply = parse_reply(payload)
        except EnvelopeError as error:
            self._book.odd("no reply", f"{error}: {payload[:80]!r}")
            return
        if not isinstance(reply.id, int):
            self._book.odd("nobody's reply", f"{reply.id!r}: {json.dumps(reply.body)[:200]}")
            return
        self._order.take(reply.id, is_busy=reply.status == 429)
        asked = self._asked.pop(reply.id, None)
        if asked is None:
            self._book.note("replies that nobody waited for")
            return
        self._book.end(reply.id, *self._judge(reply, asked.picked))

    def _judge(self, reply: Reply, picked: list[int]) -> tuple[str, str]:
        if reply.status != 200:
            error = reply.body["error"]
            return str(error["code"]), str(error["message"])
        detail = self._answers.difference(
            reply.body["model"]["version"],
            picked,
            reply.body["predictions"],
            reply.body.get("probabilities"),
        )
        return (WRONG, detail) if detail else (ANSWERED, "")

    def _give_up(self) -> None:
        now_s = time.monotonic()
        for number, asked in list(self._asked.items()):
            if asked.ends_s >= now_s:
                break
            del self._asked[number]
            self._book.end(number, "request_timeout")
