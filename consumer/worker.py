"""The thread of a client, and the event loop that it runs."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from consumer.connection import Link

_T = TypeVar("_T")


class Worker:
    """Runs coroutines for callers on other threads, until it is closed."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def start(self, coroutine: Coroutine[Any, Any, _T]) -> "concurrent.futures.Future[_T]":
        """Starts a coroutine; cancelling the future cancels it."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop)

    def close(self, release: Callable[[], Link | None]) -> None:
        """Cancels what is under way, and ends the thread.

        Args:
            release: called on the loop before; gives what is to be closed at the end.
        """
        link = self.start(self._cancel_all(release)).result()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        if link is not None:
            link.close()

    async def _cancel_all(self, release: Callable[[], Link | None]) -> Link | None:
        link = release()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return link
