"""Components of small shell scripts under a supervisor, for tests."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from uuid import uuid4

import psutil

from nucleus.lifecycle import State
from nucleus.recipe import Step
from nucleus.supervisor import ComponentSpec, ComponentStatus, Supervisor

MARK = "EDGEXGB_TEST_COMPONENTS"


class Device:
    """What runs under one root, and all that was heard of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.mark = uuid4().hex
        self.now_s = 0.0
        self.changes: list[ComponentStatus] = []
        self.lines: list[tuple[str, str]] = []
        self.supervisor: Supervisor
        self._heard = asyncio.Event()

    def spec(
        self, name: str, needs: dict[str, bool] | None = None, **steps: str | Step
    ) -> ComponentSpec:
        """A component of scripts."""
        return ComponentSpec(
            name=name,
            version="1.0.0",
            steps={
                step: Step(script=found) if isinstance(found, str) else found
                for step, found in steps.items()
            },
            environment={"PATH": os.environ["PATH"], MARK: self.mark},
            work=self.root / "work" / name,
            log=self.root / "logs" / f"{name}.log",
            dependencies=needs or {},
        )

    @contextlib.asynccontextmanager
    async def running(self, *specs: ComponentSpec) -> AsyncIterator[Supervisor]:
        """The components, started; they are stopped at the end, and nothing of them is left."""
        self._heard = asyncio.Event()
        self.supervisor = Supervisor(
            specs, self._on_change, on_line=self._on_line, clock_s=lambda: self.now_s
        )
        await self.supervisor.start()
        try:
            yield self.supervisor
        finally:
            await self.supervisor.stop()
            assert self.processes() == []

    def processes(self) -> list[psutil.Process]:
        """All living processes of the components, wherever they went."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                living = process.status() != psutil.STATUS_ZOMBIE
                if living and process.environ().get(MARK) == self.mark:
                    found.append(process)
        return found

    def states(self, name: str) -> list[State]:
        """The states a component passed through."""
        return [status.state for status in self.changes if status.name == name]

    def status(self, name: str) -> ComponentStatus:
        return next(status for status in self.supervisor.status() if status.name == name)

    def said(self, text: str) -> bool:
        """Whether any log has a text."""
        return any(text in line for _, line in self.lines)

    def order(self) -> list[str]:
        """What the scripts wrote, in order, over all components."""
        return [
            line.partition("stdout. ")[2].partition(". {")[0]
            for _, line in self.lines
            if "stdout. " in line
        ]

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something holds that a change or a line brings."""
        async with asyncio.timeout(20):
            while not condition():
                self._heard.clear()
                await self._heard.wait()

    async def until_state(self, name: str, state: State) -> None:
        await self.until(lambda: self.status(name).state is state)

    def _on_change(self, status: ComponentStatus) -> None:
        self.changes.append(status)
        self._heard.set()

    def _on_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))
        self._heard.set()
