"""The fault bench itself: a violation is found, a seed repeats, and the proxy does what it says."""

import contextlib
import json
import random
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, cast

import pytest

from bench.faults.catalogue import FAULTS, lasting_s, steady
from bench.faults.document import write_docs
from bench.faults.fault import Fault
from bench.faults.ledger import ANSWERED, ECHO_S, GRACE_S, PASSING, UNTYPED, WRONG, Ledger, Window
from bench.faults.ordered import Order
from bench.faults.pairs import TwoAtOnce
from bench.faults.picture import draw
from bench.faults.proxy import (
    TO_CLIENT,
    TO_DEVICE,
    Cut,
    Deaf,
    Double,
    Proxy,
    Shorten,
    Stall,
    Swap,
    Tamper,
    Trickle,
    WrongToken,
    everyone,
    take_frames,
)
from bench.faults.report import tell_load, to_json
from bench.faults.resources import Holding, Sample, hold, judge_holdings
from bench.faults.rig import MAX_WAITING, Rig
from bench.faults.run import carry_out
from bench.faults.schedule import LONG_S, STEADY_S, Entry, Schedule
from bench.machine import describe_run
from nucleus.eventstream.decode import Decoder
from nucleus.eventstream.encode import encode_message
from nucleus.eventstream.message import Message, MessageType, make_message, text_header
from tests.device.waiting import wait_until

# --- the ledger -----------------------------------------------------------------------------------


def kinds(ledger: Ledger, now_s: float = 100.0, *, is_over: bool = True) -> list[str]:
    """What a ledger finds."""
    return [it.kind for it in ledger.verdict(now_s, is_over=is_over)]


def ask(ledger: Ledger, began_s: float, ended_s: float, outcome: str, number: int = 1) -> None:
    """One request of one asker."""
    ledger.begin("asker", number, began_s, 2.0)
    ledger.end("asker", number, ended_s, outcome)


def window(began_s: float, recovered_s: float | None, **fields: object) -> Window:
    """A fault that was over when everybody had recovered from it."""
    given: dict[str, object] = {"allowed": PASSING, "healed_s": recovered_s, **fields}
    return Window("fault", "", began_s, recovered_s=recovered_s, **given)  # type: ignore[arg-type]


def test_requests_that_are_answered_violate_nothing() -> None:
    """And are counted, by the second, too."""
    ledger = Ledger()
    ask(ledger, 1.0, 1.5, ANSWERED)
    ask(ledger, 1.5, 1.9, "refused", 2)
    assert kinds(ledger) == []
    assert ledger.totals == {"requests": 2, ANSWERED: 1, "refused": 1}
    assert ledger.per_second == {1: 1}


@pytest.mark.parametrize(
    ("outcome", "kind"),
    [(WRONG, WRONG), (UNTYPED, UNTYPED), ("request_timeout", "error in calm")],
)
def test_request_that_ends_badly_in_calm_is_found(outcome: str, kind: str) -> None:
    """Where no fault is about, any error is one too many."""
    ledger = Ledger()
    ask(ledger, 1.0, 1.5, outcome)
    assert kinds(ledger) == [kind]


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (ANSWERED, []),
        ("request_timeout", []),
        ("internal", ["error of another kind"]),
        (WRONG, [WRONG]),
        (UNTYPED, [UNTYPED]),
    ],
)
def test_request_that_a_fault_touches_may_end_in_the_errors_it_allows(
    outcome: str, expected: list[str]
) -> None:
    """And in no others; a wrong answer is never allowed."""
    ledger = Ledger()
    ledger.open_window(window(1.2, 1.4))
    ask(ledger, 1.0, 1.5, outcome)
    assert kinds(ledger) == expected
    assert ledger.windows[0].outcomes == {outcome: 1}


def test_error_after_the_recovery_is_one_in_calm() -> None:
    """A request that began later has no excuse."""
    ledger = Ledger()
    ledger.open_window(window(0.2, 0.9))
    ask(ledger, 1.0, 1.5, "request_timeout")
    assert kinds(ledger) == ["error in calm"]


def test_request_that_never_ends_is_lost() -> None:
    """At the end at once, before that when its time is over."""
    ledger = Ledger()
    ledger.begin("asker", 1, 1.0, 2.0)
    assert kinds(ledger, 3.0 + GRACE_S, is_over=False) == []
    assert kinds(ledger, 3.1 + GRACE_S, is_over=False) == ["lost"]
    assert kinds(ledger, 1.1) == ["lost"]


def test_request_whose_caller_was_killed_is_not_lost() -> None:
    """Nobody waits for it."""
    ledger = Ledger()
    ledger.begin("asker", 1, 1.0, 2.0)
    assert ledger.in_flight == 1
    assert ledger.gone("asker") == 1
    assert kinds(ledger) == []


def test_call_that_comes_back_late_is_found_unless_its_caller_stood_still() -> None:
    """A timeout is a promise."""
    ledger = Ledger()
    ask(ledger, 1.0, 3.1 + GRACE_S, ANSWERED)
    assert kinds(ledger) == ["late"]
    ledger.open_window(window(2.0, 3.0, holds_callers=True))
    assert kinds(ledger) == []


def test_request_that_begins_or_ends_twice_is_found() -> None:
    """Exactly once."""
    ledger = Ledger()
    ledger.begin("asker", 1, 1.0, 2.0)
    ledger.begin("asker", 1, 1.1, 2.0)
    ledger.end("asker", 1, 1.2, ANSWERED)
    ledger.end("asker", 1, 1.3, ANSWERED)
    assert kinds(ledger) == ["begun twice", "ended twice"]


@pytest.mark.parametrize(("at_s", "expected"), [(1.5, []), (2.1 + ECHO_S, ["twice"])])
def test_second_reply_is_found_unless_the_bus_doubles(at_s: float, expected: list[str]) -> None:
    """Or has just done so."""
    ledger = Ledger()
    ledger.open_window(window(1.0, 2.0, mixes=True))
    ledger.odd("twice", at_s, "")
    assert kinds(ledger) == expected


def test_fault_without_recovery_is_found() -> None:
    """Once it was healed."""
    ledger = Ledger()
    ledger.open_window(window(1.0, None))
    assert kinds(ledger) == []
    ledger.windows[0].healed_s = 2.0
    assert kinds(ledger) == ["no recovery"]


def test_recovery_is_an_answer_to_what_was_asked_since() -> None:
    """An answer that was on its way before the fault proves nothing; a probe's is as good."""
    ledger = Ledger()
    ask(ledger, 1.0, 3.0, ANSWERED)
    assert ledger.answered_since("asker", 2.0, 2.5) is None
    ledger.probed("asker", 2.2, 3.1)
    assert ledger.answered_since("asker", 2.0, 3.2) is None
    assert ledger.answered_since("asker", 2.0, 2.5) == 3.1


class Oddities:
    """Takes note of what an order finds."""

    def __init__(self) -> None:
        self.kinds: list[str] = []

    def begin(self, _timeout_s: float) -> int:
        raise AssertionError

    def end(self, _number: int, _outcome: str, _detail: str = "") -> None:
        raise AssertionError

    def note(self, _what: str) -> None:
        raise AssertionError

    def odd(self, kind: str, _text: str) -> None:
        self.kinds.append(kind)


def test_replies_twice_or_out_of_order_are_found() -> None:
    """But those that say `busy` may come before others."""
    book = Oddities()
    order = Order(book)
    for number, is_busy in ((1, False), (3, True), (2, False), (4, False)):
        order.take(number, is_busy=is_busy)
    assert book.kinds == []
    order.take(4, is_busy=False)
    order.take(6, is_busy=False)
    order.take(5, is_busy=False)
    assert book.kinds == ["twice", "out of order"]


def test_order_is_that_of_one_connection() -> None:
    """A request that an earlier connection has held up may be answered late, but not twice."""
    book = Oddities()
    order = Order(book)
    order.take(1, is_busy=False)
    order.connect(3)
    order.take(5, is_busy=False)
    order.take(2, is_busy=False)
    assert book.kinds == []
    order.take(2, is_busy=False)
    order.take(4, is_busy=False)
    assert book.kinds == ["twice", "out of order"]


# --- what processes hold --------------------------------------------------------------------------


def samples(threads: list[int], rss_bytes: list[int], age_s: float = 100.0) -> list[Sample]:
    """Of one process, a second apart."""
    return [
        Sample(float(at), "device", 1, age_s + at, rss, n, 10, is_calm=True)
        for at, (n, rss) in enumerate(zip(threads, rss_bytes, strict=True))
    ]


def test_memory_and_threads_that_grow_are_found() -> None:
    """Over the last part of a run with a steady end, and from its beginning to its end."""
    grown = hold(samples([4] * 10 + [20] * 10, [100_000] * 10 + [106_000] * 10), 60.0)
    assert grown == [Holding("device", 106_000, 1.06, (4, 20), (10, 10))]
    assert [it.kind for it in judge_holdings(grown, 0.0, is_steady=True)] == ["memory", "threads"]
    assert [it.kind for it in judge_holdings(grown, 0.0, is_steady=False)] == ["threads"]


def test_memory_of_a_young_process_is_not_compared_but_at_a_steady_end_it_must_be() -> None:
    """A process that has just started grows into its work; a steady end has none of those."""
    young = hold(samples([4] * 20, [100_000] * 10 + [200_000] * 10, age_s=1.0), 60.0)
    assert young[0].growth is None
    assert list(judge_holdings(young, 0.0, is_steady=False)) == []
    [violation] = judge_holdings(young, 0.0, is_steady=True)
    assert violation.text == "device: got no process to compare"


def test_more_memory_than_anybody_needs_is_found() -> None:
    """Whatever it was before."""
    huge = [Holding("component", 2**30, None, (4, 4), (10, 10))]
    [violation] = judge_holdings(huge, 0.0, is_steady=False)
    assert violation.text == "component: got 1024 MiB"


def test_load_is_told_with_the_queue_and_the_factor_of_floods() -> None:
    """What came, what was served, and what never came at all."""
    notes = {"flood: published": 450, "flood: status 200": 9, "twice": 3}
    assert list(tell_load({"longest_queue": 64, "notes": notes})) == [
        "the component's queue, by its own account: at most 64 requests",
        "floods: 450 requests were published, 9 were answered, 50 times as many",
    ]
    assert len(list(tell_load({"longest_queue": 0, "notes": {}}))) == 1


class Recorded(Fault):
    """Writes down what is done with it."""

    done: ClassVar[list[str]] = []

    def inject(self, rig: Rig) -> str:
        del rig
        self.done.append(f"inject {self.name}")
        return "it"

    def heal(self, rig: Rig) -> None:
        del rig
        self.done.append(f"heal {self.name}")


def test_two_faults_at_once_end_in_the_reverse_order() -> None:
    """So that what the second has found broken is still so when it is mended."""
    wire, process = (type("Named", (Recorded,), {"name": it}) for it in ("wire", "process"))
    kind = type("Both", (TwoAtOnce,), {"first": (wire,), "second": (process,)})
    both = kind(random.Random(1))
    assert both.inject(cast("Rig", None)) == "wire: it; process: it"
    both.heal(cast("Rig", None))
    assert Recorded.done == ["inject wire", "inject process", "heal process", "heal wire"]


# --- the schedule ---------------------------------------------------------------------------------


def draw_schedule(seed: int, seconds: float, personality: str = "lite") -> Schedule:
    lasting = lasting_s()
    return Schedule.draw(personality, seed, seconds, lasting, steady(lasting, personality))


def test_same_seed_has_the_same_schedule_and_another_another() -> None:
    """And every fault comes once before any comes twice."""
    schedule = draw_schedule(7, 300.0)
    assert schedule == draw_schedule(7, 300.0)
    assert schedule.entries != draw_schedule(8, 300.0).entries
    n_faults = len(lasting_s())
    assert len({it.fault for it in schedule.entries[:n_faults]}) == n_faults
    for entry in (*schedule.entries, *schedule.steady):
        least, most = FAULTS[entry.fault].lasts_s
        assert least <= entry.lasts_s <= most


def test_schedule_that_was_kept_is_read_again(tmp_path: Path) -> None:
    """To the last digit."""
    schedule = draw_schedule(7, LONG_S)
    schedule.write(tmp_path / "deep" / "schedule.json")
    assert Schedule.read(tmp_path / "deep" / "schedule.json") == schedule


@pytest.mark.parametrize("personality", ["classic", "lite"])
def test_long_run_ends_with_faults_that_leave_processes_alive(personality: str) -> None:
    """Lest nobody lives through the minute over which memory is compared."""
    schedule = draw_schedule(7, LONG_S, personality)
    assert schedule.steady_s == STEADY_S
    names = {it.fault for it in schedule.steady}
    loads = ["slow consumer", "flood from one", "flood from many"]
    in_order = [it.fault for it in schedule.steady]
    assert in_order[:3] == loads
    again = in_order.index(loads[0], 1)
    assert in_order[again : again + 3] == loads
    assert set(in_order[:again]) == names
    assert {"flood from many", "slow consumer", "silent deafness"} <= names
    assert names.isdisjoint({"component killed", "device killed", "consumer killed", "deployment"})
    assert ("configuration changed" in names) == (personality == "classic")
    assert ("token refused" in names) == (personality == "lite")
    short = draw_schedule(7, LONG_S - 1, personality)
    assert (short.steady_s, list(short.steady)) == (0.0, [])


def test_longest_pause_is_for_soaks_alone() -> None:
    """The others come always."""
    assert set(lasting_s(soaks=True)) - set(lasting_s()) == {"device paused 60 s"}
    assert {*lasting_s(soaks=True), *lasting_s(is_container=True)} == set(FAULTS)


# --- the proxy ------------------------------------------------------------------------------------


def event(n: int) -> bytes:
    """A message of a subscription."""
    extra = (text_header("service-model-type", "aws.greengrass#SubscriptionResponseMessage"),)
    message = make_message(MessageType.APPLICATION_MESSAGE, 1, extra=extra, payload=b"%d" % n * 40)
    return encode_message(message)


def other(n: int) -> bytes:
    """A message that is none of a subscription."""
    message = make_message(MessageType.APPLICATION_MESSAGE, 1, payload=b"%d" % n * 40)
    return encode_message(message)


class Wire:
    """A client and a device with a proxy between them."""

    def __init__(self, folder: Path) -> None:
        upstream = socket.socket(socket.AF_UNIX)
        upstream.bind(str(folder / "device"))
        upstream.listen()
        self.proxy = Proxy([folder / "proxy"], folder / "device")
        self.proxy.listen()
        self._path, self._upstream = folder / "proxy", upstream
        self._stack = contextlib.ExitStack()
        self.client, self.device = self.connect()

    def connect(self) -> tuple[socket.socket, socket.socket]:
        """Another connection; both of its ends."""
        client = self._stack.enter_context(socket.socket(socket.AF_UNIX))
        client.settimeout(20.0)
        client.connect(str(self._path))
        device = self._stack.enter_context(self._upstream.accept()[0])
        device.settimeout(20.0)
        return client, device

    def put(self, tamper: Tamper, direction: str = TO_CLIENT) -> None:
        """Tampers with the one connection, once the proxy knows it."""
        self.pass_on(event(0))
        assert self.proxy.tamper(everyone, direction, lambda: tamper) == 1

    def pass_on(self, frame: bytes) -> None:
        """A frame that must arrive as it is."""
        self.device.sendall(frame)
        assert read(self.client, len(frame)) == frame

    def close(self) -> None:
        self._stack.close()
        self.proxy.close()
        self._upstream.close()


def read(end: socket.socket, n_bytes: int) -> bytes:
    """So many bytes, or fewer where the connection ends before."""
    found = b""
    while len(found) < n_bytes and (chunk := end.recv(n_bytes - len(found))):
        found += chunk
    return found


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """A connection through a proxy."""
    made = Wire(tmp_path)
    yield made
    made.close()


def test_frames_are_taken_whole_however_they_come() -> None:
    """And what is no frame is passed on as it is."""
    data, buffer, found = event(1) + other(2), bytearray(), []
    for at in range(len(data)):
        buffer += data[at : at + 1]
        found += take_frames(buffer)
    assert found == [event(1), other(2)]
    assert buffer == b""
    assert take_frames(bytearray(b"\xff" * 20)) == [b"\xff" * 20]


def test_frames_pass_both_ways(wire: Wire) -> None:
    """Where nobody tampers."""
    wire.pass_on(event(1) + other(2))
    wire.client.sendall(other(3))
    assert read(wire.device, len(other(3))) == other(3)


def test_connection_is_cut_in_the_middle_of_a_frame(wire: Wire) -> None:
    """At both ends."""
    wire.put(Cut(0.5))
    wire.device.sendall(event(1))
    assert read(wire.client, 1000) == event(1)[: len(event(1)) // 2]
    assert read(wire.device, 1) == b""


def test_bytes_of_one_frame_are_left_out(wire: Wire) -> None:
    """And the next one is whole."""
    wire.put(Shorten(5))
    wire.device.sendall(event(1) + event(2))
    found = read(wire.client, len(event(1)) - 5 + len(event(2)))
    middle = len(event(1)) // 2
    assert found == event(1)[:middle] + event(1)[middle + 5 :] + event(2)


def test_frames_that_trickle_arrive_whole(wire: Wire) -> None:
    """However small the pieces."""
    wire.put(Trickle(7, 0.0))
    wire.pass_on(event(1) + other(2))


def test_stalled_frames_arrive_when_it_is_over(wire: Wire) -> None:
    """Not before, and in order."""
    wire.put(Stall())
    wire.device.sendall(event(1) + other(2))
    wire.client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        wire.client.recv(1)
    wire.client.settimeout(20.0)
    wire.proxy.heal()
    assert read(wire.client, len(event(1) + other(2))) == event(1) + other(2)
    wire.pass_on(event(3))


def test_events_are_doubled_and_nothing_else(wire: Wire) -> None:
    """A response that came twice would be the device's fault, not the bus's."""
    wire.put(Double())
    wire.device.sendall(event(1) + other(2))
    expected = event(1) * 2 + other(2)
    assert read(wire.client, len(expected)) == expected


def test_events_are_swapped_and_the_last_one_does_not_wait_for_ever(wire: Wire) -> None:
    """Each second one comes before the first."""
    wire.put(Swap())
    wire.device.sendall(event(1) + other(2) + event(3) + event(4))
    expected = other(2) + event(3) + event(1) + event(4)
    assert read(wire.client, len(expected)) == expected


def test_deaf_connection_stays_deaf_and_another_hears(wire: Wire) -> None:
    """Healing does not help it, as on a device."""
    wire.put(Deaf())
    wire.proxy.heal()
    wire.device.sendall(event(1) + other(2))
    assert read(wire.client, len(other(2))) == other(2)
    client, device = wire.connect()
    device.sendall(event(3))
    assert read(client, len(event(3))) == event(3)


def test_token_of_the_next_connection_is_another(wire: Wire) -> None:
    """And of no other; the rest of the CONNECT stays."""
    version = (text_header(":version", "0.1.0"),)
    connect = encode_message(
        make_message(MessageType.CONNECT, 0, extra=version, payload=b'{"authToken":"T"}')
    )
    wire.pass_on(event(0))  # the proxy knows the first connection: the next is another
    wire.proxy.tamper_next(everyone, TO_DEVICE, WrongToken)
    client, device = wire.connect()
    client.sendall(connect + other(1))
    decoder = Decoder(10_000)
    found: list[Message] = []
    while len(found) < 2:
        decoder.feed(device.recv(1000))
        found += decoder.messages()
    assert found[0].text(":version") == "0.1.0"
    assert json.loads(found[0].payload) == {"authToken": "X" * 16}
    assert encode_message(found[1]) == other(1)


def test_proxy_that_serves_nobody_leaves_no_path_and_no_thread(tmp_path: Path) -> None:
    """And ends what was open."""
    before = threading.active_count()
    wire = Wire(tmp_path)
    wire.pass_on(event(1))
    wire.proxy.deafen()
    assert not (tmp_path / "proxy").exists()
    assert read(wire.client, 1) == b""
    wire.close()
    wait_until(lambda: threading.active_count() == before, "the end of the proxy's thread")


# --- all of it ------------------------------------------------------------------------------------


@pytest.mark.parametrize("personality", ["classic", "lite"])
def test_short_run_loses_nothing_and_is_told(personality: str, tmp_path: Path) -> None:
    """A fault of each kind, and the documentation of the run."""
    names = ("cut in a frame", "component killed", "duplicates", "disk full", "consumer killed")
    entries = [Entry(name, 0.5, FAULTS[name].lasts_s[0], 1) for name in names]
    schedule = Schedule(
        personality=personality, seed=1, seconds=300.0, steady_s=0.0, entries=entries, steady=[]
    )
    said: list[str] = []
    run = carry_out(schedule, said.append, tmp_path / "logs")
    assert [violation.text for violation in run.violations] == []
    assert [it.fault for it in run.windows] == list(names)
    assert run.totals["answered"] > 0
    assert 0 < run.longest_queue <= MAX_WAITING
    assert run.totals["requests"] == sum(n for what, n in run.totals.items() if what != "requests")
    found = describe_run("faults") | {
        "runs": [{"component": "process", **json.loads(json.dumps(to_json(run)))}]
    }
    write_docs(tmp_path / "reliability.md", found, draw(found["runs"], tmp_path / "faults.png"))
    text = (tmp_path / "reliability.md").read_text()
    assert all(f"| {name} | 1 |" in text for name in names)
    assert (tmp_path / "logs" / "edgexgb.Inference.log").exists()
