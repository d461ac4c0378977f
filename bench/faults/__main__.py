"""Faults on purpose, under full load: `make faults`, and `make soak` for an hour.

python -m bench.faults                              two minutes of each nucleus
python -m bench.faults --seconds 600 --write-docs   ten minutes of each, and docs/reliability.md
python -m bench.faults --soak                       half an hour of each, with longer pauses
python -m bench.faults --seed 7 --personality lite --only 'disk full' 'deployment'
python -m bench.faults --schedule build/faults/schedule-classic-7.json
python -m bench.faults --container                  the component in a container; as root

Each run keeps its schedule: a seed that fails is printed, and comes again with `--seed`, or with
the schedule's file. Exit codes: 0; 1 where something was lost, wrong or not bounded; 2 where the
bench itself failed; 130 when interrupted.
"""

import argparse
import json
import logging
import random
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from bench.faults.catalogue import FAULTS, lasting_s, steady
from bench.faults.container import ContainerRig
from bench.faults.document import write_docs
from bench.faults.picture import draw
from bench.faults.report import print_runs, to_json
from bench.faults.rig import Rig, RigError
from bench.faults.run import carry_out
from bench.faults.schedule import Schedule
from bench.machine import describe_run
from bench.models import ROOT
from nucleus.personality import PERSONALITIES

_SOAK_S = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code."""
    words = _parser().parse_args(arguments)
    for name in ("interface", "asyncio"):  # they lose connections often, as they shall
        logging.getLogger(name).addHandler(logging.NullHandler())
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    path: Path = words.sources[0] if words.sources else words.out / "faults.json"
    if not words.sources:
        found = describe_run("faults") | {"runs": []}
        try:
            for schedule in _plan(words):
                found["runs"].append(_carry_out(schedule, words, console))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(json.dumps(found, indent=1))
        except RigError as error:
            console.print(f"the bench failed: {error}", markup=False)
            return 2
    else:
        kept = [json.loads(source.read_bytes()) for source in words.sources]
        found = {**kept[0], "runs": [run for one in kept for run in one["runs"]]}
    print_runs(console, found)
    picture = draw(found["runs"], path.with_suffix(".png"))
    console.print(f"{picture}\n{path}", soft_wrap=True)
    if words.docs is not None:
        write_docs(words.docs, found, picture)
        console.print(words.docs, soft_wrap=True)
    return 1 if any(run["violations"] for run in found["runs"]) else 0


def _plan(words: argparse.Namespace) -> list[Schedule]:
    if words.schedule is not None:
        return [Schedule.read(words.schedule)]
    seed = words.seed if words.seed is not None else random.SystemRandom().randrange(10**6)
    chosen = list(PERSONALITIES) if words.personality == "both" else [words.personality]
    lasting = lasting_s(words.only, soaks=words.soak, is_container=words.container)
    seconds = _seconds(words)
    return [Schedule.draw(name, seed, seconds, lasting, steady(lasting, name)) for name in chosen]


def _seconds(words: argparse.Namespace) -> float:
    default = _SOAK_S if words.soak else 120.0
    return default if words.seconds is None else float(words.seconds)


def _carry_out(schedule: Schedule, words: argparse.Namespace, console: Console) -> dict[str, Any]:
    folder: Path = words.out
    name = f"{schedule.personality}-{schedule.seed}"
    kept = folder / f"schedule-{name}.json"
    schedule.write(kept)
    headline = f"{schedule.personality}, seed {schedule.seed}, {schedule.seconds:.0f} s of faults"
    console.print(f"{headline} ({kept})", soft_wrap=True)

    log: list[str] = []

    def say(text: str) -> None:
        log.append(text)
        console.print(text, markup=False, soft_wrap=True)

    make_rig = ContainerRig if words.container else Rig
    run = carry_out(schedule, say, folder / f"logs-{name}", make_rig=make_rig)
    for violation in run.violations:
        say(f"VIOLATION {violation.kind} ({violation.fault or 'calm'}): {violation.text}")
    if run.violations:
        option = " --container" if words.container else ""
        say(f"it failed; again: python -m bench.faults{option} --schedule {kept}")
    component = "container" if words.container else "process"
    return {"component": component, **to_json(run), "log": log}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.faults", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--personality", choices=["both", *PERSONALITIES], default="both", help="default: both"
    )
    parser.add_argument(
        "--container", action="store_true", help="the component is an image, not a process"
    )
    parser.add_argument("--seconds", type=float, help="of each personality (default: 120)")
    parser.add_argument("--soak", action="store_true", help="half an hour of each, and 60 s pauses")
    parser.add_argument("--seed", type=int, help="of the schedule (default: another each time)")
    parser.add_argument("--schedule", type=Path, metavar="FILE", help="the same as that run")
    parser.add_argument(
        "--only",
        nargs="+",
        choices=list(FAULTS),
        default=[],
        metavar="FAULT",
        help=", ".join(FAULTS),
    )
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "faults", help="default: build/faults"
    )
    parser.add_argument(
        "--from",
        dest="sources",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="show runs that were kept",
    )
    parser.add_argument(
        "--write-docs",
        dest="docs",
        type=Path,
        nargs="?",
        const=ROOT / "docs" / "reliability.md",
        metavar="FILE",
        help="write the run as Markdown, with a picture beside it (default: docs/reliability.md)",
    )
    return parser


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was mounted is unmounted
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
