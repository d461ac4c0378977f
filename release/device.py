"""`edgexgb device`: a core device on this machine, for those who know greengrass-cli."""

import argparse
import asyncio
import contextlib
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from nucleus.personality import PERSONALITIES
from nucleus.root import DeviceError, DeviceRoot
from release.errors import CommandError

DEFAULT_ROOT = Path("build") / "device"
_STOP_S = 40.0
_START_S = 30.0

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
    logs.add_argument("component", nargs="?", help="(default: all, one after the other)")
    logs.add_argument("--follow", "-f", action="store_true", help="go on until Ctrl-C")
    logs.add_argument("--lines", "-n", type=_whole, default=20, help="of the end (default: 20)")
    restart = command("restart", _restart, "restart a component")
    restart.add_argument("component")
    publish = command("publish", _publish, "publish a message")
    publish.add_argument("topic")
    publish.add_argument("message", help="text, @FILE, or - for stdin")
    subscribe = command("subscribe", _subscribe, "print the messages on a topic until Ctrl-C")
    subscribe.add_argument("topic", help="may have the wildcards + and #")
    subscribe.add_argument("--count", type=_whole, help="stop after so many")
    for added in (publish, subscribe):
        added.add_argument("--iot-core", action="store_true", help="AWS IoT Core's topics")
    command("stop", _stop, "stop the components and the device")


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds `--root`, which says which device is meant."""
    parser.add_argument(
        "--root",
        type=Path,
        default=DEFAULT_ROOT,
        help=f"the device's directory (default: {DEFAULT_ROOT})",
    )


def _whole(text: str) -> int:
    if not text.isdigit() or not 1 <= int(text) < 10**9:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a whole number above 0")
    return int(text)


# --- start and stop -------------------------------------------------------------------------------


def _add_start(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "bundle", type=Path, nargs="?", help="run the inference component with this bundle"
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
        help="their artifacts, as DIRECTORY/COMPONENT/VERSION/FILE",
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
    parser.add_argument("--thing-name", default="laptop", help="(default: laptop)")
    parser.add_argument(
        "--platform",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="override a platform attribute that manifests are chosen by",
    )
    parser.add_argument("--broker", help="attach an MQTT broker as IoT Core: mqtt://HOST:PORT")
    parser.add_argument("--detach", "-d", action="store_true", help="return once it is running")


def _start(arguments: argparse.Namespace) -> int:
    if arguments.detach:
        return _start_detached(arguments)
    from nucleus.device import Device
    from release.components import select

    selection = select(arguments)
    root = DeviceRoot(arguments.root)
    _log_to(root)
    device = Device(
        root,
        selection.placements,
        configurations=selection.configurations,
        personality=PERSONALITIES["lite" if arguments.lite else arguments.personality],
        thing_name=arguments.thing_name,
        platform=selection.platform,
        broker=arguments.broker,
        show=lambda line: print(line, flush=True),
    )
    asyncio.run(_run(device.run))
    return 0


def _log_to(root: DeviceRoot) -> None:
    """Has the device's own log beside those of the components, and warnings on stderr, too."""
    path = root.log("greengrass")
    path.parent.mkdir(parents=True, exist_ok=True)
    file = RotatingFileHandler(path, maxBytes=1024 * 1024, backupCount=9, delay=True)
    file.setFormatter(logging.Formatter("%(asctime)s [%(levelname)s] %(name)s: %(message)s"))
    terminal = logging.StreamHandler()
    terminal.setLevel(logging.WARNING)
    terminal.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[file, terminal])


async def _run(run: Callable[[asyncio.Event], Any]) -> None:
    """Runs until a signal; a second one, while components stop, changes nothing."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    await run(stop)


def _start_detached(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    if (holder := root.holder()) is not None:
        raise CommandError(f"{root.path}: got a core device that runs (pid {holder['pid']})")
    (root.path / "logs").mkdir(parents=True, exist_ok=True)
    log = root.path / "logs" / "device.out"
    words = [word for word in sys.argv[1:] if word not in {"--detach", "-d"}]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "release.cli", *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    end = time.monotonic() + _START_S
    while time.monotonic() < end:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["no output"]
            raise CommandError(lines[-1].removeprefix("edgexgb device: error: "))
        holder = root.holder()
        if holder is not None and holder["pid"] == process.pid and _is_settled(root):
            return _status(argparse.Namespace(root=arguments.root, json=False))
        time.sleep(0.05)
    raise CommandError(f"the device: got no settled components in {_START_S:.0f} s; see {log}")


def _is_settled(root: DeviceRoot) -> bool:
    with contextlib.suppress(DeviceError):
        return bool(root.read_status().get("settled"))
    return False


def _stop(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    pid = root.running()["pid"]
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + _STOP_S
    while time.monotonic() < end:
        holder = root.holder()
        if holder is None or holder["pid"] != pid:
            print("stopped")
            return 0
        time.sleep(0.05)
    raise CommandError(f"{root.path}: got a device that still runs after {_STOP_S:.0f} s")


# --- looking at it --------------------------------------------------------------------------------


def _status(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    status = {**root.running(), **root.read_status()}
    if arguments.json:
        print(json.dumps(status, indent=2))
        return 0
    from rich.console import Console

    from release.show import show_device

    show_device(status, Console())
    return 0


def _restart(arguments: argparse.Namespace) -> int:
    with _connected(arguments.root) as device:
        device.restart_component(arguments.component)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    root = DeviceRoot(arguments.root)
    paths = sorted((root.path / "logs").glob("*.log"))
    if arguments.component is not None:
        wanted = root.log(arguments.component)
        if wanted not in paths:
            names = ", ".join(path.stem for path in paths) or "none"
            raise CommandError(f"{wanted}: got no such log, expected one of: {names}")
        paths = [wanted]
    if not paths:
        raise CommandError(f"{root.path}: got no logs, expected those of a core device")
    positions = {}
    for path in paths:
        content = path.read_bytes()
        positions[path] = len(content)
        for line in content.decode(errors="replace").splitlines()[-arguments.lines :]:
            print(line)
    while arguments.follow:
        for path in paths:
            positions[path] = _print_new(path, positions[path])
        sys.stdout.flush()
        time.sleep(0.2)
    return 0


def _print_new(path: Path, position: int) -> int:
    """Prints whole lines that came since; the new position. A log that was rotated starts anew."""
    try:
        with path.open("rb") as file:
            if file.seek(0, os.SEEK_END) < position:
                position = 0
            file.seek(position)
            content = file.read()
    except FileNotFoundError:
        return 0
    whole = content[: content.rfind(b"\n") + 1]
    sys.stdout.write(whole.decode(errors="replace"))
    return position + len(whole)


# --- pub/sub --------------------------------------------------------------------------------------


@contextlib.contextmanager
def _connected(path: Path) -> Iterator[Any]:
    """A connection to the device with this user's token."""
    root = DeviceRoot(path)
    root.running()
    # The device's SDK takes a tenth of a second to import.
    from interface.errors import TransportError
    from interface.greengrass import connect

    socket, token = root.read_tools_token()
    try:
        with contextlib.closing(connect(socket, token)) as device:
            yield device
    except TransportError as error:
        raise CommandError(f"the core device: {error}") from error


def _publish(arguments: argparse.Namespace) -> int:
    payload = _message(arguments.message)
    with _connected(arguments.root) as device:
        if arguments.iot_core:
            device.publish_to_iot_core(arguments.topic, payload)
        else:
            device.publish(arguments.topic, payload).result()
    return 0


def _message(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        return Path(text[1:]).read_bytes()
    return text.encode()


def _subscribe(arguments: argparse.Namespace) -> int:
    messages: SimpleQueue[tuple[str, bytes] | Exception] = SimpleQueue()
    left = arguments.count
    with _connected(arguments.root) as device:
        device.watch(
            arguments.topic,
            lambda topic, payload: messages.put((topic, payload)),
            messages.put,
            iot_core=arguments.iot_core,
        )
        print(f"subscribed to {arguments.topic}; Ctrl-C stops", file=sys.stderr)
        while left is None or left > 0:
            try:
                message = messages.get(timeout=1.0)
            except Empty:
                continue
            if isinstance(message, Exception):
                raise message
            topic, payload = message
            print(f"{topic}: {payload.decode(errors='backslashreplace')}", flush=True)
            left = None if left is None else left - 1
    return 0
