"""The logs of a core device and its components: their last lines, and those to come."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from nucleus.root import DeviceRoot
from release.errors import CommandError

_POLL_S = 0.2
_ASIDE = re.compile(r"_\d{4}_\d\d_\d\d_\d\d_\d+")
"""What a full log's name ends in. Source: nucleus/component_log.py."""


class LogTail:
    """Whole lines of one log as they come, through its rotation.

    A log that is full is put aside and begun anew: what was written to it until then still comes.
    """

    def __init__(self, path: Path) -> None:
        """Opens nothing yet; the file may be made later."""
        self.path = path
        self._file: IO[bytes] | None = None
        self._pending = b""

    def last(self, n_lines: int) -> list[str]:
        """The last lines that are there; `new` goes on behind them."""
        return self.new()[-n_lines:]

    def new(self) -> list[str]:
        """The lines that have come since, or all of them at first."""
        content = self._read()
        if self._file is not None and self._is_aside():
            content += self._read()  # what came before it was put aside
            self.close()
            content += self._read()
        *lines, self._pending = (self._pending + content).split(b"\n")
        return [line.decode(errors="replace") for line in lines]

    def close(self) -> None:
        """Closes the file; `new` would begin at the start of another."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self) -> bytes:
        if self._file is None:
            try:
                self._file = self.path.open("rb")
            except FileNotFoundError:
                return b""
        return self._file.read()

    def _is_aside(self) -> bool:
        assert self._file is not None
        with contextlib.suppress(FileNotFoundError):  # the next one comes at once
            return not os.path.samestat(self.path.stat(), os.fstat(self._file.fileno()))
        return False


def log_lines(
    root: DeviceRoot, component: str | None, n_lines: int, *, follow: bool
) -> Iterator[str]:
    """The last lines of a component's log, or of each log under a heading, then those to come.

    Args:
        root: of the device, which need not run.
        component: whose log; None for all, the device's own `greengrass` among them.
        n_lines: of each log, at most.
        follow: whether to go on for ever.

    Raises:
        CommandError: there is no such log.
    """
    paths = _find(root)
    if component is not None:
        wanted = root.log(component)
        if wanted not in paths:
            names = ", ".join(path.stem for path in paths) or "none"
            raise CommandError(f"{wanted}: got no such log, expected one of: {names}")
        paths = [wanted]
    if not paths:
        raise CommandError(f"{root.path}: got no logs, expected those of a core device")
    with contextlib.ExitStack() as at_end:
        tails: dict[Path, LogTail] = {}
        shown: Path | None = None
        while True:
            for path in paths:
                is_first = path not in tails and shown is None
                tail = tails.get(path)
                lines = tail.new() if tail is not None else []
                if tail is None:
                    tail = tails[path] = LogTail(path)
                    at_end.callback(tail.close)
                    lines = tail.last(n_lines)
                if lines and component is None and path != shown:
                    yield from ([] if is_first else [""])
                    yield f"==> {path.stem} <=="
                    shown = path
                yield from lines
            if not follow:
                return
            time.sleep(_POLL_S)
            if component is None:
                paths = _find(root)  # components may have begun meanwhile


def _find(root: DeviceRoot) -> list[Path]:
    """The logs that are written to; not the full ones beside them."""
    found = sorted((root.path / "logs").glob("*.log"))
    return [path for path in found if not _ASIDE.search(path.stem[-16:])]
