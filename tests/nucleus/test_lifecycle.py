from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.lifecycle import ALLOWED_REPORTS, DEFAULT_TIMEOUTS_S, Lifecycle, State, Work


class Bench:
    """A machine, the states it passed through, and a clock that is turned by hand."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.states = [State.NEW]
        self.machine = Lifecycle(self._changed, lambda: self.now_s)

    def _changed(self) -> None:
        self.states.append(self.machine.state)

    def do(self, work: Work) -> None:
        """The next thing that is asked for is this, and it is done without an error."""
        assert self.machine.work() is work
        self.machine.done(work)

    def start(self) -> None:
        """Into STARTING, with the step begun."""
        self.machine.start()
        self.do(Work.INSTALL)
        self.do(Work.AWAIT_DEPENDENCIES)
        assert self.machine.work() is Work.START

    def start_again(self) -> None:
        """From INSTALLED, after a stop."""
        self.do(Work.AWAIT_DEPENDENCIES)
        assert self.machine.work() is Work.START

    def after_error(self) -> None:
        """What follows an error of a component that had started, up to the next start."""
        self.do(Work.RECOVER)
        self.do(Work.SHUT_DOWN)
        self.start_again()

    def into(self, state: State) -> None:
        """Into a state, by the shortest way."""
        machine = self.machine
        if state is State.NEW:
            return
        machine.start()
        self.do(Work.INSTALL)
        if state is State.INSTALLED:
            return
        if state is State.FINISHED:
            machine.stop()
            machine.work()
            return
        self.start_again()
        if state is State.STARTING:
            return
        if state is State.ERRORED:
            machine.fail("x")
            return
        if state is State.BROKEN:
            for _ in range(2):
                machine.fail("x")
                self.after_error()
            machine.fail("x")
            return
        machine.began_run()
        if state is State.STOPPING:
            machine.stop()
            machine.work()
        assert machine.state is state


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_component_that_shall_not_run_stays_new(bench: Bench) -> None:
    """Nothing is done before somebody wants it."""
    assert bench.machine.work() is Work.NOTHING
    assert not bench.machine.is_settled
    assert bench.machine.is_at_rest


def test_run_that_ends_well_finishes_the_component(bench: Bench) -> None:
    """RUNNING when it begins; `shutdown` after its end; then it is done."""
    bench.start()
    bench.machine.began_run()
    assert bench.machine.is_settled
    bench.machine.exited("run", 0)
    bench.do(Work.SHUT_DOWN)
    assert bench.machine.work() is Work.NOTHING
    assert bench.machine.is_settled
    assert bench.states == ["NEW", "INSTALLED", "STARTING", "RUNNING", "STOPPING", "FINISHED"]


def test_startup_that_ends_well_is_running(bench: Bench) -> None:
    """And stays so without any process."""
    bench.start()
    bench.machine.exited("startup", 0)
    assert bench.machine.work() is Work.NOTHING
    assert bench.states == ["NEW", "INSTALLED", "STARTING", "RUNNING"]


def test_startup_that_reported_running_and_ends_well_stays_running(bench: Bench) -> None:
    """The trap of a service that leaves with 0."""
    bench.start()
    assert bench.machine.report(State.RUNNING)
    bench.machine.exited("startup", 0)
    assert bench.machine.state is State.RUNNING
    assert bench.machine.errors == 0


@pytest.mark.parametrize("reported", [False, True])
def test_startup_that_ends_badly_is_an_error(bench: Bench, reported: bool) -> None:
    """Before and after it reported RUNNING."""
    bench.start()
    if reported:
        bench.machine.report(State.RUNNING)
    bench.machine.exited("startup", 7)
    assert bench.machine.state is State.ERRORED
    assert bench.machine.last_error == "startup: got exit code 7, expected 0"
    bench.after_error()
    assert bench.states[-4:] == ["ERRORED", "STOPPING", "INSTALLED", "STARTING"]


def test_component_without_steps_is_finished_at_once(bench: Bench) -> None:
    """Libraries are components too; nothing is shut down."""
    bench.start()
    bench.machine.had_nothing_to_run()
    assert bench.machine.work() is Work.NOTHING
    assert bench.states == ["NEW", "INSTALLED", "STARTING", "FINISHED"]


def test_install_that_fails_is_run_again_and_breaks_the_component(bench: Bench) -> None:
    """At once, three times in all; it never started, so there is nothing to shut down."""
    bench.machine.start()
    for _ in range(2):
        assert bench.machine.work() is Work.INSTALL
        bench.machine.fail("install: x")
        bench.machine.done(Work.INSTALL)
        bench.do(Work.RECOVER)
    assert bench.machine.work() is Work.INSTALL
    bench.machine.fail("install: x")
    assert bench.machine.work() is Work.NOTHING
    assert bench.machine.is_settled
    assert bench.states == ["NEW", "ERRORED", "NEW", "ERRORED", "NEW", "BROKEN"]


@pytest.mark.parametrize("state", [State.STARTING, State.RUNNING])
def test_third_error_from_one_state_breaks_the_component(bench: Bench, state: State) -> None:
    """Without any pause in between; `shutdown` still runs, and only then it is settled."""
    bench.start()
    for i in range(3):
        if state is State.RUNNING:
            bench.machine.began_run()
        bench.machine.fail(f"error {i}")
        if i < 2:
            bench.after_error()
    assert bench.machine.state is State.BROKEN
    assert (bench.machine.errors, bench.machine.last_error) == (3, "error 2")
    assert (bench.machine.is_settled, bench.machine.is_at_rest) == (False, False)
    bench.do(Work.SHUT_DOWN)
    assert bench.machine.work() is Work.NOTHING
    assert (bench.machine.is_settled, bench.machine.is_at_rest) == (True, True)


def test_errors_are_counted_for_each_state(bench: Bench) -> None:
    """Two from STARTING do not count for RUNNING; leaving STARTING well forgets its own."""
    bench.start()
    for _ in range(2):
        bench.machine.fail("early")
        bench.after_error()
    for _ in range(2):
        bench.machine.began_run()  # forgets both
        bench.machine.fail("late")
        bench.after_error()
    for _ in range(2):
        bench.machine.fail("early")
        bench.after_error()
    bench.machine.began_run()
    bench.machine.fail("late")
    assert bench.machine.state is State.BROKEN


@pytest.mark.parametrize(("gap_s", "state"), [(3599.9, State.BROKEN), (3600.0, State.ERRORED)])
def test_errors_with_an_hour_between_are_forgotten(
    bench: Bench, gap_s: float, state: State
) -> None:
    """The hour counts between neighbours."""
    bench.start()
    for _ in range(2):
        bench.machine.began_run()
        bench.machine.fail("x")
        bench.after_error()
        bench.now_s += gap_s
    bench.machine.began_run()
    bench.machine.fail("x")
    assert bench.machine.state is state


def test_restart_by_hand_forgets_the_errors_of_running(bench: Bench) -> None:
    """It leaves RUNNING without an error."""
    bench.start()
    for i in range(5):
        bench.machine.began_run()
        bench.machine.fail("x")
        bench.after_error()
        bench.machine.began_run()
        bench.machine.restart()
        bench.do(Work.SHUT_DOWN)
        bench.start_again()
        assert bench.machine.errors == i + 1
    assert State.BROKEN not in bench.states


def test_restart_by_hand_leaves_broken_and_installs_again(bench: Bench) -> None:
    """With no error held against it."""
    bench.into(State.BROKEN)
    bench.do(Work.SHUT_DOWN)
    bench.machine.restart()
    bench.do(Work.INSTALL)
    bench.start_again()
    bench.machine.fail("x")
    assert bench.machine.state is State.ERRORED


def test_start_does_not_leave_broken(bench: Bench) -> None:
    """Only a restart by hand, or another version, does."""
    bench.into(State.BROKEN)
    bench.do(Work.SHUT_DOWN)
    bench.machine.start()
    assert bench.machine.work() is Work.NOTHING
    assert bench.machine.state is State.BROKEN


@pytest.mark.parametrize(
    ("state", "works"),
    [
        (State.NEW, [Work.INSTALL]),
        (State.INSTALLED, []),
        (State.STARTING, [Work.SHUT_DOWN]),
        (State.RUNNING, [Work.SHUT_DOWN]),
        (State.STOPPING, []),
        (State.FINISHED, []),
        (State.ERRORED, [Work.RECOVER, Work.SHUT_DOWN]),
        (State.BROKEN, [Work.SHUT_DOWN]),
    ],
)
def test_restart_by_hand_from_any_state_runs_again(
    bench: Bench, state: State, works: list[Work]
) -> None:
    """What had started is shut down first."""
    bench.into(state)
    bench.machine.restart()
    assert not bench.machine.is_settled
    if state is State.STOPPING:
        bench.machine.done(Work.SHUT_DOWN)
    for work in works:
        bench.do(work)
    if state is State.BROKEN:
        bench.machine.restart()
        bench.do(Work.INSTALL)
    bench.start_again()
    bench.machine.began_run()
    assert bench.machine.is_settled


@pytest.mark.parametrize("state", [state for state in State if state is not State.BROKEN])
def test_stop_from_any_state_comes_to_rest(bench: Bench, state: State) -> None:
    """By way of `shutdown` where it had started."""
    bench.into(state)
    bench.machine.stop()
    had_started = state in {State.STARTING, State.RUNNING, State.STOPPING, State.ERRORED}
    if state is State.STOPPING:
        bench.machine.done(Work.SHUT_DOWN)
    while (work := bench.machine.work()) is not Work.NOTHING:
        assert work is not Work.START
        bench.machine.done(work)
    assert bench.machine.state is State.FINISHED
    assert (State.STOPPING in bench.states) is had_started


def test_waiting_for_dependencies_is_asked_for_again_and_again(bench: Bench) -> None:
    """Until it is done, or something else is wanted."""
    bench.into(State.INSTALLED)
    assert bench.machine.work() is bench.machine.work() is Work.AWAIT_DEPENDENCIES
    bench.machine.stop()
    assert bench.machine.work() is Work.NOTHING
    assert bench.machine.state is State.FINISHED


def test_work_is_asked_for_once_in_a_visit(bench: Bench) -> None:
    """Else a script would be started twice."""
    bench.start()
    assert bench.machine.work() is Work.NOTHING
    assert bench.machine.state is State.STARTING


def test_error_while_stopping_does_not_keep_it_from_resting(bench: Bench) -> None:
    """It is an error, but not one that counts."""
    for _ in range(4):
        bench.machine.restart()
        while (work := bench.machine.work()) is not Work.START:
            bench.machine.done(work)
        bench.machine.began_run()
        bench.machine.stop()
        assert bench.machine.work() is Work.SHUT_DOWN
        bench.machine.fail("shutdown: got no end in 15 s, expected one")
        bench.machine.done(Work.SHUT_DOWN)
        bench.do(Work.RECOVER)
        assert bench.machine.state is State.FINISHED
    assert bench.machine.errors == 4


def test_scripts_that_end_in_another_state_change_nothing(bench: Bench) -> None:
    """They were ended."""
    bench.into(State.STOPPING)
    bench.machine.exited("run", 143)
    bench.machine.timed_out("run", 1.0)
    bench.machine.timed_out("startup", 1.0)
    bench.machine.began_run()
    bench.machine.had_nothing_to_run()
    assert bench.machine.state is State.STOPPING


@pytest.mark.parametrize(
    ("step", "state", "error"),
    [
        ("startup", State.STARTING, "startup: got no RUNNING in 120 s, expected it"),
        ("run", State.RUNNING, "run: got no end in 120 s, expected one"),
        ("startup", State.RUNNING, ""),
        ("run", State.STARTING, ""),
    ],
)
def test_timeout_is_an_error_where_it_matters(
    bench: Bench, step: str, state: State, error: str
) -> None:
    """`startup` must lead to RUNNING in time, and `run` must end."""
    bench.into(state)
    bench.machine.timed_out(step, 120.0)
    assert bench.machine.last_error == error
    assert (bench.machine.state is State.ERRORED) is bool(error)


def test_exit_code_of_a_kill_is_explained(bench: Bench) -> None:
    """It is all that is left of a process that the kernel has ended for memory."""
    bench.into(State.STARTING)
    bench.machine.exited("startup", 137, "memory")
    meaning = "killed, by somebody or for want of memory"
    why = f"startup: got exit code 137 ({meaning}), expected 0; its last error: memory"
    assert bench.machine.last_error == why


def test_error_of_a_step_has_the_last_words_of_its_script(bench: Bench) -> None:
    """Behind what the nucleus itself has seen, whether the script ended or hangs."""
    bench.into(State.STARTING)
    bench.machine.timed_out("startup", 120.0, "no network")
    why = "startup: got no RUNNING in 120 s, expected it; its last error: no network"
    assert bench.machine.last_error == why
    bench.after_error()
    bench.machine.exited("startup", 7, "disk full")
    why = "startup: got exit code 7, expected 0; its last error: disk full"
    assert bench.machine.last_error == why


REPORTS = {
    (State.NEW, State.ERRORED),
    (State.STARTING, State.RUNNING),
    (State.STARTING, State.ERRORED),
    (State.STARTING, State.FINISHED),
    (State.RUNNING, State.ERRORED),
    (State.RUNNING, State.FINISHED),
    (State.STOPPING, State.ERRORED),
    (State.STOPPING, State.FINISHED),
}


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("reported", list(State))
def test_report_is_taken_where_it_is_allowed_and_ignored_elsewhere(
    bench: Bench, state: State, reported: State
) -> None:
    """The nucleus's own table; RUNNING while RUNNING is no heartbeat."""
    bench.into(state)
    errors = bench.machine.errors
    allowed = (state, reported) in REPORTS
    assert bench.machine.report(reported) is allowed
    assert bench.machine.state is (reported if allowed else state)
    assert bench.machine.errors == errors + (allowed and reported is State.ERRORED)


def test_timeouts_are_those_of_the_nucleus() -> None:
    """In seconds; `run` has none."""
    assert DEFAULT_TIMEOUTS_S == {
        "install": 120,
        "startup": 120,
        "run": None,
        "shutdown": 15,
        "recover": 60,
    }
    assert set(ALLOWED_REPORTS) == {state for state, _ in REPORTS}


EVENTS: dict[str, Callable[[Lifecycle], object]] = {
    "start": Lifecycle.start,
    "stop": Lifecycle.stop,
    "restart": Lifecycle.restart,
    "reinstall": Lifecycle.reinstall,
    "running": lambda machine: machine.report(State.RUNNING),
    "errored": lambda machine: machine.report(State.ERRORED),
    "began": Lifecycle.began_run,
    "ended": lambda machine: machine.exited("run", 0),
    "crashed": lambda machine: machine.exited("run", 1),
    "late": lambda machine: machine.timed_out("startup", 1.0),
    "work": lambda machine: machine.done(machine.work()),
}


@given(st.lists(st.sampled_from(list(EVENTS)), max_size=40))
def test_any_story_ends_at_rest_when_stopped(story: list[str]) -> None:
    """No order of events leaves a component that cannot be stopped, or one that never settles."""
    bench = Bench()
    for event in story:
        EVENTS[event](bench.machine)
    bench.machine.stop()
    for _ in range(10):
        bench.machine.done(bench.machine.work())
    if bench.machine.state in {State.STOPPING, State.ERRORED, State.NEW, State.STARTING}:
        # Work that the story had begun and not done: it ends now.
        for work in (Work.INSTALL, Work.RECOVER, Work.SHUT_DOWN):
            bench.machine.done(work)
            bench.machine.done(bench.machine.work())
    assert bench.machine.state in {State.FINISHED, State.BROKEN}
    assert bench.machine.is_at_rest


@given(st.lists(st.sampled_from(list(EVENTS)), max_size=40))
def test_any_story_goes_only_where_the_states_lead(story: list[str]) -> None:
    """The arrows between the states, and no others."""
    bench = Bench()
    for event in story:
        EVENTS[event](bench.machine)
    arrows = set(zip(bench.states, bench.states[1:], strict=False))
    assert arrows <= {
        (State.NEW, State.INSTALLED),
        (State.NEW, State.ERRORED),
        (State.NEW, State.BROKEN),
        (State.INSTALLED, State.STARTING),
        (State.INSTALLED, State.NEW),
        (State.INSTALLED, State.FINISHED),
        (State.STARTING, State.RUNNING),
        (State.STARTING, State.STOPPING),
        (State.STARTING, State.FINISHED),
        (State.STARTING, State.ERRORED),
        (State.STARTING, State.BROKEN),
        (State.RUNNING, State.STOPPING),
        (State.RUNNING, State.ERRORED),
        (State.RUNNING, State.BROKEN),
        (State.STOPPING, State.NEW),
        (State.STOPPING, State.INSTALLED),
        (State.STOPPING, State.FINISHED),
        (State.STOPPING, State.ERRORED),
        (State.FINISHED, State.NEW),
        (State.FINISHED, State.INSTALLED),
        (State.ERRORED, State.STOPPING),
        (State.ERRORED, State.NEW),
        (State.ERRORED, State.INSTALLED),
        (State.ERRORED, State.FINISHED),
        (State.BROKEN, State.NEW),
    }
