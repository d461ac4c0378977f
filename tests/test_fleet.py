"""The fleet's rules with made-up devices and times; and three real devices, once."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from rich.console import Console

from bench.fleet.__main__ import INTERRUPTED, main
from bench.fleet.campaign import Campaign, Change, drive
from bench.fleet.devices import plan_devices
from bench.fleet.document import write_document
from bench.fleet.expect import Check, check_bad, check_good, check_lost, describe_gaps
from bench.fleet.job import CANARY, FLEET, Job, Rules, State
from bench.fleet.phase import Found, Phase
from bench.fleet.plot import draw_timeline
from bench.fleet.screen import Screen
from bench.fleet.settings import Settings
from bench.fleet.traffic import Span, count, longest_gap_s, to_spans
from bench.models import ROOT
from nucleus.deployments.history import Result
from stacks import options
from tests.release.devices import components_of

MINUTE_S = 60.0
PATIENCE_S = 300.0

QUICK = Rules(
    base_rate=1,
    factor=1,
    grow_after=1,
    most_rate=1,
    abort_percent=1,
    abort_after=1,
    timeout_minutes=60,
)
"""Of real time in these tests: a minute of a millisecond."""


def _names(n: int) -> list[str]:
    return [f"d{number}" for number in range(n)]


def _job(n: int, minute_s: float = MINUTE_S, **changed: float) -> Job:
    """A job whose rule never aborts, unless it is changed."""
    rules = replace(FLEET, abort_percent=100, **changed)  # type: ignore[arg-type]
    return Job(_names(n), rules, minute_s)


def _tell(job: Job, n: int) -> list[str]:
    """So many devices are told, however late that is."""
    told = [job.tell(1e6 * (at + 1)) for at in range(n)]
    return [name for name in told if name is not None]


# --- the rules of one job -------------------------------------------------------------------------


def test_rules_are_named_and_preset_as_in_the_cloud() -> None:
    """The CDK app's context has the same defaults, key by key."""
    keys = {
        "base_rate": "baseRatePerMinute",
        "factor": "incrementFactor",
        "grow_after": "growAfterSucceeded",
        "most_rate": "maximumPerMinute",
        "abort_percent": "abortPercent",
        "abort_after": "abortAfter",
        "timeout_minutes": "timeoutMinutes",
    }
    for ours, theirs in ((CANARY, options.CANARY), (FLEET, options.FLEET)):
        assert {keys[name]: value for name, value in asdict(ours).items()} == {
            key: theirs[key] for key in keys.values()
        }


def test_rate_spaces_devices_over_a_minute() -> None:
    """Ten in a minute are one in six seconds; the first at once, none before its time."""
    job = _job(3, base_rate=10)
    assert [job.tell(now_s) for now_s in (0.0, 0.0, 5.9, 6.0, 11.9, 12.0)] == [
        *("d0", None, None, "d1", None, "d2")
    ]


def test_late_look_does_not_make_up_for_lost_time() -> None:
    """Whoever looks after minutes tells one device, and the next a spacing later."""
    job = _job(3, base_rate=10)
    assert [job.tell(now_s) for now_s in (0.0, 600.0, 600.0, 606.0)] == ["d0", "d1", None, "d2"]


def test_rate_grows_with_successes_up_to_its_maximum() -> None:
    """Each so many successes multiply it; failures do not."""
    job = _job(6, base_rate=10, factor=2, grow_after=2, most_rate=30)
    rates = []
    for name, state in zip(
        _tell(job, 6), [State.SUCCEEDED, State.FAILED, *[State.SUCCEEDED] * 4], strict=True
    ):
        job.end(name, state)
        rates.append(job.rate)
    assert rates == [10.0, 10.0, 20.0, 20.0, 30.0, 30.0]


def test_failures_above_the_threshold_cancel_who_was_not_told() -> None:
    """One of two is above 49 %; the device that was told goes on, and may still succeed."""
    job = Job(_names(5), replace(FLEET, abort_percent=49, abort_after=2), MINUTE_S)
    _tell(job, 3)
    is_aborted = []
    for name, state in (("d0", State.FAILED), ("d1", State.SUCCEEDED)):
        job.end(name, state)
        is_aborted.append(job.is_aborted)
    assert is_aborted == [False, True]
    assert list(job.states.values()) == [
        *(State.FAILED, State.SUCCEEDED, State.IN_PROGRESS, State.CANCELED, State.CANCELED)
    ]
    assert job.end("d2", State.SUCCEEDED)
    assert job.is_over
    assert not job.has_succeeded
    assert job.tell(1e9) is None


def test_failures_at_the_threshold_do_not_abort() -> None:
    """One of two is 50 %, and not above it."""
    job = Job(_names(3), replace(FLEET, abort_percent=50, abort_after=1), MINUTE_S)
    _tell(job, 2)
    job.end("d0", State.SUCCEEDED)
    job.end("d1", State.FAILED)
    assert not job.is_aborted
    assert job.states["d2"] is State.QUEUED


def test_device_whose_time_is_over_counts_as_failed_and_stays_so() -> None:
    """It is timed out by the rule's minutes from when it was told; what it says later is late."""
    job = Job(_names(2), replace(FLEET, timeout_minutes=2, abort_percent=1, abort_after=1), 10.0)
    job.tell(5.0)
    assert job.give_up(24.9) == []
    assert job.give_up(25.0) == ["d0"]
    assert job.give_up(26.0) == []
    assert job.states == {"d0": State.TIMED_OUT, "d1": State.CANCELED}
    assert not job.end("d0", State.SUCCEEDED)
    assert job.states["d0"] is State.TIMED_OUT


# --- canaries, then the fleet ---------------------------------------------------------------------


def _campaign(n_canaries: int, n_others: int, rules: Rules = QUICK) -> Campaign:
    names = _names(n_canaries + n_others)
    minute_s = 0.001
    return Campaign(
        Job(names[:n_canaries], rules, minute_s), Job(names[n_canaries:], rules, minute_s)
    )


def test_fleet_waits_until_every_canary_has_succeeded() -> None:
    """One success of two promotes nobody; the second does."""
    campaign = _campaign(2, 1)
    assert [campaign.tell(at) for at in (1.0, 2.0, 3.0)] == ["d0", "d1", None]
    campaign.end("d0", State.SUCCEEDED)
    assert (campaign.is_promoted, campaign.tell(4.0)) == (None, None)
    campaign.end("d1", State.SUCCEEDED)
    assert (campaign.is_promoted, campaign.tell(5.0)) == (True, "d2")
    campaign.end("d2", State.SUCCEEDED)
    assert campaign.is_over


@pytest.mark.parametrize("last", [State.FAILED, State.TIMED_OUT])
def test_canary_that_has_not_succeeded_spares_the_fleet(last: State) -> None:
    """However it ended, nobody of the fleet is ever told."""
    campaign = _campaign(1, 2)
    campaign.tell(0.0)
    if last is State.TIMED_OUT:
        assert campaign.give_up(1e6) == ["d0"]
    else:
        campaign.end("d0", last)
    assert campaign.is_promoted is False
    assert campaign.is_over
    assert list(campaign.states.values()) == [last, State.CANCELED, State.CANCELED]
    assert campaign.tell(1e9) is None


def _drive(
    campaign: Campaign, update: Callable[[str], tuple[State, str]], at_once: int = 2
) -> list[Change]:
    changes: list[Change] = []
    drive(campaign, update, changes.extend, at_once=at_once)
    return changes


def test_drive_updates_all_and_tells_each_change_once() -> None:
    """A device is told before it is done, the canary before the others."""
    changes = _drive(_campaign(1, 3), lambda _: (State.SUCCEEDED, ""))
    for name in _names(4):
        states = [state for who, state, _ in changes if who == name]
        assert states == [State.IN_PROGRESS, State.SUCCEEDED]
    assert [name for name, _, _ in changes[:2]] == ["d0", "d0"]


def test_drive_takes_an_exception_for_a_failure() -> None:
    """Its text is why; those that are spared because of it come after."""

    def update(_: str) -> tuple[State, str]:
        raise OSError("no device")

    assert _drive(_campaign(1, 1), update) == [
        ("d0", State.IN_PROGRESS, ""),
        ("d0", State.FAILED, "no device"),
        ("d1", State.CANCELED, ""),
    ]


def test_drive_updates_so_many_at_once_and_not_more() -> None:
    """Two meet in their updates, and nobody is there beside them."""
    running: list[str] = []
    most = []
    together = threading.Barrier(2, timeout=PATIENCE_S)

    def update(name: str) -> tuple[State, str]:
        running.append(name)
        most.append(len(running))
        if name != "d0":
            together.wait()
        running.remove(name)
        return State.SUCCEEDED, ""

    _drive(_campaign(1, 4), update)
    assert max(most) <= 2
    assert len(most) == 5


def test_drive_gives_up_a_device_that_takes_too_long() -> None:
    """The job ends while the device is still at it."""
    is_over = threading.Event()

    def update(_: str) -> tuple[State, str]:
        is_over.wait(PATIENCE_S)
        return State.SUCCEEDED, ""

    try:
        changes = _drive(_campaign(1, 1), update)
    finally:
        is_over.set()
    assert changes[1:] == [("d0", State.TIMED_OUT, "its time is over"), ("d1", State.CANCELED, "")]


# --- what was seen --------------------------------------------------------------------------------


def test_spans_end_with_a_gap_and_with_another_model() -> None:
    """A gap as long as is allowed does not end one."""
    answers = [(0.0, "a"), (0.5, "a"), (1.1, "a"), (1.2, "b"), (1.3, "b")]
    assert to_spans(answers, 0.5) == [
        Span("a", 0.0, 0.5),
        Span("a", 1.1, 1.1),
        Span("b", 1.2, 1.3),
    ]
    assert longest_gap_s(answers) == pytest.approx(0.6)
    assert count(answers) == {"a": 3, "b": 2}
    assert (longest_gap_s(answers[:1]), to_spans([], 0.5)) == (0.0, [])


def _found(name: str, **changed: object) -> Found:
    """A device that has not been told of anything, and answers as before."""
    found = Found(
        name=name,
        is_canary=False,
        state=State.CANCELED,
        why="",
        told_s=None,
        ended_s=None,
        answers={"m 1": 9},
        gap_s=0.1,
        now="m 1",
        golden=64,
        n_golden=64,
        is_exact=True,
        deployments=[],
        spans=[Span("m 1", 0.0, 3.0)],
    )
    return replace(found, **changed)  # type: ignore[arg-type]


def _phase(devices: Sequence[Found], *, is_promoted: bool) -> Phase:
    return Phase(
        before="m 1",
        model="m 2",
        is_promoted=is_promoted,
        seconds=3.0,
        until_s=4.0,
        devices=devices,
    )


def _canary(**changed: object) -> Found:
    told = {"is_canary": True, "state": State.FAILED, "told_s": 0.0, "ended_s": 1.0, "gap_s": 0.9}
    results = {"deployments": [Result.FAILED_ROLLBACK_COMPLETE], "why": "BROKEN"}
    return _found("d0", **{**told, **results, **changed})


def _updated(name: str, **changed: object) -> Found:
    return _found(
        name,
        **{
            "state": State.SUCCEEDED,
            "told_s": 1.0,
            "ended_s": 2.0,
            "answers": {"m 1": 3, "m 2": 6},
            "now": "m 2",
            "deployments": [Result.SUCCESSFUL],
            **changed,
        },
    )


def _missed(checks: Sequence[Check]) -> list[str]:
    return [check.text for check in checks if not check.is_met]


def test_bad_model_that_ended_at_the_canary_meets_all() -> None:
    """The canary rolled back, the others know nothing; the gaps are told apart."""
    phase = _phase([_canary(), _found("d1"), _found("d2")], is_promoted=False)
    checks = list(check_bad(phase))
    assert _missed(checks) == []
    assert str(checks[0]) == "met      1 of 1 canaries FAILED, and rolled back"
    assert describe_gaps(phase) == (
        "longest time without an answer, over devices; updated: p50 0.90 s, most 0.90 s; "
        "not told: p50 0.10 s, most 0.10 s"
    )


def test_canary_that_was_not_told_any_more_is_said_to_be_spared() -> None:
    """The rule may stop the job before its last device; somebody has to fail, though."""
    spared = _found("d1", is_canary=True)
    first = next(iter(check_bad(_phase([_canary(), spared, _found("d2")], is_promoted=False))))
    assert (first.is_met, first.text) == (
        *(True, "1 of 1 canaries FAILED, and rolled back; 1 more were spared"),
    )
    first = next(iter(check_bad(_phase([spared, _found("d2")], is_promoted=False))))
    assert not first.is_met


@pytest.mark.parametrize(
    ("canary", "other", "text"),
    [
        (
            {"deployments": [Result.FAILED_UNABLE_TO_ROLLBACK]},
            {},
            "0 of 1 canaries FAILED, and rolled back",
        ),
        (
            {},
            {"deployments": [Result.SUCCESSFUL]},
            "0 of 1 other devices have never heard of it: their histories are empty",
        ),
        ({"now": "m 2"}, {}, "1 of 2 devices answer as m 1 now"),
        (
            {"golden": 63},
            {},
            "127 of 128 golden rows, asked over each device's bus, equal to the last bit",
        ),
        ({"answers": {"m 1": 1, "m 2": 1}}, {}, "m 2 has not answered once, on no device"),
    ],
)
def test_bad_model_that_did_harm_is_found_out(
    canary: dict[str, object], other: dict[str, object], text: str
) -> None:
    """Each kind of harm misses the one expectation that is about it."""
    phase = _phase([_canary(**canary), _found("d1", **other)], is_promoted=False)
    assert _missed(list(check_bad(phase))) == [text]


def test_good_model_on_all_devices_meets_all() -> None:
    """The bad model's deployment on the canary is counted beside the good one's."""
    results = [Result.FAILED_ROLLBACK_COMPLETE, Result.SUCCESSFUL]
    devices = [_updated("d0", is_canary=True, deployments=results), _updated("d1")]
    assert _missed(list(check_good(_phase(devices, is_promoted=True), 1))) == []


@pytest.mark.parametrize(
    ("changed", "texts"),
    [
        ({"state": State.TIMED_OUT}, ["1 of 2 devices SUCCEEDED"]),
        ({"now": "m 1"}, ["1 of 2 devices answer as m 2 now"]),
        ({"answers": {"error busy": 1}}, ["every answer was of m 1 or m 2"]),
        (
            {"deployments": []},
            ["1 deployments in all histories: one for each device, and 0 of the bad model"],
        ),
    ],
)
def test_good_model_that_did_not_reach_all_is_found_out(
    changed: dict[str, object], texts: list[str]
) -> None:
    """A device that has not got it, or says something else, misses its expectation."""
    devices = [_updated("d0", is_canary=True), _updated("d1", **changed)]
    assert _missed(list(check_good(_phase(devices, is_promoted=True), 0))) == texts


def test_lost_request_misses_its_expectation() -> None:
    """One is too many."""
    assert check_lost(0, 9) == Check(is_met=True, text="0 of 9 requests were lost")
    assert str(check_lost(1, 9)) == "NOT MET  1 of 10 requests were lost"


# --- telling --------------------------------------------------------------------------------------


def test_screen_elsewhere_has_a_line_for_each_change() -> None:
    """Those that are spared together share one; no square is drawn."""
    output = io.StringIO()
    screen = Screen(Console(file=output, width=40))
    states = dict.fromkeys(_names(3), State.CANCELED)
    with screen.live():
        screen.show_start(1, 3)
        screen.show_states(1.25, states, [("d0", State.FAILED, "[BROKEN], for a long reason")])
        screen.show_states(2.0, states, [(name, State.CANCELED, "") for name in ("d1", "d2")])
    assert output.getvalue().splitlines() == screen.lines
    assert screen.lines == [
        "   1.2 s  d0  FAILED: [BROKEN], for a long reason",
        "   2.0 s  d1 to d2  CANCELED",
    ]


def test_screen_on_a_terminal_has_a_square_for_each_device() -> None:
    """The squares are drawn anew when a state has changed, and not else."""
    output = io.StringIO()
    screen = Screen(Console(file=output, force_terminal=True, width=60, color_system=None))
    states = {"d0": State.SUCCEEDED, "d1": State.IN_PROGRESS}
    with screen.live():
        screen.show_states(1.0, states, [])
        drawn = output.getvalue()
        screen.show_states(1.1, states, [])
        assert output.getvalue() == drawn
    assert "■ ■" in drawn
    assert "1 s: 1 IN_PROGRESS, 1 SUCCEEDED" in drawn


def test_picture_is_drawn_of_both_updates(tmp_path: Path) -> None:
    """A canary that failed, devices that nobody told, a model that nobody expected."""
    stray = _updated("d2", answers={"x 9": 1}, spans=[Span("x 9", 0.0, 0.0)])
    bad = _phase([_canary(), _found("d1"), _found("d2")], is_promoted=False)
    good = _phase([_updated("d0"), _updated("d1", ended_s=None), stray], is_promoted=True)
    path = tmp_path / "new" / "fleet.png"
    draw_timeline({"bad": bad, "good": good}, path)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_document_has_the_output_and_the_picture(tmp_path: Path) -> None:
    """The lines as they were said, settings in the text, the picture in a folder beside it."""
    picture = tmp_path / "elsewhere.png"
    picture.write_bytes(b"a picture")
    values = {**asdict(Settings()), "words": " --devices 3", "gap_s": 0.5}
    write_document(tmp_path / "fleet.md", picture, ["{a line}"], ["a fact"], **values)
    text = (tmp_path / "fleet.md").read_text()
    assert "$ python -m bench.fleet --devices 3\n{a line}\n```" in text
    assert "- a fact\n" in text
    assert (tmp_path / "fleet" / "fleet.png").read_bytes() == b"a picture"


def test_last_devices_are_the_lite_ones() -> None:
    """So that no canary is: lite does not roll back."""
    plans = plan_devices(Path("root"), 3, 1)
    assert [(plan.name, plan.personality) for plan in plans] == [
        *(("device-01", "classic"), ("device-02", "classic"), ("device-03", "lite"))
    ]


def test_fleet_of_canaries_alone_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """Somebody has to be left who is spared."""
    with pytest.raises(SystemExit):
        main(["--devices", "2"])
    assert "got 2, expected more than --canaries and --lite together" in capsys.readouterr().err


# --- real devices ---------------------------------------------------------------------------------


def _words(folder: Path) -> list[str]:
    words = ("--devices", "3", "--canaries", "1", "--lite", "1", "--minute", "1")
    folders = ("--out", str(folder / "out"), "--root", str(folder / "r"))
    return [sys.executable, "-m", "bench.fleet", *words, *folders]


@pytest.fixture(scope="module")
def run(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    """The folder of a run that has ended, and how."""
    folder = tmp_path_factory.mktemp("fleet")
    done = subprocess.run(
        [*_words(folder), "--write-docs", str(folder / "docs" / "fleet.md")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    return folder, done


def test_three_devices_show_it_all(run: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    """A canary and two others: the bad model ends at the first, the good one reaches all."""
    folder, done = run
    assert done.returncode == 0, done.stdout + done.stderr
    assert "NOT MET" not in done.stdout
    for text in (
        "1 of 1 canaries FAILED, and rolled back",
        "2 of 2 other devices have never heard of it",
        "3 of 3 devices answer as tumours 1.1.0 now",
        "192 of 192 golden rows",
        "0 processes were left behind",
    ):
        assert text in done.stdout
    kept = json.loads((folder / "out" / "fleet.json").read_bytes())
    bad, good = kept["phases"].values()
    assert [device["state"] for device in bad["devices"]] == ["FAILED", "CANCELED", "CANCELED"]
    assert [device["state"] for device in good["devices"]] == ["SUCCEEDED"] * 3
    document = (folder / "docs" / "fleet.md").read_text()
    assert "3 of 3 devices SUCCEEDED" in document
    assert str(folder) not in document


def test_interrupted_fleet_leaves_nothing_behind(
    run: tuple[Path, "subprocess.CompletedProcess[str]"],
) -> None:
    """In the folders of the first run, a Ctrl-C as soon as all devices run; and one more."""
    folder, _ = run
    with subprocess.Popen(
        [*_words(folder), "--reuse-bundles"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as started:
        assert started.stdout is not None
        try:
            for line in started.stdout:
                if "3 devices run" in line:
                    break
            roots = [plan.root for plan in plan_devices(folder / "r", 3, 0)]
            pids = [root.running()["pid"] for root in roots]
            for _ in range(2):
                started.send_signal(signal.SIGINT)
            _, errors = started.communicate(timeout=PATIENCE_S)
        finally:
            started.kill()
    assert (started.returncode, errors) == (
        *(INTERRUPTED, "interrupted; every device was stopped\n"),
    )
    assert [root.holder() for root in roots] == [None] * 3
    assert [components_of(root.path) for root in roots] == [[]] * 3
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
