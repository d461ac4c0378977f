"""PublishToIoTCore and SubscribeToIoTCore, kept on the device or given to a broker.

Source: aws-greengrass-nucleus, builtin/services/mqttproxy/MqttProxyIPCAgent.java,
mqttclient/MqttClient.java; aws-greengrass-lite, modules/ggipcd/src/services/mqttproxy.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nucleus.authorization import MQTT_PROXY, Authorization
from nucleus.mqtt_message import (
    MessageError,
    MqttMessage,
    decode_message,
    decode_qos,
    encode_message,
)
from nucleus.mqtt_topics import TopicError, covers, strip_share, validate_filter, validate_topic
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream
from nucleus.personality import Personality
from nucleus.topics import matches

MAX_PAYLOAD_BYTES = 128 * 1024
"""What IoT Core takes. Source: MqttClient.java, `DEFAULT_MQTT_MAX_OF_MESSAGE_SIZE_IN_BYTES`."""


class PublishError(Exception):
    """A message that cannot be sent; the text says why."""


class Broker(Protocol):
    """What takes messages off the device and brings others in."""

    def publish(self, message: MqttMessage) -> None:
        """Takes a message over; does not wait for its delivery.

        Raises:
            PublishError: there is no room for it.
        """

    def subscribe(self, topic_filter: str) -> None:
        """Brings in what the filter takes from now on."""

    def unsubscribe(self, topic_filter: str) -> None:
        """Ends that."""


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """A message that passed the device.

    Attributes:
        message: itself.
        publisher: the component that published it; None where the broker brought it in.
    """

    message: MqttMessage
    publisher: str | None


class MqttProxy:
    """The device's side of IoT Core.

    Without a broker, what one component publishes the subscribers on this device hear, and nobody
    else. With one they hear what the broker sends, their own messages included.
    """

    def __init__(
        self,
        authorization: Authorization,
        personality: Personality,
        *,
        seen: Callable[[SeenMessage], None] | None = None,
        recent_count: int = 100,
    ) -> None:
        """No broker is attached.

        Args:
            authorization: who may publish and subscribe.
            personality: whose rules count.
            seen: told of every message, out and in.
            recent_count: how many messages `recent` keeps.
        """
        self._authorization = authorization
        self._personality = personality
        self._is_lite = personality.name == "lite"
        self._seen = seen
        self._recent: deque[SeenMessage] = deque(maxlen=recent_count)
        self._broker: Broker | None = None
        self._brought: set[str] = set()
        self._subscriptions: dict[object, tuple[str, Stream]] = {}

    def operations(self) -> Operations:
        """The operations of IPC."""
        return {
            "PublishToIoTCore": Operation(self._run_publish),
            "SubscribeToIoTCore": Operation(self._run_subscribe, is_subscription=True),
        }

    @property
    def recent(self) -> tuple[SeenMessage, ...]:
        """The last messages, oldest first."""
        return tuple(self._recent)

    def attach(self, broker: Broker) -> None:
        """Has messages go to a broker from now on, and subscriptions made there."""
        self._broker = broker
        self._subscribe_at_broker()

    def publish(self, message: MqttMessage, publisher: str) -> None:
        """Sends a message off the device, or to the subscribers on it where there is no broker.

        Raises:
            PublishError: IoT Core would not take it, or the broker has no room.
        """
        if len(message.payload) > MAX_PAYLOAD_BYTES:
            raise PublishError(
                f"The publishing message size {len(message.payload)} bytes exceeds the "
                f"configured limit of {MAX_PAYLOAD_BYTES} bytes"
            )
        try:
            validate_topic(message.topic)
        except TopicError as error:
            raise PublishError(str(error)) from error
        if self._broker is not None:
            self._broker.publish(message)
        self._note(SeenMessage(message, publisher))
        if self._broker is None:
            self._deliver(message)

    def receive(self, message: MqttMessage) -> None:
        """Takes a message in that the broker sends."""
        self._note(SeenMessage(message, None))
        self._deliver(message)

    def _note(self, seen: SeenMessage) -> None:
        self._recent.append(seen)
        if self._seen is not None:
            self._seen(seen)

    def _deliver(self, message: MqttMessage) -> None:
        event = encode_message(message, is_lite=self._is_lite)
        for topic_filter, stream in list(self._subscriptions.values()):
            if matches(strip_share(topic_filter), message.topic):
                stream.send("IoTCoreMessage", event)

    def _subscribe_at_broker(self) -> None:
        """Makes the broker bring in what is subscribed to, and each message once.

        A broker may send a message once for each of a client's filters that takes it, so a filter
        is left out which another one covers.
        """
        if self._broker is None:
            return
        filters = sorted({topic_filter for topic_filter, _ in self._subscriptions.values()})
        wanted = {it for it in filters if not any(covers(o, it) for o in filters if o != it)}
        for topic_filter in sorted(wanted - self._brought):
            self._broker.subscribe(topic_filter)
        for topic_filter in sorted(self._brought - wanted):
            self._broker.unsubscribe(topic_filter)
        self._brought = wanted

    # --- the operations -------------------------------------------------------------------------

    def _run_publish(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        topic = self._topic(request)
        if self._personality.authorizes_first:
            self._check(caller, "PublishToIoTCore", topic)
        try:
            message = decode_message(request, is_lite=self._is_lite)
        except MessageError as error:
            raise IpcError(self._personality.invalid_input_error, str(error)) from error
        if not self._personality.authorizes_first:
            self._check(caller, "PublishToIoTCore", topic)
        try:
            self.publish(message, caller.component)
        except PublishError as error:
            text = f"Publish to topic {topic} failed: {error}"
            raise IpcError("ServiceError", text) from error
        return {}

    def _run_subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        topic_filter = self._topic(request)
        if self._personality.authorizes_first:
            self._check(caller, "SubscribeToIoTCore", topic_filter)
        try:
            decode_qos(request, is_lite=self._is_lite)
        except MessageError as error:
            raise IpcError(self._personality.invalid_input_error, str(error)) from error
        if not self._personality.authorizes_first:
            self._check(caller, "SubscribeToIoTCore", topic_filter)
        try:
            validate_filter(topic_filter)
        except TopicError as error:
            text = f"Subscribe to topic {topic_filter} failed with error {error}"
            raise IpcError("ServiceError", text) from error
        key = object()
        self._subscriptions[key] = (topic_filter, stream)
        self._subscribe_at_broker()
        stream.on_close(lambda: self._unsubscribe(key))
        return {}

    def _unsubscribe(self, key: object) -> None:
        if self._subscriptions.pop(key, None) is not None:
            self._subscribe_at_broker()

    def _topic(self, request: Json) -> str:
        topic = request.get("topicName")
        if not isinstance(topic, str):
            raise IpcError(self._personality.invalid_input_error, "Topic is required")
        return topic

    def _check(self, caller: Caller, operation: str, topic: str) -> None:
        self._authorization.check(
            caller.component, MQTT_PROXY, f"aws.greengrass#{operation}", topic
        )
