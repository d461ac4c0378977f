"""The budgets, and whether a run met them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_BATCH_ROWS = 1_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one number may be.

    Attributes:
        what: is measured.
        limits: for the models a, b and c; one where all have the same.
        at_least: whether the limit is a lower bound.
        measure: the number in the sections of a run, for a model; KeyError where there is none.
    """

    what: str
    limits: tuple[float, ...]
    at_least: bool
    measure: Callable[[Mapping[str, Any], str], float]
    unit: str = "×"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A budget and one model's number; `met` is None where it was not measured."""

    what: str
    model: str
    limit: str
    value: float | None
    unit: str
    met: bool | None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge(sections: Mapping[str, Any], models: Sequence[str]) -> list[Verdict]:
    """Each budget's verdict for each of the models a, b and c that were measured."""
    found = []
    for budget in BUDGETS:
        for at, model in enumerate("abc"):
            if model not in models:
                continue
            limit = budget.limits[at % len(budget.limits)]
            try:
                value = budget.measure(sections, model)
            except (KeyError, ValueError):
                value = None
            met = None
            if value is not None:
                met = value >= limit if budget.at_least else value <= limit
            sign = "≥" if budget.at_least else "≤"
            found.append(
                Verdict(
                    what=budget.what,
                    model=model,
                    limit=f"{sign} {limit:g} {budget.unit}".strip(),
                    value=value,
                    unit=budget.unit,
                    met=met,
                )
            )
    return found


def _equal(sections: Mapping[str, Any], model: str) -> float:
    found = sections["rows"][model]["ways"]["ours"]["equal"]
    return float(found["equal"] and found["replies"]["equal"])


def _against_sample(sections: Mapping[str, Any], model: str) -> float:
    ways = sections["rows"][model]["ways"]
    return float(ways["sample"]["rows_1"]["p50"] / ways["ours"]["rows_1"]["p50"])


def _batches(sections: Mapping[str, Any], model: str) -> float:
    """The least ratio over all large batches and counts of threads."""
    return min(
        float(found["capi"]["p50"] / found["ours"]["p50"])
        for run in sections["batches"][model].values()
        for size, found in run["sizes"].items()
        if int(size.removeprefix("rows_")) >= _BATCH_ROWS
    )


def _lambda(field: str) -> Callable[[Mapping[str, Any], str], float]:
    def measure(sections: Mapping[str, Any], model: str) -> float:
        found = sections["invocations"][model]
        ours, empty = found["ours"][field], found["empty"][field]
        if isinstance(ours, dict):
            ours, empty = ours["p50"], empty["p50"]
        return float(ours / empty)

    return measure


def _bus(sections: Mapping[str, Any], model: str) -> float:
    found = sections["bus"][model]
    ours, echo = (
        found[name]["latency"]["consumers_1"]["us"]["p50"] for name in ("bench.Ours", "bench.Echo")
    )
    return float(ours / echo)


def _installed(sections: Mapping[str, Any], model: str) -> float:
    """Both doors and our own code; the engine's library where this model's bundle needs it."""
    installed = sections["starts"]["installed"]
    parts = ["the Lambda door", "the device door", "our own code"]
    if sections["rows"][model]["ways"]["ours"]["detail"] == "XGBoostEngine":
        parts.append("the engine's library")
    return float(sum(installed[part]["bytes"] for part in parts)) / _MB


BUDGETS: tuple[Budget, ...] = (
    Budget(
        what="equal to XGBoost to the bit (1 is yes)",
        limits=(1,),
        at_least=True,
        measure=_equal,
        unit="",
    ),
    Budget(
        what="one row, JSON to JSON, against the sample",
        limits=(300, 250, 50),
        at_least=True,
        measure=_against_sample,
    ),
    Budget(
        what="batches of 1 000 rows and more, same threads, against XGBoost's C API: the least",
        limits=(1.4, 2, 1),
        at_least=True,
        measure=_batches,
    ),
    Budget(
        what="emulator, warm, against an empty function",
        limits=(1.10, 1.25, 1.35),
        at_least=False,
        measure=_lambda("warm_ms"),
    ),
    Budget(
        what="first invocation, against an empty function",
        limits=(1.25,),
        at_least=False,
        measure=_lambda("cold_ms"),
    ),
    Budget(
        what="resident memory, Lambda, against an empty function",
        limits=(1.1, 1.5, 1.5),
        at_least=False,
        measure=_lambda("rss_bytes"),
    ),
    Budget(
        what="request to reply over the bus, p50, against an echo component",
        limits=(1.10,),
        at_least=False,
        measure=_bus,
    ),
    Budget(
        what="installed beyond the interpreter, both doors",
        limits=(16,),
        at_least=False,
        measure=_installed,
        unit="MB",
    ),
)
"""What `make image` measures, the image and its layers, is not here."""
