"""Section 2: batches of rows that are in memory already, by one thread and by two.

Through the Engine port for our engines, and with each library's own call on a numpy array for the
others: no JSON, no copy before the call.
"""

from functools import partial
from typing import Any

from bench.crew import Crew, Served
from bench.models import SPECS, build
from bench.plan import LONG_ROWS, LONG_WAYS, Plan
from bench.progress import Progress

_LONG_ROUNDS = 3


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model, threads, and rows: what each way took for a batch."""
    progress.begin(len(plan.threads) * sum(len(_sizes(plan, model)) for model in plan.models))
    return {
        model: {
            f"threads_{n_threads}": _measure_batches(plan, progress, model, n_threads)
            for n_threads in plan.threads
        }
        for model in plan.models
    }


def _sizes(plan: Plan, model: str) -> list[int]:
    return [rows for rows in plan.batch_rows if rows <= SPECS[model].n_rows]


def _measure_batches(plan: Plan, progress: Progress, model: str, n_threads: int) -> dict[str, Any]:
    with Crew(plan.ways, build(SPECS[model]), n_threads) as crew:
        found = {}
        for rows in _sizes(plan, model):
            progress.step(f"model {model}, threads {n_threads}, {rows} rows")
            turn = partial(_ask, rows=rows, at_least_s=plan.turn_s)
            if rows < LONG_ROWS:
                measured = crew.take_turns(plan.batch_rounds, turn)
            else:  # warm from the batches before
                rounds = min(plan.batch_rounds, _LONG_ROUNDS)
                measured = crew.take_turns(rounds, turn, ways=LONG_WAYS, warm_up=False)
            found[f"rows_{rows}"] = measured
        return {
            "details": {served.way: served.detail for served in crew.each()},
            "reasons": crew.reasons,
            "sizes": found,
        }


def _ask(served: Served, *, rows: int, at_least_s: float) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("batch", rows=rows, at_least_s=at_least_s)
    return found
