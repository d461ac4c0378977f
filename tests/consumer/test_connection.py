import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any

import pytest

from consumer.connection import Connection, run_in_thread
from consumer.errors import ClientClosedError
from interface.errors import ConnectionLostError, TransportError
from interface.pubsub import Deliver, Lost, MemoryBus, MemoryPubSub, PubSub, Subscription

TOPIC = "edgexgb/results/me"


class Fragile:
    """A connection whose subscriptions end right after the first probe, before anyone knows."""

    def __init__(self, inner: MemoryPubSub) -> None:
        self.inner = inner
        self.lost: list[Lost] = []
        self.closes = 0

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        self.lost.append(lost)
        return self.inner.subscribe(topic, deliver, lost)

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        return self.inner.publish(topic, payload)

    def close(self) -> None:
        self.closes += 1
        self.inner.close()


def run(
    connect: Callable[[], PubSub], use: Callable[[Connection], Coroutine[Any, Any, None]]
) -> list[TransportError]:
    """Uses a connection; gives what it was told of losses."""
    told: list[TransportError] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(connect, TOPIC, lambda _: None, told.append, loop)
        await use(connection)
        link = connection.close()
        if link is not None:
            link.close()

    asyncio.run(main())
    return told


def ends() -> float:
    return asyncio.get_running_loop().time() + 20


async def until(condition: Callable[[], object]) -> None:
    loop = asyncio.get_running_loop()
    latest = loop.time() + 10
    while not condition():
        assert loop.time() < latest
        await asyncio.sleep(0.002)


def test_all_who_ask_at_once_share_one_link(bus: MemoryBus) -> None:
    """And those who come later."""
    made: list[PubSub] = []

    def connect() -> PubSub:
        made.append(bus.connect())
        return made[-1]

    async def use(connection: Connection) -> None:
        links = await asyncio.gather(*(connection.open(ends()) for _ in range(5)))
        links.append(await connection.open(ends()))
        assert len(set(map(id, links))) == 1

    assert run(connect, use) == []
    assert len(made) == 1


def test_loss_is_told_once_and_the_next_link_is_another(bus: MemoryBus) -> None:
    """Though a link be dropped again that has gone."""
    told: list[TransportError] = []

    async def use(connection: Connection) -> None:
        first = await connection.open(ends())
        bus.break_connections()
        await until(lambda: first.error)
        connection.drop(first, ConnectionLostError("again"))
        second = await connection.open(ends())
        assert second is not first
        connection.drop(first, ConnectionLostError("again"))
        assert await connection.open(ends()) is second

    told = run(bus.connect, use)
    assert [str(error) for error in told] == ["the bus went away"]


def test_link_that_is_given_up_is_closed(bus: MemoryBus) -> None:
    """On a thread of its own, for closing may block."""
    made: list[Fragile] = []

    def connect() -> PubSub:
        made.append(Fragile(bus.connect()))
        return made[-1]

    async def use(connection: Connection) -> None:
        connection.drop(await connection.open(ends()), ConnectionLostError("silence"))
        await until(lambda: made[0].closes)

    assert [str(error) for error in run(connect, use)] == ["silence"]


def test_link_that_breaks_while_it_is_made_is_made_again(bus: MemoryBus) -> None:
    """What the listener was told before anybody had the link counts, too."""
    made: list[Fragile] = []

    class Breaking(Fragile):
        def publish(self, topic: str, payload: bytes) -> "Future[None]":
            if len(made) == 1:
                self.lost[0](ConnectionLostError("at once"))
            return super().publish(topic, payload)

    def connect() -> PubSub:
        made.append(Breaking(bus.connect()))
        return made[-1]

    async def use(connection: Connection) -> None:
        link = await connection.open(ends())
        assert link.pubsub is made[1]
        await until(lambda: made[0].closes)

    assert run(connect, use) == []


def test_closed_connection_opens_no_more(bus: MemoryBus) -> None:
    """The link that was open is the caller's to close."""

    async def use(connection: Connection) -> None:
        link = await connection.open(ends())
        assert connection.close() is link
        with pytest.raises(ClientClosedError):
            await connection.open(ends())
        link.close()

    assert run(bus.connect, use) == []


def test_thread_gives_what_its_function_gives_or_raises() -> None:
    """And nobody has to wait for it."""

    def fail() -> None:
        raise KeyError("x")

    async def main() -> None:
        assert await run_in_thread(lambda: 5) == 5
        with pytest.raises(KeyError):
            await run_in_thread(fail)

    asyncio.run(main())
