"""UpdateState and RestartComponent, and the notices of updates that components may defer.

Source: aws-greengrass-nucleus, builtin/services/lifecycle/LifecycleIPCEventStreamAgent.java,
lifecyclemanager/UpdateSystemPolicyService.java; aws-greengrass-cli, CLIEventStreamAgent.java;
aws-greengrass-lite, modules/ggipcd/src/services/{lifecycle,cli}.
"""

import asyncio
import logging
import math
from collections.abc import Callable
from typing import Protocol

from nucleus.authorization import CLI, Authorization
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream
from nucleus.personality import Personality

REPORTABLE = ("RUNNING", "ERRORED")
"""What a component may say of itself. Source: the shape `ReportedLifecycleState`."""

_log = logging.getLogger(__name__)


class Lifecycles(Protocol):
    """The components of the device, as these operations need them."""

    def report(self, component: str, state: str) -> None:
        """Takes a component's own report, `RUNNING` or `ERRORED`.

        One that its state does not allow is logged and ignored.

        Raises:
            KeyError: there is no such component.
        """

    def restart(self, component: str) -> None:
        """Starts a component anew; does not wait for it.

        Raises:
            KeyError: there is no such component.
        """


def lifecycle_operations(
    lifecycles: Lifecycles,
    notices: "UpdateNotices",
    authorization: Authorization,
    personality: Personality,
) -> Operations:
    """The operations on the lifecycles of a device; on lite the server hides those it lacks."""
    family = _Family(lifecycles, notices, authorization, personality)
    return {
        "UpdateState": Operation(family.update_state),
        "RestartComponent": Operation(family.restart),
        "SubscribeToComponentUpdates": Operation(family.subscribe, is_subscription=True),
        "DeferComponentUpdate": Operation(family.defer),
    }


class UpdateNotices:
    """Asks components whether a deployment may go ahead, and tells them that it has ended."""

    def __init__(self) -> None:
        self._streams: dict[str, list[Stream]] = {}
        self._pending: dict[tuple[str, str], asyncio.Future[int]] = {}

    async def ask(
        self,
        deployment_id: str,
        timeout_s: float,
        *,
        is_nucleus_restarting: bool = False,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Returns when the deployment may go ahead.

        Every subscriber is asked, and whoever does not answer in time agrees. As long as one wants
        to be asked later, all are asked again then; nothing limits how often.

        Args:
            deployment_id: which components quote.
            timeout_s: for each round of answers.
            is_nucleus_restarting: what the components are told about that.
            waiting: told, in a few words, for whom it waits.
        """
        while True:
            if self._streams:
                waiting(f"the answer of {', '.join(sorted(self._streams))}")
            answers = await self._ask_once(
                deployment_id, timeout_s, is_nucleus_restarting=is_nucleus_restarting
            )
            recheck_ms = max(answers.values(), default=0)
            if recheck_ms <= 0:
                return
            who = ", ".join(sorted(name for name, it in answers.items() if it > 0))
            waiting(f"{who}, which asked for {recheck_ms / 1000:g} s")
            _log.info("deployment %s: deferred for %d ms", deployment_id, recheck_ms)
            await asyncio.sleep(recheck_ms / 1000)

    def finished(self, deployment_id: str) -> None:
        """Tells every subscriber that the deployment has ended, or will not be."""
        self._send({"postUpdateEvent": {"deploymentId": deployment_id}})

    def subscribe(self, component: str, stream: Stream) -> None:
        """Has a stream told of deployments from now on, until it closes."""
        self._streams.setdefault(component, []).append(stream)
        stream.on_close(lambda: self._leave(component, stream))

    def is_subscribed(self, component: str) -> bool:
        """Whether a component is told of deployments."""
        return component in self._streams

    def answer(self, component: str, deployment_id: str, recheck_after_ms: int | None) -> None:
        """Takes a component's answer.

        Args:
            component: whose.
            deployment_id: the deployment that it was asked about.
            recheck_after_ms: when to ask again; 0 agrees. None is no answer: the deployment waits
                out its time, and the component cannot answer any more.

        Raises:
            LookupError: nobody waits for the component's answer.
        """
        answer = self._pending.pop((component, deployment_id), None)
        if answer is None:
            raise LookupError("Time limit to respond to PreComponentUpdateEvent exceeded")
        if recheck_after_ms is None:
            _log.warning("%s: got a deferral without recheckAfterMs; ignored", component)
        else:
            answer.set_result(recheck_after_ms)

    async def _ask_once(
        self, deployment_id: str, timeout_s: float, *, is_nucleus_restarting: bool
    ) -> dict[str, int]:
        """In how many milliseconds to ask again, by component; 0 where it agrees."""
        loop = asyncio.get_running_loop()
        asked = {(name, deployment_id): loop.create_future() for name in self._streams}
        if not asked:
            return {}
        self._pending.update(asked)
        event = {"deploymentId": deployment_id, "isGgcRestarting": is_nucleus_restarting}
        self._send({"preUpdateEvent": event})
        try:
            await asyncio.wait(asked.values(), timeout=timeout_s)
        finally:
            for key in asked:
                self._pending.pop(key, None)
        for (component, _), answer in asked.items():
            if not answer.done():
                _log.warning("deployment %s: no answer from %s", deployment_id, component)
        return {name: it.result() for (name, _), it in asked.items() if it.done()}

    def _send(self, event: Json) -> None:
        for streams in list(self._streams.values()):
            for stream in list(streams):
                stream.send("ComponentUpdatePolicyEvents", event)

    def _leave(self, component: str, stream: Stream) -> None:
        streams = self._streams.get(component, [])
        if stream in streams:
            streams.remove(stream)
        if not streams:
            self._streams.pop(component, None)


class _Family:
    def __init__(
        self,
        lifecycles: Lifecycles,
        notices: UpdateNotices,
        authorization: Authorization,
        personality: Personality,
    ) -> None:
        self._lifecycles = lifecycles
        self._notices = notices
        self._authorization = authorization
        self._personality = personality

    def update_state(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        state = request.get("state")
        if state not in REPORTABLE:
            text = f"state: got {state!r}, expected {' or '.join(REPORTABLE)}"
            raise IpcError(self._personality.invalid_input_error, text)
        try:
            self._lifecycles.report(caller.component, state)
        except KeyError as error:
            if self._personality.name == "lite":
                raise IpcError("ServiceError", "Failed to update the lifecycle state.") from error
            raise _not_found(caller.component) from error
        return {}

    def restart(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        component = request.get("componentName")
        if not isinstance(component, str) or not component:
            raise IpcError("InvalidArgumentsError", "Component name is required")
        operation = "aws.greengrass#RestartComponent"
        self._authorization.check(caller.component, CLI, operation, component)
        try:
            self._lifecycles.restart(component)
        except KeyError as error:
            raise _not_found(component) from error
        return {"restartStatus": "SUCCEEDED"}

    def subscribe(self, caller: Caller, _request: Json, stream: Stream) -> Json:
        self._notices.subscribe(caller.component, stream)
        return {}

    def defer(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        deployment_id, recheck_ms = request.get("deploymentId"), request.get("recheckAfterMs")
        if not self._notices.is_subscribed(caller.component):
            text = "Component is not subscribed to component update events"
            raise IpcError("InvalidArgumentsError", text)
        if not isinstance(deployment_id, str):
            text = "Cannot defer the update, the deployment ID provided was null"
            raise IpcError("InvalidArgumentsError", text)
        if recheck_ms is not None and not (
            type(recheck_ms) in (int, float) and math.isfinite(recheck_ms)
        ):
            text = f"recheckAfterMs: got {recheck_ms!r}, expected a number"
            raise IpcError("InvalidArgumentsError", text)
        try:
            recheck_ms = None if recheck_ms is None else int(recheck_ms)
            self._notices.answer(caller.component, deployment_id, recheck_ms)
        except LookupError as error:
            raise IpcError("ServiceError", str(error)) from error
        return {}


def _not_found(component: str) -> IpcError:
    fields = {"resourceType": "Component", "resourceName": component}
    return IpcError("ResourceNotFoundError", "Component with given name not found", fields)
