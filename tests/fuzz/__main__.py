"""Fuzzes by hand: `python -m tests.fuzz --seconds 300 [--target request] [--seed 7]`.

What is found is left in a file, which becomes a seed once it is mended: a copy of it in
tests/data/fuzz/TARGET/, under a name that says what it was.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.fuzzer import ATHERIS, fuzz, is_available
from tests.fuzz.targets import TARGETS


def main(arguments: list[str]) -> int:
    """Fuzzes each target for a while; 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS), help="default: all")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**31)
    parser.add_argument(
        "--keep", type=Path, help="inputs that reach new code; the next run's start"
    )
    chosen = parser.parse_args(arguments)
    if not is_available():
        print(f"{ATHERIS}: got no atheris, expected it there; make setup", file=sys.stderr)
        return 2
    keep = chosen.keep or Path(tempfile.mkdtemp(prefix="edgexgb-fuzz-"))
    findings = 0
    for name in chosen.target or sorted(TARGETS):
        folder = keep / name
        folder.mkdir(parents=True, exist_ok=True)
        outcome = fuzz(name, folder, [f"-max_total_time={chosen.seconds}"], chosen.seed)
        result = "nothing found" if outcome.found is None else "FOUND"
        print(f"{name}: {outcome.runs} runs, {outcome.edges} edges, {result}", flush=True)
        if outcome.found is not None:
            findings += 1
            print(f"{outcome.summary}\n{folder}, --seed {chosen.seed}", flush=True)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
