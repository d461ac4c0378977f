"""A wall clock for all processes of a rig, which may jump; this machine's own is left alone.

A library that is preloaded (`clock.c`) adds an offset to what the kernel says. It is made here,
with a C compiler, since libfaketime 0.9.10 would not do: under it, `time.sleep` of Python 3.11
fails with EINVAL, and a look at the clock, which reads a file anew, costs 4 us instead of 0.05.
"""

import functools
import mmap
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Self

_SOURCE = Path(__file__).with_name("clock.c")
_VARIABLE = "EDGEXGB_BENCH_CLOCK"
_N_BYTES = 16
"""Of the file: the offset in nanoseconds, and the number of waits by the wall clock."""
_BUILD_S = 60.0


class ClockError(Exception):
    """There can be no such clock here; the text says why."""


class Clock:
    """What tells the time to the processes that are started with it.

    Attributes:
        environment: of processes that shall believe in it, beside what they get otherwise.
        python: an interpreter that believes in it, whoever starts it, in whatever environment.
    """

    def __init__(self, folder: Path) -> None:
        """Makes it; it agrees with the machine's.

        Args:
            folder: for its files; must outlive the processes.

        Raises:
            ClockError: there is no compiler for it, or not the C library.
            OSError: a file cannot be written.
        """
        library = build(folder)
        path = folder / "clock"
        path.write_bytes(bytes(_N_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _N_BYTES)
        self._fields = memoryview(self._map).cast("q")  # one store each, which nobody sees half of
        before = os.environ.get("LD_PRELOAD")
        preload = str(library) if not before else f"{library}:{before}"
        self.environment: Mapping[str, str] = {"LD_PRELOAD": preload, _VARIABLE: str(path)}
        self.python = folder / "python"
        exports = "".join(f"export {k}={shlex.quote(v)}\n" for k, v in self.environment.items())
        self.python.write_text(f'#!/bin/sh\n{exports}exec {shlex.quote(sys.executable)} "$@"\n')
        self.python.chmod(0o755)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def offset_s(self) -> float:
        """How far it is ahead of the machine's."""
        return self._fields[0] / 1e9

    @property
    def n_wall_waits(self) -> int:
        """How many waits began whose end is a time of this clock: a jump would spoil each."""
        return self._fields[1]

    def set(self, offset_s: float) -> None:
        """Jumps, for all processes at once, to so far ahead of the machine's."""
        self._fields[0] = round(offset_s * 1e9)

    def close(self) -> None:
        """Lets go of the file; processes that still run keep the time that it says."""
        self._fields.release()
        self._map.close()


@functools.cache
def lacks() -> str:
    """Why there can be no such clock on this machine; empty where there can."""
    with tempfile.TemporaryDirectory(prefix="clock-") as folder:
        try:
            build(Path(folder))
        except ClockError as error:
            return str(error)
    return ""


def build(folder: Path) -> Path:
    """The library, made in a folder.

    Raises:
        ClockError: there is no compiler for it, or not the C library.
    """
    library = folder / "libclock.so"
    options = ["-std=gnu11", "-D_GNU_SOURCE", "-O2", "-fPIC", "-shared", "-pthread"]
    options += ["-o", str(library), str(_SOURCE), "-ldl"]
    compiler = [*shlex.split(os.environ.get("CC") or "cc"), *options]
    try:
        done = subprocess.run(
            compiler, check=False, capture_output=True, text=True, timeout=_BUILD_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ClockError(f"a C compiler: got {error}, expected one") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        wrong = next((it for it in said if "error" in it), f"exit code {done.returncode}")
        raise ClockError(f"{_SOURCE.name}: got {wrong!r} of the compiler, expected a library")
    return library
