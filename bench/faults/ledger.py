"""What became of every request, and what must not have.

A request begins and ends once. It ends in an answer, right to the last bit, or in a typed error of
those that its time allows: outside of faults none.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

ANSWERED = "answered"
REFUSED = "refused"
"""A request that was wrong, and was told so."""

WRONG = "wrong"
UNTYPED = "untyped"

PASSING = frozenset(
    {
        "busy",
        "connection_lost",
        "deadline_exceeded",
        "deaf",
        "request_timeout",
        "token_refused",
        "transport_timeout",
    }
)
"""Codes of errors in which a request may end where a fault is about."""

ECHO_S = 2.5
"""After a fault that doubles or swaps messages, for what is under way of them."""

GRACE_S = 3.0
"""Beyond its timeout, for a call to come back on a machine that is busy."""


@dataclass(slots=True)
class Window:
    """A fault, from its injection to the recovery from it.

    Attributes:
        fault: its name.
        detail: what was done to whom.
        began_s: of the injection.
        allowed: codes of errors that requests may end in.
        in_flight: requests that were under way at the injection.
        healed_s: when it was over; None before.
        recovered_s: when all askers had an answer again; None where they have not.
        mixes: whether replies may come twice and out of order.
        holds_callers: whether callers themselves stand still, so that calls come back late.
        by_hand: how many times somebody had to restart the component.
        silent_s: the longest time in which nobody had an answer.
        outcomes: of the requests that were touched.
    """

    fault: str
    detail: str
    began_s: float
    allowed: frozenset[str]
    in_flight: int = 0
    healed_s: float | None = None
    recovered_s: float | None = None
    mixes: bool = False
    holds_callers: bool = False
    by_hand: int = 0
    silent_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def touches(self, began_s: float, ended_s: float) -> bool:
        """Whether a span of time has a moment in common with it."""
        return ended_s >= self.began_s and (self.recovered_s is None or began_s <= self.recovered_s)


@dataclass(frozen=True, slots=True)
class Violation:
    """What must not be.

    Attributes:
        kind: in a word.
        at_s: when.
        text: the rest.
        fault: what was about then; empty for nothing.
    """

    kind: str
    at_s: float
    text: str
    fault: str = ""


@dataclass(frozen=True, slots=True)
class _Open:
    began_s: float
    timeout_s: float


@dataclass(frozen=True, slots=True)
class _Ended:
    asker: str
    began_s: float
    ended_s: float
    timeout_s: float
    outcome: str
    detail: str


class Ledger:
    """Keeps the books; safe to use from several threads."""

    def __init__(self) -> None:
        self.windows: list[Window] = []
        self.totals: Counter[str] = Counter()
        self.notes: Counter[str] = Counter()
        self.per_second: Counter[int] = Counter()
        self.longest_queue = 0
        self._lock = threading.Lock()
        self._open: dict[str, dict[int, _Open]] = {}
        self._bad: list[_Ended] = []
        self._violations: list[Violation] = []
        self._oddities: list[Violation] = []
        self._last_answer: dict[str, tuple[float, float]] = {}
        self._last_any_s = 0.0

    # --- what happens -----------------------------------------------------------------------------

    def begin(self, asker: str, number: int, at_s: float, timeout_s: float) -> None:
        """A request was made."""
        with self._lock:
            requests = self._open.setdefault(asker, {})
            if number in requests:
                self._violate("begun twice", at_s, f"{asker} {number}")
            requests[number] = _Open(at_s, timeout_s)
            self.totals["requests"] += 1

    def end(self, asker: str, number: int, at_s: float, outcome: str, detail: str = "") -> None:
        """A request has come to its end."""
        with self._lock:
            request = self._open.get(asker, {}).pop(number, None)
            if request is None:
                self._violate("ended twice", at_s, f"{asker} {number}: {outcome}")
                return
            self.totals[outcome] += 1
            ended = _Ended(asker, request.began_s, at_s, request.timeout_s, outcome, detail)
            for window in self._near(ended):
                window.outcomes[outcome] += 1
            if outcome == ANSWERED:
                self.per_second[int(at_s)] += 1
                self._heard(asker, request.began_s, at_s)
            is_late = at_s - request.began_s > request.timeout_s + GRACE_S
            if outcome not in {ANSWERED, REFUSED} or is_late:
                self._bad.append(ended)

    def probed(self, asker: str, began_s: float, ended_s: float) -> None:
        """A request that is no more than a probe was answered; unanswered ones are not told."""
        with self._lock:
            self._heard(asker, began_s, ended_s)

    def gone(self, asker: str) -> int:
        """An asker was killed; how many of its requests have nobody any more who waits."""
        with self._lock:
            left = len(self._open.pop(asker, {}))
            self._last_answer.pop(asker, None)
            self.totals["caller gone"] += left
            return left

    def note(self, what: str, n: int = 1) -> None:
        """Something that is worth a count."""
        with self._lock:
            self.notes[what] += n

    def odd(self, kind: str, at_s: float, text: str) -> None:
        """A reply came twice or out of order; a fault may be about that does so."""
        with self._lock:
            self.notes[kind] += 1
            self._oddities.append(Violation(kind, at_s, text))

    def queue(self, waiting: int) -> None:
        """The component has told how many requests wait in it."""
        with self._lock:
            self.longest_queue = max(self.longest_queue, waiting)

    def violate(self, kind: str, at_s: float, text: str) -> None:
        """Something is not as it must be."""
        with self._lock:
            self._violate(kind, at_s, text)

    def open_window(self, window: Window) -> None:
        """A fault begins."""
        with self._lock:
            window.in_flight = sum(map(len, self._open.values()))
            self.windows.append(window)

    # --- what can be told of it -------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """How many requests are under way."""
        with self._lock:
            return sum(map(len, self._open.values()))

    def answered_since(self, asker: str, began_s: float, ended_s: float) -> float | None:
        """When an asker had its last answer; None where none is of a request begun after, and ended
        after these times."""
        with self._lock:
            began, ended = self._last_answer.get(asker, (-1.0, -1.0))
            return ended if began >= began_s and ended >= ended_s else None

    def verdict(self, now_s: float, *, is_over: bool) -> list[Violation]:
        """All that must not have been.

        Args:
            now_s: when it is asked.
            is_over: whether all askers have ended, so that whatever is open is lost.
        """
        with self._lock:
            found = list(self._violations)
            found += (it for it in self._oddities if not self._is_mixed(it.at_s))
            for ended in self._bad:
                found += self._judge(ended)
            for asker, requests in self._open.items():
                for number, request in requests.items():
                    limit_s = request.timeout_s + GRACE_S
                    if is_over or (
                        now_s - request.began_s > limit_s
                        and not self._is_held(request.began_s, now_s)
                    ):
                        text = f"{asker} {number}: got no end in {now_s - request.began_s:.1f} s"
                        found.append(Violation("lost", request.began_s, text))
            found += self._unrecovered()
        return sorted(found, key=lambda it: it.at_s)

    def lost_in(self, window: Window) -> int:
        """How many requests that a fault touched have not ended, or in no typed error."""
        with self._lock:
            waiting = (
                request
                for requests in self._open.values()
                for request in requests.values()
                if request.began_s <= (window.recovered_s or window.began_s)
            )
            return window.outcomes[UNTYPED] + sum(1 for _ in waiting)

    def _heard(self, asker: str, began_s: float, at_s: float) -> None:
        self._last_answer[asker] = (began_s, at_s)
        window = self.windows[-1] if self.windows else None
        if window is not None and window.recovered_s is None:
            since_s = max(self._last_any_s, window.began_s)
            window.silent_s = max(window.silent_s, at_s - since_s)
        self._last_any_s = max(self._last_any_s, at_s)

    def _violate(self, kind: str, at_s: float, text: str) -> None:
        fault = next((it.fault for it in reversed(self.windows) if it.touches(at_s, at_s)), "")
        self._violations.append(Violation(kind, at_s, text, fault))

    def _near(self, ended: _Ended) -> Iterator[Window]:
        """The windows that a request has touched; they come one after the other."""
        for window in reversed(self.windows):
            if window.recovered_s is not None and window.recovered_s < ended.began_s:
                return
            if window.touches(ended.began_s, ended.ended_s):
                yield window

    def _judge(self, ended: _Ended) -> Iterator[Violation]:
        windows = [it for it in self.windows if it.touches(ended.began_s, ended.ended_s)]
        fault = windows[0].fault if windows else ""
        text = f"{ended.asker}: {ended.outcome} after {ended.ended_s - ended.began_s:.3f} s"
        text += f" {ended.detail}" if ended.detail else ""
        took_s = ended.ended_s - ended.began_s
        if took_s > ended.timeout_s + GRACE_S and not any(it.holds_callers for it in windows):
            yield Violation("late", ended.ended_s, text, fault)
        if ended.outcome in {ANSWERED, REFUSED}:
            return
        if ended.outcome in {WRONG, UNTYPED}:
            yield Violation(ended.outcome, ended.ended_s, text, fault)
        elif not windows:
            yield Violation("error in calm", ended.ended_s, text)
        elif not any(ended.outcome in it.allowed for it in windows):
            yield Violation("error of another kind", ended.ended_s, text, fault)

    def _unrecovered(self) -> Iterator[Violation]:
        for window in self.windows:
            if window.healed_s is not None and window.recovered_s is None:
                yield Violation("no recovery", window.healed_s, window.detail, window.fault)

    def _is_mixed(self, at_s: float) -> bool:
        return any(it.mixes and it.touches(at_s - ECHO_S, at_s) for it in self.windows)

    def _is_held(self, began_s: float, ended_s: float) -> bool:
        return any(it.holds_callers and it.touches(began_s, ended_s) for it in self.windows)
