"""Measures, prints tables, and keeps JSON and plots in build/bench.

python -m bench                          everything: `make bench`
python -m bench --plan quick             in under three minutes: `make bench-quick`
python -m bench rows batches             some sections
python -m bench --from FILE.json --write-docs
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import batches, bus, growth, invocations, rows, starts
from bench.budgets import judge
from bench.machine import describe_run
from bench.models import BUILD, ROOT, SPECS, build
from bench.plan import PLANS, Plan
from bench.plots import draw
from bench.report import print_run, print_tables, write_docs
from bench.tables import to_tables

SECTIONS: dict[str, Callable[[Plan], dict[str, Any]]] = {
    "rows": rows.measure,
    "batches": batches.measure,
    "starts": starts.measure,
    "invocations": invocations.measure,
    "bus": bus.measure,
    "growth": growth.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code: 1 where what should be equal to XGBoost is not."""
    words = _parser().parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 160)
    if words.source is None:
        run = measure(PLANS[words.plan], words.sections or list(SECTIONS), console)
        path = _write(run, words.out, words.sections)
    else:
        run = json.loads(words.source.read_bytes())
        path = words.source
    verdicts = judge(run["sections"], [model for model in "abc" if model in run["models"]])
    tables = to_tables(run["sections"], verdicts)
    print_run(console, run)
    print_tables(console, tables)
    for picture in draw(run["sections"], path.parent):
        console.print(picture, soft_wrap=True)
    console.print(path, soft_wrap=True)
    if words.write_docs:
        docs = ROOT / "docs" / "benchmark.md"
        write_docs(docs, run, tables)
        console.print(docs, soft_wrap=True)
    return 0 if is_equal(run) else 1


def measure(plan: Plan, sections: Sequence[str], console: Console) -> dict[str, Any]:
    """A run as JSON: what it was made on, and each section's numbers."""
    start = time.perf_counter()
    run = describe_run(plan.name)
    run["models"] = {model: _describe(model) for model in plan.models}
    run["sections"] = {}
    for name in sections:
        began = time.perf_counter()
        console.print(f"measuring {name} …", end=" ")
        run["sections"][name] = SECTIONS[name](plan)
        console.print(f"{time.perf_counter() - began:.0f} s")
    run["seconds"] = time.perf_counter() - start
    return run


def is_equal(run: dict[str, Any]) -> bool:
    """Whether what our handler says is XGBoost's own to the bit; true where not measured."""
    return all(
        way["equal"]["equal"] and way["equal"]["replies"]["equal"]
        for found in run["sections"].get("rows", {}).values()
        for name, way in found["ways"].items()
        if name in {"ours", "capi"}
    )


def _describe(model: str) -> dict[str, Any]:
    """A model in numbers; made here, where it is not there yet."""
    meta = json.loads((build(SPECS[model]) / "meta.json").read_bytes())
    return {key: meta[key] for key in ("spec", "n_outputs", "n_trees", "n_nodes")}


def _write(run: dict[str, Any], out: Path, sections: Sequence[str]) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{'-'.join([run['plan'], *sections])}.json"
    path.write_text(json.dumps(run, indent=1))
    return path


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
        "--write-docs", action="store_true", help="write the run into docs/benchmark.md"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
