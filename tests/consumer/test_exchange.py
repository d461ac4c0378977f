import asyncio
import json
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

import pytest

from consumer.exchange import MAX_UNREAD, Exchange, Route
from interface.envelope import Reply
from interface.errors import ConnectionLostError, MessageTooLargeError, TransportError
from interface.pubsub import Deliver, Lost, MemoryBus, MemoryPubSub, PubSub, Subscription
from tests.consumer.conftest import REQUESTS, Service

TOPIC = "edgexgb/results/me"


def run(connect: Callable[[], PubSub], use: Callable[[Exchange], Awaitable[None]]) -> None:
    """Uses an exchange, and closes it."""

    async def main() -> None:
        route = Route(connect=connect, request_topic=REQUESTS, reply_topic=TOPIC, max_in_flight=1)
        exchange = Exchange(route, asyncio.get_running_loop())
        async with asyncio.timeout(20):
            await use(exchange)
        link = exchange.connection.close()
        if link is not None:
            await asyncio.to_thread(link.close)

    asyncio.run(main())


def encode(identity: str) -> bytes:
    return json.dumps({"id": identity, "replyTo": TOPIC, "records": [{"x": 1}]}).encode()


async def ask(exchange: Exchange) -> Reply:
    return await exchange.ask(encode, asyncio.get_running_loop().time() + 20)


def test_reply_has_the_id_of_its_message(bus: MemoryBus, service: Service) -> None:
    """Each message has another, all of one length."""

    async def use(exchange: Exchange) -> None:
        found = [await ask(exchange) for _ in range(20)]
        assert [reply.id for reply in found] == [it["id"] for it in service.requests]
        assert len({reply.id for reply in found}) == 20
        assert {len(str(reply.id)) for reply in found} == {17}

    run(bus.connect, use)


class Refusing:
    """A connection that takes no message to the request topic, at once or a moment later."""

    def __init__(self, inner: MemoryPubSub, error: TransportError, *, later: bool) -> None:
        self.inner = inner
        self.error = error
        self.later = later

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        return self.inner.subscribe(topic, deliver, lost)

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        if topic != REQUESTS:
            return self.inner.publish(topic, payload)
        sent: Future[None] = Future()
        if self.later:
            threading.Timer(0.01, lambda: sent.set_exception(self.error)).start()
        else:
            sent.set_exception(self.error)
        return sent

    def close(self) -> None:
        self.inner.close()


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize("error", [MessageTooLargeError("too large"), ConnectionLostError("gone")])
def test_message_that_is_not_taken_ends_the_wait(
    bus: MemoryBus, error: TransportError, later: bool
) -> None:
    """With the bus's own error; its place is free again."""

    async def use(exchange: Exchange) -> None:
        for _ in range(2):
            with pytest.raises(type(error)) as caught:
                await ask(exchange)
            assert str(caught.value) == str(error)
        assert exchange._waiting == {}

    run(lambda: Refusing(bus.connect(), error, later=later), use)


def test_flood_on_the_reply_topic_stays_bounded(
    bus: MemoryBus, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """In memory and in the log; afterwards all is as before."""

    async def use(exchange: Exchange) -> None:
        await ask(exchange)
        for _ in range(3 * MAX_UNREAD):  # nothing is read meanwhile: the loop is here
            exchange._deliver(b"noise")
        assert len(exchange._unread) == MAX_UNREAD
        await asyncio.sleep(0)  # all of it is read in one round
        assert len(exchange._unread) == 0
        assert (await ask(exchange)).status == 200

    run(bus.connect, use)
    assert [it.message for it in caplog.records if it.levelname == "WARNING"] == [
        "no reply, passed over"
    ]


def test_message_after_the_end_is_nobodys(bus: MemoryBus, service: Service) -> None:
    """The bus may be slower than the end of a client."""
    kept: list[Exchange] = []

    async def use(exchange: Exchange) -> None:
        kept.append(exchange)
        await ask(exchange)

    run(bus.connect, use)
    kept[0]._deliver(b"late")
    failed: Future[None] = Future()
    failed.set_exception(ConnectionLostError("late"))
    kept[0]._note_sent("x", failed)
    assert kept[0]._waiting == {}
