"""Answers a second, memory, and faults over time."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.faults.report import tell_device


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes two panels for each run: what was answered, and what processes held."""
    figure = Figure(figsize=(10, 0.4 + 4.4 * max(1, len(runs))), layout="constrained")
    axes = figure.subplots(2 * len(runs), 1, squeeze=False)[:, 0]
    for run, answers, memory in zip(runs, axes[::2], axes[1::2], strict=True):
        _draw_answers(run, answers)
        _draw_memory(run, memory)
        for axis in (answers, memory):
            for window in run["windows"]:
                end_s = window["recovered_s"] or run["seconds"]
                axis.axvspan(window["began_s"], end_s, color="C3", alpha=0.15, linewidth=0)
            axis.set(xlim=(0, run["seconds"]), ylim=(0, None))
            axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    return path


def _draw_answers(run: Mapping[str, Any], axis: Axes) -> None:
    seconds = range(int(run["seconds"]))
    answers = [run["per_second"].get(str(second), 0) for second in seconds]
    axis.fill_between(seconds, answers, step="post", linewidth=0, alpha=0.8)
    title = f"{tell_device(run)}: answers a second, and faults until their recovery (red)"
    axis.set(title=title, ylabel="answers a second")


def _draw_memory(run: Mapping[str, Any], axis: Axes) -> None:
    """A line for each role, which is broken where another process takes over."""
    for color, (role, points) in enumerate(run["memory"].items()):
        label: str | None = role
        for _, those in groupby(points, lambda point: point[1]):
            at_s, _, mib = zip(*those, strict=True)
            axis.plot(at_s, mib, color=f"C{color}", linewidth=1.0, label=label)
            label = None
    axis.set(xlabel="seconds", ylabel="MiB in memory")
    axis.legend(loc="upper left", ncols=4, fontsize="small")
