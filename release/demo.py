"""`make demo`: the main job on real data, each step shown as the command that does it."""

import shlex
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from release.cli import main as edgexgb

_BUNDLE = Path("build/demo/wine")

_STEPS: tuple[tuple[str, str], ...] = (
    (
        "Train on wine (178 wines, 13 measurements, 3 growers) and pack the model into a bundle",
        f"train --dataset wine --name wine --out {_BUNDLE}",
    ),
    ("Look into the bundle", f"inspect {_BUNDLE}"),
    (
        "Serve it as a Lambda in AWS's emulator, and replay what the notebook's model predicted",
        f"validate {_BUNDLE} --target rie",
    ),
    (
        "Ask that Lambda about wines it was packed with, beside their true growers",
        f"invoke {_BUNDLE} --target rie --sample 12 --format table",
    ),
    ("Write test events for the Lambda console's Test button", f"events {_BUNDLE}"),
)

_NEXT = f"""\
[bold]What to try next[/bold]

  your own data      edgexgb train --data FILE.csv --target COLUMN
  your own model     edgexgb pack MODEL.json --rows SAMPLE.csv --labels A,B
  a running Lambda   edgexgb serve {_BUNDLE} --rie --port 9000
                     edgexgb invoke --target http://127.0.0.1:9000 --event '{{"records": []}}'
  a deployed one     edgexgb validate {_BUNDLE} --target lambda:NAME
  the notebook       model/train.ipynb

  plots              {_BUNDLE}-plots/
  report             {_BUNDLE}-report/ (open the .html)
  console events     {_BUNDLE}-events/

The command is .venv/bin/edgexgb; `--help` tells everything.
"""


def main() -> int:
    """Runs the steps; the exit code of the first that fails, else 0."""
    console = Console(highlight=False)
    start = time.monotonic()
    for number, (title, command) in enumerate(_STEPS, start=1):
        console.print(Rule())
        console.print(f"[bold]{number}/{len(_STEPS)}  {title}[/bold]", soft_wrap=True)
        console.print(f"$ edgexgb {command}", soft_wrap=True)
        if code := edgexgb(shlex.split(command)):
            return code
        console.print()
    console.print(Rule())
    console.print(_NEXT, soft_wrap=True)
    console.print(f"done in {time.monotonic() - start:.0f} s")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
