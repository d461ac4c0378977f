"""The component with a real connection to a socket in this process."""

import asyncio
import contextlib
import logging
import queue
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from container import component as component_module
from container.component import STOPPED, Component
from container.settings import Settings
from interface.errors import ConnectionLostError
from interface.greengrass import CoreDevice, connect
from nucleus.personality import CLASSIC, LITE, PERSONALITIES, Personality
from tests.conftest import Packed
from tests.container.served import NAME, PATIENCE_S, Served, in_thread, served

FIELDS = {
    "ready",
    "model",
    "engine",
    "uptimeSeconds",
    "waiting",
    "maxWaiting",
    "served",
    "refused",
    "failed",
    "latencyMs",
    "lastError",
    "residentBytes",
}
"""Of docs/requests.md, 9.2."""

PUBSUB = "aws.greengrass.ipc.pubsub"


@pytest.fixture(params=sorted(PERSONALITIES))
def personality(request: pytest.FixtureRequest) -> Personality:
    """Each nucleus."""
    return PERSONALITIES[request.param]


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """The component configures the root logger; here it gets back what it had."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[logging.LogRecord]:
    """What the component logs, whatever happens to the root logger."""
    keeper = _Keeper()
    monkeypatch.setattr(logging.getLogger("container.component"), "handlers", [keeper])
    return keeper.records


class _Keeper(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def texts(records: list[logging.LogRecord]) -> list[str]:
    return [record.getMessage() for record in records]


def error_of(records: list[logging.LogRecord], text: str) -> tuple[str, str]:
    """Code and error of the records with a text, which are all the same."""
    with_text = [vars(record) for record in records if record.getMessage() == text]
    (found,) = {(it["code"], it["error"]) for it in with_text}
    return found


@contextlib.contextmanager
def running(packed: Packed, device: Served) -> Iterator["queue.Queue[int]"]:
    """A component that runs, and where its exit code will be."""
    component = Component(packed.bundle, Settings(), device.connect)
    with in_thread(component.run, component.stop) as codes:
        yield codes


def policies(*, subscribe: list[str], publish: list[str]) -> dict[str, Any]:
    return {
        PUBSUB: {
            "1": {"operations": ["aws.greengrass#SubscribeToTopic"], "resources": subscribe},
            "2": {"operations": ["aws.greengrass#PublishToTopic"], "resources": publish},
        }
    }


# --- from start to end ----------------------------------------------------------------------------


def test_component_reports_running_once_it_hears(mixed: Packed, personality: Personality) -> None:
    """Configuration, subscription, probes of both topics, followers; RUNNING comes last."""
    with served(personality) as device, running(mixed, device) as codes:
        device.wait_running()
        begun = [call for call in device.calls if call[0] != "GetConfiguration"]
        followers = [("SubscribeToConfigurationUpdate", "")]
        if personality is CLASSIC:  # lite asks nobody about updates
            followers.append(("SubscribeToComponentUpdates", ""))
        assert device.calls[0] == ("GetConfiguration", "")
        assert begun == [
            ("SubscribeToTopic", "edgexgb/requests"),
            ("PublishToTopic", "edgexgb/requests"),
            ("PublishToTopic", "edgexgb/results/probe"),
            *followers,
            ("UpdateState", "RUNNING"),
        ]
        assert device.reports == ["RUNNING"]
        assert codes.empty()


def test_request_is_answered(mixed: Packed, personality: Personality) -> None:
    """With what the bundle itself predicts."""
    with served(personality) as device, running(mixed, device):
        device.wait_running()
        with device.asking() as ask:
            reply = ask({"id": 7, "records": [mixed.rows[0]]})
    assert (reply["id"], reply["statusCode"]) == (7, 200)
    assert reply["body"]["predictions"] == list(mixed.bundle.predict(mixed.rows[:1]).predictions)


def test_stop_ends_it(mixed: Packed) -> None:
    """With a code of its own, and no connection left."""
    with served(CLASSIC) as device:
        component = Component(mixed.bundle, Settings(), device.connect)
        with in_thread(component.run, component.stop) as codes:
            device.wait_running()
            component.stop()
            assert codes.get(timeout=PATIENCE_S) == STOPPED
        device.server.wait_for(lambda: device.server.server.n_connections == 0)


def test_stop_before_there_is_a_connection_ends_it(mixed: Packed) -> None:
    """It does not wait for the retries to be over."""

    def refuse() -> CoreDevice:
        raise ConnectionLostError("nobody is there")

    component = Component(mixed.bundle, Settings(), refuse)
    with in_thread(component.run, component.stop) as codes:
        component.stop()
        assert codes.get(timeout=PATIENCE_S) == STOPPED


# --- what cannot be healed ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscribe", "publish"),
    [([], ["edgexgb/*"]), (["edgexgb/requests"], ["edgexgb/results"])],
    ids=["subscribe", "probe"],
)
def test_missing_permission_ends_it_at_once(
    subscribe: list[str],
    publish: list[str],
    mixed: Packed,
    personality: Personality,
    messages: list[logging.LogRecord],
) -> None:
    """Only a deployment can give it; never RUNNING and deaf."""
    access = policies(subscribe=subscribe or ["nothing"], publish=publish)
    with (
        served(personality, access_control=access) as device,
        running(mixed, device) as codes,
    ):
        assert codes.get(timeout=PATIENCE_S) == 1
        assert device.reports == []
    code, error = error_of(messages, "giving up")
    assert code == "not_permitted"
    assert "edgexgb/requests" in error


def test_bad_configuration_ends_it_and_names_the_key(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """The deployment fails, and the log says which key."""
    with served(CLASSIC, maxRows="many") as device, running(mixed, device) as codes:
        assert codes.get(timeout=PATIENCE_S) == 1
        assert device.reports == []
    assert error_of(messages, "giving up") == (
        "settings",
        "maxRows: got 'many', expected a whole number of at least 1",
    )


def test_refused_token_ends_it_at_once(mixed: Packed, messages: list[logging.LogRecord]) -> None:
    """Only a new start gets another token."""
    with served(CLASSIC) as device:
        component = Component(
            mixed.bundle, Settings(), lambda: connect(str(device.server.path), "X" * 16)
        )
        with in_thread(component.run, component.stop) as codes:
            assert codes.get(timeout=PATIENCE_S) == 1
    assert error_of(messages, "giving up")[0] == "token_refused"
    assert "trying again" not in texts(messages)


def test_lost_connection_is_given_up_after_a_while(
    mixed: Packed, messages: list[logging.LogRecord], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the nucleus starts another process, which gets another token."""
    monkeypatch.setattr(component_module, "RETRY_FOR_S", 0.5)
    with served(CLASSIC) as device, running(mixed, device) as codes:
        device.wait_running()
        device.server.stop()
        assert codes.get(timeout=PATIENCE_S) == 1
    assert texts(messages).count("trying again") >= 1
    assert error_of(messages, "giving up")[0] == "connection_lost"


# --- what can -------------------------------------------------------------------------------------


def test_lost_connection_is_made_again(
    mixed: Packed, personality: Personality, messages: list[logging.LogRecord]
) -> None:
    """Within the same process, and requests are answered again."""
    with served(personality) as device, running(mixed, device) as codes:
        device.wait_running()
        device.drop_connections()
        device.wait_running(2)
        with device.asking() as ask:
            assert ask({"id": 1, "records": [mixed.rows[0]]})["statusCode"] == 200
        assert codes.empty()
    assert texts(messages).count("trying again") == 1


def test_late_loss_gets_all_its_retries(mixed: Packed, monkeypatch: pytest.MonkeyPatch) -> None:
    """How long the component ran before must not count against them."""
    monkeypatch.setattr(component_module, "RETRY_FOR_S", 0.0)
    with served(CLASSIC) as device, running(mixed, device) as codes:
        device.wait_running()
        device.drop_connections()
        device.wait_running(2)
        assert codes.empty()


# --- configuration --------------------------------------------------------------------------------


def test_configuration_is_followed(
    mixed: Packed, personality: Personality, messages: list[logging.LogRecord]
) -> None:
    """Other topics and limits from the next request on, without a restart."""
    with served(personality) as device, running(mixed, device):
        device.wait_running()
        with device.asking("other/results") as ask:
            device.configure(requestTopic="other/requests", resultTopic="other/results")
            device.server.wait_for(lambda: "configuration changed" in texts(messages))
            event = {"id": 1, "records": [mixed.rows[0]] * 2}
            assert ask(event, "other/requests")["statusCode"] == 200
            device.configure(maxRows=1)
            device.server.wait_for(lambda: texts(messages).count("configuration changed") == 2)
            assert ask(event, "other/requests")["statusCode"] == 413
    assert device.reports == ["RUNNING"]


def test_bad_change_of_configuration_is_not_adopted(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """It serves on as before, and says what is wrong."""
    with served(CLASSIC) as device, running(mixed, device):
        device.wait_running()
        device.configure(resultTopic="edgexgb/requests")
        device.server.wait_for(lambda: "keeping the configuration" in texts(messages))
        with device.asking() as ask:
            assert ask({"id": 1, "records": [mixed.rows[0]]})["statusCode"] == 200
    assert error_of(messages, "keeping the configuration")[1].startswith("resultTopic: got")


def test_change_to_a_topic_without_permission_is_not_adopted(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """Whoever changes a topic changes `accessControl` first."""
    access = policies(
        subscribe=["edgexgb/requests"], publish=["edgexgb/requests", "edgexgb/results"]
    )
    with served(CLASSIC, access_control=access) as device, running(mixed, device):
        device.wait_running()
        device.configure(requestTopic="other")
        device.server.wait_for(lambda: "keeping the configuration" in texts(messages))
        with device.asking() as ask:
            assert ask({"id": 1, "records": [mixed.rows[0]]})["statusCode"] == 200
    assert error_of(messages, "keeping the configuration")[0] == "not_permitted"


def test_component_that_may_not_reply_never_runs(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """It would hear requests, and answer nobody."""
    access = policies(subscribe=["edgexgb/requests"], publish=["edgexgb/requests"])
    with served(CLASSIC, access_control=access) as device, running(mixed, device) as codes:
        assert codes.get(timeout=PATIENCE_S) == 1
    assert error_of(messages, "giving up")[0] == "not_permitted"
    assert device.reports == []


def test_change_just_before_it_follows_is_not_missed(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """Between the first look at the configuration and the subscription to its changes."""
    with served(CLASSIC) as device:
        taken = device.server.server._service.operations["SubscribeToConfigurationUpdate"]

        def change_first(*arguments: Any) -> Any:
            device.store.open(NAME).merge((), {"resultTopic": "other"}, 10**13)
            return taken.run(*arguments)

        operations: Any = device.server.server._service.operations
        operations["SubscribeToConfigurationUpdate"] = replace(taken, run=change_first)
        with running(mixed, device):
            device.wait_running()
            device.server.wait_for(lambda: "configuration changed" in texts(messages))
            with device.asking("other") as ask:
                assert ask({"id": 1, "records": [mixed.rows[0]]})["statusCode"] == 200


# --- updates --------------------------------------------------------------------------------------


def test_idle_component_lets_an_update_pass(mixed: Packed) -> None:
    """At once: silence would hold it up for the whole of the time allowed."""
    with served(CLASSIC) as device, running(mixed, device):
        device.wait_running()
        asked = device.notices.ask("deployment", PATIENCE_S)
        asyncio.run_coroutine_threadsafe(asked, device.server.loop).result(PATIENCE_S / 2)
        assert ("DeferComponentUpdate", "") in device.calls


def test_lite_has_no_updates_to_defer(mixed: Packed, messages: list[logging.LogRecord]) -> None:
    """It serves nevertheless."""
    with served(LITE) as device, running(mixed, device):
        device.wait_running()
    assert "updates cannot be deferred here" in texts(messages)


# --- health ---------------------------------------------------------------------------------------


def counted(ask: Callable[..., dict[str, Any]], n_requests: int) -> dict[str, Any]:
    """The reply about health once so many requests are counted: just after their replies."""
    for _ in range(1000):
        reply: dict[str, Any] = ask({"id": "health", "op": "health"})
        if reply["body"]["served"] + sum(reply["body"]["refused"].values()) >= n_requests:
            return reply
    raise AssertionError(f"{n_requests} requests are not counted: {reply}")


def test_health_is_answered_on_the_bus(mixed: Packed, personality: Personality) -> None:
    """With what became of the requests before it (requests 9.2)."""
    with served(personality, maxWaitingRequests=7) as device, running(mixed, device):
        device.wait_running()
        with device.asking() as ask:
            ask({"id": 1, "records": list(mixed.rows[:2])})
            ask({"id": 2, "records": [{"size": "acid"}]})
            ask({"id": 3, "op": "no such"})
            reply = counted(ask, 3)
    body = reply["body"]
    assert (reply["id"], reply["statusCode"]) == ("health", 200)
    assert set(body) == FIELDS
    manifest = mixed.manifest
    assert body["model"] == {
        "name": manifest.name,
        "version": manifest.version,
        "digest": mixed.bundle.digest,
    }
    assert (body["ready"], body["engine"]) == (True, mixed.bundle.engine)
    assert (body["waiting"], body["maxWaiting"]) == (0, 7)
    assert body["served"] == 1
    assert body["refused"] == {"malformed_request": 1, "missing_feature": 1}
    assert (body["failed"], body["lastError"]) == (0, None)
    assert 0 < body["latencyMs"]["p50"] <= body["latencyMs"]["p99"]
    assert body["residentBytes"] > 10**6
    assert body["uptimeSeconds"] >= 0


def test_health_survives_a_lost_connection(mixed: Packed) -> None:
    """Counts go on, and the loss is the last error."""
    with served(CLASSIC) as device, running(mixed, device):
        device.wait_running()
        with device.asking() as ask:
            ask({"id": 1, "records": [mixed.rows[0]]})
            counted(ask, 1)
        device.drop_connections()
        device.wait_running(2)
        with device.asking() as ask:
            ask({"id": 2, "records": [mixed.rows[0]]})
            body = counted(ask, 2)["body"]
    assert body["served"] == 2
    assert body["lastError"]["code"] == "connection_lost"


def test_health_is_a_line_of_the_log_from_time_to_time(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """The interval is followed while the component runs; 0 is none."""
    with served(CLASSIC, healthSeconds="0") as device, running(mixed, device):
        device.wait_running()
        device.configure(healthSeconds=1)
        device.server.wait_for(lambda: "health" in texts(messages))
        device.configure(healthSeconds=0)
        device.server.wait_for(lambda: texts(messages).count("configuration changed") == 2)
    (line, *_) = [it for it in messages if it.getMessage() == "health"]
    assert set(vars(line)) >= FIELDS
    assert (line.levelname, vars(line)["ready"], vars(line)["served"]) == ("INFO", True, 0)


def test_configuration_that_is_kept_is_the_last_error(
    mixed: Packed, messages: list[logging.LogRecord]
) -> None:
    """Whoever looks at the device need not look into its log."""
    with served(CLASSIC) as device, running(mixed, device):
        device.wait_running()
        device.configure(healthSeconds="often")
        device.server.wait_for(lambda: "keeping the configuration" in texts(messages))
        with device.asking() as ask:
            error = ask({"id": 1, "op": "health"})["body"]["lastError"]
    text = "healthSeconds: got 'often', expected a whole number of at least 0"
    assert (error["code"], error["message"]) == ("settings", text)
