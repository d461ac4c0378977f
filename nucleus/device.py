"""A core device: the IPC server, the components, and what connects the two.

It starts from recipes, as if a deployment of all of them had just been made; or it goes on where it
has stopped, where it is started with nothing, or with the same once more.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any
from uuid import uuid4

from nucleus.authorization import Authorization
from nucleus.broker import MqttBroker, parse_broker_url
from nucleus.composition import SOCKET_VARIABLE, Composer, Placement
from nucleus.configuration import ConfigurationStore
from nucleus.deployment import NOTIFY_S, Deployments, Running
from nucleus.deployments.history import History
from nucleus.deployments.states import StateStore, digest_of
from nucleus.errors import AccessControlError, DeviceError
from nucleus.lifecycle import State
from nucleus.operations.configuration import configuration_operations
from nucleus.operations.deployments import deployment_operations
from nucleus.operations.lifecycle import UpdateNotices, lifecycle_operations
from nucleus.operations.mqtt import MqttProxy, SeenMessage
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import CLASSIC, Personality
from nucleus.platforms import this_platform
from nucleus.process_tree import sweep
from nucleus.root import DeviceRoot, write_json
from nucleus.server import IpcServer
from nucleus.supervisor import ComponentStatus, Supervisor
from nucleus.tokens import Tokens

__all__ = ["SOCKET_VARIABLE", "TOOLS", "Device", "Placement"]

TOOLS = "aws.greengrass.Cli"
"""Whom the user's tools act for; everything is allowed to it."""

_SETTLED = frozenset({State.RUNNING, State.FINISHED, State.BROKEN})
_BAD = frozenset({State.ERRORED, State.BROKEN})
_AT_REST = frozenset({State.NEW, State.INSTALLED, State.FINISHED, State.BROKEN})
_REMIND_S = 5.0  # between two lines about a stop that takes long

_log = logging.getLogger(__name__)


class Device:
    """Runs components from their recipes until it is told to stop."""

    def __init__(  # noqa: PLR0913  (the keywords are settings with defaults)
        self,
        root: DeviceRoot,
        placements: Sequence[Placement],
        *,
        configurations: Mapping[str, Mapping[str, Any]] | None = None,
        personality: Personality = CLASSIC,
        thing_name: str = "laptop",
        platform: Mapping[str, str] | None = None,
        broker: str | None = None,
        show: Callable[[str], None] = lambda _: None,
        is_fresh: bool = False,
        notify_s: float = NOTIFY_S,
    ) -> None:
        """Reads the recipes; starts nothing yet.

        Args:
            root: the device's directory.
            placements: the components; none for those that ran here last.
            configurations: what a deployment would merge, by component.
            personality: the nucleus to behave like.
            thing_name: of the device.
            platform: overrides of the attributes that manifests are chosen by.
            broker: the URL of an MQTT broker to be attached as IoT Core; None for none.
            show: told in a line what people want to see.
            is_fresh: whether it begins anew, whatever ran here before.
            notify_s: how long a component may take to answer whether an update may go ahead.

        Raises:
            RecipeError: a recipe is none, no manifest fits, or a dependency is not met.
            DeviceError: a configuration is for a component that is not there, the broker's URL is
                none, or what an earlier device has left is not what it should be.
            OSError: an artifact cannot be read.
        """
        self.root = root
        self.personality = personality
        self.notices = UpdateNotices()
        self._thing_name = thing_name
        self._broker = broker
        if broker is not None:
            try:
                parse_broker_url(broker)
            except ValueError as error:
                raise DeviceError(str(error)) from error
        self._show = show
        self._configurations = dict(configurations or {})
        self._tokens = Tokens(personality)
        self._states = StateStore(root.deployments)
        kept = None if is_fresh else self._states.current()
        if kept is not None and not placements:
            platform = kept.platform
        self._platform = dict(platform or {})
        self._composer = Composer(
            root, personality, this_platform(personality, self._platform), thing_name, self._tokens
        )
        chosen = self._composer.choose(placements)
        for name in self._configurations:
            if name not in chosen:
                names = ", ".join(chosen) or "none"
                raise DeviceError(f"configuration: got one for {name!r}, expected one of: {names}")
        self._began_with = digest_of(chosen.values(), self._configurations, self._platform)
        if kept is not None and placements and kept.began_with != self._began_with:
            kept = None
        self._kept = kept
        self._chosen = chosen if kept is None else self._composer.choose(kept.placements)
        content = {} if kept is None else kept.configuration.to_json()
        self._store = ConfigurationStore.from_json(content, lambda *_: self._write_configuration())
        self._authorization = Authorization(personality, thing_name=thing_name)
        self._authorization.allow_everything(TOOLS)
        self.pubsub = LocalPubSub(personality, self._authorization.check)
        self.mqtt = MqttProxy(self._authorization, personality, seen=self._show_message)
        self._supervisor: Supervisor | None = None
        self._running: Running | None = None
        self.deployments = Deployments(
            composer=self._composer,
            store=self._store,
            authorization=self._authorization,
            notices=self.notices,
            states=self._states,
            history=History(root.deployment_history),
            show=show,
            changed=self._follow_deployment,
            notify_s=notify_s,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until the event is set, and then stops all components.

        Raises:
            DeviceError: another device runs in the same root, or this one cannot start.
            RecipeError: a placeholder has no value, or an artifact is not what the recipe says.
            OSError: the root cannot be written.
        """
        facts = {
            "personality": self.personality.name,
            "platform": self._platform,
            "socket": str(self.root.socket),
        }
        with self.root.hold(facts, self._status([])):
            # What an earlier device has left, if it was killed: its components hold dead tokens.
            await sweep(SOCKET_VARIABLE, str(self.root.socket))
            with self.root.socket_directory():
                async with self._serving(), self._broker_attached():
                    self._show(f"core device ({self.personality.name}) at {self.root.path}")
                    await self._run_components(stop)
            self._show("core device stopped")

    # --- what operations ask of the device ---

    def report(self, component: str, state: str) -> None:
        """Takes a component's own report; see `nucleus.operations.lifecycle.Lifecycles`."""
        if self._supervisor is None:
            raise KeyError(component)
        self._supervisor.report(component, state)

    def restart(self, component: str) -> None:
        """Starts a component anew; see `nucleus.operations.lifecycle.Lifecycles`."""
        if self._supervisor is None:
            raise KeyError(component)
        self._supervisor.restart(component)

    # --- serving ---

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        operations = {
            **self.pubsub.operations(),
            **self.mqtt.operations(),
            **configuration_operations(self._store, self.personality),
            **lifecycle_operations(self, self.notices, self._authorization, self.personality),
            **deployment_operations(self.deployments, self._authorization),
        }
        server = IpcServer(self.root.socket, self.personality, self._tokens, operations)
        try:
            await server.start()
        except (OSError, ValueError) as error:
            raise DeviceError(f"the core device: {error}") from error
        self.root.write_tools_token(self._tokens.issue(TOOLS))
        try:
            yield
        finally:
            await server.close()

    @contextlib.asynccontextmanager
    async def _broker_attached(self) -> AsyncIterator[None]:
        if self._broker is None:
            yield
            return
        broker = MqttBroker(self._broker, self.mqtt.receive, client_id=self._thing_name)
        self.mqtt.attach(broker)
        try:
            yield
        finally:
            await broker.close()

    def _show_message(self, seen: SeenMessage) -> None:
        arrow = "<-" if seen.publisher is None else "->"
        who = "" if seen.publisher is None else f" from {seen.publisher}"
        size = len(seen.message.payload)
        self._show(f"IoT Core {arrow} {seen.message.topic}: {size} bytes{who}")

    # --- components ---

    async def _run_components(self, stop: asyncio.Event) -> None:
        running = self._restore()
        for chosen in running.components.values():
            self._composer.place(chosen)
        self._running = running
        self._supervisor = Supervisor(running.specs.values(), self._follow)
        await self._supervisor.start()
        deploying = asyncio.create_task(self.deployments.work(self._supervisor, running))
        try:
            await stop.wait()
        finally:
            deploying.cancel()
            await asyncio.wait([deploying])
            await self._stop_components(self._supervisor)
            with contextlib.suppress(OSError):  # the next start does it as well
                self.deployments.conclude()

    async def _stop_components(self, supervisor: Supervisor) -> None:
        """Stops all, and says from time to time who takes so long."""
        self._show("stopping")
        stopping = asyncio.create_task(supervisor.stop())
        while not (await asyncio.wait([stopping], timeout=_REMIND_S))[0]:
            slow = [it.name for it in supervisor.status() if it.state not in _AT_REST]
            self._show(f"still stopping {', '.join(slow) or 'what components have left running'}")
        await stopping
        self._write_status(supervisor)

    def _restore(self) -> Running:
        """What is to run: what was kept, or what the device was started with, kept from now on.

        Raises:
            RecipeError: a placeholder has no value.
            DeviceError: nucleus lite refuses a policy.
            OSError: the state cannot be written.
        """
        self.deployments.conclude()
        state = self._kept
        if state is None:
            now_ms = time.time_ns() // 1_000_000
            for name, it in self._chosen.items():
                merge = self._configurations.get(name, {})
                self._store.open(name).apply(it.recipe.configuration, (), merge, now_ms)
        try:
            self._store.follow_policies(self._authorization.load)
        except AccessControlError as error:
            raise DeviceError(str(error)) from error
        specs = self._composer.specs(self._chosen, self._store)
        if state is None:
            roots = {name: it.recipe.version for name, it in self._chosen.items()}
            state = self._states.write(
                str(uuid4()),
                self._chosen.values(),
                roots=roots,
                platform=self._platform,
                began_with=self._began_with,
                configuration=self._store,
            )
            self._states.commit(state.id)
            self._chosen = self._composer.choose(state.placements)
        else:
            versions = (f"{name} {it.recipe.version}" for name, it in self._chosen.items())
            self._show(f"going on with what ran here last: {', '.join(versions) or 'nothing'}")
        self._states.prune({state.id})
        running = Running(state=state, components=self._chosen, specs=specs)
        self._running = running
        self._write_configuration()
        return running

    def _write_configuration(self) -> None:
        values = {name: self._store[name].value() for name in self._store}
        try:
            write_json(self.root.configuration, {"services": values})
            if self._running is not None:
                self._states.write_configuration(self._running.state.id, self._store)
        except OSError as error:  # the store has it, and a full disk stops no component
            _log.warning("the configuration is not written: %s", error)

    def _follow(self, status: ComponentStatus) -> None:
        self._refresh()
        why = ""
        if status.state in _BAD:
            why = f": {status.last_error}; see {self.root.log(status.name)}"
        self._show(f"{status.name} {status.version} is {status.state}{why}")

    def _follow_deployment(self) -> None:
        self._write_configuration()
        self._refresh()

    def _refresh(self) -> None:
        if self._supervisor is not None:
            self._write_status(self._supervisor)
            self.deployments.follow(self._supervisor.status())

    def _write_status(self, supervisor: Supervisor) -> None:
        try:
            self.root.write_status(self._status(supervisor.status()))
        except OSError as error:  # a full disk stops no component
            _log.warning("the status is not written: %s", error)

    def _status(self, components: Sequence[ComponentStatus]) -> dict[str, Any]:
        expected = self._chosen if self._running is None else self._running.components
        is_settled = len(components) == len(expected) and all(
            component.state in _SETTLED for component in components
        )
        return {
            "thing_name": self._thing_name,
            "settled": is_settled,
            "components": [asdict(component) for component in components],
        }
