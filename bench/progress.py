"""What a long run is at, on one line of a terminal, or a line for each step elsewhere."""

import time

from rich.console import Console

_CLEAR = "\r\x1b[K"
"""To the start of a terminal's line, and the line empty."""


class Progress:
    """Tells sections and their steps; no thread of its own, because runs start processes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._section = ""
        self._n_steps = self._at = 0
        self._start_s = 0.0

    def open_section(self, name: str) -> None:
        """A section begins; how many steps it has, it says itself."""
        self._section, self._n_steps, self._at = name, 0, 0
        self._start_s = time.perf_counter()

    def begin(self, n_steps: int) -> None:
        """The open section has so many steps."""
        self._n_steps = n_steps

    def step(self, what: str) -> None:
        """The next step begins."""
        self._at += 1
        line = f"{self._section}  {self._at} of {self._n_steps}: {what}"
        if self._console.is_terminal:
            self._write(f"{_CLEAR}{line[: self._console.width - 1]}")
        else:
            self.say(line)

    def close_section(self, result: str = "") -> None:
        """The section has ended."""
        seconds = time.perf_counter() - self._start_s
        line = f"{self._section}  {seconds:.0f} s{', ' if result else ''}{result}"
        self.say(line)

    def say(self, text: str) -> None:
        """A line that stays."""
        self._write(f"{_CLEAR if self._console.is_terminal else ''}{text}\n")

    def _write(self, text: str) -> None:
        self._console.file.write(text)
        self._console.file.flush()
