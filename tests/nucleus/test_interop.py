"""The unmodified client of AWS against the server, as components use it."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Queue
from typing import Any

import pytest
from awscrt.exceptions import AwsCrtError
from awsiot.eventstreamrpc import (
    AccessDeniedError,
    ConnectionClosedError,
    LifecycleHandler,
    StreamClosedError,
    UnmappedDataError,
)
from awsiot.greengrasscoreipc import connect, model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from nucleus.operation import Caller, IpcError, Json, Operation, Stream
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.conftest import PATIENCE_S, RunningServer, running_server

MODELLED = (
    "ConflictError",
    "FailedUpdateConditionCheckError",
    "InvalidArgumentsError",
    "ResourceNotFoundError",
    "ServiceError",
    "UnauthorizedError",
)


def get_configuration(caller: Caller, request: Json, stream: Stream) -> Json:
    """Raises the error that the component's name asks for."""
    code = request["componentName"]
    if code == "fault":
        raise RuntimeError("a fault of the device")
    raise IpcError(code, "the reason", {"resourceName": "x"})


class Lifecycle(LifecycleHandler):  # type: ignore[misc]  # awsiotsdk has no types
    """Says when the connection has gone, and why."""

    def __init__(self) -> None:
        self.gone = threading.Event()
        self.reason: Exception | None = None

    def on_disconnect(self, reason: Exception | None, **_: Any) -> None:
        self.reason = reason
        self.gone.set()


class Component:
    """A client, and what it hears."""

    def __init__(self, server: RunningServer, name: str) -> None:
        self.lifecycle = Lifecycle()
        connection = connect(
            ipc_socket=str(server.path),
            authtoken=server.token(name),
            lifecycle_handler=self.lifecycle,
        )
        # Without an executor, events come in their order.
        self.client = GreengrassCoreIPCClientV2(client=connection, executor=None)
        self.heard: Queue[Any] = Queue()
        self.closed = threading.Event()

    def subscribe(self, topic: str, **options: Any) -> Any:
        response, operation = self.client.subscribe_to_topic_async(
            topic=topic,
            on_stream_event=self.heard.put,
            on_stream_closed=self.closed.set,
            **options,
        )
        response.result(PATIENCE_S)
        return operation

    def publish(self, topic: str, payload: bytes) -> None:
        message = model.PublishMessage(binary_message=model.BinaryMessage(message=payload))
        self.client.publish_to_topic_async(topic=topic, publish_message=message).result(PATIENCE_S)

    def publish_json(self, topic: str, value: Any) -> None:
        message = model.PublishMessage(json_message=model.JsonMessage(message=value))
        self.client.publish_to_topic_async(topic=topic, publish_message=message).result(PATIENCE_S)

    def hear(self) -> Any:
        return self.heard.get(timeout=PATIENCE_S)


@pytest.fixture
def server(personality: Personality) -> Iterator[RunningServer]:
    operations = {"GetConfiguration": Operation(get_configuration)}
    with running_server(personality, operations) as running:
        yield running


@contextmanager
def component(server: RunningServer, name: str = "A") -> Iterator[Component]:
    found = Component(server, name)
    try:
        yield found
    finally:
        found.client.close().result(PATIENCE_S)


# --- connecting -----------------------------------------------------------------------------------


def test_connection_is_made_and_ended_by_the_client(server: RunningServer) -> None:
    """The server notices its end."""
    with component(server):
        assert server.call(lambda: server.server.n_connections) == 1
    server.wait_for(lambda: server.server.n_connections == 0)


def test_refusal_of_classic_is_access_denied() -> None:
    """Each time: the last word is read before the connection ends."""
    with running_server(CLASSIC) as server:
        for _ in range(5):
            with pytest.raises(AccessDeniedError):
                connect(ipc_socket=str(server.path), authtoken="nobody's")


def test_refusal_of_lite_is_a_closed_socket() -> None:
    """Which might be anything."""
    with running_server(LITE) as server, pytest.raises(AwsCrtError) as error:
        connect(ipc_socket=str(server.path), authtoken="nobody's")
    assert (error.value.code, error.value.name) == (1051, "AWS_IO_SOCKET_CLOSED")


def test_token_of_a_device_that_has_restarted_is_refused(server: RunningServer) -> None:
    """A component that survives it can never connect again."""
    old = server.token("A")
    with (
        running_server(server.personality) as restarted,
        pytest.raises((AccessDeniedError, AwsCrtError)),
    ):
        connect(ipc_socket=str(restarted.path), authtoken=old)


# --- publish and subscribe ------------------------------------------------------------------------


def test_binary_message_arrives_as_it_was_sent(server: RunningServer) -> None:
    """From one component to another."""
    with component(server, "A") as a, component(server, "B") as b:
        b.subscribe("a/+")
        a.publish("a/b", b"\x00\xff")
        event = b.hear()
    assert event.binary_message.message == b"\x00\xff"
    assert event.binary_message.context.topic == "a/b"
    assert event.json_message is None


def test_json_message_arrives_with_the_numbers_of_its_nucleus(server: RunningServer) -> None:
    """Integers become doubles on classic."""
    with component(server) as a:
        a.subscribe("a")
        a.publish_json("a", {"x": 1, "y": "é"})
        event = a.hear()
    number = "1.0" if server.personality is CLASSIC else "1"
    assert repr(event.json_message.message) == f"{{'x': {number}, 'y': 'é'}}"
    assert event.json_message.context.topic == "a"


def test_event_with_nan_is_lost_on_classic() -> None:
    """The publisher sees success, the next one arrives; lite refuses it."""
    with running_server(CLASSIC) as server, component(server) as a:
        a.subscribe("a")
        a.publish_json("a", {"x": float("nan")})
        a.publish("a", b"next")
        assert a.hear().binary_message.message == b"next"
    with (
        running_server(LITE) as server,
        component(server) as a,
        pytest.raises(model.ServiceError),
    ):
        a.publish_json("a", {"x": float("nan")})


def test_order_is_kept(server: RunningServer) -> None:
    """Where the client's own executor does not lose it."""
    with component(server, "A") as a, component(server, "B") as b:
        b.subscribe("a")
        for i in range(200):
            a.publish("a", str(i).encode())
        found = [int(b.hear().binary_message.message) for _ in range(200)]
    assert found == list(range(200))


def test_closing_the_stream_ends_the_subscription(server: RunningServer) -> None:
    """And the connection stays."""
    with component(server) as a:
        operation = a.subscribe("a")
        assert server.call(lambda: server.pubsub.n_subscriptions) == 1
        operation.close().result(PATIENCE_S)
        server.wait_for(lambda: server.pubsub.n_subscriptions == 0)
        a.publish("a", b"x")
        assert a.heard.empty()


def test_end_of_the_server_is_seen_by_its_clients(server: RunningServer) -> None:
    """As a closed stream and a lost connection; later calls fail at once."""
    a = Component(server, "A")
    a.subscribe("a")
    server.stop()
    assert a.closed.wait(PATIENCE_S)
    assert a.lifecycle.gone.wait(PATIENCE_S)
    assert isinstance(a.lifecycle.reason, AwsCrtError)
    assert a.lifecycle.reason.code == 1051
    with pytest.raises(ConnectionClosedError):
        a.publish("a", b"x")


# --- errors ---------------------------------------------------------------------------------------


def ask(server: RunningServer, name: str) -> None:
    with component(server) as a:
        a.client.get_configuration_async(component_name=name).result(PATIENCE_S)


@pytest.mark.parametrize("code", MODELLED)
def test_modelled_error_is_the_class_of_its_name(server: RunningServer, code: str) -> None:
    """With its text on classic; lite gives none that the client reads."""
    with pytest.raises(getattr(model, code)) as error:
        ask(server, code)
    expected = "the reason" if server.personality is CLASSIC else None
    assert error.value.message == expected
    if code == "ResourceNotFoundError" and server.personality is CLASSIC:
        assert error.value.resource_name == "x"


def test_error_that_the_client_does_not_know_is_unmapped(server: RunningServer) -> None:
    """Newer nuclei may have some."""
    with pytest.raises(UnmappedDataError):
        ask(server, "BrandNewError")


def test_fault_of_the_device_is_a_closed_stream_on_classic(server: RunningServer) -> None:
    """And an empty ServiceError on lite."""
    expected = StreamClosedError if server.personality is CLASSIC else model.ServiceError
    with pytest.raises(expected):
        ask(server, "fault")


def test_absent_operation_is_a_service_error(server: RunningServer) -> None:
    """On both, with a text on classic."""
    with component(server) as a, pytest.raises(model.ServiceError) as error:
        a.client.get_secret_value_async(secret_id="x").result(PATIENCE_S)
    text = "Operation aws.greengrass#GetSecretValue is not supported by Greengrass"
    assert error.value.message == (text if server.personality is CLASSIC else None)


def test_refused_subscription_raises(personality: Personality) -> None:
    """As any operation does."""

    def deny(component: str, service: str, operation: str, resource: str) -> None:
        raise IpcError("UnauthorizedError", "no policy")

    with (
        running_server(personality, authorize=deny) as server,
        component(server) as a,
        pytest.raises(model.UnauthorizedError),
    ):
        a.subscribe("a")


# --- sizes ----------------------------------------------------------------------------------------


def test_17_mib_pass_through_classic() -> None:
    """With base64 that is nearly the 24 MiB of a packet."""
    payload = bytes(range(256)) * (17 * 1024 * 4)
    with running_server(CLASSIC) as server, component(server) as a:
        a.subscribe("a")
        a.publish("a", payload)
        assert a.hear().binary_message.message == payload


def largest(fits: Callable[[int], bool], low: int, high: int) -> int:
    """The largest number that fits; `low` does, `high` does not."""
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def test_lite_takes_what_was_seen_and_then_closes() -> None:
    """The largest payload on a running lite had about 7 300 bytes; more loses the connection."""
    with running_server(LITE) as server:

        def fits(n_bytes: int) -> bool:
            a = Component(server, "A")
            try:
                a.publish("a", bytes(n_bytes))
            except StreamClosedError:
                assert a.lifecycle.gone.wait(PATIENCE_S)
                return False
            a.client.close().result(PATIENCE_S)
            return True

        assert 7_200 < largest(fits, 7_000, 7_500) < 7_400


def test_connection_lost_to_a_large_message_loses_its_subscriptions() -> None:
    """On lite; other components do not notice."""
    with running_server(LITE) as server, component(server, "B") as b:
        b.subscribe("a")
        a = Component(server, "A")
        a.subscribe("b")
        with pytest.raises(StreamClosedError):
            a.publish("a", bytes(8_000))
        assert a.closed.wait(PATIENCE_S)
        server.wait_for(lambda: server.pubsub.n_subscriptions == 1)
        b.publish("a", b"still here")
        assert b.hear().binary_message.message == b"still here"
