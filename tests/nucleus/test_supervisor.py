import asyncio
import json
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from nucleus.lifecycle import State
from nucleus.supervisor import ComponentStatus, Supervisor
from tests.nucleus.components import Device

SLEEP = "echo up; exec sleep 100"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_components_start_after_their_hard_dependencies(device: Device) -> None:
    """RUNNING or FINISHED is what they wait for, in whichever order they are given."""
    specs = [
        device.spec("c", {"b": True}, run="echo c"),
        device.spec("b", {"a": True, "aws.greengrass.Nucleus": True}, startup="sleep 0.1; echo b"),
        device.spec("a", run="sleep 0.1; echo a"),
    ]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            assert await supervisor.settled(10)
            await device.until(lambda: len(device.order()) == 3)
            assert [status.name for status in supervisor.status()] == ["a", "b", "c"]
            c_started = next(
                i
                for i, s in enumerate(device.changes)
                if s.state is State.STARTING and s.name == "c"
            )
            b_runs = next(
                i
                for i, s in enumerate(device.changes)
                if s.state is State.RUNNING and s.name == "b"
            )
            assert b_runs < c_started

    asyncio.run(story())


def test_soft_dependency_is_not_waited_for(device: Device) -> None:
    """Nor does its end concern anybody."""
    specs = [
        device.spec("a", startup="sleep 100"),
        device.spec("b", {"a": False}, run=SLEEP),
    ]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            await device.until(lambda: device.order() == ["up"])
            supervisor.report("a", "ERRORED")
            await device.until(lambda: device.states("a").count(State.STARTING) == 2)
            assert device.status("b").state is State.RUNNING

    asyncio.run(story())


def test_dependants_of_a_component_that_fails_are_restarted(device: Device) -> None:
    """They stop at once, and wait until it runs again."""
    specs = [
        device.spec("a", startup="echo a"),
        device.spec("b", {"a": True}, run="echo b; exec sleep 100"),
        device.spec("c", {"b": True}, run="echo c; exec sleep 100"),
    ]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            await device.until(lambda: device.order() == ["a", "b", "c"])
            supervisor.report("a", "ERRORED")
            await device.until(lambda: len(device.order()) == 6)
            assert await supervisor.settled(10)
            for name in "bc":
                assert device.states(name) == [
                    "INSTALLED",
                    "STARTING",
                    "RUNNING",
                    "STOPPING",
                    "INSTALLED",
                    "STARTING",
                    "RUNNING",
                ]
                assert device.status(name).errors == 0

    asyncio.run(story())
    assert "restarting, because a does not run any more" in (device.root / "logs/b.log").read_text()


def test_dependants_of_a_broken_component_wait(device: Device) -> None:
    """Until somebody mends it; nothing is settled before."""
    specs = [
        device.spec("a", startup="test -e good"),
        device.spec("b", {"a": True}, run=SLEEP),
    ]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            await device.until_state("a", State.BROKEN)
            assert device.status("b").state is State.INSTALLED
            assert not await supervisor.settled(0.1)
            (device.root / "work" / "a" / "good").touch()
            supervisor.restart("a")
            await device.until(lambda: device.order() == ["up"])
            assert await supervisor.settled(5)

    asyncio.run(story())


def test_stop_goes_from_dependants_to_what_they_need(device: Device) -> None:
    """Each has stopped before what it depends on begins to; those apart stop together."""
    specs = [
        device.spec("a", startup="true", shutdown="echo a"),
        device.spec("b", {"a": True}, startup="true", shutdown="sleep 0.1; echo b"),
        device.spec("c", {"b": False}, startup="true", shutdown="sleep 0.1; echo c"),
    ]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            assert await supervisor.settled(10)
        assert device.order() == ["c", "b", "a"]
        assert {status.state for status in supervisor.status()} == {State.FINISHED}
        await supervisor.stop()

    asyncio.run(story())


def test_stop_right_after_start_leaves_nothing(device: Device) -> None:
    """At whatever point it meets the components."""
    specs = [device.spec(name, install="true", run="exec sleep 100") for name in "abc"]

    async def story(turns: int) -> None:
        async with device.running(*specs):
            for _ in range(turns):
                await asyncio.sleep(0)

    for turns in (0, 1, 2, 5, 20):
        asyncio.run(story(turns))


def test_status_says_how_a_component_is(device: Device) -> None:
    """In values that JSON takes."""

    async def story() -> None:
        async with device.running(device.spec("a", run=SLEEP)):
            await device.until_state("a", State.RUNNING)
            found = json.loads(json.dumps(asdict(device.status("a"))))
            assert found.pop("since") > 0
            assert 0 < found.pop("since_s") <= time.monotonic()
            assert found.pop("pid") > 0
            assert found == {
                "name": "a",
                "version": "1.0.0",
                "state": "RUNNING",
                "errors": 0,
                "last_error": "",
            }

    asyncio.run(story())


def test_unknown_component_or_state_is_an_error(device: Device) -> None:
    """Of whoever asks."""

    async def story() -> None:
        async with device.running(device.spec("a")) as supervisor:
            with pytest.raises(KeyError):
                supervisor.restart("b")
            with pytest.raises(KeyError):
                supervisor.report("b", "RUNNING")
            with pytest.raises(ValueError, match="'HAPPY' is not a valid State"):
                supervisor.report("a", "HAPPY")

    asyncio.run(story())


def test_components_that_do_not_fit_together_are_refused(device: Device) -> None:
    """Before anything starts."""
    with pytest.raises(ValueError, match="components: got 'a' twice, expected each name once"):
        Supervisor([device.spec("a"), device.spec("a")], print)
    with pytest.raises(ValueError, match="cycle"):
        Supervisor([device.spec("a", {"b": False}), device.spec("b", {"a": True})], print)


def test_follower_that_fails_stops_no_component(
    device: Device, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged."""

    def fail(status: ComponentStatus) -> None:
        raise RuntimeError(status.state)

    async def story() -> None:
        supervisor = Supervisor([device.spec("a", startup="true")], fail)
        await supervisor.start()
        assert await supervisor.settled(10)
        await supervisor.stop()

    asyncio.run(story())
    assert "who follows the components' states failed" in caplog.messages


def test_many_components_settle_together(device: Device) -> None:
    """None waits for another without a reason."""
    specs = [device.spec(f"c{i}", {f"c{i - 5}": True}, startup="true") for i in range(20)]

    async def story() -> None:
        async with device.running(*specs) as supervisor:
            assert await supervisor.settled(15)

    asyncio.run(story())


# --- while others run on --------------------------------------------------------------------------


def test_component_is_replaced_while_others_run_on(device: Device) -> None:
    """The old one stops with its own script; who depends on it waits for the new one."""
    old = device.spec("a", startup="echo a1", shutdown="echo a1 ends")
    new = device.spec("a", startup="echo a2", install="echo installed")
    needing = device.spec("b", {"a": True}, startup="echo b")
    alone = device.spec("c", run="sleep 100 & wait")

    async def story() -> None:
        async with device.running(old, needing, alone) as supervisor:
            assert await supervisor.settled(10)
            pid = device.status("c").pid
            await supervisor.take_out({"a"})
            assert [it.name for it in supervisor.status()] == ["c", "b"]
            supervisor.put_in([new, needing, alone])
            assert await supervisor.outcome({"a"}) == []
            await device.until(lambda: device.order().count("b") == 2)
            assert device.status("c").pid == pid
        heard = [it for it in device.order() if it != "b"]
        assert heard == ["a1", "a1 ends", "installed", "a2"]

    asyncio.run(story())


def test_install_is_left_out_where_an_earlier_one_has_done_it(device: Device) -> None:
    """For a component that is only to be started again."""
    new = device.spec("a", install="echo installed", startup="echo started")

    async def story() -> None:
        async with device.running() as supervisor:
            supervisor.put_in([new], {"a"})
            assert await supervisor.outcome({"a"}) == []
        assert device.order() == ["started"]

    asyncio.run(story())


def test_outcome_is_known_when_the_first_one_is_broken(device: Device) -> None:
    """Others may need for ever."""
    bad = device.spec("bad", startup="exit 1")
    slow = device.spec("slow", startup="sleep 100")

    async def story() -> None:
        async with device.running(bad, slow) as supervisor:
            found = await asyncio.wait_for(supervisor.outcome({"bad", "slow"}), 10)
            assert [(it.name, it.state) for it in found] == [("bad", State.BROKEN)]

    asyncio.run(story())


def test_what_runs_cannot_be_left_out(device: Device) -> None:
    """It is to be taken out first."""

    async def story() -> None:
        async with device.running(device.spec("a", run="sleep 100 & wait")) as supervisor:
            with pytest.raises(ValueError, match=r"^components: got none of \['a'\], expected"):
                supervisor.put_in([])

    asyncio.run(story())
