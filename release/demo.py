"""`make demo`: the main job on real data, each step shown as the command that does it."""

import contextlib
import os
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from rich.console import Console
from rich.rule import Rule

from nucleus.process_tree import die_with_parent
from nucleus.root import DeviceRoot
from release.cli import main as edgexgb
from release.device import look
from release.errors import CommandError
from release.sabotage import sabotage

_BUNDLE = Path("build/demo/wine")
_BETTER = Path("build/demo/wine-better")
_SABOTAGED = Path("build/demo/wine-sabotaged")
_DEVICE = Path("build/demo/device")
_SETTLE_S = 60.0
_STOP_S = 60.0

_AS_A_LAMBDA: tuple[tuple[str, str], ...] = (
    (
        "Train on wine (178 wines, 13 measurements, 3 growers) and pack the model into a bundle",
        f"train --dataset wine --name wine --out {_BUNDLE}",
    ),
    ("Look into the bundle", f"inspect {_BUNDLE}"),
    (
        "Serve it as a Lambda in AWS's emulator, and replay what the notebook's model predicted",
        f"validate {_BUNDLE} --target rie",
    ),
    (
        "Ask that Lambda about wines it was packed with, beside their true growers",
        f"invoke {_BUNDLE} --target rie --sample 12 --format table",
    ),
    ("Write test events for the Lambda console's Test button", f"events {_BUNDLE}"),
)

_START = (
    f"device start {_BUNDLE} --consumer --fresh --root {_DEVICE} "
    '--configure \'edgexgb.Consumer={"rowsPerRequest": 1, "intervalSeconds": 0.5}\''
)

_ON_A_DEVICE: tuple[tuple[str, str], ...] = (
    (
        "Watch requests and replies pass on the bus",
        f"device subscribe edgexgb/# --count 4 --root {_DEVICE}",
    ),
    (
        "Read what the consumer component makes of them",
        f"device logs edgexgb.Consumer -n 2 --root {_DEVICE}",
    ),
    (
        "Ask for all golden rows over pub/sub; are the answers those of the notebook's model?",
        f"request --golden {_BUNDLE} --root {_DEVICE}",
    ),
)

_SETTINGS = "--max-depth 2 --subsample 0.7 --colsample-bytree 0.6"

_AN_UPDATE: tuple[tuple[str, str], ...] = (
    (
        "Train a better model",
        f"train --dataset wine --name wine --version 2.0.0 --out {_BETTER} {_SETTINGS}",
    ),
    (
        "Roll it out to the device, which has it prove itself, while somebody asks all the time",
        f"rollout {_BETTER} --root {_DEVICE}",
    ),
)

_A_BAD_UPDATE = (
    "Roll out a sabotaged one, past the gate here: it never predicted what a golden row records",
    f"rollout {_SABOTAGED} --no-validate --root {_DEVICE}",
)

_AFTERWARDS: tuple[tuple[str, str], ...] = (
    ("Is it the better model that answers?", f"request --golden {_BETTER} --root {_DEVICE}"),
)

_NEXT = f"""\
[bold]What to try next[/bold]

  your own data      edgexgb train --data FILE.csv --target COLUMN
  your own model     edgexgb pack MODEL.json --rows SAMPLE.csv --labels A,B
  a running Lambda   edgexgb serve {_BUNDLE} --rie --port 9000
                     edgexgb invoke --target http://127.0.0.1:9000 --event '{{"records": []}}'
  a deployed one     edgexgb validate {_BUNDLE} --target lambda:NAME
  a core device      edgexgb device start {_BUNDLE}
                     edgexgb request ROWS.csv
                     edgexgb rollout BUNDLE
  the notebook       model/train.ipynb

  plots              {_BUNDLE}-plots/
  report             {_BUNDLE}-report/ (open the .html)
  console events     {_BUNDLE}-events/
  device logs        {_DEVICE}/logs/

The command is .venv/bin/edgexgb; `--help` tells everything.
"""


class _Steps:
    """Numbers the steps, and shows each before it runs."""

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._total = total
        self._number = 0

    def show(self, title: str, command: str) -> None:
        """Prints a step's heading."""
        self._number += 1
        self._console.print(Rule())
        heading = f"{self._number}/{self._total}  {title}"
        self._console.print(f"[bold]{heading}[/bold]", soft_wrap=True)
        self._console.print(f"$ edgexgb {command}", soft_wrap=True)

    def run(self, steps: tuple[tuple[str, str], ...]) -> int:
        """Runs steps; the exit code of the first that fails, else 0."""
        for title, command in steps:
            self.show(title, command)
            if code := edgexgb(shlex.split(command)):
                return code
            self.end()
        return 0

    def end(self) -> None:
        """Prints what comes after a step."""
        self._console.print()


def main() -> int:
    """Runs the steps; the exit code of the first that fails, else 0."""
    console = Console(highlight=False)
    start = time.monotonic()
    n_on_devices = 2 * (1 + len(_ON_A_DEVICE))
    n_of_updates = len(_AN_UPDATE) + 1 + len(_AFTERWARDS)
    steps = _Steps(console, len(_AS_A_LAMBDA) + n_on_devices + n_of_updates)
    if code := steps.run(_AS_A_LAMBDA):
        return code
    # Lite first: it undoes no update, so the updates are for classic.
    for personality in ("lite", "classic"):
        command = f"{_START} --personality {personality}"
        title = "a Greengrass core device here, with both components from their recipes"
        steps.show(f"Start {title}, as nucleus {personality}", command)
        with _device(shlex.split(command)):
            steps.end()
            if code := steps.run(_ON_A_DEVICE):
                return code
            if personality == "classic" and (code := _update(steps)):
                return code
    console.print(Rule())
    console.print(_NEXT, soft_wrap=True)
    console.print(f"done in {time.monotonic() - start:.0f} s")
    return 0


def _update(steps: _Steps) -> int:
    """A good update and a bad one; the exit code.

    Raises:
        CommandError: the device took the bad one.
    """
    if code := steps.run(_AN_UPDATE):
        return code
    steps.show(*_A_BAD_UPDATE)
    sabotage(_BETTER, _SABOTAGED, "3.0.0")
    if edgexgb(shlex.split(_A_BAD_UPDATE[1])) != 1:
        raise CommandError("the sabotaged update: got no refusal, expected one")
    steps.end()
    return steps.run(_AFTERWARDS)


@contextlib.contextmanager
def _device(words: list[str]) -> Iterator[None]:
    """A core device that runs for the length of the block, and ends with us however we end.

    Raises:
        CommandError: it did not start.
    """
    root = DeviceRoot(_DEVICE)
    _stop(root)  # one whose demo was killed has not quite ended yet
    # In a session of its own, so that a Ctrl-C in the terminal reaches us alone.
    process = subprocess.Popen(
        [sys.executable, "-m", "release.cli", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (no thread of ours runs)
    )
    assert process.stdout is not None
    relay = _Relay(process.stdout)
    try:
        end = time.monotonic() + _SETTLE_S
        while not look(root, process.pid)[1]:
            if process.poll() is not None or time.monotonic() > end:
                raise CommandError("the core device: got no start, expected one")
            time.sleep(0.05)
        relay.is_heard = False  # what its components do then is told by whoever has them do it
        yield
    finally:
        process.terminate()
        process.wait(_STOP_S)
        relay.join()


class _Relay(threading.Thread):
    """Prints the device's lines as long as they are to be heard; takes all of them."""

    def __init__(self, lines: IO[str]) -> None:
        super().__init__(daemon=True)
        self.is_heard = True
        self._lines = lines
        self.start()

    def run(self) -> None:
        with self._lines:
            for line in self._lines:
                if self.is_heard:
                    print(line, end="", flush=True)


def _stop(root: DeviceRoot) -> None:
    if root.holder() is not None:
        edgexgb(["device", "stop", "--root", str(root.path)])


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
    except CommandError as error:
        sys.exit(f"demo: error: {error}")
