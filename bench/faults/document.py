"""docs/reliability.md: a run in tables, what it was made on, and what could not be made safe."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.faults.catalogue import FAULTS
from bench.faults.report import HEAD, headline, tell_device, tell_holding, tell_load, to_rows

_LOG = "log.txt"

_INTRODUCTION = """\
# Reliability

Written by `python -m bench.faults --write-docs`. A core device, the inference component (a process,
or a container) and two consumers run under full load: eight threads ask through two
`InferenceClient`s, and two more ask by hand with eight requests under way each. Faults come every
few seconds, from a schedule that a seed gives. A ledger has every request, from its call to its
end.

What must hold, and ends the run with an error where it does not:

- each call ends once, in an answer or in a typed error, and not later than it said;
- each answer is right to the last bit, and the asker's own;
- outside of faults no request ends in an error, and inside only in those that the fault allows;
- replies to what one asker has asked on one connection come in order, and all once, where the bus
  itself does not double or swap, until 2.5 s after it does;
- everybody has answers again within a minute of a fault's end;
- the component's queue holds 64 requests at most, by its own account;
- threads and descriptors at the end are those of the beginning; no process has more than 512 MiB;
  in runs of ten minutes and more, memory at the end is within 5 % of what it was a minute before.
  In the last five and a half minutes only those faults come that leave processes alive, with
  floods first: what processes hold after these is the most that they need, and only a leak would
  add to it.

"""

_COLUMNS = """
*In flight*: requests under way at injections. *Lost*: those that never ended, or in no typed
error. *Wrong*: those with another answer than theirs. *Errors*: requests that ended in a typed
error; their askers know, and may ask again. *Recovery*: from the end of the fault until every
connection of a consumer had an answer again to something that it asked since the fault began.
*Silent*: the longest time in which nobody had an answer, the fault's own length included. *By
hand*: restarts of a component that the nucleus had given up after three errors.
"""

_UNSAFE = """
## What could not be made safe

- **The bus keeps nothing.** A request that is under way when the component or the device dies is
  not answered; its asker gets a typed error when its time is over, and asks again. Predicting
  twice does no harm, so whoever asks may always repeat; the client does not by itself.
- **Three kills in an hour.** The nucleus gives a component up after three errors and leaves it
  BROKEN until a deployment or somebody's hand. No component can change that. The bench restarts
  it and counts.
- **Silent deafness takes 15 to 20 seconds.** A subscription that delivers nothing looks like one
  where nobody asks. It is found by probes after 5 s of silence and two tries of 5 s; sooner, and
  a nucleus that is slow for a moment would cost a connection.
- **Clocks.** Deadlines are wall clock, since requester and component share the device's clock.
  Where it jumps ahead, what is under way at that moment is answered with `deadline_exceeded`, and
  may be asked again; a jump back changes nothing. All else that measures time does so by the
  monotonic clock. Where requester and component do not share a clock, an hour behind makes every
  request too late, and an hour ahead none.
- **Configuration that is deployed while the clock is wrong.** Greengrass itself keeps the wall
  clock time of each value's deployment, and an older one does not replace a newer one: what was
  deployed while the clock was ahead stays until that time comes, though later deployments of it
  say SUCCESSFUL. Deploy configuration once the clock is right.
- **Whoever may publish to the request topic may fill the queue.** It is bounded, and others are
  told `busy`, or run into their deadline; nothing tells a flood's requests from others'. On
  nucleus lite one `jsonMessage` of two rows silences every subscription that it reaches, for as
  long as deafness takes to be found. Who may publish is the policy's to say.
- **A large message slows what comes after it** on the classic nucleus, which carries up to 16 MiB.
  The device's SDK keeps a buffer of the largest message of a connection, and writes zeros over all
  of it after each message: once one of 2 MB was there, 1 000 answers a second are left of 1 500,
  until the next connection. A new one for each such message would cost requests that are under way.
- **Nonsense in the configuration of nucleus lite.** A deployment there restarts the component,
  which refuses to start with it, and lite undoes nothing: the component stays down until the next
  deployment. The classic nucleus restarts nothing, and the component keeps what it had.
- **Memory that is refused, not killed for.** Where a limit on the address space stops
  allocations, the device's SDK loses messages without a word; the component is mute until there
  is memory, or its probe finds it deaf and it ends. A container's limit kills it instead, which
  is the better end.
- **Killed for memory.** A container that meets its limit is killed by the kernel. What was under
  way ends in a timeout, and the nucleus starts another. The exit code, 137, names no reason, so the
  next start asks docker's events, and logs it; where docker has forgotten, no line is there. Three
  such kills leave the component BROKEN, like any three errors. `python -m bench.faults --container`
  has this fault among the others, with the component in its image.
- **A disk that is full** costs lines of the log, and deployments fail; predictions go on. The
  sample consumer keeps a watched file until its results are written, leaves no part of a line, and
  goes on when there is room; rows that were written before may stand twice.
"""

_LEFT_OUT = """
Not tried here: loss of power, a full disk of docker's own, and the nuclei themselves: the device is
the one in [nucleus/](../nucleus/README.md), which behaves as they do but is not they.
"""


def write_docs(path: Path, found: Mapping[str, Any], picture: Path) -> None:
    """Writes the file, and picture and log into a folder of its name beside it."""
    folder = path.with_suffix("")
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, folder / picture.name)
    parts = [_INTRODUCTION, *_facts(found)]
    for run in found["runs"]:
        parts += [f"\n## {tell_device(run).capitalize()}\n\n{headline(run)}.\n\n"]
        parts += _table(HEAD, to_rows(run))
        parts += ["\n", *(f"- {tell_holding(it)}\n" for it in run["holdings"])]
        parts += [f"- {it}\n" for it in tell_load(run)]
        parts += [f"- on the bus: {_counts(run['notes'])}\n", *_verdict(run)]
    parts += [
        _COLUMNS,
        f"\n![Answers a second, memory, and faults]({folder.name}/{picture.name})\n",
    ]
    parts += [
        f"\nEach fault of the runs, in its line: [{folder.name}/{_LOG}]({folder.name}/{_LOG}).\n"
    ]
    names = dict.fromkeys(window["fault"] for run in found["runs"] for window in run["windows"])
    parts += ["\n## The faults\n\n"]
    rows = [[name, _what(name), FAULTS[name].expected] for name in sorted(names)]
    parts += _table(("fault", "what is done", "what is to happen"), rows, align="---")
    (folder / _LOG).write_text("\n".join(_log(found)), encoding="utf-8")
    parts += [_UNSAFE, _LEFT_OUT]
    path.write_text("".join(parts), encoding="utf-8")


def _facts(found: Mapping[str, Any]) -> Iterator[str]:
    machine = found["machine"]
    yield f"- when: {found['started']}, commit {found['commit']}\n"
    yield f"- machine: {machine['cpu']}, {machine['cores']} cores; {machine['kernel']};"
    yield f" load {machine['load']} when it began\n"
    yield f"- Python {found['python']}\n"
    disks = {"tmpfs": "a tmpfs of 24 MiB that is filled", "shared": "RLIMIT_FSIZE on the device"}
    yield f"- the full disk: {', '.join({disks[run['disk']] for run in found['runs']})}\n"


def _log(found: Mapping[str, Any]) -> Iterator[str]:
    for run in found["runs"]:
        yield from (headline(run), *run.get("log", ()), "")


def _verdict(run: Mapping[str, Any]) -> Iterator[str]:
    if not run["violations"]:
        yield "- all of the above held\n"
    for one in run["violations"][:20]:
        yield f"- **{one['kind']}** ({one['fault'] or 'in calm'}): {one['text']}\n"


def _counts(notes: Mapping[str, int]) -> str:
    return "; ".join(f"{what}: {n}" for what, n in sorted(notes.items())) or "nothing to note"


def _what(name: str) -> str:
    text = (FAULTS[name].__doc__ or "").strip().splitlines()[0]
    return text.removesuffix(".")


def _table(
    head: Sequence[str], rows: Sequence[Sequence[str]], align: str = "---:"
) -> Iterator[str]:
    yield f"{_line(head)}\n|---|{f'{align}|' * (len(head) - 1)}\n"
    for row in rows:
        yield f"{_line(row)}\n"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
