"""The run as pictures, beside its JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from bench.tables import NAMES

_STAGES = ("parse", "encode", "predict", "rest", "dump")
_COMPONENTS = ("bench.Echo", "bench.Ours", "bench.Unbatched")


def draw(sections: Mapping[str, Any], folder: Path) -> list[Path]:
    """The files written, one for each section that has something to show."""
    painters = {
        "rows": _draw_rows,
        "batches": _draw_batches,
        "bus": _draw_bus,
        "growth": _draw_growth,
    }
    written = []
    with mpl.rc_context({"axes.grid": True, "grid.alpha": 0.3, "font.size": 8}):
        for name, paint in painters.items():
            if not sections.get(name) or (name == "growth" and not any(sections[name].values())):
                continue
            figure = paint(sections[name])
            path = folder / f"{name}.png"
            figure.savefig(path, dpi=120)
            written.append(path)
    return written


def _figure(columns: int, width: float = 4.5) -> tuple[Figure, Sequence[Any]]:
    figure = Figure(figsize=(width * columns, 3.8), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])


def _draw_rows(section: Mapping[str, Any]) -> Figure:
    """One row in each way, and the stages of ours."""
    figure, axes = _figure(len(section) + 1)
    for (model, found), axis in zip(section.items(), axes, strict=False):
        ways = list(found["ways"].items())
        values = [facts["rows_1"]["p50"] for _, facts in ways]
        errors = [facts["rows_1"]["iqr"] / 2 for _, facts in ways]
        axis.barh([NAMES[way] for way, _ in ways], values, xerr=errors)
        axis.set(title=f"model {model}, one row (µs)", xscale="log")
        axis.invert_yaxis()
    last = axes[-1]
    models = [f"model {model}" for model in section]
    below = [0.0] * len(models)
    for stage in _STAGES:
        values = [found["stages"]["rows_1"][stage] for found in section.values()]
        last.bar(models, values, bottom=below, label=stage)
        below = [a + b for a, b in zip(below, values, strict=True)]
    last.set(title="this handler, one row: stages (µs)")
    last.legend()
    return figure


def _draw_batches(section: Mapping[str, Any]) -> Figure:
    """Rows a second over the size of a batch."""
    panels = [(model, key, run) for model, runs in section.items() for key, run in runs.items()]
    figure, axes = _figure(len(panels), 3.6)
    for (model, key, run), axis in zip(panels, axes, strict=True):
        for way in run["details"]:
            points = [
                (int(size.removeprefix("rows_")), found[way])
                for size, found in run["sizes"].items()
                if way in found
            ]
            rows = [n for n, _ in points]
            axis.plot(rows, [n / found["p50"] * 1e3 for n, found in points], "o-", label=NAMES[way])
        axis.set(
            title=f"model {model}, {key.replace('_', ': ')}",
            xlabel="rows in a batch",
            ylabel="thousand rows a second",
            xscale="log",
            yscale="log",
        )
    axes[0].legend(fontsize=6)
    return figure


def _draw_bus(section: Mapping[str, Any]) -> Figure:
    """Latency over consumers, and answers a second over requests in flight."""
    figure, axes = _figure(2 * len(section), 3.6)
    for at, (model, found) in enumerate(section.items()):
        latency, window = axes[2 * at], axes[2 * at + 1]
        for name in _COMPONENTS:
            facts = found[name]
            label = name.removeprefix("bench.")
            counts = [int(key.removeprefix("consumers_")) for key in facts["latency"]]
            values = [one["us"]["p50"] / 1e3 for one in facts["latency"].values()]
            latency.plot(counts, values, "o-", label=label)
            sizes = [int(key.removeprefix("in_flight_")) for key in facts["window"]]
            rates = [one["answered_per_second"] for one in facts["window"].values()]
            window.plot(sizes, rates, "o-", label=label)
        latency.set(title=f"model {model}: p50 (ms)", xlabel="consumers", ylim=(0, None))
        window.set(title="answers a second", xlabel="in flight", xscale="log", ylim=(0, None))
        latency.legend()
    return figure


def _draw_growth(section: Mapping[str, Any]) -> Figure:
    """One row over each dimension of a model."""
    figure, axes = _figure(len(section))
    for (dimension, values), axis in zip(section.items(), axes, strict=True):
        sizes = [max(1, int(value)) for value in values]
        for way in ("inplace", "capi", "ours"):
            points = [
                (size, found[way]["p50"], found[way]["iqr"] / 2)
                for size, found in zip(sizes, values.values(), strict=True)
                if way in found
            ]
            x, y, error = zip(*points, strict=True)
            axis.errorbar(x, y, yerr=error, fmt="o-", label=NAMES[way])
        axis.set(title="one row (µs, p50)", xlabel=dimension, xscale="log", yscale="log")
    axes[0].legend(fontsize=6)
    return figure
