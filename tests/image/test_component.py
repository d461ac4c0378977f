"""The image as the component on a core device: however it ends, no container is left."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.components import INFERENCE
from release.errors import CommandError
from release.image.component import running_component, validate_component
from release.image.facts import ImageFacts
from release.image.lockdown import is_container
from tests.conftest import Packed
from tests.device.running import RunningDevice
from tests.device.waiting import wait_until
from tests.image.conftest import docker
from tests.image.containers import (
    PERSONALITIES,
    PYTHON,
    assert_golden,
    container_id,
    containers,
    device,
)

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

KILL = """
import os, pathlib
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if "component" in path.read_text() and "docker-init" not in path.read_text():
        os.kill(int(path.parent.name), 9)
"""


@pytest.fixture(params=PERSONALITIES)
def own(
    request: pytest.FixtureRequest, wine: ImageFacts, tmp_path: Path
) -> Iterator[RunningDevice]:
    """A device of the test's own."""
    with device(tmp_path / "root", wine.id, request.param) as started:
        yield started


# --- however it ends ------------------------------------------------------------------------------


def test_container_ends_with_its_client_and_is_replaced_after_a_crash(
    own: RunningDevice, multiclass: Packed
) -> None:
    """It does so although the device looks away, and then there is one, and it answers."""
    first, client = container_id(), own.server()
    own.process.send_signal(signal.SIGSTOP)
    client.kill()
    wait_until(lambda: containers() == [], "the end of a container without a client", 10.0)
    own.process.send_signal(signal.SIGCONT)
    own.wait_state("RUNNING", not_pid=client.pid)
    why = "startup: got exit code 137 (killed, by somebody or for want of memory), expected 0"
    # Where another test's container was killed for memory a minute ago, more follows.
    assert own.component()["last_error"].startswith(why)
    second, client = container_id(), own.server()
    docker("exec", INFERENCE, PYTHON, "-IS", "-c", KILL)  # whose own end it is, too
    own.wait_state("RUNNING", not_pid=client.pid)
    assert own.component()["errors"] == 2
    assert container_id() not in {first, second}
    assert_golden(own, multiclass)


def test_container_is_replaced_after_the_device_restarts(
    own: RunningDevice, multiclass: Packed
) -> None:
    """Killed, too: the old one has a token that nobody knows any more, and goes by itself."""
    first = container_id()
    own.kill()
    wait_until(lambda: containers() == [], "the end of the old device's container", 30.0)
    own.start()
    assert container_id() != first
    assert_golden(own, multiclass)
    own.stop()
    assert containers() == []
    assert own.processes() == []


def test_leftover_of_the_same_name_is_replaced(
    wine: ImageFacts, multiclass: Packed, tmp_path: Path
) -> None:
    """A running one, with which docker would refuse to start ours."""
    sleep = ("--entrypoint", PYTHON, wine.id, "-c", "import time; time.sleep(600)")
    assert docker("run", "--detach", "--name", INFERENCE, *sleep).returncode == 0
    leftover = container_id()
    with device(tmp_path / "root", wine.id, "classic") as started:
        assert container_id() != leftover
        assert started.component()["errors"] == 0
        assert_golden(started, multiclass)


@pytest.mark.parametrize("status", ["Created", "Up"])
def test_stop_in_the_middle_of_a_start_leaves_no_container(
    wine: ImageFacts, tmp_path: Path, status: str
) -> None:
    """Whether docker was just creating it or had just started it."""

    def is_there() -> bool:
        form = ("--all", "--filter", f"name=^/{INFERENCE}$", "--format", "{{.Status}}")
        return docker("container", "ls", *form).stdout.startswith((status, "Up"))

    with RunningDevice(tmp_path / "root", ["--image", wine.id], "classic") as running:
        running.launch()
        wait_until(is_there, "a container")
        running.stop()
    wait_until(lambda: containers() == [], "the end of the container", 15.0)


# --- the gate -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("personality", "n_skipped"), [("classic", 0), ("lite", 29)])
def test_gate_passes_and_says_what_it_saw(
    personality: str, n_skipped: int, wine: ImageFacts, multiclass: Packed
) -> None:
    """Every case of the Lambda's that a message can hold, and what keeps the container in."""
    n_announced: list[int] = []
    requests: list[None] = []
    report = validate_component(
        wine.id,
        multiclass.directory,
        personality=personality,
        on_cases=lambda cases: n_announced.append(len(cases)),
        on_request=lambda: requests.append(None),
    )
    assert [failure for group in report.groups for failure in group.failures] == []
    assert (report.passed, report.exact, report.skipped) == (True, True, n_skipped)
    assert report.target == f"component:{personality}"
    assert [(it.name, it.passed) for it in report.groups[-2:]] == [
        ("locked down", 21),
        ("nothing left behind", 1),
    ]
    assert n_announced == [report.n_checks - 22]
    assert len(requests) == n_announced[0] + len(report.latency_ms)
    assert report.init_ms is not None
    assert 0 < report.init_ms < 60_000


def test_component_that_does_not_run_is_said_with_its_own_words(
    wine: ImageFacts, tmp_path: Path
) -> None:
    """What docker says of a limit that is none, after three attempts."""
    with (
        pytest.raises(CommandError) as caught,
        running_component(wine.id, configuration={"memory": "plenty"}),
    ):
        pass
    text = str(caught.value)
    assert text.startswith(f"{INFERENCE}: got BROKEN (startup: got exit code 125, expected 0; ")
    assert 'invalid argument "plenty" for "-m, --memory" flag' in text
    assert not is_container(INFERENCE)


def test_gate_leaves_the_component_of_another_device_alone(
    own: RunningDevice, wine: ImageFacts, multiclass: Packed
) -> None:
    """There is but one name, so the other device would lose its container."""
    before = container_id()
    with pytest.raises(CommandError) as caught:
        validate_component(wine.id, multiclass.directory)
    assert str(caught.value) == (
        f"{INFERENCE}: got a container of that name, expected none: stop its device, "
        f"or `docker rm --force {INFERENCE}`"
    )
    assert container_id() == before
    assert own.component()["errors"] == 0


def test_image_of_others_is_refused(base: str, multiclass: Packed) -> None:
    """It would not even know what `component` is."""
    with pytest.raises(CommandError, match=r"^debian:trixie-slim: got an image without the label"):
        validate_component(base, multiclass.directory)
