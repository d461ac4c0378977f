"""The gate's report on disk: JSON for programs, a page for people."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from release.validate import Report

_BARS = 40
_WIDTH, _HEIGHT = 640, 120


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of the latency histogram, in the picture's units."""

    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """The latency histogram.

    Attributes:
        bars: of it.
        shown_ms: where it ends.
        p50_x: where the median is.
        p99_x: where the 99th percentile is.
    """

    bars: Sequence[Bar]
    shown_ms: float
    p50_x: float
    p99_x: float


def write_report(report: Report, directory: Path) -> tuple[Path, Path]:
    """The JSON file and the page, both named by the bundle's digest and the target.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    target = re.sub("[^A-Za-z0-9.]+", "-", report.target).strip("-")
    stem = f"validation-{report.digest[:16]}-{target}"
    machine_readable = directory / f"{stem}.json"
    page = directory / f"{stem}.html"
    machine_readable.write_text(report.to_json() + "\n", encoding="utf-8")
    page.write_text(render_page(report), encoding="utf-8")
    return machine_readable, page


def render_page(report: Report) -> str:
    """The page, complete in itself: no script, no font, no address."""
    return render_doors([report])


def render_doors(reports: Sequence[Report], *, image: str | None = None) -> str:
    """The page of one model's reports.

    Args:
        reports: at least one.
        image: the digest of the image that answered each of them, where one did.
    """
    import jinja2  # only the page needs it

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("release", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        first=reports[0],
        passed=all(report.passed for report in reports),
        image=image,
        doors=[(report, _picture(report)) for report in reports],
        width=_WIDTH,
        height=_HEIGHT,
    )


def _picture(report: Report) -> Picture:
    shown = _shown_ms(report)
    return Picture(
        bars=histogram(report.latency_ms, upper=shown),
        shown_ms=shown,
        p50_x=min(report.p50_ms / shown, 1) * _WIDTH,
        p99_x=min(report.p99_ms / shown, 1) * _WIDTH,
    )


def _shown_ms(report: Report) -> float:
    """Where the histogram ends: a little above p99, so that one slow request flattens nothing."""
    return max(report.p99_ms * 1.25, 1e-3)


def histogram(latency_ms: Sequence[float], *, upper: float) -> list[Bar]:
    """The bars of the latencies from 0 to `upper` milliseconds; what is slower is in the last."""
    counts = [0] * _BARS
    for value in latency_ms:
        counts[min(int(value / upper * _BARS), _BARS - 1)] += 1
    highest = max(counts)
    step = _WIDTH / _BARS
    return [
        Bar(i * step, _HEIGHT * (1 - count / highest), step - 1, _HEIGHT * count / highest)
        for i, count in enumerate(counts)
        if count
    ]
