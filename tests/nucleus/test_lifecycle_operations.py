"""Reports of states, restarts, and the negotiation of updates, without a socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from nucleus.authorization import CLI, Authorization
from nucleus.operation import Caller, IpcError, Operations
from nucleus.operations.lifecycle import UpdateNotices, lifecycle_operations
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.recording import A, B, RecordingStream, call, open_stream, refused

PATIENCE_S = 20.0
NEVER_S = 600.0


class Components:
    """Keeps what it is told; knows A and B."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def report(self, component: str, state: str) -> None:
        self._check(component)
        self.told.append(("report", component, state))

    def restart(self, component: str) -> None:
        self._check(component)
        self.told.append(("restart", component))

    @staticmethod
    def _check(component: str) -> None:
        if component not in ("A", "B"):
            raise KeyError(component)


class Device:
    """The operations with what they work on; A may restart components, B may not."""

    def __init__(self, personality: Personality = CLASSIC) -> None:
        self.components = Components()
        self.notices = UpdateNotices()
        authorization = Authorization(personality)
        policy = {"operations": ["aws.greengrass#RestartComponent"], "resources": ["*"]}
        authorization.load("A", {CLI: {"1": policy}})
        self.operations: Operations = lifecycle_operations(
            self.components, self.notices, authorization, personality
        )

    def subscribe(self, caller: Caller = A) -> RecordingStream:
        return open_stream(self.operations, "SubscribeToComponentUpdates", caller)

    def defer(self, caller: Caller = A, deployment_id: str = "d", **request: Any) -> None:
        request["deploymentId"] = deployment_id
        assert call(self.operations, "DeferComponentUpdate", caller, **request) == {}

    def defer_refused(self, caller: Caller = A, **request: Any) -> tuple[str, str]:
        return refused(self.operations, "DeferComponentUpdate", caller, **request)


@pytest.fixture
def device(personality: Personality) -> Device:
    return Device(personality)


# --- UpdateState ----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["RUNNING", "ERRORED"])
def test_a_reported_state_reaches_the_device(state: str, device: Device) -> None:
    """Without a policy, as the caller's own."""
    assert call(device.operations, "UpdateState", B, state=state) == {}
    assert device.components.told == [("report", "B", state)]


@pytest.mark.parametrize("state", [None, "", "running", "FINISHED", 1, ["RUNNING"]])
def test_another_state_is_refused(state: Any, device: Device, personality: Personality) -> None:
    """A component cannot report others; lite has ServiceError for that."""
    code = "ServiceError" if personality is LITE else "InvalidArgumentsError"
    text = f"state: got {state!r}, expected RUNNING or ERRORED"
    assert refused(device.operations, "UpdateState", state=state) == (code, text)
    assert device.components.told == []


def test_a_report_of_an_unknown_component_is_refused(personality: Personality) -> None:
    """Such as one that was removed while it ran."""
    with pytest.raises(IpcError) as caught:
        call(Device(personality).operations, "UpdateState", Caller("C", 3), state="RUNNING")
    if personality is LITE:
        assert str(caught.value) == "ServiceError: Failed to update the lifecycle state."
    else:
        assert str(caught.value) == "ResourceNotFoundError: Component with given name not found"
        assert caught.value.fields == {"resourceType": "Component", "resourceName": "C"}


# --- RestartComponent -----------------------------------------------------------------------------


def test_a_restart_is_asked_of_the_device(device: Device) -> None:
    """By a component whose policy allows it."""
    answer = call(device.operations, "RestartComponent", componentName="B")
    assert answer == {"restartStatus": "SUCCEEDED"}
    assert device.components.told == [("restart", "B")]


def test_a_restart_without_a_policy_is_refused(device: Device) -> None:
    """Even of the component itself."""
    code, _ = refused(device.operations, "RestartComponent", B, componentName="B")
    assert code == "UnauthorizedError"
    assert device.components.told == []


def test_an_unknown_component_cannot_be_restarted(device: Device) -> None:
    """The resource is named."""
    with pytest.raises(IpcError) as caught:
        call(device.operations, "RestartComponent", componentName="C")
    assert str(caught.value) == "ResourceNotFoundError: Component with given name not found"
    assert caught.value.fields == {"resourceType": "Component", "resourceName": "C"}


@pytest.mark.parametrize("name", [None, "", 7])
def test_a_restart_needs_a_name(name: Any, device: Device) -> None:
    """On both nuclei alike."""
    answer = refused(device.operations, "RestartComponent", componentName=name)
    assert answer == ("InvalidArgumentsError", "Component name is required")


# --- updates --------------------------------------------------------------------------------------


def pre(deployment_id: str = "d", *, is_nucleus_restarting: bool = False) -> tuple[str, Any]:
    fields = {"deploymentId": deployment_id, "isGgcRestarting": is_nucleus_restarting}
    return ("ComponentUpdatePolicyEvents", {"preUpdateEvent": fields})


def post(deployment_id: str = "d") -> tuple[str, Any]:
    return ("ComponentUpdatePolicyEvents", {"postUpdateEvent": {"deploymentId": deployment_id}})


async def until(condition: Callable[[], bool]) -> None:
    """Returns when a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  (streams have no event to wait for)
            await asyncio.sleep(0.001)


def play(scene: Callable[[Device], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(PATIENCE_S):
            await scene(Device())

    asyncio.run(run())


def test_without_subscribers_an_update_goes_ahead() -> None:
    """At once."""

    async def scene(device: Device) -> None:
        await device.notices.ask("d", NEVER_S)

    play(scene)


def test_an_update_waits_for_every_subscriber() -> None:
    """All are asked, and the last answer lets it go ahead."""

    async def scene(device: Device) -> None:
        streams = [device.subscribe(A), device.subscribe(B)]
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S, is_nucleus_restarting=True))
        await until(lambda: bool(streams[1].events))
        device.defer(A, recheckAfterMs=0)
        await asyncio.sleep(0.01)
        assert not asking.done()
        device.defer(B, recheckAfterMs=0, message="fine")
        await asking
        for stream in streams:
            assert stream.events == [pre(is_nucleus_restarting=True)]

    play(scene)


def test_a_deferred_update_asks_everyone_again() -> None:
    """As often as it takes; the longest wish counts."""

    async def scene(device: Device) -> None:
        streams = [device.subscribe(A), device.subscribe(B)]
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        for round_ in range(1, 4):
            await until(lambda n=round_: len(streams[1].events) == n)  # type: ignore[misc]
            device.defer(A, recheckAfterMs=5)
            device.defer(B, recheckAfterMs=1.0)
        await until(lambda: len(streams[1].events) == 4)
        device.defer(A, recheckAfterMs=0)
        device.defer(B, recheckAfterMs=-7)
        await asking
        assert streams[0].events == streams[1].events == [pre()] * 4

    play(scene)


def test_a_wish_to_wait_is_granted_for_its_time() -> None:
    """The update does not ask again before."""

    async def scene(device: Device) -> None:
        stream = device.subscribe()
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        await until(lambda: bool(stream.events))
        device.defer(recheckAfterMs=3_600_000)
        await asyncio.sleep(0.05)
        assert stream.events == [pre()]
        assert not asking.done()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)

    play(scene)


def test_without_an_answer_an_update_goes_ahead(caplog: pytest.LogCaptureFixture) -> None:
    """When the time is up; it is logged, and an answer after that comes too late."""

    async def scene(device: Device) -> None:
        device.subscribe()
        await device.notices.ask("d", 0.02)
        text = "Time limit to respond to PreComponentUpdateEvent exceeded"
        answer = device.defer_refused(deploymentId="d", recheckAfterMs=1)
        assert answer == ("ServiceError", text)

    play(scene)
    assert caplog.messages == ["deployment d: no answer from A"]


def test_a_deferral_without_a_time_is_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    """It succeeds, but the update waits out its time, and no other answer is taken."""

    async def scene(device: Device) -> None:
        stream = device.subscribe()
        asking = asyncio.create_task(device.notices.ask("d", 0.2))
        await until(lambda: bool(stream.events))
        device.defer()
        assert device.defer_refused(deploymentId="d", recheckAfterMs=0)[0] == "ServiceError"
        await asking
        assert stream.events == [pre()]

    play(scene)
    assert caplog.messages == [
        "A: got a deferral without recheckAfterMs; ignored",
        "deployment d: no answer from A",
    ]


@pytest.mark.parametrize("deployment_id", ["other", ""])
def test_an_answer_for_another_deployment_is_too_late(deployment_id: str) -> None:
    """The update still waits for its own."""

    async def scene(device: Device) -> None:
        stream = device.subscribe()
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        await until(lambda: bool(stream.events))
        answer = device.defer_refused(deploymentId=deployment_id, recheckAfterMs=0)
        text = "Time limit to respond to PreComponentUpdateEvent exceeded"
        assert answer == ("ServiceError", text)
        assert not asking.done()
        device.defer(recheckAfterMs=0)
        await asking

    play(scene)


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "Cannot defer the update, the deployment ID provided was null"),
        ({"deploymentId": 7}, "Cannot defer the update, the deployment ID provided was null"),
        (
            {"deploymentId": "d", "recheckAfterMs": "1"},
            "recheckAfterMs: got '1', expected a number",
        ),
        (
            {"deploymentId": "d", "recheckAfterMs": float("inf")},
            "recheckAfterMs: got inf, expected a number",
        ),
        (
            {"deploymentId": "d", "recheckAfterMs": True},
            "recheckAfterMs: got True, expected a number",
        ),
    ],
)
def test_a_malformed_deferral_is_refused(request_: dict[str, Any], text: str) -> None:
    """The component may try again."""
    device = Device()
    device.subscribe()
    assert device.defer_refused(**request_) == ("InvalidArgumentsError", text)


def test_a_deferral_without_a_subscription_is_refused() -> None:
    """Also after the only subscription has closed."""
    device = Device()
    answer = ("InvalidArgumentsError", "Component is not subscribed to component update events")
    assert device.defer_refused(deploymentId="d", recheckAfterMs=0) == answer
    streams = [device.subscribe(), device.subscribe()]
    streams[0].close()
    assert device.defer_refused(deploymentId="d")[0] == "ServiceError"
    streams[1].close()
    assert device.defer_refused(deploymentId="d", recheckAfterMs=0) == answer


def test_a_component_with_two_streams_answers_once() -> None:
    """Both streams are told."""

    async def scene(device: Device) -> None:
        streams = [device.subscribe(), device.subscribe()]
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        await until(lambda: bool(streams[1].events))
        device.defer(recheckAfterMs=0)
        await asking
        assert [stream.events for stream in streams] == [[pre()]] * 2

    play(scene)


def test_a_finished_update_is_told_to_every_subscriber() -> None:
    """And to no stream that has closed."""
    device = Device()
    streams = [device.subscribe(A), device.subscribe(B), device.subscribe(B)]
    streams[1].close()
    device.notices.finished("d")
    assert [stream.events for stream in streams] == [[post()], [], [post()]]


def test_an_update_that_is_called_off_takes_no_answers() -> None:
    """The device stopped, or the deployment was cancelled."""

    async def scene(device: Device) -> None:
        stream = device.subscribe()
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        await until(lambda: bool(stream.events))
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        assert device.defer_refused(deploymentId="d", recheckAfterMs=0)[0] == "ServiceError"

    play(scene)


def test_a_deferral_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """For whoever wonders why nothing happens."""

    async def scene(device: Device) -> None:
        stream = device.subscribe()
        asking = asyncio.create_task(device.notices.ask("d", NEVER_S))
        for n, recheck_ms in ((1, 2), (2, 0)):
            await until(lambda n=n: len(stream.events) == n)  # type: ignore[misc]
            device.defer(recheckAfterMs=recheck_ms)
        await asking

    with caplog.at_level(logging.INFO, logger="nucleus"):
        play(scene)
    assert caplog.messages == ["deployment d: deferred for 2 ms"]
