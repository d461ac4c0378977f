"""`edgexgb device publish` and `subscribe`: real processes, signals, pipes."""

import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.release.devices import PATIENCE_S, detached, edgexgb, write_recipe
from tests.release.test_cli import Captured, run


@contextmanager
def subscriber(root: Path, *words: object) -> Iterator["subprocess.Popen[str]"]:
    """`edgexgb device subscribe`, once it hears."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "release.cli", "device", "subscribe"),
            *map(str, words),
            *("--root", root),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            assert started.stderr is not None
            assert started.stderr.readline() == f"subscribed to {words[0]}; Ctrl-C stops\n"
            yield started
        finally:
            if started.poll() is None:
                started.kill()


@pytest.mark.parametrize("where", [(), ("--iot-core",)], ids=["local", "IoT Core"])
def test_messages_are_published_and_printed(
    where: tuple[str, ...], shell_root: Path, tmp_path: Path
) -> None:
    """From the argument, a file and stdin; the subscriber ends after so many."""
    (tmp_path / "message").write_bytes(b"from a file")
    with subscriber(shell_root, "news/#", "--count", 4, *where) as started:
        for topic, message, stdin in (
            ("news/1", "grüß dich", b""),
            ("news/2", f"@{tmp_path}/message", b""),
            ("news/3", "-", b"from stdin"),
            ("news/4", "-", b"\xff\x00"),
        ):
            words = ("device", "publish", topic, message, "--root", shell_root, *where)
            assert edgexgb(*words, stdin=stdin) == (0, "", "")
        printed, errors = started.communicate(timeout=PATIENCE_S)
    assert (started.returncode, errors) == (0, "")
    assert printed.splitlines() == [
        "news/1: grüß dich",
        "news/2: from a file",
        "news/3: from stdin",
        r"news/4: \xff\x00",
    ]


def test_ctrl_c_ends_a_subscriber(shell_root: Path) -> None:
    """With the exit code of an interrupt."""
    with subscriber(shell_root, "a") as started:
        started.send_signal(signal.SIGINT)
        printed, errors = started.communicate(timeout=PATIENCE_S)
    assert (started.returncode, printed, errors) == (130, "", "edgexgb device: stopped\n")


def test_end_of_the_device_ends_a_subscriber(tmp_path: Path) -> None:
    """With an error: nothing would ever come."""
    root, recipe = tmp_path / "root", write_recipe(tmp_path, "Sleeper", run="sleep 1000")
    with detached(root, "--recipe", recipe), subscriber(root, "a") as started:
        edgexgb("device", "stop", "--root", root)
        _, errors = started.communicate(timeout=PATIENCE_S)
    assert started.returncode == 1
    ours = "edgexgb device: error: the core device: subscripti"
    assert any(line.startswith(ours) for line in errors.splitlines())


def test_reader_that_goes_ends_a_subscriber(shell_root: Path) -> None:
    """As in `edgexgb device subscribe … | head -1`; without a traceback."""
    with subscriber(shell_root, "a") as started:
        assert started.stdout is not None
        started.stdout.close()
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        stderr = started.stderr
        assert stderr is not None
        threading.Thread(target=lambda: lines.put(stderr.read())).start()
        while started.poll() is None:
            edgexgb("device", "publish", "a", "x", "--root", shell_root)
        assert started.returncode == 1
        assert lines.get(timeout=PATIENCE_S) == ""


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("publish", "a/#", "x"), "the core device: publish to a/#: got InvalidArgumentsError ("),
        (("publish", "a", "@/none"), "/none: No such file or directory"),
        (
            ("publish", "/".join("abcdefghi"), "x", "--iot-core"),
            "the core device: publish to IoT Core a/b/c/d/e/f/g/h/i: got ServiceError (",
        ),
        (("subscribe", "a/#/b", "--iot-core"), "the core device: subscription to IoT Core a/#/b"),
    ],
)
def test_what_the_device_refuses_is_one_line(
    words: tuple[str, ...], text: str, shell_root: Path, capsys: Captured
) -> None:
    """With the topic, and what the nucleus said."""
    code, printed, errors = run(capsys, "device", *words, "--root", shell_root)
    assert (code, printed) == (1, "")
    assert errors.startswith(f"edgexgb device: error: {text}")
    assert errors.count("\n") == 1


def test_message_too_large_for_lite_is_refused_here(inference_root: Path, capsys: Captured) -> None:
    """Nucleus lite would drop the connection without a word."""
    words = ("device", "publish", "a", "x" * 10_000, "--root", inference_root)
    code, _, errors = run(capsys, *words)
    assert code == 1
    assert errors.startswith(
        "edgexgb device: error: the core device: publish to a: got 10000 bytes, expected at most"
    )
