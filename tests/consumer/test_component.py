import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from consumer import component
from interface.errors import ConnectionLostError, TokenRefusedError, TransportError
from interface.pubsub import MemoryBus, MemoryPubSub, Subscription
from tests.consumer.conftest import Service, rows_of

ROOT = Path(__file__).parents[2]


class MemoryDevice(MemoryPubSub):
    """A connection to a core device in memory."""

    def __init__(self, world: "World") -> None:
        super().__init__(world.bus)
        self.world = world

    def get_configuration(self) -> dict[str, Any]:
        if not self.is_open:
            raise ConnectionLostError("closed")
        return self.world.configuration

    def follow_configuration(self, changed: Callable[[], None]) -> Subscription:
        self.world.followers.append(changed)
        return self  # closing it twice does no harm


class World:
    """A core device in memory, and what a component has done with it.

    Attributes:
        failures: what the next attempts to connect end with.
    """

    def __init__(self, bus: MemoryBus, **configuration: Any) -> None:
        self.bus = bus
        self.configuration: dict[str, Any] = {"intervalSeconds": 0.01, **configuration}
        self.followers: list[Callable[[], None]] = []
        self.devices: list[MemoryDevice] = []
        self.failures: list[Exception] = []

    def connect(self) -> MemoryDevice:
        if self.failures:
            raise self.failures.pop(0)
        device = MemoryDevice(self)
        self.devices.append(device)
        return device

    def configure(self, **changes: Any) -> None:
        self.configuration = {**self.configuration, **changes}
        for changed in list(self.followers):
            changed()


@pytest.fixture
def counts(service: Service) -> Service:
    """Predicts the number of a row's values."""
    service.answer = lambda request: (200, service.body([len(it) for it in rows_of(request)]))
    return service


@pytest.fixture(autouse=True)
def root_level() -> Iterator[None]:
    """The component sets the level of the root logger."""
    level = logging.getLogger().level
    yield
    logging.getLogger().setLevel(level)


@pytest.fixture(autouse=True)
def brief_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("consumer.component.RETRY_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr("consumer.job.RETRY_PAUSES_S", (0.01, 0.01))


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.message for record in caplog.records if record.name.startswith("consumer")]


def test_component_that_is_done_ends_with_zero(
    bus: MemoryBus, counts: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """One connection, closed in the end, serves configuration and requests."""
    caplog.set_level(logging.INFO)
    world = World(bus, repeat="once")
    assert asyncio.run(component.run(world.connect)) == 0
    assert messages(caplog) == ["started", "predicted", "done"]
    assert [device.is_open for device in world.devices] == [False]


def test_settings_that_cannot_be_used_end_with_one(
    bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    """The log says which."""
    world = World(bus, maxInFlight="none")
    assert asyncio.run(component.run(world.connect)) == 1
    (record,) = [it for it in caplog.records if it.message == "stopping"]
    expected = "a whole number from 1 to 1000000000"
    assert vars(record)["error"] == f"maxInFlight: got 'none', expected {expected}"
    assert [device.is_open for device in world.devices] == [False]


def test_unknown_settings_are_named(
    bus: MemoryBus, counts: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """They are likely misspelt."""
    world = World(bus, repeat="once", intervalsecond=5)
    assert asyncio.run(component.run(world.connect)) == 0
    (record,) = [it for it in caplog.records if it.message == "unknown settings"]
    assert vars(record)["names"] == ["intervalsecond"]


@pytest.mark.parametrize(
    ("error", "attempts"), [(ConnectionLostError("gone"), 3), (TokenRefusedError("old"), 1)]
)
def test_device_that_stays_away_ends_with_one(
    bus: MemoryBus, error: TransportError, attempts: int
) -> None:
    """After brief retries; at once where the token is refused."""
    world = World(bus)
    world.failures = [error] * 10
    assert asyncio.run(component.run(world.connect)) == 1
    assert 10 - len(world.failures) == attempts


def test_device_that_comes_back_is_used(bus: MemoryBus, counts: Service) -> None:
    """Within the retries."""
    world = World(bus, repeat="once")
    world.failures = [ConnectionLostError("gone")] * 2
    assert asyncio.run(component.run(world.connect)) == 0


def test_token_refused_later_ends_with_one(bus: MemoryBus, counts: Service) -> None:
    """So it is after a restart of the nucleus."""
    world = World(bus)
    world.failures = []
    usual = counts.answer

    def answer(request: Any) -> Any:
        world.failures.append(TokenRefusedError("old"))
        bus.break_connections()
        return usual(request)

    counts.answer = answer
    assert asyncio.run(component.run(world.connect)) == 1


def test_changed_settings_are_followed_without_a_restart(
    bus: MemoryBus, counts: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong ones are not; equal ones change nothing."""
    caplog.set_level(logging.INFO)
    world = World(bus)

    def change() -> None:
        counts.wait_for(2)
        world.configure(rowsPerRequest="none")
        counts.wait_for(len(counts.requests) + 2)
        world.configure(rowsPerRequest="100.0")
        counts.wait_for(len(counts.requests) + 2)
        world.configure(rowsPerRequest=5)
        counts.wait_for(len(counts.requests) + 5)
        world.configure(repeat="once")

    changer = threading.Thread(target=change)
    changer.start()
    assert asyncio.run(component.run(world.connect)) == 0
    changer.join()
    assert [it for it in messages(caplog) if it != "predicted"] == [
        "started",
        "changed settings not used",
        "configuration changed",
        "started",
        "configuration changed",
        "started",
        "done",
    ]
    sizes = [len(rows_of(request)) for request in counts.requests]
    assert sizes[0] == 12
    assert sizes[-3:] == [5, 5, 2]
    assert [device.is_open for device in world.devices] == [False] * 3


def test_configuration_is_followed_after_a_reconnect(bus: MemoryBus, counts: Service) -> None:
    """Also what has changed in between."""
    world = World(bus)

    def change() -> None:
        counts.wait_for(1)
        world.configuration = {**world.configuration, "repeat": "once"}
        bus.break_connections()
        counts.open()

    changer = threading.Thread(target=change)
    changer.start()
    assert asyncio.run(component.run(world.connect)) == 0
    changer.join()


PROGRAM = """
import sys
from consumer.component import main
from interface.pubsub import MemoryBus
from tests.consumer.conftest import Service, rows_of
from tests.consumer.test_component import World

bus = MemoryBus()
service = Service(bus.connect)
service.answer = lambda request: (200, service.body([len(row) for row in rows_of(request)]))
service.holds = "holds" in sys.argv
sys.exit(main(World(bus, intervalSeconds=60, timeoutSeconds=60).connect))
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("state", ["pauses", "holds"])
def test_signal_ends_the_process_at_once(number: signal.Signals, state: str) -> None:
    """In a pause or in a request, not as if done; stdout has JSON lines, and stderr nothing."""
    wanted = "predicted" if state == "pauses" else "started"
    lines = []
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, state],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(json.loads(line))
                if lines[-1]["message"] == wanted:
                    break
            process.send_signal(number)
            out, err = process.communicate(timeout=20)
        finally:
            process.kill()
    lines += [json.loads(line) for line in out.splitlines()]
    assert process.returncode == component.STOPPED
    assert lines[-1]["message"] == "stopped"
    assert err == ""
