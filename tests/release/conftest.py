"""Devices that tests share which leave them as they were."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Packed
from tests.release.devices import detached, write_recipe


@pytest.fixture(scope="session")
def inference_root(multiclass: Packed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a device, as nucleus lite, with the wine model's inference component."""
    root = tmp_path_factory.mktemp("inference") / "device"
    with detached(root, multiclass.directory, "--lite"):
        yield root


@pytest.fixture(scope="session")
def shell_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The root of a classic device with a component that says hello and waits."""
    folder = tmp_path_factory.mktemp("shell with spaces")
    recipe = write_recipe(folder, "Hello", run="echo hello; exec sleep 1000")
    with detached(folder / "the device", "--recipe", recipe):
        yield folder / "the device"
