"""All components of a device, each with its dependencies.

Source: aws-greengrass-nucleus, GreengrassService and KernelLifecycle.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Iterable
from graphlib import TopologicalSorter

from nucleus.component import Component, ComponentSpec, ComponentStatus
from nucleus.lifecycle import State

__all__ = ["ComponentSpec", "ComponentStatus", "Supervisor"]

_log = logging.getLogger(__name__)


class Supervisor:
    """Runs components on the event loop that calls `start`; all its methods belong to that loop."""

    def __init__(
        self,
        specs: Iterable[ComponentSpec],
        on_change: Callable[[ComponentStatus], None],
        *,
        on_line: Callable[[str, str], None] | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Starts nothing yet.

        Args:
            specs: the components, in any order, each name once.
            on_change: called after each change of a component's state.
            on_line: called with a component's name and each line of its log.
            clock_s: for the time between errors.

        Raises:
            ValueError: a name stands twice, or components depend on each other in a circle.
        """
        self._on_change = on_change
        self._on_line = on_line
        self._clock_s = clock_s
        self._settled = asyncio.Event()
        self._components: dict[str, Component] = {}
        self._dependants: dict[str, list[str]] = {}
        self._hard: dict[str, list[str]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        for spec in self._connect(specs):
            self._components[spec.name] = self._make(spec)

    def status(self) -> list[ComponentStatus]:
        """How the components are, in the order in which they start."""
        return [component.status() for component in self._components.values()]

    def report(self, component: str, state: str) -> None:
        """Takes a component's own report, `RUNNING` or `ERRORED`.

        One that its state does not allow is logged and ignored.

        Raises:
            KeyError: there is no such component.
            ValueError: there is no such state.
        """
        self._components[component].report(State(state))

    def restart(self, component: str) -> None:
        """Has a component stop and run again, also where it is BROKEN; does not wait for it.

        Raises:
            KeyError: there is no such component.
        """
        self._components[component].restart()

    async def start(self) -> None:
        """Starts the components; each waits for its hard dependencies. Call it once."""
        for name in self._components:
            self._start(name)

    async def stop(self) -> None:
        """Stops the components, dependants before what they depend on; leaves no process.

        A second call does nothing.
        """
        closing = [*self._leaving, *self._begin_close(self._tasks)]
        if closing:
            await asyncio.wait(closing)  # all of them, also where one fails
            await asyncio.gather(*closing)

    async def take_out(self, names: Collection[str]) -> None:
        """Stops components for good, and forgets them; those that depend on them wait.

        Where this is cancelled, `stop` waits for what it has begun.
        """
        closing = self._begin_close({name for name in names if name in self._tasks})
        self._leaving.update(closing)
        if closing:
            await asyncio.wait(closing)
            await asyncio.gather(*closing)
        self._leaving.difference_update(closing)
        for name in names:
            self._components.pop(name, None)

    def put_in(self, specs: Iterable[ComponentSpec], installed: Collection[str] = ()) -> None:
        """Starts what is new among all that shall run; who waits for them, goes on.

        Args:
            specs: of all components: those that run, as they are from their next start on, and
                those that do not run yet.
            installed: new ones whose `install` is left out.

        Raises:
            ValueError: as where the supervisor is made, or one is missing that runs.
        """
        specs = list(specs)
        if missing := self._components.keys() - {spec.name for spec in specs}:
            raise ValueError(f"components: got none of {sorted(missing)}, expected all that run")
        ordered = self._connect(specs)
        old, self._components = self._components, {}
        for spec in ordered:
            if spec.name in old:
                self._components[spec.name] = old[spec.name]
                old[spec.name].renew(spec)
            else:
                is_installed = spec.name in installed
                self._components[spec.name] = self._make(spec, is_installed=is_installed)
        for name, component in self._components.items():
            if name not in old:
                self._start(name)
                self._tell(name)
            elif component.status().state is State.BROKEN:
                component.reinstall()

    async def outcome(self, names: Collection[str]) -> list[ComponentStatus]:
        """The components that are BROKEN, at once; none when all are RUNNING or FINISHED to stay.

        It may take for ever: a nucleus knows no limit here. Source: aws-greengrass-nucleus,
        DeploymentConfigMerger.waitForServicesToStart.
        """
        while True:
            self._settled.clear()
            followed = [self._components[name] for name in names if name in self._components]
            broken = [it.status() for it in followed if it.is_settled]
            if bad := [it for it in broken if it.state is State.BROKEN]:
                return bad
            if len(broken) == len(followed):
                return []
            await self._settled.wait()

    async def settled(self, timeout_s: float) -> bool:
        """Whether, after a while at most, each component is RUNNING, FINISHED or BROKEN to stay."""
        try:
            async with asyncio.timeout(timeout_s):
                while not all(component.is_settled for component in self._components.values()):
                    self._settled.clear()
                    await self._settled.wait()
        except TimeoutError:
            return False
        return True

    def _connect(self, specs: Iterable[ComponentSpec]) -> list[ComponentSpec]:
        """The components in the order in which they start; who depends on whom is known then.

        Raises:
            ValueError: a name stands twice, or components depend on each other in a circle.
        """
        by_name: dict[str, ComponentSpec] = {}
        for spec in specs:
            if spec.name in by_name:
                raise ValueError(f"components: got {spec.name!r} twice, expected each name once")
            by_name[spec.name] = spec
        graph = {name: by_name.keys() & spec.dependencies for name, spec in by_name.items()}
        ordered = [by_name[name] for name in TopologicalSorter(graph).static_order()]
        self._dependants = {name: [] for name in by_name}
        for spec in ordered:
            self._hard[spec.name] = [it for it in graph[spec.name] if spec.dependencies[it]]
            for other in graph[spec.name]:
                self._dependants[other].append(spec.name)
        return ordered

    def _make(self, spec: ComponentSpec, *, is_installed: bool = False) -> Component:
        on_line = self._on_line
        return Component(
            spec,
            is_ready=lambda: self._has_all(self._hard[spec.name]),
            changed=lambda: self._tell(spec.name),
            settled=self._settled.set,
            on_line=None if on_line is None else lambda line: on_line(spec.name, line),
            clock_s=self._clock_s,
            is_installed=is_installed,
        )

    def _has_all(self, names: Collection[str]) -> bool:
        """Whether dependants of these may run; one that is being replaced is not there."""
        return all(name in self._components and self._components[name].is_ready for name in names)

    def _start(self, name: str) -> None:
        component = self._components[name]
        component.start()
        self._tasks[name] = asyncio.create_task(component.run(), name=f"component {name}")
        self._tasks[name].add_done_callback(_log_failure)

    def _begin_close(self, names: Collection[str]) -> list[asyncio.Task[None]]:
        """Begins to stop components, each after those of them that depend on it."""
        closing: dict[str, asyncio.Task[None]] = {}
        for name in reversed([it for it in self._components if it in names]):
            before = [closing[other] for other in self._dependants[name] if other in closing]
            task = self._tasks.pop(name)
            closing[name] = asyncio.create_task(self._close(name, task, before))
        return list(closing.values())

    def _tell(self, name: str) -> None:
        try:
            self._on_change(self._components[name].status())
        except Exception:
            _log.exception("who follows the components' states failed")
        for other in self._dependants.get(name, ()):
            if other in self._components and name in self._hard[other]:
                self._components[other].follow_dependency(name)

    async def _close(
        self, name: str, task: asyncio.Task[None], before: Collection[asyncio.Task[None]]
    ) -> None:
        component = self._components[name]
        if before:
            await asyncio.wait(before)
        await component.close()
        try:
            await task
        finally:
            await component.release()


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.critical("%s is not followed any more", task.get_name(), exc_info=task.exception())
