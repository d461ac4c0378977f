"""The Lambda handler of a bundle; the only place that knows status codes."""

import contextlib
import logging
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from container.bodies import Query, to_query
from container.events import (
    HEALTH,
    Door,
    ReplyShape,
    check_operation,
    decode_event,
    error_body,
    is_operation,
    open_envelope,
    parse_query,
    recognise,
)
from container.settings import Settings
from model.bundle import DEFAULT_THRESHOLD, Bundle, Prediction
from model.errors import InputError, input_error
from model.features import Matrix
from model.rows import Fields, RowScanner, make_scanner
from model.typed import Any, Protocol

STATUS = {
    "malformed_request": 400,
    "unknown_feature": 400,
    "missing_feature": 400,
    "not_a_number": 400,
    "unknown_category": 400,
    "no_rows": 400,
    "too_many_rows": 413,
    "request_too_large": 413,
    "unsupported_media_type": 415,
    "busy": 429,
    "internal": 500,
    "deadline_exceeded": 504,
}
"""The error table of docs/requests.md: a code and its HTTP status."""

Handler = Callable[[object, object], dict[str, Any]]

Scanned = tuple[Matrix, Fields | None]
"""A plain event's rows, and what stands beside them; see `RowScanner.scan`."""

_log = logging.getLogger(__name__)

_PLAIN = Door()
_NO_ROWS: "array[float]" = array("f")


class BusyError(Exception):
    """No room for another request now; the caller may come back.

    Attributes:
        retry_after_ms: when, in milliseconds.
    """

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"busy for {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


class Monitor(Protocol):
    """Whoever knows how the service is doing; safe to call from several threads."""

    def report(self) -> Mapping[str, Any]:
        """The body of the answer to `{"op": "health"}`; raises nothing."""

    def note(self, code: str, text: str) -> None:
        """Takes an error that is no caller's fault; the text holds nothing of a request."""


class Exchange:
    """An event on its way to its response.

    Attributes:
        kind: the code of the error that it is answered with, or `health`; empty for predictions.
        door: how it came in; a plain one where not even that could be read.
        query: what it asks, once that is known.
        matrix: its rows as the model reads them; empty before.
        response: what goes back, once that is known.
    """

    __slots__ = ("door", "kind", "matrix", "query", "response")

    def __init__(self) -> None:
        self.door = _PLAIN
        self.kind = ""
        self.query: Query | None = None
        self.matrix: array[float] = _NO_ROWS
        self.response: dict[str, Any] = {}

    @property
    def n_rows(self) -> int:
        """How many rows it asks about."""
        return 0 if self.query is None else self.query.n_rows

    @property
    def threshold(self) -> float:
        """The threshold it asks for."""
        chosen = None if self.query is None else self.query.threshold
        return DEFAULT_THRESHOLD if chosen is None else chosen

    def respond(self, status: int, body: Mapping[str, Any]) -> None:
        """Sets the response."""
        self.response = self.door.respond(status, body)


class BundleHandler:
    """Serves a bundle: called as Lambda calls a handler, or with all events that wait at once.

    It raises nothing: each event, also one of bytes that are no JSON, gets a response with a
    status. Events are JSON values, or the bytes of one.
    """

    def __init__(
        self,
        bundle: Bundle,
        settings: Settings,
        scanner: RowScanner | None,
        monitor: Monitor | None = None,
    ) -> None:
        """Takes what it needs.

        Args:
            bundle: see there.
            settings: see there.
            scanner: reads the plainest events faster; all go the general path without it.
            monitor: says how the service is; without one, only what serves is told.
        """
        self._bundle = bundle
        self._settings = settings
        self._scanner = scanner
        self._monitor = monitor
        self._shape = ReplyShape(bundle)
        self._most_rows = min(settings.max_rows, self._shape.most_rows(settings.max_reply_bytes))

    def __call__(self, event: object, context: object = None) -> dict[str, Any]:
        """The response to one event."""
        del context  # the request's own deadline and id are in the event, on every door
        found = self._scan(event)
        plain = None if found is None else self._answer_plain(found)
        return plain or self._answer([self._read(event, found)])[0].response

    def _answer_plain(self, found: Scanned) -> dict[str, Any] | None:
        """The response to an event of nothing but good rows; None for any other, or in trouble.

        It is the one that `answer` gives, in half of its steps: most events are of this kind.
        """
        if found[1] is not None or found[0].n_rows > self._most_rows:
            return None
        if _log.isEnabledFor(logging.DEBUG):
            return None
        try:
            prediction = self._bundle.predict_matrix(found[0].values)
        except Exception:
            return None  # `answer` will meet it again, and say so
        return self._shape.respond(_PLAIN, prediction, Query(found[0]))

    def answer(self, events: Sequence[object]) -> list[Exchange]:
        """The exchanges, in order; what can be predicted together is, as one matrix.

        Each response is the one that its event would have got alone.
        """
        return self._answer([self._read(event, self._scan(event)) for event in events])

    def _answer(self, exchanges: list[Exchange]) -> list[Exchange]:
        """The same exchanges, each with its response."""
        if len(exchanges) == 1:
            groups: Iterable[list[Exchange]] = () if exchanges[0].response else (exchanges,)
        else:
            groups = _groups(exchanges, self._settings.max_rows)
        for group in groups:
            self._predict(group)
        if _log.isEnabledFor(logging.DEBUG):
            for one in exchanges:
                status = one.response["statusCode"]
                facts = {"request_id": one.door.id, "rows": one.n_rows, "status": status}
                _log.debug("request", extra=facts)
        return exchanges

    def refuse(self, event: object, error: InputError | BusyError) -> Exchange:
        """The exchange with an event that is not to be served, for a reason of its own."""
        exchange = Exchange()
        with contextlib.suppress(InputError):
            exchange.door = recognise(decode_event(event, self._settings))
        self._fail(exchange, error)
        return exchange

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        """Sets the response that an error gets."""
        status, body = _status_and_body(error)
        exchange.kind = body["error"]["code"]
        exchange.respond(status, body)
        if exchange.kind == "internal" and self._monitor is not None:
            # Its text may quote a request; the log has the whole of it.
            observed = type(error).__name__
            self._monitor.note("internal", f"a request: got {observed}, expected predictions")

    def _operate(self, name: object, exchange: Exchange) -> None:
        """Sets the response to an event that asks about the service itself.

        Raises:
            InputError: `malformed_request`: there is no such operation.
        """
        check_operation(name)
        exchange.kind = HEALTH
        served = describe_served(self._bundle) if self._monitor is None else self._monitor.report()
        exchange.respond(200, served)

    def _read(self, event: object, found: Scanned | None) -> Exchange:
        """The event with its matrix, or else with the response that says what is wrong with it."""
        exchange = Exchange()
        try:
            if found is not None:
                self._take(found, exchange)
            if exchange.query is None:
                event = decode_event(event, self._settings)
                exchange.door = recognise(event)
                _check_envelope(exchange.door)
                if is_operation(event):
                    self._operate(event["op"], exchange)
                    return exchange
                exchange.query = parse_query(event, exchange.door, self._settings)
            self._shape.check(exchange.query, self._settings.max_reply_bytes, exchange.door.id)
            exchange.matrix = self._bundle.encode(exchange.query.rows)
        except Exception as error:
            self._fail(exchange, error)
        return exchange

    def _scan(self, event: object) -> Scanned | None:
        """What the scanner finds; None where the event is not one that it reads."""
        scanner, settings = self._scanner, self._settings
        if scanner is None or type(event) is not bytes or len(event) > settings.max_request_bytes:
            return None
        try:
            return scanner.scan(event, settings.max_rows)
        except Exception:  # no memory, say: the general path will meet it again, and answer for it
            return None

    def _take(self, found: Scanned, exchange: Exchange) -> None:
        """Sets the door and the query, where the event's fields are good."""
        rows, fields = found
        if fields is None:
            exchange.query = Query(rows=rows)
            return
        try:
            exchange.door = open_envelope(fields)
            _check_envelope(exchange.door)
            exchange.query = to_query(rows, fields)
        except InputError:
            return  # the general path will find it again, in its own order

    def _predict(self, group: Sequence[Exchange]) -> None:
        """Sets the responses to a group's events."""
        matrix = group[0].matrix
        if len(group) > 1:
            matrix = array("f")
            for one in group:
                matrix.extend(one.matrix)
        try:
            prediction = self._bundle.predict_matrix(matrix, group[0].threshold)
        except Exception as error:
            if len(group) > 1:  # one of them may have done it; the others need not suffer
                for one in group:
                    self._predict([one])
            else:
                self._fail(group[0], error)
            return
        if len(group) == 1:
            self._respond(group[0], prediction)
            return
        at = 0
        for one in group:
            rows = slice(at, at + one.n_rows)
            at = rows.stop
            probabilities = prediction.probabilities
            part = Prediction(
                prediction.predictions[rows],
                None if probabilities is None else probabilities[rows],
            )
            self._respond(one, part)

    def _respond(self, exchange: Exchange, prediction: Prediction) -> None:
        assert exchange.query is not None
        exchange.response = self._shape.respond(exchange.door, prediction, exchange.query)


def _groups(exchanges: Sequence[Exchange], max_rows: int) -> Iterator[list[Exchange]]:
    """Those with a matrix, in groups that one call may predict: one threshold, few enough rows."""
    waiting: dict[float, list[Exchange]] = {}
    n_rows: dict[float, int] = {}
    for one in exchanges:
        if one.response:
            continue
        key = one.threshold
        if key in waiting and n_rows[key] + one.n_rows > max_rows:
            yield waiting.pop(key)
            del n_rows[key]
        waiting.setdefault(key, []).append(one)
        n_rows[key] = n_rows.get(key, 0) + one.n_rows
    yield from waiting.values()


def make_handler(
    bundle: Bundle, settings: Settings, monitor: Monitor | None = None
) -> BundleHandler:
    """The function `(event, context) -> response` that serves a bundle.

    Args:
        bundle: see `BundleHandler`.
        settings: see there.
        monitor: see there.
    """
    manifest = bundle.manifest
    scanner = make_scanner(manifest.features, absent_field=manifest.absent_field)
    return BundleHandler(bundle, settings, scanner, monitor)


def describe_served(bundle: Bundle) -> dict[str, Any]:
    """What serves, as far as a bundle knows; see docs/requests.md, 9.2."""
    manifest = bundle.manifest
    model = {"name": manifest.name, "version": manifest.version, "digest": bundle.digest}
    return {"ready": True, "model": model, "engine": bundle.engine}


def _status_and_body(error: Exception) -> tuple[int, dict[str, Any]]:
    match error:
        case InputError():
            return STATUS[error.code], error_body(error)
        case BusyError():
            return STATUS["busy"], _busy_body(error)
    _log.error("a request failed for a reason that is not the caller's", exc_info=error)
    return STATUS["internal"], _INTERNAL


def _check_envelope(door: Door) -> None:
    if door.fault is not None:
        raise door.fault
    if door.deadline_ms is None:
        return
    now_ms = time.time() * 1000
    if now_ms >= door.deadline_ms:
        late = "a deadline before 1970"
        if door.deadline_ms >= 0:
            late = f"a deadline {now_ms - door.deadline_ms:.0f} ms ago"
        raise input_error("deadline_exceeded", "deadlineMs", late, "one that is still to come")


def _busy_body(error: BusyError) -> dict[str, Any]:
    return {
        "error": {
            "code": "busy",
            "message": "queue: got no free place, expected one; try again later",
            "details": [],
            "retryAfterMs": error.retry_after_ms,
        }
    }


_INTERNAL: dict[str, Any] = {
    "error": {
        "code": "internal",
        "message": "the request could not be served; the component's log says why",
        "details": [],
    }
}
