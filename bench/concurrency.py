"""Section 3: several callers at once, threads of one process that share one bundle.

What all of them together get done, against what one of them does alone: more callers must never
get less. *Engine* is the Engine port with a matrix in memory; *handler* is JSON text to JSON text;
*interpreter* is a loop of Python as long as a small request, that shows what threads which take
turns at one interpreter can have at best.
"""

import statistics
from typing import Any

from bench.crew import Crew, Served
from bench.models import SPECS, build
from bench.plan import Plan
from bench.progress import Progress
from bench.spread import spread

INTERPRETER = "interpreter"
"""The door of the loop of Python; no model is behind it."""

_HANDLER_ROWS = 100
"""Requests with more rows than this would be longer than a request may be."""


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model, threads, and `<door>_<rows>`: by callers `rate` and `ratio`, as `Spread`s."""
    progress.begin(len(plan.models) * len(plan.threads) * len(_cells(plan)))
    return {
        model: {
            f"threads_{n_threads}": _measure_cells(plan, progress, model, n_threads)
            for n_threads in plan.threads
        }
        for model in plan.models
    }


def _cells(plan: Plan) -> list[tuple[str, int]]:
    engine = [("engine", rows) for rows in plan.caller_rows]
    handler = [("handler", rows) for rows in plan.caller_rows if rows <= _HANDLER_ROWS]
    return [(INTERPRETER, 1), *engine, *handler]


def _measure_cells(plan: Plan, progress: Progress, model: str, n_threads: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with Crew(["ours"], build(SPECS[model]), n_threads) as crew:
        ours = crew.demand("ours")
        for door, rows in _cells(plan):
            progress.step(f"model {model}, threads {n_threads}, {door}, {rows} rows")
            found[f"{door}_{rows}"] = _measure_callers(plan, ours, door, rows)
    return found


def _measure_callers(plan: Plan, served: Served, door: str, rows: int) -> dict[str, Any]:
    """By callers: rows a second of all together, and that against one caller of the same turn."""
    rates: dict[int, list[float]] = {n: [] for n in plan.callers}
    for number in range(plan.caller_rounds + 1):
        # Which number comes first changes, so that none is always behind the same one.
        order = plan.callers if number % 2 else tuple(reversed(plan.callers))
        for n in order:
            rate = served.ask("callers", door=door, rows=rows, n=n, at_least_s=plan.caller_s)
            if number:  # a first turn warms up
                rates[n].append(rate["rows_per_second"])
    alone = rates[plan.callers[0]]
    return {
        f"callers_{n}": {
            "rate": statistics.median(those),
            "ratio": spread([[x / y for x, y in zip(those, alone, strict=True)]]).to_json(),
        }
        for n, those in rates.items()
    }
