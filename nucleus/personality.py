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
        max_packet_bytes: of a whole message, either way; a longer one closes the connection.
        ends_unary_streams: whether a unary reply carries the flag that ends its stream.
        names_messages: whether errors carry `message` and `_service` beside `_message`.
        answers_refusal: whether a refused CONNECT gets an ACK before the connection closes.
        answers_ping: whether a PING is answered; else it closes the connection.
        checks_stream_ids: whether a stream id that is not the last one plus one is an error.
        honours_receive_mode: whether `receiveMode` is heeded; else own messages always come back.
        max_topic_bytes: of a topic of local pub/sub; None where there is no limit.
        refuses_wildcard_publish: whether publishing to a topic with `+`, `#` or `*` is refused.
        invalid_input_error: the error that invalid input of pub/sub, MQTT and UpdateState gets.
        operations: those that exist at all; None where all that this device has.
    """

    name: Literal["classic", "lite"]
    max_packet_bytes: int
    ends_unary_streams: bool
    names_messages: bool
    answers_refusal: bool
    answers_ping: bool
    checks_stream_ids: bool
    honours_receive_mode: bool
    max_topic_bytes: int | None
    refuses_wildcard_publish: bool
    invalid_input_error: str
    operations: frozenset[str] | None


CLASSIC = Personality(
    name="classic",
    max_packet_bytes=24 * 1024 * 1024,
    ends_unary_streams=True,
    names_messages=True,
    answers_refusal=True,
    answers_ping=True,
    checks_stream_ids=True,
    honours_receive_mode=True,
    max_topic_bytes=None,
    refuses_wildcard_publish=True,
    invalid_input_error="InvalidArgumentsError",
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
    honours_receive_mode=False,
    max_topic_bytes=256,
    refuses_wildcard_publish=False,
    invalid_input_error="ServiceError",
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
        }
    ),
)

PERSONALITIES = {personality.name: personality for personality in (CLASSIC, LITE)}
