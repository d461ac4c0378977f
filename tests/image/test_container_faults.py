"""The fault bench with the component in a container."""

import os
from pathlib import Path

import pytest

from bench.faults.catalogue import FAULTS, lasting_s
from bench.faults.container import ContainerRig
from bench.faults.rig import RigError
from bench.faults.run import carry_out
from bench.faults.schedule import Entry, Schedule
from release.components import INFERENCE
from tests.image.conftest import docker
from tests.image.containers import PERSONALITIES, containers

pytestmark = [
    pytest.mark.docker,
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may stop a container's processes"),
]

NAMES = ("component paused", "container killed for memory", "deployment")


def schedule(personality: str, *names: str) -> Schedule:
    entries = [Entry(name, 0.5, FAULTS[name].lasts_s[0], 1) for name in names]
    return Schedule(
        personality=personality, seed=1, seconds=300.0, steady_s=0.0, entries=entries, steady=[]
    )


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_faults_of_a_container_lose_nothing_and_leave_nothing(
    personality: str, base: str, tmp_path: Path
) -> None:
    """Each acts on the component itself, and not on docker's client; and each is recovered from."""
    run = carry_out(schedule(personality, *NAMES), print, tmp_path / "logs", make_rig=ContainerRig)
    assert [violation.text for violation in run.violations] == []
    details = {it.fault: it.detail for it in run.windows}
    assert tuple(details) == NAMES
    assert details["container killed for memory"] == "no room in 80m: the kernel has killed it"
    assert details["deployment"].endswith(": SUCCESSFUL")
    log = (tmp_path / "logs" / f"{INFERENCE}.log").read_text()
    assert "memory: got the last container killed for it, expected 80m to be enough" in log
    assert containers() == []
    assert docker("image", "ls", "--quiet", f"edgexgb-faults-{os.getpid()}").stdout == ""


def test_container_of_somebody_else_is_left_alone(base: str) -> None:
    """It may be the component of another device."""
    docker("create", "--name", INFERENCE, base)
    try:
        with pytest.raises(RigError) as caught:
            carry_out(schedule("classic"), print, make_rig=ContainerRig)
        expected = f"none: stop its device, or `docker rm --force {INFERENCE}`"
        assert str(caught.value) == (
            f"{INFERENCE}: got a container of that name, expected {expected}"
        )
        assert len(containers()) == 1
    finally:
        docker("rm", "--force", INFERENCE)


def test_kill_for_memory_needs_a_container() -> None:
    """It is drawn in that mode alone; a clock that jumps, and another limit, are of processes."""
    inside, outside = set(lasting_s(is_container=True)), set(lasting_s())
    assert inside - outside == {"container killed for memory"}
    clocks = {name for name in outside if name.startswith("all clocks ")}
    assert outside - inside == {*clocks, "out of memory"}
