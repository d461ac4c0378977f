"""Conversations by a raw client: what each nucleus says to what no proper client would say."""

import base64
import json
import logging
import socket
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import pytest

from nucleus.eventstream.encode import encode_message
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
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.conftest import RunningServer, running_server
from tests.nucleus.golden import GOLDEN
from tests.nucleus.wire import (
    Client,
    client,
    connect_message,
    connected,
    end_message,
    parts,
    request_message,
)

DATA = MessageType.APPLICATION_MESSAGE
ERROR = MessageType.APPLICATION_ERROR
ENDS = MessageFlag.TERMINATE_STREAM
NONE = MessageFlag.NONE
EMPTY = {"_message": "", "_errorCode": "ServiceError"}


def get_configuration(caller: Caller, request: Json, stream: Stream) -> Json:
    """Gives back what it was asked; or does what it is told to do."""
    match request.get("do"):
        case "refuse":
            raise IpcError("ResourceNotFoundError", "gone", {"resourceName": "x"})
        case "fail":
            raise RuntimeError("a fault of the device")
        case "fill":
            return {"value": "x" * request["bytes"]}
        case "nan":
            return {"value": float("nan")}
    return {"componentName": caller.component, "value": request}


class Updates:
    """A subscription that says two things at once, and can be told to say more."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.closed: list[Stream] = []

    def run(self, caller: Caller, request: Json, stream: Stream) -> Json:
        self.streams.append(stream)
        stream.on_close(lambda: self.closed.append(stream))
        for i in range(request.get("early", 0)):
            stream.send("ConfigurationUpdateEvents", {"early": i})
        if "fail" in request:
            raise IpcError("ResourceNotFoundError", "gone")
        return {}


@pytest.fixture
def updates() -> Updates:
    return Updates()


@pytest.fixture
def operations(updates: Updates) -> Operations:
    return {
        "GetConfiguration": Operation(get_configuration),
        "SubscribeToConfigurationUpdate": Operation(updates.run, is_subscription=True),
    }


@pytest.fixture
def server(personality: Personality, operations: Operations) -> Iterator[RunningServer]:
    with running_server(personality, operations) as running:
        yield running


@pytest.fixture
def peer(server: RunningServer) -> Iterator[Client]:
    """A component that has connected."""
    with connected(server.path, server.token("A")) as found:
        yield found


def assert_closed(peer: Client, personality: Personality, last_word: Message | None) -> None:
    """The connection ends: without a word on lite, with one on classic."""
    if personality is CLASSIC and last_word is not None:
        assert peer.receive() == last_word
    assert peer.receive() is None


# --- connecting -----------------------------------------------------------------------------------


def test_known_token_is_accepted(server: RunningServer) -> None:
    """With the golden frame, byte for byte."""
    with client(server.path) as peer:
        peer.send(connect_message(server.token("A")))
        assert peer.expect() == GOLDEN["connect-ack"]


def test_unknown_token_is_refused(server: RunningServer) -> None:
    """Classic says so, lite closes the connection."""
    with client(server.path) as peer:
        peer.send(connect_message("nobody's"))
        assert_closed(peer, server.personality, GOLDEN["connect-ack-refused"])
    server.wait_for(lambda: server.server.n_connections == 0)


def test_one_component_may_connect_twice(server: RunningServer) -> None:
    """Each connection has a stream 1 of its own."""
    token = server.token("A")
    with connected(server.path, token) as first, connected(server.path, token) as second:
        for peer in (first, second):
            assert parts(peer.call(1, "GetConfiguration", {}))[4]["componentName"] == "A"
        server.wait_for(lambda: server.server.n_connections == 2)


def test_request_before_the_connect_closes(server: RunningServer) -> None:
    """Nobody is served who is not known."""
    with client(server.path) as peer:
        peer.send(request_message(1, "GetConfiguration", {}))
        reason = "another message than one CONNECT before its ACK"
        assert_closed(peer, server.personality, Replies(CLASSIC).violation(reason))


def test_nothing_is_served_after_a_refusal(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Be it in the same piece."""
    with caplog.at_level(logging.DEBUG), client(server.path) as peer:
        request = request_message(1, "GetConfiguration", {"do": "fail"})
        peer.send(connect_message("nobody's"), request)
        assert_closed(peer, server.personality, GOLDEN["connect-ack-refused"])
    assert "GetConfiguration" not in caplog.text


def test_connections_are_limited_on_lite_alone(operations: Operations) -> None:
    """To fifty; one more is closed, and one that goes makes room."""
    with running_server(LITE, operations) as server:
        peers = []
        for _ in range(50):
            peer = socket.socket(socket.AF_UNIX)
            peer.settimeout(10)
            peer.connect(str(server.path))
            peers.append(peer)
        server.wait_for(lambda: server.server.n_connections == 50)
        with client(server.path) as refused:
            assert refused.receive() is None
        peers.pop().close()
        server.wait_for(lambda: server.server.n_connections == 49)
        with connected(server.path, server.token()):
            pass
        for peer in peers:
            peer.close()
    assert CLASSIC.max_connections is None


# --- unary operations -----------------------------------------------------------------------------


def test_response_carries_its_shape(peer: Client, server: RunningServer) -> None:
    """And ends its stream on classic."""
    found = parts(peer.call(1, "GetConfiguration", {"keyPath": ["é"]}))
    flags = ENDS if server.personality is CLASSIC else NONE
    body = {"componentName": "A", "value": {"keyPath": ["é"]}}
    assert found == (DATA, flags, 1, "aws.greengrass#GetConfigurationResponse", body)


def test_pipelined_requests_are_answered_in_order(peer: Client) -> None:
    """However they are cut."""
    data = b"".join(
        encode_message(request_message(i, "GetConfiguration", {"i": i})) for i in range(1, 6)
    )
    for at in range(0, len(data), 7):
        peer.send(data[at : at + 7])
    found = [parts(peer.expect()) for _ in range(5)]
    assert [it[2] for it in found] == [1, 2, 3, 4, 5]
    assert [it[4]["value"]["i"] for it in found] == [1, 2, 3, 4, 5]


def test_modelled_error_keeps_the_connection(peer: Client, server: RunningServer) -> None:
    """The next request is served."""
    message = peer.call(1, "GetConfiguration", {"do": "refuse"})
    error = IpcError("ResourceNotFoundError", "gone", {"resourceName": "x"})
    assert message == Replies(server.personality).error(1, error)
    assert parts(peer.call(2, "GetConfiguration", {}))[0] is DATA


@pytest.mark.parametrize("what", ["fail", "nan"])
def test_fault_of_the_device_is_logged_and_not_told(
    peer: Client, server: RunningServer, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    """An exception, and a response that is no JSON."""
    message = peer.call(1, "GetConfiguration", {"do": what})
    assert message == Replies(server.personality).failure(1)
    assert "connection 1: GetConfiguration failed" in caplog.text
    assert parts(peer.call(2, "GetConfiguration", {}))[0] is DATA


@pytest.mark.parametrize("payload", [b"", b"no json", b"[]", b"\xff", b"[" * 9_000])
def test_request_that_is_no_object_fails(
    peer: Client, server: RunningServer, payload: bytes
) -> None:
    """But the connection lives."""
    message = peer.call(1, "GetConfiguration", payload)
    assert message == Replies(server.personality).failure(1)
    assert parts(peer.call(2, "GetConfiguration", {}))[0] is DATA


@pytest.mark.parametrize("operation", ["Fly", "GetSecretValue"])
def test_missing_operation_is_an_error(peer: Client, server: RunningServer, operation: str) -> None:
    """Of one kind or another; the connection lives."""
    message = peer.call(1, operation, {})
    replies = Replies(server.personality)
    assert message == replies.no_operation(1, f"aws.greengrass#{operation}")
    assert parts(peer.call(2, "GetConfiguration", {}))[0] is DATA


def test_lite_lacks_what_only_classic_has() -> None:
    """Be the operation there or not."""
    operations = {"GetSecretValue": Operation(get_configuration)}
    with (
        running_server(LITE, operations) as server,
        connected(server.path, server.token()) as peer,
    ):
        found = parts(peer.call(1, "GetSecretValue", {}))
    assert found == (ERROR, ENDS, 1, "aws.greengrass#ServiceError", EMPTY)


# --- subscriptions --------------------------------------------------------------------------------

UPDATES = "SubscribeToConfigurationUpdate"


def test_events_follow_the_first_response(
    peer: Client, server: RunningServer, updates: Updates
) -> None:
    """Also those that were sent before it; the stream stays open."""
    response = parts(peer.call(1, UPDATES, {"early": 2}))
    assert response == (DATA, NONE, 1, f"aws.greengrass#{UPDATES}Response", {})
    (stream,) = updates.streams
    server.call(lambda: stream.send("ConfigurationUpdateEvents", {"late": 1}))
    events = [parts(peer.expect()) for _ in range(3)]
    assert {it[:4] for it in events} == {
        (DATA, NONE, 1, "aws.greengrass#ConfigurationUpdateEvents")
    }
    assert [it[4] for it in events] == [{"early": 0}, {"early": 1}, {"late": 1}]


def test_refused_subscription_ends_its_stream(
    peer: Client, server: RunningServer, updates: Updates
) -> None:
    """Nothing that was sent before goes out."""
    message = peer.call(1, UPDATES, {"early": 2, "fail": True})
    error = IpcError("ResourceNotFoundError", "gone")
    assert message == Replies(server.personality).error(1, error)
    assert updates.closed == updates.streams
    server.call(lambda: updates.streams[0].send("ConfigurationUpdateEvents", {}))
    assert parts(peer.call(2, "GetConfiguration", {}))[2] == 2


def test_client_ends_its_subscription(
    peer: Client, server: RunningServer, updates: Updates
) -> None:
    """Once; what is sent afterwards goes nowhere."""
    peer.call(1, UPDATES, {})
    peer.send(end_message(1), end_message(1))
    assert parts(peer.call(2, "GetConfiguration", {}))[2] == 2
    assert updates.closed == updates.streams
    server.call(lambda: updates.streams[0].send("ConfigurationUpdateEvents", {}))
    assert parts(peer.call(3, "GetConfiguration", {}))[2] == 3


def test_disconnection_ends_all_subscriptions(server: RunningServer, updates: Updates) -> None:
    """However it comes about; a late listener is told at once."""
    with connected(server.path, server.token()) as peer:
        for stream_id in (1, 2, 3):
            peer.call(stream_id, UPDATES, {})
    server.wait_for(lambda: len(updates.closed) == 3)
    assert updates.closed == updates.streams
    late: list[str] = []
    server.call(lambda: updates.streams[0].on_close(lambda: late.append("told")))
    assert late == ["told"]


def test_fault_at_a_streams_end_is_logged(
    server: RunningServer, updates: Updates, caplog: pytest.LogCaptureFixture
) -> None:
    """And the other listeners are told all the same."""

    def fail() -> None:
        raise RuntimeError("broken")

    told: list[str] = []
    with connected(server.path, server.token()) as peer:
        peer.call(1, UPDATES, {})
        server.call(lambda: updates.streams[0].on_close(fail))
        server.call(lambda: updates.streams[0].on_close(lambda: told.append("told")))
    server.wait_for(lambda: server.server.n_connections == 0)
    assert told == ["told"]
    assert "the end of a stream could not be told" in caplog.text


def test_second_message_on_a_subscription_ends_it_on_classic(operations: Operations) -> None:
    """With an error; the connection lives."""
    with (
        running_server(CLASSIC, operations) as server,
        connected(server.path, server.token()) as peer,
    ):
        topic = {"topic": "a"}
        peer.call(1, "SubscribeToTopic", topic)
        message = peer.call(1, "SubscribeToTopic", topic)
        assert message == Replies(CLASSIC).failure(1)
        assert server.call(lambda: server.pubsub.n_subscriptions) == 0
        assert parts(peer.call(2, "GetConfiguration", {}))[0] is DATA


def test_stream_id_that_is_used_again_replaces_the_subscription_on_lite() -> None:
    """Lite takes any id; nothing of the first may be left."""
    with running_server(LITE) as server, connected(server.path, server.token()) as peer:
        peer.call(1, "SubscribeToTopic", {"topic": "a"})
        peer.call(1, "SubscribeToTopic", {"topic": "b"})
        assert server.call(lambda: server.pubsub.n_subscriptions) == 1
        server.call(lambda: server.pubsub.publish("a", b"a"))
        server.call(lambda: server.pubsub.publish("b", b"b"))
        assert parts(peer.expect())[4]["binaryMessage"]["context"] == {"topic": "b"}
        peer.send(end_message(1))
        server.wait_for(lambda: server.pubsub.n_subscriptions == 0)


# --- what closes a connection ---------------------------------------------------------------------


def test_ping_is_answered_by_classic_and_closes_on_lite(
    peer: Client, server: RunningServer
) -> None:
    """The payload and the free headers come back."""
    free = text_header("a", "b")
    peer.send(make_message(MessageType.PING, 0, extra=(free,), payload=b"p"))
    if server.personality is LITE:
        assert peer.receive() is None
        return
    pong = make_message(MessageType.PING_RESPONSE, 0, extra=(free,), payload=b"p")
    assert peer.receive() == pong


def test_second_connect_closes(peer: Client, server: RunningServer) -> None:
    """A component is who it is."""
    peer.send(connect_message(server.token("B")))
    assert_closed(peer, server.personality, Replies(CLASSIC).violation("a second CONNECT"))


def test_operation_on_no_stream_closes(peer: Client, server: RunningServer) -> None:
    """Its stream id is zero."""
    peer.send(request_message(0, "GetConfiguration", {}))
    reason = "a message of type 0 on no stream"
    assert_closed(peer, server.personality, Replies(CLASSIC).violation(reason))


def test_gap_in_the_stream_ids_closes_on_classic(peer: Client, server: RunningServer) -> None:
    """Lite answers."""
    peer.send(request_message(1, "GetConfiguration", {}), request_message(3, "Fly", {}))
    assert parts(peer.expect())[2] == 1
    if server.personality is CLASSIC:
        reason = "the stream id 3 after 1"
        assert_closed(peer, CLASSIC, Replies(CLASSIC).violation(reason))
    else:
        assert parts(peer.expect())[2] == 3


def broken(data: bytes) -> bytes:
    return data[:-1] + bytes((data[-1] ^ 1,))


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (broken(encode_message(request_message(1, "Fly", {}))), "message checksum: got "),
        (b"\x00" * 12, "prelude checksum: got 0x00000000, expected 0x6522df69"),
    ],
    ids=["message", "prelude"],
)
def test_wrong_checksum_closes_without_a_word(
    peer: Client, server: RunningServer, caplog: pytest.LogCaptureFixture, data: bytes, text: str
) -> None:
    """The log has the reason."""
    peer.send(data)
    assert peer.receive() is None
    assert f"connection 1 is closed: {text}" in caplog.text


def test_header_of_another_type_closes_on_lite(peer: Client, server: RunningServer) -> None:
    """Classic reads all ten."""
    message = request_message(1, "GetConfiguration", {})
    odd = Header("when", HeaderType.TIMESTAMP, 1)
    peer.send(Message((*message.headers, odd), message.payload))
    if server.personality is LITE:
        assert peer.receive() is None
    else:
        assert parts(peer.expect())[0] is DATA


def test_end_of_the_stream_in_the_middle_of_a_message_is_quiet(server: RunningServer) -> None:
    """The client has gone."""
    with connected(server.path, server.token()) as peer:
        peer.send(encode_message(request_message(1, "GetConfiguration", {}))[:-1])
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.receive() is None
    server.wait_for(lambda: server.server.n_connections == 0)


# --- sizes ----------------------------------------------------------------------------------------


def publish_of(packet_bytes: int, topic: str) -> Message:
    """A PublishToTopic in a packet of so many bytes."""
    body: dict[str, Any] = {"topic": topic, "publishMessage": {"binaryMessage": {"message": ""}}}
    room = packet_bytes - len(encode_message(request_message(1, "PublishToTopic", body)))
    body["publishMessage"]["binaryMessage"]["message"] = "A" * room
    message = request_message(1, "PublishToTopic", body)
    assert len(encode_message(message)) == packet_bytes
    return message


def test_packet_at_the_limit_is_taken_and_one_byte_more_closes_on_lite() -> None:
    """With everything that the connection has open."""
    with running_server(LITE) as server:
        with connected(server.path, server.token()) as peer:
            peer.send(publish_of(10_000, "a"))
            assert parts(peer.expect())[0] is DATA
            peer.call(2, "SubscribeToTopic", {"topic": "b"})
            peer.send(publish_of(10_001, "a"))
            assert peer.receive() is None
        server.wait_for(lambda: server.pubsub.n_subscriptions == 0)


def test_event_that_does_not_fit_is_lost_on_lite() -> None:
    """Its publisher sees success; the next one arrives."""
    # The topic stands in the event as in the request, but the keys around it are longer.
    with running_server(LITE) as server, connected(server.path, server.token()) as peer:
        peer.call(1, "SubscribeToTopic", {"topic": "a"})
        server.call(lambda: server.pubsub.publish("a", b"x" * 7_500))
        server.call(lambda: server.pubsub.publish("a", b"y"))
        assert parts(peer.expect())[4]["binaryMessage"]["message"] == "eQ=="


def test_response_that_does_not_fit_is_an_error_on_lite(operations: Operations) -> None:
    """And the connection lives."""
    with (
        running_server(LITE, operations) as server,
        connected(server.path, server.token()) as peer,
    ):
        found = parts(peer.call(1, "GetConfiguration", {"do": "fill", "bytes": 10_000}))
        assert found == (ERROR, ENDS, 1, "aws.greengrass#ServiceError", EMPTY)
        assert parts(peer.call(2, "GetConfiguration", {"do": "fill", "bytes": 1}))[0] is DATA


def test_response_that_does_not_fit_closes_on_classic(operations: Operations) -> None:
    """Its client could not read it."""
    with (
        running_server(CLASSIC, operations) as server,
        connected(server.path, server.token()) as peer,
    ):
        n_bytes = CLASSIC.max_packet_bytes
        peer.send(request_message(1, "GetConfiguration", {"do": "fill", "bytes": n_bytes}))
        assert peer.receive() is None


def test_oversized_prelude_closes_before_the_message_has_come(
    peer: Client, server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """So that nobody can make the device keep gigabytes."""
    prelude = struct.pack(">II", 2**31, 0)
    peer.send(prelude + struct.pack(">I", zlib.crc32(prelude)))
    assert peer.receive() is None
    most = server.personality.max_packet_bytes
    assert f"message: got 2147483648 bytes, expected at most {most}" in caplog.text


# --- slow and rude clients ------------------------------------------------------------------------


def test_half_a_message_holds_up_nobody(server: RunningServer) -> None:
    """Unlike on lite, where everybody would wait five seconds."""
    token = server.token()
    with connected(server.path, token) as slow, connected(server.path, token) as quick:
        message = encode_message(request_message(1, "GetConfiguration", {}))
        slow.send(message[:20])
        assert parts(quick.call(1, "GetConfiguration", {}))[0] is DATA
        slow.send(message[20:])
        assert parts(slow.expect())[0] is DATA


def test_subscriber_that_does_not_read_is_dropped(
    personality: Personality, caplog: pytest.LogCaptureFixture
) -> None:
    """When more waits for it than the bound; the others hear everything."""
    with running_server(personality, max_unread_bytes=100_000) as server:
        token = server.token()
        with connected(server.path, token) as deaf, connected(server.path, token) as good:
            for peer in (deaf, good):
                peer.call(1, "SubscribeToTopic", {"topic": "a"})
            sent = 0
            while server.call(lambda: server.pubsub.n_subscriptions) == 2:
                server.call(lambda: server.pubsub.publish("a", b"x" * 6_000))
                sent += 1
                assert parts(good.expect())[4]["binaryMessage"]["context"] == {"topic": "a"}
                assert sent < 10_000
            server.wait_for(lambda: server.server.n_connections == 1)
            assert parts(good.call(2, "PublishToTopic", publish("b")))[0] is DATA
    assert "it left " in caplog.text
    assert " bytes unread" in caplog.text


def publish(topic: str) -> Json:
    message = base64.b64encode(b"hello").decode()
    return {"topic": topic, "publishMessage": {"binaryMessage": {"message": message}}}


def test_client_that_sends_and_does_not_read_is_dropped(operations: Operations) -> None:
    """Its answers may not fill the device's memory either."""
    with (
        running_server(CLASSIC, operations, max_unread_bytes=100_000) as server,
        connected(server.path, server.token()) as rude,
    ):
        request = {"do": "fill", "bytes": 50_000}
        for stream_id in range(1, 50):
            try:
                rude.send(request_message(stream_id, "GetConfiguration", request))
            except OSError:
                break
        server.wait_for(lambda: server.server.n_connections == 0)


def test_last_word_is_not_waited_for_for_ever(server: RunningServer) -> None:
    """A client that keeps its side open is closed all the same."""
    with client(server.path) as peer:
        peer.send(connect_message("nobody's"))
        server.wait_for(lambda: server.server.n_connections == 0)


# --- the log --------------------------------------------------------------------------------------


def test_log_has_neither_tokens_nor_payloads(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    """At no level; above DEBUG there is nothing for single messages."""
    caplog.set_level(logging.DEBUG)
    token = server.token("A")
    with connected(server.path, token) as peer:
        peer.call(1, "GetConfiguration", {"secret": "swordfish"})
        peer.call(2, "PublishToTopic", publish("a"))
    with client(server.path) as peer:
        peer.send(connect_message("WRONGTOKEN"))
        while peer.receive() is not None:
            pass
    server.wait_for(lambda: server.server.n_connections == 0)
    for secret in (token, "swordfish", "aGVsbG8", "WRONGTOKEN"):
        assert secret not in caplog.text
    told = [it.getMessage() for it in caplog.records if it.levelno > logging.DEBUG]
    assert [it for it in told if "serving" not in it] == [
        "component A connected",
        "component A disconnected",
        "connection 2 is closed: its CONNECT was refused",
    ]
    assert json.dumps(told).count("GetConfiguration") == 0
