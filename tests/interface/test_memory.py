import subprocess
import sys

import pytest

BURST = """
import sys
import psutil
from interface.memory import return_memory

told = sys.argv[1] == "told" and return_memory()
bytearray(1_000_000)  # freed at once: from now on glibc by itself has smaller ones on its heap
before = psutil.Process().memory_info().rss
burst = [bytearray(200_000) for _ in range(200)]
kept = [bytes(5_000) for _ in range(10)]  # on top of the heap
del burst
print(told, psutil.Process().memory_info().rss - before)
"""


def burst(word: str) -> tuple[bool, int]:
    """Whether the C library took it, and the bytes that are left of a burst of 40 MB."""
    command = [sys.executable, "-c", BURST, word]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    told, left = done.stdout.split()
    return told == "True", int(left)


def test_memory_of_a_burst_goes_back_to_the_system() -> None:
    """And without it stays, where the C library is glibc: otherwise there is nothing to do."""
    told, left = burst("told")
    if not told:
        pytest.skip("the C library has no mallopt")
    assert left < 2_000_000
    assert burst("untold")[1] > 30_000_000
