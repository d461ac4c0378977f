"""Pictures of a trained model, as PNG files. Not shipped.

They are drawn on figures of their own, without pyplot: no display is needed, and the backend and
the open figures of a notebook stay as they are.
"""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from model.manifest import Scalar

TOP_FEATURES = 20
"""How many features the importance plot shows."""

_MAX_ANNOTATED = 20  # classes; beyond it the numbers in the cells could not be read
_DPI = 150
_INK = "#1f2933"
_MUTED = "#7b8794"
_BLUE = "#2f6db3"
_ORANGE = "#d9762b"


def draw_importance(gains: Mapping[str, float], path: Path, *, n_features: int) -> Path:
    """The PNG at `path`: the features that reduce the loss most, as bars.

    Args:
        gains: average loss reduction for each split on the feature, by its name, of the features
            that are split on at all.
        path: where to write.
        n_features: how many features the model has.

    Raises:
        OSError: the file cannot be written.
    """
    top = sorted(gains.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP_FEATURES]
    figure, (axes,) = _figure(8.0, max(2.6, 1.4 + 0.3 * len(top)), 1)
    shown = f"; the {len(top)} strongest are shown" if len(top) < len(gains) else ""
    note = f"the trees split on {len(gains)} of {n_features} features{shown}"
    _title(axes, "Which features reduce the loss most", note)
    if not top:
        axes.set_axis_off()
        _text(axes, 0.5, 0.5, "no tree has a split: each row gets the same prediction", size=11)
        return _save(figure, path)
    names = [_cut(name, 44) for name, _ in top]
    bars = axes.barh(range(len(top)), [gain for _, gain in top], color=_BLUE, height=0.7)
    axes.bar_label(
        bars, labels=[_short(gain) for _, gain in top], padding=4, color=_MUTED, fontsize=9
    )
    # A dollar sign in a name must not start a formula.
    axes.set_yticks(range(len(top)), names, parse_math=False)
    axes.set_ylim(max(len(top), 4) - 0.4, -0.6)  # from above; a lone bar stays a bar
    axes.margins(x=0.1)
    axes.xaxis.set_major_formatter("{x:,.6g}")
    axes.set_xlabel("gain: average loss reduction of a split")
    axes.grid(axis="x", color="#e4e7eb")
    axes.tick_params(axis="y", length=0)
    return _save(figure, path)


def draw_confusion(
    actual: Sequence[int], predicted: Sequence[int], labels: Sequence[Scalar], path: Path
) -> Path:
    """The PNG at `path`: how many rows of each true label got which predicted label.

    Args:
        actual: `(n,)` places in `labels`.
        predicted: `(n,)` likewise.
        labels: the class labels.
        path: where to write.

    Raises:
        OSError: the file cannot be written.
    """
    n = len(labels)
    counts = np.zeros((n, n), dtype=int)
    np.add.at(counts, (np.asarray(actual), np.asarray(predicted)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    smallest, largest = 0.4 if n <= _MAX_ANNOTATED else 0.15, 1.4 if n > 2 else 2.0  # inches
    cell = min(largest, max(smallest, 8.0 / n))
    figure, (axes,) = _figure(n * cell / 0.775, n * cell / 0.77, 1)
    correct = int(np.trace(counts))
    _title(
        axes,
        "True against predicted labels",
        f"{correct} of {len(actual)} held-out rows are right; shares are of the true label's rows",
    )
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    names = [_cut(str(label), 28) for label in labels]
    is_wide = max(map(len, names)) > 9 * cell  # letters that fit below a cell
    slant = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"} if is_wide else {}
    axes.set_xticks(range(n), names, parse_math=False, **slant)
    axes.set_yticks(range(n), names, parse_math=False)
    axes.set_xlabel("predicted label")
    axes.set_ylabel("true label")
    axes.tick_params(length=0, labelsize=min(10, 40 * cell))
    if n <= _MAX_ANNOTATED:
        for (row, column), count in np.ndenumerate(counts):
            share = shares[row, column]
            text = f"{count}\n{share:.0%}" if count else "0"
            color = "white" if share > 0.55 else _INK if count else _MUTED
            size = min(11, 16 * cell)
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=size)
    else:
        bar = figure.colorbar(image, ax=axes, fraction=0.046, pad=0.03, format="{x:.0%}")
        bar.set_label("share of the true label's rows")
        bar.outline.set_visible(False)
    return _save(figure, path)


def draw_residuals(
    actual: Sequence[float], predicted: Sequence[float], path: Path, *, target: str
) -> Path:
    """The PNG at `path`: predicted against true values, and how the errors are distributed.

    Args:
        actual: `(n,)` true values.
        predicted: `(n,)` values from the model.
        path: where to write.
        target: what is predicted, for the axes.

    Raises:
        OSError: the file cannot be written.
    """
    truth, found = np.asarray(actual, dtype=float), np.asarray(predicted, dtype=float)
    errors = found - truth
    figure, (left, right) = _figure(11.0, 4.81, 2)  # which makes both square
    _title(left, "Predicted against true values", f"{len(truth)} held-out rows")
    low, high = min(truth.min(), found.min()), max(truth.max(), found.max())
    margin = 0.04 * (high - low) or 1.0
    limits = (low - margin, high + margin)
    left.plot(limits, limits, color=_ORANGE, linewidth=1.5, label="predicted = true")
    left.scatter(truth, found, s=26, color=_BLUE, alpha=0.65, linewidths=0)
    left.set(xlim=limits, ylim=limits, aspect="equal")
    name = _cut(target, 28)
    left.set_xlabel(f"true {name}", parse_math=False)
    left.set_ylabel(f"predicted {name}", parse_math=False)
    left.legend(frameon=False, loc="upper left")
    left.grid(color="#e4e7eb")
    left.xaxis.set_major_formatter("{x:.6g}")
    left.yaxis.set_major_formatter("{x:.6g}")
    left.locator_params(nbins=6)
    rmse = float(np.sqrt(np.mean(errors**2)))
    _title(right, "Residuals", f"root mean square {rmse:.4g}, mean {float(errors.mean()):+.4g}")
    right.hist(errors, bins=min(30, max(8, len(errors) // 4)), color=_BLUE, edgecolor="white")
    right.axvline(0, color=_ORANGE, linewidth=1.5)
    right.set_xlabel(f"residual: predicted minus true {name}", parse_math=False)
    right.set_ylabel("rows")
    right.xaxis.set_major_formatter("{x:.6g}")
    right.locator_params(axis="x", nbins=6)
    right.yaxis.get_major_locator().set_params(integer=True)
    right.grid(axis="y", color="#e4e7eb")
    return _save(figure, path)


def _figure(width: float, height: float, columns: int) -> tuple[Figure, Sequence[Any]]:
    """A figure with its axes side by side, in this module's look.

    Args:
        width: of the figure in inches, without what labels need beyond it.
        height: likewise.
        columns: how many axes.
    """
    figure = Figure(figsize=(width, height), facecolor="white")
    all_axes = figure.subplots(1, columns, squeeze=False, gridspec_kw={"wspace": 0.3})[0]
    for axes in all_axes:
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set_color(_MUTED)
        axes.tick_params(colors=_INK)
        axes.set_axisbelow(True)
    return figure, all_axes


def _title(axes: Any, title: str, note: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", color=_INK, pad=24)
    axes.annotate(
        note,
        (0, 1),
        xytext=(0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        fontsize=9.5,
        color=_MUTED,
    )


def _short(number: float) -> str:
    """Three digits, in full where they are more."""
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _cut(text: str, limit: int) -> str:
    """The text, cut in the middle where it has more letters than `limit`."""
    half = limit // 2
    return text if len(text) <= limit else f"{text[:half]}…{text[-half:]}"


def _text(axes: Any, x: float, y: float, text: str, *, size: float) -> None:
    axes.text(x, y, text, ha="center", va="center", transform=axes.transAxes, fontsize=size)


def _save(figure: Figure, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; that is no news for stderr.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        # The picture grows with its labels, so that none is cut off.
        figure.savefig(path, format="png", dpi=_DPI, bbox_inches="tight", pad_inches=0.25)
    return path
