"""Devices that tests share, and those of a single test."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from release.components import INFERENCE
from tests.conftest import ANSWERS, Packed, Packer, mixed_frame
from tests.device.held import HeldComponent
from tests.device.inside import InsideDevice
from tests.device.recipes import write_named_inference
from tests.device.running import RunningDevice

NAMES = ("multiclass", "binary", "regression")
"""Bundles that have a component of that name on the shared devices, beside `mixed` as itself."""

Begin = Callable[..., RunningDevice]
Enter = Callable[..., InsideDevice]


@pytest.fixture(params=["classic", "lite"], scope="session")
def personality(request: pytest.FixtureRequest) -> str:
    """Both nuclei, one after the other."""
    name: str = request.param
    return name


@pytest.fixture(scope="session")
def bundles(
    mixed: Packed, multiclass: Packed, binary: Packed, regression: Packed
) -> dict[str, Packed]:
    """The sample bundles by name."""
    return {"mixed": mixed, "multiclass": multiclass, "binary": binary, "regression": regression}


@pytest.fixture(scope="session")
def better(packed_from: Packer, mixed: Packed) -> Packed:
    """The mixed bundle's model under another version."""
    return packed_from(
        mixed.estimator, mixed_frame(), name="mixed", labels=ANSWERS, version="9.0.0"
    )


@pytest.fixture(scope="session")
def shared(
    personality: str, bundles: dict[str, Packed], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDevice]:
    """A device for tests that leave it as it was: one inference component for each bundle."""
    folder = tmp_path_factory.mktemp("shared")
    arguments: list[object] = [bundles["mixed"].directory]
    configurations = {}
    for name in NAMES:
        arguments += ["--recipe", write_named_inference(folder, name)]
        bundle = str(bundles[name].directory)
        configurations[name] = {"python": sys.executable, "bundle": bundle}
    with RunningDevice(folder / "root", arguments, personality, configurations) as device:
        yield device.start()


@pytest.fixture
def begin(personality: str, mixed: Packed, tmp_path: Path) -> Iterator[Begin]:
    """Starts a device of the test's own, with the mixed bundle and what else is named."""
    with contextlib.ExitStack() as stack:

        def make(*arguments: object, bundle: Path | None = None, **fields: Any) -> RunningDevice:
            words = [mixed.directory if bundle is None else bundle, *arguments]
            configurations = {INFERENCE: fields} if fields else None
            device = RunningDevice(tmp_path / "root", words, personality, configurations)
            return stack.enter_context(device).start()

        yield make


@pytest.fixture
def held(tmp_path: Path) -> HeldComponent:
    """A component whose answers take as long as the test wants."""
    return HeldComponent(tmp_path / "held")


@pytest.fixture
def enter(personality: str, mixed: Packed, tmp_path: Path) -> Iterator[Enter]:
    """Starts a device in this process, with the mixed bundle."""
    with contextlib.ExitStack() as stack:

        def make(**fields: Any) -> InsideDevice:
            device = InsideDevice(tmp_path / "root", mixed.directory, personality, fields)
            return stack.enter_context(device)

        yield make
