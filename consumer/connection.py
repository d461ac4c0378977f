"""The client's connection to the bus: made when it is needed, and again after a loss.

Everything here runs on one event loop but what may block (connecting, subscribing, closing), which
has a thread of its own for as long as it takes.
"""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from consumer.errors import ClientClosedError
from interface.errors import (
    ConnectionLostError,
    NotPermittedError,
    TokenRefusedError,
    TransportError,
)
from interface.hearing import Listener
from interface.pubsub import Deliver, PubSub

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0
"""Between two attempts to connect."""

_FINAL = (TokenRefusedError, NotPermittedError)
"""What another attempt would not change."""

_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Link:
    """One connection with the subscription to the reply topic."""

    def __init__(self) -> None:
        self.pubsub: PubSub | None = None
        self.listener: Listener | None = None
        self.error: TransportError | None = None

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        """See `PubSub.publish`; the link must be open."""
        assert self.pubsub is not None
        return self.pubsub.publish(topic, payload)

    def close(self) -> None:
        """Ends both; may block for a moment."""
        try:
            if self.listener is not None:
                self.listener.close()
        finally:
            if self.pubsub is not None:
                self.pubsub.close()


class Connection:
    """At most one open link; `lost` is told when one has gone."""

    def __init__(
        self,
        connect: Callable[[], PubSub],
        topic: str,
        deliver: Deliver,
        lost: Callable[[TransportError], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Makes no connection yet.

        Args:
            connect: makes one; may block, and runs on a thread of its own.
            topic: the reply topic.
            deliver: takes each message there, on a thread of the bus.
            lost: told on the loop that the link has gone, once for each link.
            loop: where everything else runs.
        """
        self._connect = connect
        self._topic = topic
        self._deliver = deliver
        self._lost = lost
        self._loop = loop
        self._link: Link | None = None
        self._attempt: asyncio.Task[Link] | None = None
        self._closed = False

    async def open(self, ends: float) -> Link:
        """The open link, or a new one.

        Those who wait share one attempt; it goes on when they leave.

        Args:
            ends: when to stop trying, in the loop's time.

        Raises:
            TokenRefusedError: at once; no other attempt could help.
            NotPermittedError: to subscribe to the reply topic; at once.
            TransportError: the last attempt's error, when no time is left for another.
        """
        pause_s = FIRST_PAUSE_S
        while self._link is None:
            if self._closed:
                raise ClientClosedError("client: got a request, expected none after close")
            if self._attempt is None:
                self._attempt = self._loop.create_task(self._try())
                self._attempt.add_done_callback(_note)
            try:
                await asyncio.shield(self._attempt)
            except _FINAL:
                raise
            except TransportError:
                wait_s = pause_s * random.uniform(0.5, 1.5)  # noqa: S311  (spreads attempts)
                if self._loop.time() + wait_s >= ends:
                    raise
                await asyncio.sleep(wait_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        return self._link

    async def _try(self) -> Link:
        """One attempt.

        Raises:
            TransportError: it failed.
        """
        link = Link()
        try:
            await run_in_thread(lambda: self._make(link))
        except TimeoutError as error:
            self._discard(link)
            raise ConnectionLostError(f"{self._topic}: got no answer in time") from error
        except BaseException:
            self._discard(link)
            raise
        finally:
            self._attempt = None
        if link.error is not None:  # it broke before we came to know it
            self._discard(link)
            raise link.error
        self._link = link
        return link

    def _make(self, link: Link) -> None:
        """Connects and subscribes; on a thread of its own."""
        link.pubsub = self._connect()
        try:
            link.listener = Listener(
                link.pubsub,
                self._topic,
                self._deliver,
                lambda error: self._call(self._end, link, error),
                must_prove=False,
            )
        finally:
            if self._closed:
                link.close()

    def _call(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:  # the loop is closed, and nobody waits any more
            _log.debug("told after the end")

    def _end(self, link: Link, error: TransportError) -> None:
        link.error = error
        self.drop(link, error)

    def drop(self, link: Link, error: TransportError) -> None:
        """Gives a link up, if it is still the open one; the next `open` makes another."""
        if self._link is link:
            self._link = None
            self._discard(link)
            self._lost(error)

    def _discard(self, link: Link) -> None:
        threading.Thread(target=link.close, name="edgexgb-close", daemon=True).start()

    def close(self) -> Link | None:
        """Gives the open link to the caller to close; an attempt under way closes its own."""
        self._closed = True
        link, self._link = self._link, None
        return link


def _note(attempt: asyncio.Task[Link]) -> None:
    """Looks at an attempt's end, lest asyncio complain when nobody has waited for it."""
    if not attempt.cancelled() and (error := attempt.exception()) is not None:
        _log.debug("an attempt to connect failed", extra={"error": str(error)})


async def run_in_thread(function: Callable[[], _T]) -> _T:
    """What the function gives or raises, run on a thread that nobody has to wait for.

    Unlike an executor's, the thread does not hold up the end of the process.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.done():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        result: _T | None = None
        error: BaseException | None = None
        try:
            result = function()
        except BaseException as raised:
            error = raised
        try:
            loop.call_soon_threadsafe(settle, result, error)
        except RuntimeError:
            _log.debug("finished after the end")

    threading.Thread(target=run, name="edgexgb-connect", daemon=True).start()
    return await done
