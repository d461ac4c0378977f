"""Local pub/sub: PublishToTopic and SubscribeToTopic.

Nothing is stored: a message goes to whoever subscribes at that moment, in the order of publishing.
A subscription ends with its stream, which ends with its connection: `Stream.on_close` tells.
Source: aws-greengrass-nucleus, builtin/services/pubsub/PubSubIPCEventStreamAgent.java (classic);
aws-greengrass-lite, modules/ggipcd/src/services/pubsub/ and modules/ggpubsubd/src/bus_server.c,
and a running lite 2.6 (lite).
"""

import base64
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream
from nucleus.operations.json_message import (
    DEAFENING_BYTES,
    LOST_DEPTH,
    MAX_DEPTH,
    REFUSED_BYTES,
    depth,
    lite_bytes,
    to_doubles,
)
from nucleus.personality import Personality
from nucleus.topics import is_wildcard, matches, matches_in_trie

SERVICE = "aws.greengrass.ipc.pubsub"
PUBLISH = "aws.greengrass#PublishToTopic"
SUBSCRIBE = "aws.greengrass#SubscribeToTopic"

RECEIVE_ALL = "RECEIVE_ALL_MESSAGES"
RECEIVE_OTHERS = "RECEIVE_MESSAGES_FROM_OTHERS"

EVENT = "SubscriptionResponseMessage"

Authorize = Callable[[str, str, str, str], None]
"""Takes component, service, operation and resource; raises `IpcError` where a policy lacks."""

Watcher = Callable[[str, bytes], None]
"""Takes the topic and the payload of a message; of a `jsonMessage`, its JSON."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Publication:
    """What is published: the key and the value of the union, as the event carries them."""

    topic: str
    key: str
    message: Any
    component: str | None = None

    def event(self) -> Json:
        return {self.key: {"message": self.message, "context": {"topic": self.topic}}}

    def payload(self) -> bytes:
        if self.key == "binaryMessage":
            return base64.b64decode(self.message, validate=True)
        return json.dumps(self.message, ensure_ascii=False, separators=(",", ":")).encode(
            errors="backslashreplace"
        )


@dataclass(slots=True, eq=False)
class _Subscription:
    """Who hears what.

    Attributes:
        component: whose it is; None for the device's own.
        hears_itself: whether messages of the same component are delivered.
        deliver: takes a message.
        is_deaf: whether nothing is delivered any more though the stream is open.
    """

    component: str | None
    hears_itself: bool
    deliver: Callable[[_Publication], None]
    is_deaf: bool = False


class LocalPubSub:
    """The bus of the device; for one event loop.

    Attributes:
        published: how many messages were taken.
        delivered: how many times one was given to a subscription.
    """

    def __init__(self, personality: Personality, authorize: Authorize) -> None:
        """Starts without subscriptions.

        Args:
            personality: which nucleus this is.
            authorize: asked before each publishing and subscribing of a component.
        """
        self.published = 0
        self.delivered = 0
        self._personality = personality
        self._authorize = authorize
        self._matches = matches if personality.filters_as_mqtt else matches_in_trie
        self._subscriptions: dict[str, list[_Subscription]] = {}

    @property
    def n_subscriptions(self) -> int:
        """How many subscriptions are open, the device's own included."""
        return sum(map(len, self._subscriptions.values()))

    def operations(self) -> Operations:
        """What components can call."""
        return {
            "PublishToTopic": Operation(self._publish_to_topic),
            "SubscribeToTopic": Operation(self._subscribe_to_topic, is_subscription=True),
        }

    def publish(self, topic: str, payload: bytes) -> None:
        """Publishes a `binaryMessage` in the name of nobody.

        Raises:
            IpcError: the topic is none to publish to.
        """
        self._check_topic(topic)
        self._deliver(_Publication(topic, "binaryMessage", base64.b64encode(payload).decode()))

    def watch(self, topic_filter: str, watcher: Watcher) -> Callable[[], None]:
        """Has the messages of a topic, or of all that a filter matches, told to the device.

        Returns:
            A function that ends it; a second call does nothing.
        """

        def deliver(publication: _Publication) -> None:
            try:
                payload = publication.payload()
            except ValueError:  # lite passes on what a component calls base64
                return
            try:
                watcher(publication.topic, payload)
            except Exception:
                _log.exception("a watcher of %s failed", topic_filter)

        return self._add(topic_filter, _Subscription(None, hears_itself=True, deliver=deliver))

    # --- operations -------------------------------------------------------------------------------

    def _publish_to_topic(self, caller: Caller, request: Json, stream: Stream) -> Json:
        del stream
        if self._personality.authorizes_first:
            self._authorize(caller.component, SERVICE, PUBLISH, _text(request.get("topic")))
        topic = self._topic(request)
        key, message = self._message(request)
        if not self._personality.authorizes_first:
            self._authorize(caller.component, SERVICE, PUBLISH, topic)
        self._check_topic(topic)
        publication = _Publication(topic, key, message, caller.component)
        if self._is_at_risk(publication) and lite_bytes(message) > REFUSED_BYTES:
            raise IpcError("ServiceError", "Failed to publish the message.")
        self._deliver(publication)
        return {}

    def _subscribe_to_topic(self, caller: Caller, request: Json, stream: Stream) -> Json:
        if self._personality.authorizes_first:
            self._authorize(caller.component, SERVICE, SUBSCRIBE, _text(request.get("topic")))
        topic = self._topic(request)
        if not self._personality.authorizes_first:
            self._authorize(caller.component, SERVICE, SUBSCRIBE, topic)
        self._check_filter(topic)
        hears_itself = self._hears_itself(topic, request.get("receiveMode"))

        def deliver(publication: _Publication) -> None:
            stream.send(EVENT, publication.event())

        stream.on_close(self._add(topic, _Subscription(caller.component, hears_itself, deliver)))
        return {}

    # --- checking ---------------------------------------------------------------------------------

    def _invalid(self, place: str, observed: str, expected: str) -> IpcError:
        text = f"{place}: got {observed}, expected {expected}"
        return IpcError(self._personality.invalid_input_error, text)

    def _topic(self, request: Json) -> str:
        topic = request.get("topic")
        if not isinstance(topic, str):
            raise self._invalid("topic", _kind(topic), "text")
        return topic

    def _check_length(self, topic: str) -> None:
        most, n_bytes = self._personality.max_topic_bytes, _n_bytes(topic)
        if most is not None and n_bytes > most:
            raise self._invalid("topic", f"{n_bytes} bytes", f"at most {most}")

    def _check_topic(self, topic: str) -> None:
        self._check_length(topic)
        if self._personality.refuses_wildcard_publish and any(it in topic for it in "+#*"):
            raise self._invalid("topic", repr(topic), "one without +, # and *")

    def _check_filter(self, topic_filter: str) -> None:
        self._check_length(topic_filter)
        if not topic_filter:
            raise self._invalid("topic", "empty text", "a topic to subscribe to")
        most = self._personality.max_subscriptions
        if most is not None and self.n_subscriptions >= most:
            raise self._invalid("subscriptions", f"{most + 1}", f"at most {most}")

    def _message(self, request: Json) -> tuple[str, Any]:
        """The key of the union, and the message under it."""
        union = request.get("publishMessage")
        found = union if isinstance(union, dict) else {}
        keys = [key for key in ("jsonMessage", "binaryMessage") if found.get(key) is not None]
        if len(keys) != 1:
            observed = f"{len(keys)} messages"
            raise self._invalid("publishMessage", observed, "one jsonMessage or binaryMessage")
        (key,) = keys
        wrapped = found[key]
        message = wrapped.get("message") if isinstance(wrapped, dict) else None
        place = f"publishMessage.{key}.message"
        if key == "binaryMessage":
            self._check_binary(place, message)
            return key, message
        return key, self._to_json_message(place, message)

    def _check_binary(self, place: str, message: object) -> None:
        if not isinstance(message, str):
            raise self._invalid(place, _kind(message), "base64")
        if self._personality.name == "lite":  # which looks no closer
            return
        try:
            base64.b64decode(message, validate=True)
        except ValueError as error:
            raise self._invalid(place, "other text", "base64") from error

    def _to_json_message(self, place: str, message: Any) -> Any:
        levels = depth(message)
        if levels > MAX_DEPTH:
            raise self._invalid(place, f"{levels} levels", f"at most {MAX_DEPTH}")
        if self._personality.mimics_java_json:
            if not isinstance(message, dict):
                raise self._invalid(place, _kind(message), "an object")
            return to_doubles(message)
        if message is None:
            raise self._invalid(place, _kind(message), "a JSON value")
        return message

    def _hears_itself(self, topic_filter: str, mode: object) -> bool:
        if not self._personality.honours_receive_mode:
            return True
        if mode is None:
            return not is_wildcard(topic_filter)
        if mode not in (RECEIVE_ALL, RECEIVE_OTHERS):
            raise self._invalid("receiveMode", repr(mode), f"{RECEIVE_ALL} or {RECEIVE_OTHERS}")
        return mode == RECEIVE_ALL

    # --- delivering -------------------------------------------------------------------------------

    def _add(self, topic_filter: str, subscription: _Subscription) -> Callable[[], None]:
        self._subscriptions.setdefault(topic_filter, []).append(subscription)

        def remove() -> None:
            found = self._subscriptions.get(topic_filter, [])
            if subscription in found:
                found.remove(subscription)
            if not found:
                self._subscriptions.pop(topic_filter, None)

        return remove

    def _deliver(self, publication: _Publication) -> None:
        self.published += 1
        # A copy: delivering may end a subscription, and a watcher may publish or subscribe.
        hearers = [
            subscription
            for topic_filter, subscriptions in self._subscriptions.items()
            if self._matches(topic_filter, publication.topic)
            for subscription in subscriptions
        ]
        is_at_risk = self._is_at_risk(publication)
        deafens = is_at_risk and lite_bytes(publication.message) > DEAFENING_BYTES
        is_lost = is_at_risk and depth(publication.message) >= LOST_DEPTH
        for subscription in hearers:
            if publication.component == subscription.component and not subscription.hears_itself:
                continue
            if subscription.component is not None:
                subscription.is_deaf |= deafens
                if subscription.is_deaf or is_lost:
                    continue
            self.delivered += 1
            subscription.deliver(publication)

    def _is_at_risk(self, publication: _Publication) -> bool:
        return publication.key == "jsonMessage" and self._personality.loses_large_json


def _text(topic: object) -> str:
    return topic if isinstance(topic, str) else ""


def _kind(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _n_bytes(text: str) -> int:
    return len(text.encode(errors="surrogatepass"))
