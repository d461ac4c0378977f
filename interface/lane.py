"""Bounded queues, each with a thread of its own, and a throttle for what goes wrong in numbers."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence


class Lane:
    """A bounded queue, and the thread that works off what waits in it."""

    def __init__(
        self,
        name: str,
        work: Callable[[Sequence[bytes], Sequence[float]], None],
        max_batch: Callable[[], int],
    ) -> None:
        """Does nothing before `start`.

        Args:
            name: of the thread.
            work: takes up to a batch of what waits, in order, and when each came (of
                `time.perf_counter`); raises nothing.
            max_batch: how many that are now.
        """
        self._work = work
        self._max_batch = max_batch
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._came_s: deque[float] = deque()  # as long as the other
        self._waiting_bytes = 0
        self._n_working = 0
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name=f"bridge {name}", daemon=True)

    def start(self) -> None:
        """Begins to work."""
        self._thread.start()

    @property
    def pending(self) -> int:
        """How many wait or are in work."""
        with self._changed:
            return len(self._waiting) + self._n_working

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def put(self, payload: bytes, max_waiting: int, max_bytes: int) -> bool:
        """Queues a payload; whether there was room.

        A queue that is empty has room for any one payload.
        """
        with self._changed:
            is_full = (
                len(self._waiting) >= max_waiting or self._waiting_bytes + len(payload) > max_bytes
            )
            if self._has_ended or (is_full and self._waiting):
                return False
            self._waiting.append(payload)
            self._came_s.append(time.perf_counter())
            self._waiting_bytes += len(payload)
            self._changed.notify_all()
            return True

    def end(self, deadline_s: float) -> int:
        """Waits until all is worked off, but not beyond the deadline (of `time.monotonic`).

        Returns:
            How many are left, and dropped. What is in work then is not among them.
        """
        with self._changed:
            if threading.current_thread() is not self._thread:
                self._changed.wait_for(
                    lambda: not (self._waiting or self._n_working),
                    max(0.0, deadline_s - time.monotonic()),
                )
            self._has_ended = True
            left = len(self._waiting)
            self._waiting.clear()
            self._came_s.clear()
            self._changed.notify_all()
        return left

    def _run(self) -> None:
        while True:
            batch, came_s = self._next()
            if not batch:
                return
            self._work(batch, came_s)
            with self._changed:
                self._n_working = 0
                self._changed.notify_all()

    def _next(self) -> tuple[list[bytes], list[float]]:
        """All that waits, up to a batch, and when it came; nothing at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._has_ended)
            n_next = min(self._max_batch(), len(self._waiting))
            batch = [self._waiting.popleft() for _ in range(n_next)]
            came_s = [self._came_s.popleft() for _ in range(n_next)]
            self._waiting_bytes -= sum(map(len, batch))
            self._n_working = len(batch)
        return batch, came_s


class Throttle:
    """Lets one event a second through to the log, and counts the others."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._next_s = 0.0
        self._n_events = 0

    def passes(self) -> int:
        """How many events there were since the last that passed; 0 where this one does not."""
        with self._guard:
            self._n_events += 1
            now_s = time.monotonic()
            if now_s < self._next_s:
                return 0
            self._next_s = now_s + 1.0
            return self._take()

    def rest(self) -> int:
        """How many events there were since the last that passed, once it has grown quiet."""
        with self._guard:
            return self._take()

    def _take(self) -> int:
        n_events, self._n_events = self._n_events, 0
        return n_events
