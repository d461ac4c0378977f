"""One who asks for predictions while an update goes on, and keeps count of who answers when."""

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self

from consumer.errors import (
    BusyError,
    ClientClosedError,
    DeadlineExceededError,
    InferenceError,
    RequestTimeoutError,
)
from consumer.prediction import Prediction
from interface.errors import TransportError

TRY_S = 0.2
"""How long one try may take: whoever publishes while nobody listens is never answered, and asks
again. So long is a gap's error, too."""

_PAUSE_S = 0.01
_LAST_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What became of the requests that were made during an update.

    Attributes:
        answers: how many, by who answered: the model's name and version, or an error's code.
        n_repeated: tries without an answer, after which the same was asked again.
        n_lost: requests that had no answer seconds after the end either.
        gap_s: the longest time without an answer after the first one, up to the end where nobody
            answers any more; 0 without one.
        last: who answered last; empty where nobody does, or nobody does any more.
    """

    answers: Mapping[str, int] = field(default_factory=dict)
    n_repeated: int = 0
    n_lost: int = 0
    gap_s: float = 0.0
    last: str = ""


class Client(Protocol):
    """What is asked; `InferenceClient` is one."""

    def predict(self, rows: Any, timeout_s: float) -> Prediction:
        """What the model says about the rows.

        Raises:
            InferenceError: there is no answer, or a refusal.
            TransportError: the bus refused.
        """


class Asker:
    """Asks for the same rows in turn, each again and again until it is answered."""

    def __init__(
        self,
        client: Client,
        rows: Sequence[Mapping[str, Any]],
        *,
        clock: Callable[[], float] = time.monotonic,
        pause_s: float = _PAUSE_S,
        on_answer: Callable[[str], object] = lambda _who: None,
    ) -> None:
        """Asks nothing before the block begins.

        Args:
            client: whose end is the end of the asker, too.
            rows: of a model, old or new; one at least.
            clock: tells the time in seconds.
            pause_s: between an answer and the next request.
            on_answer: told at once who has answered, in the asker's thread.
        """
        self._clock = clock
        self._client = client
        self._rows = rows
        self._pause_s = pause_s
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._answers: Counter[str] = Counter()
        self._n_repeated = 0
        self._gap_s = 0.0
        self._last, self._last_at = "", 0.0
        self._n_lost = 0
        self._ends = math.inf
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="rollout-asker", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error, or Ctrl-C, nobody is going to read what becomes of the last request.
        self._ends = self._clock() + (_LAST_S if kind is None else 0.0)
        self._is_over.set()
        self._thread.join()

    def traffic(self) -> Traffic:
        """What became of the requests until now."""
        with self._lock:
            return Traffic(
                answers=dict(self._answers),
                n_repeated=self._n_repeated,
                n_lost=self._n_lost,
                gap_s=self._gap_s,
                last=self._last,
            )

    def wait_for_answer(self, timeout_s: float) -> bool:
        """Whether a request that is made from now on is answered in time."""
        end = self._clock() + timeout_s
        wanted = self._n_answers() + 2  # one is under way
        while self._n_answers() < wanted:
            if self._clock() > end or not self._thread.is_alive():
                return False
            time.sleep(_PAUSE_S)
        return True

    def _n_answers(self) -> int:
        with self._lock:
            return self._answers.total()

    def _run(self) -> None:
        number = 0
        with contextlib.suppress(ClientClosedError):
            while not self._is_over.is_set():
                self._ask(self._rows[number % len(self._rows)])
                number += 1
                self._is_over.wait(self._pause_s)

    def _ask(self, row: Mapping[str, Any]) -> None:
        """Asks until there is an answer, or nobody wants to know any more."""
        while self._clock() < self._ends:
            try:
                got = self._client.predict(row, TRY_S)
            except (RequestTimeoutError, DeadlineExceededError, BusyError, TransportError):
                with self._lock:
                    self._n_repeated += 1
                time.sleep(_PAUSE_S)
            except ClientClosedError:
                raise
            except InferenceError as error:
                self._count(f"error {error.code}")
                return
            else:
                self._count(f"{got.model} {got.version}")
                return
        with self._lock:
            self._n_lost += 1
            self._note_gap(self._clock())
            self._last = ""

    def _count(self, who: str) -> None:
        now = self._clock()
        with self._lock:
            self._note_gap(now)
            self._answers[who] += 1
            self._last, self._last_at = who, now
        self._on_answer(who)

    def _note_gap(self, now: float) -> None:
        if self._last:
            self._gap_s = max(self._gap_s, now - self._last_at)
