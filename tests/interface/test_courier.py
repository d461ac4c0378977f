"""A courier makes calls in order, and ends."""

import threading

import pytest

from interface.courier import Courier
from tests.interface.conftest import wait_until


def test_calls_are_made_in_order_on_a_thread_of_their_own() -> None:
    """The one that is named."""
    made: list[tuple[int, str]] = []
    courier = Courier("the courier")
    for i in range(20):
        courier.send(lambda i=i: made.append((i, threading.current_thread().name)))  # type: ignore[misc]
    courier.close()
    wait_until(lambda: len(made) == 20)
    assert made == [(i, "the courier") for i in range(20)]
    wait_until(lambda: "the courier" not in {it.name for it in threading.enumerate()})


def test_call_that_raises_is_logged_and_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody else would hear of it."""
    made: list[int] = []
    courier = Courier("the courier")
    courier.send(lambda: made.append(1 // 0))
    courier.send(lambda: made.append(2))
    courier.close()
    wait_until(lambda: made)
    assert made == [2]
    assert "ZeroDivisionError" in caplog.text
