"""Messages and their JSON."""

import base64
from typing import Any

import pytest

from nucleus.mqtt_message import (
    MessageError,
    MqttMessage,
    decode_message,
    decode_qos,
    encode_message,
)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


FULL = MqttMessage(
    topic="a/b",
    payload=b"\x00\xff",
    qos=1,
    retain=True,
    user_properties=(("k", "1"), ("k", "2")),
    expiry_s=60,
    correlation_data=b"\x01",
    response_topic="a/r",
    is_utf8=True,
    content_type="application/json",
)

FULL_JSON: dict[str, Any] = {
    "topicName": "a/b",
    "payload": b64(b"\x00\xff"),
    "retain": True,
    "userProperties": [{"key": "k", "value": "1"}, {"key": "k", "value": "2"}],
    "messageExpiryIntervalSeconds": 60,
    "correlationData": b64(b"\x01"),
    "responseTopic": "a/r",
    "payloadFormat": "1",
    "contentType": "application/json",
}

PLAIN_JSON = {"topicName": "a/b", "payload": b64(b"x"), "qos": "0"}


def test_every_field_is_carried_on_classic() -> None:
    """In and out."""
    assert decode_message({**FULL_JSON, "qos": "1"}, is_lite=False) == FULL
    assert encode_message(FULL, is_lite=False) == {"message": FULL_JSON}


def test_topic_and_payload_are_all_that_lite_carries() -> None:
    """The rest it drops, whatever it is."""
    found = decode_message({**FULL_JSON, "qos": "1", "contentType": 7}, is_lite=True)
    assert found == MqttMessage(topic="a/b", payload=b"\x00\xff", qos=1)
    assert encode_message(FULL, is_lite=True) == {
        "message": {"topicName": "a/b", "payload": b64(b"\x00\xff")}
    }


def test_a_plain_message_has_few_fields() -> None:
    """What is None is left out; flag and format have defaults."""
    plain = MqttMessage(topic="a/b", payload=b"x")
    for extra in ({}, {"payloadFormat": "0"}, {"retain": False, "userProperties": []}):
        assert decode_message({**PLAIN_JSON, **extra}, is_lite=False) == plain
    assert encode_message(plain, is_lite=False) == {
        "message": {
            "topicName": "a/b",
            "payload": b64(b"x"),
            "retain": False,
            "payloadFormat": "0",
        }
    }


@pytest.mark.parametrize("is_lite", [False, True], ids=["classic", "lite"])
def test_an_empty_payload_is_one(is_lite: bool) -> None:
    """As MQTT has it."""
    request = {"topicName": "a", "payload": "", "qos": "0"}
    assert decode_message(request, is_lite=is_lite).payload == b""


def test_lite_does_without_payload_and_qos() -> None:
    """They are empty and 0."""
    assert decode_message({"topicName": "a"}, is_lite=True) == MqttMessage(topic="a", payload=b"")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"payload": None}, "Payload is required"),
        ({"qos": None}, "QoS is required"),
        ({"qos": "2"}, "Invalid QoS value: 2"),
        ({"qos": 1}, "Invalid QoS value: 1"),
        ({"payload": "*"}, "payload: got a value that is no base64, expected base64"),
        ({"payload": 7}, "payload: got a value that is no base64, expected base64"),
        ({"payload": "é"}, "payload: got a value that is no base64, expected base64"),
        (
            {"correlationData": "*"},
            "correlationData: got a value that is no base64, expected base64",
        ),
        ({"responseTopic": 7}, "responseTopic: got 7, expected a text"),
        ({"contentType": []}, "contentType: got [], expected a text"),
        ({"payloadFormat": "2"}, "payloadFormat: got '2', expected '0' or '1'"),
        (
            {"messageExpiryIntervalSeconds": -1},
            "messageExpiryIntervalSeconds: got -1, expected 0 to 2^32 - 1",
        ),
        (
            {"messageExpiryIntervalSeconds": 2**32},
            "messageExpiryIntervalSeconds: got 4294967296, expected 0 to 2^32 - 1",
        ),
        ({"userProperties": {}}, "userProperties: got {}, expected a key and a value"),
        ({"userProperties": ["k"]}, "userProperties: got 'k', expected a key and a value"),
        (
            {"userProperties": [{"key": "k"}]},
            "userProperties: got {'key': 'k'}, expected a key and a value",
        ),
    ],
)
def test_a_malformed_message_is_refused_on_classic(change: dict[str, Any], text: str) -> None:
    """The payload itself is never told."""
    with pytest.raises(MessageError) as caught:
        decode_message({**PLAIN_JSON, **change}, is_lite=False)
    assert str(caught.value) == text


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"qos": "3"}, "Invalid QoS value: 3"),
        ({"qos": True}, "Invalid QoS value: True"),
        ({"payload": "*"}, "payload: got a value that is no base64, expected base64"),
    ],
)
def test_a_malformed_message_is_refused_on_lite(change: dict[str, Any], text: str) -> None:
    """Of what it knows."""
    with pytest.raises(MessageError) as caught:
        decode_message({**PLAIN_JSON, **change}, is_lite=True)
    assert str(caught.value) == text


def test_lite_takes_a_number_for_the_qos() -> None:
    """Beside a text."""
    assert [decode_qos({"qos": it}, is_lite=True) for it in (0, 1, "0", "1", None)] == [
        0,
        1,
        0,
        1,
        0,
    ]
