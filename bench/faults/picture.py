"""Answers a second and faults over time."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(runs: Sequence[Mapping[str, Any]], path: Path) -> Path:
    """Writes a panel for each run."""
    figure = Figure(figsize=(10, 0.4 + 2.6 * max(1, len(runs))), layout="constrained")
    for run, axis in zip(runs, figure.subplots(len(runs), 1, squeeze=False)[:, 0], strict=True):
        seconds = range(int(run["seconds"]))
        answers = [run["per_second"].get(str(second), 0) for second in seconds]
        axis.fill_between(seconds, answers, step="post", linewidth=0, alpha=0.8)
        for window in run["windows"]:
            end_s = window["recovered_s"] or run["seconds"]
            axis.axvspan(window["began_s"], end_s, color="C3", alpha=0.2, linewidth=0)
        axis.set(
            title=f"{run['personality']}: answers a second, and faults until their recovery (red)",
            xlabel="seconds",
            ylabel="answers a second",
            xlim=(0, run["seconds"]),
            ylim=(0, None),
        )
        axis.grid(alpha=0.3)
    figure.savefig(path, dpi=90, metadata={"Software": None})
    return path
