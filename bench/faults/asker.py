"""`python -m bench.faults.asker SPECIFICATION`: a consumer, in a process that may be killed.

Some threads share an `InferenceClient`; another asks it with little patience, so that recovery is
seen soon, and its failures do not count; one asks for the component's health; and one asks by hand,
with several requests under way, and looks at the order of the replies. Each line on stdout is a
record for the ledger:

["begin", who, number, time, timeout], ["end", who, number, time, outcome, detail],
["probed", who, from, to], ["odd", who, kind, time, text], ["note", who, what],
["queue", who, requests that wait in the component]

Lines on stdin are orders: {"clock_s": 3600} makes the process believe in another time.
"""

import contextlib
import json
import logging
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.faults.answers import Answers
from bench.faults.ledger import ANSWERED, REFUSED, UNTYPED, WRONG
from bench.faults.ordered import Ordered
from consumer.client import InferenceClient
from consumer.errors import InferenceError, NotANumberError
from interface.errors import TransportError
from interface.greengrass import CoreDevice, connect
from nucleus.root import DeviceRoot

CONNECTIONS = ("client", "hand")
"""Who asks, in records: each has a connection of its own."""

_SIZES = (1, 1, 1, 1, 2, 3, 7, 20, 60)
_PROBE_S = 0.25
_WATCH_S = 0.5
_PAUSE_S = 0.02
"""After an error, lest those that come at once come by the thousand."""


_lock = threading.Lock()


class Records:
    """Writes the records of one connection, whole lines, from any thread."""

    def __init__(self, who: str) -> None:
        self._who = who
        self._lock = _lock
        self._number = 0

    def begin(self, timeout_s: float) -> int:
        """The number of a request that begins now."""
        with self._lock:
            self._number += 1
            number = self._number
            self._write("begin", number, time.monotonic(), timeout_s)
        return number

    def end(self, number: int, outcome: str, detail: str = "") -> None:
        """A request ends."""
        with self._lock:
            self._write("end", number, time.monotonic(), outcome, detail)

    def probed(self, began_s: float) -> None:
        """A probe was answered."""
        with self._lock:
            self._write("probed", began_s, time.monotonic())

    def odd(self, kind: str, text: str) -> None:
        """A reply is not as it should be, unless a fault makes it so."""
        with self._lock:
            self._write("odd", kind, time.monotonic(), text)

    def note(self, what: str) -> None:
        """Something to count."""
        with self._lock:
            self._write("note", what)

    def queue(self, waiting: int) -> None:
        """The component has told how many requests wait in it."""
        with self._lock:
            self._write("queue", waiting)

    def _write(self, kind: str, *fields: object) -> None:
        sys.stdout.write(f"{json.dumps([kind, self._who, *fields])}\n")
        sys.stdout.flush()


class _Duplicates(logging.Handler):
    """Counts what the client drops, by its own log."""

    def __init__(self, records: Records) -> None:
        super().__init__(logging.DEBUG)
        self._records = records

    def emit(self, record: logging.LogRecord) -> None:
        if record.msg == "a reply that nobody waits for":
            self._records.note("replies that nobody waited for")


class Caller:
    """One thread's requests through the client."""

    def __init__(
        self, client: InferenceClient, answers: Answers, records: Records, seed: int
    ) -> None:
        self._client = client
        self._answers = answers
        self._records = records
        self._draw = random.Random(seed)  # noqa: S311  (no secret)

    def ask(self, timeout_s: float) -> None:
        """One request, from its beginning to its end."""
        n_rows = self._draw.choice(_SIZES)
        picked = [self._draw.randrange(len(self._answers.rows)) for _ in range(n_rows)]
        rows = [dict(self._answers.rows[at]) for at in picked]
        is_wrong = self._draw.random() < 0.05
        if is_wrong:
            rows[-1]["hue"] = "acid"
        number = self._records.begin(timeout_s)
        outcome, detail = self._outcome(rows, picked, timeout_s, is_wrong=is_wrong)
        self._records.end(number, outcome, detail)
        if outcome not in {ANSWERED, REFUSED}:
            time.sleep(_PAUSE_S)

    def _outcome(
        self, rows: list[dict[str, Any]], picked: list[int], timeout_s: float, *, is_wrong: bool
    ) -> tuple[str, str]:
        try:
            got = self._client.predict(rows, timeout_s)
        except NotANumberError as error:
            return (REFUSED, "") if is_wrong else (WRONG, str(error))
        except (InferenceError, TransportError) as error:
            return error.code, str(error)
        except BaseException as error:
            return UNTYPED, repr(error)
        if is_wrong:
            return WRONG, "a wrong row was predicted"
        detail = self._answers.difference(got.version, picked, got.predictions, got.probabilities)
        return (WRONG, detail) if detail else (ANSWERED, "")


def connector(
    root: DeviceRoot, socket: str, max_packet_bytes: int | None
) -> Callable[[], CoreDevice]:
    """What connects to a device that may be another each time."""

    def connect_now() -> CoreDevice:
        _, token = root.read_tools_token()
        return connect(socket, token, max_packet_bytes=max_packet_bytes)

    return connect_now


def main(specification: str) -> None:
    """Asks until stdin ends."""
    fields = json.loads(specification)
    records, by_hand = (Records(who) for who in CONNECTIONS)
    answers = Answers(Path(fields["answers"]))
    timeout_s, seed = fields["timeout_s"], fields["seed"]
    log = logging.getLogger("consumer.exchange")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    log.addHandler(_Duplicates(records))
    root = DeviceRoot(Path(fields["root"]))
    connect_now = connector(root, fields["socket"], fields["max_packet_bytes"])
    has_ended = threading.Event()
    client = InferenceClient(connect_now)

    def ask_on(caller: Caller) -> None:
        while not has_ended.is_set():
            caller.ask(timeout_s)

    def probe_on() -> None:
        while not has_ended.wait(_PAUSE_S):
            began_s = time.monotonic()
            with contextlib.suppress(InferenceError, TransportError):
                client.predict(answers.rows[0], _PROBE_S)
                records.probed(began_s)

    def watch_on() -> None:
        while not has_ended.wait(_WATCH_S):
            with contextlib.suppress(InferenceError, TransportError):
                records.queue(client.health(timeout_s).waiting)

    callers = [Caller(client, answers, records, 1000 * seed + n) for n in range(fields["threads"])]
    ordered = Ordered(connect_now, answers, by_hand, seed, timeout_s)
    threads = [threading.Thread(target=ask_on, args=(caller,)) for caller in callers]
    threads.append(threading.Thread(target=probe_on))
    threads.append(threading.Thread(target=watch_on))
    threads.append(threading.Thread(target=ordered.run, args=(has_ended,)))
    for thread in threads:
        thread.start()
    follow_orders()
    has_ended.set()
    for thread in threads:
        thread.join()
    client.close()


def follow_orders() -> None:
    """Returns at the end of stdin."""
    tell_time = time.time
    for line in sys.stdin:
        with contextlib.suppress(ValueError, KeyError):
            offset_s = float(json.loads(line)["clock_s"])
            time.time = lambda offset_s=offset_s: tell_time() + offset_s  # type: ignore[misc]


if __name__ == "__main__":
    main(sys.argv[1])
