"""`edgexgb device deploy` and `deployments`: what is wrong with a call, and what they print."""

import json
import os
import signal
from pathlib import Path
from uuid import uuid4

import pytest

from nucleus.root import DeviceRoot
from tests.release.devices import detached, edgexgb, wait_until, write_recipe
from tests.release.test_cli import Captured, run

SLEEP = "sleep 1000 & wait"


def recipe(folder: Path, name: str, version: str, **lifecycle: str) -> Path:
    """A directory with one recipe more."""
    folder.mkdir(exist_ok=True)
    path = write_recipe(folder, name, **lifecycle)
    path.write_text(path.read_text().replace('"1.0.0"', f'"{version}"'))
    path.rename(folder / f"{name}-{version}.json")
    return folder


@pytest.mark.parametrize("words", [("deploy", "--add", "A=1.0.0"), ("deployments",)])
def test_without_a_device_there_is_nothing_to_deploy_to(
    words: tuple[str, ...], tmp_path: Path, capsys: Captured
) -> None:
    """But the history can be read, also after the device has ended."""
    code, printed, errors = run(capsys, "device", *words, "--root", tmp_path)
    if words == ("deployments",):
        assert (code, printed, errors) == (0, "no deployments\n", "")
    else:
        expected = "got no core device that runs, expected one; `edgexgb device start` starts it"
        assert (code, printed) == (1, "")
        assert errors == f"edgexgb device: error: {tmp_path}: {expected}\n"


def test_calls_that_ask_for_what_cannot_be_are_refused_in_one_line(tmp_path: Path) -> None:
    """Place, observed, expected; the device goes on."""
    first = write_recipe(tmp_path, "A", run=SLEEP)
    config = tmp_path / "config.json"
    config.write_text('{"A": {"MERGE": 1}}')
    torn = tmp_path / "torn.json"
    torn.write_text("{")
    cases = {
        (): "deploy: got nothing to do, expected --add, --remove or --config",
        ("--add", "A"): "--add: got 'A', expected NAME=VERSION",
        ("--add", "A=1.0.0", "--add", "A=1.0.1"): "--add: got a component twice, expected each",
        ("--add", "A=one"): "the core device: deployment: ",
        ("--remove", "A", "--add", "A=1.0.0"): "the core device: deployment: ",
        ("--add", "A=1.0.0", "--recipe-dir", "/none"): "/none: got no such directory, expected one",
        ("--config", str(config)): f"{config}.A.MERGE: got the number 1, expected an object",
        ("--config", str(torn)): f"{torn}: got text that is no JSON (",
        ("--config", "/none.json"): "/none.json: No such file or directory",
    }
    with detached(tmp_path / "root", "--recipe", first) as root:
        for words, text in cases.items():
            code, printed, errors = edgexgb("device", "deploy", "--root", root, *words)
            assert (code, printed) == (1, "")
            assert errors.startswith(f"edgexgb device: error: {text}"), errors
            assert errors.count("\n") == 1
        assert edgexgb("device", "deployments", "--root", root)[1] == "no deployments\n"


def test_outcome_is_the_last_line(tmp_path: Path) -> None:
    """On stdout where it is good, on stderr where it is not; the history has both."""
    first = write_recipe(tmp_path, "A", run=SLEEP)
    recipes = recipe(tmp_path / "recipes", "A", "1.1.0", run=SLEEP)
    recipe(recipes, "A", "1.2.0", startup="exit 3")
    with detached(tmp_path / "root", "--recipe", first) as root:
        words = ("device", "deploy", "--root", root, "--recipe-dir", recipes, "--add")
        code, printed, _ = edgexgb(*words, "A=1.1.0")
        assert code == 0
        assert printed.startswith("deployment ")
        assert ": SUCCESSFUL after " in printed
        assert printed.count("\n") == 1
        code, printed, errors = edgexgb(*words, "A=1.2.0")
        assert (code, printed) == (1, "")
        last = errors.splitlines()[-1]
        why = "A 1.2.0 is BROKEN: startup: got exit code 3, expected 0"
        assert f"got FAILED_ROLLBACK_COMPLETE ({why}; see {root}/logs/A.log)" in last
        assert last.endswith("expected SUCCESSFUL; what ran before runs again")
        code, printed, _ = edgexgb("device", "deployments", "--root", root, "--json")
        assert [it["result"] for it in json.loads(printed)] == [
            "SUCCESSFUL",
            "FAILED_ROLLBACK_COMPLETE",
        ]
        code, printed, _ = edgexgb("device", "deployments", "--root", root)
        assert "+A=1.1.0" in printed
        assert why in printed
        status = json.loads(edgexgb("device", "status", "--root", root, "--json")[1])
        assert [(it["version"], it["state"]) for it in status["components"]] == [
            ("1.1.0", "RUNNING")
        ]


def test_watch_ends_when_its_time_is_over_or_the_device_is(tmp_path: Path) -> None:
    """The deployment itself goes on, as far as it can."""
    first = write_recipe(tmp_path, "A", run=SLEEP)
    recipes = recipe(tmp_path / "recipes", "A", "1.1.0", startup=SLEEP)
    with detached(tmp_path / "root", "--recipe", first) as root:
        words = ("device", "deploy", "--root", root, "--recipe-dir", recipes, "--add", "A=1.1.0")
        code, _, errors = edgexgb(*words, "--timeout", "1")
        assert code == 1
        assert "waiting for A 1.1.0 (STARTING)\n" in errors
        assert "got no end in 1 s (waiting for A 1.1.0 (STARTING)), expected one; " in errors
        os.kill(DeviceRoot(root).running()["pid"], signal.SIGKILL)
        wait_until(lambda: DeviceRoot(root).holder() is None, "the device's end")
        code, printed, _ = edgexgb("device", "deployments", "--root", root, "--json")
        assert [it["result"] for it in json.loads(printed)] == [None]
        with detached(root) as again:
            code, printed, _ = edgexgb("device", "deployments", "--root", again, "--json")
            [record] = json.loads(printed)
            assert record["result"] == "FAILED_ROLLBACK_COMPLETE"


def test_deployment_that_waits_can_be_cancelled_and_one_at_work_cannot(tmp_path: Path) -> None:
    """The first stops and starts components, the second waits for it; a third there is not."""
    first = write_recipe(tmp_path, "A", run=SLEEP)
    recipes = recipe(tmp_path / "recipes", "A", "1.1.0", startup=SLEEP)
    with detached(tmp_path / "root", "--recipe", first) as root:
        words = ("device", "deploy", "--root", root, "--recipe-dir", recipes, "--add", "A=1.1.0")
        for _ in range(2):
            assert edgexgb(*words, "--timeout", "1")[0] == 1
        records = json.loads(edgexgb("device", "deployments", "--root", root, "--json")[1])
        at_work, waiting = (it["id"] for it in records)
        cancel = ("device", "cancel", "--root", root)
        assert edgexgb(*cancel, waiting) == (0, f"deployment {waiting}: CANCELED\n", "")
        for deployment_id in (waiting, at_work, str(uuid4())):
            code, printed, errors = edgexgb(*cancel, deployment_id)
            assert (code, printed) == (1, "")
            place = f"the core device: deployment {deployment_id}"
            assert errors.startswith(f"edgexgb device: error: {place}: got ")
        records = json.loads(edgexgb("device", "deployments", "--root", root, "--json")[1])
        assert [it["result"] for it in records] == [None, "CANCELED"]


def test_removal_and_configuration_are_deployed(tmp_path: Path) -> None:
    """With no directory at all."""
    recipes = [write_recipe(tmp_path, name, run=SLEEP) for name in ("A", "B")]
    config = tmp_path / "config.json"
    config.write_text(json.dumps({"A": {"MERGE": {"x": 1}}}))
    start = [word for path in recipes for word in ("--recipe", path)]
    with detached(tmp_path / "root", *start) as root:
        words = ("device", "deploy", "--root", root)
        assert edgexgb(*words, "--remove", "B", "--config", config)[0] == 0
        status = json.loads(edgexgb("device", "status", "--root", root, "--json")[1])
        assert [it["name"] for it in status["components"]] == ["A"]
        configuration = json.loads(DeviceRoot(root).configuration.read_text())
        assert configuration == {"services": {"A": {"x": 1}}}
