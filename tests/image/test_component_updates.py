"""Updates of the component to another image, under traffic: no request is lost."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.golden import GoldenRow
from release.components import INFERENCE, image_recipe
from release.image.facts import ImageFacts
from tests.conftest import CULTIVARS, Packed, Packer, with_golden
from tests.device.running import RunningDevice
from tests.device.updates import deploy, persistent_askers, write_recipe_text
from tests.image.conftest import Builder, docker, inspected
from tests.image.containers import container_id, containers, device

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

PATIENCE = {"deferUpdateSeconds": "1"}
"""Of the component: who asks all the time must not hold up each update for long."""


@pytest.fixture(scope="module")
def better(packed_from: Packer, multiclass: Packed) -> Packed:
    """The wine model under another version."""
    return packed_from(
        multiclass.estimator, multiclass.frame, name="wine", labels=CULTIVARS, version="9.0.0"
    )


@pytest.fixture(scope="module")
def better_image(builder: Builder, better: Packed) -> ImageFacts:
    """Its image."""
    return builder(better.directory)


@pytest.fixture
def sabotaged_image(better: Packed, better_image: ImageFacts, tmp_path: Path) -> Iterator[str]:
    """An image whose golden rows do not match, which no build would make: put over a good one."""

    def change(rows: list[GoldenRow]) -> None:
        other = next(it for it in CULTIVARS if it != rows[0].prediction)
        rows[0] = rows[0]._replace(prediction=other)

    bundle = with_golden(better, tmp_path / "context", change)
    for path in (bundle, *bundle.iterdir()):
        path.chmod(0o755)
    text = f"FROM {better_image.id}\nCOPY {bundle.name}/ /opt/bundle/\n"
    (bundle.parent / "Dockerfile").write_text(text)
    done = docker("build", "--quiet", str(bundle.parent))
    assert done.returncode == 0, done.stderr
    image = done.stdout.strip()
    yield image
    docker("image", "rm", "--force", "--no-prune", image)


def update(running: RunningDevice, folder: Path, version: str, image: str) -> tuple[int, str, str]:
    """Exit code, result and last line of a deployment of the recipe with an image."""
    text = image_recipe(image)[1].replace('"0.1.0"', version)
    recipes = write_recipe_text(folder / "recipes", text)
    code, record, errors = deploy(running, recipes, version, **PATIENCE)
    return code, str(record["result"]), errors.splitlines()[-1]


def image_of(container: str) -> str:
    """The digest that a container runs."""
    return str(json.loads(docker("container", "inspect", container).stdout)[0]["Image"])


def test_good_image_replaces_the_old_and_a_bad_one_does_not(
    wine: ImageFacts,
    multiclass: Packed,
    better: Packed,
    better_image: ImageFacts,
    sabotaged_image: str,
    tmp_path: Path,
) -> None:
    """Whoever asks is answered by the first, then by the second, and by the bad one never."""
    with device(tmp_path / "root", wine.id, "classic", **PATIENCE) as running:
        first = container_id()
        with persistent_askers(running, multiclass, 2) as askers:
            askers.wait_for_more(5)
            code, result, last = update(running, tmp_path, "0.2.0", better_image.id)
            assert (code, result) == (0, "SUCCESSFUL"), last
            second = container_id()
            assert second != first
            assert image_of(second) == better_image.id
            askers.wait_for_more(5)
            n_before = [len(versions) for versions in askers.versions()]
            code, result, last = update(running, tmp_path, "0.3.0", sabotaged_image)
            assert (code, result) == (1, "FAILED_ROLLBACK_COMPLETE"), last
            assert "its last error: giving up: golden.jsonl: row 0.prediction: got '" in last
            assert image_of(container_id()) == better_image.id
            askers.wait_for_more(5)
        old, new = multiclass.manifest.version, better.manifest.version
        for versions, n in zip(askers.versions(), n_before, strict=True):
            n_old = versions.count(old)
            assert versions == [old] * n_old + [new] * (len(versions) - n_old)
            assert 0 < n_old < n
        assert running.component()["version"] == "0.2.0"
    assert containers() == []
    assert inspected(better_image.id)["Id"] == better_image.id


@pytest.mark.parametrize("personality", ["classic", "lite"])
def test_image_that_is_not_there_is_said_and_pulled_from_nowhere(
    personality: str, wine: ImageFacts, multiclass: Packed, tmp_path: Path
) -> None:
    """Classic goes back to the image that is; lite when the old version is deployed."""
    missing = f"sha256:{'5' * 64}"
    with (
        device(tmp_path / "root", wine.id, personality, **PATIENCE) as running,
        persistent_askers(running, multiclass, 2) as askers,
    ):
        askers.wait_for_more(5)
        code, result, last = update(running, tmp_path, "0.2.0", missing)
        assert code == 1
        assert f"{INFERENCE} 0.2.0 is BROKEN: startup: got exit code 125, expected 0" in last
        assert "its last error: docker: Error response from daemon: No such image: " in last
        if running.personality.rolls_back:
            assert result == "FAILED_ROLLBACK_COMPLETE"
        else:
            assert result == "FAILED_ROLLBACK_NOT_REQUESTED"
            assert containers() == []
            assert update(running, tmp_path, "0.1.0", wine.id)[0] == 0
        assert image_of(container_id()) == wine.id
        askers.wait_for_more(5)
