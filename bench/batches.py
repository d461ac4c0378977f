"""Section 2: batches of rows that are in memory already, by one thread and by two.

Through the Engine port for our engines, and with each library's own call on a numpy array for the
others: no JSON, no copy before the call.
"""

from functools import partial
from typing import Any

from bench.crew import Crew, Served
from bench.models import SPECS, build
from bench.plan import Plan

_LONG_ROWS = 100_000
_LONG_ROUNDS = 3


def measure(plan: Plan) -> dict[str, Any]:
    """By model, threads, and rows: what each way took for a batch."""
    return {
        model: {
            f"threads_{n_threads}": _measure_batches(plan, model, n_threads)
            for n_threads in plan.threads
        }
        for model in plan.models
    }


def _measure_batches(plan: Plan, model: str, n_threads: int) -> dict[str, Any]:
    spec = SPECS[model]
    with Crew(plan.ways, build(spec), n_threads) as crew:
        found = {}
        for rows in plan.batch_rows:
            if rows > spec.n_rows:
                continue
            rounds = plan.batch_rounds
            if rows >= _LONG_ROWS:
                rounds = min(rounds, _LONG_ROUNDS)
            turn = partial(_ask, rows=rows, at_least_s=plan.turn_s)
            found[f"rows_{rows}"] = crew.take_turns(rounds, turn)
        return {
            "details": {served.way: served.detail for served in crew.each()},
            "reasons": crew.reasons,
            "sizes": found,
        }


def _ask(served: Served, *, rows: int, at_least_s: float) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("batch", rows=rows, at_least_s=at_least_s)
    return found
