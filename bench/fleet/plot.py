"""The timeline of a run: who answered on which device, when."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bench.fleet.job import State
from bench.fleet.phase import Phase

_STYLE = {"font.size": 8, "axes.titlesize": 9, "legend.fontsize": 8}
_DPI = 110
_OLD, _NEW, _OTHER = "#8fb8de", "#5aa469", "#c0392b"
_TOLD = "#222222"
_MARKS = {State.SUCCEEDED: ("✓", "#2e7d32"), State.FAILED: ("✗", "#c62828")}
_BAR = 0.62
_LEAST_S = 0.05
"""How wide a single answer is drawn."""


def draw_timeline(phases: Mapping[str, Phase], path: Path) -> None:
    """Writes a PNG with a panel for each phase, beside each other.

    Args:
        phases: by title.
        path: of the file.

    Raises:
        OSError: it cannot be written.
    """
    n_devices = max(len(phase.devices) for phase in phases.values())
    ends = [phase.until_s for phase in phases.values()]
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(10, 1.6 + 0.19 * n_devices), layout="constrained")
        axes = figure.subplots(
            1, len(phases), sharey=True, squeeze=False, width_ratios=[max(end, 3) for end in ends]
        )[0]
        for axis, (title, phase), end in zip(axes, phases.items(), ends, strict=True):
            _paint(axis, phase)
            axis.set(title=title, xlabel="time (s)", xlim=(0, end))
            axis.grid(axis="x", alpha=0.3)
        names = [device.name for device in next(iter(phases.values())).devices]
        axes[0].set_yticks(range(len(names)), names)
        axes[0].invert_yaxis()
        figure.legend(handles=_legend(list(phases.values())), loc="outside upper center", ncols=5)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI, metadata={"Software": None})


def _paint(axis: Any, phase: Phase) -> None:
    colours = {phase.before: _OLD, phase.model: _NEW}
    for at, device in enumerate(phase.devices):
        for span in device.spans:
            width = max(span.end_s - span.start_s, _LEAST_S)
            colour = colours.get(span.who, _OTHER)
            axis.barh(at, width, left=span.start_s, height=_BAR, color=colour, linewidth=0)
        if device.told_s is None:
            continue
        end = phase.seconds if device.ended_s is None else device.ended_s
        axis.barh(
            at,
            end - device.told_s,
            left=device.told_s,
            height=0.95,
            fill=False,
            edgecolor=_TOLD,
            linewidth=0.8,
        )
        mark, colour = _MARKS.get(device.state, ("?", _OTHER))
        middle = (device.told_s + end) / 2
        axis.text(middle, at, mark, ha="center", va="center_baseline", color=colour, weight="bold")


def _legend(phases: Sequence[Phase]) -> list[Patch]:
    handles = [
        Patch(color=_OLD, label=f"{phases[0].before} answers"),
        Patch(color=_NEW, label="the new model answers"),
        Patch(facecolor="white", edgecolor="#bbbbbb", label="no answer"),
        Patch(fill=False, edgecolor=_TOLD, label="the deployment: ✓ succeeded, ✗ rolled back"),
    ]
    known = {name for phase in phases for name in (phase.before, phase.model)}
    if any(set(device.answers) - known for phase in phases for device in phase.devices):
        handles.append(Patch(color=_OTHER, label="an error, or another model"))
    return handles
