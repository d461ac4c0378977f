"""An update of components waits for requests in flight, and for nothing else. Classic only."""

import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from consumer.errors import RequestTimeoutError
from nucleus.deployments.history import History
from nucleus.root import DeviceRoot
from tests.conftest import Packed
from tests.device.conftest import Begin
from tests.device.held import HeldComponent
from tests.device.inside import InsideDevice
from tests.device.traffic import Answers, Traffic
from tests.device.updates import deploy, persistent_askers, predict_version, write_update
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


# --- through a deployment -------------------------------------------------------------------------

ASKED_FOR_TIME = "waiting for edgexgb.Inference, which asked for 1 s"


def is_waited_for(root: DeviceRoot) -> bool:
    """Whether the last deployment waits because the component has asked for time."""
    records = History(root.deployment_history).read()
    return bool(records) and f"waiting for {records[-1].waiting}" == ASKED_FOR_TIME


@pytest.mark.parametrize("personality", ["classic"], scope="session")
def test_deployment_waits_until_a_long_request_is_answered(
    begin: Begin, held: HeldComponent, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """By the old version, in the first try; then the new one is started."""
    device = begin(python=str(held.python))
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    merge = {"bundle": str(better.directory), "python": sys.executable}
    held.hold()
    with ThreadPoolExecutor(2) as threads, device.client() as client:
        asked = threads.submit(client.predict, mixed.rows[7], 60.0)
        wait_until(held.waits, "a request in flight")
        deployed = threads.submit(deploy, device, recipes, "0.2.0", **merge)
        wait_until(lambda: is_waited_for(device.root), "a deployment that waits")
        assert device.component()["version"] == "0.1.0"
        assert not asked.done()
        held.let()
        got = asked.result(60.0)
        code, record, errors = deployed.result(60.0)
    assert got.version == mixed.manifest.version
    Answers(mixed).check([7], got)
    assert (code, record["result"]) == (0, "SUCCESSFUL"), errors
    assert ASKED_FOR_TIME in errors.splitlines()
    assert predict_version(device, mixed) == better.manifest.version


@pytest.mark.parametrize("personality", ["classic"], scope="session")
def test_component_that_is_busy_beyond_its_bound_is_stopped_all_the_same(
    begin: Begin, held: HeldComponent, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """Who asked once gets an error with a type; who asks again, its answer from the new version."""
    device = begin(python=str(held.python), deferUpdateSeconds="2")
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    merge = {"bundle": str(better.directory), "python": sys.executable}
    held.hold()
    with (
        ThreadPoolExecutor(1) as threads,
        device.client() as client,
        persistent_askers(device, mixed, 2) as askers,
    ):
        asked = threads.submit(client.predict, mixed.rows[7], 3.0)
        wait_until(held.waits, "a request in flight")
        code, record, errors = deploy(device, recipes, "0.2.0", **merge)
        assert (code, record["result"]) == (0, "SUCCESSFUL"), errors
        assert ASKED_FOR_TIME in errors.splitlines()
        with pytest.raises(RequestTimeoutError):
            asked.result(60.0)
        askers.wait_for_more(5)
    assert {it for versions in askers.versions() for it in versions} == {better.manifest.version}
    # Once a second, and no more when its two seconds are over.
    assert 1 <= device.messages().count("update deferred") <= 2
