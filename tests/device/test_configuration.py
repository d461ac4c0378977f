"""The component follows its configuration, and keeps what it has where the new is no good."""

import contextlib
import time
from collections.abc import Iterator
from typing import Any

import pytest

from interface.errors import TransportError
from tests.conftest import Packed
from tests.device.conftest import Enter
from tests.device.inside import InsideDevice
from tests.device.requester import Requester
from tests.device.waiting import wait_until


class Configured:
    """A device whose component is configured while it runs."""

    def __init__(self, device: InsideDevice, requester: Requester) -> None:
        self.device = device
        self.requester = requester

    def configure(self, expected: str, **fields: Any) -> None:
        """Changes the configuration, and waits until the log has another line of that text."""
        before = self.device.log().count(f'"message": "{expected}"')
        self.device.configure(fields, time.time_ns() // 1_000_000)
        wait_until(lambda: self.device.log().count(f'"message": "{expected}"') > before, expected)


@pytest.fixture
def configured(enter: Enter) -> Iterator[Configured]:
    """A device in this process, and a requester; the component is never restarted."""
    device = enter()
    pid = device.component()["pid"]
    with contextlib.closing(device.connect()) as bus:
        yield Configured(device, Requester(bus))
    assert (device.component()["pid"], device.state()) == (pid, "RUNNING")


def test_limits_and_levels_are_followed_and_bad_ones_are_not(
    configured: Configured, mixed: Packed
) -> None:
    """`maxRows` and `logLevel` count from the next request on; a bad value changes nothing."""
    rows, ask = list(mixed.rows[:3]), configured.requester.ask
    assert ask(rows)["statusCode"] == 200
    configured.configure("configuration changed", maxRows=2)
    assert ask(rows)["body"]["error"]["maxRows"] == 2
    configured.configure("keeping the configuration", maxRows="many", logLevel="DEBUG")
    assert "maxRows: got 'many', expected a whole number of at least 1" in configured.device.log()
    assert ask(rows)["body"]["error"]["maxRows"] == 2
    configured.configure("configuration changed", maxRows="3")
    assert ask(rows)["statusCode"] == 200
    wait_until(lambda: '"message": "request"' in configured.device.log(), "a line of DEBUG")
    configured.configure("configuration changed", logLevel="INFO")
    lines = configured.device.log().count('"message": "request"')
    assert ask(rows)["statusCode"] == 200
    assert configured.device.log().count('"message": "request"') == lines


def test_topics_are_followed_where_the_policy_allows_them(
    configured: Configured, mixed: Packed
) -> None:
    """A topic that it may not use is not moved to; with its policy, requests are heard there."""
    row, device = mixed.rows[0], configured.device
    kept = "keeping the configuration"
    configured.configure(kept, requestTopic="plant/requests")
    configured.configure(kept, requestTopic="plant/+")
    configured.configure(kept, requestTopic="edgexgb/requests", resultTopic="plant/results")
    assert configured.requester.ask(row)["statusCode"] == 200
    operations = ["aws.greengrass#SubscribeToTopic", "aws.greengrass#PublishToTopic"]
    policy = {"operations": operations, "resources": ["plant/*"]}
    configured.configure(
        "configuration changed",
        requestTopic="plant/requests",
        resultTopic="plant/results",
        accessControl={"aws.greengrass.ipc.pubsub": {"plant:pubsub:1": policy}},
    )
    with device.client(request_topic="plant/requests", result_topic="plant/results") as client:
        assert client.predict(row, 30.0).model == "mixed"
    with device.client() as client, pytest.raises((TimeoutError, TransportError)):
        client.predict(row, 0.5)


def test_a_configuration_that_is_no_good_from_the_start_breaks_the_component(enter: Enter) -> None:
    """It says why and ends, rather than to serve where nobody asked for it."""
    device = enter(maxRows="none")
    assert device.state() == "BROKEN"
    assert "maxRows: got 'none', expected a whole number of at least 1" in device.log()
