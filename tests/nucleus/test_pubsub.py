import base64
import json
import logging
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.operation import Caller, IpcError
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.conftest import allow

ALL = "RECEIVE_ALL_MESSAGES"
OTHERS = "RECEIVE_MESSAGES_FROM_OTHERS"


class Recorder:
    """A stream that keeps what it is to send."""

    def __init__(self) -> None:
        self.events: list[Mapping[str, Any]] = []
        self.on_event: Callable[[], None] = lambda: None
        self._callbacks: list[Callable[[], None]] = []

    def send(self, event_type: str, event: Mapping[str, Any]) -> None:
        assert event_type == "SubscriptionResponseMessage"
        self.events.append(event)
        self.on_event()

    def on_close(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def close(self) -> None:
        for callback in self._callbacks:
            callback()

    @property
    def texts(self) -> list[str]:
        """The payloads of the binary messages."""
        return [base64.b64decode(it["binaryMessage"]["message"]).decode() for it in self.events]


class Bus:
    """A bus, as the server uses it."""

    def __init__(
        self, personality: Personality, authorize: Callable[[str, str, str, str], None] = allow
    ) -> None:
        self.pubsub = LocalPubSub(personality, authorize)
        self._operations = self.pubsub.operations()

    def subscribe(self, topic: Any, component: str = "A", **fields: Any) -> Recorder:
        stream = Recorder()
        request = {"topic": topic, **fields}
        operation = self._operations["SubscribeToTopic"]
        assert operation.is_subscription
        assert operation.run(Caller(component, 1), request, stream) == {}
        return stream

    def call(self, request: dict[str, Any], component: str = "A") -> None:
        operation = self._operations["PublishToTopic"]
        assert not operation.is_subscription
        assert operation.run(Caller(component, 1), request, Recorder()) == {}

    def publish(self, topic: Any, text: str = "hello", component: str = "A") -> None:
        message = base64.b64encode(text.encode()).decode()
        self.call({"topic": topic, "publishMessage": binary(message)}, component)

    def publish_json(self, topic: Any, message: Any, component: str = "A") -> None:
        union = {"jsonMessage": {"message": message}}
        self.call({"topic": topic, "publishMessage": union}, component)


def binary(message: Any) -> dict[str, Any]:
    return {"binaryMessage": {"message": message}}


def refusal(personality: Personality, text: str) -> tuple[str, str]:
    return personality.invalid_input_error, text


def refused(function: Callable[[], object]) -> tuple[str, str]:
    """Code and text of the error that a call raises."""
    with pytest.raises(IpcError) as error:
        function()
    return error.value.code, error.value.message


# --- delivery -------------------------------------------------------------------------------------


def test_message_reaches_every_subscription_that_matches(personality: Personality) -> None:
    """And no other; one component may have several."""
    bus = Bus(personality)
    streams = {it: bus.subscribe(it, "B") for it in ("a/b", "a/+", "a/#", "#", "a/c", "a", "b/#")}
    bus.publish("a/b")
    assert {it for it, stream in streams.items() if stream.texts == ["hello"]} == {
        "a/b",
        "a/+",
        "a/#",
        "#",
    }
    assert sum(len(stream.events) for stream in streams.values()) == 4
    assert (bus.pubsub.published, bus.pubsub.delivered) == (1, 4)


def test_event_says_the_topic_that_was_published_to(personality: Personality) -> None:
    """A filter hears many."""
    bus = Bus(personality)
    stream = bus.subscribe("a/+", "B")
    bus.publish("a/b")
    assert stream.events == [
        {"binaryMessage": {"message": "aGVsbG8=", "context": {"topic": "a/b"}}}
    ]


def test_publishing_to_nobody_succeeds(personality: Personality) -> None:
    """Nothing is kept for those who come later."""
    bus = Bus(personality)
    bus.publish("a")
    assert bus.subscribe("a").events == []
    assert (bus.pubsub.published, bus.pubsub.delivered) == (1, 0)


def test_order_is_kept_for_each_subscription(personality: Personality) -> None:
    """Over all topics of a filter."""
    bus = Bus(personality)
    stream = bus.subscribe("t/#", "B")
    sent = [str(i) for i in range(100)]
    for text in sent:
        bus.publish(f"t/{int(text) % 3}", text)
    assert stream.texts == sent


def test_closed_stream_hears_no_more(personality: Personality) -> None:
    """The others do."""
    bus = Bus(personality)
    first, second = bus.subscribe("a", "B"), bus.subscribe("a", "C")
    assert bus.pubsub.n_subscriptions == 2
    first.close()
    first.close()
    assert bus.pubsub.n_subscriptions == 1
    bus.publish("a")
    assert (first.texts, second.texts) == ([], ["hello"])
    second.close()
    assert bus.pubsub.n_subscriptions == 0


def test_subscription_that_ends_while_it_hears_disturbs_nobody(personality: Personality) -> None:
    """As one whose connection is dropped for not reading."""
    bus = Bus(personality)
    streams = [bus.subscribe("a", "B") for _ in range(3)]
    for stream in streams:
        stream.on_event = stream.close
    bus.publish("a")
    assert [stream.texts for stream in streams] == [["hello"]] * 3
    assert bus.pubsub.n_subscriptions == 0


@pytest.mark.parametrize(("topic_filter", "topic"), [("a/#", "a"), ("#", "$a")])
def test_filters_follow_mqtt_to_the_letter_on_lite_alone(topic_filter: str, topic: str) -> None:
    """Classic has rules of its own."""
    for personality in (CLASSIC, LITE):
        bus = Bus(personality)
        stream = bus.subscribe(topic_filter, "B")
        bus.publish(topic)
        as_mqtt = topic_filter == "a/#"
        assert bool(stream.events) is (as_mqtt is (personality is LITE))


# --- own messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topic_filter", "mode", "hears"),
    [
        ("a/b", None, True),
        ("a/+", None, False),
        ("a/#", None, False),
        ("a/b", ALL, True),
        ("a/+", ALL, True),
        ("a/b", OTHERS, False),
        ("a/#", OTHERS, False),
    ],
)
def test_receive_mode_decides_about_own_messages(
    personality: Personality, topic_filter: str, mode: str | None, *, hears: bool
) -> None:
    """Of the component, not of the connection; lite always delivers them."""
    bus = Bus(personality)
    fields = {} if mode is None else {"receiveMode": mode}
    stream = bus.subscribe(topic_filter, "A", **fields)
    bus.publish("a/b", "own", component="A")
    bus.publish("a/b", "other", component="B")
    expected = ["own", "other"] if hears or personality is LITE else ["other"]
    assert stream.texts == expected


def test_unknown_receive_mode_is_refused_by_classic() -> None:
    """Lite does not look."""
    text = "receiveMode: got 'SOME', expected RECEIVE_ALL_MESSAGES or RECEIVE_MESSAGES_FROM_OTHERS"
    found = refused(lambda: Bus(CLASSIC).subscribe("a", receiveMode="SOME"))
    assert found == ("InvalidArgumentsError", text)
    assert Bus(LITE).subscribe("a", receiveMode="SOME").events == []


# --- policies -------------------------------------------------------------------------------------


def test_each_call_is_authorised(personality: Personality) -> None:
    """With the text of the topic, be it a filter."""
    asked: list[tuple[str, ...]] = []
    bus = Bus(personality, lambda *question: asked.append(question))
    bus.subscribe("a/+", "B")
    bus.publish("a/b", component="A")
    service = "aws.greengrass.ipc.pubsub"
    assert asked == [
        ("B", service, "aws.greengrass#SubscribeToTopic", "a/+"),
        ("A", service, "aws.greengrass#PublishToTopic", "a/b"),
    ]


def deny(component: str, service: str, operation: str, resource: str) -> None:
    raise IpcError("UnauthorizedError", f"{component} may not {operation} {resource!r}")


def test_refused_call_changes_nothing(personality: Personality) -> None:
    """Neither subscribes nor publishes."""
    bus = Bus(personality, deny)
    heard = []
    bus.pubsub.watch("#", lambda topic, payload: heard.append((topic, payload)))
    found = refused(lambda: bus.publish("a"))
    assert found == ("UnauthorizedError", "A may not aws.greengrass#PublishToTopic 'a'")
    found = refused(lambda: bus.subscribe("a"))
    assert found == ("UnauthorizedError", "A may not aws.greengrass#SubscribeToTopic 'a'")
    assert (bus.pubsub.n_subscriptions, bus.pubsub.published, heard) == (1, 0, [])


@pytest.mark.parametrize(
    "request_json", [{}, {"topic": 1}, {"topic": "a"}, {"topic": "a", "publishMessage": {}}]
)
def test_policy_comes_before_the_arguments_on_classic_alone(request_json: dict[str, Any]) -> None:
    """Lite looks at the arguments first."""
    assert refused(lambda: Bus(CLASSIC, deny).call(request_json))[0] == "UnauthorizedError"
    assert refused(lambda: Bus(LITE, deny).call(request_json))[0] == "ServiceError"


def test_wildcard_topic_is_looked_at_after_the_policy() -> None:
    """On classic, which refuses to publish to one."""
    assert refused(lambda: Bus(CLASSIC, deny).publish("a/+"))[0] == "UnauthorizedError"


# --- arguments ------------------------------------------------------------------------------------

UNION = "one jsonMessage or binaryMessage"


@pytest.mark.parametrize(
    ("request_json", "text"),
    [
        ({"publishMessage": binary("aGk=")}, "topic: got nothing, expected text"),
        ({"topic": 1, "publishMessage": binary("aGk=")}, "topic: got a int, expected text"),
        ({"topic": "a"}, f"publishMessage: got 0 messages, expected {UNION}"),
        (
            {"topic": "a", "publishMessage": []},
            f"publishMessage: got 0 messages, expected {UNION}",
        ),
        (
            {"topic": "a", "publishMessage": {"jsonMessage": {"message": {}}, **binary("")}},
            f"publishMessage: got 2 messages, expected {UNION}",
        ),
        (
            {"topic": "a", "publishMessage": {"binaryMessage": "aGk="}},
            "publishMessage.binaryMessage.message: got nothing, expected base64",
        ),
        (
            {"topic": "a", "publishMessage": binary(1)},
            "publishMessage.binaryMessage.message: got a int, expected base64",
        ),
    ],
)
def test_publishing_what_is_no_message_is_refused(
    personality: Personality, request_json: dict[str, Any], text: str
) -> None:
    """With the error of the nucleus."""
    bus = Bus(personality)
    assert refused(lambda: bus.call(request_json)) == refusal(personality, text)
    assert bus.pubsub.published == 0


def test_base64_is_checked_by_classic_alone() -> None:
    """Lite passes on any text."""
    bad = {"topic": "a", "publishMessage": binary("no base64!")}
    text = "publishMessage.binaryMessage.message: got other text, expected base64"
    assert refused(lambda: Bus(CLASSIC).call(bad)) == refusal(CLASSIC, text)
    bus = Bus(LITE)
    stream = bus.subscribe("a")
    watched: list[bytes] = []
    bus.pubsub.watch("a", lambda topic, payload: watched.append(payload))
    bus.call(bad)
    assert stream.events[0]["binaryMessage"]["message"] == "no base64!"
    assert watched == []


@pytest.mark.parametrize("topic", ["a/+", "#", "a*", "+"])
def test_publishing_to_a_wildcard_is_refused_by_classic_alone(topic: str) -> None:
    """On lite it goes to the topic of that name."""
    text = f"topic: got {topic!r}, expected one without +, # and *"
    assert refused(lambda: Bus(CLASSIC).publish(topic)) == refusal(CLASSIC, text)
    bus = Bus(LITE)
    stream = bus.subscribe("#")
    bus.publish(topic)
    assert stream.texts == ["hello"]


@pytest.mark.parametrize(
    ("topic", "text"),
    [
        (None, "topic: got nothing, expected text"),
        (["a"], "topic: got a list, expected text"),
        ("", "topic: got empty text, expected a topic to subscribe to"),
    ],
)
def test_subscribing_to_nothing_is_refused(personality: Personality, topic: Any, text: str) -> None:
    """A filter has a character at least."""
    bus = Bus(personality)
    assert refused(lambda: bus.subscribe(topic)) == refusal(personality, text)
    assert bus.pubsub.n_subscriptions == 0


def test_topic_has_a_limit_on_lite_alone() -> None:
    """Of 256 bytes; 128 letters may be as many."""
    longest, longer = "é" * 128, "é" * 128 + "x"
    bus = Bus(LITE)
    stream = bus.subscribe(longest)
    bus.publish(longest)
    assert stream.texts == ["hello"]
    text = "topic: got 257 bytes, expected at most 256"
    assert refused(lambda: bus.subscribe(longer)) == refusal(LITE, text)
    assert refused(lambda: bus.publish(longer)) == refusal(LITE, text)
    bus = Bus(CLASSIC)
    stream = bus.subscribe(longer)
    bus.publish(longer)
    assert stream.texts == ["hello"]


def test_subscriptions_have_a_limit_on_lite_alone() -> None:
    """Of one hundred; one that ends makes room."""
    bus = Bus(LITE)
    streams = [bus.subscribe(f"t/{i}") for i in range(100)]
    text = "subscriptions: got 101, expected at most 100"
    assert refused(lambda: bus.subscribe("u")) == refusal(LITE, text)
    streams[0].close()
    bus.subscribe("u")
    bus = Bus(CLASSIC)
    for i in range(101):
        bus.subscribe(f"t/{i}")
    assert bus.pubsub.n_subscriptions == 101


# --- jsonMessage ----------------------------------------------------------------------------------

WRITTEN = {"i": 1, "big": 2**53 + 1, "b": True, "s": "1", "n": None, "l": [1, {"x": -2}], "f": 0.5}


def test_integers_become_doubles_on_classic() -> None:
    """For its messages pass through Java's object maps."""
    bus = Bus(CLASSIC)
    stream = bus.subscribe("a", "B")
    bus.publish_json("a", WRITTEN)
    message = stream.events[0]["jsonMessage"]["message"]
    assert json.dumps(message) == json.dumps(
        {
            "i": 1.0,
            "big": 9007199254740992.0,
            "b": True,
            "s": "1",
            "n": None,
            "l": [1.0, {"x": -2.0}],
            "f": 0.5,
        }
    )
    assert stream.events[0]["jsonMessage"]["context"] == {"topic": "a"}


def test_integer_beyond_all_doubles_is_infinite_on_classic() -> None:
    """Which the wire cannot carry: the server loses the event."""
    bus = Bus(CLASSIC)
    stream = bus.subscribe("a", "B")
    bus.publish_json("a", {"up": 10**400, "down": -(10**400)})
    message = stream.events[0]["jsonMessage"]["message"]
    assert message == {"up": float("inf"), "down": float("-inf")}


def test_json_stays_as_it_is_on_lite() -> None:
    """It may be any value there, too."""
    bus = Bus(LITE)
    stream = bus.subscribe("a", "B")
    for message in (WRITTEN, [1], "text", 5):
        bus.publish_json("a", message)
    found = [event["jsonMessage"]["message"] for event in stream.events]
    assert json.dumps(found) == json.dumps([WRITTEN, [1], "text", 5])


@pytest.mark.parametrize("message", [[1], "text", 5, None])
def test_json_that_is_no_object_is_refused_by_classic(message: Any) -> None:
    """Its shape is a map."""
    kind = "nothing" if message is None else f"a {type(message).__name__}"
    text = f"publishMessage.jsonMessage.message: got {kind}, expected an object"
    found = refused(lambda: Bus(CLASSIC).publish_json("a", message))
    assert found == refusal(CLASSIC, text)


def test_absent_json_is_refused_by_lite() -> None:
    """Anything else is a value."""
    text = "publishMessage.jsonMessage.message: got nothing, expected a JSON value"
    assert refused(lambda: Bus(LITE).publish_json("a", None)) == refusal(LITE, text)


def nested(depth: int) -> Any:
    """An object in objects."""
    value: Any = {}
    for _ in range(depth - 1):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    ("fits", "deafens"),
    [
        ([0] * 44, [0] * 45),
        ({"x": [0] * 42}, {"x": [0] * 43}),
        (dict.fromkeys("abcdefghijklmnopqrstuvw"), dict.fromkeys("abcdefghijklmnopqrstuvwx")),
    ],
    ids=["list", "list in object", "object"],
)
def test_message_with_many_values_deafens_its_subscriptions_on_lite(
    fits: Any, deafens: Any
) -> None:
    """The publisher hears nothing of it; the stream stays open, and silent for ever."""
    bus = Bus(LITE)
    deaf, other = bus.subscribe("a"), bus.subscribe("b")
    bus.publish_json("a", fits)
    bus.publish_json("a", deafens)
    bus.publish("a")
    assert len(deaf.events) == 1
    assert bus.pubsub.n_subscriptions == 2
    bus.publish("b")
    assert other.texts == ["hello"]
    fresh = bus.subscribe("a")
    bus.publish("a")
    assert (fresh.texts, len(deaf.events)) == (["hello"], 1)


def test_message_with_very_many_values_is_refused_by_lite() -> None:
    """And nobody is harmed."""
    bus = Bus(LITE)
    stream = bus.subscribe("a")
    found = refused(lambda: bus.publish_json("a", [0] * 200))
    assert found == ("ServiceError", "Failed to publish the message.")
    bus.publish("a")
    assert stream.texts == ["hello"]


def test_deep_nesting_gets_lost_on_lite() -> None:
    """From thirteen levels on; later messages arrive."""
    bus = Bus(LITE)
    stream = bus.subscribe("a")
    bus.publish_json("a", nested(12))
    bus.publish_json("a", nested(13))
    bus.publish_json("a", [nested(12)])
    bus.publish_json("a", {})
    assert [event["jsonMessage"]["message"] for event in stream.events] == [nested(12), {}]


def test_classic_minds_neither_length_nor_depth() -> None:
    """Its packets are large."""
    bus = Bus(CLASSIC)
    stream = bus.subscribe("a", "B")
    bus.publish_json("a", {"x": [0.0] * 500, "y": nested(50)})
    assert stream.events[0]["jsonMessage"]["message"] == {"x": [0.0] * 500, "y": nested(50)}


def test_nesting_without_end_is_refused(personality: Personality) -> None:
    """By both, with the error of the nucleus."""
    text = "publishMessage.jsonMessage.message: got 256 levels, expected at most 255"
    bus = Bus(personality)
    assert refused(lambda: bus.publish_json("a", nested(256))) == refusal(personality, text)
    Bus(CLASSIC).publish_json("a", nested(255))


# --- the device itself ----------------------------------------------------------------------------


def test_device_publishes_to_components(personality: Personality) -> None:
    """In the name of nobody, and needing no policy."""
    bus = Bus(personality)
    stream = bus.subscribe("a/+", "B")
    bus.pubsub.publish("a/b", b"\x00\xff")
    message = stream.events[0]["binaryMessage"]["message"]
    assert base64.b64decode(message) == b"\x00\xff"
    assert bus.pubsub.published == 1


def test_device_publishes_to_no_wildcard_on_classic() -> None:
    """As a component does not."""
    found = refused(lambda: Bus(CLASSIC).pubsub.publish("a/#", b""))
    assert found == refusal(CLASSIC, "topic: got 'a/#', expected one without +, # and *")


def test_device_watches_payloads(personality: Personality) -> None:
    """Of both kinds, its own messages included, until it ends it."""
    bus = Bus(personality)
    heard: list[tuple[str, bytes]] = []
    end = bus.pubsub.watch("a/#", lambda topic, payload: heard.append((topic, payload)))
    bus.publish("a/b", "hello")
    bus.publish_json("a/c", {"x": "é", "y": 0.5})
    bus.pubsub.publish("a/d", b"own")
    end()
    end()
    bus.publish("a/b")
    assert heard == [
        ("a/b", b"hello"),
        ("a/c", '{"x":"é","y":0.5}'.encode()),
        ("a/d", b"own"),
    ]
    assert bus.pubsub.n_subscriptions == 0


def test_watcher_hears_what_lite_loses() -> None:
    """So that a person sees what components do not."""
    bus = Bus(LITE)
    heard: list[str] = []
    bus.pubsub.watch("#", lambda topic, payload: heard.append(topic))
    bus.publish_json("deep", nested(13))
    bus.publish_json("long", [0] * 45)
    bus.publish("after")
    assert heard == ["deep", "long", "after"]


def test_failing_watcher_harms_nobody(
    personality: Personality, caplog: pytest.LogCaptureFixture
) -> None:
    """Its fault is logged."""
    bus = Bus(personality)

    def fail(topic: str, payload: bytes) -> None:
        raise RuntimeError("broken watcher")

    bus.pubsub.watch("a", fail)
    stream = bus.subscribe("a", "B")
    with caplog.at_level(logging.ERROR):
        bus.publish("a")
    assert stream.texts == ["hello"]
    assert "a watcher of a failed" in caplog.text


# --- properties -----------------------------------------------------------------------------------

_TOPICS = st.lists(st.sampled_from(["a", "b", "", "$c"]), min_size=1, max_size=3).map("/".join)
_FILTERS = st.lists(st.sampled_from(["a", "b", "+", "#"]), min_size=1, max_size=3).map("/".join)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=10,
)


@given(st.sampled_from([CLASSIC, LITE]), st.dictionaries(st.text(max_size=14), _JSON), _JSON)
def test_any_request_is_answered_or_refused(
    personality: Personality, fields: dict[str, Any], message: Any
) -> None:
    """With an error of the model, whatever the JSON."""
    bus = Bus(personality)
    for key in ("jsonMessage", "binaryMessage"):
        for request in (
            fields,
            {**fields, "topic": "a", "publishMessage": {key: {"message": message}}},
        ):
            try:
                bus.call(request)
            except IpcError as error:
                assert error.code == personality.invalid_input_error


@given(st.sampled_from([CLASSIC, LITE]), st.lists(_FILTERS, max_size=5), st.lists(_TOPICS))
def test_counters_count_what_happened(
    personality: Personality, filters: list[str], topics: list[str]
) -> None:
    """Each message once, each delivery once; nothing is left at the end."""
    bus = Bus(personality)
    streams = [bus.subscribe(topic_filter, "B") for topic_filter in filters]
    for topic in topics:
        bus.publish(topic)
    assert bus.pubsub.published == len(topics)
    assert bus.pubsub.delivered == sum(len(stream.events) for stream in streams)
    for stream in streams:
        stream.close()
    assert bus.pubsub.n_subscriptions == 0
