"""What became of an update, in a few lines."""

from rich.console import Console
from rich.markup import escape

from nucleus.deployments.history import Result
from release.components import INFERENCE
from release.deploy import left, took
from release.replay import Replay
from release.rollout.deployment import Outcome

_SHOWN = 5
"""Differences at most; where another model answers, each row is one."""


def show_outcome(outcome: Outcome, model: str, golden: Replay | None, console: Console) -> None:
    """Prints it.

    Args:
        outcome: of the update.
        model: that it was to bring; empty where that is not known.
        golden: how the golden rows were answered; None where they were not asked for.
        console: to print on.
    """
    record = outcome.record
    word, colour = ("accepted", "green") if outcome.is_accepted else ("refused", "red")
    what = f"{INFERENCE} {outcome.version}{model and f' ({model})'}"
    console.print(
        f"[bold {colour}]{word}[/] {escape(what)}: {record.result}{took(record)}",
        soft_wrap=True,
    )
    for name, text in _lines(outcome, golden):
        console.print(f"  {name:<18} {escape(text)}", soft_wrap=True)


def _lines(outcome: Outcome, golden: Replay | None) -> list[tuple[str, str]]:
    record, traffic = outcome.record, outcome.traffic
    lines = []
    if record.message:
        lines.append(("why", record.message))
    if record.result is Result.FAILED_ROLLBACK_NOT_REQUESTED:
        lines.append(("now", f"{left(record)}; roll out the earlier bundle"))
    elif not outcome.is_accepted:
        lines.append(("now", left(record)))
    if traffic.answers:
        answers = ", ".join(f"{n} by {who}" for who, n in traffic.answers.items())
        lost = f"{traffic.n_lost} lost" if traffic.n_lost else "none lost"
        again = f", {traffic.n_repeated} asked again" if traffic.n_repeated else ""
        lines.append(("answered meanwhile", f"{answers}; {lost}{again}"))
        if outcome.answered_before:
            lines.append(("without an answer", f"{traffic.gap_s:.2f} s at the longest"))
        lines.append(("answers now", traffic.last or "nobody"))
    if golden is not None:
        lines.append(("over pub/sub", str(golden)))
        lines += [("differs", text) for text in golden.differences[:_SHOWN]]
        if (n_more := len(golden.differences) - _SHOWN) > 0:
            lines.append(("differs", f"… and {n_more} more"))
    return lines
