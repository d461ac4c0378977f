"""`edgexgb rollout` on a device that runs the component from its image, on both nuclei."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import xgboost
from sklearn.datasets import load_wine

from nucleus.deployments.history import History, Result
from release.components import INFERENCE
from release.image.build import default_tag
from release.image.facts import ImageFacts, find_image
from release.rollout.update import image_update
from tests.conftest import CULTIVARS, Packed, Packer
from tests.device.running import RunningDevice
from tests.image.conftest import TAG, docker
from tests.image.containers import PERSONALITIES, assert_golden, container_id, device
from tests.release.test_cli import Captured, run

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest


@pytest.fixture(scope="module")
def better(packed_from: Packer) -> Packed:
    """A wine model with more trees, whose image has a tag of this run's own."""
    data = load_wine(as_frame=True)
    estimator = xgboost.XGBClassifier(n_estimators=9, max_depth=3, n_jobs=1)
    estimator.fit(data.data, data.target)
    return packed_from(estimator, data.data, name=TAG, version="2.0.0", labels=CULTIVARS)


@pytest.fixture(scope="module")
def tag(better: Packed) -> Iterator[str]:
    """What its image is called by default; gone after the tests."""
    found = default_tag(better.manifest)
    yield found
    docker("image", "rm", "--force", found)


@pytest.fixture(params=PERSONALITIES)
def running(
    request: pytest.FixtureRequest, wine: ImageFacts, tmp_path: Path
) -> Iterator[RunningDevice]:
    """A device with the wine model's image."""
    with device(tmp_path / "root", wine.id, request.param) as started:
        yield started


def image_of_the_container() -> str:
    inspected = json.loads(docker("container", "inspect", container_id()).stdout)
    image: str = inspected[0]["Image"]
    return image


def test_bundle_becomes_an_image_that_is_a_lambda_first_and_the_component_then(
    running: RunningDevice,
    wine: ImageFacts,
    multiclass: Packed,
    better: Packed,
    tag: str,
    capsys: Captured,
) -> None:
    """One digest, two doors; a second time there is nothing to do, and the old one goes back."""
    assert_golden(running, multiclass)
    words = ("--root", running.root.path, "--network", "host")
    code, printed, errors = run(capsys, "rollout", better.directory, *words)
    assert code == 0, errors
    built = find_image(tag)
    version = image_update(built.id, built.layers).version
    assert printed.startswith(
        f"accepted {INFERENCE} {version} ({TAG} 2.0.0): {Result.SUCCESSFUL} after "
    )
    assert f" by {TAG} 2.0.0; none lost" in printed
    n = len(better.bundle.golden)
    assert f"  over pub/sub       {n} of {n} golden rows equal to the last bit\n" in printed
    gate = next(line for line in errors.splitlines() if line.startswith("gate, "))
    assert gate.startswith(f"gate, {tag} as a Lambda: ")
    assert gate.endswith(" passed")
    assert image_of_the_container() == built.id
    assert_golden(running, better)

    container = container_id()
    code, printed, _ = run(capsys, "rollout", better.directory, *words)
    what = "of the same model, code and recipe"
    assert (code, printed) == (0, f"unchanged: {INFERENCE} {version} runs, {what}\n")
    assert container_id() == container

    code, printed, errors = run(
        capsys, "rollout", multiclass.directory, *words, "--image", wine.id, "--no-validate"
    )
    assert code == 0, errors
    assert "gate, " not in errors
    assert (
        f"{INFERENCE}: {version} -> {image_update(wine.id, find_image(wine.id).layers).version}\n"
        in errors
    )
    assert image_of_the_container() == wine.id
    assert_golden(running, multiclass)
    history = History(running.root.deployment_history).read()
    assert [it.result for it in history] == [Result.SUCCESSFUL] * 2


def test_image_that_is_not_the_bundles_never_reaches_the_device(
    running: RunningDevice, wine: ImageFacts, multiclass: Packed, better: Packed, capsys: Captured
) -> None:
    """Nor does one that is none of ours, or is not there."""
    container = container_id()
    words = ("rollout", better.directory, "--root", running.root.path, "--image")
    for reference in (wine.id, "edgexgb-none:1"):
        code, printed, errors = run(capsys, *words, reference)
        assert (code, printed) == (1, "")
        assert errors.startswith("edgexgb rollout: error: ")
        assert errors.count("\n") == 1
    assert container_id() == container
    assert History(running.root.deployment_history).read() == []
    assert_golden(running, multiclass)
