"""When which fault comes, drawn from a seed; the same seed gives the same schedule."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

CALM_S = (1.5, 4.0)
"""Between the recovery from a fault and the next one: at least, at most."""

LONG_S = 600.0
"""A run of so long, or longer, has a steady end."""

STEADY_S = 330.0
"""Long enough that processes hold the most that they need before the last minute begins."""

Lasting = Mapping[str, tuple[float, float]]
"""Of each fault by name, how long it lasts at least and at most, in seconds."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One fault of a schedule.

    Attributes:
        fault: its name.
        calm_s: after the recovery from the one before.
        lasts_s: from injection to healing.
        seed: of what the fault draws itself.
    """

    fault: str
    calm_s: float
    lasts_s: float
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What a run shall do.

    Attributes:
        personality: of the device.
        seed: of all that is drawn.
        seconds: after which no other fault begins.
        steady_s: the end of them, in which `steady` goes on where `entries` stopped.
        entries: faults, in their order.
        steady: faults that leave every process alive, so that memory can be compared.
    """

    personality: str
    seed: int
    seconds: float
    steady_s: float
    entries: Sequence[Entry]
    steady: Sequence[Entry]

    @classmethod
    def draw(
        cls,
        personality: str,
        seed: int,
        seconds: float,
        lasting_s: Lasting,
        steady: Sequence[str],
    ) -> Self:
        """A schedule of enough faults.

        Args:
            personality: of the device.
            seed: of the draw.
            seconds: of the whole.
            lasting_s: the faults.
            steady: those that leave processes alive; they come in this order first, and then
                in turns as the others.
        """
        steady_s = STEADY_S if seconds >= LONG_S else 0.0
        draw = random.Random(seed)  # noqa: S311  (no secret)
        return cls(
            personality=personality,
            seed=seed,
            seconds=seconds,
            steady_s=steady_s,
            entries=_fill(draw, seconds - steady_s, lasting_s),
            steady=_fill(draw, steady_s, {name: lasting_s[name] for name in steady}, steady),
        )

    def write(self, path: Path) -> None:
        """Keeps it, for `read`."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def read(cls, path: Path) -> Self:
        """A schedule that was kept."""
        fields = json.loads(path.read_bytes())
        for name in ("entries", "steady"):
            fields[name] = [Entry(**it) for it in fields[name]]
        return cls(**fields)


def _fill(
    draw: random.Random, seconds: float, lasting_s: Lasting, first: Sequence[str] = ()
) -> list[Entry]:
    """All faults in turn, each turn shuffled, but for the first where that is given.

    Calm and faults fill the time; recoveries come on top, so not all may fit.
    """
    entries: list[Entry] = []
    filled_s = 0.0
    while filled_s < seconds and lasting_s:
        turn = list(lasting_s)
        draw.shuffle(turn)
        if first and not entries:
            turn = list(first)
        for name in turn:
            entry = Entry(
                name,
                round(draw.uniform(*CALM_S), 3),
                round(draw.uniform(*lasting_s[name]), 3),
                draw.getrandbits(32),
            )
            entries.append(entry)
            filled_s += entry.calm_s + entry.lasts_s
    return entries
