"""Many threads that ask, and know what must come back."""

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from consumer.client import InferenceClient
from consumer.errors import (
    InferenceError,
    NotANumberError,
    UnknownCategoryError,
    UnknownFeatureError,
)
from consumer.prediction import Prediction
from interface.errors import TransportError
from tests.conftest import Packed, bits

FAULTS: tuple[tuple[str, Any, type[InferenceError], str], ...] = (
    ("colours", "red", UnknownFeatureError, "records[{row}].colours"),
    ("size", "large", NotANumberError, "records[{row}].size"),
    ("colour", "mauve", UnknownCategoryError, "records[{row}].colour"),
)
"""A field of the mixed bundle, a wrong value, the error it leads to, and the place this names."""


class Answers:
    """What the mixed bundle says about its sample rows, one by one."""

    def __init__(self, packed: Packed) -> None:
        self.rows = packed.rows
        found = packed.bundle.predict(list(packed.rows))
        assert found.probabilities is not None
        self._predictions, self._probabilities = found.predictions, found.probabilities

    def check(self, picked: Sequence[int], got: Prediction) -> None:
        """Fails unless the prediction is that of these rows, to the last bit."""
        assert list(got.predictions) == [self._predictions[i] for i in picked]
        assert bits(got.probabilities) == bits([self._probabilities[i] for i in picked])


@dataclass(slots=True)
class Outcomes:
    """What became of requests.

    Attributes:
        counts: `answered`, and the codes of errors.
        failures: of the tests' own checks.
    """

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[BaseException] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, outcome: str) -> None:
        """Takes note of one."""
        with self._lock:
            self.counts[outcome] += 1

    def fail(self, error: BaseException) -> None:
        """Takes note of what must not be."""
        with self._lock:
            self.failures.append(error)


class Asker:
    """Asks requests of many sizes, some of them wrong, and checks what comes back."""

    def __init__(
        self, client: InferenceClient, answers: Answers, outcomes: Outcomes, seed: int
    ) -> None:
        self._client = client
        self._answers = answers
        self._outcomes = outcomes
        self._draw = random.Random(seed)

    def ask(self, timeout_s: float) -> None:
        """One request; its outcome is counted."""
        n_rows = self._draw.choice((1, 1, 1, 1, 2, 3, 7, 20, 60))
        picked = [self._draw.randrange(len(self._answers.rows)) for _ in range(n_rows)]
        rows = [dict(self._answers.rows[i]) for i in picked]
        try:
            if self._draw.random() < 0.1:
                self._outcomes.count(self._ask_wrong(rows, timeout_s))
                return
            self._answers.check(picked, self._client.predict(rows, timeout_s))
            self._outcomes.count("answered")
        except (InferenceError, TransportError) as error:
            self._outcomes.count(error.code)
        except BaseException as error:
            self._outcomes.fail(error)

    def _ask_wrong(self, rows: list[dict[str, Any]], timeout_s: float) -> str:
        name, value, kind, place = self._draw.choice(FAULTS)
        at = self._draw.randrange(len(rows))
        rows[at][name] = value
        try:
            got = self._client.predict(rows, timeout_s)
        except kind as error:
            # A client sends records that are alike as a table, of which a column is at fault.
            assert str(error).startswith((place.format(row=at), "columns[")), str(error)
            return "refused"
        raise AssertionError(f"a wrong {name} was predicted: {got}")


class Traffic:
    """Askers that ask in the background until they are stopped."""

    def __init__(self, clients: Sequence[InferenceClient], packed: Packed, n_threads: int) -> None:
        self.outcomes = Outcomes()
        self._has_stopped = threading.Event()
        answers = Answers(packed)
        self._askers = [
            Asker(client, answers, self.outcomes, seed=100 * i + j)
            for i, client in enumerate(clients)
            for j in range(n_threads)
        ]

    def run(self, n_each: int, timeout_s: float) -> None:
        """Has every thread ask so many requests."""

        def ask_some(asker: Asker) -> None:
            for _ in range(n_each):
                asker.ask(timeout_s)

        self._in_threads(ask_some)
        for thread in self._threads:
            thread.join()

    def start(self, timeout_s: float) -> None:
        """Has every thread ask until `stop`."""

        def ask_on(asker: Asker) -> None:
            while not self._has_stopped.is_set():
                asker.ask(timeout_s)

        self._in_threads(ask_on)

    def stop(self) -> Outcomes:
        """Ends the threads once each has its answer; what has become of all requests."""
        self._has_stopped.set()
        for thread in self._threads:
            thread.join()
        return self.outcomes

    def _in_threads(self, work: Callable[[Asker], object]) -> None:
        self._threads = [
            threading.Thread(target=work, args=(asker,), daemon=True) for asker in self._askers
        ]
        for thread in self._threads:
            thread.start()
