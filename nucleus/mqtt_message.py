"""A message to or from AWS IoT Core, and its JSON on the IPC socket."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


class MessageError(ValueError):
    """A request that makes no message; the text is the answer's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttMessage:
    """One message, with what MQTT 5 may carry.

    Attributes:
        topic: where it was published.
        payload: what it says.
        qos: 0 or 1; IoT Core has no 2.
        retain: whether the broker is to keep it.
        user_properties: names and values, in order.
        expiry_s: how long it counts.
        correlation_data: which request a reply belongs to.
        response_topic: where a reply is to go.
        is_utf8: whether the payload says that it is text.
        content_type: the payload's media type.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    user_properties: tuple[tuple[str, str], ...] = ()
    expiry_s: int | None = None
    correlation_data: bytes | None = None
    response_topic: str | None = None
    is_utf8: bool = False
    content_type: str | None = None


def decode_message(request: Mapping[str, Any], *, is_lite: bool) -> MqttMessage:
    """The message of a `PublishToIoTCoreRequest` whose topic is known to be a text.

    Lite needs neither payload nor QoS, and drops whatever it does not know.

    Raises:
        MessageError: a field is missing, or is not what it should be.
    """
    payload = request.get("payload")
    if payload is None and not is_lite:
        raise MessageError("Payload is required")
    message = MqttMessage(
        topic=request["topicName"],
        payload=_decode_blob("payload", payload or ""),
        qos=decode_qos(request, is_lite=is_lite),
    )
    return message if is_lite else _with_extras(message, request)


def decode_qos(request: Mapping[str, Any], *, is_lite: bool) -> int:
    """The quality of service in a request; 0 where lite is not told one.

    Raises:
        MessageError: there is none, or another than `"0"` and `"1"`; lite takes numbers too.
    """
    value = request.get("qos")
    if value is None:
        if is_lite:
            return 0
        raise MessageError("QoS is required")
    if is_lite and type(value) is int:
        value = str(value)
    if value not in ("0", "1"):
        raise MessageError(f"Invalid QoS value: {value}")
    return int(value)


def encode_message(message: MqttMessage, *, is_lite: bool) -> dict[str, Any]:
    """The JSON of an `IoTCoreMessage`; without what is None. Lite tells topic and payload alone."""
    fields: dict[str, Any] = {
        "topicName": message.topic,
        "payload": base64.b64encode(message.payload).decode(),
    }
    if not is_lite:
        data, properties = message.correlation_data, message.user_properties
        extras = {
            "retain": message.retain,
            "payloadFormat": "1" if message.is_utf8 else "0",
            "userProperties": [{"key": key, "value": value} for key, value in properties] or None,
            "messageExpiryIntervalSeconds": message.expiry_s,
            "correlationData": None if data is None else base64.b64encode(data).decode(),
            "responseTopic": message.response_topic,
            "contentType": message.content_type,
        }
        fields |= {key: value for key, value in extras.items() if value is not None}
    return {"message": fields}


def _with_extras(message: MqttMessage, request: Mapping[str, Any]) -> MqttMessage:
    correlation, expiry = (
        request.get("correlationData"),
        request.get("messageExpiryIntervalSeconds"),
    )
    if expiry is not None and (type(expiry) not in (int, float) or not 0 <= expiry < 2**32):
        raise MessageError(f"messageExpiryIntervalSeconds: got {expiry!r}, expected 0 to 2^32 - 1")
    if request.get("payloadFormat") not in (None, "0", "1"):
        raise MessageError(f"payloadFormat: got {request['payloadFormat']!r}, expected '0' or '1'")
    return replace(
        message,
        retain=request.get("retain") is True,
        user_properties=_decode_properties(request.get("userProperties")),
        expiry_s=None if expiry is None else int(expiry),
        correlation_data=(
            None if correlation is None else _decode_blob("correlationData", correlation)
        ),
        response_topic=_decode_text(request, "responseTopic"),
        is_utf8=request.get("payloadFormat") == "1",
        content_type=_decode_text(request, "contentType"),
    )


def _decode_blob(name: str, value: object) -> bytes:
    try:
        if isinstance(value, str):
            return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        pass
    raise MessageError(f"{name}: got a value that is no base64, expected base64")


def _decode_text(request: Mapping[str, Any], name: str) -> str | None:
    value = request.get(name)
    if value is not None and not isinstance(value, str):
        raise MessageError(f"{name}: got {value!r}, expected a text")
    return value


def _decode_properties(value: object) -> tuple[tuple[str, str], ...]:
    properties = []
    for it in value if isinstance(value, list) else [] if value is None else [value]:
        key, text = (it.get("key"), it.get("value")) if isinstance(it, Mapping) else (None, None)
        if not isinstance(key, str) or not isinstance(text, str):
            raise MessageError(f"userProperties: got {it!r}, expected a key and a value")
        properties.append((key, text))
    return tuple(properties)
