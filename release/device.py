"""`edgexgb device`: a core device on this machine, for those who know greengrass-cli."""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interface.memory import return_memory
from nucleus.errors import DeviceError
from nucleus.personality import PERSONALITIES
from nucleus.root import DeviceRoot
from release.bus import connected, publish, subscribe
from release.deploy import add_deploy, cancel, deploy, deployments
from release.errors import CommandError
from release.logs import log_lines
from release.terminal import printable

if TYPE_CHECKING:
    from nucleus.device import Device

DEFAULT_ROOT = Path("build") / "device"

_BROKER = "EDGEXGB_BROKER"
_START_S = 300.0  # a component may take two minutes to start, and try again
_STOP_S = 120.0  # components stop one after the other where they depend on each other
_REMIND_S = 5.0
_POLL_S = 0.05

Command = Callable[[str, Callable[[Any], int], str], argparse.ArgumentParser]


def add_device(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def command(name: str, run: Callable[[Any], int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(run=run)
        add_root(added)
        return added

    _add_start(command("start", _start, "run components until Ctrl-C or `device stop`"))
    status = command("status", _status, "show the components and their states")
    status.add_argument("--json", action="store_true", help="print JSON")
    logs = command("logs", _logs, "show a component's log")
    logs.add_argument("component", nargs="?", help="(default: all of them, and the device's own)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("--lines", "-n", type=whole, default=20, help="of the end (default: 20)")
    restart = command("restart", _restart, "restart a component")
    restart.add_argument("component", help="its name, as in `device status`")
    publishing = command("publish", publish, "publish a message")
    publishing.add_argument("topic", help="without wildcards")
    publishing.add_argument("message", help="text, @FILE, or - for stdin")
    subscribing = command("subscribe", subscribe, "print the messages on a topic until Ctrl-C")
    subscribing.add_argument("topic", help="may have the wildcards + and #")
    subscribing.add_argument("--count", type=whole, help="stop after so many")
    for added in (publishing, subscribing):
        added.add_argument("--iot-core", action="store_true", help="AWS IoT Core's topics")
    deploying = command("deploy", deploy, "change what a running device runs, and watch")
    add_deploy(deploying, whole)
    cancelling = command("cancel", cancel, "cancel a deployment that has not touched anything yet")
    cancelling.add_argument("deployment", help="its id, as in `device deployments`")
    history = command("deployments", deployments, "show the deployments of a device")
    history.add_argument("--json", action="store_true", help="print JSON")
    command("stop", _stop, "stop the components and the device")


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds `--root`, which says which device is meant."""
    parser.add_argument(
        "--root",
        type=Path,
        default=DEFAULT_ROOT,
        metavar="DIRECTORY",
        help=f"the device's directory (default: {DEFAULT_ROOT})",
    )


def whole(text: str) -> int:
    """A number above 0 in an argument."""
    if not text.isdigit() or not 1 <= int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)


# --- start and stop -------------------------------------------------------------------------------


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", type=Path, nargs="?", help="run the inference component with this bundle"
    )
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        help="run it from an image that `edgexgb image build` has made, in a container",
    )
    parser.add_argument("--consumer", action="store_true", help="run the sample consumer beside it")
    parser.add_argument(
        "--recipe",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="run another component; may be given several times",
    )
    parser.add_argument(
        "--artifacts",
        type=Path,
        metavar="DIRECTORY",
        help="where their artifacts are, as DIRECTORY/COMPONENT/VERSION/FILE",
    )
    parser.add_argument(
        "--configure",
        action="append",
        default=[],
        metavar="COMPONENT=JSON",
        help="merge into a component's configuration; may be given several times",
    )
    parser.add_argument(
        "--personality",
        choices=sorted(PERSONALITIES),
        default="classic",
        help="the nucleus to behave like (default: classic)",
    )
    parser.add_argument("--lite", action="store_true", help="the same as --personality lite")
    parser.add_argument(
        "--thing-name", default="laptop", metavar="NAME", help="the device's (default: laptop)"
    )
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a platform attribute that manifests are chosen by",
    )
    parser.add_argument(
        "--broker",
        metavar="URL",
        default=os.environ.get(_BROKER),
        help="attach an MQTT broker as IoT Core: mqtt[s]://[USER[:PASSWORD]@]HOST[:PORT]; where it "
        f"has a password, set the variable {_BROKER} instead, for everybody sees arguments",
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="begin anew; else a start with the same once more goes on where the device stopped, "
        "deployments and configuration included",
    )
    parser.add_argument(
        "--detach",
        "-d",
        action="store_true",
        help="return once all components run; fail, and stop all, where one is BROKEN",
    )
    # For the process that `--detach` starts, which has all of its words but means this.
    parser.add_argument("--no-detach", dest="detach", action="store_false", help=argparse.SUPPRESS)


def _start(arguments: argparse.Namespace) -> int:
    if arguments.detach:
        return _start_detached(arguments)
    from nucleus.device import Device
    from release.components import select

    return_memory()
    selection = select(arguments)
    root = DeviceRoot(arguments.root)
    root.check_free()
    _log_to(root)
    screen = _Screen()
    device = Device(
        root,
        selection.placements,
        configurations=selection.configurations,
        personality=PERSONALITIES["lite" if arguments.lite else arguments.personality],
        thing_name=arguments.thing_name,
        platform=selection.platform,
        broker=arguments.broker,
        show=screen.show,
        is_fresh=arguments.fresh,
    )
    asyncio.run(_run(device, screen))
    return 1 if screen.is_gone else 0


def _log_to(root: DeviceRoot) -> None:
    """Has the device's own log beside those of the components, and warnings on stderr, too."""
    root.make()
    path = root.log("greengrass")
    file = RotatingFileHandler(path, maxBytes=1024 * 1024, backupCount=9, delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal])


class _Screen:
    """Whoever reads the device's lines, and may stop it.

    Attributes:
        stop: set when the device is to stop.
        is_gone: whether nobody reads any more; that stops the device, too, as a closed terminal
            does, for nobody could press Ctrl-C.
    """

    def __init__(self) -> None:
        self.stop = asyncio.Event()
        self.is_gone = False

    def show(self, line: str) -> None:
        """Prints a line; never raises, for whoever calls has components to see to."""
        if self.is_gone:
            return
        try:
            print(printable(line), flush=True)
        except OSError:
            self.is_gone = True
            self.stop.set()
            # Python itself would try once more at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def interrupt(self) -> None:
        """A signal: the first stops the device, others change nothing."""
        if self.stop.is_set():
            self.show("already stopping; a component has its `shutdown` to run, and its time")
        self.stop.set()


async def _run(device: "Device", screen: _Screen) -> None:
    """Runs until a signal; a second one leaves no processes behind either."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, screen.interrupt)
    await device.run(screen.stop)


def _start_detached(arguments: argparse.Namespace) -> int:
    """Starts a device as a process of its own, and waits until its components have settled.

    Raises:
        CommandError: it did not start, or a component is BROKEN; nothing is left running then.
        DeviceError: another device runs in the root.
    """
    root = DeviceRoot(arguments.root)
    root.check_free()
    root.make()
    log = root.path / "logs" / "device.out"
    words = list(arguments.words)
    words.insert(words.index("--") if "--" in words else len(words), "--no-detach")
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "release.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        _await_settled(root, process, log)
    except BaseException:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    return _status(argparse.Namespace(root=arguments.root, json=False))


def _await_settled(root: DeviceRoot, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Returns when all components have settled.

    Raises:
        CommandError: they have not in time, one is BROKEN, or the device has ended.
    """
    patience = _Patience(_START_S)
    while process.poll() is None:
        components, is_settled = look(root, process.pid)
        for one in components:
            if one["state"] == "BROKEN":
                where = f"see {root.log(one['name'])}"
                text = f"{one['name']}: got BROKEN ({one['last_error']}), expected it to run"
                raise CommandError(f"{text}; {where}; the device was stopped")
        if is_settled:
            return
        waiting = _listing(components, _SETTLED) or "the device"
        if not patience.goes_on(f"waiting for {waiting}"):
            observed = f"no settled components in {_START_S:.0f} s, but {waiting}"
            raise CommandError(f"{root.path}: got {observed}, expected all to run; see {log}")
    lines = log.read_text(errors="replace").strip().splitlines() or ["the device: got no output"]
    raise CommandError(lines[-1].removeprefix("edgexgb device: error: "))


def look(root: DeviceRoot, pid: int) -> tuple[list[Any], bool]:
    """The components of a device, and whether they have settled; none before it runs."""
    with contextlib.suppress(DeviceError):
        holder = root.holder()
        if holder is not None and holder["pid"] == pid:
            status = root.read_status()
            return status["components"], status["settled"]
    return [], False


def _listing(components: Iterable[Mapping[str, Any]], but: Collection[str]) -> str:
    """The components that are in other states."""
    return ", ".join(f"{it['name']} ({it['state']})" for it in components if it["state"] not in but)


_SETTLED = frozenset({"RUNNING", "FINISHED", "BROKEN"})
_AT_REST = frozenset({"NEW", "INSTALLED", "FINISHED", "BROKEN"})


class _Patience:
    """Waits for something in small steps, and says so on stderr from time to time."""

    def __init__(self, patience_s: float) -> None:
        now = time.monotonic()
        self._end = now + patience_s
        self._reminder = now + _REMIND_S

    def goes_on(self, text: str) -> bool:
        """Whether it has not been too long, after a while."""
        time.sleep(_POLL_S)
        now = time.monotonic()
        if now >= self._reminder:
            print(text, file=sys.stderr, flush=True)
            self._reminder = now + _REMIND_S
        return now < self._end


def _stop(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    pid = root.running()["pid"]
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, signal.SIGTERM)
    patience = _Patience(_STOP_S)
    while (holder := root.holder()) is not None and holder["pid"] == pid:
        waiting = _listing(look(root, pid)[0], _AT_REST) or "the device"
        if not patience.goes_on(f"waiting for {waiting}"):
            observed = f"a device (pid {pid}) that still runs after {_STOP_S:.0f} s"
            raise CommandError(f"{root.path}: got {observed}, expected its end")
    print("stopped")
    return 0


# --- looking at it --------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    # Half of the modules that ask are needed by none of the other actions.
    from release.health import find_health

    status = {**root.running(), **root.read_status()}
    health = find_health(root, status["components"])
    status["health"] = None if health is None else dataclasses.asdict(health)
    if arguments.json:
        print(json.dumps(status, indent=2))
        return 0
    from rich.console import Console

    from release.show import show_device

    show_device(status, Console())
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    root, name = DeviceRoot(arguments.root), arguments.component
    names = [one["name"] for one in root.read_status()["components"]]
    if name not in names:
        expected = f"one of: {', '.join(names) or 'none'}"
        raise CommandError(f"restart of {name!r}: got no such component, expected {expected}")
    with connected(root) as device:
        device.restart_component(name)
    print(f"restarting {name}")
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    for line in log_lines(root, arguments.component, arguments.lines, follow=arguments.follow):
        print(printable(line), flush=arguments.follow)
    return 0
