"""A run as docs/fleet.md, with its picture beside it."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_TEXT = """\
# A fleet on one machine

The last run, as `python -m bench.fleet --write-docs` wrote it; do not edit.

It shows what canaries are for. {devices} core devices run on this machine, {canaries} of them
canaries; each is a process of its own (`edgexgb device start`) with the inference component as a
process below it, and is asked for predictions all the time. Then two updates are rolled out:

1. **A bad model.** A golden row of its bundle records what the model does not predict; checksums
   fit, so that only a replay finds out. The gate on the workstation would, and is left out here:
   the devices are to find out themselves. The canaries refuse it and go back; the rest of the fleet
   never hears of it.
2. **A good one.** It reaches the canaries, then all others.

What rolls out behaves as the cloud's jobs do, with the names, the meaning and the defaults of the
CDK app's context ([rollout.md](rollout.md), 6): `baseRatePerMinute`, `incrementFactor`,
`growAfterSucceeded`, `maximumPerMinute`, `abortPercent`, `abortAfter`, `timeoutMinutes`.
Different are these:

- a minute of the rules lasts {minute_s:g} s (`--minute`), and {at_once} devices are updated at a
  time at most (`--at-once`), because they share one machine;
- the promotion from the canaries to the fleet is automatic; there it is `-c deployToFleet=true`;
- where the canaries fail, the others are shown as CANCELED; there, nobody makes their deployment;
- devices are not offline, and download nothing.

```console
$ python -m bench.fleet{words}
{output}
```

![who answered on which device, when](fleet/fleet.png)

Bars are answers, by the model that gave them; white is a time of more than {gap_s:g} s without one;
a frame is the deployment on that device. A device is asked again {pause_s:g} s after each answer,
so that a gap is measured to about that, and to a try of 0.2 s; a request without an answer is asked
again, and counts as lost only where it never is. An update's gap is the stop and the start of a
process; here {at_once} may do so at a time, among {devices} that are asked, on the cores below.

## The run

{facts}
"""


def write_document(
    path: Path, picture: Path, lines: Sequence[str], facts: Sequence[str], **values: Any
) -> None:
    """Writes it, and copies the picture.

    Args:
        path: of the Markdown file.
        picture: the PNG file.
        lines: the command's output.
        facts: about machine and versions.
        **values: of the text.

    Raises:
        OSError: a file cannot be written.
    """
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, folder / "fleet.png")
    text = _TEXT.format(
        output="\n".join(lines), facts="\n".join(f"- {fact}" for fact in facts), **values
    )
    path.write_text(text, encoding="utf-8")
