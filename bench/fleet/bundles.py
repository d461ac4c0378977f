"""Three bundles of a real data set: the one that runs, a better one, and a sabotaged one."""

import contextlib
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.models import ROOT
from model.bundle import open_bundle
from nucleus.process_tree import die_with_parent
from release.errors import CommandError
from release.sabotage import sabotage

_NAME = "tumours"
_DATASET = "breast-cancer"
_SMALL = ("--n-estimators", "10", "--max-depth", "2")


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBundle:
    """A bundle, and what is said of it.

    Attributes:
        path: its directory.
        model: its name and version, as replies have them.
        log_loss: of it on the rows held out.
        n_rounds: boosting rounds.
        rows: its golden rows.
    """

    path: Path
    model: str
    log_loss: float
    n_rounds: int
    rows: tuple[dict[str, Any], ...]

    def __str__(self) -> str:
        """In a line."""
        quality = f"log loss {self.log_loss:.3f} on rows held out"
        return f"{self.model}: {self.n_rounds} rounds, {quality}, {len(self.rows)} golden rows"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundles:
    """What the fleet runs, and what is to come.

    Attributes:
        old: runs at first.
        bad: the better one, but for a golden row.
        good: the better one.
    """

    old: FleetBundle
    bad: FleetBundle
    good: FleetBundle


def make_bundles(folder: Path, *, is_new: bool = True) -> Bundles:
    """Trains and packs.

    Args:
        folder: of the bundles.
        is_new: whether those are replaced that are there already; else they have to be.

    Raises:
        CommandError: that did not go well.
        BundleError: what was packed cannot be opened.
        OSError: a file cannot be written.
    """
    old, good, bad = folder / "old", folder / "good", folder / "bad"
    if is_new:
        # As processes: the libraries have threads, with which no device may be forked.
        training = [
            _start_training(old, "1.0.0", _SMALL),
            _start_training(good, "1.1.0", ()),
        ]
        for process in training:
            _finish_training(process)
        sabotage(good, bad, "1.2.0")
    return Bundles(old=_describe(old), bad=_describe(bad), good=_describe(good))


def _start_training(out: Path, version: str, options: tuple[str, ...]) -> "subprocess.Popen[str]":
    words = ("--dataset", _DATASET, "--name", _NAME, "--version", version, "--out", str(out))
    return subprocess.Popen(
        [sys.executable, "-m", "release.cli", "train", "--quiet", *words, *options],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (no thread of ours)
    )


def _finish_training(process: "subprocess.Popen[str]") -> None:
    with process:
        _, errors = process.communicate()
    if process.returncode != 0:
        last = (errors.strip().splitlines() or ["no output"])[-1]
        raise CommandError(f"edgexgb train: got {last!r}, expected a bundle")


def _describe(path: Path) -> FleetBundle:
    with contextlib.closing(open_bundle(path)) as bundle:
        manifest = bundle.manifest
        first, last = manifest.tree_range
        return FleetBundle(
            path=path,
            model=f"{manifest.name} {manifest.version}",
            log_loss=manifest.metrics["log_loss"],
            n_rounds=last - first,
            rows=tuple(dict(golden.row) for golden in bundle.golden),
        )
