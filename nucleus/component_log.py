"""The log of one component, in the lines of the classic nucleus, on a bounded part of the disk.

Source: a component's log of aws-greengrass-nucleus 2.x, and the nucleus's defaults of its setting
`logging` (files of 1 MiB, 10 MiB in all).
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Literal

Level = Literal["INFO", "WARN", "ERROR"]
Listener = Callable[[str], None]

_log = logging.getLogger(__name__)


class ComponentLog:
    """Writes one file; full ones are kept beside it under the hour in which they were full.

    A disk that is full or gone costs lines, and never stops a component.
    """

    def __init__(
        self,
        path: Path,
        component: str,
        *,
        file_bytes: int = 1024 * 1024,
        total_bytes: int = 10 * 1024 * 1024,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Opens nothing yet.

        Args:
            path: of the file; its directory is made where it is missing.
            component: its name.
            file_bytes: of one file, after which the next begins.
            total_bytes: of all files together; the oldest go first.
            now: the clock.
        """
        self.path = path
        self._component = component
        self._file_bytes = file_bytes
        self._total_bytes = total_bytes
        self._now = now
        self._file: IO[bytes] | None = None
        self._size_bytes = 0
        self._aside: dict[Path, int] = {}
        self._n_aside = 0
        self._is_lost = False
        self._listeners: list[Listener] = []

    def follow(self, listener: Listener) -> Callable[[], None]:
        """Calls back with every line from now on, without its end.

        Returns:
            What ends it; a second call of it does nothing.
        """
        self._listeners.append(listener)

        def unfollow() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unfollow

    def output(self, stream: Literal["stdout", "stderr"], text: str, step: str, state: str) -> None:
        """One line that a step's script has written."""
        level: Level = "INFO" if stream == "stdout" else "WARN"
        script = f"services.{self._component}.lifecycle.{step}"
        fields = {"scriptName": script, **self._fields(state)}
        self._write(level, "Copier", f"{stream}. {text}", fields)

    def event(
        self, level: Level, text: str, state: str, fields: Mapping[str, object] | None = None
    ) -> None:
        """What the nucleus itself has to say about the component."""
        self._write(level, "nucleus", text, {**(fields or {}), **self._fields(state)})

    def close(self) -> None:
        """Closes the file; the next line opens it again."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _fields(self, state: str) -> dict[str, object]:
        return {"serviceName": self._component, "currentState": state}

    def _write(self, level: Level, thread: str, text: str, fields: Mapping[str, object]) -> None:
        moment = self._now().astimezone(UTC).isoformat(timespec="milliseconds")
        shown = ", ".join(f"{key}={value}" for key, value in fields.items())
        line = f"{moment.replace('+00:00', 'Z')} [{level}] ({thread}) {self._component}: {text}. "
        line += f"{{{shown}}}"
        for listener in tuple(self._listeners):
            try:
                listener(line)
            except Exception:
                _log.exception("a follower of a component's log failed")
        try:
            self._append(f"{line}\n".encode(errors="replace"))
            self._is_lost = False
        except OSError as error:
            self.close()
            if not self._is_lost:  # once, and not for every line
                self._is_lost = True
                _log.warning("%s: lines are lost: %s", self.path.name, error)

    def _append(self, content: bytes) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: a line is in the file before anything else happens.
            self._file = self.path.open("ab", buffering=0)
            self._size_bytes = self._file.tell()
        if self._size_bytes and self._size_bytes + len(content) > self._file_bytes:
            self._rotate()
        assert self._file is not None
        self._file.write(content)
        self._size_bytes += len(content)

    def _rotate(self) -> None:
        """Puts the full file aside and begins another."""
        self.close()
        stem = f"{self.path.stem}_{self._now():%Y_%m_%d_%H}"
        number = 0
        while (aside := self.path.with_name(f"{stem}_{number}.log")).exists():
            number += 1
        self.path.rename(aside)
        self._n_aside += 1
        self._aside[aside] = self._n_aside
        self._file = self.path.open("ab", buffering=0)
        self._size_bytes = 0
        self._forget_oldest()

    def _forget_oldest(self) -> None:
        """Removes the oldest files, until the others and a full new one fit.

        Those of this process are newer than any of an earlier one, and in the order in which they
        came: the times of files follow a clock that may have been set back.
        """
        # Another component's name may begin with this one's: a time must follow.
        pattern = f"{self.path.stem}_[0-9][0-9][0-9][0-9]_[0-9][0-9]_*.log"
        found = {path: path.stat() for path in self.path.parent.glob(pattern)}
        newest_first = sorted(
            found, key=lambda it: (self._aside.get(it, 0), found[it].st_mtime_ns, it), reverse=True
        )
        kept_bytes = self._file_bytes
        for path in newest_first:
            kept_bytes += found[path].st_size
            if kept_bytes > self._total_bytes:
                path.unlink()
                self._aside.pop(path, None)
