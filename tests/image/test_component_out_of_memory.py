"""The component's container at its memory limit: the kernel kills it, and it is started anew."""

import contextlib
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from consumer.errors import RequestTimeoutError
from nucleus.lifecycle import MAX_ERRORS
from release.components import INFERENCE
from release.image.facts import ImageFacts
from release.image.lockdown import to_bytes
from tests.conftest import Packed
from tests.device.running import RunningDevice
from tests.device.updates import persistent_askers
from tests.device.waiting import wait_until
from tests.image.conftest import docker
from tests.image.containers import PERSONALITIES, PYTHON, assert_golden, container_id, device

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

MEMORY = "48m"
"""Room for the component, and for less than what docker lets a container put into /dev/shm."""

STOP = """
import os, pathlib, signal
for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
    if "component" in path.read_text() and "docker-init" not in path.read_text():
        os.kill(int(path.parent.name), signal.SIGSTOP)
"""
"""So that a request is under way for certain when the component is killed."""

FILL = """
with open("/dev/shm/ballast", "wb", buffering=0) as file:
    while file.write(bytes(65536)):
        pass
"""
"""Takes what is left of the container's memory; of its processes the component is the largest."""

KILLED = "startup: got exit code 137 (killed, by somebody or for want of memory), expected 0"
SAID = f"memory: got the last container killed for it, expected {MEMORY} to be enough"


@contextlib.contextmanager
def small(root: Path, image: str, personality: str) -> Iterator[RunningDevice]:
    """A device whose component has little memory; nothing of docker's is left behind."""
    volumes = docker("volume", "ls", "--quiet").stdout
    with device(root, image, personality, memory=MEMORY) as running:
        yield running
    assert docker("volume", "ls", "--quiet").stdout == volumes


def fill(container: str) -> None:
    """Has the kernel kill the component of a container; returns once docker knows why."""
    assert memory_limit(container) == to_bytes(MEMORY)
    began = time.time()
    docker("exec", container, PYTHON, "-IS", "-c", FILL)  # it ends with its container
    events = ("--since", str(began), "--until", "0s", "--filter", f"container={container}")

    def is_known() -> str:
        return docker("events", *events, "--filter", "event=oom").stdout

    wait_until(is_known, "a kill for memory")


def memory_limit(container: str) -> int:
    """Of a container, in bytes, swap included."""
    (found,) = json.loads(docker("container", "inspect", container).stdout)
    host = found["HostConfig"]
    assert host["Memory"] == host["MemorySwap"]
    limit: int = host["Memory"]
    return limit


@pytest.mark.parametrize("personality", PERSONALITIES)
def test_component_killed_for_memory_is_started_anew_and_answers(
    personality: str, wine: ImageFacts, multiclass: Packed, tmp_path: Path
) -> None:
    """Requests under way end in a timeout, those after it in the right answer, on both nuclei."""
    with (
        small(tmp_path / "root", wine.id, personality) as running,
        running.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        assert_golden(running, multiclass)
        first, process = container_id(), running.server()
        docker("exec", first, PYTHON, "-IS", "-c", STOP)
        asked = pool.submit(client.predict, multiclass.rows[0], 2.0)
        fill(first)
        running.wait_state("RUNNING", not_pid=process.pid)
        with pytest.raises(RequestTimeoutError):
            asked.result()
        assert client.predict(multiclass.rows[0], 30.0).version == multiclass.manifest.version
        assert_golden(running, multiclass)
        assert running.component()["errors"] == 1
        assert running.component()["last_error"].startswith(KILLED)
        log = running.root.log(INFERENCE).read_text()
        assert KILLED in log
        assert SAID in log
        assert container_id() != first
        left = psutil.Process(running.process.pid).children(recursive=True)
        assert left == [running.server()]


def test_component_killed_for_memory_under_traffic_loses_no_request(
    wine: ImageFacts, multiclass: Packed, tmp_path: Path
) -> None:
    """Whoever asks again and again is answered, and rightly; nobody sees another error."""
    with (
        small(tmp_path / "root", wine.id, "classic") as running,
        persistent_askers(running, multiclass, 3) as askers,
    ):
        askers.wait_for_more(20)
        fill(container_id())
        askers.wait_for_more(20)
        assert running.component()["last_error"].startswith(KILLED)


def test_component_killed_for_memory_again_and_again_is_broken(
    wine: ImageFacts, tmp_path: Path
) -> None:
    """As with any error; what is shown of it says what it was."""
    with small(tmp_path / "root", wine.id, "classic") as running:
        for _ in range(MAX_ERRORS - 1):
            process = running.server()
            fill(container_id())
            running.wait_state("RUNNING", not_pid=process.pid)
        fill(container_id())
        running.wait_state("BROKEN")
        assert running.component()["last_error"] == f"{KILLED}; its last error: {SAID}"
