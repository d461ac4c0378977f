"""Requests to replies: what stands between a subscription and whoever answers.

    subscription --deliver--> requests --one thread, all that wait at once--> Service.answer --> bus
                      |-----> refusals --one thread-------------------------> Service.refuse --> bus
                      `-----> a small one, where nothing waits, and an -----> Service.answer --> bus
                              urgent one always

The subscription's callback runs on the thread that reads the connection, and on nucleus lite a
component that does not read stalls the bus for everybody. So it puts a message into a queue, unless
to answer takes less time than to wake another thread: small requests are answered at once, while
nothing waits, few replies are on their way, and the service has been quick of late. So are urgent
ones, such as how the service is, whatever waits: the queue must not hide what it is asked about.

Both queues are bounded, by messages and by bytes. A request for which there is no room is refused;
one that cannot even be refused is dropped and counted, for to wait would stall the bus, and to keep
it would cost memory without a bound.

Every other request gets exactly one reply. The replies keep the order in which their requests came;
a refusal, and the answer to an urgent request, may overtake others, as they are meant to.
"""

import logging
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from interface.errors import (
    ConnectionLostError,
    MessageTooLargeError,
    OperationRefusedError,
    ServiceFailedError,
    TokenRefusedError,
    TransportError,
    TransportTimeoutError,
)
from interface.hearing import Listener
from interface.lane import Lane, Throttle
from interface.pubsub import Lost, PubSub
from interface.vitals import Counters, Vitals

_log = logging.getLogger(__name__)

_SMALL_BYTES = 2048
"""A request up to here may be answered at once."""

_QUICK_S = 0.0005
"""To wake a thread takes a tenth of it, and its waking can take as long where cores are few."""

_MAX_LEAVING = 16
"""Replies on their way, where requests are answered at once."""

_MAX_LEAVING_URGENT = 2 * _MAX_LEAVING
"""The same where urgent ones are: the others cannot use up their room."""


class Answer(NamedTuple):
    """A reply and where it goes.

    Attributes:
        topic: see there.
        payload: the reply.
        kind: what answers are counted by, such as the code of an error; empty for most.
    """

    # A tuple, because there is one for each request: frozen dataclasses take twice as long to make.

    topic: str
    payload: bytes
    kind: str = ""

    def __repr__(self) -> str:
        """All but the payload, which is nobody's business."""
        return f"Answer(topic={self.topic!r}, kind={self.kind!r})"


class Service(Protocol):
    """Whoever answers; safe to call from several threads."""

    def answer(self, payloads: Sequence[bytes]) -> Sequence[Answer]:
        """One answer for each payload, in their order; raises nothing."""

    def is_urgent(self, payload: bytes) -> bool:
        """Whether a request is not to wait, and takes next to no time to answer; raises nothing.

        It is asked about each request, on the thread that reads the connection.
        """

    def refuse(self, payload: bytes, retry_after_ms: int) -> Answer:
        """The `busy` reply to a request; raises nothing."""

    def too_large(self, answer: Answer, max_bytes: int) -> Answer:
        """An error reply in place of an answer that the bus would not take; raises nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What the bridge holds at most.

    The bytes are those of requests that wait; as many more may be in work. A queue that is empty
    takes one request of any size, so that every request can be answered.

    Attributes:
        max_waiting: requests that wait for an answer.
        max_waiting_bytes: of the same.
        max_batch: requests that are answered at once.
        max_refusals: requests that wait to be refused.
        max_refusal_bytes: of the same.
        max_message_bytes: of a reply.
        retry_after_ms: what a refused requester is told, in milliseconds.
        publish_timeout_s: how long the bus may take for the replies to one batch.
    """

    max_waiting: int = 64
    max_waiting_bytes: int = 32 * 1024 * 1024
    max_batch: int = 64
    max_refusals: int = 1024
    max_refusal_bytes: int = 4 * 1024 * 1024
    max_message_bytes: int = 6144
    retry_after_ms: int = 100
    publish_timeout_s: float = 5.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if value <= 0:
                raise ValueError(f"{name}: got {value}, expected more than 0")


@dataclass(slots=True)
class _Leaving:
    """A reply on its way.

    Attributes:
        answer: the reply.
        ends_s: when the bus has had its time for it, by `time.monotonic`.
        took_s: from the request's coming; None where nobody counts it.
        is_told: whether somebody is about to write down what became of it.
    """

    answer: Answer
    ends_s: float
    took_s: float | None
    is_told: bool = False


class Bridge:
    """Answers the requests on a topic, from `open` to `close`.

    `lost` is told once: the connection or the subscription has ended, the subscription is deaf, or
    the service broke its contract. The bridge hears nothing from then on. Whoever is told must
    still close it, and had better end the process with an error: a component that is RUNNING and
    deaf is worse than one that is restarted.
    """

    def __init__(  # noqa: PLR0913  (the keywords are for tests and settings)
        self,
        pubsub: PubSub,
        topic: str,
        service: Service,
        limits: Limits,
        lost: Lost,
        *,
        probe_every_s: float = 5.0,
        probe_timeout_s: float = 5.0,
        quick_s: float = _QUICK_S,
        vitals: Vitals | None = None,
    ) -> None:
        """Does nothing yet.

        Args:
            pubsub: the connection; the bridge does not close it.
            topic: of the requests; see `Listener`.
            service: see there.
            limits: see there.
            lost: told once; must return at once.
            probe_every_s: see `Listener`.
            probe_timeout_s: see `Listener`.
            quick_s: for each request, so that the service counts as quick.
            vitals: where to count on; None to begin anew.
        """
        self._pubsub = pubsub
        self._topic = topic
        self._service = service
        self._limits = limits
        self._lost = lost
        self._probe_every_s = probe_every_s
        self._probe_timeout_s = probe_timeout_s
        self._quick_s = quick_s
        self._guard = threading.Lock()
        self._changed = threading.Condition(self._guard)
        self._leaving: dict[Future[None], _Leaving] = {}
        self._is_quick = False
        self._vitals = vitals or Vitals()
        self._has_told = False
        self._was_opened = False
        self._closed = False
        self._listener: Listener | None = None
        self._requests = Lane("requests", self._answer, lambda: self._limits.max_batch)
        self._refusals = Lane("refusals", self._refuse, lambda: self._limits.max_batch)
        self._dropping = Throttle()
        self._failing = Throttle()

    @property
    def topic(self) -> str:
        """That the bridge hears."""
        return self._topic

    @property
    def pending(self) -> int:
        """How many requests wait or are in work."""
        self._give_up_overdue()
        return self._requests.pending + self._refusals.pending + len(self._leaving)

    @property
    def waiting(self) -> int:
        """How many requests wait for an answer."""
        return self._requests.waiting

    @property
    def limits(self) -> Limits:
        """What it holds at most, as of now."""
        return self._limits

    @property
    def counters(self) -> Counters:
        """What became of the requests so far, those before this bridge included; see `vitals`."""
        return self._vitals.counters

    def open(self) -> None:
        """Subscribes, and proves that the subscription hears; requests are answered from then on.

        Raises:
            DeafError: the subscription does not hear.
            NotPermittedError: to subscribe, or to publish probes to the topic.
            TransportError: the connection is gone, or the bus refused or did not answer.
            RuntimeError: the bridge was opened before.
        """
        with self._guard:
            if self._was_opened:
                raise RuntimeError("bridge: got a second opening, expected one")
            self._was_opened = True
        self._requests.start()
        self._refusals.start()
        try:
            self._hear(self._topic)
        except BaseException:
            self.close(0.0)
            raise

    def move(self, topic: str) -> None:
        """Hears another topic instead; the old one is left once the new one is proved.

        Where it raises, the bridge goes on with the old topic.

        Raises:
            DeafError: the new subscription does not hear.
            NotPermittedError: to subscribe, or to publish probes to the topic.
            ConnectionLostError: the connection is gone, or the bridge has ended.
            TransportError: the bus refused or did not answer.
        """
        if topic != self._topic:
            self._hear(topic)

    def reconfigure(self, limits: Limits) -> None:
        """Has other limits from now on; what waits stays."""
        self._limits = limits

    def close(self, timeout_s: float) -> bool:
        """Stops hearing, answers what waits, and ends; a second call does nothing.

        Args:
            timeout_s: how long that may take; what waits after that is dropped.

        Returns:
            Whether each request that was pending got its reply.
        """
        deadline_s = time.monotonic() + timeout_s
        with self._guard:
            self._closed = True
            listener = self._listener
        if listener is not None:
            listener.close()
        before = self.counters
        left = self._requests.end(deadline_s) + self._refusals.end(deadline_s)
        with self._guard:
            remaining_s = max(0.0, deadline_s - time.monotonic())
            self._changed.wait_for(lambda: not self._leaving, remaining_s)
        if left:
            self._vitals.drop(left)
            _log.error("requests are left without a reply", extra={"requests": left})
        after = self.counters
        is_lossless = (after.failed, after.dropped) == (before.failed, before.dropped)
        return is_lossless and not self.pending

    def _hear(self, topic: str) -> None:
        """Hears this topic, and no longer the one before."""
        new = Listener(
            self._pubsub,
            topic,
            self._take,
            self._tell,
            probe_every_s=self._probe_every_s,
            probe_timeout_s=self._probe_timeout_s,
        )
        with self._guard:
            has_ended = self._closed or self._has_told
            old = self._listener
            if not has_ended:
                self._topic, self._listener = topic, new
        if has_ended:
            new.close()
            raise ConnectionLostError("bridge: got its end, expected it to go on hearing")
        if old is not None:
            old.close()

    def _take(self, payload: bytes) -> None:
        """On the thread that reads the connection: nothing here may wait."""
        limits = self._limits
        self._vitals.receive()
        if len(self._leaving) < _MAX_LEAVING_URGENT and self._service.is_urgent(payload):
            self._answer_at_once(payload, is_urgent=True)
            return
        if self._is_idle() and self._is_quick and len(payload) <= _SMALL_BYTES:
            self._answer_at_once(payload)
            return
        if self._requests.put(payload, limits.max_waiting, limits.max_waiting_bytes):
            return
        if self._refusals.put(payload, limits.max_refusals, limits.max_refusal_bytes):
            return
        self._vitals.drop(1)
        _warn_of_dropped(self._dropping.passes())

    def _is_idle(self) -> bool:
        """Whether nothing waits that a request would overtake, and few replies are on their way."""
        if len(self._leaving) >= _MAX_LEAVING:
            self._give_up_overdue()
        return not self._closed and len(self._leaving) < _MAX_LEAVING and not self._requests.pending

    def _answer_at_once(self, payload: bytes, *, is_urgent: bool = False) -> None:
        max_bytes = self._limits.max_message_bytes
        came_s = time.perf_counter()
        try:
            answers = self._serve([payload], None if is_urgent else came_s)
            answer = self._fit(answers[0], max_bytes)
            future = self._publish(answer, max_bytes)
        except BaseException as error:
            self._fail(error, 1)
            return
        took_s = None if is_urgent else time.perf_counter() - came_s
        ends_s = time.monotonic() + self._limits.publish_timeout_s
        with self._guard:
            self._leaving[future] = _Leaving(answer, ends_s, took_s)
        future.add_done_callback(self._leave)

    def _leave(self, future: "Future[None]") -> None:
        """The bus has said what became of a reply, or had its time to do so; once for each."""
        with self._guard:
            leaving = self._leaving.get(future)
            if leaving is None or leaving.is_told:
                return
            leaving.is_told = True
        if self._is_taken(leaving.answer, future):
            self._vitals.answer(leaving.answer.kind, leaving.took_s)
        with self._guard:
            del self._leaving[future]
            self._changed.notify_all()

    def _give_up_overdue(self) -> None:
        """Waits no longer for what the bus will never say: its word may have been lost."""
        now_s = time.monotonic()
        with self._guard:
            overdue = [it for it, leaving in self._leaving.items() if leaving.ends_s <= now_s]
        for future in overdue:
            self._leave(future)

    def _answer(self, payloads: Sequence[bytes], came_s: Sequence[float]) -> None:
        try:
            answers, futures = self._send(self._serve(payloads, time.perf_counter()))
            now_s = time.perf_counter()
            wait(futures, self._limits.publish_timeout_s)
            for answer, future, then_s in zip(answers, futures, came_s, strict=True):
                if self._is_taken(answer, future):
                    self._vitals.answer(answer.kind, now_s - then_s)
        except BaseException as error:
            self._fail(error, len(payloads))

    def _serve(self, payloads: Sequence[bytes], start_s: float | None) -> Sequence[Answer]:
        """The service's answers; where they tell whether it is quick, since when it is asked."""
        answers = self._service.answer(payloads)
        if start_s is not None:
            self._is_quick = time.perf_counter() - start_s <= self._quick_s * len(payloads)
        if len(answers) != len(payloads):
            found = f"{len(answers)} answers to {len(payloads)} requests"
            raise ServiceFailedError(f"service: got {found}, expected as many")
        return answers

    def _refuse(self, payloads: Sequence[bytes], came_s: Sequence[float]) -> None:
        del came_s  # how soon a request is refused says nothing about those that are served
        try:
            retry_after_ms = self._limits.retry_after_ms
            answers, futures = self._send(
                [self._service.refuse(payload, retry_after_ms) for payload in payloads]
            )
            wait(futures, self._limits.publish_timeout_s)
            for answer, future in zip(answers, futures, strict=True):
                if self._is_taken(answer, future):
                    self._vitals.refuse(answer.kind)
        except BaseException as error:
            self._fail(error, len(payloads))
        if self._refusals.pending == len(payloads):  # there is room again
            _warn_of_dropped(self._dropping.rest())

    def _send(self, answers: Sequence[Answer]) -> tuple[Sequence[Answer], Sequence["Future[None]"]]:
        """Publishes all, in order; the answers as they went out, and what the bus will say."""
        max_bytes = self._limits.max_message_bytes
        fitting = [self._fit(answer, max_bytes) for answer in answers]
        return fitting, [self._publish(answer, max_bytes) for answer in fitting]

    def _is_taken(self, answer: Answer, future: "Future[None]") -> bool:
        """Whether the bus took a reply, which it has said, or had the time to."""
        error = _error_of(future, self._limits.publish_timeout_s)
        if error is None:
            return True
        self._vitals.fail()
        self._note(answer, error)
        return False

    def _fit(self, answer: Answer, max_bytes: int) -> Answer:
        if len(answer.payload) <= max_bytes:
            return answer
        return self._service.too_large(answer, max_bytes)

    def _publish(self, answer: Answer, max_bytes: int) -> "Future[None]":
        if len(answer.payload) <= max_bytes:
            return self._pubsub.publish(answer.topic, answer.payload)
        refused: Future[None] = Future()
        observed = f"a reply of {len(answer.payload)} bytes"
        refused.set_exception(
            MessageTooLargeError(f"{answer.topic}: got {observed}, expected at most {max_bytes}")
        )
        return refused

    def _note(self, answer: Answer, error: TransportError) -> None:
        """A reply that the bus did not take; its payload is nobody's business."""
        self._vitals.note(error.code, str(error))
        if isinstance(error, ConnectionLostError | TokenRefusedError):
            self._tell(error)
        if failed := self._failing.passes():
            facts = {"topic": answer.topic, "code": error.code, "failed": failed}
            _log.error("the bus did not take a reply: %s", error, extra=facts)

    def _fail(self, error: BaseException, n_requests: int) -> None:
        """The service did what it must not; the thread lives on for those who wait."""
        self._vitals.drop(n_requests)
        _log.error("the service broke its contract", exc_info=error)
        if isinstance(error, ServiceFailedError):
            self._tell(error)
        else:
            # Its text may quote a request; the log has the whole of it.
            observed = type(error).__name__
            self._tell(ServiceFailedError(f"service: got {observed}, expected answers"))

    def _tell(self, error: TransportError) -> None:
        with self._guard:
            if self._has_told or self._closed:
                return
            self._has_told = True
            listener = self._listener
        if listener is not None:
            listener.close()
        self._lost(error)


def _warn_of_dropped(n_requests: int) -> None:
    if n_requests:
        _log.warning("no room even to refuse requests", extra={"dropped": n_requests})


def _error_of(future: "Future[None]", waited_s: float) -> TransportError | None:
    if not future.done():
        observed = f"no answer in {waited_s:g} s"
        return TransportTimeoutError(f"bus: got {observed}, expected it to take the message")
    error = future.exception()
    if error is None or isinstance(error, TransportError):
        return error
    return OperationRefusedError(f"bus: got {error!r}, expected it to take the message")
