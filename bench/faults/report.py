"""Runs as JSON, as tables on a terminal, and as documentation."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.faults.run import Run

HEAD = (
    "fault",
    "injected",
    "in flight",
    "lost",
    "wrong",
    "errors",
    "p50 s",
    "worst s",
    "silent s",
    "by hand",
)


def to_json(run: Run) -> dict[str, Any]:
    """A run as JSON; times are seconds since it began."""

    def since(at_s: float | None) -> float | None:
        return None if at_s is None else round(at_s - run.began_s, 4)

    windows = [
        {
            **asdict(replace(window, outcomes=Counter())),
            "outcomes": dict(window.outcomes),
            "allowed": sorted(window.allowed),
            "began_s": since(window.began_s),
            "healed_s": since(window.healed_s),
            "recovered_s": since(window.recovered_s),
            "lost": lost,
        }
        for window, lost in zip(run.windows, run.lost, strict=True)
    ]
    return {
        "personality": run.personality,
        "seed": run.seed,
        "disk": run.disk,
        "seconds": round(run.ended_s - run.began_s, 1),
        "totals": run.totals,
        "notes": run.notes,
        "windows": windows,
        "per_second": {
            str(second - int(run.began_s)): n for second, n in sorted(run.per_second.items())
        },
        "holdings": [asdict(it) for it in run.holdings],
        "memory": run.memory,
        "longest_queue": run.longest_queue,
        "violations": [{**asdict(it), "at_s": since(it.at_s)} for it in run.violations],
    }


def to_rows(run: Mapping[str, Any]) -> list[list[str]]:
    """One line for each fault, in the columns of `HEAD`."""
    by_fault: dict[str, list[Mapping[str, Any]]] = {}
    for window in run["windows"]:
        by_fault.setdefault(window["fault"], []).append(window)
    return [_row(fault, by_fault[fault]) for fault in sorted(by_fault)]


def _row(fault: str, windows: Sequence[Mapping[str, Any]]) -> list[str]:
    outcomes: dict[str, int] = {}
    for window in windows:
        for what, n in window["outcomes"].items():
            outcomes[what] = outcomes.get(what, 0) + n
    took_s = [it["recovered_s"] - it["healed_s"] for it in windows if it["recovered_s"] is not None]
    fine = {"answered", "refused", "wrong", "untyped"}
    return [
        fault,
        str(len(windows)),
        str(sum(it["in_flight"] for it in windows)),
        str(sum(it["lost"] for it in windows)),
        str(outcomes.get("wrong", 0)),
        str(sum(n for what, n in outcomes.items() if what not in fine)),
        f"{statistics.median(took_s):.2f}" if took_s else "–",
        f"{max(took_s):.2f}" if len(took_s) == len(windows) else "never",
        f"{max(it['silent_s'] for it in windows):.2f}",
        str(sum(it["by_hand"] for it in windows) or ""),
    ]


def print_runs(console: Console, found: Mapping[str, Any]) -> None:
    """Tables, and what they leave out."""
    for run in found["runs"]:
        table = Table(title=headline(run), title_justify="left")
        for number, name in enumerate(HEAD):
            table.add_column(name, justify="right" if number else "left")
        for row in to_rows(run):
            table.add_row(*row)
        console.print(table)
        for holding in run["holdings"]:
            console.print(f"  {tell_holding(holding)}")
        for line in tell_load(run):
            console.print(f"  {line}")
        console.print(f"  noted: {', '.join(f'{n} {what}' for what, n in run['notes'].items())}")
        console.print(f"  violations: {len(run['violations'])}")


def tell_device(run: Mapping[str, Any]) -> str:
    """Which nucleus it was, and what ran on it."""
    inside = ", the component in a container" if run["component"] == "container" else ""
    return f"{run['personality']}{inside}"


def headline(run: Mapping[str, Any]) -> str:
    """A run in a line."""
    totals, seconds = run["totals"], run["seconds"]
    answered = totals.get("answered", 0)
    return (
        f"{tell_device(run)}, seed {run['seed']}: {totals.get('requests', 0)} requests in"
        f" {seconds:.0f} s, {answered} answered ({answered / seconds:.0f} a second),"
        f" {len(run['windows'])} faults"
    )


def tell_load(run: Mapping[str, Any]) -> Iterator[str]:
    """The queue's bound, and how much more came in floods than was served."""
    yield f"the component's queue, by its own account: at most {run['longest_queue']} requests"
    notes = run["notes"]
    published, answered = notes.get("flood: published", 0), notes.get("flood: status 200", 0)
    if published:
        factor = f", {published / answered:.0f} times as many" if answered else ""
        yield f"floods: {published} requests were published, {answered} were answered{factor}"


def tell_holding(holding: Mapping[str, Any]) -> str:
    """What a role held, in a line."""
    growth = holding["growth"]
    grown = "too young to compare" if growth is None else f"{growth - 1:+.1%} over the last part"
    return (
        f"{holding['role']}: at most {holding['peak_bytes'] / 2**20:.0f} MiB, {grown};"
        f" threads {holding['threads'][0]} → {holding['threads'][1]},"
        f" descriptors {holding['descriptors'][0]} → {holding['descriptors'][1]}"
    )
