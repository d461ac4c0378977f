"""Section 1: one row and ten, JSON text to JSON text; and where the time goes."""

from functools import partial
from typing import Any

from bench.crew import Crew, Served, WorkerError
from bench.models import REQUEST_ROWS, SPECS, build
from bench.plan import Plan
from bench.progress import Progress


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model: `ways`, `reasons` of those that are not there, and our `stages`."""
    progress.begin(len(plan.models) * (2 + len(REQUEST_ROWS)))
    return {model: _measure_model(plan, progress, model) for model in plan.models}


def _measure_model(plan: Plan, progress: Progress, model: str) -> dict[str, Any]:
    progress.step(f"model {model}, equality")
    with Crew(plan.ways, build(SPECS[model])) as crew:
        ways: dict[str, dict[str, Any]] = {}
        for served in crew.each():
            try:
                ways[served.way] = {"detail": served.detail, "equal": served.ask("equal")}
            except WorkerError as error:
                crew.dismiss(served, str(error))
        for rows in REQUEST_ROWS:
            progress.step(f"model {model}, {rows} rows")
            turn = partial(_ask, rows=rows, at_least_s=plan.turn_s)
            found = crew.take_turns(plan.rounds, turn)
            for way, measured in found.items():
                ways[way][f"rows_{rows}"] = measured
        progress.step(f"model {model}, stages")
        stages = _measure_stages(plan, progress, crew)
        return {
            "ways": {way: facts for way, facts in ways.items() if way in crew.served},
            "reasons": crew.reasons,
            "stages": stages,
        }


def _measure_stages(plan: Plan, progress: Progress, crew: Crew) -> dict[str, Any]:
    """By rows; nothing where our handler does not serve, which is said here and then."""
    try:
        ours = crew.demand("ours")
        return {
            f"rows_{rows}": ours.ask("stages", rows=rows, at_least_s=10 * plan.turn_s)
            for rows in REQUEST_ROWS
        }
    except WorkerError as error:
        progress.say(f"no stages: {error}")
        return {}


def _ask(served: Served, *, rows: int, at_least_s: float) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("text", rows=rows, at_least_s=at_least_s)
    return found
