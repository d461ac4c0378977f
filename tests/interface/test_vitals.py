"""How a bridge has been doing."""

import threading
import time
from collections.abc import Iterable

import pytest

from interface.vitals import KEPT, Counters, Fault, Latencies, Vitals


def keep(vitals: Vitals, times: Iterable[float]) -> None:
    for took_s in times:
        vitals.answer("", took_s)


def test_nothing_is_known_at_first() -> None:
    """No latency is made up where there was no answer."""
    vitals = Vitals()
    assert vitals.counters == Counters()
    assert vitals.count()[1] == {}
    assert vitals.latencies() is None
    assert vitals.last_fault is None


@pytest.mark.parametrize(
    ("n_times", "p50_s", "p99_s"),
    [(1, 1, 1), (2, 1, 2), (100, 50, 99), (101, 51, 100), (KEPT, 512, 1014)],
)
def test_quantiles_are_of_the_nearest_rank(n_times: int, p50_s: float, p99_s: float) -> None:
    """Each is a latency that there was."""
    vitals = Vitals()
    keep(vitals, range(n_times, 0, -1))
    assert vitals.latencies() == Latencies(p50_s, p99_s)


def test_only_the_last_latencies_are_kept() -> None:
    """What was slow this morning says nothing about now."""
    vitals = Vitals()
    keep(vitals, [9.0] * 700)
    assert vitals.latencies() == Latencies(9.0, 9.0)
    keep(vitals, [1.0] * KEPT)
    assert vitals.latencies() == Latencies(1.0, 1.0)
    keep(vitals, [9.0] * (KEPT // 2 - 1))
    assert vitals.latencies() == Latencies(1.0, 9.0)


def test_counts_are_exact_though_many_threads_count() -> None:
    """The thread that reads, and those of the queues."""
    vitals = Vitals()

    def count() -> None:
        for _ in range(500):
            vitals.receive()
            vitals.answer("")
            vitals.answer("odd")
            vitals.refuse("busy")
            vitals.fail()
            vitals.drop(2)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = Counters(received=2000, answered=4000, refused=2000, failed=2000, dropped=4000)
    assert vitals.counters == expected
    assert vitals.count()[1] == {"odd": 2000, "busy": 2000}


def test_last_fault_has_its_time() -> None:
    """And takes the place of the one before."""
    vitals = Vitals()
    before = time.time()
    vitals.note("a", "first")
    vitals.note("b", "second")
    fault = vitals.last_fault
    assert fault is not None
    assert fault == Fault("b", "second", fault.at_s)
    assert before <= fault.at_s <= time.time()
