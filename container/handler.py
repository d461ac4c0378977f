"""The Lambda handler of a bundle; the only place that knows status codes."""

import logging
import time
from collections.abc import Callable
from typing import Any

from container.events import Door, ReplyShape, decode_event, error_body, parse_query, recognise
from container.settings import Settings
from model.bundle import DEFAULT_THRESHOLD, Bundle
from model.errors import InputError, input_error

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

_log = logging.getLogger(__name__)


class BusyError(Exception):
    """No room for another request now; the caller may come back.

    Attributes:
        retry_after_ms: when, in milliseconds.
    """

    def __init__(self, retry_after_ms: int) -> None:
        super().__init__(f"busy for {retry_after_ms} ms")
        self.retry_after_ms = retry_after_ms


def make_handler(bundle: Bundle, settings: Settings) -> Handler:
    """The function `(event, context) -> response` that serves a bundle.

    It raises nothing: each event, also one of bytes that are no JSON, gets a response with a
    status. Events are JSON values, or the bytes of one.
    """
    shape = ReplyShape(bundle)

    def handle(event: object, context: object = None) -> dict[str, Any]:
        del context  # the request's own deadline and id are in the event, on every door
        door, n_rows = Door(), 0
        try:
            event = decode_event(event, settings.max_request_bytes)
            door = recognise(event)
            _check_deadline(door)
            query = parse_query(event, door, settings)
            n_rows = query.n_rows
            shape.check(query, settings.max_reply_bytes)
            threshold = DEFAULT_THRESHOLD if query.threshold is None else query.threshold
            status, body = 200, shape.body(bundle.predict(query.rows, threshold), query)
        except InputError as error:
            status, body = STATUS[error.code], error_body(error)
        except BusyError as error:
            status, body = STATUS["busy"], _busy_body(error)
        except Exception:
            _log.exception("a request failed for a reason that is not the caller's")
            status, body = STATUS["internal"], _INTERNAL
        if _log.isEnabledFor(logging.DEBUG):
            facts = {"request_id": door.id, "rows": n_rows, "status": status}
            _log.debug("request", extra=facts)
        return door.respond(status, body)

    return handle


def _check_deadline(door: Door) -> None:
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
