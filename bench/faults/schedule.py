"""When which fault comes, drawn from a seed; the same seed gives the same schedule."""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

CALM_S = (1.5, 4.0)
"""Between the recovery from a fault and the next one: at least, at most."""


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


def draw_schedule(
    seed: int, seconds: float, lasting_s: Mapping[str, tuple[float, float]]
) -> list[Entry]:
    """Faults for so many seconds: all of them in turn, each turn shuffled.

    Args:
        seed: of the draw.
        seconds: which calm and faults shall fill; recoveries come on top, so not all may fit.
        lasting_s: of each fault by name, how long it lasts at least and at most.
    """
    draw = random.Random(seed)  # noqa: S311  (no secret)
    entries: list[Entry] = []
    filled_s = 0.0
    while filled_s < seconds and lasting_s:
        turn = sorted(lasting_s)
        draw.shuffle(turn)
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


def write_schedule(path: Path, seed: int, personality: str, entries: Sequence[Entry]) -> None:
    """Keeps a schedule, for `read_schedule`."""
    fields = {"seed": seed, "personality": personality, "entries": [asdict(it) for it in entries]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(fields, indent=1))


def read_schedule(path: Path) -> tuple[int, str, list[Entry]]:
    """Seed, personality and faults of a schedule that was kept."""
    fields = json.loads(path.read_bytes())
    return fields["seed"], fields["personality"], [Entry(**it) for it in fields["entries"]]
