"""A run on the terminal, and as docs/benchmark.md."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from bench.plots import Picture
from bench.tables import Table

_INTRODUCTION = """\
# Benchmark

The last run, as `make bench` wrote it; do not edit (what is said of budgets that are not met stands
in `bench/remarks.py`). All numbers are of this one run on this one machine, so read ratios, not
microseconds; and run it again before you believe a difference that is smaller than the spread
beside it.

"""

_METHOD = """\

## How it is measured

- **Models**, generated from a seed: *a* has 13 features and 426 trees of depth 4 for three classes,
  grown on mixtures of scikit-learn's wines; *b* 50 features and 1 000 trees of depth 8, a
  regression; *c* 10 classes, 20 features (8 categorical, 8 % missing) and 200 rounds of depth 6.
- **Ways.** Each serves in a process of its own. The processes take turns, so that all meet the same
  noise; a first turn warms up and does not count. *Sample* is the handler that tutorials have:
  pandas `read_json` of the body, the scikit-learn wrapper's `predict`, `json.dumps`; it says labels
  where the model is a classifier, all others say all probabilities. Its threads are XGBoost's
  default, those of the others are one, but for the batches. MLServer gets the same rows in its own
  protocol, and is called without its server.
- **p50, p99** are of all requests; **IQR** is that of the turns' medians; **CPU** is the processor
  time of all threads for a request. 128 requests take turns, so no single row stays in a cache.
- **Equal to XGBoost** compares 2 000 rows in memory and 100 replies with what `Booster.predict`
  says of the same rows, bit by bit: of what differs, the share and the largest relative difference.
- **Where the time goes** times each stage alone, with what it would have got: *read* is the text to
  the matrix, *predict* the matrix to outputs, *write* the response to text; *rest* is the handler's
  time less the two stages inside it: the event's form, checks, labels, the response.
- **Batches** are in memory already: our engines through their port (Python floats come back), the
  others with numpy. No JSON. From 100 000 rows on, those alone that do not end in the same call of
  XGBoost as another one.
- **Several callers at once** are threads of one process that share one bundle. Each turn has each
  number of callers; a ratio is to the single caller of the same turn. *Engine* is a matrix in
  memory, *handler* JSON text to JSON text. This budget is 1 by nature: a ratio below it
  counts as met where half its IQR, which stands beside it, reaches 1.
- **Start** is from the start of a process to its first prediction, files in the page cache;
  *resident* is the peak.
- **Lambda** is AWS's runtime interface emulator on loopback, one connection. *First* is the first
  invocation of a function that no process serves yet: the emulator starts it then.
- **Bus**: the stand-in core device (`edgexgb device start`, nucleus classic), real components in
  processes of their own; consumers publish bytes and wait for the reply's bytes, as many threads as
  consumers in one process. *Echo* reads a request's id and reply topic, and answers with a constant
  as long as the real answer. *One request at a time* is our component with a bridge that takes one
  message where it would take all that wait. Requests in flight are those of one consumer.
- **Budgets** are ratios of this run. The image and its layers are measured by what builds them.
"""


def print_tables(console: Console, tables: Sequence[Table]) -> None:
    """The tables on the terminal."""
    section = ""
    for table in tables:
        if table.section != section:
            section = table.section
            console.rule(section)
        shown = RichTable(title=table.title, title_justify="left")
        for at, column in enumerate(table.columns):
            shown.add_column(column, justify="left" if at == 0 else "right")
        for row in table.rows:
            shown.add_row(*map(escape, row))
        console.print(shown)


def print_run(console: Console, run: Mapping[str, Any]) -> None:
    """What the run was made on, and what is missing in it."""
    for name, value in _facts(run):
        console.print(f"[bold]{name}[/bold]  {escape(value)}", soft_wrap=True)


def print_remarks(console: Console, remarks: Sequence[str]) -> None:
    """A sentence for each budget that was missed."""
    for remark in remarks:
        console.print(f"[bold]not met[/bold]  {escape(remark)}", soft_wrap=True)


def write_docs(
    path: Path,
    run: Mapping[str, Any],
    tables: Sequence[Table],
    *,
    pictures: Sequence[Picture] = (),
    remarks: Sequence[str] = (),
) -> None:
    """The run as Markdown; the budgets come first.

    Args:
        path: of the file.
        run: see `bench.__main__`.
        tables: of the run.
        pictures: to embed, in the path's folder or below.
        remarks: a sentence for each budget that was missed.
    """
    parts = [_INTRODUCTION]
    parts += [f"- {name}: {value}\n" for name, value in _facts(run)]
    ordered = sorted(tables, key=lambda table: table.section != "Budgets")
    shown: list[Table | Picture] = [*ordered, *pictures]
    for section in dict.fromkeys(one.section for one in shown):
        parts.append(f"\n## {section}\n")
        for table in ordered:
            if table.section == section:
                parts.append(f"\n{table.title[0].upper()}{table.title[1:]}:\n\n")
                parts += _markdown(table)
        if section == "Budgets" and remarks:
            parts.append("\nWhat stands in the way of those that are not met:\n\n")
            parts += [f"- {remark}.\n" for remark in remarks]
        for picture in pictures:
            if picture.section == section:
                link = picture.path.relative_to(path.parent).as_posix()
                parts.append(f"\n![{picture.title}]({link})\n")
    parts.append(_METHOD)
    path.write_text("".join(parts), encoding="utf-8")


def _markdown(table: Table) -> Iterator[str]:
    yield f"{_line(table.columns)}\n|---|{'---:|' * (len(table.columns) - 1)}\n"
    for row in table.rows:
        yield f"{_line(row)}\n"


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|") for cell in cells)
    return f"| {' | '.join(escaped)} |".replace("|  |", "| |")


def _facts(run: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    machine = run["machine"]
    yield "when", f"{run['started']}, {run['seconds']:.0f} s, plan {run['plan']}"
    yield "commit", run["commit"]
    vectors = " ".join(machine["vectors"])
    yield "machine", f"{machine['cpu']}, {machine['cores']} cores, {vectors}"
    yield "kernel", f"{machine['kernel']}; load {machine['load']} when it began"
    yield "Python", f"{run['python']}; {_join(run['versions'])}"
    yield "compared with", _join(run["competitors"]) or "no competitors installed"
    if not run["complete"]:
        yield "incomplete", f"it was interrupted; it has {', '.join(run['sections']) or 'nothing'}"
    for section, reason in run["failed"].items():
        yield f"{section} failed", reason


def _join(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())
