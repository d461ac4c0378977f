"""A disk without room: a real one where we may mount it, else a limit on what a process writes."""

import contextlib
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

KINDS = ("tmpfs", "limit")
MAY_MOUNT = os.geteuid() == 0 and shutil.which("mount") is not None

_BYTES = 64 * 1024


class Disk:
    """A folder on a disk that can be filled.

    Attributes:
        folder: on it.
        error: what the system says where there is no room.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        """A disk of a kind at a folder, where it is mounted already."""
        self.folder = folder
        self.error = "No space left on device" if kind == "tmpfs" else "File too large"
        self._kind = kind

    @contextlib.contextmanager
    def full(self, pid: int = 0) -> Iterator[None]:
        """No room until the block ends; of the limit, for one process: 0 is our own."""
        if self._kind == "limit":
            with limited(0, pid):
                yield
            return
        ballast = self.folder / "ballast"
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))
        yield
        ballast.unlink()


@contextlib.contextmanager
def open_disk(kind: str, folder: Path) -> Iterator[Disk]:
    """A disk of a kind, at a folder that is there."""
    if kind == "limit":
        yield Disk(kind, folder)
        return
    options = ["-t", "tmpfs", "-o", f"size={_BYTES}", "edgexgb-test"]
    subprocess.run(["mount", *options, str(folder)], check=True)
    try:
        yield Disk(kind, folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def limited(n_bytes: int, pid: int = 0) -> Iterator[None]:
    """A process may write no file beyond so many bytes until the block ends; 0 is our own."""
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (n_bytes, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
