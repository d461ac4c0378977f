"""What goes on, while it does: lines that stay, and on a terminal squares for the devices."""

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from bench.fleet.campaign import Change
from bench.fleet.job import State

_COLOURS = {
    State.QUEUED: "bright_black",
    State.IN_PROGRESS: "yellow",
    State.SUCCEEDED: "green",
    State.FAILED: "red",
    State.CANCELED: "blue",
    State.TIMED_OUT: "magenta",
}
_IN_A_LINE = 10


class Screen:
    """Lines for everybody, a picture for a terminal.

    Attributes:
        lines: all that was said.
    """

    def __init__(self, console: Console) -> None:
        self.lines: list[str] = []
        self._console = console
        self._live: Live | None = None
        self._shown: tuple[list[State], str] | None = None

    @contextlib.contextmanager
    def live(self) -> Iterator[Self]:
        """On a terminal, the last lines change as long as the block runs.

        No thread does it, because devices are forked meanwhile.
        """
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False, transient=True) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def say(self, text: str, style: str = "") -> None:
        """A line that stays."""
        self.lines.append(text)
        self._console.print(Text(text, style=style), soft_wrap=True)

    def show_start(self, n_running: int, n: int) -> None:
        """So many devices run."""
        squares = dict.fromkeys(map(str, range(n)), State.QUEUED)
        squares |= dict.fromkeys(map(str, range(n_running)), State.SUCCEEDED)
        self._paint(squares, f"{n_running} of {n} run")

    def show_states(
        self, at_s: float, states: Mapping[str, State], changes: Sequence[Change]
    ) -> None:
        """The states of all devices; what has changed is said."""
        canceled = [name for name, state, _ in changes if state is State.CANCELED]
        for name, state, why in changes:
            if state is not State.CANCELED:
                self.say(f"{at_s:6.1f} s  {name}  {state}{why and f': {why}'}", _COLOURS[state])
        if canceled:
            names = canceled[0] if len(canceled) == 1 else f"{canceled[0]} to {canceled[-1]}"
            self.say(f"{at_s:6.1f} s  {names}  {State.CANCELED}", _COLOURS[State.CANCELED])
        found = Counter(states.values())
        legend = ", ".join(f"{found[state]} {state}" for state in State if found[state])
        self._paint(states, f"{at_s:.0f} s: {legend}")

    def _paint(self, states: Mapping[str, State], legend: str) -> None:
        shown = list(states.values()), legend
        if self._live is None or shown == self._shown:
            return
        self._shown = shown
        squares = Text()
        for at, state in enumerate(states.values()):
            squares.append("■ ", style=_COLOURS[state])
            if at % _IN_A_LINE == _IN_A_LINE - 1:
                squares.append("\n")
        self._live.update(Group(squares, Text(legend)), refresh=True)
