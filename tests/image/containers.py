"""A core device with the component in its container, and what docker shows of it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from model.golden import differences
from release.components import INFERENCE
from tests.conftest import Packed
from tests.device.running import RunningDevice
from tests.image.conftest import docker

PERSONALITIES = ("classic", "lite")
PYTHON = "/usr/bin/python3"
"""Of the image."""


@contextlib.contextmanager
def device(root: Path, image: str, personality: str, **fields: Any) -> Iterator[RunningDevice]:
    """`edgexgb device start --image`, RUNNING."""
    configurations = {INFERENCE: fields} if fields else None
    with RunningDevice(root, ["--image", image], personality, configurations) as running:
        yield running.start()
    assert containers() == []


def containers() -> list[str]:
    """The ids of all containers of the component, running or not."""
    form = ("--filter", f"name=^/{INFERENCE}$", "--format", "{{.ID}}")
    return docker("container", "ls", "--all", "--no-trunc", *form).stdout.split()


def container_id() -> str:
    (only,) = containers()
    return only


def assert_golden(running: RunningDevice, packed: Packed) -> None:
    """All golden rows, over pub/sub, to the last bit."""
    golden = packed.bundle.golden
    with running.client() as client:
        found = client.predict([row.row for row in golden], 30.0)
    assert not differences(golden, found.predictions, found.probabilities, exact=True)
