"""The budgets, and whether a run met them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench.concurrency import INTERPRETER
from bench.starts import DOORS, LIBRARY

_BATCH_ROWS = 1_000
_MB = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """What one number may be.

    Attributes:
        key: by which `bench.remarks` names it.
        what: is measured.
        limits: for the models a, b and c; one where all have the same.
        at_least: whether the limit is a lower bound.
        measure: the number in the sections of a run, for a model; KeyError where there is none.
        unit: of number and limits.
        slack: how far the number lies from what is true, by its own spread; a limit that is 1 by
            nature is met when it lies within.
    """

    key: str
    what: str
    limits: tuple[float, ...]
    at_least: bool
    measure: Callable[[Mapping[str, Any], str], float]
    unit: str = "×"
    slack: Callable[[Mapping[str, Any], str], float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """A budget and one model's number.

    Attributes:
        key: of the budget.
        what: is measured.
        model: by its name.
        limit: as text, with its direction.
        value: None where it was not measured.
        slack: see `Budget`.
        unit: of the value.
        met: whether it is within the limit; None where it was not measured.
    """

    key: str
    what: str
    model: str
    limit: str
    value: float | None
    slack: float
    unit: str
    met: bool | None

    def to_json(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)


def judge(
    sections: Mapping[str, Any],
    models: Sequence[str],
    budgets: "Sequence[Budget] | None" = None,
) -> list[Verdict]:
    """Each budget's verdict for each model; one that is none of a, b and c has the limits of a.

    Args:
        sections: of a run, by name.
        models: to judge.
        budgets: `BUDGETS` where None.
    """
    return [
        _judge(budget, sections, model)
        for budget in (BUDGETS if budgets is None else budgets)
        for model in models
    ]


def _judge(budget: Budget, sections: Mapping[str, Any], model: str) -> Verdict:
    limit = budget.limits[max(0, "abc".find(model)) % len(budget.limits)]
    value, slack, met = None, 0.0, None
    try:
        value = budget.measure(sections, model)
        slack = budget.slack(sections, model) if budget.slack else 0.0
    except (KeyError, ValueError, ZeroDivisionError):  # not in this run
        pass
    else:
        met = value + slack >= limit if budget.at_least else value - slack <= limit
    return Verdict(
        key=budget.key,
        what=budget.what,
        model=model,
        limit=f"{'≥' if budget.at_least else '≤'} {limit:g} {budget.unit}".strip(),
        value=value,
        slack=slack,
        unit=budget.unit,
        met=met,
    )


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
    """Both doors and our own code; XGBoost's library where this model's bundle needs it."""
    installed = sections["starts"]["installed"]
    parts = list(DOORS)
    if sections["rows"][model]["ways"]["ours"]["detail"].startswith("XGBoostEngine"):
        parts.append(LIBRARY)
    return float(sum(installed[part]["bytes"] for part in parts)) / _MB


def _least_concurrent(sections: Mapping[str, Any], model: str) -> Mapping[str, float]:
    """The least ratio over all doors, rows, threads and numbers of callers above one."""
    ratios: list[Mapping[str, float]] = [
        found["ratio"]
        for run in sections["concurrency"][model].values()
        for name, cell in run.items()
        if not name.startswith(INTERPRETER)
        for callers, found in cell.items()
        if callers != "callers_1"
    ]
    return min(ratios, key=lambda ratio: ratio["p50"])


def _consumers(sections: Mapping[str, Any], model: str) -> float:
    """The least of what several consumers get over the bus, all together, against one alone."""
    latency = dict(sections["bus"][model]["bench.Ours"]["latency"])
    alone = latency.pop("consumers_1")["per_second"]
    return min(float(found["per_second"] / alone) for found in latency.values())


BUDGETS: tuple[Budget, ...] = (
    Budget(
        key="equality",
        what="equal to XGBoost to the bit (1 is yes)",
        limits=(1,),
        at_least=True,
        measure=_equal,
        unit="",
    ),
    Budget(
        key="rows",
        what="one row, JSON to JSON, against the sample",
        limits=(300, 250, 50),
        at_least=True,
        measure=_against_sample,
    ),
    Budget(
        key="batches",
        what="batches of 1 000 rows and more, same threads, against XGBoost's C API: the least",
        limits=(1.4, 2, 1),
        at_least=True,
        measure=_batches,
    ),
    Budget(
        key="concurrency",
        what="several threads of one process, all together against one alone: the least",
        limits=(1,),
        at_least=True,
        measure=lambda sections, model: _least_concurrent(sections, model)["p50"],
        slack=lambda sections, model: _least_concurrent(sections, model)["iqr"] / 2,
    ),
    Budget(
        key="consumers",
        what="several consumers over the bus, all together against one alone: the least",
        limits=(1,),
        at_least=True,
        measure=_consumers,
    ),
    Budget(
        key="warm",
        what="emulator, warm, against an empty function",
        limits=(1.10, 1.25, 1.35),
        at_least=False,
        measure=_lambda("warm_ms"),
    ),
    Budget(
        key="cold",
        what="first invocation, against an empty function",
        limits=(1.25,),
        at_least=False,
        measure=_lambda("cold_ms"),
    ),
    Budget(
        key="memory",
        what="resident memory, Lambda, against an empty function",
        limits=(1.1, 1.5, 1.5),
        at_least=False,
        measure=_lambda("rss_bytes"),
    ),
    Budget(
        key="bus",
        what="request to reply over the bus, p50, against an echo component",
        limits=(1.10,),
        at_least=False,
        measure=_bus,
    ),
    Budget(
        key="installed",
        what="installed beyond the interpreter, both doors",
        limits=(16,),
        at_least=False,
        measure=_installed,
        unit="MB",
    ),
)
"""What `make image` measures, the image and its layers, is not here."""
