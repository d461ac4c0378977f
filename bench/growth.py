"""Section 7: how the time of one request grows with the model, one dimension at a time.

Rows are in section 2 and clients in section 6; the plots have all of them.
"""

import dataclasses
from typing import Any

from bench.crew import Crew
from bench.models import Spec, build
from bench.plan import Plan
from bench.progress import Progress

WAYS = ("inplace", "capi", "ours")

_BASE = Spec(
    name="growth",
    n_features=20,
    n_rounds=200,
    depth=6,
    n_training=10_000,
    n_rows=2_000,
)
DIMENSIONS: dict[str, tuple[str, tuple[int, ...]]] = {
    "trees": ("n_rounds", (10, 50, 200, 800, 2_000)),
    "depth": ("depth", (2, 4, 6, 8, 10)),
    "features": ("n_features", (5, 20, 80, 320)),
    "classes": ("n_classes", (0, 3, 10, 30)),
}
"""Name, field of `Spec`, values; of the last, 0 is a regression."""


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By dimension, and value of it: what one row takes in each way."""
    progress.begin(sum(len(values[: plan.growth]) for _, values in DIMENSIONS.values()))
    found: dict[str, Any] = {}
    for dimension, (field, values) in DIMENSIONS.items():
        found[dimension] = {}
        for value in values[: plan.growth]:
            progress.step(f"{dimension} {value}")
            found[dimension][str(value)] = _measure_one(plan, dimension, field, value)
    return found


def _measure_one(plan: Plan, dimension: str, field: str, value: int) -> dict[str, Any]:
    changes: dict[str, Any] = {field: value, "name": f"growth-{dimension}-{value}"}
    if field == "n_classes":  # so many trees in all, shared by the classes
        changes["n_rounds"] = max(1, _BASE.n_rounds // max(1, value))
    directory = build(dataclasses.replace(_BASE, **changes))
    with Crew(WAYS, directory) as crew:
        return crew.take_turns(
            max(2, plan.rounds // 3),
            lambda served: served.ask("text", rows=1, at_least_s=plan.turn_s),
        )
