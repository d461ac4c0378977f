"""What `edgexgb` says and hears on a core device's bus."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from interface.errors import TransportError
from nucleus.personality import PERSONALITIES
from nucleus.root import DeviceRoot
from release.errors import CommandError
from release.terminal import printable

if TYPE_CHECKING:
    from interface.greengrass import CoreDevice

_ANSWER_S = 10.0


def connector(root: DeviceRoot, timeout_s: float = 5.0) -> "Callable[[], CoreDevice]":
    """What connects to the device that runs, with this user's token.

    Args:
        root: of the device.
        timeout_s: for connecting, and for each call afterwards.

    Raises:
        DeviceError: no device runs there.
    """
    # The device's SDK takes a tenth of a second to import.
    from interface.greengrass import connect

    personality = PERSONALITIES[root.running()["personality"]]
    socket, token = root.read_tools_token()
    max_packet_bytes = personality.max_packet_bytes
    return lambda: connect(socket, token, timeout_s, max_packet_bytes=max_packet_bytes)


@contextlib.contextmanager
def connected(root: DeviceRoot) -> "Iterator[CoreDevice]":
    """A connection to the device with this user's token.

    Raises:
        CommandError: the device refused what was asked of it, or went away.
        DeviceError: no device runs there.
    """
    try:
        with contextlib.closing(connector(root)()) as device:
            yield device
    except TransportError as error:
        raise CommandError(f"the core device: {error}") from error


def publish(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb device publish`; the exit code.

    Raises:
        CommandError: the device did not take the message.
        OSError: the message cannot be read.
    """
    payload = _message(arguments.message)
    topic = arguments.topic
    with connected(DeviceRoot(arguments.root)) as device:
        if arguments.iot_core:
            device.publish_to_iot_core(topic, payload)
            return 0
        try:
            device.publish(topic, payload).result(_ANSWER_S)
        except TimeoutError as error:
            observed = f"no answer in {_ANSWER_S:g} s"
            raise CommandError(f"publish to {topic}: got {observed}, expected one") from error
    return 0


def _message(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        return Path(text[1:]).read_bytes()
    return text.encode()


def subscribe(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb device subscribe`; the exit code.

    Raises:
        CommandError: the device refused, or went away.
    """
    messages: SimpleQueue[tuple[str, bytes] | Exception] = SimpleQueue()
    left = arguments.count
    with connected(DeviceRoot(arguments.root)) as device:
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
            text = printable(payload.decode(errors="backslashreplace"))
            print(f"{printable(topic)}: {text}", flush=True)
            left = None if left is None else left - 1
    return 0
