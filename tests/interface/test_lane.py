"""A lane is bounded, works off what waits, and ends when told; a throttle counts."""

import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from interface.lane import Lane, Throttle
from tests.interface.conftest import WAIT_S, wait_until


class Worker:
    """Notes batches; waits before it ends one, where it is told to."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.came_s: list[float] = []
        self.go = threading.Event()
        self.go.set()
        self.lane = Lane("test", self.work, lambda: 3)

    def work(self, payloads: Sequence[bytes], came_s: Sequence[float]) -> None:
        self.batches.append(list(payloads))
        self.came_s += came_s
        assert self.go.wait(WAIT_S)


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    yield worker
    worker.go.set()
    worker.lane.end(0)


def put(worker: Worker, payload: bytes, max_waiting: int = 10, max_bytes: int = 100) -> bool:
    return worker.lane.put(payload, max_waiting, max_bytes)


def test_payloads_wait_until_the_lane_starts(worker: Worker) -> None:
    """Then they are taken in order, no more than a batch at once."""
    for i in range(7):
        assert put(worker, b"%d" % i)
    assert worker.lane.pending == 7
    worker.lane.start()
    wait_until(lambda: worker.lane.pending == 0)
    assert worker.batches == [[b"0", b"1", b"2"], [b"3", b"4", b"5"], [b"6"]]


def test_each_payload_comes_with_the_time_at_which_it_came(worker: Worker) -> None:
    """So that its wait counts; what has come together may be told apart."""
    before_s = time.perf_counter()
    for i in range(7):
        assert put(worker, b"%d" % i)
    between_s = time.perf_counter()
    assert worker.lane.waiting == 7
    worker.lane.start()
    wait_until(lambda: worker.lane.pending == 0)
    assert len(worker.came_s) == 7
    assert before_s <= min(worker.came_s)
    assert max(worker.came_s) <= between_s
    assert worker.came_s == sorted(worker.came_s)
    assert worker.lane.waiting == 0


@pytest.mark.parametrize(("max_waiting", "max_bytes"), [(2, 100), (10, 4)])
def test_full_lane_takes_no_more(worker: Worker, max_waiting: int, max_bytes: int) -> None:
    """By number or by bytes; what is taken out makes room."""
    taken = [put(worker, b"xx", max_waiting, max_bytes) for _ in range(4)]
    assert taken == [True, True, False, False]
    worker.lane.start()
    wait_until(lambda: worker.lane.pending == 0)
    assert put(worker, b"xx", max_waiting, max_bytes)


def test_empty_lane_takes_any_one_payload(worker: Worker) -> None:
    """However large it is."""
    assert put(worker, b"x" * 1000, max_bytes=1)
    assert not put(worker, b"", max_bytes=1)


def test_payload_in_work_is_pending_but_does_not_wait(worker: Worker) -> None:
    """So there is room behind it."""
    worker.go.clear()
    worker.lane.start()
    assert put(worker, b"1", max_waiting=1)
    wait_until(lambda: worker.batches)
    assert put(worker, b"2", max_waiting=1)
    assert not put(worker, b"3", max_waiting=1)
    assert worker.lane.pending == 2


def test_end_waits_for_what_is_pending(worker: Worker) -> None:
    """Nothing is left then."""
    worker.go.clear()
    worker.lane.start()
    for i in range(5):
        put(worker, b"%d" % i)
    threading.Timer(0.05, worker.go.set).start()
    assert worker.lane.end(time.monotonic() + WAIT_S) == 0
    assert [it for batch in worker.batches for it in batch] == [b"0", b"1", b"2", b"3", b"4"]
    assert not put(worker, b"after the end")


def test_end_drops_what_still_waits_at_the_deadline(worker: Worker) -> None:
    """What is in work may end by itself."""
    worker.go.clear()
    worker.lane.start()
    put(worker, b"in work")
    wait_until(lambda: worker.batches)
    put(worker, b"1")
    put(worker, b"2")
    assert worker.lane.end(time.monotonic() - 1) == 2
    assert worker.lane.pending == 1
    worker.go.set()
    wait_until(lambda: worker.lane.pending == 0)
    assert worker.batches == [[b"in work"]]
    assert worker.lane.end(time.monotonic()) == 0


def test_throttle_lets_the_first_pass_and_counts_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once a second at most; nothing that happened is forgotten."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    throttle = Throttle()
    assert [throttle.passes() for _ in range(3)] == [1, 0, 0]
    now_s = 100.99
    assert throttle.passes() == 0
    now_s = 101.0
    assert [throttle.passes() for _ in range(2)] == [4, 0]
    now_s = 500.0
    assert throttle.passes() == 2


def test_throttle_gives_the_rest_once_it_has_grown_quiet() -> None:
    """The end of a burst is not forgotten."""
    throttle = Throttle()
    assert [throttle.passes() for _ in range(3)] == [1, 0, 0]
    assert [throttle.rest(), throttle.rest()] == [2, 0]
