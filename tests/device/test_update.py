"""An update of components waits for requests in flight, and for nothing else. Classic only."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Packed
from tests.device.inside import InsideDevice
from tests.device.traffic import Traffic
from tests.device.waiting import wait_until


@pytest.fixture
def device(mixed: Packed, tmp_path: Path) -> Iterator[InsideDevice]:
    """A classic device in this process; nucleus lite asks nobody."""
    with InsideDevice(tmp_path / "root", mixed.directory, "classic") as device:
        yield device


def is_deferred(device: InsideDevice) -> bool:
    """Whether the component has asked for time."""
    return '"message": "update deferred"' in device.log()


def test_an_idle_component_agrees_to_an_update_at_once(device: InsideDevice) -> None:
    """Its answer comes by itself, long before the time for answers is over."""
    began = time.monotonic()
    device.wait(device.device.notices.ask("d1", 30.0))
    assert time.monotonic() - began < 10.0
    assert "update deferred" not in device.log()


def test_a_component_with_requests_in_flight_defers_an_update_until_they_are_answered(
    device: InsideDevice, mixed: Packed
) -> None:
    """Under traffic it asks for time, and in the quiet after it agrees."""
    with device.client() as one, device.client() as other:
        traffic = Traffic([one, other], mixed, 4)
        traffic.start(timeout_s=10.0)
        try:
            wait_until(lambda: traffic.outcomes.counts["answered"] > 50, "answers")
            # Between two requests nothing is in flight for a moment, and it agrees; so ask again.
            for n in range(1000):
                asked = device.begin(device.device.notices.ask(f"busy{n}", 30.0))
                wait_until(lambda: asked.done() or is_deferred(device), "an answer")  # noqa: B023
                if is_deferred(device):
                    break
            assert is_deferred(device)
        finally:
            outcomes = traffic.stop()
        asked.result(30.0)
    assert outcomes.failures == []
    assert set(outcomes.counts) == {"answered", "refused"}
