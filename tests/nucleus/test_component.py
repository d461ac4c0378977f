import asyncio
import time
from pathlib import Path

import pytest

from nucleus.lifecycle import State
from nucleus.recipe import Step
from tests.nucleus.components import Device

N, I, S, R, P, F, E, B = (  # noqa: E741  (short, for the rows below)
    State.NEW,
    State.INSTALLED,
    State.STARTING,
    State.RUNNING,
    State.STOPPING,
    State.FINISHED,
    State.ERRORED,
    State.BROKEN,
)
SLEEP = "echo up; exec sleep 100"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


@pytest.mark.parametrize(
    ("steps", "states", "written", "error"),
    [
        ({}, [I, S, F], [], ""),
        ({"install": "echo in"}, [I, S, F], ["in"], ""),
        (
            {"install": "echo in", "run": "echo run", "shutdown": "echo down"},
            [I, S, R, P, F],
            ["in", "run", "down"],
            "",
        ),
        ({"startup": "echo up", "shutdown": "echo down"}, [I, S, R], ["up"], ""),
        ({"run": "echo run", "shutdown": "exit 9"}, [I, S, R, P, F], ["run"], ""),
        (
            {"install": "echo in; echo disk full >&2; exit 4"},
            [E, N, E, N, B],
            ["in"] * 3,
            "install: got exit code 4, expected 0; its last error: disk full",
        ),
        (
            {"startup": "exit 3", "recover": "echo re", "shutdown": "echo down"},
            [I, S, E, P, I, S, E, P, I, S, B],
            ["re", "down", "re", "down", "down"],
            "startup: got exit code 3, expected 0",
        ),
        (
            {"install": Step(script="sleep 100", timeout_s=0.1)},
            [E, N, E, N, B],
            [],
            "install: got no end in 0.1 s, expected one",
        ),
        (
            {"startup": Step(script="sleep 100", timeout_s=0.1)},
            [I, S, E, P, I, S, E, P, I, S, B],
            [],
            "startup: got no RUNNING in 0.1 s, expected it",
        ),
        (
            {"startup": "exit 1", "recover": Step(script="echo re; sleep 100", timeout_s=0.1)},
            [I, S, E, P, I, S, E, P, I, S, B],
            ["re", "re"],
            "startup: got exit code 1, expected 0",
        ),
        (
            {"run": "true", "shutdown": Step(script="echo down; sleep 100", timeout_s=0.1)},
            [I, S, R, P, E, F],
            ["down"],
            "shutdown: got no end in 0.1 s, expected one",
        ),
        (
            {"startup": "a\0b"},
            [I, S, E, P, I, S, E, P, I, S, B],
            [],
            "startup: got embedded null byte, expected a start",
        ),
        (
            {"install": Step(script="echo in", skipif="exists /"), "run": "echo run"},
            [I, S, R, P, F],
            ["run"],
            "",
        ),
        (
            {"install": Step(script="echo in", skipif="! onpath sh"), "run": "true"},
            [I, S, R, P, F],
            ["in"],
            "",
        ),
        ({"run": Step(script="echo run", skipif="onpath sh")}, [I, S, R], [], ""),
        (
            {"startup": Step(script="true", skipif="exists /", timeout_s=0.1)},
            [I, S, E, P, I, S, E, P, I, S, B],
            [],
            "startup: got no RUNNING in 0.1 s, expected it",
        ),
    ],
)
def test_component_passes_through_the_states_of_the_nucleus(
    device: Device,
    steps: dict[str, str | Step],
    states: list[State],
    written: list[str],
    error: str,
) -> None:
    """With the scripts in that order, and without a pause after an error."""

    async def story() -> None:
        async with device.running(device.spec("a", None, **steps)) as supervisor:
            last = states[-1]
            await device.until(lambda: device.states("a")[-1:] == [last])
            assert await supervisor.settled(10)
            assert device.states("a") == states
            assert device.order() == written
            assert device.status("a").last_error == error
            assert device.status("a").errors == states.count(E) + states.count(B)

    asyncio.run(story())


def test_run_that_crashes_is_broken_the_third_time(device: Device) -> None:
    """It may be settled in between: RUNNING at the fork is all that anybody waits for."""

    async def story() -> None:
        async with device.running(device.spec("a", run="exit 3", shutdown="echo down")):
            await device.until(lambda: device.order() == ["down"] * 3)
            assert device.states("a") == [I, S, R, E, P, I, S, R, E, P, I, S, R, B]

    asyncio.run(story())


def test_run_that_takes_too_long_is_an_error(device: Device) -> None:
    """Where a recipe gives it a time."""

    async def story() -> None:
        async with device.running(device.spec("a", run=Step(script=SLEEP, timeout_s=0.2))):
            await device.until_state("a", B)
            assert device.status("a").last_error == "run: got no end in 0.2 s, expected one"
            assert device.order() == ["up"] * 3

    asyncio.run(story())


def test_startup_that_reports_running_runs_until_it_fails(device: Device) -> None:
    """A service in the foreground: its end with an error is one, after RUNNING too."""
    step = Step(script="echo up; while ! test -e end; do sleep 0.05; done; exit 5", timeout_s=5)

    async def story() -> None:
        async with device.running(device.spec("a", startup=step)) as supervisor:
            await device.until(lambda: device.order() == ["up"])
            assert device.status("a").state is S
            assert not await supervisor.settled(0.05)
            supervisor.report("a", "RUNNING")
            assert await supervisor.settled(5)
            assert device.status("a").pid in {process.pid for process in device.processes()}
            (device.root / "work" / "a" / "end").touch()
            await device.until_state("a", E)
            assert device.status("a").last_error == "startup: got exit code 5, expected 0"

    asyncio.run(story())


def test_startup_that_reports_running_and_leaves_well_stays_running(device: Device) -> None:
    """With no process at all; a foreground service must not do so."""
    script = "echo up; while ! test -e end; do sleep 0.05; done"

    async def story() -> None:
        async with device.running(device.spec("a", startup=script)) as supervisor:
            await device.until(lambda: device.order() == ["up"])
            supervisor.report("a", "RUNNING")
            (device.root / "work" / "a" / "end").touch()
            await device.until(lambda: device.said("Startup script exited"))
            assert device.status("a").state is R
            assert device.status("a").pid is None
            assert device.states("a") == [I, S, R]

    asyncio.run(story())


def test_report_of_errored_restarts_the_component(device: Device) -> None:
    """As its end with an error would."""

    async def story() -> None:
        async with device.running(device.spec("a", run=SLEEP)) as supervisor:
            await device.until(lambda: device.order() == ["up"])
            supervisor.report("a", "ERRORED")
            await device.until(lambda: device.order() == ["up", "up"])
            assert device.states("a") == [I, S, R, E, P, I, S, R]
            assert device.status("a").last_error == (
                "the component itself: got a report of ERRORED, expected RUNNING"
            )

    asyncio.run(story())


def test_report_that_is_not_allowed_is_said_and_ignored(device: Device) -> None:
    """RUNNING while RUNNING is no heartbeat."""

    async def story() -> None:
        async with device.running(device.spec("a", run=SLEEP)) as supervisor:
            await device.until_state("a", R)
            supervisor.report("a", "RUNNING")
            assert device.said("[WARN] (nucleus) a: a report of RUNNING is ignored in the state")

    asyncio.run(story())


def test_errors_an_hour_apart_never_break_a_component(device: Device) -> None:
    """They are accidents, not a habit."""

    async def story() -> None:
        async with device.running(device.spec("a", run=SLEEP)) as supervisor:
            for i in range(5):
                await device.until(lambda i=i: len(device.order()) == i + 1)  # type: ignore[misc]
                device.now_s += 3600
                supervisor.report("a", "ERRORED")
            await device.until(lambda: len(device.order()) == 6)
            assert device.status("a").errors == 5

    asyncio.run(story())


def test_restart_by_hand_runs_shutdown_and_leaves_broken(device: Device) -> None:
    """It installs again then."""
    steps = {"install": "echo in", "run": "test -e good || exit 1; echo up; exec sleep 100"}

    async def story() -> None:
        async with device.running(
            device.spec("a", None, shutdown="echo down", **steps)
        ) as supervisor:
            await device.until(lambda: device.order() == ["in", "down", "down", "down"])
            (device.root / "work" / "a" / "good").touch()
            supervisor.restart("a")
            await device.until(lambda: device.order()[4:] == ["in", "up"])
            supervisor.restart("a")
            assert not await supervisor.settled(0)
            await device.until(lambda: device.order()[6:] == ["down", "up"])

    asyncio.run(story())


def test_restart_by_hand_runs_a_finished_component_again(device: Device) -> None:
    """From INSTALLED."""

    async def story() -> None:
        async with device.running(device.spec("a", run="echo run")) as supervisor:
            await device.until_state("a", F)
            supervisor.restart("a")
            await device.until(lambda: device.states("a").count(F) == 2)
            assert device.states("a")[-5:] == [I, S, R, P, F]

    asyncio.run(story())


def test_background_process_of_startup_goes_on_until_the_device_stops(device: Device) -> None:
    """`shutdown` is where a component ends it; a nucleus does not, and says nothing."""
    step = "sleep 100 & echo up"

    async def story() -> None:
        async with device.running(device.spec("a", startup=step)) as supervisor:
            await device.until_state("a", R)
            supervisor.restart("a")
            await device.until(lambda: device.states("a").count(R) == 2)  # its shell has ended
            assert device.order() == ["up", "up"]
            assert len(device.processes()) == 2
            assert device.said("processes of an earlier script")

    asyncio.run(story())


def test_stop_does_not_wait_for_an_install(device: Device) -> None:
    """Nor for a recovery: a device that stops ends them."""

    async def story() -> None:
        slow = "echo busy; sleep 100"
        specs = [
            device.spec("a", install=slow, shutdown="echo never"),
            device.spec("b", startup="exit 1", recover=slow, shutdown="echo down"),
        ]
        async with device.running(*specs):
            await device.until(lambda: device.order() == ["busy", "busy"])
            began = time.monotonic()
        assert time.monotonic() - began < 15
        assert device.order() == ["busy", "busy", "down"]
        assert device.status("b").state is F

    asyncio.run(story())


def test_stop_ends_a_component_that_does_not_heed_it(device: Device) -> None:
    """Five seconds after SIGTERM; here `shutdown` has less, which is an error as well."""
    steps: dict[str, str | Step] = {
        "run": "trap '' TERM; echo up; while :; do sleep 0.1; done",
        "shutdown": Step(script="echo down", timeout_s=0.3),
    }

    async def story() -> None:
        async with device.running(device.spec("a", None, **steps)):
            await device.until(lambda: device.order() == ["up"])
        assert device.order() == ["up", "down"]
        error = "shutdown: got no end in 0.3 s, expected one"
        assert device.status("a").last_error == error
        assert device.status("a").state is F
        assert device.said("Run script exited. {exitCode=137, ")

    asyncio.run(story())


def test_log_holds_what_the_component_wrote(device: Device) -> None:
    """And what the nucleus did with it; never its environment, where the token is."""

    async def story() -> None:
        async with device.running(device.spec("a", run="echo out; echo err >&2; exit 1")):
            await device.until_state("a", B)

    asyncio.run(story())
    text = (device.root / "logs" / "a.log").read_text()
    assert "[INFO] (Copier) a: stdout. out. {scriptName=services.a.lifecycle.run, " in text
    assert "[WARN] (Copier) a: stderr. err. {scriptName=services.a.lifecycle.run, " in text
    assert '"echo out; echo err >&2; exit 1"' in text
    assert "Run script exited. {exitCode=1, serviceName=a, currentState=RUNNING}" in text
    why = "run: got exit code 1, expected 0; its last error: err"
    assert f"[ERROR] (nucleus) a: {why}. {{" in text
    assert device.mark not in text
