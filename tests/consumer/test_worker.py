import asyncio
import threading

import pytest

from consumer.connection import Link
from consumer.worker import Worker


class CountedLink(Link):
    """A link that counts its closes."""

    closes = 0

    def close(self) -> None:
        self.closes += 1


async def thread_name() -> str:
    return threading.current_thread().name


def test_coroutines_run_on_the_workers_own_thread() -> None:
    """Whoever starts them."""
    worker = Worker("own thread")
    assert worker.start(thread_name()).result(10) == "own thread"
    worker.close(lambda: None)


def test_close_cancels_what_is_under_way_and_ends_the_thread() -> None:
    """What is released before, on the loop, is closed in the end."""
    worker = Worker("ending")
    sleeping = worker.start(asyncio.sleep(600))
    link, released_on = CountedLink(), []

    def release() -> Link:
        released_on.append(threading.current_thread().name)
        return link

    worker.close(release)
    assert sleeping.cancelled()
    assert released_on == ["ending"]
    assert link.closes == 1
    assert worker.loop.is_closed()
    assert "ending" not in {thread.name for thread in threading.enumerate()}


def test_error_of_a_coroutine_is_the_callers() -> None:
    """The worker lives on."""

    async def fail() -> None:
        raise ValueError("mine")

    worker = Worker("living on")
    with pytest.raises(ValueError, match=r"^mine$"):
        worker.start(fail()).result(10)
    assert worker.start(thread_name()).result(10) == "living on"
    worker.close(lambda: None)
