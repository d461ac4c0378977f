"""The image as the component, on both nuclei: shut in, and equal to the last bit."""

import json
import os
from collections.abc import Iterator

import pytest

from release.components import INFERENCE
from release.image.facts import ImageFacts
from release.image.lockdown import inspect_container, look_at, to_bytes
from tests.conftest import Packed
from tests.device.running import RunningDevice
from tests.image.conftest import docker
from tests.image.containers import PERSONALITIES, PYTHON, assert_golden, device

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

LIMITS = {"memory": "64m", "cpus": "0.5", "pids": "32"}

LOOK_AROUND = """
import json, os, pathlib, sys
def tried(path, mode):
    try:
        open(path, mode).close()
    except OSError as error:
        return error.strerror
    return "opened"
environments = [path.read_text() for path in pathlib.Path("/proc").glob("[0-9]*/environ")]
status = dict(line.split(":", 1) for line in open("/proc/self/status").read().splitlines())
print(json.dumps({
    "interfaces": os.listdir("/sys/class/net"),
    "user": os.getuid(),
    "capabilities": {status[name].strip() for name in ("CapPrm", "CapEff", "CapBnd")} == {"0" * 16},
    "new_privileges": status["NoNewPrivs"].strip() == "0",
    "root": tried("/x", "w"),
    "greengrass": tried("/greengrass/x", "w"),
    "tools": tried(sys.argv[1], "r"),
    "environments": environments,
}))
"""


@pytest.fixture(
    scope="module",
    params=[(name, place) for name in PERSONALITIES for place in ("default", "dedicated")],
    ids="-".join,
)
def running(
    request: pytest.FixtureRequest, wine: ImageFacts, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDevice]:
    """A device for tests that leave it as it was, its socket in its root or in a directory alone.

    The latter is where the root's path is too long for a socket.
    """
    personality, place = request.param
    root = tmp_path_factory.mktemp("component") / ("root" if place == "default" else "r" * 100)
    before = os.umask(0o077)  # the container's user is another one than the device's
    try:
        with device(root, wine.id, personality, **LIMITS) as started:
            assert (started.root.socket.parent == root) == (place == "default")
            yield started
    finally:
        os.umask(before)


def test_golden_rows_come_back_over_pubsub_to_the_last_bit(
    running: RunningDevice, multiclass: Packed
) -> None:
    """Wherever the socket is, on both nuclei."""
    assert_golden(running, multiclass)


def test_container_is_shut_in_and_knows_no_secret(
    running: RunningDevice, wine: ImageFacts, multiclass: Packed
) -> None:
    """As docker tells it, with the limits of the configuration; the logs hold no payload either."""
    assert_golden(running, multiclass)
    token = running.server().environ()["SVCUID"]
    found = dict(look_at(inspect_container(INFERENCE), wine.id, LIMITS, token))
    assert len(found) == 19
    assert set(found.values()) == {None}
    assert not [process for process in running.processes() if token in str(process.cmdline())]
    log = running.root.log(INFERENCE).read_text()
    assert token not in log
    assert "alcohol" not in log
    assert token not in docker("image", "history", "--no-trunc", wine.id).stdout
    assert docker("logs", INFERENCE).returncode != 0  # there is no second copy


def test_process_in_the_container_sees_nothing_but_the_socket(running: RunningDevice) -> None:
    """No network at all, nothing to write, no rights, nobody's token."""
    tools = f"/greengrass/cli_ipc_info/user-{os.getuid()}"
    done = docker("exec", INFERENCE, PYTHON, "-IS", "-c", LOOK_AROUND, tools)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    environments = found.pop("environments")
    assert len(environments) == 3  # docker's init, the component, and who looks
    assert running.server().environ()["SVCUID"] not in str(environments)
    is_root_mounted = running.root.socket.parent == running.root.path
    assert found == {
        "interfaces": ["lo"],
        "user": 65532,
        "capabilities": True,
        "new_privileges": False,
        "root": "Read-only file system",
        "greengrass": "Read-only file system",
        "tools": "Permission denied" if is_root_mounted else "No such file or directory",
    }


@pytest.mark.parametrize(
    ("text", "n_bytes"),
    [("128m", 1 << 27), ("1g", 1 << 30), ("0.5G", 1 << 29), ("64MB", 1 << 26), ("4096", 4096)],
)
def test_memory_is_read_as_docker_does(text: str, n_bytes: int) -> None:
    """Units of 1024, in either case."""
    assert to_bytes(text) == n_bytes
