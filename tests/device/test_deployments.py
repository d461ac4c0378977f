"""Updates of the inference component on a device that is a process, as a user makes them."""

import threading
from pathlib import Path

import pytest

from nucleus.deployments.history import History
from nucleus.root import DeviceRoot
from release.components import INFERENCE
from tests.conftest import Packed
from tests.device.conftest import Begin
from tests.device.updates import HANG, deploy, persistent_askers, predict_version, write_update
from tests.device.waiting import wait_until
from tests.release.devices import edgexgb


def test_update_under_traffic_loses_no_request(
    begin: Begin, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """Each is answered, by the old model or the new one, and by the old one never again after."""
    device = begin(deferUpdateSeconds="1")
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    with persistent_askers(device, mixed, 3) as askers:
        askers.wait_for_more(20)
        code, record, errors = deploy(device, recipes, "0.2.0", bundle=str(better.directory))
        assert (code, record["result"]) == (0, "SUCCESSFUL"), errors
        askers.wait_for_more(20)
    old, new = mixed.manifest.version, better.manifest.version
    for versions in askers.versions():
        n_old = versions.count(old)
        assert versions == [old] * n_old + [new] * (len(versions) - n_old)
        assert 0 < n_old < len(versions)
    assert device.component()["version"] == "0.2.0"


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
