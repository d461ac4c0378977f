"""The adapter against the stand-in core device, by way of the SDK, on both nuclei."""

import contextlib
import gc
import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from awsiot import eventstreamrpc as rpc
from awsiot.greengrasscoreipc import model

from interface import greengrass
from interface.bridge import Bridge, Limits
from interface.errors import (
    ConnectionLostError,
    MessageTooLargeError,
    NotPermittedError,
    OperationRefusedError,
    TokenMissingError,
    TokenRefusedError,
    TransportError,
    TransportTimeoutError,
)
from interface.greengrass import (
    SOCKET_VARIABLE,
    TOKEN_VARIABLE,
    CoreDevice,
    connect,
    payload_limit,
)
from nucleus.operation import Caller, IpcError, Json, Operation, Stream
from nucleus.personality import CLASSIC, LITE, Personality
from tests.interface.conftest import WAIT_S, Recorder, wait_until
from tests.interface.test_bridge import Echo
from tests.nucleus.conftest import RunningServer, personality, running_server

__all__ = ["personality"]  # a fixture

BOTH = pytest.mark.parametrize("nucleus", [CLASSIC, LITE], ids=lambda it: it.name)


def device_of(server: RunningServer, **options: Any) -> CoreDevice:
    return connect(str(server.path), server.token(), WAIT_S, **options)


@pytest.fixture
def server(personality: Personality) -> Iterator[RunningServer]:
    with running_server(personality) as running:
        yield running


@pytest.fixture
def device(server: RunningServer) -> Iterator[CoreDevice]:
    with closing(device_of(server)) as connected:
        yield connected


def refuse(code: str, message: str = "no") -> Callable[..., Json]:
    def run(_caller: Caller, _request: Json, _stream: Stream) -> Json:
        raise IpcError(code, message)

    return run


class Seen:
    """An operation that notes requests, and can send events."""

    def __init__(self, response: Json | None = None, *, is_subscription: bool = False) -> None:
        self.requests: list[Json] = []
        self.streams: list[Stream] = []
        self.response = response or {}
        self.operation = Operation(self.run, is_subscription=is_subscription)

    def run(self, _caller: Caller, request: Json, stream: Stream) -> Json:
        self.requests.append(request)
        self.streams.append(stream)
        return self.response


# --- connecting -----------------------------------------------------------------------------------


def test_environment_of_the_nucleus_is_enough(
    server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A component is started with where to connect and who it is."""
    monkeypatch.setenv(SOCKET_VARIABLE, str(server.path))
    monkeypatch.setenv(TOKEN_VARIABLE, server.token())
    with closing(connect()) as device:
        assert device.publish("topic", b"").result(WAIT_S) is None


@pytest.mark.parametrize("name", [SOCKET_VARIABLE, TOKEN_VARIABLE])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_variable_is_named(
    name: str, value: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts the component by hand needs to know."""
    monkeypatch.setenv(SOCKET_VARIABLE, "socket")
    monkeypatch.setenv(TOKEN_VARIABLE, "token")
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    text = rf"^{name}: got nothing, expected the nucleus to set it in the environment$"
    with pytest.raises(TokenMissingError, match=text):
        connect()


def test_unknown_token_is_refused_on_classic() -> None:
    """It says so; only a new start of the component gets another token."""
    with (
        running_server(CLASSIC) as server,
        pytest.raises(TokenRefusedError) as raised,
    ):
        connect(str(server.path), "secret-token")
    place = f"core device at {server.path}"
    assert str(raised.value) == f"{place}: got a refusal of the token, expected it to accept us"


def test_unknown_token_is_a_lost_connection_on_lite() -> None:
    """Lite closes without a word, as it does while it starts: to try again is right for a while."""
    with (
        running_server(LITE) as server,
        pytest.raises(ConnectionLostError, match="AWS_IO_SOCKET_CLOSED") as raised,
    ):
        connect(str(server.path), "secret-token")
    assert "secret-token" not in str(raised.value)


def test_token_may_hold_any_character(server: RunningServer) -> None:
    """The SDK itself would put it into JSON as it is."""
    with pytest.raises((TokenRefusedError, ConnectionLostError)):
        connect(str(server.path), 'a "quoted" \\ token')


def test_absent_core_device_is_a_lost_connection(tmp_path: Path) -> None:
    """No socket, a stale one, or a path that can be none."""
    stale = tmp_path / "stale"
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(stale))
    for path in (tmp_path / "absent", stale, tmp_path / ("x" * 120)):
        with pytest.raises(ConnectionLostError) as raised:
            connect(str(path), "token")
        text = str(raised.value)
        assert text.startswith(f"core device at {path}: got ")
        assert text.endswith(", expected it to accept us")


def test_core_device_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    """And the half-open connection is closed, not left behind."""
    with closing(socket.socket(socket.AF_UNIX)) as listener:
        listener.bind(str(tmp_path / "mute"))
        listener.listen()
        text = r"mute: got no answer in 0\.05 s, expected it to accept us$"
        with pytest.raises(TransportTimeoutError, match=text):
            connect(str(tmp_path / "mute"), "token", 0.05)
        with closing(listener.accept()[0]) as peer:
            peer.settimeout(WAIT_S)
            while peer.recv(4096):
                pass  # until the other side has closed


def n_loops() -> int:
    """How many event loops of the SDK are alive; their threads are not Python's."""
    names = [Path(f"/proc/self/task/{it}/comm") for it in os.listdir("/proc/self/task")]
    found = 0
    for name in names:
        with contextlib.suppress(OSError):
            found += name.read_text().startswith("AwsEventLoop")
    return found


def test_connections_leave_no_thread_behind(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither those that were closed, nor those that failed."""
    # It logs its connections, which stay alive as long as the records.
    caplog.set_level(logging.CRITICAL, logger="awsiot.eventstreamrpc")
    gc.collect()
    before = n_loops()
    with running_server(CLASSIC) as server:
        for _ in range(20):
            with closing(device_of(server)) as device:
                device.subscribe("topic", lambda _payload: None, lambda _error: None)
                device.publish("topic", b"").result(WAIT_S)
                assert n_loops() >= 1
            with contextlib.suppress(TransportError):
                connect(str(server.path), "unknown")
            with contextlib.suppress(TransportError):
                connect(str(tmp_path / "absent"), "token")
        del device
        wait_until(lambda: gc.collect() is not None and n_loops() <= before)
        server.wait_for(lambda: server.server.n_connections == 0)


# --- pub/sub --------------------------------------------------------------------------------------


def test_messages_arrive_in_order_as_they_were_sent(device: CoreDevice) -> None:
    """Own ones too; without waiting for each."""
    recorder = Recorder()
    device.subscribe("topic", recorder.deliver, recorder.lost)
    payloads = [b"", b"\xff\x00", *(b"%d" % i for i in range(300))]
    futures = [device.publish("topic", payload) for payload in payloads]
    assert [future.result(WAIT_S) for future in futures] == [None] * len(payloads)
    assert recorder.wait_payloads(len(payloads)) == payloads
    assert recorder.errors == []


def test_threads_may_share_a_connection(device: CoreDevice) -> None:
    """Each thread's messages stay in order."""
    recorder = Recorder()
    device.subscribe("topic", recorder.deliver, recorder.lost)

    def talk(name: int) -> None:
        for i in range(100):
            device.publish("topic", b"%d %03d" % (name, i))

    threads = [threading.Thread(target=talk, args=(t,)) for t in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = recorder.wait_payloads(800)
    assert sorted(found) == [b"%d %03d" % (t, i) for t in range(8) for i in range(100)]
    for t in range(8):
        own = [payload for payload in found if payload.startswith(b"%d " % t)]
        assert own == sorted(own)


def test_closed_subscription_ends_at_the_device(server: RunningServer, device: CoreDevice) -> None:
    """Nobody is told, and a second close does nothing."""
    recorder = Recorder()
    subscription = device.subscribe("topic", recorder.deliver, recorder.lost)
    assert server.call(lambda: server.pubsub.n_subscriptions) == 1
    subscription.close()
    subscription.close()
    server.wait_for(lambda: server.pubsub.n_subscriptions == 0)
    device.publish("topic", b"1").result(WAIT_S)
    assert (recorder.payloads, recorder.errors) == ([], [])


def test_receive_mode_is_asked_for() -> None:
    """A wildcard filter would not deliver own messages on classic otherwise."""
    seen = Seen(is_subscription=True)
    with (
        running_server(CLASSIC, {"SubscribeToTopic": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        device.subscribe("topic", lambda _payload: None, lambda _error: None)
        expected = {"topic": "topic", "receiveMode": "RECEIVE_ALL_MESSAGES"}
        assert seen.requests == [expected]


def publish_json(server: RunningServer, message: Json) -> None:
    """As a component does that sends a `jsonMessage`."""
    with closing(device_of(server)) as device:
        operation = device._client.new_publish_to_topic()
        body = model.PublishMessage(json_message=model.JsonMessage(message=message))
        operation.activate(model.PublishToTopicRequest(topic="topic", publish_message=body))
        operation.get_response().result(WAIT_S)


def test_json_message_arrives_as_json(server: RunningServer, device: CoreDevice) -> None:
    """Whole numbers as such, though the classic nucleus makes doubles of them."""
    recorder = Recorder()
    device.subscribe("topic", recorder.deliver, recorder.lost)
    message = {"id": 7, "size": 1.5, "name": "é", "rows": [[1, None, True]], "big": 2**53}
    publish_json(server, message)
    [payload] = recorder.wait_payloads(1)
    assert payload == json.dumps(message, separators=(",", ":")).encode()


def test_watcher_is_told_the_topic(device: CoreDevice) -> None:
    """A filter has many."""
    seen: list[tuple[str, bytes]] = []
    device.watch("a/+", lambda topic, payload: seen.append((topic, payload)), lambda _error: None)
    device.publish("a/1", b"one").result(WAIT_S)
    device.publish("a/2", b"two").result(WAIT_S)
    wait_until(lambda: len(seen) == 2)
    assert seen == [("a/1", b"one"), ("a/2", b"two")]


def test_callback_that_raises_ends_nothing(
    device: CoreDevice, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged, and the next message comes."""
    recorder = Recorder()

    def deliver(payload: bytes) -> None:
        recorder.deliver(payload)
        if payload == b"bad":
            raise ValueError("from the callback")

    device.subscribe("topic", deliver, recorder.lost)
    device.publish("topic", b"bad").result(WAIT_S)
    device.publish("topic", b"good").result(WAIT_S)
    recorder.wait_payloads(2)
    assert recorder.errors == []
    assert "from the callback" in caplog.text


def test_policy_that_does_not_allow_it_is_not_permitted(personality: Personality) -> None:
    """Publishing says so in the future, subscribing by raising; nobody is told of a loss."""

    def authorize(_component: str, _service: str, operation: str, resource: str) -> None:
        if resource == "theirs":
            raise IpcError("UnauthorizedError", f"no {operation}")

    with (
        running_server(personality, authorize=authorize) as server,
        closing(device_of(server)) as device,
    ):
        recorder = Recorder()
        with pytest.raises(NotPermittedError) as raised:
            device.subscribe("theirs", recorder.deliver, recorder.lost)
        why = " (no aws.greengrass#SubscribeToTopic)" if personality.names_messages else ""
        place = "subscription to theirs"
        assert str(raised.value) == f"{place}: got UnauthorizedError{why}, expected success"
        error = device.publish("theirs", b"").exception(WAIT_S)
        assert isinstance(error, NotPermittedError)
        assert device.publish("ours", b"").result(WAIT_S) is None
    assert recorder.errors == []


@pytest.mark.parametrize(
    "code", ["ServiceError", "InvalidArgumentsError", "ResourceNotFoundError", "ConflictError"]
)
def test_other_modelled_error_is_a_refusal(code: str, personality: Personality) -> None:
    """The connection goes on."""
    operations = {"PublishToTopic": Operation(refuse(code))}
    with (
        running_server(personality, operations) as server,
        closing(device_of(server)) as device,
    ):
        for _ in range(2):
            error = device.publish("topic", b"").exception(WAIT_S)
            assert isinstance(error, OperationRefusedError)
        why = " (no)" if personality.names_messages else ""
        assert str(error) == f"publish to topic: got {code}{why}, expected success"


def test_failure_inside_the_nucleus_is_a_refusal_and_no_loss() -> None:
    """The SDK says the same of both; only here the connection is still open."""

    def run(_caller: Caller, _request: Json, _stream: Stream) -> Json:
        raise ZeroDivisionError

    operations = {"PublishToTopic": Operation(run)}
    with (
        running_server(CLASSIC, operations) as server,
        closing(device_of(server)) as device,
    ):
        error = device.publish("topic", b"").exception(WAIT_S)
        assert isinstance(error, OperationRefusedError)
        assert str(error) == "publish to topic: got StreamClosedError, expected success"
        device.subscribe("topic", lambda _payload: None, lambda _error: None)


def test_message_above_the_limit_is_refused_here(server: RunningServer) -> None:
    """On lite it would close the whole connection; just below, it arrives."""
    limit = server.personality.max_packet_bytes
    with closing(device_of(server, max_packet_bytes=limit)) as device:
        recorder = Recorder()
        device.subscribe("topic", recorder.deliver, recorder.lost)
        largest = b"x" * payload_limit("topic", limit)
        error = device.publish("topic", largest + b"x").exception(WAIT_S)
        text = f"publish to topic: got {len(largest) + 1} bytes, expected at most {len(largest)}"
        assert (type(error), str(error)) == (MessageTooLargeError, text)
        assert device.publish("topic", largest).result(WAIT_S) is None
        assert recorder.wait_payloads(1) == [largest]
        assert recorder.errors == []


def test_message_above_what_the_sdk_carries_is_refused_without_a_setting() -> None:
    """The connection stays."""
    with running_server(CLASSIC) as server, closing(device_of(server)) as device:
        error = device.publish("topic", b"x" * 18 * 1024 * 1024).exception(WAIT_S)
        assert isinstance(error, MessageTooLargeError)
        assert device.publish("topic", b"").result(WAIT_S) is None


@pytest.mark.parametrize(
    ("topic", "packet", "expected"),
    [("topic", 10_000, 6726), ("x" * 256, 10_000, 6537), ("topic", 100, 0)],
)
def test_limit_of_a_payload(topic: str, packet: int, expected: int) -> None:
    """6 KiB always fit on lite, whatever the topic."""
    assert payload_limit(topic, packet) == expected
    assert payload_limit(topic) > 17 * 1024 * 1024


@BOTH
def test_answered_calls_leave_nothing_behind(nucleus: Personality) -> None:
    """Lite does not end the streams of unary calls: the adapter does."""
    with running_server(nucleus) as server, closing(device_of(server)) as device:
        gc.collect()
        for future in [device.publish("topic", b"") for _ in range(100)]:
            future.result(WAIT_S)
        left: Callable[[], int] = lambda: sum(  # noqa: E731
            isinstance(it, rpc.ClientOperation) for it in gc.get_objects()
        )
        wait_until(lambda: gc.collect() is not None and left() <= 1)


# --- ends nobody asked for ------------------------------------------------------------------------


def test_core_device_that_goes_away_is_told_once(server: RunningServer, device: CoreDevice) -> None:
    """To each subscription; every later call fails at once, and publishing raises nothing."""
    first, second = Recorder(), Recorder()
    device.subscribe("topic", first.deliver, first.lost)
    device.subscribe("other", second.deliver, second.lost)
    server.stop()
    for recorder, topic in ((first, "topic"), (second, "other")):
        error = recorder.wait_error()
        text = f"subscription to {topic}: got its end, expected it to stay open"
        assert (type(error), str(error)) == (ConnectionLostError, text)
    later = device.publish("topic", b"").exception(WAIT_S)
    assert isinstance(later, ConnectionLostError)
    with pytest.raises(ConnectionLostError, match=r"^subscription to topic: got .*, expected"):
        device.subscribe("topic", first.deliver, first.lost)
    with pytest.raises(ConnectionLostError, match="report of RUNNING"):
        device.report_running()
    device.close()
    assert (len(first.errors), len(second.errors)) == (1, 1)


def test_call_that_waits_when_the_core_device_goes_away_fails(personality: Personality) -> None:
    """As a lost connection, and not as a refusal."""
    with running_server(personality) as server, closing(device_of(server)) as device:
        futures = [device.publish("topic", b"x" * 1000) for _ in range(2000)]
        server.stop()
        errors = [future.exception(WAIT_S) for future in futures]
    assert {type(error) for error in errors} == {type(None), ConnectionLostError}


def test_error_that_ends_a_subscription_is_told() -> None:
    """With what the nucleus said."""
    recorder = Recorder()
    with running_server(CLASSIC) as server, closing(device_of(server)) as device:
        stream: Any = device.subscribe("topic", recorder.deliver, recorder.lost)
        assert stream.on_stream_error(model.ServiceError(message="over"))
        stream.on_stream_closed()
        error = recorder.wait_error()
        text = "subscription to topic: got ServiceError (over), expected success"
        assert (type(error), str(error)) == (OperationRefusedError, text)
    assert len(recorder.errors) == 1


def test_event_that_cannot_be_read_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may publish could else silence a component; the payload is not logged."""
    seen, recorder = Seen(is_subscription=True), Recorder()
    with (
        running_server(LITE, {"SubscribeToTopic": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        device.subscribe("topic", recorder.deliver, recorder.lost)
        event = "SubscriptionResponseMessage"
        server.call(lambda: seen.streams[0].send(event, {"binaryMessage": {"message": "bjbtr"}}))
        server.call(lambda: seen.streams[0].send("OtherEvent", {}))
        server.call(lambda: seen.streams[0].send(event, {}))
        server.call(lambda: seen.streams[0].send(event, {"binaryMessage": {"message": "AAAA"}}))
        assert recorder.wait_payloads(1) == [b"\0\0\0"]
    assert recorder.errors == []
    own = [it for it in caplog.records if it.name.startswith("interface.")]
    assert [it.getMessage() for it in own] == [
        "an event that cannot be read",
        "an event that cannot be read",
        "a message that is neither bytes nor JSON",
    ]
    assert "bjbtr" not in str([vars(it) for it in own])


# --- closing --------------------------------------------------------------------------------------


def test_closed_connection_tells_nobody(server: RunningServer, device: CoreDevice) -> None:
    """Whoever closes knows; a second call does nothing, and what waits ends."""
    recorder = Recorder()
    device.subscribe("topic", recorder.deliver, recorder.lost)
    device.close()
    device.close()
    error = device.publish("topic", b"").exception(WAIT_S)
    assert isinstance(error, ConnectionLostError)
    server.wait_for(lambda: server.server.n_connections == 0)
    assert recorder.errors == []


def test_callback_may_close_the_connection(server: RunningServer) -> None:
    """It runs on the thread that would have to close it."""
    device, closed = device_of(server), threading.Event()

    def deliver(_payload: bytes) -> None:
        device.close()
        closed.set()

    device.subscribe("topic", deliver, lambda _error: None)
    device.publish("topic", b"")
    assert closed.wait(WAIT_S)
    server.wait_for(lambda: server.server.n_connections == 0)


def test_callback_may_publish_but_not_wait(server: RunningServer, device: CoreDevice) -> None:
    """A call that waits would wait for its own thread."""
    recorder, errors = Recorder(), []

    def deliver(payload: bytes) -> None:
        device.publish("back", payload)
        try:
            device.report_running()
        except RuntimeError as error:
            errors.append(str(error))

    device.subscribe("back", recorder.deliver, recorder.lost)
    device.subscribe("topic", deliver, recorder.lost)
    device.publish("topic", b"1")
    assert recorder.wait_payloads(1) == [b"1"]
    wait_until(lambda: errors)
    assert errors == ["report of RUNNING: got a call on the reading thread, expected another"]


# --- configuration and lifecycle ------------------------------------------------------------------


def test_configuration_is_read_with_whole_numbers(personality: Personality) -> None:
    """Classic hands out doubles for what was written by a component."""
    seen = Seen({"componentName": "Component", "value": {"n": 100.0, "x": 1.5, "t": [2.0]}})
    with (
        running_server(personality, {"GetConfiguration": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        value = device.get_configuration()
        assert json.dumps(value) == '{"n": 100, "x": 1.5, "t": [2]}'
        device.get_configuration(["a", "b"], "Other")
        assert seen.requests == [{}, {"componentName": "Other", "keyPath": ["a", "b"]}]


def test_key_that_is_not_there_is_a_refusal() -> None:
    """The text says which."""
    operations = {"GetConfiguration": Operation(refuse("ResourceNotFoundError"))}
    with (
        running_server(CLASSIC, operations) as server,
        closing(device_of(server)) as device,
        pytest.raises(OperationRefusedError) as raised,
    ):
        device.get_configuration(["a", "b"])
    text = "configuration/a/b: got ResourceNotFoundError (no), expected success"
    assert str(raised.value) == text


def test_configuration_is_updated() -> None:
    """With a timestamp that is a float, which lite insists on."""
    seen = Seen()
    with (
        running_server(LITE, {"UpdateConfiguration": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        device.update_configuration({"n": 1}, ["a"])
    [request] = seen.requests
    assert isinstance(request.pop("timestamp"), float)
    assert request == {"keyPath": ["a"], "valueToMerge": {"n": 1}}


def test_follower_of_the_configuration_may_read_it(personality: Personality) -> None:
    """It is called on a thread of its own."""
    changes = Seen(is_subscription=True)
    values = Seen({"componentName": "Component", "value": {"n": 1}})
    operations = {
        "SubscribeToConfigurationUpdate": changes.operation,
        "GetConfiguration": values.operation,
    }
    with (
        running_server(personality, operations) as server,
        closing(device_of(server)) as device,
    ):
        read: list[Json] = []
        following = device.follow_configuration(lambda: read.append(device.get_configuration()))
        assert changes.requests == [{}]
        event = {"configurationUpdateEvent": {"componentName": "Component", "keyPath": ["n"]}}
        for _ in range(2):
            server.call(lambda: changes.streams[0].send("ConfigurationUpdateEvents", event))
        wait_until(lambda: len(read) == 2)
        assert read == [{"n": 1}] * 2
        following.close()
        wait_until(lambda: "follow configuration" not in names_of_threads())


def names_of_threads() -> set[str]:
    return {thread.name for thread in threading.enumerate()}


def test_end_of_what_is_followed_is_told() -> None:
    """Where someone wants to know."""
    operations = {"SubscribeToConfigurationUpdate": Seen(is_subscription=True).operation}
    recorder = Recorder()
    with (
        running_server(CLASSIC, operations) as server,
        closing(device_of(server)) as device,
    ):
        device.follow_configuration(lambda: None, recorder.lost)
        device.follow_configuration(lambda: None)
        server.stop()
        assert isinstance(recorder.wait_error(), ConnectionLostError)
        wait_until(lambda: "follow configuration" not in names_of_threads())


def test_state_is_reported(personality: Personality) -> None:
    """Both that a component may report."""
    seen = Seen()
    with (
        running_server(personality, {"UpdateState": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        device.report_running()
        device.report_errored()
    assert seen.requests == [{"state": "RUNNING"}, {"state": "ERRORED"}]


@pytest.mark.parametrize(
    ("answer", "recheck_after_ms"), [(lambda: 500, 500), (lambda: 0, 0), (lambda: 1 / 0, 0)]
)
def test_update_is_answered(answer: Callable[[], int], recheck_after_ms: int) -> None:
    """On a thread of its own; silence would hold up every deployment."""
    asked, updates, deferred = [], Seen(is_subscription=True), Seen()

    def ask(deployment_id: str) -> int:
        asked.append(deployment_id)
        return answer()

    operations = {
        "SubscribeToComponentUpdates": updates.operation,
        "DeferComponentUpdate": deferred.operation,
    }
    with (
        running_server(CLASSIC, operations) as server,
        closing(device_of(server)) as device,
    ):
        device.follow_updates(ask)
        stream, name = updates.streams[0], "ComponentUpdatePolicyEvents"
        before = {"preUpdateEvent": {"deploymentId": "d1", "isGgcRestarting": False}}
        server.call(lambda: stream.send(name, {"postUpdateEvent": {"deploymentId": "d0"}}))
        server.call(lambda: stream.send(name, before))
        wait_until(lambda: deferred.requests)
    assert asked == ["d1"]
    assert deferred.requests == [{"deploymentId": "d1", "recheckAfterMs": recheck_after_ms}]


def test_answer_that_is_too_late_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """The nucleus went ahead; nothing else can be done."""
    updates = Seen(is_subscription=True)
    operations = {
        "SubscribeToComponentUpdates": updates.operation,
        "DeferComponentUpdate": Operation(refuse("ServiceError", "too late")),
    }
    with (
        running_server(CLASSIC, operations) as server,
        closing(device_of(server)) as device,
    ):
        device.follow_updates(lambda _deployment_id: 1)
        event = {"preUpdateEvent": {"deploymentId": "d1", "isGgcRestarting": False}}
        server.call(lambda: updates.streams[0].send("ComponentUpdatePolicyEvents", event))
        wait_until(lambda: "the nucleus did not take our answer" in caplog.text)


def test_updates_cannot_be_followed_on_lite() -> None:
    """It asks nobody; the refusal is an error of its own kind, for the caller to pass over."""
    with (
        running_server(LITE) as server,
        closing(device_of(server)) as device,
        pytest.raises(OperationRefusedError),
    ):
        device.follow_updates(lambda _deployment_id: 0)


def test_component_is_restarted(personality: Personality) -> None:
    """A nucleus may also answer that it failed."""
    seen = Seen({"restartStatus": "SUCCEEDED"})
    with (
        running_server(personality, {"RestartComponent": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        device.restart_component("Other")
        assert seen.requests == [{"componentName": "Other"}]
        seen.response = {"restartStatus": "FAILED"}
        text = r"^restart of Other: got a failure, expected success$"
        with pytest.raises(OperationRefusedError, match=text):
            device.restart_component("Other")


def test_deployment_is_asked_for(personality: Personality) -> None:
    """All fields go out as they were given; its id comes back."""
    seen = Seen({"deploymentId": "d1"})
    request = {
        "rootComponentVersionsToAdd": {"A": "1.0.0"},
        "rootComponentsToRemove": ["B"],
        "componentToConfiguration": {"A": {"MERGE": {"x": {"y": [1, None]}}, "RESET": ["/z"]}},
        "recipeDirectoryPath": "/recipes",
        "artifactsDirectoryPath": "/artifacts",
        "failureHandlingPolicy": "DO_NOTHING",
    }
    with (
        running_server(personality, {"CreateLocalDeployment": seen.operation}) as server,
        closing(device_of(server)) as device,
    ):
        assert device.create_local_deployment(request) == "d1"
    assert seen.requests == [request]


def test_deployment_that_is_too_large_is_not_sent() -> None:
    """Nucleus lite would close the connection."""
    with (
        running_server(LITE) as server,
        closing(connect(str(server.path), server.token(), max_packet_bytes=10_000)) as device,
        pytest.raises(MessageTooLargeError, match=r"^deployment: got \d+ bytes, expected at most"),
    ):
        device.create_local_deployment({"componentToConfiguration": {"A": {"x": "x" * 10_000}}})


def test_message_goes_to_and_comes_from_the_cloud() -> None:
    """As bytes, at least once."""
    out, back = Seen(), Seen(is_subscription=True)
    operations = {"PublishToIoTCore": out.operation, "SubscribeToIoTCore": back.operation}
    with (
        running_server(LITE, operations) as server,
        closing(device_of(server)) as device,
    ):
        device.publish_to_iot_core("cloud", b"\0\0\0")
        assert out.requests == [{"topicName": "cloud", "qos": "1", "payload": "AAAA"}]
        seen: list[tuple[str, bytes]] = []
        device.watch(
            "cloud/#",
            lambda topic, payload: seen.append((topic, payload)),
            lambda _error: None,
            iot_core=True,
        )
        assert back.requests == [{"topicName": "cloud/#", "qos": "1"}]
        event = {"message": {"topicName": "cloud/1", "payload": "AAAA"}}
        server.call(lambda: back.streams[0].send("IoTCoreMessage", event))
        wait_until(lambda: seen)
        assert seen == [("cloud/1", b"\0\0\0")]


def test_call_without_an_answer_ends_at_its_deadline(tmp_path: Path) -> None:
    """The SDK itself would wait for ever."""
    go = threading.Event()

    def run(_caller: Caller, _request: Json, _stream: Stream) -> Json:
        go.wait(WAIT_S)
        return {}

    with running_server(CLASSIC, {"UpdateState": Operation(run)}) as server:
        with closing(connect(str(server.path), server.token(), 0.3)) as device:
            text = r"^report of RUNNING: got no answer in 0\.3 s, expected one$"
            with pytest.raises(TransportTimeoutError, match=text):
                device.report_running()
        go.set()


# --- every error of the SDK -----------------------------------------------------------------------


def families() -> list[type[Exception]]:
    """All exceptions that the SDK defines."""
    found = [
        it
        for module in (rpc, model)
        for it in vars(module).values()
        if isinstance(it, type) and issubclass(it, Exception)
    ]
    assert len(found) > 15
    return found


@pytest.mark.parametrize("family", families(), ids=lambda it: it.__name__)
def test_every_error_of_the_sdk_is_one_of_ours(family: type[Exception]) -> None:
    """And its text says what happened and where, without a payload."""
    found = greengrass._explain(family(), "somewhere", None)
    assert isinstance(found, TransportError)
    expected = {
        model.UnauthorizedError: NotPermittedError,
        rpc.ConnectionClosedError: ConnectionLostError,
        rpc.StreamClosedError: ConnectionLostError,
        rpc.EventStreamError: ConnectionLostError,
    }.get(family, OperationRefusedError)
    assert type(found) is expected
    assert str(found).startswith("somewhere: got ")


# --- with the bridge ------------------------------------------------------------------------------


def test_bridge_answers_over_a_core_device(server: RunningServer, device: CoreDevice) -> None:
    """From request to reply and to the end, by the real client."""
    end, results = Recorder(), Recorder()
    bridge = Bridge(device, "requests", Echo(), Limits(), end.lost)
    bridge.open()
    with closing(device_of(server)) as requester:
        requester.subscribe("results/me", results.deliver, results.lost)
        for i in range(50):
            requester.publish("requests", b"me %d" % i)
        assert results.wait_payloads(50) == [b"answer me %d" % i for i in range(50)]
        wait_until(lambda: bridge.pending == 0)
        server.stop()
        assert isinstance(end.wait_error(), ConnectionLostError)
    assert bridge.close(WAIT_S)
    assert len(end.errors) == 1
