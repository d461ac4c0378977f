"""A run as tables: for the terminal and for Markdown alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.budgets import Verdict

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
            base = ways.get("sample", ways["ours"])[f"rows_{rows}"]["p50"]
            lines = [
                [
                    NAMES[way],
                    facts["detail"],
                    *_micros(facts[f"rows_{rows}"]),
                    f"{base / facts[f'rows_{rows}']['p50']:.1f}",
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
    names = ("parse", "encode", "predict", "rest", "dump")
    yield Table(
        section="One row and ten rows",
        title="where the time of this handler goes (µs, medians)",
        columns=("", *names, "sum"),
        rows=[
            [
                f"model {model}, {key.removeprefix('rows_')} rows",
                *(f"{stages[name]:.1f}" for name in names),
                f"{sum(stages[name] for name in names):.1f}",
            ]
            for model, found in section.items()
            for key, stages in found["stages"].items()
        ],
    )


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
            ratios = [
                f"{ways['capi']['p50'] / ways['ours']['p50']:.2f} ×" for ways in sizes.values()
            ]
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


def _rate(rows: int, found: Mapping[str, float] | None) -> str:
    if found is None:
        return "–"
    half = found["iqr"] / 2 / found["p50"]
    return f"{rows / found['p50'] * 1e3:.1f} ± {half:.0%}"


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
    yield Table(
        section="Start",
        title="import times (ms, by `-X importtime`)",
        columns=("", "total", "largest"),
        rows=[
            [what, f"{times['total']:.0f}", _largest(times, scale=1.0, but="total")]
            for what, times in section["imports"].items()
        ],
    )


def _largest(found: Mapping[str, float], *, scale: float = _MB, but: str = "") -> str:
    top = sorted(((v, k) for k, v in found.items() if k != but), reverse=True)[:5]
    return ", ".join(f"{name} {value / scale:.1f}" for value, name in top)


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
            rows=[[NAMES[way], *(_short(found[way]) for found in values.values())] for way in ways],
        )


def _short(found: Mapping[str, float]) -> str:
    return f"{found['p50']:.0f} ± {found['iqr'] / 2:.0f}"


def _budgets(verdicts: Sequence[Verdict]) -> Table:
    models = list(dict.fromkeys(verdict.model for verdict in verdicts))
    lines = []
    for what in dict.fromkeys(verdict.what for verdict in verdicts):
        of = {verdict.model: verdict for verdict in verdicts if verdict.what == what}
        lines.append([what, *(_verdict(of[model]) for model in models)])
    return Table(
        section="Budgets",
        title="each with its limit",
        columns=("", *(f"model {model}" for model in models)),
        rows=lines,
    )


def _verdict(verdict: Verdict) -> str:
    if verdict.value is None:
        return f"not measured ({verdict.limit})"
    word = "met" if verdict.met else "not met"
    return f"{verdict.value:.3g} {verdict.unit}".strip() + f", {word} ({verdict.limit})"
