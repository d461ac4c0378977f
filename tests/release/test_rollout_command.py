"""`edgexgb rollout`: what is wrong with a call, before a device is touched."""

from pathlib import Path

import pytest

from nucleus.deployments.history import History
from nucleus.root import DeviceRoot
from tests.conftest import Packed
from tests.release.test_cli import Captured, run


def test_without_a_device_there_is_nothing_to_roll_out_to(
    multiclass: Packed, tmp_path: Path, capsys: Captured
) -> None:
    """It is told before the gate, which may take its time."""
    code, printed, errors = run(capsys, "rollout", multiclass.directory, "--root", tmp_path)
    expected = "got no core device that runs, expected one; `edgexgb device start` starts it"
    assert (code, printed) == (1, "")
    assert errors == f"edgexgb rollout: error: {tmp_path}: {expected}\n"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--image", "edgexgb-none:1"),
            "{root}: got a device that runs processes, expected one that was started with an "
            "--image",
        ),
        (("--configure", "Other={}"), "--configure: got 'Other', expected edgexgb.Inference"),
        (("--configure", "x"), "--configure: got 'x', expected COMPONENT=JSON"),
        (
            ("--configure", "edgexgb.Inference=[]"),
            "--configure edgexgb.Inference: got a list, expected an object",
        ),
    ],
    ids=["image", "another component", "no pair", "no object"],
)
def test_what_cannot_be_is_refused_in_one_line(
    words: tuple[str, ...],
    expected: str,
    inference_root: Path,
    multiclass: Packed,
    capsys: Captured,
) -> None:
    """Place, observed, expected; the device hears nothing of it."""
    before = History(DeviceRoot(inference_root).deployment_history).read()
    found = run(capsys, "rollout", multiclass.directory, "--root", inference_root, *words)
    text = expected.format(root=inference_root)
    assert found == (1, "", f"edgexgb rollout: error: {text}\n")
    assert History(DeviceRoot(inference_root).deployment_history).read() == before


@pytest.mark.parametrize("words", [(), ("--no-validate",)], ids=["gate", "no gate"])
def test_directory_without_a_bundle_is_refused(
    words: tuple[str, ...], inference_root: Path, tmp_path: Path, capsys: Captured
) -> None:
    """With the gate and without."""
    code, printed, errors = run(capsys, "rollout", tmp_path, "--root", inference_root, *words)
    assert (code, printed) == (1, "")
    assert errors.startswith("edgexgb rollout: error: ")
    assert "manifest.json" in errors
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--request-topic", "a/#"), "got 'a/#', expected a topic without wildcards"),
        (("--timeout", "0"), "got '0', expected a whole number above 0"),
    ],
    ids=["topic", "timeout"],
)
def test_wrong_option_is_refused_by_its_name(
    words: tuple[str, ...], expected: str, tmp_path: Path, capsys: Captured
) -> None:
    """As a wrong call, with 2."""
    code, _, errors = run(capsys, "rollout", tmp_path, *words)
    assert code == 2
    assert f"argument {words[0]}: {expected}" in errors
