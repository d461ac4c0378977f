"""The gate's report on an image: one digest, and what each of its doors answered."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release.report import render_doors
from release.validate import Report

if TYPE_CHECKING:
    from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorReport:
    """What the gate saw at one door.

    Attributes:
        door: `lambda` or `component`.
        image: the digest of the image that the container ran, as docker says of the container.
        report: what it answered.
    """

    door: str
    image: str
    report: Report


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReport:
    """What the gate saw of an image.

    Attributes:
        image: its digest; each door's container ran this one.
        reference: as the user named it.
        doors: at least one.
    """

    image: str
    reference: str
    doors: Sequence[DoorReport]

    @property
    def passed(self) -> bool:
        """Whether nothing differed at any door."""
        return self.n_failed == 0

    @property
    def n_failed(self) -> int:
        """How many checks did not go as they have to."""
        return sum(it.report.n_failed for it in self.doors)

    def fields(self) -> dict[str, Any]:
        """The report as JSON's types; what holds of every door is said once."""
        first = self.doors[0].report
        common = ("name", "version", "digest", "machine", "exact")
        doors = {}
        for it in self.doors:
            fields = {k: v for k, v in json.loads(it.report.to_json()).items() if k not in common}
            doors[it.door] = {"container_image": it.image, **fields}
        return {
            "image": self.image,
            "reference": self.reference,
            "passed": self.passed,
            **{name: getattr(first, name) for name in common},
            "doors": doors,
        }

    def to_json(self) -> str:
        """The report for programs."""
        return json.dumps(self.fields(), indent=1, ensure_ascii=False)


def write_image_report(report: ImageReport, directory: Path) -> tuple[Path, Path]:
    """The JSON file and the page, both named by the image's digest.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    stem = f"validation-image-{report.image.removeprefix('sha256:')[:16]}"
    machine_readable = directory / f"{stem}.json"
    page = directory / f"{stem}.html"
    machine_readable.write_text(report.to_json() + "\n", encoding="utf-8")
    page.write_text(
        render_doors([it.report for it in report.doors], image=report.image), encoding="utf-8"
    )
    return machine_readable, page


def show_image_report(report: ImageReport, console: "Console") -> None:
    """Prints each door's report, and the digest that they share."""
    from release.show import show_report

    for it in report.doors:
        show_report(it.report, console)
        console.print()
    doors = " and ".join(it.door for it in report.doors)
    console.print(f"image: {report.image}", soft_wrap=True, highlight=False)
    console.print(f"run by the container of {doors}, as docker says of each", soft_wrap=True)
