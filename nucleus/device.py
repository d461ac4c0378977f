"""A core device: the IPC server, the components, and what connects the two.

It starts from recipes, as if a deployment of all of them had just been made. What a component
writes into its configuration is kept as long as the device runs, and no longer.
"""

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nucleus.artifacts import component_paths, local_files, place_artifacts
from nucleus.authorization import Authorization
from nucleus.broker import MqttBroker, parse_broker_url
from nucleus.configuration import ConfigurationStore
from nucleus.dependencies import start_order
from nucleus.errors import AccessControlError, DeviceError, InterpolationError, RecipeError
from nucleus.interpolation import InterpolationContext, interpolate, interpolate_variable
from nucleus.lifecycle import State
from nucleus.operations.configuration import configuration_operations
from nucleus.operations.lifecycle import UpdateNotices, lifecycle_operations
from nucleus.operations.mqtt import MqttProxy, SeenMessage
from nucleus.operations.pubsub import LocalPubSub
from nucleus.personality import CLASSIC, Personality
from nucleus.platforms import this_platform
from nucleus.process_tree import sweep
from nucleus.recipe import Manifest, Recipe, Step, choose_manifest, parse_recipe
from nucleus.root import DeviceRoot, write_json
from nucleus.server import IpcServer
from nucleus.supervisor import ComponentSpec, ComponentStatus, Supervisor
from nucleus.tokens import Tokens

TOOLS = "aws.greengrass.Cli"
"""Whom the user's tools act for; everything is allowed to it."""

SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"

_VERSION = "2.18.0"  # the nucleus whose behaviour this one imitates
_SETTLED = frozenset({State.RUNNING, State.FINISHED, State.BROKEN})
_BAD = frozenset({State.ERRORED, State.BROKEN})
_AT_REST = frozenset({State.NEW, State.INSTALLED, State.FINISHED, State.BROKEN})
_REMIND_S = 5.0  # between two lines about a stop that takes long

_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TMPDIR", "TZ"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"),  # the daemon that the user has images in
    *_PROXIES,
    *map(str.lower, _PROXIES),
)
"""What a component gets of the device's own environment; it may hold secrets, so no more."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A component that the device is to run.

    Attributes:
        place: how errors call its recipe, such as the file's name.
        recipe: the recipe's text.
        artifacts: the user's directory of artifacts; None where there is none.
    """

    place: str
    recipe: str
    artifacts: Path | None = None


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A recipe and the manifest that fits, with the files at hand."""

    recipe: Recipe
    manifest: Manifest
    files: dict[str, Path]


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
    ) -> None:
        """Reads the recipes; starts nothing yet.

        Args:
            root: the device's directory.
            placements: the components.
            configurations: what a deployment would merge, by component.
            personality: the nucleus to behave like.
            thing_name: of the device.
            platform: overrides of the attributes that manifests are chosen by.
            broker: the URL of an MQTT broker to be attached as IoT Core; None for none.
            show: told in a line what people want to see.

        Raises:
            RecipeError: a recipe is none, no manifest fits, or a dependency is not met.
            DeviceError: a configuration is for a component that is not there, or the broker's URL
                is none.
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
        attributes = this_platform(personality, platform)
        recipes = [parse_recipe(it.recipe, it.place, personality) for it in placements]
        directories = {
            recipe.name: it.artifacts for recipe, it in zip(recipes, placements, strict=True)
        }
        self._chosen: dict[str, _Chosen] = {}
        for recipe in start_order(recipes):
            files = local_files(directories[recipe.name], recipe)
            manifest = choose_manifest(recipe, attributes, personality, files)
            self._chosen[recipe.name] = _Chosen(recipe, manifest, files)
        for name in self._configurations:
            if name not in self._chosen:
                names = ", ".join(self._chosen) or "none"
                raise DeviceError(f"configuration: got one for {name!r}, expected one of: {names}")
        self._tokens = Tokens(personality)
        self._store = ConfigurationStore(lambda *_: self._write_configuration())
        self._authorization = Authorization(personality, thing_name=thing_name)
        self._authorization.allow_everything(TOOLS)
        self.pubsub = LocalPubSub(personality, self._authorization.check)
        self.mqtt = MqttProxy(self._authorization, personality, seen=self._show_message)
        self._supervisor: Supervisor | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Runs until the event is set, and then stops all components.

        Raises:
            DeviceError: another device runs in the same root, or this one cannot start.
            RecipeError: a placeholder has no value, or an artifact is not what the recipe says.
            OSError: the root cannot be written.
        """
        facts = {"personality": self.personality.name, "socket": str(self.root.socket)}
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
        self._configure()
        specs = [self._spec(chosen) for chosen in self._chosen.values()]
        self._supervisor = Supervisor(specs, self._follow)
        await self._supervisor.start()
        try:
            await stop.wait()
        finally:
            await self._stop_components(self._supervisor)

    async def _stop_components(self, supervisor: Supervisor) -> None:
        """Stops all, and says from time to time who takes so long."""
        self._show("stopping")
        stopping = asyncio.create_task(supervisor.stop())
        while not (await asyncio.wait([stopping], timeout=_REMIND_S))[0]:
            slow = [it.name for it in supervisor.status() if it.state not in _AT_REST]
            self._show(f"still stopping {', '.join(slow) or 'what components have left running'}")
        await stopping
        self._write_status(supervisor)

    def _configure(self) -> None:
        """Applies defaults and the deployment's own values, and loads the policies.

        Raises:
            DeviceError: nucleus lite refuses a policy.
        """
        now_ms = time.time_ns() // 1_000_000
        for name, chosen in self._chosen.items():
            merge = self._configurations.get(name, {})
            self._store.open(name).apply(chosen.recipe.configuration, (), merge, now_ms)
        try:
            self._store.follow_policies(self._authorization.load)
        except AccessControlError as error:
            raise DeviceError(str(error)) from error
        self._write_configuration()

    def _write_configuration(self) -> None:
        values = {name: self._store[name].value() for name in self._store}
        try:
            write_json(self.root.configuration, {"services": values})
        except OSError as error:  # the store has it, and the file is for people
            _log.warning("%s: not written: %s", self.root.configuration, error)

    def _spec(self, chosen: _Chosen) -> ComponentSpec:
        """The component with its scripts as they are run.

        Raises:
            DeviceError: a placeholder has no value.
        """
        recipe, manifest = chosen.recipe, chosen.manifest
        place_artifacts(manifest, chosen.files, component_paths(self.root, recipe))
        context = InterpolationContext(
            component=recipe.name,
            configuration=self._configuration,
            paths=self._paths,
            kernel_root=str(self.root.path.resolve()),
            thing_name=self._thing_name,
            dependencies=frozenset(recipe.dependencies),
            personality=self.personality,
        )
        try:
            steps = {name: _resolve(step, context) for name, step in manifest.lifecycle.items()}
            setenv = {
                name: interpolate_variable(value, context)
                for name, value in manifest.setenv.items()
            }
        except InterpolationError as error:
            place = f"{manifest.place}: {error.place}"
            raise RecipeError(place, error.observed, error.expected) from error
        return ComponentSpec(
            name=recipe.name,
            version=str(recipe.version),
            steps=steps,
            environment={**self._environment(recipe.name), **setenv},
            work=self.root.work(recipe.name),
            log=self.root.log(recipe.name),
            dependencies={name: it.hard for name, it in recipe.dependencies.items()},
        )

    def _configuration(self, component: str) -> Mapping[str, Any] | None:
        if component not in self._store:
            return None
        value: Mapping[str, Any] = self._store[component].value()
        return value

    def _paths(self, component: str) -> Any:
        chosen = self._chosen.get(component)
        return None if chosen is None else component_paths(self.root, chosen.recipe)

    def _environment(self, component: str) -> dict[str, str]:
        """What a component's scripts find in their environment.

        Source: AWS IoT Greengrass V2 developer guide, component environment variables;
        aws-greengrass-nucleus, GenericExternalService.java.
        """
        token = self._tokens.issue(component)
        socket = str(self.root.socket)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "SVCUID": token,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            SOCKET_VARIABLE: socket,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH": socket,
            "AWS_REGION": "local",
            "AWS_DEFAULT_REGION": "local",
            "AWS_IOT_THING_NAME": self._thing_name,
            "GGC_VERSION": _VERSION,
            "PWD": str(self.root.work(component)),
        }

    def _follow(self, status: ComponentStatus) -> None:
        if self._supervisor is not None:
            self._write_status(self._supervisor)
        why = ""
        if status.state in _BAD:
            why = f": {status.last_error}; see {self.root.log(status.name)}"
        self._show(f"{status.name} {status.version} is {status.state}{why}")

    def _write_status(self, supervisor: Supervisor) -> None:
        try:
            self.root.write_status(self._status(supervisor.status()))
        except OSError as error:  # a full disk stops no component
            _log.warning("the status is not written: %s", error)

    def _status(self, components: Sequence[ComponentStatus]) -> dict[str, Any]:
        is_settled = len(components) == len(self._chosen) and all(
            component.state in _SETTLED for component in components
        )
        return {
            "thing_name": self._thing_name,
            "settled": is_settled,
            "components": [asdict(component) for component in components],
        }


def _resolve(step: Step, context: InterpolationContext) -> Step:
    return replace(
        step,
        script=interpolate(step.script, context),
        environment={
            name: interpolate_variable(value, context) for name, value in step.environment.items()
        },
    )
