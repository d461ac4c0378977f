"""The history of deployments as a table."""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from nucleus.deployments.history import Record, Result
from release.terminal import shown


def show_deployments(records: Sequence[Record], console: Console) -> None:
    """Prints one line for each, the oldest first, and then why those that failed did."""
    if not records:
        console.print("no deployments")
        return
    table = Table(title="deployments", title_justify="left")
    table.add_column("no.", justify="right")
    table.add_column("created")
    table.add_column("changes", overflow="fold")
    table.add_column("result", overflow="fold")
    table.add_column("took", justify="right")
    for record in records:
        colour = "green" if record.result is Result.SUCCESSFUL else "red"
        state = record.result or record.phase
        table.add_row(
            str(record.number),
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created)),
            shown(changes_of(record)),
            f"[{colour if record.result else 'yellow'}]{state}[/]",
            "" if record.took_s is None else f"{record.took_s:.1f} s",
        )
    console.print(table)
    for record in records:
        if record.message:
            text = f"{record.number} ({record.id}): {record.message}"
            console.print(shown(text), soft_wrap=True, highlight=False)


def changes_of(record: Record) -> str:
    """What a deployment asked for, in a few words."""
    return ", ".join(
        [
            *(f"+{name}={version}" for name, version in record.add.items()),
            *(f"-{name}" for name in record.remove),
            *(f"configure {name}" for name in record.configure),
        ]
    )
