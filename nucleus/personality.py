"""Where the two nuclei of AWS differ on the wire; a component meets both here before it meets one.

Source: aws-greengrass-nucleus 2.18 (classic); aws-greengrass-lite 2.6 (lite), which was observed
running.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """How a nucleus behaves on its socket.

    Attributes:
        name: `classic` or `lite`.
        max_packet_bytes: of a whole message, either way; a longer one from a component closes
            its connection.
        ends_unary_streams: whether a unary reply carries the flag that ends its stream.
        names_messages: whether errors carry `message` and `_service` beside `_message`.
        answers_refusal: whether a refused CONNECT gets an ACK before the connection closes.
        answers_ping: whether a PING is answered; else it closes the connection.
        checks_stream_ids: whether a stream id that is not the last one plus one is an error.
        requires_version: whether a CONNECT must say its protocol's version.
        answers_violations: whether a breach of the protocol gets a PROTOCOL_ERROR before the
            connection closes.
        reads_every_header: whether headers of all types are read; else only int32 and text, and
            another one closes the connection.
        drops_large_events: whether an event above `max_packet_bytes` is dropped in silence and
            such a response becomes a ServiceError; else either closes the connection.
        max_connections: at a time; None where there is no limit.
        honours_receive_mode: whether `receiveMode` is heeded; else own messages always come back.
        authorizes_first: whether local pub/sub asks the policy before it looks at the arguments.
        max_subscriptions: of local pub/sub; None where there is no limit.
        max_topic_bytes: of a topic of local pub/sub; None where there is no limit.
        mimics_java_json: whether integers of a `jsonMessage` become doubles.
        loses_large_json: whether a `jsonMessage` with long lists or deep nesting gets lost.
        filters_as_mqtt: whether local filters follow MQTT to the letter, where `a/#` takes `a`.
        refuses_wildcard_publish: whether publishing to a topic with `+`, `#` or `*` is refused.
        invalid_input_error: the error that invalid input of pub/sub, MQTT and UpdateState gets.
        rolls_back: whether a deployment that fails is undone, where it asks for that.
        restarts_on_configuration: whether a deployment that changes no more than the configuration
            of a component restarts it.
        operations: those that exist at all; None where all that this device has.
    """

    name: Literal["classic", "lite"]
    max_packet_bytes: int
    ends_unary_streams: bool
    names_messages: bool
    answers_refusal: bool
    answers_ping: bool
    checks_stream_ids: bool
    requires_version: bool
    answers_violations: bool
    reads_every_header: bool
    drops_large_events: bool
    max_connections: int | None
    honours_receive_mode: bool
    authorizes_first: bool
    max_subscriptions: int | None
    max_topic_bytes: int | None
    mimics_java_json: bool
    loses_large_json: bool
    filters_as_mqtt: bool
    refuses_wildcard_publish: bool
    invalid_input_error: str
    rolls_back: bool
    restarts_on_configuration: bool
    operations: frozenset[str] | None


CLASSIC = Personality(
    name="classic",
    max_packet_bytes=24 * 1024 * 1024,
    ends_unary_streams=True,
    names_messages=True,
    answers_refusal=True,
    answers_ping=True,
    checks_stream_ids=True,
    requires_version=True,
    answers_violations=True,
    reads_every_header=True,
    drops_large_events=False,
    max_connections=None,
    honours_receive_mode=True,
    authorizes_first=True,
    max_subscriptions=None,
    max_topic_bytes=None,
    mimics_java_json=True,
    loses_large_json=False,
    filters_as_mqtt=False,
    refuses_wildcard_publish=True,
    invalid_input_error="InvalidArgumentsError",
    rolls_back=True,
    restarts_on_configuration=False,
    operations=None,
)

LITE = Personality(
    name="lite",
    max_packet_bytes=10_000,
    ends_unary_streams=False,
    names_messages=False,
    answers_refusal=False,
    answers_ping=False,
    checks_stream_ids=False,
    requires_version=False,
    answers_violations=False,
    reads_every_header=False,
    drops_large_events=True,
    max_connections=50,
    honours_receive_mode=False,
    authorizes_first=False,
    max_subscriptions=100,
    max_topic_bytes=256,
    mimics_java_json=False,
    loses_large_json=True,
    filters_as_mqtt=True,
    refuses_wildcard_publish=False,
    invalid_input_error="ServiceError",
    rolls_back=False,
    restarts_on_configuration=True,
    operations=frozenset(
        {
            "PublishToTopic",
            "SubscribeToTopic",
            "PublishToIoTCore",
            "SubscribeToIoTCore",
            "GetConfiguration",
            "UpdateConfiguration",
            "SubscribeToConfigurationUpdate",
            "UpdateState",
            "RestartComponent",
            "CreateLocalDeployment",
        }
    ),
)

PERSONALITIES: dict[str, Personality] = {
    personality.name: personality for personality in (CLASSIC, LITE)
}
