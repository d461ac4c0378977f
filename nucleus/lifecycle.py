"""The states of a component and what leads from one to the next; no process, no loop, no I/O.

A machine is told what happened (`report`, `exited`, `timed_out`, `want`) and asked what is to be
done (`work`); whoever does it tells the end of it (`done`). What a component shall become is a list
of states to pass through, as there: to restart is to become INSTALLED, then RUNNING.

Source: aws-greengrass-nucleus, Lifecycle and GenericExternalService.
"""

import signal
from collections.abc import Callable
from enum import Enum, StrEnum

ERROR_RESET_S = 3600.0
"""Between two errors, after which the earlier ones are forgotten."""

MAX_ERRORS = 3
"""From one state, without such a gap, and the component is BROKEN."""

DEFAULT_TIMEOUTS_S: dict[str, float | None] = {
    "install": 120.0,
    "startup": 120.0,
    "run": None,
    "shutdown": 15.0,
    "recover": 60.0,
}
"""By step; None where it may run for ever."""


class State(StrEnum):
    """Of a component, in the names of the IPC."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    STOPPING = "STOPPING"
    FINISHED = "FINISHED"
    ERRORED = "ERRORED"
    BROKEN = "BROKEN"


class Work(Enum):
    """What a state asks for."""

    NOTHING = "wait for something to happen"
    INSTALL = "run install to its end, or nothing where there is none"
    AWAIT_DEPENDENCIES = "wait until the hard dependencies are ready"
    START = "run startup, else run, else nothing"
    SHUT_DOWN = "run shutdown to its end, then end the processes"
    RECOVER = "run recover to its end"


ALLOWED_REPORTS = {
    State.NEW: frozenset({State.ERRORED}),
    State.STARTING: frozenset({State.RUNNING, State.ERRORED, State.FINISHED}),
    State.RUNNING: frozenset({State.ERRORED, State.FINISHED}),
    State.STOPPING: frozenset({State.ERRORED, State.FINISHED}),
}
"""What may be reported in a state; anything else is ignored."""

READY = frozenset({State.RUNNING, State.FINISHED})
"""The states of a dependency in which its hard dependants may start and go on."""

_KILLED = 128 + signal.SIGKILL
"""What a shell, and docker, make of SIGKILL, which is also the kernel's way to get memory back."""

_COUNTED = frozenset({State.NEW, State.STARTING, State.RUNNING})
_STARTED = frozenset({State.STARTING, State.RUNNING})
_AT_REST = frozenset({State.NEW, State.INSTALLED, State.FINISHED, State.BROKEN})


class Lifecycle:
    """The machine of one component.

    Attributes:
        state: now.
        errors: in all, since it was made.
        last_error: the text of the latest; empty before.
        generation: of scripts; those of an earlier one have no say any more.
    """

    def __init__(
        self,
        changed: Callable[[], None],
        clock_s: Callable[[], float],
        error_reset_s: float = ERROR_RESET_S,
        *,
        is_installed: bool = False,
    ) -> None:
        """A component that is NEW and shall stay so.

        Args:
            changed: called after each change of `state`.
            clock_s: any clock that only goes forward.
            error_reset_s: see `ERROR_RESET_S`.
            is_installed: whether it is INSTALLED instead, by an earlier machine.
        """
        self.state = State.INSTALLED if is_installed else State.NEW
        self.errors = 0
        self.last_error = ""
        self.generation = 0
        self._changed = changed
        self._clock_s = clock_s
        self._error_reset_s = error_reset_s
        self._came_from = State.NEW
        self._desired: list[State] = []
        self._failures: dict[State, list[float]] = {}
        self._is_begun = False  # the work of this visit to the state
        self._is_clean = True  # BROKEN still runs shutdown where it had started

    def start(self) -> None:
        """It shall run; a component that is BROKEN stays so."""
        self._desired = [State.RUNNING]

    def stop(self) -> None:
        """It shall stop."""
        self._desired = [State.FINISHED]

    def restart(self) -> None:
        """It shall stop where it runs, and run again; by hand, so also where it is BROKEN."""
        if self.state is State.BROKEN:
            self.reinstall()
        elif State.NEW in self._desired:
            self._desired = [State.NEW, State.RUNNING]  # more than that was asked for
        else:
            self._desired = [State.INSTALLED, State.RUNNING]

    def reinstall(self) -> None:
        """It shall stop where it runs, install again and run; also where it is BROKEN."""
        self._desired = [State.NEW, State.RUNNING]

    @property
    def is_settled(self) -> bool:
        """Whether it is RUNNING, FINISHED or BROKEN and nothing else is asked of it."""
        self._forget_reached()
        if self.state is State.BROKEN:
            return self._is_clean and State.NEW not in self._desired
        return self.state in READY and not self._desired

    @property
    def is_at_rest(self) -> bool:
        """Whether no script of it runs in its state."""
        return self.state in _AT_REST and self._is_clean

    def report(self, state: State) -> bool:
        """What the component says of itself; whether that is allowed now."""
        if state not in ALLOWED_REPORTS.get(self.state, frozenset()):
            return False
        if state is State.ERRORED:
            self.fail("the component itself: got a report of ERRORED, expected RUNNING")
        else:
            self._move(state)
        return True

    def fail(self, error: str) -> None:
        """An error in the present state; the third in a row from one state breaks the component."""
        self.errors += 1
        self.last_error = error
        if self.state in _COUNTED and self._count() >= MAX_ERRORS:
            self._move(State.BROKEN)
        else:
            self._move(State.ERRORED)

    def exited(self, step: str, code: int, said: str = "") -> None:
        """The script of `startup` or `run` that belongs to this `generation` has ended.

        `said` is what it has said last about what is wrong.

        `startup` that ends well after RUNNING was reported leaves a component RUNNING that has no
        process; `run` that ends well is a component that is done.
        """
        if self.state not in _STARTED:
            return
        if code != 0:
            self.fail(with_words(f"{step}: got {_name_exit(code)}, expected 0", said))
        elif step == "run":
            self.stop()
        elif self.state is State.STARTING:
            self._move(State.RUNNING)

    def timed_out(self, step: str, timeout_s: float, said: str = "") -> None:
        """`startup` has not led to RUNNING in time, or `run` has not ended; `said` as above."""
        if step == "run" and self.state is State.RUNNING:
            self.fail(with_words(f"run: got no end in {timeout_s:g} s, expected one", said))
        elif step == "startup" and self.state is State.STARTING:
            self.fail(with_words(f"startup: got no RUNNING in {timeout_s:g} s, expected it", said))

    def work(self) -> Work:
        """What is to be done now; moves on first where what is desired asks for that alone.

        Waiting for dependencies is given again and again, other work once in a visit to a state.
        """
        while (state := self._next_at_once()) is not None:
            if self.state is State.BROKEN:
                self._failures.clear()
            self._move(state)
        if self._is_begun:
            return Work.NOTHING
        work = Work.NOTHING if self.state in _IDLE and not self._desired else _WORK[self.state]
        if self.state is State.BROKEN and self._is_clean:
            work = Work.NOTHING
        self._is_begun = work not in {Work.NOTHING, Work.AWAIT_DEPENDENCIES}
        return work

    def done(self, work: Work) -> None:
        """The work has been done; where an error was told meanwhile, this changes nothing."""
        if work is Work.INSTALL and self.state is State.NEW:
            self._move(State.INSTALLED)
        elif work is Work.AWAIT_DEPENDENCIES and self.state is State.INSTALLED:
            self._move(State.STARTING)
        elif work is Work.SHUT_DOWN and self.state is State.STOPPING:
            self._come_to_rest()
        elif work is Work.SHUT_DOWN and self.state is State.BROKEN:
            self._is_clean = True
        elif work is Work.RECOVER and self.state is State.ERRORED:
            self._recovered()

    def began_run(self) -> None:
        """The script of `run` was started: that alone makes the component RUNNING."""
        if self.state is State.STARTING:
            self._move(State.RUNNING)

    def had_nothing_to_run(self) -> None:
        """There is neither `startup` nor `run`."""
        if self.state is State.STARTING:
            self._move(State.FINISHED)

    def _count(self) -> int:
        now_s = self._clock_s()
        times_s = self._failures.setdefault(self.state, [])
        if times_s and now_s - times_s[-1] >= self._error_reset_s:
            times_s.clear()
        times_s.append(now_s)
        return len(times_s)

    def _move(self, state: State) -> None:
        if state not in {State.ERRORED, State.BROKEN}:
            self._failures.pop(self.state, None)  # it was left without an error
        if self.state is State.STARTING and state is State.FINISHED:
            self.stop()
        if state in {State.NEW, State.STARTING}:
            self.generation += 1
        self._came_from, self.state = self.state, state
        self._is_begun = False
        self._is_clean = state is not State.BROKEN or self._came_from not in _STARTED
        self._changed()

    def _forget_reached(self) -> None:
        while self._desired and self._desired[0] is self.state:
            del self._desired[0]

    def _next_at_once(self) -> State | None:
        """Where the state leads by what is desired alone; None where it stays."""
        self._forget_reached()
        if not self._desired:
            return None
        desired = self._desired[0]
        if self.state is State.RUNNING or (
            self.state is State.STARTING and desired is not State.RUNNING
        ):
            return State.STOPPING
        if self.state is State.FINISHED:
            return _from_rest(desired)
        if self.state is State.INSTALLED and desired is not State.RUNNING:
            return desired
        if self.state is State.BROKEN and self._is_clean and desired is State.NEW:
            return State.NEW
        return None

    def _recovered(self) -> None:
        """After an error, whichever state it came from, the component is tried again."""
        if not self._desired:
            self.start()
        if self._came_from in _STARTED:
            self._move(State.STOPPING)
        elif self._came_from is State.NEW:
            self._move(State.NEW)
        else:
            self._come_to_rest()

    def _come_to_rest(self) -> None:
        """After a stop: on to what is desired next."""
        self._move(_from_rest(self._desired[0]) if self._desired else State.FINISHED)


def with_words(error: str, said: str) -> str:
    """An error of a step, with what its script has said last about what is wrong."""
    return f"{error}; its last error: {said}" if said else error


def _name_exit(code: int) -> str:
    """An exit code, and what it means where people would have to look that up."""
    meaning = " (killed, by somebody or for want of memory)" if code == _KILLED else ""
    return f"exit code {code}{meaning}"


def _from_rest(desired: State) -> State:
    """The next state of a component that does not run."""
    return State.INSTALLED if desired is State.RUNNING else desired


_WORK = {
    State.NEW: Work.INSTALL,
    State.INSTALLED: Work.AWAIT_DEPENDENCIES,
    State.STARTING: Work.START,
    State.RUNNING: Work.NOTHING,
    State.STOPPING: Work.SHUT_DOWN,
    State.FINISHED: Work.NOTHING,
    State.ERRORED: Work.RECOVER,
    State.BROKEN: Work.SHUT_DOWN,
}
_IDLE = frozenset({State.NEW, State.INSTALLED})
"""They ask for nothing unless the component shall become something else."""
