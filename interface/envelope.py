"""Request and reply as bytes on the bus; see docs/requests.md, sections 5 to 8.

The rows inside are the business of those who ask and those who predict; here is only what both
need to find each other.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from interface.errors import EnvelopeError

REQUEST_TOPIC = "edgexgb/requests"
RESULT_TOPIC = "edgexgb/results"
"""Where the component listens, and below which it replies, unless it is configured otherwise."""

MAX_TOPIC_BYTES = 256
"""Of a topic. Source: nucleus lite, modules/ggpubsubd/src/bus_server.c; classic has no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked.

    Attributes:
        id: echoed in the reply.
        event: the rows and options; JSON values.
        reply_to: the topic for the reply; None for the result topic itself.
        deadline_ms: when the request is void, in milliseconds since 1970; None for never.
    """

    id: str | int
    event: Mapping[str, Any]
    reply_to: str | None = None
    deadline_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What comes back.

    Attributes:
        id: of the request; None where it had none, or could not be read.
        status: 200, or that of the error.
        body: the answer, or `{"error": …}`.
    """

    id: str | int | None
    status: int
    body: Mapping[str, Any] = field(repr=False)


def encode_request(request: Request) -> bytes:
    """The bytes of a request, in which the envelope's own fields win over those of the event.

    Raises:
        EnvelopeError: the event holds what JSON cannot.
    """
    head: dict[str, Any] = {"id": request.id}
    if request.reply_to is not None:
        head["replyTo"] = request.reply_to
    if request.deadline_ms is not None:
        head["deadlineMs"] = request.deadline_ms
    return encode_json({**request.event, **head}, "request")


def encode_json(value: object, place: str) -> bytes:
    """Compact UTF-8 JSON.

    Raises:
        EnvelopeError: a NaN, an infinity, or a value that is none of JSON's.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise EnvelopeError(place, f"a value that is not JSON ({error})", "JSON") from error


def parse_reply(payload: bytes) -> Reply:
    """The reply in a message.

    Raises:
        EnvelopeError: it is none; anyone may publish to a topic.
    """
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise EnvelopeError("reply", "bytes that are no JSON", "a reply") from error
    if not isinstance(fields, dict):
        raise EnvelopeError("reply", f"a {type(fields).__name__}", "an object")
    identity, status, body = fields.get("id"), fields.get("statusCode"), fields.get("body")
    if identity is not None and (isinstance(identity, bool) or not isinstance(identity, str | int)):
        raise EnvelopeError("reply.id", f"a {type(identity).__name__}", "text or a whole number")
    if isinstance(status, bool) or not isinstance(status, int):
        raise EnvelopeError("reply.statusCode", f"a {type(status).__name__}", "a whole number")
    if not isinstance(body, dict):
        raise EnvelopeError("reply.body", f"a {type(body).__name__}", "an object")
    return Reply(id=identity, status=status, body=body)


def check_reply_topic(reply_to: str | None, result_topic: str) -> str:
    """The topic that a reply goes to.

    A request may name any topic at or under the result topic, and no other: else everybody who may
    ask could have the component write wherever its policy lets it.

    Raises:
        EnvelopeError: the topic is not one of those.
    """
    if reply_to is None or reply_to == result_topic:
        return result_topic
    rest = reply_to.removeprefix(f"{result_topic}/")
    if rest == reply_to or not all(rest.split("/")) or set("+#*") & set(rest):
        raise EnvelopeError("replyTo", repr(reply_to[:80]), f"a topic under {result_topic}/")
    if len(reply_to.encode(errors="surrogatepass")) > MAX_TOPIC_BYTES:
        observed = f"a topic of {len(reply_to)} characters"
        raise EnvelopeError("replyTo", observed, f"at most {MAX_TOPIC_BYTES} bytes")
    return reply_to
