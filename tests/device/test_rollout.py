"""`edgexgb rollout` against a device that is a process, on both nuclei."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import xgboost
from sklearn.datasets import load_wine

from consumer.errors import RequestTimeoutError
from nucleus.deployments.history import History, Record, Result
from release.components import INFERENCE
from release.rollout.update import bundle_update
from tests.conftest import CULTIVARS, Packed, Packer, bits, in_memory, with_golden
from tests.device.conftest import Begin
from tests.device.running import RunningDevice
from tests.release.devices import edgexgb, write_recipe

ROOT = Path(__file__).parents[2]
N = 8


@pytest.fixture(scope="session")
def better(packed_from: Packer) -> Packed:
    """The wine model with more trees, under another version."""
    data = load_wine(as_frame=True)
    estimator = xgboost.XGBClassifier(n_estimators=9, max_depth=3, n_jobs=1)
    estimator.fit(data.data, data.target)
    return packed_from(estimator, data.data, name="wine", version="2.0.0", labels=CULTIVARS)


@pytest.fixture
def bad(better: Packed, tmp_path: Path) -> Path:
    """The same bundle with one golden row that its model does not give."""

    def change(rows: list[Any]) -> None:
        rows[0] = rows[0]._replace(prediction=next(it for it in CULTIVARS if it != rows[0][1]))

    return with_golden(better, tmp_path / "bad", change)


def roll_out(device: RunningDevice, bundle: Path, *words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command."""
    return edgexgb("rollout", bundle, "--root", device.root.path, *words)


def history(device: RunningDevice) -> Sequence[Record]:
    return History(device.root.deployment_history).read()


def assert_served(device: RunningDevice, packed: Packed) -> None:
    """The model in memory, to the last bit, and its version."""
    with device.client() as client:
        found = client.predict(packed.rows[:N], 30.0)
    predictions, probabilities = in_memory(packed, packed.frame.head(N))
    assert (found.model, found.version) == (packed.manifest.name, packed.manifest.version)
    assert list(found.predictions) == predictions
    assert bits(found.probabilities) == bits(probabilities)


def fields_of(text: str) -> dict[str, str]:
    """The lines below the first, by their names."""
    return {line[2:20].strip(): line[21:] for line in text.splitlines()[1:]}


# --- accepted -------------------------------------------------------------------------------------


def test_update_is_accepted_and_its_answers_are_the_notebooks(
    begin: Begin, multiclass: Packed, better: Packed
) -> None:
    """None is lost meanwhile, whoever answers; the time without answers is told."""
    device = begin(bundle=multiclass.directory)
    assert_served(device, multiclass)
    version = bundle_update(better.directory).version
    code, printed, errors = roll_out(device, better.directory)
    assert code == 0, errors
    assert printed.startswith(f"accepted {INFERENCE} {version} (wine 2.0.0): SUCCESSFUL after ")
    found = fields_of(printed)
    assert list(found) == ["answered meanwhile", "without an answer", "answers now", "over pub/sub"]
    assert " by wine 1.2.3, " in found["answered meanwhile"]
    assert " by wine 2.0.0; none lost" in found["answered meanwhile"]
    assert found["without an answer"].endswith(" s at the longest")
    assert 0 < float(found["without an answer"].split()[0]) < 30
    assert found["answers now"] == "wine 2.0.0"
    n = len(better.bundle.golden)
    assert found["over pub/sub"] == f"{n} of {n} golden rows equal to the last bit"
    said = errors.splitlines()
    assert said[0].startswith("gate, in this process: ")
    assert said[0].endswith(" passed")
    assert said[1] == f"{INFERENCE}: 0.1.0 -> {version}"
    assert_served(device, better)
    assert device.component()["version"] == version
    assert [it.result for it in history(device)] == [Result.SUCCESSFUL]


def test_device_keeps_a_copy_of_its_own(
    begin: Begin, multiclass: Packed, better: Packed, tmp_path: Path
) -> None:
    """The bundle's directory may go; a device that is started again serves what it has."""
    device = begin(bundle=multiclass.directory)
    bundle = Path(shutil.copytree(better.directory, tmp_path / "somewhere"))
    assert roll_out(device, bundle)[0] == 0
    shutil.rmtree(bundle)
    device.stop()
    again = RunningDevice(device.root.path, [], device.personality.name)
    with again:
        again.start()
        assert_served(again, better)


def test_unchanged_bundle_is_no_deployment(
    begin: Begin, multiclass: Packed, better: Packed, tmp_path: Path
) -> None:
    """Nor is a copy of it; with a configuration there is something to do again."""
    device = begin(bundle=multiclass.directory)
    assert roll_out(device, better.directory)[0] == 0
    version, pid = device.component()["version"], device.component()["pid"]
    copied = Path(shutil.copytree(better.directory, tmp_path / "copy"))
    code, printed, _ = roll_out(device, copied)
    what = "of the same model, code and recipe"
    assert (code, printed) == (0, f"unchanged: {INFERENCE} {version} runs, {what}\n")
    code, printed, _ = roll_out(device, copied, "--json")
    assert (code, json.loads(printed)) == (
        0,
        {
            "version": version,
            "before": version,
            "record": None,
            "accepted": True,
            "unchanged": True,
            "model": "wine 2.0.0",
        },
    )
    assert len(history(device)) == 1
    assert device.component()["pid"] == pid
    fields = ('{"maxRows": "7"}', '{"maxWaitingRequests": "9"}')
    words = [it for one in fields for it in ("--configure", f"{INFERENCE}={one}")]
    code, printed, errors = roll_out(device, copied, *words)
    assert code == 0, errors
    assert printed.startswith(f"accepted {INFERENCE} {version} ")
    assert len(history(device)) == 2
    assert configuration(device)["maxRows"] == "7"
    assert configuration(device)["maxWaitingRequests"] == "9"
    code, _, errors = roll_out(device, copied, "--reset")
    assert code == 0, errors
    assert configuration(device)["maxRows"] == "10000"
    assert_served(device, better)


def configuration(device: RunningDevice) -> dict[str, Any]:
    """The component's, as the device has written it down."""
    content: dict[str, Any] = json.loads(device.root.configuration.read_text())
    found: dict[str, Any] = content["services"][INFERENCE]
    return found


def test_outcome_is_json_where_a_program_reads_it(
    begin: Begin, multiclass: Packed, binary: Packed
) -> None:
    """A model with other columns: the old one refuses its rows, which is an answer, too."""
    device = begin(bundle=multiclass.directory)
    code, printed, errors = roll_out(device, binary.directory, "--json")
    assert code == 0, errors
    found = json.loads(printed)
    assert found["accepted"]
    assert not found["unchanged"]
    assert (found["before"], found["version"]) == ("0.1.0", device.component()["version"])
    assert found["record"]["result"] == "SUCCESSFUL"
    assert found["answered_before"] == "error unknown_feature"
    traffic = found["traffic"]
    new = f"breast-cancer {binary.manifest.version}"
    assert set(traffic["answers"]) == {"error unknown_feature", new}
    assert (traffic["n_lost"], traffic["last"], found["model"]) == (0, new, new)
    assert traffic["gap_s"] > 0
    golden = found["golden"]
    assert golden["n_equal"] == golden["n_rows"] == len(binary.bundle.golden)
    assert golden["differences"] == []


def test_changed_code_is_another_version(
    begin: Begin, multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the same model, from another checkout."""
    checkout = tmp_path / "checkout"
    for package in ("consumer", "container", "interface", "model", "nucleus", "release"):
        shutil.copytree(ROOT / package, checkout / package)
    device = begin(bundle=multiclass.directory)
    assert roll_out(device, multiclass.directory)[0] == 0
    first = device.component()["version"]
    with (checkout / "container" / "service.py").open("a") as file:
        file.write("# changed\n")
    monkeypatch.setenv("PYTHONPATH", str(checkout))
    monkeypatch.chdir(checkout)
    code, printed, errors = roll_out(device, multiclass.directory)
    assert code == 0, errors
    assert printed.startswith("accepted ")
    assert device.component()["version"] not in {first, "0.1.0"}
    assert [it.result for it in history(device)] == [Result.SUCCESSFUL] * 2
    assert_served(device, multiclass)


def test_first_rollout_brings_the_component_to_a_device_without_it(
    personality: str, better: Packed, tmp_path: Path
) -> None:
    """Nobody answered before, so that there is no gap."""
    recipe = write_recipe(tmp_path, "Hello", run="exec sleep 1000")
    with RunningDevice(tmp_path / "root", ["--recipe", recipe], personality) as device:
        device.start()
        code, printed, errors = roll_out(device, better.directory)
        assert code == 0, errors
        assert f"{INFERENCE}: none -> " in errors
        found = fields_of(printed)
        assert list(found) == ["answered meanwhile", "answers now", "over pub/sub"]
        assert_served(device, better)
        assert device.component("Hello")["state"] == "RUNNING"


# --- refused --------------------------------------------------------------------------------------


def test_bundle_that_fails_the_gate_here_never_reaches_the_device(
    begin: Begin, multiclass: Packed, bad: Path
) -> None:
    """One line, which says what differs."""
    device = begin(bundle=multiclass.directory)
    pid = device.component()["pid"]
    code, printed, errors = roll_out(device, bad)
    assert (code, printed) == (1, "")
    assert errors.startswith(f"edgexgb rollout: error: {bad}: got ")
    assert " checks failed, expected none; first: golden rows" in errors
    assert errors.count("\n") == 1
    assert history(device) == []
    assert device.component()["pid"] == pid
    assert_served(device, multiclass)


def test_bundle_that_the_device_refuses_does_not_answer(
    begin: Begin, multiclass: Packed, bad: Path
) -> None:
    """Classic goes back by itself; on nucleus lite the earlier bundle has to be rolled out."""
    device = begin(bundle=multiclass.directory)
    code, printed, errors = roll_out(device, bad, "--no-validate")
    assert code == 1
    assert "Traceback" not in errors
    version = bundle_update(bad).version
    first = printed.splitlines()[0]
    assert first.startswith(f"refused {INFERENCE} {version} (wine 2.0.0): FAILED_ROLLBACK_")
    found = fields_of(printed)
    assert found["why"].startswith(f"{INFERENCE} {version} is BROKEN: startup: ")
    assert "wine 2.0.0" not in found["answered meanwhile"]
    if device.personality.name == "classic":
        assert "FAILED_ROLLBACK_COMPLETE" in first
        assert found["now"] == "what ran before runs again"
        assert "; none lost" in found["answered meanwhile"]
        assert found["answers now"] == "wine 1.2.3"
        assert device.component()["version"] == "0.1.0"
    else:
        assert "FAILED_ROLLBACK_NOT_REQUESTED" in first
        assert found["now"] == "what has failed was left as it is; roll out the earlier bundle"
        assert "; 1 lost, " in found["answered meanwhile"]
        assert found["answers now"] == "nobody"
        with device.client() as client, pytest.raises(RequestTimeoutError):
            client.predict(multiclass.rows[:1], 0.5)
        code, printed, errors = roll_out(device, bad, "--no-validate")
        assert (code, printed) == (1, "")
        hint = f"`edgexgb device restart {INFERENCE}` tries again"
        assert errors.splitlines()[-1] == (
            f"edgexgb rollout: error: {INFERENCE} {version}: got BROKEN, expected RUNNING; {hint}"
        )
        assert roll_out(device, multiclass.directory)[0] == 0
    assert_served(device, multiclass)


def test_bundle_that_cannot_even_be_read_is_the_devices_to_refuse(
    begin: Begin, multiclass: Packed, better: Packed, tmp_path: Path
) -> None:
    """Without the gate here, nothing of it is looked at: no model is named, no row asked for."""
    device = begin(bundle=multiclass.directory)
    torn = Path(shutil.copytree(better.directory, tmp_path / "torn"))
    (torn / "manifest.json").write_text("{")
    (torn / "golden.jsonl").write_text("{")
    code, printed, _ = roll_out(device, torn, "--no-validate")
    assert code == 1
    assert printed.startswith(f"refused {INFERENCE} {bundle_update(torn).version}: FAILED_")
    assert list(fields_of(printed)) == ["why", "now"]


# --- who watches ----------------------------------------------------------------------------------


@contextlib.contextmanager
def watching(device: RunningDevice, bundle: Path, go: Path) -> Iterator["subprocess.Popen[str]"]:
    """The command as a process, once the update starts, which it does until a file is there."""
    hanging = go.with_name("python")
    hanging.write_text(
        f'#!/bin/sh\nuntil test -e "{go}"; do sleep 0.05; done\nexec "{sys.executable}" "$@"\n'
    )
    hanging.chmod(0o755)
    fields = json.dumps({"python": str(hanging)})
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "release.cli", "rollout", str(bundle)),
            *("--root", str(device.root.path), "--configure", f"{INFERENCE}={fields}"),
        ],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as command:
        try:
            device.wait_state("STARTING")
            yield command
        finally:
            command.kill()


def test_device_goes_on_without_who_watches_and_the_next_one_waits(
    begin: Begin, multiclass: Packed, better: Packed, tmp_path: Path
) -> None:
    """An update that hangs at its start; Ctrl-C, and another rollout on top of it."""
    device = begin(bundle=multiclass.directory)
    go = tmp_path / "go"
    with watching(device, better.directory, go) as command:
        command.send_signal(signal.SIGINT)
        printed, errors = command.communicate(timeout=60)
    assert (command.returncode, printed) == (130, "")
    assert errors.splitlines()[-2:] == [
        "the device goes on with it; `edgexgb device deployments` tells what becomes of it",
        "edgexgb rollout: stopped",
    ]
    code, printed, errors = roll_out(device, better.directory, "--timeout", "1")
    assert (code, printed) == (1, "")
    assert "\nwaiting for another deployment\n" in errors
    assert "got no end in 1 s (waiting for edgexgb.Inference " in errors.splitlines()[-1]
    go.touch()
    code, printed, _ = roll_out(device, better.directory)
    assert code == 0
    assert printed.startswith(f"unchanged: {INFERENCE} ")
    assert [it.result for it in history(device)] == [Result.SUCCESSFUL]
    assert_served(device, better)


def test_end_of_the_device_ends_the_rollout(
    begin: Begin, multiclass: Packed, better: Packed, tmp_path: Path
) -> None:
    """One line at the end; what is deployed is the device's to say when it starts again."""
    device = begin(bundle=multiclass.directory)
    with watching(device, better.directory, tmp_path / "never") as command:
        device.kill()
        printed, errors = command.communicate(timeout=60)
    assert (command.returncode, printed) == (1, "")
    assert "got no core device any more, expected it to go on; " in errors.splitlines()[-1]
    assert "Traceback" not in errors
