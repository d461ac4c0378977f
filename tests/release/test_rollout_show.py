"""What a rollout prints at its end, line by line."""

import io
from typing import Any

from rich.console import Console

from nucleus.deployments.history import Phase, Record, Result
from release.replay import Replay
from release.rollout.deployment import Outcome
from release.rollout.show import show_outcome
from release.rollout.traffic import Traffic

MODEL = "wine 2.0.0"
WHY = "edgexgb.Inference 0.1.7 is BROKEN: startup: got exit code 1, expected 0"


def record(result: Result, message: str = "") -> Record:
    return Record(
        number=2,
        id="d2",
        created=1000.0,
        ended=900.0,  # the clock was set back meanwhile
        took_s=2.5,
        phase=Phase.DONE,
        result=result,
        message=message,
    )


def replayed(*differences: str) -> Replay:
    n = 64
    return Replay(
        model=MODEL,
        n_rows=n,
        n_equal=n - len(differences),
        is_exact=True,
        differences=differences,
    )


def shown(result: Result, message: str = "", golden: Replay | None = None, **fields: Any) -> str:
    outcome = Outcome(version="0.1.7", before="0.1.3", record=record(result, message), **fields)
    console = Console(file=io.StringIO(), width=60)  # lines are for scripts, too: none is folded
    show_outcome(outcome, MODEL, golden, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_accepted_update_shows_who_answered_when_and_that_it_is_the_notebooks_model() -> None:
    """The gap is what an update costs those who ask."""
    traffic = Traffic(answers={"wine 1.0.0": 33, MODEL: 12}, n_repeated=4, gap_s=0.876, last=MODEL)
    assert shown(
        Result.SUCCESSFUL, golden=replayed(), answered_before="wine 1.0.0", traffic=traffic
    ) == (
        "accepted edgexgb.Inference 0.1.7 (wine 2.0.0): SUCCESSFUL after 2.5 s\n"
        "  answered meanwhile 33 by wine 1.0.0, 12 by wine 2.0.0; none lost, 4 asked again\n"
        "  without an answer  0.88 s at the longest\n"
        "  answers now        wine 2.0.0\n"
        "  over pub/sub       64 of 64 golden rows equal to the last bit\n"
    )


def test_refused_update_shows_why_and_what_runs() -> None:
    """Square brackets in a reason are no markup."""
    traffic = Traffic(answers={"wine 1.0.0": 3}, gap_s=1.25, last="wine 1.0.0")
    assert shown(
        Result.FAILED_ROLLBACK_COMPLETE,
        f"{WHY} [red]",
        answered_before="wine 1.0.0",
        traffic=traffic,
    ) == (
        "refused edgexgb.Inference 0.1.7 (wine 2.0.0): FAILED_ROLLBACK_COMPLETE after 2.5 s\n"
        f"  why                {WHY} [red]\n"
        "  now                what ran before runs again\n"
        "  answered meanwhile 3 by wine 1.0.0; none lost\n"
        "  without an answer  1.25 s at the longest\n"
        "  answers now        wine 1.0.0\n"
    )


def test_update_that_was_left_as_it_is_shows_what_to_do() -> None:
    """As on nucleus lite, which never goes back; nobody answers any more."""
    traffic = Traffic(answers={"wine 1.0.0": 3}, n_repeated=50, n_lost=1, gap_s=15.0, last="")
    assert shown(
        Result.FAILED_ROLLBACK_NOT_REQUESTED,
        WHY,
        answered_before="wine 1.0.0",
        traffic=traffic,
    ) == (
        "refused edgexgb.Inference 0.1.7 (wine 2.0.0): "
        "FAILED_ROLLBACK_NOT_REQUESTED after 2.5 s\n"
        f"  why                {WHY}\n"
        "  now                what has failed was left as it is; roll out the earlier bundle\n"
        "  answered meanwhile 3 by wine 1.0.0; 1 lost, 50 asked again\n"
        "  without an answer  15.00 s at the longest\n"
        "  answers now        nobody\n"
    )


def test_without_traffic_there_is_nothing_to_say_of_it() -> None:
    """As for a bundle whose golden rows cannot be read."""
    assert shown(Result.FAILED_NO_STATE_CHANGE, WHY) == (
        "refused edgexgb.Inference 0.1.7 (wine 2.0.0): FAILED_NO_STATE_CHANGE after 2.5 s\n"
        f"  why                {WHY}\n"
        "  now                nothing has changed\n"
    )


def test_first_update_has_no_gap() -> None:
    """Nobody answered before it."""
    traffic = Traffic(answers={MODEL: 2}, n_repeated=9, gap_s=0.02, last=MODEL)
    text = shown(Result.SUCCESSFUL, golden=replayed(), traffic=traffic)
    assert "  answered meanwhile 2 by wine 2.0.0; none lost, 9 asked again\n" in text
    assert "without an answer" not in text


def test_many_differences_are_not_all_listed() -> None:
    """Another model differs in each row."""
    text = shown(Result.SUCCESSFUL, golden=replayed(*(f"row {i}" for i in range(8))))
    assert text.splitlines()[1:] == [
        "  over pub/sub       56 of 64 golden rows equal to the last bit",
        *(f"  differs            row {i}" for i in range(5)),
        "  differs            … and 3 more",
    ]


def test_unknown_model_is_left_out() -> None:
    """A bundle that cannot be opened has no name."""
    outcome = Outcome(version="0.1.7", before=None, record=record(Result.SUCCESSFUL))
    console = Console(file=io.StringIO(), width=60)
    show_outcome(outcome, "", None, console)
    assert isinstance(console.file, io.StringIO)
    assert console.file.getvalue() == "accepted edgexgb.Inference 0.1.7: SUCCESSFUL after 2.5 s\n"
