"""`edgexgb device` as its users have it: real processes, signals, pipes."""

import argparse
import json
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from nucleus.root import DeviceRoot
from release import device as device_module
from release.device import whole
from tests.conftest import Packed
from tests.release.devices import (
    PATIENCE_S,
    components_of,
    detached,
    edgexgb,
    foreground,
    is_settled,
    wait_until,
    write_recipe,
)
from tests.release.test_cli import Captured, run

ACTIONS = (
    ("status",),
    ("status", "--json"),
    ("restart", "A"),
    ("publish", "a/b", "hello"),
    ("publish", "a/b", "hello", "--iot-core"),
    ("subscribe", "a/b"),
    ("stop",),
)


def sleeper(folder: Path, **more: str) -> Path:
    return write_recipe(folder, "Sleeper", run="sleep 1000 & wait", **more)


# --- wrong calls ----------------------------------------------------------------------------------


@pytest.mark.parametrize("words", ACTIONS, ids=" ".join)
def test_without_a_device_each_action_says_so(
    words: tuple[str, ...], tmp_path: Path, capsys: Captured
) -> None:
    """In one line, with what starts one."""
    assert run(capsys, "device", *words, "--root", tmp_path) == (
        1,
        "",
        f"edgexgb device: error: {tmp_path}: got no core device that runs, expected one; "
        "`edgexgb device start` starts it\n",
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "r.yaml: got nothing, expected an object"),
        (b"hello", "r.yaml: got 'hello', expected an object"),
        (b"{", "r.yaml: got "),
        (b"a: [", "r.yaml: got "),
        (b"\xff", "r.yaml: got bytes that are no UTF-8, expected a recipe"),
        (b"{}", "r.yaml: RecipeFormatVersion: got nothing, expected text"),
        (b"[" * 100_000, "r.yaml: got "),
    ],
    ids=["empty", "text", "JSON", "YAML", "bytes", "fields", "depth"],
)
def test_recipe_that_is_none_is_refused_in_one_line(
    content: bytes, text: str, tmp_path: Path, capsys: Captured
) -> None:
    """Nothing is started."""
    path = tmp_path / "r.yaml"
    path.write_bytes(content)
    root = tmp_path / "root"
    code, printed, errors = run(capsys, "device", "start", "--recipe", path, "--root", root)
    assert (code, printed) == (1, "")
    assert errors.startswith(f"edgexgb device: error: {tmp_path}/{text}")
    assert errors.count("\n") == 1
    assert DeviceRoot(root).holder() is None


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--recipe", "/none.yaml"), "/none.yaml: No such file or directory"),
        (("/none",), "/none/manifest.json: got no such directory, expected a bundle's file"),
        (("--consumer",), "consumer/recipe.yaml: ComponentDependencies.edgexgb.Inference: got no"),
    ],
)
def test_what_is_missing_is_named(
    words: tuple[str, ...], text: str, tmp_path: Path, capsys: Captured
) -> None:
    """In one line."""
    code, _, errors = run(capsys, "device", "start", *words, "--root", tmp_path)
    assert code == 1
    assert errors.startswith(f"edgexgb device: error: {text}")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--configure", "Nobody={}"), "configuration: got one for 'Nobody', expected one of: "),
        (("--broker", "http://host"), "broker: got http://host, expected mqtt:// or mqtts://"),
        (("--platform", "os=plan9"), "container/recipe.yaml: Manifests: got manifests for os"),
        (("--root", "/dev/null/x"), "/dev/null/"),
    ],
)
def test_option_that_does_not_fit_is_named(
    words: tuple[str, ...], text: str, mixed: Packed, tmp_path: Path
) -> None:
    """In one line, and nothing is left."""
    root = () if "--root" in words else ("--root", tmp_path)
    code, printed, errors = edgexgb("device", "start", mixed.directory, *root, *words)
    assert (code, printed) == (1, "")
    assert errors.startswith(f"edgexgb device: error: {text}")
    assert errors.count("\n") == 1
    assert not DeviceRoot(tmp_path).socket.exists()


def test_numbers_are_above_0() -> None:
    """Of lines, messages and bytes."""
    assert whole("7") == 7
    for text in ("0", "-1", "x", "1.5", "9" * 30):
        with pytest.raises(argparse.ArgumentTypeError):
            whole(text)


# --- in the foreground ----------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signal_stops_components_and_device(number: signal.Signals, tmp_path: Path) -> None:
    """Ctrl-C, a plain kill, a terminal that closes: each is an orderly end."""
    root = tmp_path / "a root"
    with foreground(root, "--recipe", sleeper(tmp_path)) as started:
        wait_until(lambda: len(components_of(root)) == 2, "the shell and what it runs")
        started.send_signal(number)
        printed, errors = started.communicate(timeout=PATIENCE_S)
        assert components_of(root) == []
    assert (started.returncode, errors) == (0, "")
    assert printed.splitlines() == [
        f"core device (classic) at {root}",
        "Sleeper 1.0.0 is INSTALLED",
        "Sleeper 1.0.0 is STARTING",
        "Sleeper 1.0.0 is RUNNING",
        "stopping",
        "Sleeper 1.0.0 is STOPPING",
        "Sleeper 1.0.0 is FINISHED",
        "core device stopped",
    ]
    assert not DeviceRoot(root).socket.exists()


def test_second_ctrl_c_leaves_no_process_behind(tmp_path: Path) -> None:
    """It changes nothing, and says so."""
    root, mark = tmp_path / "root", tmp_path / "mark"
    shutdown = f"touch '{mark}'; sleep 0.5"
    with foreground(root, "--recipe", sleeper(tmp_path, shutdown=shutdown)) as started:
        started.send_signal(signal.SIGINT)
        wait_until(mark.exists, "the shutdown step")
        started.send_signal(signal.SIGINT)
        started.send_signal(signal.SIGTERM)
        printed, errors = started.communicate(timeout=PATIENCE_S)
        assert components_of(root) == []
    assert (started.returncode, errors) == (0, "")
    assert "already stopping; a component has its `shutdown` to run, and its time" in printed
    assert printed.splitlines()[-1] == "core device stopped"


def test_reader_that_goes_stops_the_device(tmp_path: Path) -> None:
    """As in `edgexgb device start … | head -1`; no traceback, no process left."""
    root = tmp_path / "root"
    with foreground(root, "--recipe", sleeper(tmp_path)) as started:
        assert started.stdout is not None
        started.stdout.close()
        # Something to show; the device may be gone before it has answered.
        edgexgb("device", "restart", "Sleeper", "--root", root)
        assert started.wait(PATIENCE_S) == 1
        assert components_of(root) == []
        assert started.stderr is not None
        assert started.stderr.read() == ""


def test_broken_component_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    """The device goes on: its user may look, and restart it."""
    recipe = write_recipe(tmp_path, "Bad", startup="echo no; exit 3")
    with foreground(tmp_path / "root", "--recipe", recipe) as started:
        started.send_signal(signal.SIGINT)
        printed, _ = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 0
    assert (
        "Bad 1.0.0 is BROKEN: startup: got exit code 3, expected 0; "
        f"see {tmp_path}/root/logs/Bad.log" in printed.splitlines()
    )


def test_killed_device_leaves_a_root_to_start_in_again(tmp_path: Path) -> None:
    """What its components have left running is ended first: they hold dead tokens."""
    root = tmp_path / "root"
    recipe = sleeper(tmp_path)
    with foreground(root, "--recipe", recipe) as killed:
        killed.kill()
        killed.wait(PATIENCE_S)
        # The shell goes with the device; its child does not.
        wait_until(lambda: len(components_of(root)) == 1, "the shell's end")
        (left,) = components_of(root)
        assert run_status(root) == 1
        with foreground(root, "--recipe", recipe):
            pids = {process.pid for process in components_of(root)}
            assert len(pids) == 2
            assert left.pid not in pids
            assert run_status(root) == 0
        assert components_of(root) == []


def run_status(root: Path) -> int:
    return edgexgb("device", "status", "--root", root)[0]


# --- detached -------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--detach", "-d", "--det"])
def test_detached_device_lasts_until_it_is_stopped(option: str, tmp_path: Path) -> None:
    """However the option is written; stopping it twice is an error of the second time."""
    root = tmp_path / "root"
    words = ("--root", root, "--recipe", sleeper(tmp_path))
    code, printed, errors = edgexgb("device", "start", option, *words)
    assert (code, errors) == (0, "")
    assert "Sleeper" in printed
    assert "RUNNING" in printed
    pid = DeviceRoot(root).running()["pid"]
    for second in (("--detach",), ()):
        code, printed, errors = edgexgb("device", "start", *words, *second)
        assert (code, printed) == (1, "")
        assert errors == (
            f"edgexgb device: error: {root}: got a core device that runs (pid {pid}), "
            "expected none; `edgexgb device stop` ends it\n"
        )
    wait_until(lambda: len(components_of(root)) == 2, "the shell and what it runs")
    assert edgexgb("device", "stop", "--root", root) == (0, "stopped\n", "")
    assert components_of(root) == []
    assert edgexgb("device", "stop", "--root", root)[0] == 1


def test_words_after_a_double_dash_may_be_detached(mixed: Packed, tmp_path: Path) -> None:
    """A bundle's name may begin with a dash."""
    root = tmp_path / "root"
    with detached(root, "--", mixed.directory):
        assert is_settled(root)


def test_detached_device_that_cannot_start_says_why(tmp_path: Path) -> None:
    """In one line, though it was another process that failed."""
    root = tmp_path / "root"
    recipe = write_recipe(tmp_path, "Bad", run="true", startup="true")
    code, printed, errors = edgexgb("device", "start", "-d", "--root", root, "--recipe", recipe)
    assert (code, printed) == (1, "")
    assert errors == (
        f"edgexgb device: error: {recipe}: Manifests[0].Lifecycle: got both run and startup, "
        "expected one of them\n"
    )
    assert DeviceRoot(root).holder() is None


def test_detached_device_with_a_broken_component_is_stopped(tmp_path: Path) -> None:
    """Whoever scripts this wants a failure, and nothing left running."""
    root = tmp_path / "root"
    bad = write_recipe(tmp_path, "Bad", startup="exit 3")
    words = ("--root", root, "--recipe", bad, "--recipe", sleeper(tmp_path))
    code, printed, errors = edgexgb("device", "start", "-d", *words)
    assert (code, printed) == (1, "")
    assert errors == (
        "edgexgb device: error: Bad: got BROKEN (startup: got exit code 3, expected 0), expected "
        f"it to run; see {root}/logs/Bad.log; the device was stopped\n"
    )
    assert DeviceRoot(root).holder() is None
    assert components_of(root) == []


def test_interrupted_start_leaves_nothing_running(tmp_path: Path) -> None:
    """Ctrl-C while a component still starts."""
    root = tmp_path / "root"
    recipe = write_recipe(tmp_path, "Slow", startup="sleep 1000")
    words = ["device", "start", "-d", "--root", str(root), "--recipe", str(recipe)]
    with subprocess.Popen(
        [sys.executable, "-m", "release.cli", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        wait_until(lambda: components_of(root), "a component that starts")
        started.send_signal(signal.SIGINT)
        printed, errors = started.communicate(timeout=PATIENCE_S)
    assert (started.returncode, printed) == (130, "")
    assert errors == "edgexgb device: stopped\n"
    assert DeviceRoot(root).holder() is None
    assert components_of(root) == []


def test_start_that_takes_too_long_says_who(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where to look; meanwhile it says what it waits for."""
    monkeypatch.setattr(device_module, "_START_S", 3.0)
    monkeypatch.setattr(device_module, "_REMIND_S", 1.0)
    root = tmp_path / "root"
    recipe = write_recipe(tmp_path, "Slow", startup="sleep 1000")
    code, _, errors = run(capsys, "device", "start", "-d", "--root", root, "--recipe", recipe)
    assert code == 1
    assert "waiting for Slow (STARTING)" in errors.splitlines()
    assert errors.splitlines()[-1] == (
        f"edgexgb device: error: {root}: got no settled components in 3 s, but Slow (STARTING), "
        f"expected all to run; see {root}/logs/device.out"
    )
    assert components_of(root) == []


def test_slow_stop_says_who_it_waits_for(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shutdown step may take its time."""
    monkeypatch.setattr(device_module, "_REMIND_S", 0.2)
    root = tmp_path / "root"
    with detached(root, "--recipe", sleeper(tmp_path, shutdown="sleep 1")):
        code, printed, errors = run(capsys, "device", "stop", "--root", root)
    assert (code, printed) == (0, "stopped\n")
    assert errors.splitlines()[0] == "waiting for Sleeper (STOPPING)"


# --- looking at it --------------------------------------------------------------------------------


def test_status_is_json_for_programs(shell_root: Path, capsys: Captured) -> None:
    """All there is to know, and no token."""
    code, printed, _ = run(capsys, "device", "status", "--json", "--root", shell_root)
    status = json.loads(printed)
    assert code == 0
    assert status["personality"] == "classic"
    assert status["thing_name"] == "laptop"
    assert status["socket"] == str(DeviceRoot(shell_root).socket)
    assert psutil.pid_exists(status["pid"])
    (component,) = status["components"]
    assert component["name"] == "Hello"
    assert component["state"] == "RUNNING"
    assert component["errors"] == 0
    assert status["health"] is None
    assert DeviceRoot(shell_root).read_tools_token()[1] not in printed


def test_status_is_a_table_for_people(shell_root: Path, capsys: Captured) -> None:
    """With the component's state."""
    code, printed, _ = run(capsys, "device", "status", "--root", shell_root)
    assert code == 0
    for word in ("laptop (classic)", "Hello", "1.0.0", "RUNNING"):
        assert word in printed


def test_logs_are_shown(shell_root: Path, capsys: Captured) -> None:
    """Those of one component, or all."""
    code, printed, _ = run(capsys, "device", "logs", "Hello", "--root", shell_root)
    assert code == 0
    assert "stdout. hello" in printed
    assert "==>" not in printed
    _, printed, _ = run(capsys, "device", "logs", "-n", "1", "--root", shell_root)
    headings = [line for line in printed.splitlines() if line.startswith("==>")]
    assert headings == ["==> Hello <==", "==> greengrass <=="]


def test_restart_of_an_unknown_component_lists_those_there_are(
    shell_root: Path, capsys: Captured
) -> None:
    """Its name was misspelt."""
    code, _, errors = run(capsys, "device", "restart", "Hullo", "--root", shell_root)
    assert code == 1
    assert errors == (
        "edgexgb device: error: restart of 'Hullo': got no such component, expected one of: Hello\n"
    )


def test_restart_starts_another_process(tmp_path: Path, capsys: Captured) -> None:
    """And returns at once, as greengrass-cli does."""
    root = tmp_path / "root"
    with detached(root, "--recipe", sleeper(tmp_path)):
        (before,) = DeviceRoot(root).read_status()["components"]
        assert run(capsys, "device", "restart", "Sleeper", "--root", root) == (
            0,
            "restarting Sleeper\n",
            "",
        )

        def is_another() -> bool:
            (now,) = DeviceRoot(root).read_status()["components"]
            return now["state"] == "RUNNING" and now["pid"] not in {None, before["pid"]}

        wait_until(is_another, "another process")


@pytest.mark.parametrize(
    "action", ["start", "status", "logs", "restart", "publish", "subscribe", "stop"]
)
def test_each_action_has_help(action: str, capsys: Captured) -> None:
    """With which device is meant."""
    code, printed, _ = run(capsys, "device", action, "--help")
    assert code == 0
    assert "--root DIRECTORY" in printed
    assert "--no-detach" not in printed


def test_broker_comes_from_the_environment_too(
    mixed: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A password in an argument would be in every process listing; and none is in the error."""
    monkeypatch.setenv("EDGEXGB_BROKER", "http://me:swordfish@host")
    code, printed, errors = edgexgb("device", "start", mixed.directory, "--root", tmp_path)
    assert (code, printed) == (1, "")
    text = "edgexgb device: error: broker: got http://host, expected mqtt:// or mqtts://"
    assert errors.startswith(text)
    assert "swordfish" not in errors
