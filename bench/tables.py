"""A run as tables: for the terminal and for Markdown alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.budgets import Verdict
from bench.stages import STAGES

NAMES = {
    "bare Python": "bare Python",
    "sample": "the sample: pandas + the scikit-learn wrapper",
    "inplace": "json + Booster.inplace_predict",
    "capi": "this handler over XGBoost's C API",
    "ours": "this handler, the bundle's engine",
    "onnx": "json + ONNX Runtime",
    "tl2cgen": "json + tl2cgen",
    "mlserver": "MLServer's XGBoost runtime, in-process",
}
_COMPONENTS = {
    "bench.Echo": "echo",
    "bench.Ours": "this component",
    "bench.Unbatched": "the same, one request at a time",
}
_MB = 1_000_000
_PACKAGES = 6
"""Of each import."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Cells as text; the first column is of words, the others of numbers."""

    section: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def to_tables(sections: Mapping[str, Any], verdicts: Sequence[Verdict]) -> list[Table]:
    """All tables of a run, in the order of its sections."""
    writers = {
        "rows": _rows,
        "batches": _batches,
        "concurrency": _concurrency,
        "starts": _starts,
        "invocations": _invocations,
        "bus": _bus,
        "growth": _growth,
    }
    found = [
        table
        for name, write in writers.items()
        if name in sections
        for table in write(sections[name])
    ]
    if verdicts:
        found.append(_budgets(verdicts))
    return found


def equality(found: Mapping[str, Any]) -> str:
    """How near a way is to XGBoost, in words: outputs, and the values in replies."""
    parts = [part for part in (found, found["replies"]) if part is not None]
    if all(part["equal"] for part in parts):
        return "to the bit"
    worst = max(parts, key=lambda part: float(part["max_relative"]))
    return f"off in {worst['differing']:.0%}, up to {worst['max_relative']:.0e}"


def _rows(section: Mapping[str, Any]) -> Iterator[Table]:
    for model, found in section.items():
        ways = found["ways"]
        for rows, label in ((1, "one row"), (10, "ten rows")):
            base = _base(ways, f"rows_{rows}")
            lines = [
                [
                    NAMES[way],
                    facts["detail"],
                    *_micros(facts[f"rows_{rows}"]),
                    _ratio(base, facts[f"rows_{rows}"]["p50"], digits=1),
                    equality(facts["equal"]),
                ]
                for way, facts in ways.items()
            ]
            lines += [[NAMES[way], reason, *["–"] * 6] for way, reason in found["reasons"].items()]
            yield Table(
                section="One row and ten rows",
                title=f"model {model}, {label}, JSON text to JSON text (µs)",
                columns=("", "with", "p50", "IQR", "p99", "CPU", "× faster", "equal to XGBoost"),
                rows=lines,
            )
    yield Table(
        section="One row and ten rows",
        title="where the time of this handler goes (µs, medians, and the share)",
        columns=("", *STAGES, "sum"),
        rows=[
            _stages(f"model {model}, {key.removeprefix('rows_')} rows", stages)
            for model, found in section.items()
            for key, stages in found["stages"].items()
        ],
    )


def _base(ways: Mapping[str, Any], key: str) -> float | None:
    """The p50 of what the others are compared with."""
    for way in ("sample", "inplace"):
        if way in ways:
            return float(ways[way][key]["p50"])
    return None


def _ratio(dividend: float | None, divisor: float | None, digits: int = 2) -> str:
    return f"{dividend / divisor:.{digits}f}" if dividend and divisor else "–"


def _stages(what: str, stages: Mapping[str, float]) -> list[str]:
    total = sum(stages.values())
    shares = (f"{stages[name]:.1f} ({stages[name] / total:.0%})" for name in STAGES)
    return [what, *shares, f"{total:.1f}"]


def _micros(found: Mapping[str, float]) -> list[str]:
    return [f"{found[key]:.1f}" for key in ("p50", "iqr", "p99", "cpu_us")]


def _batches(section: Mapping[str, Any]) -> Iterator[Table]:
    for model, runs in section.items():
        for key, run in runs.items():
            sizes = {int(size.removeprefix("rows_")): ways for size, ways in run["sizes"].items()}
            lines = [
                [
                    NAMES[way],
                    run["details"][way],
                    *(_rate(rows, ways.get(way)) for rows, ways in sizes.items()),
                ]
                for way in run["details"]
            ]
            ratios = [_against(ways, "capi", "ours") for ways in sizes.values()]
            lines.append(["this engine against the C API", "", *ratios])
            lines += [
                [NAMES[way], reason, *["–"] * len(sizes)] for way, reason in run["reasons"].items()
            ]
            yield Table(
                section="Batches",
                title=f"model {model}, threads: {key.removeprefix('threads_')} "
                "(thousand rows a second, ± half the IQR)",
                columns=("", "with", *(f"{rows:,} rows".replace(",", " ") for rows in sizes)),
                rows=lines,
            )


def _against(ways: Mapping[str, Any], other: str, ours: str) -> str:
    p50 = {way: ways[way]["p50"] if way in ways else None for way in (other, ours)}
    return f"{_ratio(p50[other], p50[ours])} ×"


def _rate(rows: int, found: Mapping[str, float] | None) -> str:
    if found is None:
        return "–"
    half = found["iqr"] / 2 / found["p50"]
    return f"{rows / found['p50'] * 1e3:.1f} ± {half:.0%}"


def _concurrency(section: Mapping[str, Any]) -> Iterator[Table]:
    callers = list(
        dict.fromkeys(
            key
            for runs in section.values()
            for run in runs.values()
            for cell in run.values()
            for key in cell
        )
    )
    numbers = [key.removeprefix("callers_") for key in callers]
    for model, runs in section.items():
        yield Table(
            section="Several callers at once",
            title=f"model {model}, thousand rows a second of all callers together, "
            "and × a single caller (± half the IQR)",
            columns=("", *(f"callers: {number}" for number in numbers)),
            rows=[
                [
                    f"{cell.replace('_', ', ')} rows, threads: {key.removeprefix('threads_')}",
                    *(_together(found[callers_n]) for callers_n in callers),
                ]
                for key, run in runs.items()
                for cell, found in run.items()
            ],
        )


def _together(found: Mapping[str, Any]) -> str:
    ratio = found["ratio"]
    return f"{found['rate'] / 1e3:.1f} (× {ratio['p50']:.2f} ± {ratio['iqr'] / 2:.2f})"


def _starts(section: Mapping[str, Any]) -> Iterator[Table]:
    for model, found in section["models"].items():
        lines = [
            [
                NAMES[way],
                f"{facts['ms']['p50']:.0f}",
                f"{facts['ms']['iqr']:.0f}",
                f"{facts['rss_bytes'] / _MB:.1f}",
            ]
            for way, facts in found["ways"].items()
        ]
        lines += [[f"{NAMES[way]}: {why}", "–", "–", "–"] for way, why in found["reasons"].items()]
        yield Table(
            section="Start",
            title=f"model {model}, process start to first prediction",
            columns=("", "ms", "IQR", "resident MB"),
            rows=lines,
        )
    yield Table(
        section="Start",
        title="installed beyond the interpreter (MB, with dependencies)",
        columns=("", "MB", "largest"),
        rows=[
            [what, f"{facts['bytes'] / _MB:.1f}", _largest(facts["packages"])]
            for what, facts in section["installed"].items()
        ],
    )
    yield _imports(section["imports"])


def _imports(imports: Mapping[str, Mapping[str, float]]) -> Table:
    """The largest packages of each import, and the rest of it."""
    shown: dict[str, float] = {}
    for times in imports.values():
        ordered = sorted(times.items(), key=lambda item: -item[1])
        for name, ms in [item for item in ordered if item[0] != "total"][:_PACKAGES]:
            shown[name] = max(ms, shown.get(name, 0.0))
    names = sorted(shown, key=lambda name: -shown[name])
    rows = [[name, *(_ms(times.get(name)) for times in imports.values())] for name in names]
    rest = [
        times["total"] - sum(times.get(name, 0.0) for name in names) for times in imports.values()
    ]
    rows.append(["others", *(_ms(ms) for ms in rest)])
    rows.append(["all", *(_ms(times["total"]) for times in imports.values())])
    return Table(
        section="Start",
        title="import times, by package (ms, by `-X importtime`, which slows imports down)",
        columns=("", *imports),
        rows=rows,
    )


def _ms(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f}"


def _largest(found: Mapping[str, float]) -> str:
    top = sorted(((size, name) for name, size in found.items()), reverse=True)[:5]
    return ", ".join(f"{name} {size / _MB:.1f}" for size, name in top)


def _invocations(section: Mapping[str, Any]) -> Iterator[Table]:
    for model, found in section.items():
        empty = found["empty"]
        yield Table(
            section="Lambda, in the emulator",
            title=f"model {model}, one row",
            columns=(
                *("", "warm p50 ms", "IQR", "p99", "× empty", "first ms", "IQR", "× empty"),
                *("resident MB", "× empty"),
            ),
            rows=[
                [
                    {"ours": "this function", "empty": "empty", "sample": "the sample"}[name],
                    *(f"{facts['warm_ms'][key]:.2f}" for key in ("p50", "iqr", "p99")),
                    f"{facts['warm_ms']['p50'] / empty['warm_ms']['p50']:.2f}",
                    f"{facts['cold_ms']['p50']:.0f}",
                    f"{facts['cold_ms']['iqr']:.0f}",
                    f"{facts['cold_ms']['p50'] / empty['cold_ms']['p50']:.2f}",
                    f"{facts['rss_bytes'] / _MB:.1f}",
                    f"{facts['rss_bytes'] / empty['rss_bytes']:.2f}",
                ]
                for name, facts in found.items()
            ],
        )


def _bus(section: Mapping[str, Any]) -> Iterator[Table]:
    for model, found in section.items():
        echo = found["bench.Echo"]
        lines = []
        for key in echo["latency"]:
            base = echo["latency"][key]["us"]["p50"]
            for name, facts in found.items():
                one = facts["latency"][key]
                lines.append(
                    [
                        f"{_COMPONENTS[name]}, consumers: {key.removeprefix('consumers_')}",
                        *(f"{one['us'][field]:.0f}" for field in ("p50", "iqr", "p99")),
                        f"{one['us']['p50'] / base:.2f}",
                        f"{one['per_second']:.0f}",
                    ]
                )
        yield Table(
            section="Over the bus",
            title=f"model {model}, one row, request to reply (µs)",
            columns=("", "p50", "IQR", "p99", "× echo", "requests a second"),
            rows=lines,
        )
        windows = list(echo["window"])
        yield Table(
            section="Over the bus",
            title=f"model {model}, answers a second by requests in flight (share of `busy`)",
            columns=("", *(key.removeprefix("in_flight_") for key in windows)),
            rows=[
                [_COMPONENTS[name], *(_flood(facts["window"][key]) for key in windows)]
                for name, facts in found.items()
            ],
        )


def _flood(found: Mapping[str, float]) -> str:
    busy = f" ({found['busy_share']:.0%})" if found["busy_share"] else ""
    return f"{found['answered_per_second']:.0f}{busy}"


def _growth(section: Mapping[str, Any]) -> Iterator[Table]:
    for dimension, values in section.items():
        if not values:
            continue
        ways = next(iter(values.values()))
        yield Table(
            section="Growth",
            title=f"{dimension}: one row, JSON text to JSON text (µs, p50 ± half the IQR)",
            columns=("", *values),
            rows=[
                [NAMES[way], *(_short(found.get(way)) for found in values.values())] for way in ways
            ],
        )


def _short(found: Mapping[str, float] | None) -> str:
    if found is None:
        return "–"
    return f"{found['p50']:.0f} ± {found['iqr'] / 2:.0f}"


def _budgets(verdicts: Sequence[Verdict]) -> Table:
    return Table(
        section="Budgets",
        title="each with its limit; ratios of this run",
        columns=("", "model", "value", "limit", "verdict"),
        rows=[
            [verdict.what, verdict.model, _value(verdict), verdict.limit, _word(verdict)]
            for verdict in verdicts
        ],
    )


def _value(verdict: Verdict) -> str:
    if verdict.value is None:
        return "–"
    slack = f" ± {verdict.slack:.2f}" if verdict.slack else ""
    return f"{_digits(verdict.value)}{slack} {verdict.unit}".strip()


def _digits(value: float) -> str:
    """Three digits at least, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _word(verdict: Verdict) -> str:
    return {True: "met", False: "NOT MET", None: "not measured"}[verdict.met]
