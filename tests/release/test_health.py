"""How the inference component of a device is, asked by `edgexgb device status`."""

import json
import os
import signal
from pathlib import Path

import pytest

from nucleus.root import DeviceRoot
from release import health as health_module
from release.health import find_health
from tests.conftest import Packed
from tests.release.devices import PATIENCE_S, detached, wait_until
from tests.release.test_cli import Captured, run


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Machines that run tests are slow at times."""
    monkeypatch.setattr(health_module, "ANSWER_S", PATIENCE_S)


def test_status_has_the_health_of_the_inference_component(
    inference_root: Path, multiclass: Packed, capsys: Captured
) -> None:
    """In JSON, and as a line for people."""
    words = ("device", "status", "--root", inference_root)
    code, printed, _ = run(capsys, *words, "--json")
    health = json.loads(printed)["health"]
    assert code == 0
    assert (health["ready"], health["model"], health["version"]) == (True, "wine", "1.2.3")
    assert health["digest"] == multiclass.bundle.digest
    assert health["max_waiting"] == 64
    code, printed, _ = run(capsys, *words)
    assert code == 0
    (line,) = [it for it in printed.splitlines() if it.startswith("edgexgb.Inference: ")]
    assert line.startswith("edgexgb.Inference: ready, wine 1.2.3 (")


def test_health_is_asked_where_the_component_listens(tmp_path: Path, multiclass: Packed) -> None:
    """Its configuration says where; one that is stopped does not answer, and that is no error."""
    topics = {"requestTopic": "other/requests", "resultTopic": "other/results"}
    permitted = {
        "1": {"operations": ["*"], "resources": ["other/*"]},
    }
    access = {"aws.greengrass.ipc.pubsub": permitted}
    changes = json.dumps({**topics, "accessControl": access})
    root = tmp_path / "root"
    configure = ("--configure", f"edgexgb.Inference={changes}")
    with detached(root, multiclass.directory, *configure):
        found = DeviceRoot(root)
        components = found.read_status()["components"]
        health = find_health(found, components)
        assert health is not None
        assert health.model == "wine"
        (pid,) = [it["pid"] for it in components]
        os.kill(pid, signal.SIGSTOP)
        try:
            health_module.ANSWER_S = 0.5
            assert find_health(found, components) is None
        finally:
            os.kill(pid, signal.SIGCONT)
        wait_until(lambda: find_health(found, components), "an answer")


@pytest.mark.parametrize("state", ["STARTING", "BROKEN", "INSTALLED"])
def test_component_that_does_not_run_is_not_asked(state: str, tmp_path: Path) -> None:
    """Nor is one that is not there; not even a connection is made."""
    root = DeviceRoot(tmp_path)
    assert find_health(root, [{"name": "edgexgb.Inference", "state": state}]) is None
    assert find_health(root, [{"name": "Other", "state": "RUNNING"}]) is None


def test_device_that_has_just_gone_gives_no_answer(tmp_path: Path) -> None:
    """Between the look at its status and the question."""
    components = [{"name": "edgexgb.Inference", "state": "RUNNING"}]
    assert find_health(DeviceRoot(tmp_path), components) is None
