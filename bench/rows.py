"""Section 1: one row and ten, JSON text to JSON text; and where the time goes."""

from functools import partial
from typing import Any

from bench.crew import Crew, Served, WorkerError
from bench.models import REQUEST_ROWS, SPECS, build
from bench.plan import Plan


def measure(plan: Plan) -> dict[str, Any]:
    """By model: `ways`, `reasons` of those that are not there, and our `stages`."""
    return {model: _measure_model(plan, model) for model in plan.models}


def _measure_model(plan: Plan, model: str) -> dict[str, Any]:
    with Crew(plan.ways, build(SPECS[model])) as crew:
        ways: dict[str, dict[str, Any]] = {}
        for served in crew.each():
            try:
                ways[served.way] = {"detail": served.detail, "equal": served.ask("equal")}
            except WorkerError as error:
                crew.dismiss(served, str(error))
        for rows in REQUEST_ROWS:
            turn = partial(_ask, rows=rows, at_least_s=plan.turn_s)
            found = crew.take_turns(plan.rounds, turn)
            for way, measured in found.items():
                ways[way][f"rows_{rows}"] = measured
        if "ours" not in crew.served:
            raise WorkerError(f"this handler, model {model}: {crew.reasons['ours']}")
        ours = crew.served["ours"]
        return {
            "ways": {way: facts for way, facts in ways.items() if way in crew.served},
            "reasons": crew.reasons,
            "stages": {
                f"rows_{rows}": ours.ask("stages", rows=rows, at_least_s=10 * plan.turn_s)
                for rows in REQUEST_ROWS
            },
        }


def _ask(served: Served, *, rows: int, at_least_s: float) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("text", rows=rows, at_least_s=at_least_s)
    return found
