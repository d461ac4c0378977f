"""Measures, prints tables, and keeps JSON and plots in build/bench.

python -m bench                          everything: `make bench`
python -m bench --plan quick             in under three minutes: `make bench-quick`
python -m bench rows batches             some sections
python -m bench --from FILE.json --write-docs

The JSON is written after each section. Exit codes: 0; 1 where what should be equal to XGBoost is
not, or a section failed; 130 when interrupted.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import batches, bus, concurrency, growth, invocations, rows, starts
from bench.budgets import judge
from bench.crew import Crew
from bench.machine import describe_run
from bench.models import BUILD, ROOT, SPECS, build
from bench.plan import CONVERTED, PLANS, Plan
from bench.plots import copy_picture, draw
from bench.progress import Progress
from bench.remarks import explain
from bench.report import print_remarks, print_run, print_tables, write_docs
from bench.tables import to_tables

SECTIONS: dict[str, Callable[[Plan, Progress], dict[str, Any]]] = {
    "rows": rows.measure,
    "batches": batches.measure,
    "concurrency": concurrency.measure,
    "starts": starts.measure,
    "invocations": invocations.measure,
    "bus": bus.measure,
    "growth": growth.measure,
}
INTERRUPTED = 130
"""The exit code after a Ctrl-C. Source: bash(1), 128 and the number of SIGINT."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    words = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    path: Path = words.source or words.out / f"{'-'.join([words.plan, *words.sections])}.json"
    if words.source is None:
        plan = PLANS[words.plan]
        progress = Progress(console)
        run = measure(plan, words.sections or plan.sections, path, progress)
        if not run["complete"]:
            kept = ", ".join(run["sections"])
            progress.say(f"interrupted; {f'{path} has {kept}' if kept else 'nothing was measured'}")
            return INTERRUPTED
    else:
        run = json.loads(path.read_bytes())
    show(run, path, console, words.docs)
    return 0 if is_equal(run) and not run["failed"] else 1


def measure(plan: Plan, sections: Sequence[str], path: Path, progress: Progress) -> dict[str, Any]:
    """A run as JSON: what it was made on, and each section's numbers.

    It is not `complete` where a Ctrl-C has ended it.

    Args:
        plan: how much to measure.
        sections: which, by name.
        path: of the file that has, after each section, all that was measured until then.
        progress: is told what is under way.
    """
    start = time.perf_counter()
    run = describe_run(plan.name)
    run |= {"complete": False, "seconds": 0.0, "models": {}, "sections": {}, "failed": {}}
    try:
        progress.open_section("prepare")
        run["models"] = _prepare(plan, progress)
        progress.close_section()
        for name in sections:
            progress.open_section(name)
            _measure_section(name, plan, run, progress)
            progress.close_section(run["failed"].get(name, ""))
            run["seconds"] = time.perf_counter() - start
            run["complete"] = name == sections[-1]
            _write(run, path)
    except KeyboardInterrupt:
        pass  # what ends inside has ended, and what was measured is kept
    return run


def _measure_section(name: str, plan: Plan, run: dict[str, Any], progress: Progress) -> None:
    try:
        run["sections"][name] = SECTIONS[name](plan, progress)
    except Exception as error:  # the other sections may still be had
        run["failed"][name] = f"{type(error).__name__}: {error}"


def show(run: dict[str, Any], path: Path, console: Console, docs: Path | None) -> None:
    """The run as tables, pictures beside its file, and as documentation.

    Args:
        run: as `measure` gives it.
        path: of its file.
        console: to print on.
        docs: the Markdown file to write, with a folder of pictures beside it; none where None.
    """
    verdicts = judge(run["sections"], list(run["models"]))
    tables = to_tables(run["sections"], verdicts)
    remarks = list(explain(verdicts))
    print_run(console, run)
    print_tables(console, tables)
    print_remarks(console, remarks)
    pictures = draw(run["sections"], path.parent)
    for picture in pictures:
        console.print(picture.path, soft_wrap=True)
    console.print(path, soft_wrap=True)
    if docs is not None:
        copied = [copy_picture(picture, docs.with_suffix("")) for picture in pictures]
        write_docs(docs, run, tables, pictures=copied, remarks=remarks)
        console.print(docs, soft_wrap=True)


def is_equal(run: dict[str, Any]) -> bool:
    """Whether what our handler says is XGBoost's own to the bit; true where not measured."""
    return all(
        "ours" in found["ways"]
        and all(
            way["equal"]["equal"] and way["equal"]["replies"]["equal"]
            for name, way in found["ways"].items()
            if name in {"ours", "capi"}
        )
        for found in run["sections"].get("rows", {}).values()
    )


def _prepare(plan: Plan, progress: Progress) -> dict[str, Any]:
    """Each model in numbers; it, and what others make of it, are made where they are not there."""
    progress.begin(2 * len(plan.models))
    found = {}
    for model in plan.models:
        progress.step(f"model {model}: train and pack, where it has not been")
        directory = build(SPECS[model])
        meta = json.loads((directory / "meta.json").read_bytes())
        found[model] = {key: meta[key] for key in ("spec", "n_outputs", "n_trees", "n_nodes")}
        progress.step(f"model {model}: convert and compile for others, where it has not been")
        Crew([way for way in plan.ways if way in CONVERTED], directory).stop()
    return found


def _write(run: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(run, indent=1))
    partial.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "sections", nargs="*", choices=[*SECTIONS, []], metavar="SECTION", help=", ".join(SECTIONS)
    )
    parser.add_argument("--plan", choices=list(PLANS), default="full", help="default: full")
    parser.add_argument(
        "--out", type=Path, default=BUILD, help="where JSON and plots go (default: build/bench)"
    )
    parser.add_argument(
        "--from", dest="source", type=Path, metavar="FILE", help="show a run that was kept"
    )
    parser.add_argument(
        "--write-docs",
        dest="docs",
        type=Path,
        nargs="?",
        const=ROOT / "docs" / "benchmark.md",
        metavar="FILE",
        help="write the run as Markdown, with pictures beside it (default: docs/benchmark.md)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        sys.exit(main())
    except KeyboardInterrupt:  # while it shows what is written already
        sys.exit(INTERRUPTED)
