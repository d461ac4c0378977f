"""The one who asks during an update, with a client and a clock of the test's own."""

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from consumer.errors import (
    BusyError,
    ClientClosedError,
    DeadlineExceededError,
    InferenceError,
    RequestTimeoutError,
    UnknownFeatureError,
)
from consumer.prediction import Prediction
from interface.errors import ConnectionLostError
from release.rollout.traffic import TRY_S, Asker, Traffic

ROWS = [{"x": 1.0}, {"x": 2.0}]
CLOSED = ClientClosedError("client: got a request, expected none once it is closed")
SILENCE = RequestTimeoutError("request: got no reply in 0.2 s, expected one")

Outcome = str | Exception


class Script:
    """A client that answers as it was told, each answer after some seconds, and then no more.

    It is its own clock, which only its answers move.
    """

    def __init__(self, *script: tuple[float, Outcome], then: Outcome = CLOSED) -> None:
        self.asked: list[Any] = []
        self.is_over = threading.Event()
        self.now_s = 1000.0
        self._script = list(script)
        self._then = then

    def clock(self) -> float:
        return self.now_s

    def predict(self, rows: Any, timeout_s: float) -> Prediction:
        assert timeout_s == TRY_S
        self.asked.append(rows)
        if not self._script:
            self.is_over.set()
        took_s, outcome = self._script.pop(0) if self._script else (TRY_S, self._then)
        self.now_s += took_s
        if isinstance(outcome, Exception):
            raise outcome
        return Prediction(model="wine", version=outcome, predictions=(0.0,))


def traffic(script: Script, rows: Sequence[Any] = ROWS) -> Traffic:
    """What has become of the requests once the client is closed."""
    with Asker(script, rows, clock=script.clock) as asker:
        assert script.is_over.wait(10.0)
    return asker.traffic()


def test_answers_are_counted_by_who_gave_them_and_rows_are_asked_for_in_turn() -> None:
    """The gap is the longest time between two answers, whoever they came from."""
    script = Script((9.0, "1.0.0"), (0.25, "1.0.0"), (0.75, "2.0.0"), (0.5, "2.0.0"))
    assert traffic(script) == Traffic(
        answers={"wine 1.0.0": 2, "wine 2.0.0": 2}, gap_s=0.75, last="wine 2.0.0"
    )
    assert script.asked == [ROWS[0], ROWS[1], ROWS[0], ROWS[1], ROWS[0]]


@pytest.mark.parametrize(
    "silence",
    [
        SILENCE,
        BusyError("requests: got too many, expected fewer"),
        DeadlineExceededError("deadlineMs: got a time in the past, expected one to come"),
        ConnectionLostError("connection: got its end, expected it to last"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_same_row_is_asked_for_again_until_it_is_answered(silence: Exception) -> None:
    """That is what a gap is made of; nothing is lost by it."""
    script = Script((0.0, "1.0.0"), (0.25, silence), (0.5, silence), (0.25, "2.0.0"))
    found = traffic(script)
    assert found == Traffic(
        answers={"wine 1.0.0": 1, "wine 2.0.0": 1},
        n_repeated=2,
        gap_s=0.25 + 0.5 + 0.25,
        last="wine 2.0.0",
    )
    assert script.asked == [ROWS[0], ROWS[1], ROWS[1], ROWS[1], ROWS[0]]


def test_refusal_is_an_answer_by_its_code() -> None:
    """A model with other features refuses each row, and is there all the while."""
    unknown = UnknownFeatureError("records[0].x: got an unknown feature, expected one of: y")
    odd = InferenceError("no idea", code="odd")
    found = traffic(Script((1.0, unknown), (1.0, unknown), (2.0, odd), (3.0, "2.0.0")))
    assert found.answers == {"error unknown_feature": 2, "error odd": 1, "wine 2.0.0": 1}
    assert (found.n_repeated, found.n_lost, found.gap_s) == (0, 0, 3.0)


def test_time_before_the_first_answer_is_no_gap() -> None:
    """Nobody was there who could have gone."""
    found = traffic(Script((5.0, SILENCE), (1.0, "1.0.0")))
    assert found == Traffic(answers={"wine 1.0.0": 1}, n_repeated=1, last="wine 1.0.0")


def test_silence_at_the_end_is_a_lost_request_and_the_gap() -> None:
    """It asks for seconds; then nobody answers any more, whoever did before."""
    script = Script((1.0, "1.0.0"), (1.0, SILENCE), then=SILENCE)
    with Asker(script, ROWS, clock=script.clock) as asker:
        assert script.is_over.wait(10.0)
        before = asker.traffic()
    assert (before.n_lost, before.last) == (0, "wine 1.0.0")
    found = asker.traffic()
    assert (found.answers, found.n_lost, found.last) == ({"wine 1.0.0": 1}, 1, "")
    assert found.n_repeated == len(script.asked) - 1  # each but the one that was answered
    assert found.gap_s == script.now_s - 1001.0
    assert found.gap_s >= 5.0


def test_request_under_way_at_the_end_is_waited_for() -> None:
    """It is answered late, not lost."""
    script = Script((1.0, SILENCE), *[(0.25, SILENCE)] * 8, (0.25, "2.0.0"), then="2.0.0")
    with Asker(script, ROWS, clock=script.clock) as asker:
        pass
    assert asker.traffic().n_lost == 0
    assert set(asker.traffic().answers) == {"wine 2.0.0"}


def test_nobody_waits_for_the_last_answer_after_an_error() -> None:
    """As after Ctrl-C."""
    script = Script((1.0, SILENCE), then=SILENCE)
    asker = Asker(script, ROWS, clock=lambda: 1000.0)  # seconds would never pass
    with contextlib.suppress(KeyboardInterrupt), asker:
        assert script.is_over.wait(10.0)
        raise KeyboardInterrupt
    assert asker.traffic().answers == {}


def test_new_answer_is_one_to_a_request_of_now() -> None:
    """Whoever was asked before does not show who is there now; silence ends the waiting."""
    talking = Script(then="1.0.0")
    with Asker(talking, ROWS, clock=talking.clock) as asker:
        before = asker.traffic().answers.get("wine 1.0.0", 0)
        assert asker.wait_for_answer(1e9)
        assert asker.traffic().answers["wine 1.0.0"] >= before + 2
    silent = Script(then=SILENCE)
    with Asker(silent, ROWS, clock=silent.clock) as asker:
        assert not asker.wait_for_answer(3.0)
    assert asker.traffic().answers == {}
