"""Predictions as lines of JSON, in a file that does not grow for ever."""

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 10 * 1024 * 1024
"""After which the file is put aside as `NAME.1`, in place of the one before."""


class ResultsError(Exception):
    """Results could not be written: no room on the disk, no right, no folder."""


class ResultFile:
    """Appends lines, all of a call or none of them, so that no reader keeps a part of one.

    What a full disk has cut short is taken back. Nobody else may write to the file.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def append(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Writes a line for each result.

        Raises:
            ResultsError: none of them stands in the file.
        """
        lines = b"".join(_encode_line(result) for result in results)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
                self._path.replace(self._path.with_name(f"{self._path.name}.1"))
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            file = os.open(self._path, flags, 0o640)
            try:
                _append(file, lines)
            finally:
                os.close(file)
        except OSError as error:
            observed = error.strerror or str(error)
            expected = f"room for {len(lines)} bytes"
            raise ResultsError(f"{self._path}: got {observed}, expected {expected}") from error


def _append(file: int, lines: bytes) -> None:
    """Writes all of it, or nothing.

    Raises:
        OSError: there is no room.
    """
    before = os.fstat(file).st_size
    if before and os.pread(file, 1, before - 1) != b"\n":
        lines = b"\n" + lines  # a process was killed within a line; it shall not spoil another
    try:
        rest = memoryview(lines)
        while rest:  # a disk takes what it has room for, and refuses the rest only then
            rest = rest[os.write(file, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.ftruncate(file, before)
        raise


def _encode_line(result: Mapping[str, Any]) -> bytes:
    # Half a character, which anybody's reply may hold, is written as JSON's own escape.
    text = json.dumps(result, ensure_ascii=False)
    return f"{text}\n".encode(errors="backslashreplace")
