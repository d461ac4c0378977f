"""Many measurements to few numbers."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Measurements in short, all in one unit.

    Attributes:
        p50: the median.
        p99: by nearest rank; the largest where there are fewer than 100.
        iqr: between the first and the third quartile: of the turns' medians where there are turns.
        n: how many there were.
    """

    p50: float
    p99: float
    iqr: float
    n: int

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def spread(turns: Sequence[Sequence[float]]) -> Spread:
    """The spread of measurements that were taken in turns.

    The quartiles are those of the turns' medians, which is what repeating the run would change;
    with a single turn, or single measurements, those of the measurements.
    """
    values = sorted(value for turn in turns for value in turn)
    medians = [statistics.median(turn) for turn in turns]
    return Spread(
        p50=statistics.median(values),
        p99=values[math.ceil(0.99 * len(values)) - 1],
        iqr=_iqr(medians if len(medians) > 1 else values),
        n=len(values),
    )


LEVELS = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Of the quantiles that are kept of a distribution."""


def quantiles(turns: Sequence[Sequence[float]]) -> dict[str, float]:
    """The quantiles at `LEVELS`, by nearest rank, by level.

    Those that lie further out than any measurement, 99.9 % of a hundred for example, are left out.
    """
    values = sorted(value for turn in turns for value in turn)
    n = len(values)
    return {
        f"{level:g}": values[math.ceil(level * n) - 1]
        for level in LEVELS
        if round(n * min(level, 1 - level), 9) >= 1
    }


def _iqr(values: Sequence[float]) -> float:
    if len(values) < 2:
        return 0.0
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return third - first
