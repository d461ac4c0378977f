"""The MQTT proxy, without a socket; see `test_broker.py` for a real broker behind it."""

import base64
from typing import Any

import pytest

from nucleus.authorization import MQTT_PROXY, Authorization
from nucleus.mqtt_message import MqttMessage
from nucleus.operations.mqtt import MAX_PAYLOAD_BYTES, MqttProxy, PublishError, SeenMessage
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.recording import A, B, RecordingStream, call, open_stream, refused

X = base64.b64encode(b"x").decode()


class Proxy:
    """A proxy whose component A may do everything, and B nothing."""

    def __init__(self, personality: Personality = CLASSIC, recent_count: int = 100) -> None:
        authorization = Authorization(personality)
        everything = {"operations": ["*"], "resources": ["*"]}
        authorization.load("A", {MQTT_PROXY: {"1": everything}})
        self.seen: list[SeenMessage] = []
        self.proxy = MqttProxy(
            authorization, personality, seen=self.seen.append, recent_count=recent_count
        )
        self.operations = self.proxy.operations()

    def publish(self, topic: str, payload: bytes = b"x", **fields: Any) -> None:
        request = {"topicName": topic, "payload": base64.b64encode(payload).decode(), "qos": "1"}
        assert call(self.operations, "PublishToIoTCore", **{**request, **fields}) == {}

    def subscribe(self, topic_filter: str) -> RecordingStream:
        name = "SubscribeToIoTCore"
        return open_stream(self.operations, name, topicName=topic_filter, qos="1")

    def refused(self, name: str, caller: Any = A, **request: Any) -> tuple[str, str]:
        return refused(self.operations, name, caller, **request)


class RecordingBroker:
    """Keeps what it is asked for; has no room for what is published to `full`."""

    def __init__(self) -> None:
        self.published: list[MqttMessage] = []
        self.filters: list[str] = []

    def publish(self, message: MqttMessage) -> None:
        if message.topic == "full":
            raise PublishError("Message spool is full. Message could not be added.")
        self.published.append(message)

    def subscribe(self, topic_filter: str) -> None:
        assert topic_filter not in self.filters
        self.filters.append(topic_filter)

    def unsubscribe(self, topic_filter: str) -> None:
        self.filters.remove(topic_filter)


@pytest.fixture
def proxy(personality: Personality) -> Proxy:
    return Proxy(personality)


def topics(stream: RecordingStream) -> list[str]:
    assert all(name == "IoTCoreMessage" for name, _ in stream.events)
    return [event["message"]["topicName"] for _, event in stream.events]


# --- on the device --------------------------------------------------------------------------------


def test_subscribers_on_the_device_hear_what_is_published_there(proxy: Proxy) -> None:
    """Each once, by its filter, in order; the publisher itself among them."""
    streams = {it: proxy.subscribe(it) for it in ("a/b", "a/+", "a/#", "#", "$share/g/a/b", "b")}
    for topic in ("a/b", "a", "a/b/c"):
        proxy.publish(topic)
    assert {it: topics(stream) for it, stream in streams.items()} == {
        "a/b": ["a/b"],
        "a/+": ["a/b"],
        "a/#": ["a/b", "a", "a/b/c"],
        "#": ["a/b", "a", "a/b/c"],
        "$share/g/a/b": ["a/b"],
        "b": [],
    }


def test_a_message_keeps_its_fields_on_classic() -> None:
    """From one component to another."""
    proxy = Proxy()
    stream = proxy.subscribe("a")
    fields: dict[str, Any] = {
        "retain": True,
        "userProperties": [{"key": "k", "value": "v"}],
        "messageExpiryIntervalSeconds": 60,
        "correlationData": X,
        "responseTopic": "r",
        "payloadFormat": "1",
        "contentType": "text/plain",
    }
    proxy.publish("a", **fields)
    message = {"topicName": "a", "payload": X, **fields}
    assert stream.events == [("IoTCoreMessage", {"message": message})]


def test_a_message_keeps_topic_and_payload_on_lite() -> None:
    """And nothing else."""
    proxy = Proxy(LITE)
    stream = proxy.subscribe("a")
    proxy.publish("a", retain=True, contentType="text/plain")
    message = {"topicName": "a", "payload": X}
    assert stream.events == [("IoTCoreMessage", {"message": message})]


def test_a_closed_stream_hears_nothing(proxy: Proxy) -> None:
    """The other one of the same filter does."""
    streams = [proxy.subscribe("a"), proxy.subscribe("a")]
    streams[0].close()
    proxy.publish("a")
    assert [topics(stream) for stream in streams] == [[], ["a"]]


def test_the_device_sees_what_passes(proxy: Proxy) -> None:
    """With its publisher; the device's own messages too."""
    stream = proxy.subscribe("a")
    proxy.publish("a", b"one", qos="0")
    proxy.proxy.publish(MqttMessage(topic="a", payload=b"two"), "tools")
    expected = [
        SeenMessage(MqttMessage(topic="a", payload=b"one"), "A"),
        SeenMessage(MqttMessage(topic="a", payload=b"two"), "tools"),
    ]
    assert proxy.seen == list(proxy.proxy.recent) == expected
    assert topics(stream) == ["a", "a"]


def test_the_recent_messages_are_bounded() -> None:
    """The oldest go first."""
    proxy = Proxy(recent_count=2)
    for topic in "abc":
        proxy.publish(topic)
    assert [it.message.topic for it in proxy.proxy.recent] == ["b", "c"]
    assert len(proxy.seen) == 3


def test_nobody_needs_to_look() -> None:
    """The callback may be absent."""
    proxy = MqttProxy(Authorization(CLASSIC), CLASSIC)
    proxy.publish(MqttMessage(topic="a", payload=b""), "tools")
    assert len(proxy.recent) == 1


# --- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["PublishToIoTCore", "SubscribeToIoTCore"])
@pytest.mark.parametrize("topic", [None, 7])
def test_a_request_without_a_topic_is_refused(
    name: str, topic: Any, proxy: Proxy, personality: Personality
) -> None:
    """Lite has ServiceError for that."""
    answer = proxy.refused(name, B, topicName=topic, payload=X, qos="1")
    assert answer == (personality.invalid_input_error, "Topic is required")


@pytest.mark.parametrize("name", ["PublishToIoTCore", "SubscribeToIoTCore"])
def test_a_request_without_a_policy_is_refused(name: str, proxy: Proxy) -> None:
    """And nothing passes."""
    code, _ = proxy.refused(name, B, topicName="a", payload=X, qos="1")
    assert code == "UnauthorizedError"
    assert proxy.seen == []
    proxy.publish("a")


@pytest.mark.parametrize("name", ["PublishToIoTCore", "SubscribeToIoTCore"])
def test_only_classic_authorises_before_it_validates(name: str) -> None:
    """A malformed request of somebody who may not shows it."""
    request = {"topicName": "a", "payload": X, "qos": "9"}
    assert Proxy(CLASSIC).refused(name, B, **request)[0] == "UnauthorizedError"
    assert Proxy(LITE).refused(name, B, **request)[0] == "ServiceError"


@pytest.mark.parametrize(
    ("name", "change", "text"),
    [
        ("PublishToIoTCore", {"payload": None}, "Payload is required"),
        ("PublishToIoTCore", {"qos": None}, "QoS is required"),
        ("PublishToIoTCore", {"qos": "2"}, "Invalid QoS value: 2"),
        ("SubscribeToIoTCore", {"qos": None}, "QoS is required"),
        ("SubscribeToIoTCore", {"qos": "2"}, "Invalid QoS value: 2"),
    ],
)
def test_a_malformed_request_is_refused_on_classic(
    name: str, change: dict[str, Any], text: str
) -> None:
    """In the words of the nucleus."""
    proxy = Proxy()
    answer = proxy.refused(name, **{"topicName": "a", "payload": X, "qos": "1", **change})
    assert answer == ("InvalidArgumentsError", text)
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("topic", "size_bytes", "reason"),
    [
        ("a/+", 0, "Publish topics must not contain wildcard characters of '#' or '+'"),
        ("/" * 8, 0, "The request topic must have no more than 7 forward slashes (/)"),
        (
            "a",
            MAX_PAYLOAD_BYTES + 1,
            "The publishing message size 131073 bytes exceeds the configured limit of 131072 bytes",
        ),
    ],
)
def test_a_message_that_iot_core_would_not_take_is_refused(
    topic: str, size_bytes: int, reason: str, proxy: Proxy
) -> None:
    """By the device already, which spares the connection."""
    payload = base64.b64encode(bytes(size_bytes)).decode()
    answer = proxy.refused("PublishToIoTCore", topicName=topic, payload=payload, qos="1")
    assert answer == ("ServiceError", f"Publish to topic {topic} failed: {reason}")
    assert proxy.seen == []


def test_an_empty_topic_is_refused(personality: Personality) -> None:
    """On classic no policy allows it."""
    code = "ServiceError" if personality is LITE else "UnauthorizedError"
    for name in ("PublishToIoTCore", "SubscribeToIoTCore"):
        answer = Proxy(personality).refused(name, topicName="", payload=X, qos="1")
        assert answer[0] == code


def test_the_largest_message_is_taken(proxy: Proxy) -> None:
    """128 KiB of payload."""
    proxy.publish("a", bytes(MAX_PAYLOAD_BYTES))
    assert len(proxy.seen[0].message.payload) == 131_072


@pytest.mark.parametrize(
    ("topic_filter", "reason"),
    [
        ("a#", "topic filter: got 'a#', expected wildcards as whole levels"),
    ],
)
def test_a_filter_that_iot_core_would_not_take_is_refused(
    topic_filter: str, reason: str, proxy: Proxy
) -> None:
    """By the device already."""
    answer = proxy.refused("SubscribeToIoTCore", topicName=topic_filter, qos="1")
    text = f"Subscribe to topic {topic_filter} failed with error {reason}"
    assert answer == ("ServiceError", text)


# --- a broker -------------------------------------------------------------------------------------


def test_with_a_broker_messages_come_back_through_it_alone(proxy: Proxy) -> None:
    """So nobody hears one twice."""
    broker = RecordingBroker()
    proxy.proxy.attach(broker)
    stream = proxy.subscribe("a")
    proxy.publish("a")
    message = MqttMessage(topic="a", payload=b"x", qos=1)
    assert broker.published == [message]
    assert topics(stream) == []
    proxy.proxy.receive(message)
    assert topics(stream) == ["a"]
    assert proxy.seen == [SeenMessage(message, "A"), SeenMessage(message, None)]


def test_subscriptions_are_made_at_the_broker_once(proxy: Proxy) -> None:
    """Those that are open already when it is attached too."""
    broker = RecordingBroker()
    first = proxy.subscribe("a")
    proxy.proxy.attach(broker)
    second, other = proxy.subscribe("a"), proxy.subscribe("b")
    assert broker.filters == ["a", "b"]
    first.close()
    assert broker.filters == ["a", "b"]
    second.close()
    assert broker.filters == ["b"]
    other.close()
    assert broker.filters == []


def test_a_filter_that_is_covered_is_not_made_at_the_broker(proxy: Proxy) -> None:
    """A broker might send a message for each; it is made when the wider one ends."""
    broker = RecordingBroker()
    proxy.proxy.attach(broker)
    narrow = proxy.subscribe("a/b")
    wide = proxy.subscribe("a/#")
    assert broker.filters == ["a/#"]
    proxy.proxy.receive(MqttMessage(topic="a/b", payload=b"x"))
    assert topics(narrow) == topics(wide) == ["a/b"]
    wide.close()
    assert broker.filters == ["a/b"]


def test_a_broker_without_room_refuses_a_message(proxy: Proxy) -> None:
    """It has not passed the device then."""
    proxy.proxy.attach(RecordingBroker())
    answer = proxy.refused("PublishToIoTCore", topicName="full", payload=X, qos="1")
    reason = "Message spool is full. Message could not be added."
    assert answer == ("ServiceError", f"Publish to topic full failed: {reason}")
    assert proxy.seen == []
