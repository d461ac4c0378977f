"""One component as it runs: what its lifecycle asks for, done with processes."""

import asyncio
import json
import logging
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nucleus.component_log import ComponentLog, Level
from nucleus.lifecycle import DEFAULT_TIMEOUTS_S, READY, Lifecycle, State, Work, with_words
from nucleus.process import Command, Script, Stream
from nucleus.recipe import Step

_MAX_SHOWN = 60
_LAST_WORDS_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentSpec:
    """A component to run.

    Attributes:
        name: of the component.
        version: for people.
        steps: by name in lower case, their scripts and variables interpolated.
        environment: all that every step gets, but for what a step has of its own.
        work: the directory to run in, made where it is missing.
        log: the file of what it writes.
        dependencies: by name, and whether each is a hard one. Names that no other component has are
            taken as ready.
    """

    name: str
    version: str
    steps: Mapping[str, Step]
    environment: Mapping[str, str] = field(repr=False)  # it holds the component's token
    work: Path
    log: Path
    dependencies: Mapping[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentStatus:
    """How a component is.

    Attributes:
        name: of the component.
        version: of the component.
        state: of its lifecycle.
        since: in that state, in seconds since 1970; for people, for that clock may be set.
        since_s: the same in seconds of the machine's monotonic clock, which other processes share.
        errors: in all, since the device runs.
        pid: of the shell of `startup` or `run`; None where neither runs.
        last_error: the text of the latest error; empty where there was none.
    """

    name: str
    version: str
    state: State
    since: float
    since_s: float
    errors: int
    pid: int | None
    last_error: str


class _StepError(Exception):
    """A step's script could not even be started."""


class Component:
    """Runs one component, on the event loop that calls `run`."""

    def __init__(  # noqa: PLR0913  (the keywords are callbacks)
        self,
        spec: ComponentSpec,
        *,
        is_ready: Callable[[], bool],
        changed: Callable[[], None],
        settled: Callable[[], None],
        on_line: Callable[[str], None] | None,
        clock_s: Callable[[], float],
        is_installed: bool = False,
    ) -> None:
        """Starts nothing yet.

        Args:
            spec: what to run.
            is_ready: whether its hard dependencies are.
            changed: called after each change of its state.
            settled: called when it is in a state to stay.
            on_line: called with each line of its log.
            clock_s: see `Lifecycle`.
            is_installed: whether `install` is left out, because an earlier one has done it.
        """
        self.spec = spec
        self._next_spec = spec
        self._is_ready = is_ready
        self._changed = changed
        self._settled = settled
        self._log = ComponentLog(spec.log, spec.name)
        if on_line is not None:
            self._log.follow(on_line)
        self._lifecycle = Lifecycle(self._on_change, clock_s, is_installed=is_installed)
        self._mark_time()
        self._woken = asyncio.Event()
        self._is_closing = False
        self._main: Script | None = None
        self._scripts: list[Script] = []
        self._watches: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_settled(self) -> bool:
        """Whether it is RUNNING, FINISHED or BROKEN and shall stay so."""
        return self._lifecycle.is_settled

    @property
    def is_ready(self) -> bool:
        """Whether its hard dependants may run."""
        return self._lifecycle.state in READY

    def status(self) -> ComponentStatus:
        """How it is now."""
        runs = self._main if self._main is not None and self._main.exit_code is None else None
        return ComponentStatus(
            name=self.spec.name,
            version=self.spec.version,
            state=self._lifecycle.state,
            since=self._since,
            since_s=self._since_s,
            errors=self._lifecycle.errors,
            pid=runs.pid if runs is not None else None,
            last_error=self._lifecycle.last_error,
        )

    def renew(self, spec: ComponentSpec) -> None:
        """Takes another `shutdown` over at its next start; until then it stops as it began.

        Source: aws-greengrass-nucleus, GenericExternalService, which keeps the script at start.
        """
        self._next_spec = spec

    def reinstall(self) -> None:
        """It shall stop where it runs, install again and run, also where it is BROKEN."""
        if not self._is_closing:
            self._lifecycle.reinstall()
            self._woken.set()

    def start(self) -> None:
        """It shall run."""
        self._lifecycle.start()
        self._woken.set()

    def restart(self) -> None:
        """It shall stop and run again, also where it is BROKEN."""
        if not self._is_closing:
            self._lifecycle.restart()
            self._woken.set()

    def report(self, state: State) -> None:
        """What it says of itself; ignored where its state does not allow it."""
        before = self._lifecycle.state
        if not self._lifecycle.report(state):
            self._say("WARN", f"a report of {state} is ignored in the state {before}")

    def follow_dependency(self, name: str) -> None:
        """A hard dependency has another state: start, or stop and wait for it."""
        if self._lifecycle.state in {State.STARTING, State.RUNNING} and not self._is_ready():
            self._say("WARN", f"restarting, because {name} does not run any more")
            self.restart()
        self._woken.set()

    async def run(self) -> None:
        """Does what the lifecycle asks for, until `close` has brought it to rest."""
        while not (self._is_closing and self._lifecycle.is_at_rest):
            self._woken.clear()
            work = self._lifecycle.work()
            if self._lifecycle.is_settled:
                self._settled()
            await self._do(work)

    async def close(self) -> None:
        """Brings it to rest, with `shutdown` where it had started, and leaves no process of it."""
        self._is_closing = True
        self._lifecycle.stop()
        self._woken.set()
        if self._lifecycle.state in {State.NEW, State.ERRORED}:
            await self._stop_running()  # install and recover may take minutes

    async def release(self) -> None:
        """After `run` has ended: ends what its scripts have left behind, and closes its log."""
        if self._timer is not None:
            self._timer.cancel()
        await asyncio.gather(*(script.stop() for script in self._scripts))
        watches = tuple(self._watches)
        if watches:
            _, unended = await asyncio.wait(watches, timeout=_LAST_WORDS_S)
            for watch in unended:
                watch.cancel()  # even SIGKILL has not helped
        self._log.close()

    async def _do(self, work: Work) -> None:
        if work is Work.NOTHING or (work is Work.AWAIT_DEPENDENCIES and not self._is_ready()):
            await self._woken.wait()
        elif work is Work.AWAIT_DEPENDENCIES:
            self._lifecycle.done(work)
        elif work is Work.INSTALL:
            await self._install()
        elif work is Work.START:
            await self._start()
        elif work is Work.SHUT_DOWN:
            await self._shut_down()
        elif work is Work.RECOVER:
            await self._recover()

    async def _install(self) -> None:
        await self._stop_scripts()
        error = ""
        try:
            async with asyncio.timeout(self._timeout_s("install")):
                script = await self._run_to_end("install")
                if script is not None and (code := script.exit_code):
                    observed = f"install: got exit code {code}, expected 0"
                    error = with_words(observed, script.last_words)
        except TimeoutError:
            error = f"install: got no end in {self._timeout_s('install'):g} s, expected one"
        except _StepError as failure:
            error = str(failure)
        if error and self._lifecycle.state is State.NEW:
            self._lifecycle.fail(error)
        self._lifecycle.done(Work.INSTALL)

    async def _start(self) -> None:
        """Starts `startup` or `run`; their ends are told to the lifecycle as they come."""
        await self._stop_scripts()
        if self._is_closing or self._lifecycle.state is not State.STARTING:
            return  # asked to stop, or reported ERRORED, meanwhile
        self.spec = self._next_spec
        step = next((name for name in ("startup", "run") if name in self.spec.steps), None)
        if step is None:
            self._lifecycle.had_nothing_to_run()
            return
        try:
            self._main = self._open(step)
        except _StepError as failure:
            self._lifecycle.fail(str(failure))
            return
        # A `startup` that is skipped leaves nobody to say RUNNING: it times out, as there.
        if step == "run":
            self._lifecycle.began_run()
        generation = self._lifecycle.generation
        if self._main is not None:
            watch = asyncio.create_task(self._watch(self._main, step, generation))
            self._watches.add(watch)
            watch.add_done_callback(self._watches.discard)
        if self._timer is not None:
            self._timer.cancel()
        if (timeout_s := self._timeout_s(step)) is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_s, self._time_out, step, generation)

    async def _watch(self, script: Script, step: str, generation: int) -> None:
        code = await script.wait()
        self._say("INFO", f"{step.capitalize()} script exited", {"exitCode": code})
        if generation == self._lifecycle.generation:
            self._lifecycle.exited(step, code, script.last_words)
            self._woken.set()

    def _time_out(self, step: str, generation: int) -> None:
        over = self._main is None or self._main.exit_code is not None
        if generation == self._lifecycle.generation and not (step == "run" and over):
            said = "" if self._main is None else self._main.last_words
            self._lifecycle.timed_out(step, self._timeout_s(step) or 0.0, said)

    async def _shut_down(self) -> None:
        """Runs `shutdown`, whose exit code is of no interest, and ends the processes."""
        timeout_s = self._timeout_s("shutdown")
        try:
            async with asyncio.timeout(timeout_s):
                try:
                    await self._run_to_end("shutdown")
                except _StepError as failure:
                    self._say("WARN", str(failure))
                await self._stop_scripts()
        except TimeoutError:
            await self._stop_scripts()
            error = f"shutdown: got no end in {timeout_s:g} s, expected one"
            if self._lifecycle.state is State.STOPPING:
                self._lifecycle.fail(error)
            else:
                self._say("WARN", error)
        self._lifecycle.done(Work.SHUT_DOWN)

    async def _recover(self) -> None:
        timeout_s = self._timeout_s("recover")
        try:
            async with asyncio.timeout(timeout_s):
                await self._run_to_end("recover")
        except TimeoutError:
            self._say("WARN", f"recover: got no end in {timeout_s:g} s, expected one")
        except _StepError as failure:
            self._say("WARN", str(failure))
        self._lifecycle.done(Work.RECOVER)

    async def _run_to_end(self, step: str) -> Script | None:
        """A step's script, which has ended; None where there is nothing to run.

        Raises:
            _StepError: it could not be started.
        """
        script = self._open(step)
        if script is None:
            return None
        try:
            await script.wait()
            return script
        finally:
            if script.exit_code is None:  # its time is over
                await script.stop()

    def _open(self, name: str) -> Script | None:
        """A step's script, begun; None where there is none, or it is to be skipped.

        Raises:
            _StepError: it could not be started.
        """
        step = self.spec.steps.get(name)
        if step is None or (self._is_closing and name != "shutdown"):
            return None
        environment = {**self.spec.environment, **step.environment}
        if step.skipif is not None and _is_met(step.skipif, environment):
            self._say("INFO", f"{name} is skipped: {step.skipif}")
            return None
        shown = step.script if len(step.script) <= _MAX_SHOWN else f"{step.script[:_MAX_SHOWN]}..."
        script_name = f"services.{self.spec.name}.lifecycle.{name}"
        facts = {"scriptName": script_name, "command": json.dumps([shown])}
        self._say("INFO", "shell-runner-start", facts)

        def on_line(stream: Stream, text: str) -> None:
            self._log.output(stream, text, name, self._lifecycle.state)

        try:
            self.spec.work.mkdir(parents=True, exist_ok=True)
            script = Script(
                Command(script=step.script, directory=self.spec.work, environment=environment),
                on_line,
            )
        except (OSError, ValueError) as error:
            raise _StepError(f"{name}: got {error}, expected a start") from error
        self._scripts.append(script)
        return script

    async def _stop_running(self) -> None:
        """Ends all scripts whose shell runs."""
        running = [script for script in self._scripts if script.exit_code is None]
        await asyncio.gather(*(script.stop() for script in running))

    async def _stop_scripts(self) -> None:
        """Ends all scripts whose shell runs, and forgets those that have left nothing.

        What others have left in the background goes on until `release`, as it would on a device:
        a component ends it in `shutdown`.
        """
        await self._stop_running()
        for script in tuple(self._scripts):
            if script.has_processes():
                self._say("WARN", f"processes of an earlier script ({script.pid}) go on")
            else:
                self._scripts.remove(script)
                await script.stop()  # lets go of its pipes

    def _timeout_s(self, name: str) -> float | None:
        step = self.spec.steps.get(name)
        if step is None or step.timeout_s is None:
            return DEFAULT_TIMEOUTS_S[name]
        return step.timeout_s

    def _say(self, level: Level, text: str, fields: Mapping[str, object] | None = None) -> None:
        self._log.event(level, text, self._lifecycle.state, fields)

    def _mark_time(self) -> None:
        self._since, self._since_s = time.time(), time.monotonic()

    def _on_change(self) -> None:
        self._mark_time()
        _log.info("%s is %s", self.spec.name, self._lifecycle.state)
        if self._lifecycle.state in {State.ERRORED, State.BROKEN}:
            self._say("ERROR", self._lifecycle.last_error)
        self._woken.set()
        self._changed()


def _is_met(condition: str, environment: Mapping[str, str]) -> bool:
    """Whether `exists PATH` or `onpath COMMAND`, perhaps after `!`, holds."""
    text = condition.strip()
    negated = text.startswith("!")
    operator, _, operand = text.removeprefix("!").strip().partition(" ")
    if operator == "onpath":
        found = shutil.which(operand.strip(), path=environment.get("PATH")) is not None
    else:
        found = Path(operand.strip()).expanduser().exists()
    return found is not negated
