"""A batch as messages: cut so that each fits, asked a few at a time, joined in order."""

import asyncio
import random
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from consumer.chunks import Encoded, Span, fit, halve
from consumer.errors import (
    BusyError,
    MalformedRequestError,
    ModelChangedError,
    RequestTimeoutError,
    RequestTooLargeError,
    TooManyRowsError,
    parse_error,
)
from consumer.exchange import Exchange
from consumer.prediction import Prediction, join, parse_prediction
from interface.envelope import Request
from interface.errors import EnvelopeError

RETRY_AFTER_MS = 100
"""Where a busy service does not say when."""

LONGEST_RETRY_MS = 60_000
"""Whatever a busy service says."""

_SAMPLE_ID = "0" * 17
"""As long as every id of an `Exchange`."""

_MAX_KINDS = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a caller asks, and until when.

    Attributes:
        rows: as pieces of messages.
        options: `topK` and `threshold`, as far as given.
        reply_topic: where the replies shall go.
        deadline_ms: when the question is void, in milliseconds since 1970.
        ends: the same in the loop's time.
        timeout_s: the same as the caller said it.
    """

    rows: Encoded
    options: Mapping[str, Any]
    reply_topic: str
    deadline_ms: int
    ends: float
    timeout_s: float

    def message(self, identity: str, span: Span) -> bytes:
        """The request for some of the rows.

        Raises:
            MalformedRequestError: an option is no JSON.
        """
        request = Request(
            id=identity,
            event=self.options,
            reply_to=self.reply_topic,
            deadline_ms=self.deadline_ms,
        )
        try:
            return self.rows.message(request, span)
        except EnvelopeError as error:
            raise MalformedRequestError(str(error)) from error


class RowLimits:
    """How many rows of a kind of request have a reply that fits, as far as a model has taught."""

    def __init__(self) -> None:
        self._most: dict[object, int] = {}
        self._model: tuple[str, str] | None = None

    def get(self, kind: object) -> int | None:
        """At most so many; None while nothing is known."""
        return self._most.get(kind)

    def learn(self, kind: object, most: int) -> None:
        """Takes note of a refusal."""
        if len(self._most) >= _MAX_KINDS:
            self._most.clear()
        self._most[kind] = min(most, self._most.get(kind, most))

    def see(self, prediction: Prediction) -> None:
        """Forgets what another model has taught."""
        model = prediction.model, prediction.version
        if self._model not in {None, model}:
            self._most.clear()
        self._model = model


@dataclass(slots=True)
class _Parts:
    """A batch under way: what is still to ask, what has come, and what went wrong where."""

    to_ask: deque[Span]
    found: dict[int, Prediction] = field(default_factory=dict)
    failed: dict[int, Exception] = field(default_factory=dict)


class Batches:
    """Asks questions of any size through one exchange."""

    def __init__(self, exchange: Exchange, *, max_message_bytes: int, max_in_flight: int) -> None:
        self._exchange = exchange
        self._max_bytes = max_message_bytes
        self._max_in_flight = max_in_flight
        self._limits = RowLimits()

    async def predict(self, question: Question) -> Prediction:
        """The prediction for all rows of the question, in order.

        Raises:
            InferenceError: the service refused, did not answer in time, or changed its model twice.
            TransportError: the bus failed.
        """
        try:
            async with asyncio.timeout_at(question.ends):
                parts = await self._ask_all(question)
                try:
                    return join(parts)
                except ModelChangedError:  # an update came in between: once more, with the new one
                    return join(await self._ask_all(question))
        except TimeoutError as error:
            if type(error) is not TimeoutError:  # the service's own
                raise
            waited = f"{question.timeout_s:g} s"
            raise RequestTimeoutError(f"request: got no reply in {waited}, expected one") from None

    async def _ask_all(self, question: Question) -> list[Prediction]:
        parts = _Parts(deque(self._cut(question, Span(0, len(question.rows.pieces)))))
        while parts.to_ask and not parts.failed:
            n_workers = min(len(parts.to_ask), self._max_in_flight)
            if n_workers == 1:  # as most questions are; no task is needed for these
                await self._ask_next(question, parts)
                continue
            async with asyncio.TaskGroup() as group:
                for _ in range(n_workers):
                    group.create_task(self._work(question, parts))
        if parts.failed:
            raise parts.failed[min(parts.failed)]
        return [parts.found[start] for start in sorted(parts.found)]

    def _cut(self, question: Question, span: Span) -> list[Span]:
        return fit(
            question.rows,
            span,
            head_bytes=len(question.message(_SAMPLE_ID, Span(0, 0))),
            max_bytes=self._max_bytes,
            max_rows=self._limits.get(question.options.get("topK")),
        )

    async def _work(self, question: Question, parts: _Parts) -> None:
        """Asks part after part until none is left or one has failed.

        A part that fails stops the others, but does not cancel those in flight: so the caller hears
        of the first wrong row, not of the one whose refusal came first.
        """
        while parts.to_ask and not parts.failed:
            await self._ask_next(question, parts)

    async def _ask_next(self, question: Question, parts: _Parts) -> None:
        """Asks one part, or cuts it into smaller ones where it has to be."""
        span = parts.to_ask.popleft()
        pieces = self._cut(question, span)  # a limit may have been learned since it was cut
        if len(pieces) == 1:
            try:
                answer = await self._ask(question, span, parts)
            except Exception as error:
                parts.failed[span.start] = error
                return
            if answer is not None:
                parts.found[span.start] = answer
                return
            pieces = self._cut(question, span)
        parts.to_ask.extendleft(reversed(pieces))

    async def _ask(self, question: Question, span: Span, parts: _Parts) -> Prediction | None:
        """The answer to one part; None where it has to be cut, how is in the limits then.

        Raises:
            InferenceError: the service refused.
            TransportError: the bus failed.
        """
        loop = asyncio.get_running_loop()
        while True:
            reply = await self._exchange.ask(
                lambda identity: question.message(identity, span), question.ends
            )
            if reply.status == 200:
                prediction = parse_prediction(reply.body, len(span))
                self._limits.see(prediction)
                return prediction
            error = parse_error(reply.body, span.start, question.rows.rows_name)
            if isinstance(error, TooManyRowsError | RequestTooLargeError) and len(span) > 1:
                most = _number(reply.body, "maxRows", halve(span))
                self._limits.learn(question.options.get("topK"), min(most, len(span) - 1))
                return None
            if not isinstance(error, BusyError) or parts.failed:
                raise error
            retry_ms = min(_number(reply.body, "retryAfterMs", RETRY_AFTER_MS), LONGEST_RETRY_MS)
            pause_s = retry_ms / 1000 * random.uniform(1.0, 1.5)  # noqa: S311  (spreads retries)
            if loop.time() + pause_s >= question.ends:
                raise error
            await asyncio.sleep(pause_s)


def _number(body: Mapping[str, Any], name: str, default: int) -> int:
    """A whole number above 0 in an error, or the default where there is none."""
    error = body.get("error")
    value = error.get(name) if isinstance(error, dict) else None
    return value if type(value) is int and value > 0 else default
