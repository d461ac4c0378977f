"""How the inference component is: the answer to `{"op": "health"}`, checked.

docs/requests.md, section 9, has the fields.
"""

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from consumer.errors import MalformedReplyError, RequestTimeoutError, parse_error
from consumer.exchange import Exchange
from interface.envelope import Request, encode_request

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LastError:
    """What went wrong last, and was no requester's fault.

    Attributes:
        code: a stable word.
        message: for people.
        when: as ISO 8601, in UTC.
    """

    code: str
    message: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the component is; counts are since its start.

    Attributes:
        ready: whether it serves, and has told the nucleus so.
        model: its name.
        version: of the model.
        digest: of the bundle, sha256.
        engine: what predicts: `forest` or `xgboost`.
        uptime_s: since its start.
        waiting: requests in its queue.
        max_waiting: how many may be; None where there is no queue now.
        served: requests that got predictions.
        refused: those that got an error, by its code.
        failed: those that got the error `internal`, or no reply.
        p50_ms: from a request's arrival to its reply's departure, of the last 1024; None before
            the first.
        p99_ms: the same.
        last_error: see there; None where nothing went wrong.
        resident_bytes: of memory; None where its system does not say so.
    """

    ready: bool
    model: str
    version: str
    digest: str
    engine: str
    uptime_s: float
    waiting: int
    max_waiting: int | None
    served: int
    refused: Mapping[str, int]
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    last_error: LastError | None
    resident_bytes: int | None


async def ask_health(
    exchange: Exchange, *, reply_topic: str, deadline_ms: int, ends: float, timeout_s: float
) -> Health:
    """How the component is, asked once, ahead of all questions of this client that wait.

    Args:
        exchange: see there.
        reply_topic: see `Question`, and so for the others.
        deadline_ms: see there.
        ends: see there.
        timeout_s: see there.

    Raises:
        InferenceError: the service refused, did not answer in time, or does not know the question.
        TransportError: the bus failed.
    """

    def encode(identity: str) -> bytes:
        event = {"op": "health"}
        request = Request(id=identity, event=event, reply_to=reply_topic, deadline_ms=deadline_ms)
        return encode_request(request)

    try:
        async with asyncio.timeout_at(ends):
            reply = await exchange.ask_at_once(encode, ends)
    except TimeoutError:
        observed = f"no reply in {timeout_s:g} s"
        raise RequestTimeoutError(f"health: got {observed}, expected one") from None
    if reply.status != 200:
        raise parse_error(reply.body, 0, "records")
    return parse_health(reply.body)


def parse_health(body: Mapping[str, Any]) -> Health:
    """The health in the body of a reply; fields that are not known here are passed over.

    Raises:
        MalformedReplyError: the body is not that of an answer about health.
    """
    model, times = _object(body, "model"), _object(body, "latencyMs", or_null=True)
    refused, error = _object(body, "refused"), _object(body, "lastError", or_null=True)
    return Health(
        ready=_field(body, "ready", bool),
        model=_field(model, "name", str),
        version=_field(model, "version", str),
        digest=_field(model, "digest", str),
        engine=_field(body, "engine", str),
        uptime_s=_number(body, "uptimeSeconds"),
        waiting=_field(body, "waiting", int),
        max_waiting=_field_or_null(body, "maxWaiting", int),
        served=_field(body, "served", int),
        refused={code: _field(refused, code, int) for code in refused},
        failed=_field(body, "failed", int),
        p50_ms=_number(times, "p50") if times else None,
        p99_ms=_number(times, "p99") if times else None,
        last_error=LastError(*(_field(error, it, str) for it in ("code", "message", "when")))
        if error
        else None,
        resident_bytes=_field_or_null(body, "residentBytes", int),
    )


def _object(fields: Mapping[str, Any], name: str, *, or_null: bool = False) -> Mapping[str, Any]:
    """The object in a field; an empty one for null, where that may be."""
    if or_null and fields.get(name) is None:
        return {}
    return _field(fields, name, dict)


def _field_or_null(fields: Mapping[str, Any], name: str, kind: type[_T]) -> _T | None:
    return None if fields.get(name) is None else _field(fields, name, kind)


def _number(fields: Mapping[str, Any], name: str) -> float:
    value = fields.get(name)
    if type(value) is int:
        # A whole number may have more digits than a float can hold.
        if abs(value) <= sys.float_info.max:
            return float(value)
        observed = f"an integer of {value.bit_length()} bits"
        raise MalformedReplyError(f"reply.body.{name}: got {observed}, expected a float")
    return _field(fields, name, float)


def _field(fields: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    value = fields.get(name)
    if type(value) is kind:
        return value
    text = f"reply.body.{name}: got a {type(value).__name__}, expected a {kind.__name__}"
    raise MalformedReplyError(text)
