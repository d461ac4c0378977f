"""The `edgexgb` command as a process, and devices that it runs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from interface.greengrass import SOCKET_VARIABLE
from nucleus.root import DeviceRoot

PATIENCE_S = 60.0


def edgexgb(*words: object, stdin: bytes = b"") -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    found = subprocess.run(
        [sys.executable, "-m", "release.cli", *map(str, words)],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return found.returncode, found.stdout.decode(), found.stderr.decode()


def write_recipe(folder: Path, name: str, **lifecycle: Any) -> Path:
    """The recipe of a component of shell scripts, for both nuclei."""
    content = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": "1.0.0",
        "Manifests": [
            {"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": lifecycle},
        ],
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def wait_until(condition: Callable[[], object], what: str) -> None:
    """Returns when a condition holds."""
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true"
        time.sleep(0.02)


def components_of(root: Path) -> list[psutil.Process]:
    """The processes of a device's components, whoever is their parent."""
    found = []
    socket = str(DeviceRoot(root).socket)
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            is_ours = process.environ().get(SOCKET_VARIABLE) == socket
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def is_settled(root: Path) -> bool:
    """Whether a device runs whose components have settled."""
    found = DeviceRoot(root)
    return found.holder() is not None and bool(found.read_status()["settled"])


@contextlib.contextmanager
def foreground(root: Path, *words: object) -> Iterator["subprocess.Popen[str]"]:
    """`edgexgb device start` in the foreground, settled; its process does not outlive the block."""
    with subprocess.Popen(
        [
            *(sys.executable, "-m", "release.cli", "device", "start", "--root", str(root)),
            *map(str, words),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        try:
            wait_until(lambda: started.poll() is not None or is_settled(root), "settled")
            yield started
        finally:
            if started.poll() is None:
                started.send_signal(signal.SIGTERM)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    started.wait(PATIENCE_S)
                started.kill()
            for process in components_of(root):  # only after a test that has failed
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()


@contextlib.contextmanager
def detached(root: Path, *words: object) -> Iterator[Path]:
    """`edgexgb device start --detach` with these words; stopped at the end."""
    code, _, errors = edgexgb("device", "start", "--detach", "--root", root, *words)
    assert code == 0, errors
    try:
        yield root
    finally:
        if (holder := DeviceRoot(root).holder()) is not None:
            os.kill(holder["pid"], signal.SIGTERM)
            wait_until(lambda: DeviceRoot(root).holder() is None, "the device's end")
