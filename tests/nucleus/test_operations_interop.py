"""The operations as the unmodified client of AWS meets them, on both nuclei."""

import asyncio
import datetime as dt
import queue
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from awsiot.greengrasscoreipc import connect, model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from nucleus.authorization import CLI, MQTT_PROXY, PUBSUB, Authorization
from nucleus.configuration import ConfigurationStore
from nucleus.operations.configuration import configuration_operations
from nucleus.operations.lifecycle import UpdateNotices, lifecycle_operations
from nucleus.operations.mqtt import MqttProxy
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.conftest import RunningServer, running_server

PATIENCE_S = 20.0
EVERYTHING = {"1": {"operations": ["*"], "resources": ["*"]}}


class Components:
    """Keeps what it is told; knows A alone."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def report(self, component: str, state: str) -> None:
        self.told.append(("report", component, state))

    def restart(self, component: str) -> None:
        if component != "A":
            raise KeyError(component)
        self.told.append(("restart", component))


class Device:
    """A server with all that this module is about; component A may do everything."""

    def __init__(self, personality: Personality) -> None:
        self.personality = personality
        self.authorization = Authorization(personality)
        self.store = ConfigurationStore()
        self.components = Components()
        self.notices = UpdateNotices()
        self.mqtt = MqttProxy(self.authorization, personality)
        self.operations = {
            **configuration_operations(self.store, personality),
            **lifecycle_operations(self.components, self.notices, self.authorization, personality),
            **self.mqtt.operations(),
        }
        self.store.follow_policies(self.authorization.load)
        policies = dict.fromkeys((PUBSUB, MQTT_PROXY, CLI), EVERYTHING)
        settings = {"limits": {"rows": 100}, "topics": ["a", "b"]}
        defaults: dict[str, Any] = {"accessControl": policies, "settings": settings}
        self.store.open("A").apply(defaults, [], {}, 1_000)
        self.store.open("B").apply({"x": "y"}, [], {}, 1_000)

    @contextmanager
    def serve(self) -> Iterator[RunningServer]:
        authorize = self.authorization.check
        with running_server(self.personality, self.operations, authorize=authorize) as running:
            yield running


@contextmanager
def client_of(running: RunningServer, component: str) -> Iterator[Any]:
    """The client of a component, which hears one thing after the other."""
    with ThreadPoolExecutor(max_workers=1) as executor:
        connection = connect(
            ipc_socket=str(running.path), authtoken=running.token(component), timeout=PATIENCE_S
        )
        client = GreengrassCoreIPCClientV2(client=connection, executor=executor)
        try:
            yield client
        finally:
            client.close(executor_wait=True).result(PATIENCE_S)


@pytest.fixture
def device(personality: Personality) -> Device:
    return Device(personality)


@pytest.fixture
def running(device: Device) -> Iterator[RunningServer]:
    with device.serve() as running:
        yield running


@pytest.fixture
def a(running: RunningServer) -> Iterator[Any]:
    with client_of(running, "A") as client:
        yield client


@pytest.fixture
def b(running: RunningServer) -> Iterator[Any]:
    with client_of(running, "B") as client:
        yield client


def at(seconds: float) -> dt.datetime:
    return dt.datetime.fromtimestamp(seconds, dt.UTC)


# --- configuration --------------------------------------------------------------------------------


def test_a_component_reads_configurations(a: Any, b: Any) -> None:
    """Maps and leaves, its own and those of others; without a policy."""
    found = a.get_configuration(key_path=["settings"])
    assert found.component_name == "A"
    assert found.value == {"limits": {"rows": 100}, "topics": ["a", "b"]}
    assert a.get_configuration(key_path=["settings", "topics"]).value == {"topics": ["a", "b"]}
    assert a.get_configuration(component_name="B").value == {"x": "y"}
    other = b.get_configuration(component_name="A", key_path=["settings", "limits", "rows"])
    assert other.value == {"rows": 100}
    with pytest.raises(model.ResourceNotFoundError):
        a.get_configuration(key_path=["no", "such"])


def test_a_component_follows_what_it_writes(a: Any) -> None:
    """It is told where, and reads what."""
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    a.subscribe_to_configuration_update(
        key_path=["settings"],
        on_stream_event=lambda event: told.put(event.configuration_update_event),
    )
    update = {"limits": {"rows": 200}}
    a.update_configuration(key_path=["settings"], timestamp=at(2.5), value_to_merge=update)
    event = told.get(timeout=PATIENCE_S)
    assert (event.component_name, event.key_path) == ("A", ["settings", "limits", "rows"])
    assert a.get_configuration(key_path=["settings"]).value == {
        "limits": {"rows": 200},
        "topics": ["a", "b"],
    }


def test_an_old_update_is_refused_or_ignored(a: Any, personality: Personality) -> None:
    """Classic tells; lite does not."""
    update: dict[str, Any] = {"topics": []}
    if personality is CLASSIC:
        with pytest.raises(model.FailedUpdateConditionCheckError):
            a.update_configuration(key_path=["settings"], timestamp=at(0.5), value_to_merge=update)
    else:
        a.update_configuration(key_path=["settings"], timestamp=at(0.5), value_to_merge=update)
    assert a.get_configuration(key_path=["settings", "topics"]).value == {"topics": ["a", "b"]}


def test_a_component_cannot_write_its_policies(a: Any, b: Any) -> None:
    """On either nucleus."""
    for client in (a, b):
        with pytest.raises(model.InvalidArgumentsError):
            client.update_configuration(timestamp=at(9), value_to_merge={"accessControl": {}})


def test_a_policy_that_a_deployment_brings_counts_at_once(
    device: Device, running: RunningServer, b: Any
) -> None:
    """Without a restart of the component."""

    def publish() -> None:
        message = model.PublishMessage(binary_message=model.BinaryMessage(message=b"x"))
        b.publish_to_topic(topic="a", publish_message=message)

    with pytest.raises(model.UnauthorizedError):
        publish()
    policies = {"accessControl": {PUBSUB: EVERYTHING}}
    running.call(lambda: device.store["B"].apply({}, [], policies, 2_000))
    publish()
    running.call(lambda: device.store["B"].apply({}, ["/accessControl"], {}, 3_000))
    with pytest.raises(model.UnauthorizedError):
        publish()


# --- lifecycles -----------------------------------------------------------------------------------


def test_a_component_reports_its_state(device: Device, a: Any) -> None:
    """Without a policy."""
    a.update_state(state="RUNNING")
    a.update_state(state=model.ReportedLifecycleState.ERRORED)
    assert device.components.told == [("report", "A", "RUNNING"), ("report", "A", "ERRORED")]


def test_another_state_has_the_error_of_its_nucleus(a: Any, personality: Personality) -> None:
    """ServiceError on lite."""
    error = model.ServiceError if personality is LITE else model.InvalidArgumentsError
    with pytest.raises(error):
        a.update_state(state="FINISHED")


def test_a_component_restarts_another_by_policy(device: Device, a: Any, b: Any) -> None:
    """And hears of the result."""
    assert a.restart_component(component_name="A").restart_status == "SUCCEEDED"
    assert device.components.told == [("restart", "A")]
    with pytest.raises(model.ResourceNotFoundError):
        a.restart_component(component_name="C")
    with pytest.raises(model.UnauthorizedError):
        b.restart_component(component_name="A")


def test_a_component_defers_an_update_and_then_agrees() -> None:
    """On classic; it hears when the update has ended."""
    device = Device(CLASSIC)
    told: queue.SimpleQueue[Any] = queue.SimpleQueue()
    with device.serve() as running, client_of(running, "A") as a:
        with pytest.raises(model.InvalidArgumentsError):
            a.defer_component_update(deployment_id="d", recheck_after_ms=0)
        a.subscribe_to_component_updates(on_stream_event=told.put)
        asking = asyncio.run_coroutine_threadsafe(device.notices.ask("d", 600), running.loop)
        for recheck_ms in (1, 0):
            event = told.get(timeout=PATIENCE_S).pre_update_event
            assert (event.deployment_id, event.is_ggc_restarting) == ("d", False)
            a.defer_component_update(deployment_id="d", recheck_after_ms=recheck_ms)
        asking.result(PATIENCE_S)
        with pytest.raises(model.ServiceError):
            a.defer_component_update(deployment_id="d", recheck_after_ms=0)
        running.call(lambda: device.notices.finished("d"))
        assert told.get(timeout=PATIENCE_S).post_update_event.deployment_id == "d"


def test_updates_cannot_be_deferred_on_lite() -> None:
    """The operations are not there, and no update waits for anybody."""
    device = Device(LITE)
    with device.serve() as running, client_of(running, "A") as a:
        with pytest.raises(model.ServiceError):
            a.subscribe_to_component_updates(on_stream_event=print)
        asking = asyncio.run_coroutine_threadsafe(device.notices.ask("d", 600), running.loop)
        asking.result(PATIENCE_S)


# --- IoT Core -------------------------------------------------------------------------------------


def test_a_component_publishes_to_iot_core_and_hears_it(
    device: Device, a: Any, personality: Personality
) -> None:
    """With all fields on classic."""
    heard: queue.SimpleQueue[Any] = queue.SimpleQueue()
    a.subscribe_to_iot_core(topic_name="a/+", qos="1", on_stream_event=heard.put)
    a.publish_to_iot_core(
        topic_name="a/b",
        qos=model.QOS.AT_LEAST_ONCE,
        payload=b"\x00\xff",
        user_properties=[model.UserProperty(key="k", value="v")],
        correlation_data=b"\x01",
        response_topic="r",
        content_type="text/plain",
        message_expiry_interval_seconds=60,
        payload_format=model.PayloadFormat.UTF8,
        retain=True,
    )
    message = heard.get(timeout=PATIENCE_S).message
    assert (message.topic_name, message.payload) == ("a/b", b"\x00\xff")
    rest = (message.correlation_data, message.response_topic, message.content_type, message.retain)
    if personality is LITE:
        assert rest == (None, None, None, None)
    else:
        assert rest == (b"\x01", "r", "text/plain", True)
        assert [(it.key, it.value) for it in message.user_properties] == [("k", "v")]
        assert (message.payload_format, message.message_expiry_interval_seconds) == ("1", 60)
    assert [seen.publisher for seen in device.mqtt.recent] == ["A"]


def test_iot_core_wants_a_policy_and_a_topic_that_it_takes(a: Any, b: Any) -> None:
    """As the classes of errors tell."""
    with pytest.raises(model.UnauthorizedError):
        b.publish_to_iot_core(topic_name="a", qos="0", payload=b"x")
    with pytest.raises(model.UnauthorizedError):
        b.subscribe_to_iot_core(topic_name="a", qos="0", on_stream_event=print)
    with pytest.raises(model.ServiceError):
        a.publish_to_iot_core(topic_name="a/+", qos="0", payload=b"x")


def test_a_closed_stream_hears_nothing_more(device: Device, running: RunningServer, a: Any) -> None:
    """And leaves nothing behind on the device."""
    _, operation = a.subscribe_to_iot_core(topic_name="a", qos="0", on_stream_event=print)
    _, other = a.subscribe_to_configuration_update(on_stream_event=print)
    assert running.call(lambda: len(device.mqtt._subscriptions)) == 1
    for it in (operation, other):
        it.close().result(PATIENCE_S)
    running.wait_for(lambda: not device.mqtt._subscriptions)
    running.wait_for(lambda: not device.store["A"]._subscriptions)
