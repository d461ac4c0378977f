"""The handler on the bus: requests as they arrive to replies as they leave.

The bridge brings whatever waits, and publishes what comes back; here is decided where each answer
goes, and what is said in place of one that the bus would not take.
"""

import json
from collections.abc import Sequence

from container.events import encode_response, is_operation
from container.handler import BundleHandler, BusyError, Exchange
from interface.bridge import Answer
from interface.envelope import check_reply_topic
from interface.errors import EnvelopeError
from model.errors import input_error

LONGEST_REFUSAL_BYTES = 3235
"""Of a refusal that has given up its details and its text; nothing of it can be spared.

Most of it is an `id` of 256 characters, each of which JSON in ASCII may write in 12 bytes.
"""

_MAX_OPERATION_BYTES = 1024
"""Of a request about the service itself that does not wait: an id and a topic have room."""


class BundleService:
    """Answers requests from the bus with one bundle's handler; see `interface.bridge.Service`."""

    def __init__(self, handler: BundleHandler, result_topic: str) -> None:
        """Takes the handler and the topic under which replies go out."""
        self._serving = (handler, result_topic)

    def adopt(self, handler: BundleHandler, result_topic: str) -> None:
        """Answers with another handler, and at another topic, from the next request on."""
        self._serving = (handler, result_topic)

    def answer(self, payloads: Sequence[bytes]) -> Sequence[Answer]:
        """The reply to each request, in order."""
        handler, result_topic = self._serving
        exchanges = handler.answer(payloads)
        return [
            _address(handler, result_topic, exchange, payload)
            for exchange, payload in zip(exchanges, payloads, strict=True)
        ]

    def is_urgent(self, payload: bytes) -> bool:
        """Whether it asks about the service itself; see docs/requests.md, 9.3."""
        if b'"op"' not in payload or len(payload) > _MAX_OPERATION_BYTES:
            return False
        try:
            return is_operation(json.loads(payload))
        except (ValueError, RecursionError):
            return False

    def refuse(self, payload: bytes, retry_after_ms: int) -> Answer:
        """The reply `busy`."""
        handler, result_topic = self._serving
        exchange = handler.refuse(payload, BusyError(retry_after_ms))
        return _address(handler, result_topic, exchange, payload)

    def too_large(self, answer: Answer, max_bytes: int) -> Answer:
        """A reply that says so in place of one that the bus would not take.

        A refusal keeps its code, and gives up its details one by one, then its text.

        Args:
            answer: see there.
            max_bytes: at least `LONGEST_REFUSAL_BYTES`, so that it fits in any case.
        """
        response = json.loads(answer.payload)
        is_text = isinstance(response["body"], str)  # that of an event of HTTP, which may come, too
        body = json.loads(response["body"]) if is_text else response["body"]
        error = body.get("error")
        if error is None:
            text = f"reply: got {len(answer.payload)} bytes, expected at most {max_bytes}"
            error = {"code": "too_many_rows", "message": text, "details": []}
            response["statusCode"] = 413
            answer = Answer(answer.topic, answer.payload, error["code"])

        def encode() -> bytes:
            refusal = {"error": error}
            response["body"] = encode_response(refusal) if is_text else refusal
            return encode_response(response).encode()

        while len(payload := encode()) > max_bytes and error["details"]:
            error["details"].pop()
        if len(payload) > max_bytes:
            error["message"] = "the text is longer than a message may be"
            payload = encode()
        return Answer(answer.topic, payload, answer.kind)


def _address(
    handler: BundleHandler, result_topic: str, exchange: Exchange, payload: bytes
) -> Answer:
    """The response on its way to where the request wants it; to the result topic if it may not."""
    try:
        topic = check_reply_topic(exchange.door.reply_to, result_topic)
    except EnvelopeError as error:
        fault = input_error("malformed_request", error.place, error.observed, error.expected)
        exchange = handler.refuse(payload, fault)
        topic = result_topic
    return Answer(topic, encode_response(exchange.response).encode(), exchange.kind)
