from typing import Any

import pytest

from nucleus.eventstream.message import (
    Header,
    HeaderType,
    Message,
    MessageFlag,
    MessageType,
    make_message,
    text_header,
)
from nucleus.eventstream.replies import Replies
from nucleus.eventstream.rpc import (
    ConnectRequested,
    OperationRequested,
    PingReceived,
    ProtocolViolated,
    ServerProtocol,
    StreamEnded,
    StreamRejected,
)
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.golden import GOLDEN
from tests.nucleus.wire import connect_message, end_message, request_message

DATA = MessageType.APPLICATION_MESSAGE
ENDS = MessageFlag.TERMINATE_STREAM


def connected(personality: Personality) -> ServerProtocol:
    """After an accepted CONNECT."""
    protocol = ServerProtocol(personality)
    assert protocol.receive(GOLDEN["connect"]) == ConnectRequested("T")
    assert protocol.accept() == GOLDEN["connect-ack"]
    return protocol


def request(stream_id: int, payload: Any = b"{}", **options: Any) -> Message:
    return request_message(stream_id, "PublishToTopic", payload, **options)


def requested(stream_id: int, payload: Any = None) -> OperationRequested:
    return OperationRequested(stream_id, "aws.greengrass#PublishToTopic", payload or {})


def violated(personality: Personality, reason: str, **options: Any) -> ProtocolViolated:
    return ProtocolViolated(reason, Replies(personality).violation(reason, **options))


# --- connect --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["connect", "lite-connect"])
def test_golden_connect_asks_for_a_decision(personality: Personality, name: str) -> None:
    """With the token that is in it."""
    token = {"connect": "T", "lite-connect": "lurIl6NR1q8qhIgz"}[name]
    assert ServerProtocol(personality).receive(GOLDEN[name]) == ConnectRequested(token)


def test_token_is_not_in_the_events_text() -> None:
    """Events may end up in a log."""
    assert "lurIl6NR1q8qhIgz" not in repr(ServerProtocol(LITE).receive(GOLDEN["lite-connect"]))


def connect_payload(payload: bytes) -> Message:
    return make_message(
        MessageType.CONNECT, 0, extra=(text_header(":version", "0.1.0"),), payload=payload
    )


@pytest.mark.parametrize(
    ("message", "refusing"),
    [
        (connect_payload(b""), {"classic", "lite"}),
        (connect_payload(b"no json"), {"classic", "lite"}),
        (connect_payload(b"\xff\xfe"), {"classic", "lite"}),
        (connect_payload(b"[" * 100_000), {"classic", "lite"}),
        (connect_payload(b"[]"), {"classic", "lite"}),
        (connect_payload(b"{}"), {"classic", "lite"}),
        (connect_payload(b'{"authToken": 1}'), {"classic", "lite"}),
        (connect_message("T", version="0.1.1"), {"classic", "lite"}),
        (connect_message("T", version=None), {"classic"}),
    ],
    ids=range(9),
)
def test_connect_that_is_wrong_is_to_be_refused(
    personality: Personality, message: Message, refusing: set[str]
) -> None:
    """Lite alone does without the version."""
    expected = ConnectRequested(None if personality.name in refusing else "T")
    assert ServerProtocol(personality).receive(message) == expected


def test_refusal_is_the_end(personality: Personality) -> None:
    """Nothing means anything afterwards."""
    protocol = ServerProtocol(personality)
    protocol.receive(GOLDEN["connect"])
    refusal = protocol.refuse()
    assert refusal == (GOLDEN["connect-ack-refused"] if personality is CLASSIC else None)
    assert protocol.receive(GOLDEN["connect"]) is None
    assert protocol.receive(request(1)) is None


@pytest.mark.parametrize(
    "message",
    [request(1), make_message(MessageType.PING, 0), make_message(MessageType.CONNECT_ACK, 0)],
    ids=["request", "ping", "ack"],
)
def test_anything_before_the_connect_is_a_violation(
    personality: Personality, message: Message
) -> None:
    """Whoever it is, it is no component yet."""
    reason = "another message than one CONNECT before its ACK"
    protocol = ServerProtocol(personality)
    assert protocol.receive(message) == violated(personality, reason)
    assert protocol.receive(GOLDEN["connect"]) is None


def test_message_while_the_connect_is_decided_is_a_violation(personality: Personality) -> None:
    """The client has to wait for the ACK."""
    protocol = ServerProtocol(personality)
    protocol.receive(GOLDEN["connect"])
    reason = "another message than one CONNECT before its ACK"
    assert protocol.receive(GOLDEN["connect"]) == violated(personality, reason)


def test_connect_on_a_stream_is_a_violation(personality: Personality) -> None:
    """Its stream id is zero."""
    message = make_message(MessageType.CONNECT, 1, payload=b'{"authToken":"T"}')
    found = ServerProtocol(personality).receive(message)
    assert found == violated(personality, "a CONNECT on a stream")


def test_connect_with_flags_is_a_violation_on_lite() -> None:
    """Classic does not look."""
    version = text_header(":version", "0.1.0")
    message = make_message(
        MessageType.CONNECT, 0, flags=ENDS, extra=(version,), payload=b'{"authToken":"T"}'
    )
    found = ServerProtocol(LITE).receive(message)
    assert found == violated(LITE, "a CONNECT with flags")
    assert ServerProtocol(CLASSIC).receive(message) == ConnectRequested("T")


def test_second_connect_is_a_violation() -> None:
    """Lite sees a message on no stream in it."""
    found = connected(CLASSIC).receive(GOLDEN["connect"])
    assert found == violated(CLASSIC, "a second CONNECT")
    found = connected(LITE).receive(GOLDEN["connect"])
    assert found == violated(LITE, "a message on no stream")


@pytest.mark.parametrize("missing", [":message-type", ":message-flags", ":stream-id"])
def test_message_without_its_three_headers_is_a_violation(
    personality: Personality, missing: str
) -> None:
    """An integer of another width does not count."""
    whole = request(1)
    headers = tuple(
        Header(it.name, HeaderType.INT64, it.value) if it.name == missing else it
        for it in whole.headers
    )
    found = connected(personality).receive(Message(headers, whole.payload))
    assert found == violated(personality, "a message without its three headers")


# --- streams --------------------------------------------------------------------------------------


def test_golden_request_opens_a_stream(personality: Personality) -> None:
    """With the operation and the JSON."""
    found = connected(personality).receive(GOLDEN["publish-request"])
    body = {"topic": "a/b", "publishMessage": {"binaryMessage": {"message": "aGk="}}}
    assert found == requested(1, body)


def test_request_is_not_in_the_events_text() -> None:
    """Payloads are not logged."""
    assert "aGk" not in repr(connected(CLASSIC).receive(GOLDEN["publish-request"]))


def test_streams_count_up_on_classic() -> None:
    """From one, each one more than the last."""
    protocol = connected(CLASSIC)
    for stream_id in (1, 2, 3):
        assert protocol.receive(request(stream_id)) == requested(stream_id)


@pytest.mark.parametrize("stream_id", [2, 4, 2**31 - 1])
def test_gap_is_a_violation_on_classic_alone(stream_id: int) -> None:
    """Lite does not look at the ids."""
    reason = f"the stream id {stream_id} after 0"
    protocol = connected(CLASSIC)
    assert protocol.receive(request(stream_id)) == violated(CLASSIC, reason)
    assert protocol.receive(request(1)) is None
    assert connected(LITE).receive(request(stream_id)) == requested(stream_id)


def test_negative_stream_id_is_a_violation_on_classic_alone() -> None:
    """Lite does not look at the ids."""
    found = connected(CLASSIC).receive(request(-1))
    assert found == violated(CLASSIC, "the stream id -1")
    assert connected(LITE).receive(request(-1)) == requested(-1)


def test_reuse_of_a_closed_stream_is_a_violation_on_classic_alone() -> None:
    """A unary one is closed when it has been answered."""
    for personality in (CLASSIC, LITE):
        protocol = connected(personality)
        protocol.receive(request(1))
        found = protocol.receive(request(1))
        if personality is CLASSIC:
            assert found == violated(CLASSIC, "a message on the closed stream 1")
        else:
            assert found == requested(1)


def test_end_of_a_closed_stream_means_nothing(personality: Personality) -> None:
    """Both sides may end it at the same time."""
    protocol = connected(personality)
    protocol.receive(request(1))
    assert protocol.receive(end_message(1)) is None
    assert protocol.receive(request(2)) == requested(2)


def test_client_ends_an_open_stream_once(personality: Personality) -> None:
    """A subscription is open until then."""
    protocol = connected(personality)
    protocol.receive(request(1))
    protocol.keep_open(1)
    assert protocol.receive(end_message(1)) == StreamEnded(1)
    assert protocol.receive(end_message(1)) is None


def test_server_ends_an_open_stream_once(personality: Personality) -> None:
    """And then the client's own end means nothing."""
    protocol = connected(personality)
    protocol.receive(request(1))
    protocol.keep_open(1)
    assert protocol.end_stream(1) == GOLDEN["stream-end"]
    assert protocol.end_stream(1) is None
    assert protocol.receive(end_message(1)) is None


def test_request_that_ends_its_stream_is_not_run(personality: Personality) -> None:
    """The client has hung up; its stream id is used all the same."""
    protocol = connected(personality)
    assert protocol.receive(request(1, flags=ENDS)) is None
    assert protocol.receive(request(2)) == requested(2)


def test_second_message_on_an_open_stream_fails_it_on_classic() -> None:
    """No operation takes more than a request."""
    protocol = connected(CLASSIC)
    protocol.receive(request(1))
    protocol.keep_open(1)
    reply = Replies(CLASSIC).failure(1)
    assert protocol.receive(request(1)) == StreamRejected(1, reply)
    assert protocol.receive(end_message(1)) is None


@pytest.mark.parametrize("operation", [None, ""])
def test_request_without_operation_is_refused(operation: str | None) -> None:
    """Classic closes the connection, lite answers; to lite an empty name is a name."""
    extra = () if operation is None else (text_header("operation", operation),)
    message = make_message(DATA, 1, extra=extra, payload=b"{}")
    found = connected(CLASSIC).receive(message)
    assert found == violated(CLASSIC, "a new stream without an operation")
    found = connected(LITE).receive(message)
    if operation is None:
        assert found == StreamRejected(1, Replies(LITE).failure(1))
    else:
        assert found == OperationRequested(1, "", {})


@pytest.mark.parametrize(
    "payload", [b"", b"no json", b"[]", b"1", b"\xff", b"[" * 100_000, b"1" * 5_000]
)
def test_payload_that_is_no_object_is_told(personality: Personality, payload: bytes) -> None:
    """It is the caller's fault; how deep it nests does not matter."""
    found = connected(personality).receive(request(1, payload))
    assert found == OperationRequested(1, "aws.greengrass#PublishToTopic", None)


def test_nan_is_json_on_classic_alone() -> None:
    """Java's reader is lenient."""
    payload = b'{"a": Infinity}'
    assert connected(CLASSIC).receive(request(1, payload)) == requested(1, {"a": float("inf")})
    found = connected(LITE).receive(request(1, payload))
    assert found == OperationRequested(1, "aws.greengrass#PublishToTopic", None)


# --- types ----------------------------------------------------------------------------------------


def test_ping_is_answered_by_classic_alone() -> None:
    """Lite closes the connection."""
    ping = make_message(MessageType.PING, 0, extra=(text_header("a", "b"),), payload=b"p")
    found = connected(CLASSIC).receive(ping)
    assert found == PingReceived(Replies(CLASSIC).pong(ping))
    found = connected(LITE).receive(ping)
    assert found == violated(LITE, "a message on no stream")


def test_ping_response_means_nothing_to_classic() -> None:
    """Nobody asked."""
    assert connected(CLASSIC).receive(make_message(MessageType.PING_RESPONSE, 0)) is None


@pytest.mark.parametrize("kind", [5, 6, 7])
def test_message_of_a_server_is_an_internal_error_to_classic(kind: int) -> None:
    """It does not expect any."""
    found = connected(CLASSIC).receive(make_message(MessageType(kind), 0))
    reason = f"a message of type {kind} from a client"
    assert found == violated(CLASSIC, reason, message_type=MessageType.INTERNAL_ERROR)


@pytest.mark.parametrize("kind", [0, 1, 8, -1])
def test_stream_message_on_no_stream_is_a_violation(personality: Personality, kind: int) -> None:
    """Whatever it is about."""
    message = Message(
        tuple(
            Header(it.name, it.type, kind) if it.name == ":message-type" else it
            for it in request(0).headers
        )
    )
    reason = f"a message of type {kind} on no stream"
    if personality is LITE:
        reason = "a message on no stream"
    assert connected(personality).receive(message) == violated(personality, reason)


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 7])
def test_protocol_message_on_a_stream_is_refused(kind: int) -> None:
    """Classic closes the connection, lite answers on the stream."""
    message = make_message(MessageType(kind), 1)
    reason = f"a message of type {kind} on a stream"
    assert connected(CLASSIC).receive(message) == violated(CLASSIC, reason)
    expected = StreamRejected(1, Replies(LITE).failure(1))
    assert connected(LITE).receive(message) == expected


def test_lite_reads_two_types_of_headers() -> None:
    """Classic reads all ten."""
    assert ServerProtocol(LITE).header_types == (HeaderType.INT32, HeaderType.STRING)
    assert ServerProtocol(CLASSIC).header_types == tuple(HeaderType)
