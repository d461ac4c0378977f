"""A docker daemon, a base image, and images of the small bundles."""

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from release.image.build import BASE, build_image
from release.image.facts import ImageFacts
from tests.conftest import Packed

MAKE_BASE = Path(__file__).parent / "make_base.sh"
TAG = f"edgexgb-test-{os.getpid()}"
"""Of one run of the tests: another on the same daemon has its own."""

ON_HOST = ("--network", "host")
"""Build steps reach what this machine reaches, also where the daemon makes no bridges."""

_START_S = 60.0

Builder = Callable[..., ImageFacts]


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.addinivalue_line("markers", "docker: builds and runs images; `-m 'not docker'` does not")


def docker(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False)


def has_daemon() -> bool:
    return docker("info").returncode == 0


@pytest.fixture(scope="session")
def daemon() -> Iterator[None]:
    """A daemon: the machine's own, or one that ends with the tests."""
    if shutil.which("docker") is None:
        pytest.skip("no docker on this machine")
    if has_daemon():
        yield
        return
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("no docker daemon runs, and none can be started")
    # Not among pytest's own, which it could not remove as long as something is mounted there.
    folder = Path(tempfile.mkdtemp(prefix="edgexgb-docker-"))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *["dockerd", "--data-root", str(folder / "data")],
                *["--exec-root", str(folder / "exec"), "--pidfile", str(folder / "pid")],
            ],
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, folder / "log")
        yield
    finally:
        process.terminate()
        process.wait()
        for mounted in (folder / "exec" / "netns").glob("*"):  # dockerd leaves it
            subprocess.run(["umount", str(mounted)], check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _START_S
    while time.monotonic() < end and process.poll() is None:
        if has_daemon():
            return
        time.sleep(0.1)
    pytest.fail(f"the docker daemon: got no start, expected one\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def base(daemon: None) -> str:
    """The base image; made here where no registry gave it."""
    if docker("image", "inspect", BASE).returncode != 0:
        if shutil.which("mmdebstrap") is None:
            pytest.skip(f"no image {BASE}, and no mmdebstrap to make it")
        subprocess.run([str(MAKE_BASE), BASE], check=True, stdout=subprocess.DEVNULL)
    return BASE


@pytest.fixture(scope="session")
def builder(base: str) -> Iterator[Builder]:
    """Builds images that do not outlive the tests."""
    tags: list[str] = []

    def make(bundle: Path, *options: str, engine: str = "auto") -> ImageFacts:
        tags.append(f"{TAG}:{len(tags)}")
        return build_image(
            bundle, tag=tags[-1], base=base, engine=engine, options=(*ON_HOST, *options)
        )

    yield make
    if tags:
        docker("image", "rm", "--force", *tags)


@pytest.fixture(scope="session")
def wine(builder: Builder, multiclass: Packed) -> ImageFacts:
    """The image of the wine model."""
    return builder(multiclass.directory)


@pytest.fixture(scope="session")
def members(wine: ImageFacts, tmp_path_factory: pytest.TempPathFactory) -> list[tarfile.TarInfo]:
    """Everything in the layers of the wine model's image, last layer last."""
    folder = tmp_path_factory.mktemp("saved")
    assert docker("save", "--output", str(folder / "image.tar"), wine.id).returncode == 0
    found: list[tarfile.TarInfo] = []
    with tarfile.open(folder / "image.tar") as saved:
        manifest = saved.extractfile("manifest.json")
        assert manifest is not None
        for name in json.load(manifest)[0]["Layers"]:
            with tarfile.open(fileobj=saved.extractfile(name)) as layer:
                found += layer.getmembers()
    return found


def inspected(reference: str) -> Any:
    return json.loads(docker("image", "inspect", reference).stdout)[0]
