"""A real MQTT broker behind the device's MQTT proxy, through Eclipse Paho.

MQTT 5 is spoken first, so that all of a message gets through. A broker that refuses it is spoken to
in MQTT 3.1.1, where user properties and their like are lost.
"""

import asyncio
import contextlib
import logging
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from nucleus.mqtt_message import MqttMessage
from nucleus.operations.mqtt import PublishError

SPOOL_BYTES = int(2.5 * 1024 * 1024)
"""How much waits for the broker. Source: aws-greengrass-nucleus, mqttclient/spool/Spool.java."""

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_NO_SUCH_VERSION = ReasonCode(PacketTypes.CONNACK, "Unsupported protocol version")
_KEEPALIVE_S = 30
_CONNECT_TIMEOUT_S = 5.0
_MAX_SENT = 100
"""How many messages Paho has at a time: it looks through all of them for each acknowledgement."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerAddress:
    """Where a broker is, and who it is told that the device is."""

    host: str
    port: int
    is_tls: bool
    user: str | None = None
    password: str | None = field(default=None, repr=False)


def parse_broker_url(url: str) -> BrokerAddress:
    """The address in `mqtt://[USER[:PASSWORD]@]HOST[:PORT]`, or `mqtts://` for TLS.

    Raises:
        ValueError: the URL is another; the text does not tell the password.
    """
    expected = "mqtt:// or mqtts://[USER[:PASSWORD]@]HOST[:PORT]"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
        (host or "").encode("idna")  # or Paho's thread dies of it
    except ValueError:
        raise ValueError(f"broker: got a URL that is none, expected {expected}") from None
    if parts.scheme not in _PORTS or not host:
        raise ValueError(f"broker: got {parts.scheme}://{host or ''}, expected {expected}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(f"broker: got a path after {host}, expected {expected}")
    return BrokerAddress(
        host=host,
        port=port or _PORTS[parts.scheme],
        is_tls=parts.scheme == "mqtts",
        user=None if parts.username is None else unquote(parts.username),
        password=None if parts.password is None else unquote(parts.password),
    )


class MqttBroker:
    """A connection to a broker, which mends itself.

    All methods belong to the event loop that runs when it is made, and messages come in there.
    Paho has a thread of its own, which only ever calls back to that loop.
    """

    def __init__(
        self,
        url: str,
        receive: Callable[[MqttMessage], None],
        *,
        client_id: str = "",
        tls: ssl.SSLContext | None = None,
        spool_bytes: int = SPOOL_BYTES,
    ) -> None:
        """Starts to connect, and does not wait for it.

        Args:
            url: see `parse_broker_url`.
            receive: gets what the broker sends; such as `MqttProxy.receive`.
            client_id: the device's name; empty where the broker is to give one.
            tls: for `mqtts://`; the machine's own certificates where it is None.
            spool_bytes: how many bytes of topic and payload may wait for the broker.

        Raises:
            ValueError: the URL is no broker's.
        """
        self._address = parse_broker_url(url)
        self._place = f"broker {self._address.host}:{self._address.port}"
        self._receive = receive
        self._client_id = client_id
        self._tls = tls
        self._spool_bytes = spool_bytes
        self._loop = asyncio.get_running_loop()
        self._connected = asyncio.Event()
        self._waiting: deque[MqttMessage] = deque()
        self._sent: dict[int, MqttMessage] = {}  # by message id, until the broker has them
        self._pending_bytes = 0
        self._filters: set[str] = set()
        self._is_v5 = True
        self._closed = False
        self._has_warned = False
        self._stopping: list[asyncio.Task[None]] = []
        self._client = self._start()

    @property
    def is_connected(self) -> bool:
        """Whether the broker takes messages now."""
        return self._connected.is_set()

    @property
    def pending_bytes(self) -> int:
        """Bytes of topic and payload that the broker does not have yet."""
        return self._pending_bytes

    async def connected(self, timeout_s: float) -> None:
        """Returns once the broker takes messages.

        Raises:
            TimeoutError: it does not within that time.
        """
        async with asyncio.timeout(timeout_s):
            await self._connected.wait()

    def publish(self, message: MqttMessage) -> None:
        """Takes a message over; one of QoS 0 is dropped while the broker is away.

        Raises:
            PublishError: too much waits for the broker.
        """
        if self._closed:
            raise PublishError("The connection to the broker is closed")
        if message.qos == 0 and not self.is_connected:
            _log.debug("the broker is away: dropped a message of QoS 0 on %s", message.topic)
            return
        if self._pending_bytes + _size(message) > self._spool_bytes:
            raise PublishError("Message spool is full. Message could not be added.")
        self._pending_bytes += _size(message)
        self._waiting.append(message)
        self._flush()

    def subscribe(self, topic_filter: str) -> None:
        """Brings in what the filter takes, after each reconnection too."""
        self._filters.add(topic_filter)
        if self.is_connected:
            self._client.subscribe(topic_filter, qos=1)

    def unsubscribe(self, topic_filter: str) -> None:
        """Ends that; nothing where it was not begun."""
        self._filters.discard(topic_filter)
        if self.is_connected:
            self._client.unsubscribe(topic_filter)

    async def close(self) -> None:
        """Disconnects; what waits is lost. A second call does nothing."""
        if not self._closed:
            self._closed = True
            self._connected.clear()
            await self._stop(self._client)
            await asyncio.gather(*self._stopping)

    # --- on the event loop ------------------------------------------------------------------------

    def _start(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if self._is_v5 else MQTTProtocolVersion.MQTTv311,
        )
        address = self._address
        if address.is_tls:
            client.tls_set_context(self._tls or ssl.create_default_context())
        if address.user is not None:
            client.username_pw_set(address.user, address.password)
        client.connect_timeout = _CONNECT_TIMEOUT_S
        client.reconnect_delay_set(min_delay=1, max_delay=60)
        client.on_connect = self._on_connect
        client.on_connect_fail = self._on_connect_fail
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.connect_async(address.host, address.port, keepalive=_KEEPALIVE_S)
        client.loop_start()
        return client

    @staticmethod
    async def _stop(client: Client) -> None:
        client.disconnect()
        # It joins Paho's thread, which may be in the middle of connecting.
        await asyncio.to_thread(client.loop_stop)

    def _flush(self) -> None:
        """Hands what waits to Paho, which sees to it until the broker has it."""
        while self.is_connected and self._waiting and len(self._sent) < _MAX_SENT:
            message = self._waiting.popleft()
            info = self._client.publish(
                message.topic,
                message.payload,
                qos=message.qos,
                retain=message.retain,
                properties=_to_properties(message) if self._is_v5 else None,
            )
            # Without a connection Paho keeps a message of QoS 1, and drops one of QoS 0.
            if message.qos == 0 and info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._pending_bytes -= _size(message)
            else:
                self._sent[info.mid] = message

    def _accept(self) -> None:
        _log.info("%s: connected", self._place)
        self._has_warned = False
        self._connected.set()
        for topic_filter in sorted(self._filters):
            self._client.subscribe(topic_filter, qos=1)
        self._flush()

    def _lose(self) -> None:
        if not self.is_connected:
            return
        _log.warning("%s: connection lost", self._place)
        self._connected.clear()
        # QoS 0 is not kept for later.
        self._waiting = deque(it for it in self._waiting if it.qos)
        self._sent = {key: it for key, it in self._sent.items() if it.qos}
        self._pending_bytes = sum(map(_size, (*self._waiting, *self._sent.values())))

    def _fall_back(self) -> None:
        _log.warning("%s: no MQTT 5; user properties and their like are lost", self._place)
        self._is_v5 = False
        self._stopping.append(self._loop.create_task(self._stop(self._client)))
        self._waiting.extendleft(reversed(self._sent.values()))  # the old client forgets them
        self._sent.clear()
        self._client = self._start()

    def _refuse(self, reason: str) -> None:
        if not self._has_warned:
            _log.warning("%s: %s; trying again and again", self._place, reason)
        self._has_warned = True

    def _forget_sent(self, message_id: int) -> None:
        message = self._sent.pop(message_id, None)
        if message is not None:
            self._pending_bytes -= _size(message)
            self._flush()

    # --- on Paho's thread -------------------------------------------------------------------------

    def _call(self, client: Client, callback: Callable[..., None], *arguments: Any) -> None:
        """Calls back on the event loop, unless the client is of the past by then."""

        def call() -> None:
            if client is self._client and not self._closed:
                callback(*arguments)

        with contextlib.suppress(RuntimeError):  # the loop has gone
            self._loop.call_soon_threadsafe(call)

    def _on_connect(
        self,
        client: Client,
        _data: Any,
        _flags: ConnectFlags,
        reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        if self._closed:
            # Closed while Paho was connecting, which it does not notice by itself.
            client.disconnect()
        elif not reason.is_failure:
            self._call(client, self._accept)
        elif self._is_v5 and reason == _NO_SUCH_VERSION:
            client.disconnect()  # here, or Paho waits before it tries in vain again
            self._call(client, self._fall_back)
        else:
            self._call(client, self._refuse, f"refused with {reason}")

    def _on_connect_fail(self, client: Client, _data: Any) -> None:
        self._call(client, self._refuse, "out of reach")

    def _on_disconnect(
        self,
        client: Client,
        _data: Any,
        _flags: DisconnectFlags,
        _reason: ReasonCode,
        _properties: Properties | None,
    ) -> None:
        self._call(client, self._lose)

    def _on_publish(
        self,
        client: Client,
        _data: Any,
        message_id: int,
        reason: ReasonCode,
        _properties: Properties,
    ) -> None:
        if reason.is_failure:
            _log.warning("the broker did not take a message: %s", reason)
        self._call(client, self._forget_sent, message_id)

    def _on_subscribe(
        self,
        _client: Client,
        _data: Any,
        _message_id: int,
        reasons: list[ReasonCode],
        _properties: Properties | None,
    ) -> None:
        for reason in reasons:
            if reason.is_failure:
                _log.warning("the broker did not take a subscription: %s", reason)

    def _on_message(self, client: Client, _data: Any, message: MQTTMessage) -> None:
        try:
            found = _from_paho(message)
        except UnicodeDecodeError:  # or Paho's thread dies of it
            _log.warning("%s: got a topic that is no UTF-8; message dropped", self._place)
            return
        self._call(client, self._receive, found)


def _size(message: MqttMessage) -> int:
    return len(message.topic.encode()) + len(message.payload)


def _to_properties(message: MqttMessage) -> Properties:
    found = {
        "UserProperty": list(message.user_properties) or None,
        "MessageExpiryInterval": message.expiry_s,
        "CorrelationData": message.correlation_data,
        "ResponseTopic": message.response_topic,
        "PayloadFormatIndicator": 1 if message.is_utf8 else None,
        "ContentType": message.content_type,
    }
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    for name, value in found.items():
        if value is not None:
            setattr(properties, name, value)
    return properties


def _from_paho(message: MQTTMessage) -> MqttMessage:
    found = vars(message.properties) if message.properties else {}
    return MqttMessage(
        topic=message.topic,
        payload=bytes(message.payload),
        qos=min(message.qos, 1),
        retain=message.retain,
        user_properties=tuple(found.get("UserProperty", ())),
        expiry_s=found.get("MessageExpiryInterval"),
        correlation_data=found.get("CorrelationData"),
        response_topic=found.get("ResponseTopic"),
        is_utf8=found.get("PayloadFormatIndicator") == 1,
        content_type=found.get("ContentType"),
    )
