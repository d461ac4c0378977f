"""A core device with the components that are compared: ours, ours one by one, and an echo."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bench.models import ROOT
from interface.greengrass import CoreDevice, connect
from nucleus.errors import DeviceError
from nucleus.process_tree import die_with_parent
from nucleus.root import DeviceRoot

OURS, UNBATCHED, ECHO = "bench.Ours", "bench.Unbatched", "bench.Echo"

_START = (sys.executable, "-m", "release.cli", "device", "start")
_SETTLE_S = 60.0
_STOP_S = 60.0
_ECHO_RECIPE = """\
RecipeFormatVersion: "2020-01-25"
ComponentName: {name}
ComponentVersion: "1.0.0"
ComponentConfiguration:
  DefaultConfiguration:
    accessControl:
      aws.greengrass.ipc.pubsub:
        "{name}:pubsub:1":
          operations: ["aws.greengrass#SubscribeToTopic"]
          resources: ["{name}/requests"]
        "{name}:pubsub:2":
          operations: ["aws.greengrass#PublishToTopic"]
          resources: ["{name}/results/*"]
Manifests:
  - Platform:
      os: linux
    Lifecycle:
      startup:
        Script: |-
          export PYTHONPATH="{root}"
          exec "{python}" -m bench.echo {name}/requests "{body}"
        Timeout: 60
"""


class DeviceFailedError(Exception):
    """The core device did not come up; the text is its last line."""


class BusDevice:
    """A core device that runs."""

    def __init__(self, root: DeviceRoot) -> None:
        self._root = root

    def connect(self) -> CoreDevice:
        """A connection with the tools' token."""
        socket, token = self._root.read_tools_token()
        return connect(socket, token, timeout_s=30.0)


@contextlib.contextmanager
def run_device(bundle: Path, echo_body: bytes) -> Iterator[BusDevice]:
    """A core device with three components, for the length of the block.

    Args:
        bundle: that ours serve.
        echo_body: the body of the echo's replies, JSON.

    Raises:
        DeviceFailedError: it did not start, or a component does not run.
    """
    # In /tmp, because a socket's path may have 107 bytes only.
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        root = DeviceRoot(folder / "root")
        log = folder / "log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*_START, "--root", str(root.path), *_words(folder, bundle, echo_body)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (no thread of ours)
            )
        try:
            _wait_settled(root, process, log)
            yield BusDevice(root)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _words(folder: Path, bundle: Path, echo_body: bytes) -> list[str]:
    """The arguments that name the three components."""
    body = folder / "body.json"
    body.write_bytes(echo_body)
    recipe = (ROOT / "container" / "recipe.yaml").read_text()
    words = []
    for name, module in ((OURS, "container"), (UNBATCHED, "bench.unbatched")):
        own = recipe.replace("edgexgb.Inference", name).replace("edgexgb/", f"{name}/")
        start = '"{configuration:/python}" -m container'
        own = own.replace(f"exec {start}", f'export PYTHONPATH="{ROOT}"\n          exec {start}', 1)
        (folder / f"{name}.yaml").write_text(own.replace("-m container", f"-m {module}", 1))
        configuration = {"python": sys.executable, "bundle": str(bundle), "logLevel": "ERROR"}
        words += ["--configure", f"{name}={json.dumps(configuration)}"]
    echo = _ECHO_RECIPE.format(name=ECHO, root=ROOT, python=sys.executable, body=body)
    (folder / f"{ECHO}.yaml").write_text(echo)
    for name in (OURS, UNBATCHED, ECHO):
        words += ["--recipe", str(folder / f"{name}.yaml")]
    return words


def _wait_settled(root: DeviceRoot, process: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + _SETTLE_S
    while True:
        holder = root.holder()
        if holder is not None and holder["pid"] == process.pid:
            with contextlib.suppress(DeviceError):
                status = root.read_status()
                if status["settled"]:
                    break
        if process.poll() is not None or time.monotonic() > end:
            last = log.read_text().strip().splitlines() or ["no output"]
            raise DeviceFailedError(f"the core device: got {last[-1]!r}, expected a start")
        time.sleep(0.05)
    states = {component["name"]: component["state"] for component in status["components"]}
    if any(states.get(name) != "RUNNING" for name in (OURS, UNBATCHED, ECHO)):
        raise DeviceFailedError(f"components: got {states}, expected all RUNNING")
