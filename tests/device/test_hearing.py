"""A component that no longer hears notices it, and heals or ends; it is never RUNNING and deaf."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer.client import InferenceClient
from interface.errors import TransportError
from interface.greengrass import SOCKET_VARIABLE, TOKEN_VARIABLE
from tests.conftest import Packed
from tests.device.inside import InsideDevice
from tests.device.running import RunningDevice
from tests.device.waiting import wait_until

REQUESTS = "edgexgb/requests"


def deafen(device: InsideDevice, topic: str) -> None:
    """Drops the subscriptions to a topic without telling anyone, as nucleus lite may."""
    device.call(lambda: device.pubsub._subscriptions.pop(topic))


@contextlib.contextmanager
def both(bundle: Path, folder: Path) -> Iterator[list[InsideDevice]]:
    """A device of each kind, so that what takes its time takes it once."""
    with (
        InsideDevice(folder / "classic", bundle, "classic") as classic,
        InsideDevice(folder / "lite", bundle, "lite") as lite,
    ):
        yield [classic, lite]


def test_subscriptions_turned_deaf_are_noticed_and_healed(mixed: Packed, tmp_path: Path) -> None:
    """Component and client ask themselves, get nothing back, and connect anew; nothing restarts."""
    with contextlib.ExitStack() as stack:
        devices = stack.enter_context(both(mixed.directory, tmp_path))
        clients = [stack.enter_context(device.client()) for device in devices]
        pids = [device.component()["pid"] for device in devices]
        for device, client in zip(devices, clients, strict=True):
            client.predict(mixed.rows[0], 30.0)
            deafen(device, REQUESTS)
            deafen(device, client.reply_topic)
            with pytest.raises(TimeoutError):
                client.predict(mixed.rows[0], 0.5)
        for device, client, pid in zip(devices, clients, pids, strict=True):
            wait_healed(device, client, mixed.rows[0])
            assert f"{REQUESTS}: got no probe back in 10 s, expected it at once" in device.log()
            assert (device.component()["pid"], device.state()) == (pid, "RUNNING")


def wait_healed(device: InsideDevice, client: InferenceClient, row: Any) -> None:
    """Waits until component and client have connected anew."""
    wait_until(lambda: device.log().count('"message": "running"') == 2, "another connection")
    wait_until(lambda: answers(client, row), "an answer")


def answers(client: InferenceClient, row: Any) -> bool:
    """Whether a client gets an answer now."""
    try:
        client.predict(row, 1.0)
    except (TimeoutError, TransportError):
        return False
    return True


def run_component(socket: Path, token: str, packed: Packed) -> tuple[int, str]:
    """The component as a process that a nucleus has given this token: exit code and output."""
    environment = {
        **os.environ,
        SOCKET_VARIABLE: str(socket),
        TOKEN_VARIABLE: token,
        "EDGEXGB_BUNDLE": str(packed.directory),
    }
    found = subprocess.run(
        [sys.executable, "-m", "container"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60.0,
        check=False,
    )
    return found.returncode, found.stdout


def test_a_token_that_the_device_does_not_know_ends_the_component(
    shared: RunningDevice, mixed: Packed
) -> None:
    """Classic says so, and it ends at once; lite just closes, and retries are spent first."""
    code, output = run_component(shared.root.socket, "A" * 16, mixed)
    assert code == 1
    assert '"message": "running"' not in output
    last = output.splitlines()[-1]
    assert '"message": "giving up"' in last
    if shared.personality.name == "classic":
        assert '"code": "token_refused"' in last
        assert "trying again" not in output
    else:
        assert '"code": "connection_lost"' in last
        assert output.count("trying again") >= 3
