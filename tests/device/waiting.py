"""Waiting for what must happen by itself, on machines that are slow at times."""

import time
from collections.abc import Callable
from typing import TypeVar

WAIT_S = 60.0

_T = TypeVar("_T")


def wait_until(look: Callable[[], _T], what: str, timeout_s: float = WAIT_S) -> _T:
    """What `look` gives, as soon as it counts as true."""
    end = time.monotonic() + timeout_s
    while not (found := look()):
        assert time.monotonic() < end, f"{what}: got nothing of it in {timeout_s:g} s"
        time.sleep(0.02)
    return found
