"""A thread that makes calls for those who may not wait."""

import logging
import threading
from collections.abc import Callable
from queue import SimpleQueue

_log = logging.getLogger(__name__)


class Courier:
    """Makes the calls that it is given, in order, on a thread of its own.

    What is given to it is rare: nothing bounds how much may wait.
    """

    def __init__(self, name: str) -> None:
        """Starts the thread, which has this name."""
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def send(self, call: Callable[[], None]) -> None:
        """Has it called; what it raises is logged."""
        self._calls.put(call)

    def close(self) -> None:
        """Ends the thread once it has made the calls it was given before; does not wait."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call()
            except Exception:
                _log.exception("a call went wrong")
