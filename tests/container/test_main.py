"""`python -m container` as a process, as the recipe starts it."""

import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from container.__main__ import main
from container.component import STOPPED
from interface.greengrass import SOCKET_VARIABLE, TOKEN_VARIABLE, CoreDevice
from nucleus.personality import CLASSIC
from tests.conftest import Packed, copy_bundle, with_golden
from tests.container.served import NAME, PATIENCE_S, Served, served

Line = dict[str, Any]


@contextlib.contextmanager
def process(
    bundle: Path, device: Served | None, **environment: str
) -> Iterator["subprocess.Popen[str]"]:
    """The component as a process that does not outlive the block."""
    variables = {"PATH": os.environ["PATH"], "EDGEXGB_BUNDLE": str(bundle), **environment}
    if device is not None:
        variables |= {
            SOCKET_VARIABLE: str(device.server.path),
            TOKEN_VARIABLE: device.server.token(NAME),
        }
    with subprocess.Popen(
        [sys.executable, "-m", "container"],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as started:
        try:
            yield started
        finally:
            if started.poll() is None:
                started.kill()


def end(started: "subprocess.Popen[str]") -> tuple[int, list[Line]]:
    """The exit code, and all lines, each of which must be JSON."""
    out, _ = started.communicate(timeout=PATIENCE_S)
    return started.returncode, [json.loads(line) for line in out.splitlines()]


def refused(bundle: Path, device: Served | None, **environment: str) -> list[Line]:
    """The lines of a component that gives up."""
    with process(bundle, device, **environment) as started:
        code, lines = end(started)
    assert code == 1
    assert lines[-1]["message"] == "giving up"
    assert lines[-1]["level"] == "ERROR"
    return lines


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_component_opens_replays_and_runs_until_a_signal(
    number: signal.Signals, mixed: Packed
) -> None:
    """Each step is a line of JSON; the end has a code that is never 0."""
    with served(CLASSIC) as device, process(mixed.directory, device) as started:
        device.wait_running()
        started.send_signal(number)
        code, lines = end(started)
    assert code == STOPPED
    assert [line["message"] for line in lines] == [
        "bundle opened",
        "golden rows replayed",
        "running",
        "stopping",
    ]
    assert lines[0]["digest"] == mixed.bundle.digest
    assert lines[1]["rows"] == len(mixed.bundle.golden)
    assert lines[2]["request_topic"] == "edgexgb/requests"


def test_token_is_in_no_line(mixed: Packed) -> None:
    """Nor the path of the socket's secrets: logs travel further than devices."""
    with served(CLASSIC, logLevel="DEBUG") as device:
        with process(mixed.directory, device) as started:
            device.wait_running()
            with device.asking() as ask:
                assert ask({"id": 1, "records": [mixed.rows[0]]})["statusCode"] == 200
            started.terminate()
            _code, lines = end(started)
        assert "request" in [line["message"] for line in lines]
        assert device.server.token(NAME) not in json.dumps(lines)


def test_bundle_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    """No connection is even tried."""
    (line,) = refused(tmp_path / "none", None)
    assert line["error"] == (
        f"{tmp_path}/none/manifest.json: got no such directory, expected a bundle's file"
    )


def test_damaged_bundle_is_one_line(mixed: Packed, tmp_path: Path) -> None:
    """It is audited before anything is served."""
    bundle = copy_bundle(mixed, tmp_path)
    (bundle / "model.ubj").write_bytes(mixed.model[:-1])
    with served(CLASSIC) as device:
        (line,) = refused(bundle, device)
        assert device.calls == []
    assert line["error"].startswith("model.ubj: got ")


def test_bundle_that_cannot_reproduce_its_predictions_never_runs(
    regression: Packed, tmp_path: Path
) -> None:
    """The gate: the deployment fails, and the device goes back to what it had."""

    def change(rows: list[Any]) -> None:
        rows[3] = rows[3]._replace(prediction=float(rows[3].prediction) + 1.0)

    bundle = with_golden(regression, tmp_path, change)
    with served(CLASSIC) as device:
        opened, line = refused(bundle, device)
        assert device.calls == []
    assert opened["message"] == "bundle opened"
    assert line["error"].startswith("golden.jsonl: row 3.prediction: got ")
    assert line["error"].endswith(f"(1 of {len(regression.bundle.golden)} golden rows differ)")


def test_bad_environment_is_one_line(mixed: Packed) -> None:
    """With the variable's name."""
    (line,) = refused(mixed.directory, None, EDGEXGB_THREADS="some")
    assert line["error"] == "EDGEXGB_THREADS: got 'some', expected a whole number above 0"


def test_bad_configuration_is_named(mixed: Packed) -> None:
    """Of the component, not of the environment."""
    with served(CLASSIC, maxMessageBytes="10") as device:
        lines = refused(mixed.directory, device)
        assert device.reports == []
    assert lines[-1]["error"] == (
        "maxMessageBytes: got '10', expected a whole number of at least 3235"
    )


def test_unexpected_failure_is_a_line_of_json_too(
    mixed: Packed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With its traceback inside the line: whoever reads logs reads JSON."""

    def fail() -> CoreDevice:
        raise RuntimeError("out of luck")

    numbers = (signal.SIGTERM, signal.SIGINT)
    root, before = logging.getLogger(), {number: signal.getsignal(number) for number in numbers}
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr("container.__main__.connect", fail)
    monkeypatch.setenv("EDGEXGB_BUNDLE", str(mixed.directory))
    try:
        assert main() == 1
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        for number, handler in before.items():
            signal.signal(number, handler)
    line = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert line["message"] == "giving up"
    assert line["exception"].endswith("RuntimeError: out of luck")
