"""A watched folder: each file that is put there is taken once, then moved out of the way."""

import contextlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from consumer.rows import READERS

DONE, FAILED = "done", "failed"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells that a file has changed."""

    size: int
    modified_ns: int


class Folder:
    """The files of a folder that are complete and have not been taken yet.

    A file is complete once it has looked the same in two polls; names that begin with a dot or end
    otherwise than in a known suffix, such as `.tmp`, are left alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: dict[Path, _Stamp] = {}
        self._stuck: dict[Path, tuple[_Stamp, str | None]] = {}

    def poll(self) -> tuple[list[Path], bool]:
        """The complete files in the order of their names, and whether others are on their way.

        Raises:
            OSError: the folder cannot be read.
        """
        now: dict[Path, _Stamp] = {}
        for entry in sorted(os.scandir(self.path), key=lambda it: it.name):
            path = Path(entry.path)
            if entry.name.startswith(".") or path.suffix.lower() not in READERS:
                continue
            try:
                if entry.is_file():
                    found = entry.stat()
                    now[path] = _Stamp(found.st_size, found.st_mtime_ns)
            except FileNotFoundError:  # gone again
                continue
        self._stuck = {path: it for path, it in self._stuck.items() if now.get(path) == it[0]}
        self._unstick()
        fresh = {path: stamp for path, stamp in now.items() if path not in self._stuck}
        complete = [path for path, stamp in fresh.items() if self._seen.get(path) == stamp]
        self._seen = fresh
        return complete, len(complete) < len(fresh)

    def finish(self, path: Path, error: str | None = None) -> None:
        """Moves a file to `done`, or to `failed` with a text beside it that says why.

        A file that cannot be moved, as where the disk is full, is left where it is, and not taken
        again until it changes; each poll tries to move it.
        """
        try:
            self._move(path, error)
        except OSError as problem:
            extra = {"file": path.name, "error": str(problem)}
            _log.exception("a file could not be moved", extra=extra)
            if stamp := self._seen.get(path):
                self._stuck[path] = (stamp, error)

    def _unstick(self) -> None:
        """Moves what could not be moved before, where that is possible now."""
        for path, (_, error) in tuple(self._stuck.items()):
            with contextlib.suppress(OSError):  # it was logged when it happened first
                self._move(path, error)
                _log.info("a file was moved after all", extra={"file": path.name})

    def _move(self, path: Path, error: str | None) -> None:
        """Moves a file; the text is there before it.

        Raises:
            OSError: it is where it was.
        """
        target = self.path / (DONE if error is None else FAILED)
        target.mkdir(exist_ok=True)
        moved = _free_name(target, path)
        with contextlib.ExitStack() as at_failure:
            if error is not None:
                why = moved.with_name(f"{moved.name}.error.txt")
                _write_whole(why, f"{error}\n")
                at_failure.callback(why.unlink, missing_ok=True)
            path.replace(moved)
            at_failure.pop_all()


def _write_whole(path: Path, text: str) -> None:
    """Writes a file that has its name only once it is complete.

    Raises:
        OSError: there is no such file.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        # Half a character, which anybody's reply may hold, is no UTF-8.
        draft.write_bytes(text.encode(errors="backslashreplace"))
        draft.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise


def _free_name(target: Path, path: Path) -> Path:
    """A name in the target folder that no earlier file has."""
    name, number = target / path.name, 1
    while name.exists():
        number += 1
        name = target / f"{path.stem}-{number}{path.suffix}"
    return name
