"""The other side, as docs/requests.md has it: a service on a bus in memory."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from consumer.client import InferenceClient
from interface.pubsub import MemoryBus, PubSub
from tests.consumer.disks import KINDS, MAY_MOUNT, Disk, open_disk

REQUESTS, RESULTS = "edgexgb/requests", "edgexgb/results"

Json = dict[str, Any]


def rows_of(request: Json) -> list[Json]:
    """The rows of a request in any form that a client sends."""
    if "records" in request:
        return list(request["records"])
    if "body" in request:
        header, *lines = request["body"].split("\n")
        return [dict(zip(header.split(","), line.split(","), strict=True)) for line in lines]
    return [dict(zip(request["columns"], row, strict=True)) for row in request["data"]]


def refusal(code: str, message: str = "rows: got a, expected b", **fields: Any) -> Json:
    """The body of an error."""
    return {"error": {"code": code, "message": message, "details": [], **fields}}


class Service:
    """Answers requests: what a row's `x` is, is its prediction.

    Attributes:
        version: of the model.
        requests: what came, as JSON values, in order.
        sizes: of the messages, in bytes.
        max_rows: more are refused.
        tells_max_rows: whether a refusal says so.
        answer: gives the status and body for a request, in place of the usual ones; None for those.
        holds: whether replies wait for `release`.
    """

    def __init__(self, connect: Callable[[], PubSub]) -> None:
        self.version = "1.0.0"
        self.requests: list[Json] = []
        self.sizes: list[int] = []
        self.max_rows = 10_000
        self.tells_max_rows = False
        self.answer: Callable[[Json], tuple[int, Json] | None] = lambda _: None
        self.holds = False
        self.changed = threading.Condition()
        self._held: list[tuple[str, bytes]] = []
        self._connect = connect
        self.open()

    def open(self) -> None:
        """Connects, also again after a loss."""
        self.pubsub = self._connect()
        self.pubsub.subscribe(REQUESTS, self._hear, lambda _: None)

    def _hear(self, payload: bytes) -> None:
        request = json.loads(payload)
        status, body = self.answer(request) or self._usual(request)
        reply = json.dumps({"id": request["id"], "statusCode": status, "body": body}).encode()
        with self.changed:
            self.requests.append(request)
            self.sizes.append(len(payload))
            if self.holds:
                self._held.append((request["replyTo"], reply))
            self.changed.notify_all()
        if not self.holds:
            self.pubsub.publish(request["replyTo"], reply)

    def _usual(self, request: Json) -> tuple[int, Json]:
        rows = rows_of(request)
        if len(rows) > self.max_rows:
            told = {"maxRows": self.max_rows} if self.tells_max_rows else {}
            return 413, refusal("too_many_rows", f"records: got {len(rows)} rows", **told)
        return 200, self.body([row["x"] for row in rows])

    def body(self, predictions: Sequence[Any]) -> Json:
        """A good answer."""
        return {
            "model": {"name": "wine", "version": self.version},
            "predictions": list(predictions),
        }

    def wait_for(self, n_requests: int, timeout_s: float = 10) -> None:
        """Returns once so many requests have come."""
        with self.changed:
            assert self.changed.wait_for(lambda: len(self.requests) >= n_requests, timeout_s)

    def release(self, *, turned: bool = False) -> None:
        """Sends the replies that are held, or the last of them first."""
        with self.changed:
            held, self._held = self._held, []
        for topic, payload in reversed(held) if turned else held:
            self.pubsub.publish(topic, payload)


@pytest.fixture
def bus() -> Iterator[MemoryBus]:
    """A bus; nobody is left on it."""
    bus = MemoryBus()
    yield bus
    bus.deafen()


@pytest.fixture
def service(bus: MemoryBus) -> Service:
    """The service on the bus."""
    return Service(bus.connect)


@pytest.fixture
def client(bus: MemoryBus, service: Service) -> Iterator[InferenceClient]:
    """A client on the bus, with the service there."""
    with InferenceClient(bus.connect) as client:
        yield client


@pytest.fixture(params=[it for it in KINDS if MAY_MOUNT or it != "tmpfs"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Disk]:
    """A disk that can be filled; only root may mount a real one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    with open_disk(request.param, folder) as opened:
        yield opened
