"""Updates of the inference component on a device that is a process, as a user makes them."""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from consumer.errors import RequestTimeoutError
from model.golden import GoldenRow
from nucleus.deployments.history import History
from nucleus.root import DeviceRoot
from release.components import INFERENCE
from tests.conftest import ANSWERS, Packed, Packer, mixed_frame, with_golden
from tests.device.conftest import Begin
from tests.device.recipes import recipe_text
from tests.device.running import RunningDevice
from tests.device.traffic import Answers
from tests.device.waiting import wait_until
from tests.release.devices import edgexgb

HANG = "sleep 1000 & wait"


@pytest.fixture(scope="session")
def better(packed_from: Packer, mixed: Packed) -> Packed:
    """The mixed bundle's model under another version."""
    return packed_from(
        mixed.estimator, mixed_frame(), name="mixed", labels=ANSWERS, version="9.0.0"
    )


def write_update(folder: Path, version: str, script: str = "", **startup: Any) -> Path:
    """A directory with the inference component's recipe in another version, or another script."""
    folder.mkdir(exist_ok=True)
    text = recipe_text("container").replace(
        'ComponentVersion: "0.1.0"', f"ComponentVersion: {version}"
    )
    if script:
        lifecycle = json.dumps({"startup": {"Script": script, **startup}})
        head = text.partition("Manifests:")[0]
        manifest = f'  - Platform: {{os: linux, runtime: "*"}}\n    Lifecycle: {lifecycle}\n'
        text = f"{head}Manifests:\n{manifest}"
    (folder / "recipe.yaml").write_text(text)
    return folder


def deploy(
    device: RunningDevice, recipes: Path, version: str, **merge: Any
) -> tuple[int, dict[str, Any], str]:
    """Exit code, record and stderr of `edgexgb device deploy`."""
    config = recipes.parent / "config.json"
    config.write_text(json.dumps({INFERENCE: {"MERGE": merge}}))
    code, printed, errors = edgexgb(
        *("device", "deploy", "--root", device.root.path, "--recipe-dir", recipes, "--json"),
        *("--add", f"{INFERENCE}={version}", "--config", config),
    )
    return code, json.loads(printed), errors


@dataclass(slots=True)
class Answer:
    """Of one request: by which model version, and when; tries that nobody heard are counted."""

    version: str
    at_s: float
    tries: int


class Persistent(threading.Thread):
    """Asks one request after the other, each again and again until it is answered."""

    def __init__(self, device: RunningDevice, packed: Packed, seed: int) -> None:
        super().__init__(daemon=True)
        self.answers: list[Answer] = []
        self.failures: list[BaseException] = []
        self.is_over = threading.Event()
        self._device, self._packed, self._seed = device, packed, seed

    def run(self) -> None:
        try:
            with self._device.client() as client:
                expected = Answers(self._packed)
                number = self._seed
                while not self.is_over.is_set():
                    number += 1
                    row, tries = number % len(expected.rows), 1
                    while True:
                        try:
                            got = client.predict(expected.rows[row], 1.0)
                            break
                        except RequestTimeoutError:
                            tries += 1
                            assert tries < 60
                    expected.check([row], got)
                    self.answers.append(Answer(got.version, time.monotonic(), tries))
        except BaseException as error:
            self.failures.append(error)


def predict_version(device: RunningDevice, packed: Packed) -> str:
    """Which model version answers."""
    with device.client() as client:
        return client.predict(packed.rows[0], 30.0).version


def assert_undone(device: RunningDevice, old: Packed, record: dict[str, Any], errors: str) -> None:
    """A failed update is undone and said; lite leaves what has failed."""
    is_undone = device.personality.rolls_back
    assert f"{INFERENCE} 0.2.0 is BROKEN" in errors
    assert errors.splitlines()[-1].startswith("edgexgb device: error: deployment ")
    if is_undone:
        assert record["result"] == "FAILED_ROLLBACK_COMPLETE"
        assert errors.endswith("; what ran before runs again\n")
        assert predict_version(device, old) == old.manifest.version
    else:
        assert record["result"] == "FAILED_ROLLBACK_NOT_REQUESTED"
        assert device.component()["state"] == "BROKEN"


def test_update_under_traffic_loses_no_request(
    begin: Begin, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """Each is answered, by the old model or the new one, and by the old one never again after."""
    device = begin(deferUpdateSeconds="1")
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    askers = [Persistent(device, mixed, seed) for seed in (0, 50, 100)]
    for asker in askers:
        asker.start()
    try:
        wait_until(lambda: all(len(it.answers) > 20 for it in askers), "answers of the old one")
        code, record, errors = deploy(device, recipes, "0.2.0", bundle=str(better.directory))
        assert (code, record["result"]) == (0, "SUCCESSFUL"), errors
        n_before = [len(it.answers) for it in askers]
        wait_until(
            lambda: all(len(it.answers) > n + 20 for it, n in zip(askers, n_before, strict=True)),
            "answers of the new one",
        )
    finally:
        for asker in askers:
            asker.is_over.set()
        for asker in askers:
            asker.join(60.0)
    assert [it.failures for it in askers] == [[], [], []]
    old, new = mixed.manifest.version, better.manifest.version
    for asker in askers:
        versions = [it.version for it in asker.answers]
        n_old = versions.count(old)
        assert versions == [old] * n_old + [new] * (len(versions) - n_old)
        assert 0 < n_old < len(versions)
    assert device.component()["version"] == "0.2.0"


def test_model_that_does_not_predict_what_it_did_is_refused(
    begin: Begin, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """Classic: the device goes back, and the old model answers; lite has no way back."""
    device = begin()

    def change(rows: list[GoldenRow]) -> None:
        other = next(it for it in ANSWERS if it != rows[0].prediction)
        rows[0] = rows[0]._replace(prediction=other)

    sabotaged = with_golden(better, tmp_path, change)
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    code, record, errors = deploy(device, recipes, "0.2.0", bundle=str(sabotaged))
    assert_undone(device, mixed, record, errors)
    assert code == 1


def test_start_that_hangs_is_undone(begin: Begin, mixed: Packed, tmp_path: Path) -> None:
    """When the time of its startup is over, three times."""
    device = begin()
    recipes = write_update(tmp_path / "recipes", "0.2.0", HANG, Timeout=1)
    code, record, errors = deploy(device, recipes, "0.2.0")
    assert_undone(device, mixed, record, errors)
    assert code == 1
    assert "startup: got no RUNNING in 1 s, expected it" in errors


@pytest.mark.parametrize("point", ["starting", "done"])
def test_device_killed_around_a_deployment_starts_from_one_state(
    begin: Begin, mixed: Packed, better: Packed, tmp_path: Path, point: str
) -> None:
    """In the middle from the old one, after the end from the new one, bundle and recipe alike."""
    device = begin()
    if point == "done":
        recipes = write_update(tmp_path / "recipes", "0.2.0")
        assert deploy(device, recipes, "0.2.0", bundle=str(better.directory))[0] == 0
    else:
        recipes = write_update(tmp_path / "recipes", "0.2.0", HANG)
        watcher = threading.Thread(
            target=edgexgb,
            args=(
                *("device", "deploy", "--root", device.root.path, "--recipe-dir", recipes),
                *("--add", f"{INFERENCE}=0.2.0"),
            ),
        )
        watcher.start()
        wait_until(lambda: device.component().get("version") == "0.2.0", "the new version")
    device.kill()
    if point == "starting":
        watcher.join(60.0)  # it sees that the device has gone
        assert not watcher.is_alive()
    device.start()
    expected = (better if point == "done" else mixed).manifest.version
    assert predict_version(device, mixed) == expected
    assert device.component()["version"] == ("0.2.0" if point == "done" else "0.1.0")
    [record] = History(DeviceRoot(device.root.path).deployment_history).read()
    result = "SUCCESSFUL" if point == "done" else "FAILED_ROLLBACK_COMPLETE"
    assert record.result == result
