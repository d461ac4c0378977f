"""A call that predicts, over pub/sub.

    with InferenceClient(connect) as client:
        print(client.predict({"alcohol": 13.2, "hue": 1.05}).predictions)

A client has one connection, one subscription and one thread, however many threads and event loops
ask it. The thread runs an event loop on which everything happens that is not the caller's.
"""

import asyncio
import math
import threading
import time
import uuid
from collections.abc import Callable, Coroutine
from concurrent.futures import CancelledError, Future
from types import TracebackType
from typing import Any, Self, TypeVar

from consumer.batch import Batches, Question
from consumer.chunks import encode_rows, to_rows
from consumer.errors import ClientClosedError, RequestTimeoutError
from consumer.exchange import Exchange, Route
from consumer.health import Health, ask_health
from consumer.prediction import Prediction
from consumer.worker import Worker
from interface.envelope import REQUEST_TOPIC, RESULT_TOPIC, check_reply_topic
from interface.pubsub import PubSub

_T = TypeVar("_T")

MAX_MESSAGE_BYTES = 6144
"""What passes through nucleus lite. Source: aws-greengrass-lite 2.6, observed running: more than
about 7 300 bytes close the connection, and just below that messages get lost."""


class InferenceClient:
    """Asks the inference component; safe to use from any thread and any event loop.

    The connection is made by the first request, or `open`. When it goes, the requests in flight
    end with `ConnectionLostError`, and the next one makes another.
    """

    def __init__(  # noqa: PLR0913  (the keywords are settings with defaults)
        self,
        connect: Callable[[], PubSub],
        *,
        request_topic: str = REQUEST_TOPIC,
        result_topic: str = RESULT_TOPIC,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        max_in_flight: int = 8,
        name: str | None = None,
    ) -> None:
        """Connects to nothing yet.

        Args:
            connect: makes a connection, which the client then owns; may block.
            request_topic: what the inference component listens to.
            result_topic: under which this client gets its own reply topic; the component's policy
                must allow to subscribe there, and should allow to publish.
            max_message_bytes: of a request; a larger batch is cut.
            max_in_flight: messages without an answer yet; more wait for their turn.
            name: stands in the reply topic, for those who watch the bus.

        Raises:
            EnvelopeError: the name and the result topic make no topic.
            ValueError: a limit is below 1.
        """
        if max_message_bytes < 1 or max_in_flight < 1:
            limits = f"{max_message_bytes} and {max_in_flight}"
            raise ValueError(
                f"max_message_bytes and max_in_flight: got {limits}, expected at least 1"
            )
        identity = uuid.uuid4().hex
        own = identity if name is None else f"{name}-{identity}"
        self.reply_topic = check_reply_topic(f"{result_topic}/{own}", result_topic)
        self._route = Route(
            connect=connect,
            request_topic=request_topic,
            reply_topic=self.reply_topic,
            max_in_flight=max_in_flight,
        )
        self._max_message_bytes = max_message_bytes
        self._lock = threading.Lock()
        self._running: _Running | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def open(self, timeout_s: float = 5.0) -> None:
        """Connects now, if it has not yet.

        Raises:
            ClientClosedError: the client is closed.
            TransportError: no connection could be made in time.
            ValueError: the timeout is no time.
        """
        _check_timeout(timeout_s)
        self._wait(self._start(lambda running: running.open(timeout_s)))

    def predict(
        self,
        rows: Any,
        timeout_s: float = 5.0,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
    ) -> Prediction:
        """What the model says about the rows.

        Args:
            rows: a list of records, one record, a `Table`, what docs/requests.md has in 1.1, or a
                DataFrame.
            timeout_s: for all of it, retries and a new connection included.
            top_k: the so many likeliest labels instead of all probabilities.
            threshold: of a binary model, above which the second label is said.

        Raises:
            ClientClosedError: the client is closed, or was while waiting.
            ConnectionLostError: the connection went while waiting, or could not be made in time.
            InferenceError: the service refused, as its subclass and its code say.
            RequestTimeoutError: there was no answer in time.
            TransportError: the bus refused.
            ValueError: the timeout is no time.
        """
        return self._wait(self._ask(rows, timeout_s, top_k, threshold))

    async def predict_async(
        self,
        rows: Any,
        timeout_s: float = 5.0,
        *,
        top_k: int | None = None,
        threshold: float | None = None,
    ) -> Prediction:
        """As `predict`, without blocking the event loop; may be cancelled.

        Raises:
            InferenceError: see `predict`; and so for what else is raised there.
        """
        return await self._wait_async(self._ask(rows, timeout_s, top_k, threshold))

    def health(self, timeout_s: float = 5.0) -> Health:
        """How the inference component is; it answers however many requests wait.

        Args:
            timeout_s: for all of it, a new connection included.

        Raises:
            ClientClosedError: the client is closed, or was while waiting.
            ConnectionLostError: the connection went while waiting, or could not be made in time.
            InferenceError: the service refused.
            RequestTimeoutError: there was no answer in time; a component that does not know the
                question never answers here.
            TransportError: the bus refused.
            ValueError: the timeout is no time.
        """
        return self._wait(self._ask_health(timeout_s))

    async def health_async(self, timeout_s: float = 5.0) -> Health:
        """As `health`, without blocking the event loop; may be cancelled.

        Raises:
            InferenceError: see `health`; and so for what else is raised there.
        """
        return await self._wait_async(self._ask_health(timeout_s))

    def close(self) -> None:
        """Ends the connection; those who wait get `ClientClosedError`. May be called again."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            running = self._running
        if running is not None:
            running.worker.close(running.exchange.connection.close)

    def _ask(
        self, rows: Any, timeout_s: float, top_k: int | None, threshold: float | None
    ) -> "Future[Prediction]":
        _check_timeout(timeout_s)
        encoded = encode_rows(to_rows(rows))
        given = {"topK": top_k, "threshold": threshold}
        options = {name: value for name, value in given.items() if value is not None}
        deadline_ms = math.ceil((time.time() + timeout_s) * 1000)

        def ask(running: _Running) -> Coroutine[Any, Any, Prediction]:
            question = Question(
                rows=encoded,
                options=options,
                reply_topic=self.reply_topic,
                deadline_ms=deadline_ms,
                ends=running.worker.loop.time() + timeout_s,
                timeout_s=timeout_s,
            )
            return running.batches.predict(question)

        return self._start(ask)

    def _ask_health(self, timeout_s: float) -> "Future[Health]":
        _check_timeout(timeout_s)
        deadline_ms = math.ceil((time.time() + timeout_s) * 1000)
        return self._start(
            lambda running: ask_health(
                running.exchange,
                reply_topic=self.reply_topic,
                deadline_ms=deadline_ms,
                ends=running.worker.loop.time() + timeout_s,
                timeout_s=timeout_s,
            )
        )

    def _start(self, make: "Callable[[_Running], Coroutine[Any, Any, _T]]") -> "Future[_T]":
        """Starts a coroutine on the client's thread, which it starts, too, if need be."""
        with self._lock:
            if self._closed:
                raise _closed()
            if self._running is None:
                self._running = _Running(self._route, self._max_message_bytes)
            return self._running.worker.start(make(self._running))

    def _wait(self, future: "Future[_T]") -> _T:
        try:
            return future.result()
        except CancelledError:
            raise _closed() from None
        except BaseException:  # such as an interrupt from the keyboard
            future.cancel()
            raise

    async def _wait_async(self, future: "Future[_T]") -> _T:
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and (task is None or not task.cancelling()):
                raise _closed() from None
            raise


class _Running:
    """What a client has once it is in use."""

    def __init__(self, route: Route, max_message_bytes: int) -> None:
        self.worker = Worker(f"edgexgb {route.reply_topic}")
        self.exchange = Exchange(route, self.worker.loop)
        self.batches = Batches(
            self.exchange, max_message_bytes=max_message_bytes, max_in_flight=route.max_in_flight
        )

    async def open(self, timeout_s: float) -> None:
        """Connects.

        Raises:
            RequestTimeoutError: the attempt took longer.
            TransportError: it failed.
        """
        try:
            async with asyncio.timeout(timeout_s):
                await self.exchange.connection.open(self.worker.loop.time() + timeout_s)
        except TimeoutError:
            observed = f"no connection in {timeout_s:g} s"
            raise RequestTimeoutError(f"client: got {observed}, expected one") from None


def _check_timeout(timeout_s: float) -> None:
    if not 0 < timeout_s < math.inf:
        raise ValueError(f"timeout_s: got {timeout_s}, expected a finite number above 0")


def _closed() -> ClientClosedError:
    return ClientClosedError("client: got a request, expected none once it is closed")
