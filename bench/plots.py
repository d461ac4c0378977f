"""The run as pictures: small PNG files with all units on the axes."""

import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

from bench.plan import WAYS
from bench.stages import STAGES

_STYLE = {
    "axes.grid": True,
    "grid.alpha": 0.3,
    "font.size": 8,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "lines.markersize": 3.5,
    "lines.linewidth": 1.3,
}
_DPI = 90
_NAMES = {
    "sample": "the sample (pandas)",
    "inplace": "inplace_predict",
    "capi": "XGBoost's C API",
    "ours": "this project",
    "onnx": "ONNX Runtime",
    "tl2cgen": "tl2cgen",
    "mlserver": "MLServer's runtime",
}
_COLOURS = {way: f"C{at}" for at, way in enumerate(WAYS)}
_COMPONENTS = {
    "bench.Echo": "echo",
    "bench.Ours": "this component",
    "bench.Unbatched": "one request at a time",
}
_LEVELS = (0.5, 0.75, 0.9, 0.95, 0.99, 0.999)


@dataclass(frozen=True, slots=True)
class Picture:
    """A file, and the section of the tables that it belongs to."""

    section: str
    title: str
    path: Path


def draw(sections: Mapping[str, Any], folder: Path) -> list[Picture]:
    """Writes a picture for whatever the sections have to show."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    with mpl.rc_context(_STYLE):
        for name, (section, title, paint) in _PAINTERS.items():
            figure = paint(sections)
            if figure is not None:
                for axis in figure.axes:
                    _make_logarithmic(axis)
                path = folder / f"{name}.png"
                figure.savefig(path, dpi=_DPI, metadata={"Software": None})
                written.append(Picture(section, title, path))
    return written


def copy_picture(picture: Picture, folder: Path) -> Picture:
    """The same picture in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    return replace(picture, path=Path(shutil.copy(picture.path, folder)))


def _figure(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple[Figure, list[list[Any]]]:
    width, height = size
    figure = Figure(figsize=(width * columns, height * rows + 0.4), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(line) for line in axes]


def _legend(figure: Figure, axes: Sequence[Any]) -> None:
    """One legend above all panels, each label once."""
    found: dict[str, Any] = {}
    for axis in axes:
        handles, labels = axis.get_legend_handles_labels()
        found.update(zip(labels, handles, strict=True))
    figure.legend(
        found.values(), found.keys(), loc="outside upper center", ncols=min(7, len(found) or 1)
    )


def _number_axis(axis: Any, values: Sequence[float]) -> None:
    """A logarithmic x axis with a tick at each value."""
    axis.set_xscale("log")
    axis.xaxis.set_major_locator(FixedLocator(sorted(set(values))))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))


def _make_logarithmic(axis: Any) -> None:
    """Plain numbers, for which no fonts of mathematics are looked for."""
    for side in (axis.xaxis, axis.yaxis):
        if side.get_scale() == "log" and not isinstance(side.get_major_formatter(), FuncFormatter):
            side.set_major_formatter(FuncFormatter(lambda value, _: _short(value)))
            side.set_minor_formatter(NullFormatter())


def _plain(value: float) -> str:
    """Three digits at least, and never an exponent."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float) -> str:
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _after(text: str) -> int:
    """The number behind a key's underscore."""
    return int(text.rpartition("_")[2])


def _draw_rows(sections: Mapping[str, Any]) -> Figure | None:
    """One row in each way, and the shares of the stages of ours."""
    section = sections.get("rows")
    if not section:
        return None
    ways = [way for way in WAYS if any(way in found["ways"] for found in section.values())]
    figure, axes = _figure(1, len(section) + 1, (3.0, 2.8))
    for at, ((model, found), axis) in enumerate(zip(section.items(), axes[0], strict=False)):
        for place, way in enumerate(ways):
            if way in found["ways"]:
                facts = found["ways"][way]["rows_1"]
                axis.barh(place, facts["p50"], xerr=facts["iqr"] / 2, color=_COLOURS[way])
                axis.annotate(
                    _plain(facts["p50"]),
                    (facts["p50"], place),
                    (4, 0),
                    textcoords="offset points",
                    va="center",
                )
            else:
                axis.annotate("–", (1, place), va="center")
        axis.set_yticks(range(len(ways)), [_NAMES[way] for way in ways] if at == 0 else [])
        axis.set(title=f"model {model}", xlabel="one row, p50 (µs)", xscale="log")
        axis.set_xlim(1, 15 * max(facts["rows_1"]["p50"] for facts in found["ways"].values()))
        axis.invert_yaxis()
    _draw_stages(axes[0][-1], section)
    return figure


def _draw_stages(axis: Any, section: Mapping[str, Any]) -> None:
    measured = {m: found["stages"]["rows_1"] for m, found in section.items() if found["stages"]}
    below = dict.fromkeys(measured, 0.0)
    for at, stage in enumerate(STAGES):
        shares = {m: 100 * stages[stage] / sum(stages.values()) for m, stages in measured.items()}
        axis.bar(
            [f"{m}: {_plain(sum(measured[m].values()))} µs" for m in measured],
            list(shares.values()),
            bottom=list(below.values()),
            label=stage,
            color=f"C{at}",
        )
        below = {m: below[m] + shares[m] for m in measured}
    axis.set(title="this project: where the time goes", ylabel="share (%)", ylim=(0, 128))
    axis.set_yticks(range(0, 101, 20))
    if measured:
        axis.legend(loc="upper center", ncols=len(STAGES), columnspacing=0.8, handlelength=1)


def _draw_latency(sections: Mapping[str, Any]) -> Figure | None:
    """How long one request takes, by the share of requests that take no longer."""
    section = sections.get("rows")
    if not section:
        return None
    figure, axes = _figure(1, len(section), (3.6, 3.0))
    for (model, found), axis in zip(section.items(), axes[0], strict=True):
        for way, facts in found["ways"].items():
            kept = {float(level): us for level, us in facts["rows_1"]["quantiles"].items()}
            points = [(_place(level), kept[level]) for level in _LEVELS if level in kept]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", label=_NAMES[way], color=_COLOURS[way])
        axis.set_xticks([_place(level) for level in _LEVELS], [f"{100 * n:g}" for n in _LEVELS])
        axis.set(
            title=f"model {model}",
            xlabel="share of requests that take no longer (%)",
            ylabel="one row (µs)",
            yscale="log",
        )
    _legend(figure, axes[0])
    return figure


def _place(level: float) -> float:
    """Where a quantile stands: each nine is as wide as the last one."""
    return -math.log10(1 - level)


def _draw_batches(sections: Mapping[str, Any]) -> Figure | None:
    """Rows a second over the size of a batch."""
    section = sections.get("batches")
    if not section:
        return None
    n_rows = max(len(runs) for runs in section.values())
    figure, axes = _figure(n_rows, len(section), (3.6, 2.6))
    for column, (model, runs) in enumerate(section.items()):
        for row, (key, run) in enumerate(runs.items()):
            axis = axes[row][column]
            for way in run["details"]:
                points = [
                    (_after(size), _after(size) / found[way]["p50"] * 1e3)
                    for size, found in run["sizes"].items()
                    if way in found
                ]
                if points:
                    axis.plot(
                        *zip(*points, strict=True), "o-", label=_NAMES[way], color=_COLOURS[way]
                    )
            axis.set(
                title=f"model {model}, threads: {_after(key)}",
                xlabel="rows in a batch",
                ylabel="thousand rows a second",
                yscale="log",
            )
            _number_axis(axis, [_after(size) for size in run["sizes"]])
    _legend(figure, [axis for line in axes for axis in line])
    return figure


def _draw_bus(sections: Mapping[str, Any]) -> Figure | None:
    """Latency over consumers, and answers a second over requests in flight."""
    section = sections.get("bus")
    if not section:
        return None
    figure, axes = _figure(2, len(section), (3.6, 2.4))
    for column, (model, found) in enumerate(section.items()):
        above, below = axes[0][column], axes[1][column]
        for name, label in _COMPONENTS.items():
            latency, window = found[name]["latency"], found[name]["window"]
            n = [_after(key) for key in latency]
            above.plot(n, [one["us"]["p50"] / 1e3 for one in latency.values()], "o-", label=label)
            sizes = [_after(key) for key in window]
            rates = [one["answered_per_second"] for one in window.values()]
            below.plot(sizes, rates, "o-", label=label)
            _number_axis(above, n)
            _number_axis(below, sizes)
        above.set(title=f"model {model}", xlabel="consumers", ylabel="one row, p50 (ms)")
        below.set(xlabel="requests in flight", ylabel="answers a second")
        above.set_ylim(0)
        below.set_ylim(0)
    _legend(figure, axes[0])
    return figure


def _draw_growth(sections: Mapping[str, Any]) -> Figure | None:
    """One row over each dimension of a model; a batch over its rows; the bus over its clients."""
    panels: list[Callable[[Any], None]] = [
        *_growth_panels(sections.get("growth", {})),
        *_other_panels(sections),
    ]
    if not panels:
        return None
    columns = min(3, len(panels))
    figure, axes = _figure(math.ceil(len(panels) / columns), columns, (3.6, 2.6))
    flat = [axis for line in axes for axis in line]
    for paint, axis in zip(panels, flat, strict=False):
        paint(axis)
        axis.legend(fontsize=7)
    for axis in flat[len(panels) :]:
        axis.set_visible(False)
    return figure


def _growth_panels(section: Mapping[str, Any]) -> Iterator[Callable[[Any], None]]:
    for dimension, values in section.items():
        if not values:
            continue

        def paint(axis: Any, dimension: str = dimension, values: Any = values) -> None:
            for way in ("inplace", "capi", "ours"):
                points = [
                    (max(1, int(value)), found[way]["p50"], found[way]["iqr"] / 2)
                    for value, found in values.items()
                    if way in found
                ]
                if points:
                    x, y, error = zip(*points, strict=True)
                    axis.errorbar(x, y, error, fmt="o-", label=_NAMES[way], color=_COLOURS[way])
            axis.set(xlabel=dimension, ylabel="one row, p50 (µs)", yscale="log")
            _number_axis(axis, [max(1, int(value)) for value in values])

        yield paint


def _other_panels(sections: Mapping[str, Any]) -> Iterator[Callable[[Any], None]]:
    if batches := sections.get("batches"):
        yield lambda axis: _paint_rows(axis, batches)
    if bus := sections.get("bus"):
        yield lambda axis: _paint_clients(axis, bus)


def _paint_rows(axis: Any, section: Mapping[str, Any]) -> None:
    for model, runs in section.items():
        sizes = next(iter(runs.values()))["sizes"]
        points = [
            (_after(k), found["ours"]["p50"]) for k, found in sizes.items() if "ours" in found
        ]
        if points:
            axis.plot(*zip(*points, strict=True), "o-", label=f"model {model}")
            _number_axis(axis, [rows for rows, _ in points])
    axis.set(xlabel="rows in a batch, this project", ylabel="batch, p50 (µs)", yscale="log")


def _paint_clients(axis: Any, section: Mapping[str, Any]) -> None:
    for model, found in section.items():
        latency = found["bench.Ours"]["latency"]
        n = [_after(key) for key in latency]
        axis.plot(
            n, [one["us"]["p50"] / 1e3 for one in latency.values()], "o-", label=f"model {model}"
        )
        _number_axis(axis, n)
    axis.set(xlabel="clients on the bus, this project", ylabel="one row, p50 (ms)")
    axis.set_ylim(0)


_PAINTERS: dict[str, tuple[str, str, Callable[[Mapping[str, Any]], Figure | None]]] = {
    "rows": ("One row and ten rows", "One row in each way, and the stages of ours", _draw_rows),
    "latency": ("One row and ten rows", "The distribution of latencies, one row", _draw_latency),
    "batches": ("Batches", "Rows a second over the size of a batch", _draw_batches),
    "bus": ("Over the bus", "Consumers, and requests in flight", _draw_bus),
    "growth": ("Growth", "Growth of the model, of batches, of clients", _draw_growth),
}
