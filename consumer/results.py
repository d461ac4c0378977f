"""Predictions as lines of JSON, in a file that does not grow for ever."""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 10 * 1024 * 1024
"""After which the file is put aside as `NAME.1`, in place of the one before."""


class ResultFile:
    """Appends lines; each is written by one call, so that no reader sees a part of one."""

    def __init__(self, path: Path, max_bytes: int = MAX_BYTES) -> None:
        self._path = path
        self._max_bytes = max_bytes

    def append(self, results: Iterable[Mapping[str, Any]]) -> None:
        """Writes a line for each result.

        Raises:
            OSError: the file cannot be written, or the disk is full.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._path.exists() and self._path.stat().st_size >= self._max_bytes:
            self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
        try:
            for result in results:
                # Half a character, which anybody's reply may hold, is written as JSON's own escape.
                text = json.dumps(result, ensure_ascii=False)
                line = f"{text}\n".encode(errors="backslashreplace")
                if os.write(file, line) < len(line):
                    raise OSError(f"{self._path}: got room for a part of a line, expected more")
        finally:
            os.close(file)
