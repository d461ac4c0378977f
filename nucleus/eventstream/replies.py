"""The messages that a nucleus sends, in the words of each personality.

Source: aws-greengrass-nucleus, software/amazon/awssdk/eventstreamrpc/ (classic);
aws-greengrass-lite, modules/ggipcd/src/ipc_server.c (lite).
"""

import json
from collections.abc import Mapping
from typing import Any

from nucleus.eventstream.message import Message, MessageFlag, MessageType, make_message, text_header
from nucleus.eventstream.service import KNOWN_OPERATIONS, NAMESPACE, SERVICE
from nucleus.operation import IpcError
from nucleus.personality import Personality

CONTENT_TYPE = ":content-type"
MODEL_TYPE = "service-model-type"
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain"


class Replies:
    """Builds the messages of one personality; it remembers nothing."""

    def __init__(self, personality: Personality) -> None:
        self._personality = personality

    def accept(self) -> Message:
        """The ACK of an accepted CONNECT."""
        return make_message(MessageType.CONNECT_ACK, 0, flags=MessageFlag.CONNECTION_ACCEPTED)

    def refuse(self) -> Message | None:
        """The ACK of a refused CONNECT; None where refusal is silent."""
        if not self._personality.answers_refusal:
            return None
        return make_message(MessageType.CONNECT_ACK, 0)

    def pong(self, ping: Message) -> Message:
        """The answer to a PING: its payload, and its headers that do not start with a colon."""
        extra = tuple(header for header in ping.headers if not header.name.startswith(":"))
        return make_message(MessageType.PING_RESPONSE, 0, extra=extra, payload=ping.payload)

    def violation(
        self, reason: str, message_type: MessageType = MessageType.PROTOCOL_ERROR
    ) -> Message | None:
        """What is sent before a connection is closed; None where it is closed in silence."""
        if not self._personality.answers_violations:
            return None
        extra = (text_header(CONTENT_TYPE, JSON_TYPE),)
        return make_message(message_type, 0, extra=extra, payload=to_json({"message": reason}))

    def response(self, stream_id: int, operation: str, body: Mapping[str, Any]) -> Message:
        """The only response of an operation.

        Raises:
            ValueError: the body holds what JSON cannot.
        """
        ends = self._personality.ends_unary_streams
        flags = MessageFlag.TERMINATE_STREAM if ends else MessageFlag.NONE
        return _model_message(stream_id, f"{operation}Response", body, flags=flags)

    def first_response(self, stream_id: int, operation: str, body: Mapping[str, Any]) -> Message:
        """The first response of a subscription, whose stream stays open.

        Raises:
            ValueError: the body holds what JSON cannot.
        """
        return _model_message(stream_id, f"{operation}Response", body)

    def event(self, stream_id: int, event_type: str, body: Mapping[str, Any]) -> Message:
        """An event on an open stream.

        Raises:
            ValueError: the body holds what JSON cannot.
        """
        return _model_message(stream_id, event_type, body)

    def error(self, stream_id: int, error: IpcError) -> Message:
        """A modelled error, which ends its stream.

        Raises:
            ValueError: the error's fields hold what JSON cannot.
        """
        body = {"_message": error.message, "_errorCode": error.code}
        if self._personality.names_messages:
            fields = {key: value for key, value in error.fields.items() if value is not None}
            body = {"message": error.message, "_service": SERVICE, **body, **fields}
        return _model_message(
            stream_id,
            error.code,
            body,
            message_type=MessageType.APPLICATION_ERROR,
            flags=MessageFlag.TERMINATE_STREAM,
        )

    def failure(self, stream_id: int) -> Message:
        """The error for what nobody foresaw, or for a request that cannot be read."""
        if not self._personality.names_messages:
            return self.error(stream_id, IpcError("ServiceError", ""))
        return _bare_error(stream_id, TEXT_TYPE, b"InternalServerError")

    def no_operation(self, stream_id: int, operation: str) -> Message:
        """The error for an operation that does not exist, or not on this device.

        Args:
            stream_id: of the request.
            operation: as the client named it.
        """
        if not self._personality.names_messages:
            return self.error(stream_id, IpcError("ServiceError", ""))
        name = operation.removeprefix(NAMESPACE)
        if name != operation and name in KNOWN_OPERATIONS:
            text = f"Operation {operation} is not supported by Greengrass"
            return self.error(stream_id, IpcError("ServiceError", text))
        text = f"{operation} is an unsupported operation."
        body = to_json({"error": "Unsupported Operation", "message": text})
        return _bare_error(stream_id, JSON_TYPE, body)

    def end(self, stream_id: int) -> Message:
        """The end of a stream, without a word."""
        flags = MessageFlag.TERMINATE_STREAM
        return make_message(MessageType.APPLICATION_MESSAGE, stream_id, flags=flags)


def to_json(value: Mapping[str, Any]) -> bytes:
    """Compact UTF-8 JSON; half a surrogate pair stays an escape, as it came.

    Raises:
        ValueError: a NaN, an infinity, or a value that is none of JSON's.
    """
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, RecursionError) as error:
        raise ValueError(f"body: got {error}, expected JSON") from error
    return text.encode(errors="backslashreplace")


def _model_message(
    stream_id: int,
    shape: str,
    body: Mapping[str, Any],
    *,
    message_type: MessageType = MessageType.APPLICATION_MESSAGE,
    flags: MessageFlag = MessageFlag.NONE,
) -> Message:
    extra = (text_header(CONTENT_TYPE, JSON_TYPE), text_header(MODEL_TYPE, NAMESPACE + shape))
    return make_message(message_type, stream_id, flags=flags, extra=extra, payload=to_json(body))


def _bare_error(stream_id: int, content_type: str, payload: bytes) -> Message:
    return make_message(
        MessageType.APPLICATION_ERROR,
        stream_id,
        flags=MessageFlag.TERMINATE_STREAM,
        extra=(text_header(CONTENT_TYPE, content_type),),
        payload=payload,
    )
