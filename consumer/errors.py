"""What can go wrong with a question; each error has a stable `code`.

`InferenceError` is all of it but the bus's own `interface.errors.TransportError`. Most of the tree
is the error table of docs/requests.md, section 7; the last four arise on this side.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

_ROW = re.compile(r"(?:records|data)\[([0-9]{1,9})\]")
"""How a place in the rows of one message begins. Source: docs/requests.md, section 7."""

_MAX_DETAILS = 20
"""Source: docs/requests.md, 7.1."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with a request.

    Attributes:
        code: a word of the error table.
        place: where, as a path: `records[3].pH`.
        observed: what was found there.
        expected: what would have been right.
    """

    code: str
    place: str
    observed: str
    expected: str


class InferenceError(Exception):
    """No prediction; of this class itself where the service's code is not one that is known here.

    Attributes:
        code: a stable word.
        message: `PLACE: got OBSERVED, expected EXPECTED`, rows numbered as the caller's.
        details: the faults one by one, as far as the service listed them.
    """

    default_code: ClassVar[str] = "unknown"

    def __init__(self, message: str, details: Sequence[Fault] = (), code: str = "") -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.message = message
        self.details = tuple(details)

    def __str__(self) -> str:
        return self.message


class MalformedRequestError(InferenceError):
    """The request is not what docs/requests.md says."""

    default_code = "malformed_request"


class UnknownFeatureError(InferenceError):
    """A name that the model does not have."""

    default_code = "unknown_feature"


class MissingFeatureError(InferenceError):
    """A name that the model has and a row has not."""

    default_code = "missing_feature"


class NotANumberError(InferenceError):
    """Something else where a number or a boolean should be."""

    default_code = "not_a_number"


class UnknownCategoryError(InferenceError):
    """A value that is none of a feature's categories."""

    default_code = "unknown_category"


class NoRowsError(InferenceError):
    """An empty list of rows."""

    default_code = "no_rows"


class TooManyRowsError(InferenceError):
    """The reply of a single row would not fit."""

    default_code = "too_many_rows"


class RequestTooLargeError(InferenceError):
    """A single row is larger than a message may be."""

    default_code = "request_too_large"


class UnsupportedMediaTypeError(InferenceError):
    """A body of a type that the service does not read."""

    default_code = "unsupported_media_type"


class BusyError(InferenceError):
    """The service had no room, again and again until the deadline."""

    default_code = "busy"


class InternalError(InferenceError):
    """The service failed; its own log says why."""

    default_code = "internal"


class DeadlineExceededError(InferenceError, TimeoutError):
    """The service came to the request after its deadline."""

    default_code = "deadline_exceeded"


class RequestTimeoutError(InferenceError, TimeoutError):
    """No answer came in time."""

    default_code = "request_timeout"


class ClientClosedError(InferenceError):
    """The client was closed before or while it was asked."""

    default_code = "client_closed"


class ModelChangedError(InferenceError):
    """The parts of a batch were answered by different models, twice in a row."""

    default_code = "model_changed"


class MalformedReplyError(InferenceError):
    """The service's answer is not what docs/requests.md says."""

    default_code = "malformed_reply"


_OF_THE_SERVICE: dict[str, type[InferenceError]] = {
    error.default_code: error
    for error in (
        MalformedRequestError,
        UnknownFeatureError,
        MissingFeatureError,
        NotANumberError,
        UnknownCategoryError,
        NoRowsError,
        TooManyRowsError,
        RequestTooLargeError,
        UnsupportedMediaTypeError,
        BusyError,
        InternalError,
        DeadlineExceededError,
    )
}


def parse_error(body: Mapping[str, Any], first_row: int, rows_name: str) -> InferenceError:
    """The error in the body of a refusal.

    Args:
        body: of the reply; whatever is missing or odd in it is passed over.
        first_row: the number that the caller gave the first row of this message.
        rows_name: what the caller calls its rows: `records` or `data`.
    """
    error = body.get("error")
    fields: Mapping[str, Any] = error if isinstance(error, dict) else {}
    code, message = fields.get("code"), fields.get("message")
    code = code if isinstance(code, str) else ""
    message = message if isinstance(message, str) else "reply: got a refusal without a message"
    found = fields.get("details")
    faults = [_fault(item) for item in found[:_MAX_DETAILS]] if isinstance(found, list) else []
    kind = _OF_THE_SERVICE.get(code, InferenceError)
    return kind(
        _renumber(message, first_row, rows_name),
        [replace(it, place=_renumber(it.place, first_row, rows_name)) for it in faults],
        code,
    )


def _fault(item: object) -> Fault:
    fields = item if isinstance(item, dict) else {}
    found = (fields.get(name) for name in ("code", "place", "observed", "expected"))
    return Fault(*(value if isinstance(value, str) else "" for value in found))


def _renumber(text: str, first_row: int, rows_name: str) -> str:
    """The text with the row that it begins with, if any, numbered as the caller does."""
    found = _ROW.match(text)
    if found is None:
        return text
    return f"{rows_name}[{int(found[1]) + first_row}]{text[found.end() :]}"
