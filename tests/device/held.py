"""A component whose model takes as long as a test wants it to."""

import sys
from pathlib import Path

_PROGRAM = """
import pathlib, sys, time
from container.__main__ import main
from container.service import BundleService

folder, answer = pathlib.Path({folder!r}), BundleService.answer

def answer_when_let(self, payloads):
    time.sleep(0.005)  # quick answers are given on the connection's own thread
    while (folder / "held").exists():
        (folder / "waits").touch()
        time.sleep(0.01)
    return answer(self, payloads)

BundleService.answer = answer_when_let
sys.exit(main())
"""


class HeldComponent:
    """The inference component, whose answers wait as long as `hold` has been said."""

    def __init__(self, folder: Path) -> None:
        """Writes the program into a folder of its own."""
        folder.mkdir()
        self._folder = folder
        program = folder / "held.py"
        program.write_text(_PROGRAM.format(folder=str(folder)))
        self.python = folder / "python"
        """What the component's configuration names as its interpreter."""
        self.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{program}"\n')
        self.python.chmod(0o755)

    def hold(self) -> None:
        """Answers wait from now on."""
        (self._folder / "held").touch()

    def let(self) -> None:
        """They wait no longer."""
        (self._folder / "held").unlink()

    def waits(self) -> bool:
        """Whether one does, or did."""
        return (self._folder / "waits").exists()
