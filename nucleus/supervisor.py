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
        by_name: dict[str, ComponentSpec] = {}
        for spec in specs:
            if spec.name in by_name:
                raise ValueError(f"components: got {spec.name!r} twice, expected each name once")
            by_name[spec.name] = spec
        graph = {name: by_name.keys() & spec.dependencies for name, spec in by_name.items()}
        self._on_change = on_change
        self._settled = asyncio.Event()
        self._components: dict[str, Component] = {}
        self._dependants: dict[str, list[str]] = {name: [] for name in by_name}
        self._hard: dict[str, list[str]] = {}
        for name in TopologicalSorter(graph).static_order():
            spec = by_name[name]
            self._hard[name] = [other for other in graph[name] if spec.dependencies[other]]
            for other in graph[name]:
                self._dependants[other].append(name)
            self._components[name] = self._make(spec, on_line, clock_s)
        self._tasks: dict[str, asyncio.Task[None]] = {}

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
        for name, component in self._components.items():
            component.start()
            self._tasks[name] = asyncio.create_task(component.run(), name=f"component {name}")
            self._tasks[name].add_done_callback(_log_failure)

    async def stop(self) -> None:
        """Stops the components, dependants before what they depend on; leaves no process.

        A second call does nothing.
        """
        tasks, self._tasks = self._tasks, {}
        closing: dict[str, asyncio.Task[None]] = {}
        for name in reversed(tasks):
            before = [closing[other] for other in self._dependants[name]]
            closing[name] = asyncio.create_task(self._close(name, tasks[name], before))
        if closing:
            await asyncio.wait(closing.values())  # all of them, also where one fails
            await asyncio.gather(*closing.values())

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

    def _make(
        self,
        spec: ComponentSpec,
        on_line: Callable[[str, str], None] | None,
        clock_s: Callable[[], float],
    ) -> Component:
        hard = self._hard[spec.name]
        return Component(
            spec,
            is_ready=lambda: all(self._components[name].is_ready for name in hard),
            changed=lambda: self._tell(spec.name),
            settled=self._settled.set,
            on_line=None if on_line is None else lambda line: on_line(spec.name, line),
            clock_s=clock_s,
        )

    def _tell(self, name: str) -> None:
        try:
            self._on_change(self._components[name].status())
        except Exception:
            _log.exception("who follows the components' states failed")
        for other in self._dependants[name]:
            if name in self._hard[other]:
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
