"""Deployments on a device that runs: resolve, ask, stop, start, watch, and undo.

They come one after the other. Until components are stopped nothing has changed, and whatever is
wrong ends the deployment there. After that what has failed is undone, unless that was not wanted,
or the personality is that of nucleus lite, which undoes nothing.

Source: aws-greengrass-nucleus, DefaultDeploymentTask, DeploymentConfigMerger, DefaultActivator and
KernelConfigResolver; aws-greengrass-lite, modules/ggdeploymentd.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from semantic_version import Version

from nucleus.artifacts import check_artifacts
from nucleus.authorization import Authorization
from nucleus.component import ComponentSpec, ComponentStatus
from nucleus.composition import Chosen, Composer, Placement
from nucleus.configuration import ACCESS_CONTROL, ConfigurationStore
from nucleus.deployments.changes import Change, change_between
from nucleus.deployments.document import NO_UPDATE, Deployment
from nucleus.deployments.history import History, Phase, Record, Result
from nucleus.deployments.resolution import resolve
from nucleus.deployments.states import DeviceState, StateStore
from nucleus.errors import DeploymentError, DeviceError, PlacedError
from nucleus.lifecycle import READY, State
from nucleus.operations.lifecycle import UpdateNotices
from nucleus.recipe import Recipe
from nucleus.recipe_files import read_recipe, recipe_files
from nucleus.supervisor import Supervisor

NOTIFY_S = 60.0
"""How long a component may take to answer whether an update may go ahead. Source: the default of
`componentUpdatePolicy`, AWS IoT Greengrass V2 developer guide, create deployments."""

_CANCELABLE = (Phase.PREPARING, Phase.NOTIFYING)

_log = logging.getLogger(__name__)


class _CanceledError(Exception):
    """Somebody has cancelled the deployment."""


@dataclass(slots=True, kw_only=True)
class Running:
    """What a device runs.

    Attributes:
        state: as it is kept; where configuration is written to.
        components: by name.
        specs: the same as they are run.
    """

    state: DeviceState
    components: Mapping[str, Chosen]
    specs: Mapping[str, ComponentSpec]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a deployment comes to.

    Attributes:
        next: what the device shall run.
        configuration: of all components then.
        changes: by component, those of them that run on left out.
        removed: components that go.
    """

    next: Running
    configuration: ConfigurationStore
    changes: Mapping[str, Change]
    removed: frozenset[str]


class Deployments:
    """Takes deployments and makes them, one at a time; all of it belongs to the device's loop."""

    def __init__(  # noqa: PLR0913  (the keywords are the parts of a device)
        self,
        *,
        composer: Composer,
        store: ConfigurationStore,
        authorization: Authorization,
        notices: UpdateNotices,
        states: StateStore,
        history: History,
        show: Callable[[str], None],
        changed: Callable[[], None] = lambda: None,
        notify_s: float = NOTIFY_S,
    ) -> None:
        """Takes deployments at once, and makes them as soon as `work` is called.

        Args:
            composer: of the device.
            store: its configurations.
            authorization: which policies are checked by.
            notices: whom components hear of updates from.
            states: where states are kept.
            history: where outcomes are kept.
            show: told in a line what people want to see.
            changed: called when other components are there than before.
            notify_s: how long a component may take to answer.
        """
        self._composer = composer
        self._store = store
        self._authorization = authorization
        self._notices = notices
        self._states = states
        self._history = history
        self._show = show
        self._changed = changed
        self._notify_s = notify_s
        self._queue: asyncio.Queue[tuple[Deployment, Record]] = asyncio.Queue()
        self._queued: dict[str, Record] = {}
        self._record: Record | None = None
        self._asking: asyncio.Task[None] | None = None
        self._is_canceled = False  # the one that is under way
        self._watched: frozenset[str] = frozenset()

    def submit(self, deployment: Deployment) -> None:
        """Has a deployment made after those that are waiting.

        Raises:
            OSError: it cannot be written down.
        """
        record = self._history.open(deployment)
        self._queued[deployment.id] = record
        self._queue.put_nowait((deployment, record))

    def records(self) -> list[Record]:
        """What has become of the deployments that are remembered, the oldest first.

        Raises:
            DeviceError: the history cannot be read.
        """
        return self._history.read()

    def cancel(self, deployment_id: str) -> None:
        """Has a deployment end that has changed nothing yet.

        Raises:
            KeyError: there is no such deployment.
            DeploymentError: it stops and starts components already, or has ended.
            DeviceError: the history cannot be read.
        """
        if (queued := self._queued.pop(deployment_id, None)) is not None:
            self._close(queued, Result.CANCELED, "cancelled before it began")
            return
        record = self._record
        if record is None or record.id != deployment_id:
            record = self._history.find(deployment_id)
            if record is None:
                raise KeyError(deployment_id)
        if record.phase not in _CANCELABLE:
            observed = record.phase if record.result is None else record.result
            expected = "one that has not begun to stop and start components"
            raise DeploymentError(f"deployment {deployment_id}", observed, expected)
        self._is_canceled = True
        if self._asking is not None:
            self._asking.cancel()

    async def work(self, supervisor: Supervisor, running: Running) -> None:
        """Makes deployments until it is cancelled.

        Args:
            supervisor: of the components.
            running: what runs; changes with each deployment.
        """
        while True:
            deployment, record = await self._queue.get()
            if self._queued.pop(deployment.id, None) is None:
                continue  # it was cancelled
            self._record, self._is_canceled = record, False
            try:
                result, message = await self._make(deployment, supervisor, running)
                self._end(record, result, message)
            finally:
                self._record = None

    def follow(self, components: list[ComponentStatus]) -> None:
        """Takes note of the components' states, for those who wait for a deployment."""
        if not self._watched:
            return
        self._wait_for(
            ", ".join(
                f"{it.name} {it.version} ({it.state}{_why(it)})"
                for it in components
                if it.name in self._watched and it.state not in READY
            )
        )

    def conclude(self) -> None:
        """Ends what a device has left unfinished that was stopped or killed.

        Raises:
            DeviceError: the history cannot be read.
            OSError: it cannot be written.
        """
        current = self._states.current_id()
        for record in self._history.conclude(lambda it: _interrupted(it, current)):
            self._show(f"deployment {record.id}: {record.result}: {record.message}")

    # --- the course of one ---

    async def _make(
        self, deployment: Deployment, supervisor: Supervisor, running: Running
    ) -> tuple[Result, str]:
        self._enter(Phase.PREPARING)
        try:
            state = await self._prepare(deployment, running)
            self._plan(deployment, state, running)
            self._enter(Phase.NOTIFYING)
            try:
                await self._ask(deployment)
                # Components went on meanwhile, and may have changed their configuration.
                plan = self._plan(deployment, state, running)
                self._states.write_configuration(state.id, plan.configuration)
                return await self._carry_out(deployment, plan, supervisor, running)
            finally:
                self._notices.finished(deployment.id)
        except _CanceledError:
            self._states.prune({running.state.id})
            return Result.CANCELED, "cancelled before anything was touched"
        except (PlacedError, DeviceError, OSError, ValueError) as error:
            self._states.prune({running.state.id})
            return Result.FAILED_NO_STATE_CHANGE, str(error)
        except Exception as error:
            _log.exception("deployment %s", deployment.id)
            return Result.FAILED_NO_STATE_CHANGE, f"the core device: got {error!r}"

    async def _prepare(self, deployment: Deployment, running: Running) -> DeviceState:
        """The state that the deployment leads to, beside the present one.

        Raises:
            PlacedError: something that is asked for cannot be.
            OSError: a file cannot be read or written.
        """
        roots = _roots(deployment, running)
        at_hand: dict[tuple[str, Version], tuple[Recipe, Placement]] = {}
        for chosen in running.components.values():
            at_hand[chosen.recipe.name, chosen.recipe.version] = chosen.recipe, chosen.placement
        read: dict[tuple[str, Version], Path] = {}
        for path in recipe_files(deployment.recipes):
            recipe, placement = self._read(path, deployment, running)
            key = recipe.name, recipe.version
            if key in read:
                observed = f"a second recipe of {recipe.name} {recipe.version}"
                raise DeploymentError(str(path), observed, f"one ({read[key]})")
            at_hand[key], read[key] = (recipe, placement), path
        resolved = resolve(
            roots,
            [recipe for recipe, _ in at_hand.values()],
            {name: it.recipe.version for name, it in running.components.items()},
        )
        placements = [at_hand[it.name, it.version][1] for it in resolved.values()]
        components = self._composer.choose(placements)
        for name in deployment.configurations:
            if name not in roots:
                expected = f"one of the root components: {', '.join(sorted(roots)) or 'none'}"
                raise DeploymentError(f"configuration of {name}", "no root component", expected)
        for chosen in components.values():
            check_artifacts(chosen.manifest, chosen.files)
        return await asyncio.to_thread(
            self._states.write,
            deployment.id,
            components.values(),
            roots=roots,
            platform=running.state.platform,
            began_with=running.state.began_with,
            configuration=ConfigurationStore(),
        )

    async def _ask(self, deployment: Deployment) -> None:
        """Returns when no component wants to be asked later any more.

        Raises:
            _CanceledError: the deployment was cancelled until then.
        """
        if not self._is_canceled:
            self._asking = asyncio.create_task(
                self._notices.ask(deployment.id, self._notify_s, waiting=self._wait_for)
            )
            try:
                await asyncio.wait([self._asking])
            finally:
                asking, self._asking = self._asking, None
                asking.cancel()  # nothing, where it has ended
        if self._is_canceled:
            raise _CanceledError
        asking.result()

    def _read(
        self, path: Path, deployment: Deployment, running: Running
    ) -> tuple[Recipe, Placement]:
        """A recipe of the user's directory, and where its artifacts are.

        Raises:
            PlacedError: it is none.
            OSError: it cannot be read.
        """
        placement = Placement(
            place=str(path), recipe=read_recipe(path), artifacts=deployment.artifacts
        )
        recipe = self._composer.parse(placement)
        there = running.components.get(recipe.name)
        part = Path(recipe.name) / str(recipe.version)
        has_own = deployment.artifacts is not None and (deployment.artifacts / part).is_dir()
        if there is not None and there.recipe.version == recipe.version and not has_own:
            placement = Placement(
                place=str(path), recipe=placement.recipe, artifacts=there.placement.artifacts
            )
        return recipe, placement

    def _plan(self, deployment: Deployment, state: DeviceState, running: Running) -> Plan:
        """What the deployment comes to, from what runs now; nothing changes.

        Raises:
            PlacedError: nucleus lite refuses a policy, or a placeholder has no value.
        """
        components = self._composer.choose(state.placements)
        configuration = ConfigurationStore.from_json(self._store.to_json())
        for name in set(configuration) - components.keys():
            configuration.remove(name)
        for name, chosen in components.items():
            update = deployment.configurations.get(name, NO_UPDATE)
            configuration.open(name).apply(
                chosen.recipe.configuration, update.reset, update.merge, deployment.created_ms
            )
            access_control = configuration[name].value().get(ACCESS_CONTROL)
            self._authorization.validate(name, access_control)
        specs = self._composer.specs(components, configuration)
        changes = {}
        for name, spec in specs.items():
            change = change_between(
                running.specs.get(name),
                spec,
                has_other_files=running.state.digests.get(name) != state.digests[name],
                is_reconfigured=name not in self._store
                or self._store[name].value() != configuration[name].value(),
                personality=self._composer.personality,
            )
            if change is not Change.NONE:
                changes[name] = change
        return Plan(
            next=Running(state=state, components=components, specs=specs),
            configuration=configuration,
            changes=changes,
            removed=frozenset(running.components) - frozenset(components),
        )

    async def _carry_out(
        self, deployment: Deployment, plan: Plan, supervisor: Supervisor, running: Running
    ) -> tuple[Result, str]:
        """Makes the change, and undoes it where it fails."""
        before = Running(state=running.state, components=running.components, specs=running.specs)
        snapshot = ConfigurationStore.from_json(self._store.to_json())
        self._enter(Phase.ACTIVATING)
        wants_rollback = deployment.rolls_back and self._composer.personality.rolls_back
        try:
            await self._activate(plan, supervisor, running)
            broken = await supervisor.outcome(plan.changes)
            why = _listed(broken, self._composer)
            if not broken or not wants_rollback:
                result = Result.FAILED_ROLLBACK_NOT_REQUESTED if broken else Result.SUCCESSFUL
                self._commit(plan.next.state, result, why)
                return result, why
        except Exception as error:
            # What the device itself cannot do is undone in any case: nothing whole is there.
            _log.exception("deployment %s", deployment.id)
            why = str(error) or repr(error)
        return await self._roll_back(plan, before, snapshot, why, supervisor, running)

    async def _activate(self, plan: Plan, supervisor: Supervisor, running: Running) -> None:
        """Stops what goes or changes, and starts what is new or changed.

        Raises:
            PlacedError: an artifact is not what the recipe says.
            OSError: a file cannot be written.
        """
        self._watched = frozenset(plan.changes) | plan.removed
        await supervisor.take_out(self._watched)
        for name in plan.changes:
            await asyncio.to_thread(self._composer.place, plan.next.components[name])
        _become(running, plan.next)
        self._store.replace(plan.configuration)
        self._watched = frozenset(plan.changes)
        installed = {name for name, it in plan.changes.items() if it is Change.RESTART}
        supervisor.put_in(plan.next.specs.values(), installed)
        self._changed()

    def _commit(self, state: DeviceState, result: Result, message: str) -> None:
        """Makes the new state the one that the device starts from.

        Raises:
            OSError: it cannot be.
        """
        assert self._record is not None
        self._record.intended, self._record.message = result, message
        self._history.write(self._record)
        self._states.commit(state.id)
        self._states.prune({state.id})

    async def _roll_back(  # noqa: PLR0913, PLR0917  (of one use)
        self,
        plan: Plan,
        before: Running,
        snapshot: ConfigurationStore,
        why: str,
        supervisor: Supervisor,
        running: Running,
    ) -> tuple[Result, str]:
        """Goes back to the snapshot: components, configuration, artifacts."""
        self._enter(Phase.ROLLING_BACK)
        back = {name for name in plan.changes if name in before.components} | plan.removed
        try:
            self._watched = frozenset(plan.changes) | plan.removed
            await supervisor.take_out(self._watched)
            for name in back:
                await asyncio.to_thread(self._composer.place, before.components[name])
            # The old state's file is written once, when all of the configuration is back.
            self._store.replace(snapshot)
            _become(running, before)
            self._states.write_configuration(running.state.id, self._store)
            self._watched = frozenset(back)
            supervisor.put_in(before.specs.values())
            self._changed()
            broken = await supervisor.outcome(back)
        except Exception as error:
            _log.exception("the rollback has failed")
            return Result.FAILED_UNABLE_TO_ROLLBACK, f"{why}; then {error}"
        finally:
            self._states.prune({running.state.id, before.state.id})
        if broken:
            text = f"{why}; back in the old version, {_listed(broken, self._composer)}"
            return Result.FAILED_UNABLE_TO_ROLLBACK, text
        return Result.FAILED_ROLLBACK_COMPLETE, why

    # --- telling ---

    def _enter(self, phase: Phase) -> None:
        if self._record is None:
            return
        self._record.phase, self._record.waiting = phase, ""
        self._write(self._record)

    def _wait_for(self, what: str) -> None:
        if self._record is not None and self._record.waiting != what:
            self._record.waiting = what
            self._write(self._record)

    def _end(self, record: Record, result: Result, message: str) -> None:
        self._watched = frozenset()
        self._close(record, result, message)

    def _close(self, record: Record, result: Result, message: str) -> None:
        record.end(result, message)
        self._write(record)
        self._show(f"deployment {record.id}: {result}{': ' if message else ''}{message}")

    def _write(self, record: Record) -> None:
        try:
            self._history.write(record)
        except OSError as error:  # a full disk ends no deployment
            _log.warning("deployment %s: its record is not written: %s", record.id, error)


def _roots(deployment: Deployment, running: Running) -> dict[str, Version]:
    """The root components and their versions after the deployment.

    Raises:
        DeploymentError: one is to go that is not there.
    """
    roots = dict(running.state.roots)
    for name in deployment.remove:
        if name not in roots:
            expected = f"one of: {', '.join(sorted(roots)) or 'none'}"
            raise DeploymentError(f"removal of {name}", "no such root component", expected)
        del roots[name]
    return {**roots, **deployment.add}


def _become(running: Running, other: Running) -> None:
    running.state, running.components, running.specs = other.state, other.components, other.specs


def _why(component: ComponentStatus) -> str:
    """What has gone wrong, where a component is to be tried again."""
    is_bad = component.state in {State.ERRORED, State.BROKEN}
    return f": {component.last_error}" if is_bad else ""


def _listed(broken: list[ComponentStatus], composer: Composer) -> str:
    return "; ".join(
        f"{it.name} {it.version} is BROKEN: {it.last_error}; see {composer.root.log(it.name)}"
        for it in broken
    )


def _interrupted(record: Record, current: str | None) -> tuple[Result, str]:
    """How a deployment has ended whose device has ended."""
    if record.intended is not None and current == record.id:
        return record.intended, record.message
    if record.phase in {Phase.ACTIVATING, Phase.ROLLING_BACK}:
        text = f"the device ended in the middle ({record.phase}); it starts from what ran before"
        return Result.FAILED_ROLLBACK_COMPLETE, text
    return Result.FAILED_NO_STATE_CHANGE, f"the device ended before it began ({record.phase})"
