"""Every request gets exactly one reply, nothing waits where it must not, and no end is silent."""

import dataclasses
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from interface.bridge import Answer, Bridge, Limits
from interface.errors import (
    ConnectionLostError,
    DeafError,
    MessageTooLargeError,
    NotPermittedError,
    ServiceFailedError,
    TransportError,
)
from interface.pubsub import MemoryBus, MemoryPubSub, PubSub
from interface.vitals import Counters, Vitals
from tests.interface.conftest import WAIT_S, Recorder, Tampered, wait_until

REQUESTS = "requests"
SECRET = b"bjbtrn5vqkc"


def is_answer(payload: bytes) -> bool:
    return payload.startswith(b"answer ")


class Echo:
    """Answers `REQUESTER rest` at `results/REQUESTER`; can be held, and can be made to fail."""

    def __init__(self) -> None:
        self.batches: list[list[bytes]] = []
        self.threads: list[str] = []
        self.delay_s = 0.0
        self.go = threading.Event()
        self.go.set()
        self.refusing = threading.Event()
        self.refusing.set()
        self.refused: list[tuple[bytes, int]] = []
        self.change: Callable[[list[Answer]], Any] = lambda answers: answers
        self.held: Callable[[bytes], bool] = lambda _payload: True
        self.kind = ""

    def answer(self, payloads: Sequence[bytes]) -> Sequence[Answer]:
        self.batches.append(list(payloads))
        self.threads.append(threading.current_thread().name)
        time.sleep(self.delay_s)
        assert not self.held(payloads[0]) or self.go.wait(WAIT_S)
        answers: Sequence[Answer] = self.change(
            [self.reply(b"answer ", payload) for payload in payloads]
        )
        return answers

    def is_urgent(self, payload: bytes) -> bool:
        return payload.endswith(b"!")

    def refuse(self, payload: bytes, retry_after_ms: int) -> Answer:
        assert self.refusing.wait(WAIT_S)
        self.refused.append((payload, retry_after_ms))
        return self.reply(b"busy ", payload)

    def too_large(self, answer: Answer, max_bytes: int) -> Answer:
        return answer._replace(payload=b"too large for %d" % max_bytes)

    def reply(self, kind: bytes, payload: bytes) -> Answer:
        requester = payload.split(b" ", 1)[0].decode(errors="replace")
        return Answer(f"results/{requester}", kind + payload, self.kind)


@dataclasses.dataclass
class Setting:
    """A bridge and those around it."""

    bridge: Bridge
    service: Echo
    end: Recorder
    results: Recorder
    requester: MemoryPubSub

    def ask(self, *payloads: bytes) -> None:
        for payload in payloads:
            self.requester.publish(REQUESTS, payload).result(WAIT_S)

    def hold(self, payload: bytes = b"me first") -> None:
        """Has one request in work that does not end before `service.go` is set."""
        self.service.go.clear()
        self.ask(payload)
        wait_until(lambda: self.service.batches)


@contextmanager
def bridged(
    bus: MemoryBus, limits: Limits | None = None, pubsub: PubSub | None = None, **options: Any
) -> Iterator[Setting]:
    service, end, results, requester = Echo(), Recorder(), Recorder(), bus.connect()
    options = {"probe_every_s": 60.0, "probe_timeout_s": WAIT_S, "quick_s": WAIT_S, **options}
    connection = pubsub or bus.connect()
    bridge = Bridge(connection, REQUESTS, service, limits or Limits(), end.lost, **options)
    requester.subscribe("results/me", results.deliver, results.lost)
    bridge.open()
    yield Setting(bridge, service, end, results, requester)
    service.go.set()
    service.refusing.set()
    bridge.close(WAIT_S)
    connection.close()
    requester.close()


# --- requests and replies -------------------------------------------------------------------------


def test_request_gets_its_reply(bus: MemoryBus) -> None:
    """Whatever its bytes are: to judge them is the service's business."""
    foreign = b"\xff\x00 no JSON at all"
    with bridged(bus) as setting:
        others = Recorder()
        setting.requester.subscribe("results/\ufffd\x00", others.deliver, others.lost)
        setting.ask(b"me 1", foreign)
        assert setting.results.wait_payloads(1) == [b"answer me 1"]
        assert others.wait_payloads(1) == [b"answer " + foreign]
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, answered=2)
        assert setting.end.errors == []


def test_every_request_of_many_threads_gets_one_reply_in_order(bus: MemoryBus) -> None:
    """Answers and refusals together; each requester sees each kind in the order it asked."""
    n_threads, n_each = 8, 250
    with bridged(bus, Limits(max_waiting=8, max_refusals=10_000)) as setting:
        recorders = []

        def ask(name: str) -> None:
            connection = bus.connect()
            for i in range(n_each):
                connection.publish(REQUESTS, f"{name} {i:04d}".encode() + b"x" * (i % 7))

        for t in range(n_threads):
            recorder = Recorder()
            bus.connect().subscribe(f"results/t{t}", recorder.deliver, recorder.lost)
            recorders.append(recorder)
        threads = [threading.Thread(target=ask, args=(f"t{t}",)) for t in range(n_threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for t, recorder in enumerate(recorders):
            found = recorder.wait_payloads(n_each)
            numbers = Counter(int(payload.split(b" ")[2][:4]) for payload in found)
            assert numbers == Counter(range(n_each)), t
            for kind in (b"answer", b"busy"):
                of_kind = [payload for payload in found if payload.startswith(kind)]
                assert of_kind == sorted(of_kind), (t, kind)
        wait_until(lambda: setting.bridge.pending == 0)
        counters = setting.bridge.counters
        assert counters.received == n_threads * n_each
        assert counters.answered + counters.refused == n_threads * n_each
        assert counters.failed == counters.dropped == 0
        assert sum(map(len, setting.service.batches)) == counters.answered


def test_what_waits_is_answered_as_one_batch(bus: MemoryBus) -> None:
    """So that it can be predicted as one matrix."""
    with bridged(bus) as setting:
        setting.hold()
        rest = [b"me %d" % i for i in range(40)]
        setting.ask(*rest)
        wait_until(lambda: setting.bridge.pending == 41)
        setting.service.go.set()
        setting.results.wait_payloads(41)
        assert setting.service.batches == [[b"me first"], rest]


def test_batch_is_bounded(bus: MemoryBus) -> None:
    """What is over waits for the next one."""
    with bridged(bus, Limits(max_batch=3)) as setting:
        setting.hold()
        setting.ask(*(b"me %d" % i for i in range(7)))
        wait_until(lambda: setting.bridge.pending == 8)
        setting.service.go.set()
        setting.results.wait_payloads(8)
        assert [len(batch) for batch in setting.service.batches] == [1, 3, 3, 1]


# --- too many requests ----------------------------------------------------------------------------


def test_request_without_room_is_refused_at_once(bus: MemoryBus) -> None:
    """While the answers before it are still in work."""
    with bridged(bus, Limits(max_waiting=2, retry_after_ms=70)) as setting:
        setting.hold()
        setting.ask(b"me 1", b"me 2", b"me 3", b"me 4")
        assert setting.results.wait_payloads(2) == [b"busy me 3", b"busy me 4"]
        assert setting.service.refused == [(b"me 3", 70), (b"me 4", 70)]
        setting.service.go.set()
        assert setting.results.wait_payloads(5)[2:] == [
            b"answer me first",
            b"answer me 1",
            b"answer me 2",
        ]
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=5, answered=3, refused=2)


def test_bytes_that_wait_are_bounded_too(bus: MemoryBus) -> None:
    """A few large requests must not fill the memory."""
    with bridged(bus, Limits(max_waiting_bytes=10)) as setting:
        setting.hold()
        setting.ask(b"me 12345", b"me 3", b"me 4")
        assert setting.results.wait_payloads(2) == [b"busy me 3", b"busy me 4"]


def test_empty_queue_has_room_for_any_one_request(bus: MemoryBus) -> None:
    """Else a request above the bound could never be answered, only be told to come back."""
    with bridged(bus, Limits(max_waiting_bytes=1)) as setting:
        setting.ask(b"me " + b"x" * 1000)
        assert is_answer(setting.results.wait_payloads(1)[0])


def test_request_that_cannot_even_be_refused_is_dropped_and_counted(
    bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    """To wait in the callback would stall the bus; the log says so once a second at most."""
    with bridged(bus, Limits(max_waiting=1, max_refusals=1)) as setting:
        setting.service.refusing.clear()
        setting.hold()
        setting.ask(b"me waits", b"me is refused")
        wait_until(lambda: setting.bridge.pending == 3)
        setting.ask(b"me waits for refusal", *[SECRET] * 100)
        wait_until(lambda: setting.bridge.counters.dropped >= 100)
        counters = setting.bridge.counters
        assert counters.received == 104
        assert setting.bridge.pending + counters.dropped == 104
        setting.service.refusing.set()
        setting.service.go.set()
        setting.results.wait_payloads(3)
    records = [it for it in caplog.records if it.message == "no room even to refuse requests"]
    assert 1 <= len(records) <= 5
    assert records[0].levelno == logging.WARNING
    assert records[0].dropped == 1  # type: ignore[attr-defined]
    assert sum(vars(it)["dropped"] for it in records) == setting.bridge.counters.dropped
    assert SECRET.decode() not in caplog.text


def test_other_limits_hold_from_then_on(bus: MemoryBus) -> None:
    """What waits already stays."""
    with bridged(bus, Limits(max_waiting=1)) as setting:
        setting.hold()
        setting.bridge.reconfigure(Limits(max_waiting=3, retry_after_ms=5))
        setting.ask(b"me 1", b"me 2", b"me 3", b"me 4")
        assert setting.results.wait_payloads(1) == [b"busy me 4"]
        assert setting.service.refused == [(b"me 4", 5)]


@pytest.mark.parametrize("name", [it.name for it in dataclasses.fields(Limits)])
def test_limit_that_lets_nothing_through_is_refused(name: str) -> None:
    """It would be found out on the device only."""
    with pytest.raises(ValueError, match=rf"^{name}: got 0, expected more than 0$"):
        Limits(**{name: 0})


# --- replies that do not go out -------------------------------------------------------------------


def test_reply_that_is_too_large_is_replaced(bus: MemoryBus) -> None:
    """The bus would drop it, or the connection with it."""
    with bridged(bus, Limits(max_message_bytes=20)) as setting:
        setting.ask(b"me " + b"x" * 10, b"me " + b"x" * 11)
        expected = [b"answer me " + b"x" * 10, b"too large for 20"]
        assert setting.results.wait_payloads(2) == expected
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, answered=2)


def test_replacement_that_is_too_large_as_well_is_not_sent(
    bus: MemoryBus, caplog: pytest.LogCaptureFixture
) -> None:
    """The others go out all the same."""
    with bridged(bus, Limits(max_message_bytes=15)) as setting:
        setting.ask(b"me " + b"x" * 100, b"me 2")
        assert setting.results.wait_payloads(1) == [b"answer me 2"]
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, answered=1, failed=1)
        assert setting.end.errors == []
    text = "the bus did not take a reply: results/me: got a reply of 16 bytes, expected at most 15"
    assert text in caplog.text


@pytest.mark.parametrize("error", [NotPermittedError("no"), MessageTooLargeError("no")])
def test_reply_that_is_refused_stops_no_other(
    bus: MemoryBus, error: TransportError, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged without its payload; the bridge goes on."""
    tampered = Tampered(bus.connect())
    tampered.error = lambda topic, _payload: error if topic == "results/nobody" else None
    with bridged(bus, pubsub=tampered) as setting:
        setting.hold()
        setting.ask(b"nobody " + SECRET, b"me 1")
        setting.service.go.set()
        assert setting.results.wait_payloads(2)[1] == b"answer me 1"
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=3, answered=2, failed=1)
        assert setting.end.errors == []
    [record] = [it for it in caplog.records if it.levelno == logging.ERROR]
    assert record.getMessage() == "the bus did not take a reply: no"
    assert record.topic == "results/nobody"  # type: ignore[attr-defined]
    assert SECRET.decode() not in str(vars(record))


def test_reply_that_the_bus_does_not_take_in_time_stops_no_other(bus: MemoryBus) -> None:
    """Whether the bus still hears us, the probes find out."""
    tampered = Tampered(bus.connect())
    tampered.hold = lambda topic, _payload: topic == "results/nobody"
    with bridged(bus, Limits(publish_timeout_s=0.05), pubsub=tampered) as setting:
        setting.ask(b"nobody 1", b"me 1")
        assert setting.results.wait_payloads(1) == [b"answer me 1"]
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, answered=1, failed=1)


def test_replies_are_published_without_waiting_for_each(bus: MemoryBus) -> None:
    """All of a batch are on their way before the bus has taken the first."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        setting.hold()
        setting.ask(b"me 1", b"me 2", b"me 3")
        wait_until(lambda: setting.bridge.pending == 4)
        tampered.hold = lambda _topic, payload: payload != b"answer me first"
        setting.service.go.set()
        wait_until(lambda: len(tampered.held) == 3)
        assert [payload for _, payload in tampered.published[-3:]] == [
            b"answer me 1",
            b"answer me 2",
            b"answer me 3",
        ]
        assert setting.bridge.pending == 3
        for future in tampered.held:
            future.set_result(None)
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=4, answered=4)


# --- requests answered at once --------------------------------------------------------------------


def ask_alone(setting: Setting, payload: bytes) -> None:
    """One request, to its end."""
    n_before = setting.bridge.counters.answered
    setting.ask(payload)
    wait_until(lambda: setting.bridge.counters.answered > n_before and not setting.bridge.pending)


def warm_up(setting: Setting) -> None:
    """One request through the queue: the service is known to be quick from then on."""
    ask_alone(setting, b"me warm")


def test_small_request_is_answered_by_the_thread_that_brings_it_where_nothing_waits(
    bus: MemoryBus,
) -> None:
    """The first one tells whether the service is quick, so it goes through the queue."""
    with bridged(bus) as setting:
        warm_up(setting)
        ask_alone(setting, b"me 1")
        assert setting.results.wait_payloads(2) == [b"answer me warm", b"answer me 1"]
        queue, reader = setting.service.threads
        assert (queue, reader != queue) == ("bridge requests", True)
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, answered=2)


@pytest.mark.parametrize("size", [2048, 2049])
def test_large_request_goes_through_the_queue(bus: MemoryBus, size: int) -> None:
    """It may take long, and the thread that reads the connection must not."""
    with bridged(bus) as setting:
        warm_up(setting)
        setting.ask(b"me".ljust(size))
        setting.results.wait_payloads(2)
        assert (setting.service.threads[1] == "bridge requests") == (size > 2048)


def test_slow_service_is_asked_through_the_queue(bus: MemoryBus) -> None:
    """Once it has been slow, until it has been quick again."""
    with bridged(bus, quick_s=0.3) as setting:
        warm_up(setting)
        setting.service.delay_s = 0.4
        ask_alone(setting, b"me slow")
        setting.service.delay_s = 0.0
        ask_alone(setting, b"me 1")
        ask_alone(setting, b"me 2")
        is_queued = [name == "bridge requests" for name in setting.service.threads]
        assert is_queued == [True, False, True, False]


def test_request_behind_one_in_work_waits_its_turn(bus: MemoryBus) -> None:
    """Replies keep the order of their requests."""
    with bridged(bus) as setting:
        warm_up(setting)
        setting.service.go.clear()
        setting.ask(b"me".ljust(3000))
        wait_until(lambda: len(setting.service.batches) == 2)
        setting.ask(b"me 2")
        wait_until(lambda: setting.bridge.pending == 2)
        setting.service.go.set()
        assert setting.results.wait_payloads(3)[2] == b"answer me 2"
        assert set(setting.service.threads) == {"bridge requests"}


def test_replies_on_their_way_are_bounded(bus: MemoryBus) -> None:
    """A bus that does not say what became of them is left to the queue, which has its bounds."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        warm_up(setting)
        tampered.hold = lambda _topic, _payload: True
        setting.ask(*[b"me %d" % i for i in range(17)])
        wait_until(lambda: len(setting.service.threads) == 18)
        is_queued = [name == "bridge requests" for name in setting.service.threads]
        assert is_queued == [True, *[False] * 16, True]
        assert setting.bridge.pending == 17

        def take_all() -> None:
            for future in tampered.held:
                future.set_result(None)

        timer = threading.Timer(0.05, take_all)
        timer.start()
        assert setting.bridge.close(WAIT_S)
        timer.join()
        assert setting.bridge.counters == Counters(received=18, answered=18)


def test_replies_at_once_that_the_bus_never_takes_are_given_up(bus: MemoryBus) -> None:
    """Else they would count as in flight for ever, and hold up each update and the end."""
    tampered = Tampered(bus.connect())
    with bridged(bus, Limits(publish_timeout_s=0.05), pubsub=tampered) as setting:
        warm_up(setting)
        tampered.hold = lambda _topic, _payload: True
        setting.ask(*[b"me %d" % i for i in range(16)])
        wait_until(lambda: len(tampered.held) == 16)
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=17, answered=1, failed=16)
        for future in tampered.held:
            future.set_result(None)  # too late to count
        tampered.hold = lambda _topic, _payload: False
        ask_alone(setting, b"me again")
        assert set(setting.service.threads[1:]) == {setting.service.threads[-1]}
        assert setting.bridge.counters == Counters(received=18, answered=2, failed=16)


def test_reply_at_once_that_does_not_go_out_is_counted_and_told(bus: MemoryBus) -> None:
    """As one from the queue is."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        warm_up(setting)
        tampered.error = lambda _topic, _payload: NotPermittedError("no")
        setting.ask(b"me 1")
        wait_until(lambda: setting.bridge.counters.failed)
        assert setting.bridge.counters == Counters(received=2, answered=1, failed=1)
        assert setting.end.errors == []
        tampered.error = lambda _topic, _payload: ConnectionLostError("gone")
        setting.ask(b"me 2")
        assert str(setting.end.wait_error()) == "gone"


def test_service_that_fails_at_once_ends_the_bridge_with_an_error(bus: MemoryBus) -> None:
    """And the thread that reads goes on."""
    with bridged(bus) as setting:
        warm_up(setting)
        setting.service.change = lambda _answers: []
        setting.ask(b"me 1")
        assert isinstance(setting.end.wait_error(), ServiceFailedError)
        assert setting.bridge.counters == Counters(received=2, answered=1, dropped=1)


def test_answer_shows_no_payload_where_it_is_printed() -> None:
    """As in a log, or in the text of an error."""
    assert repr(Answer("a/b", SECRET, "odd")) == "Answer(topic='a/b', kind='odd')"


# --- urgent ones ----------------------------------------------------------------------------------


def test_urgent_request_is_answered_though_the_queue_is_full(bus: MemoryBus) -> None:
    """By the thread that brings it; what waits goes on waiting."""
    with bridged(bus, Limits(max_waiting=1, max_refusals=1)) as setting:
        setting.service.refusing.clear()
        setting.hold()
        setting.ask(b"me waits", b"me is refused")
        wait_until(lambda: setting.bridge.pending == 3)
        setting.ask(b"me is refused next")
        setting.service.held = lambda payload: not payload.endswith(b"!")
        setting.ask(b"me how are you!")
        assert setting.results.wait_payloads(1) == [b"answer me how are you!"]
        assert setting.bridge.waiting == 1
        assert "bridge requests" not in setting.service.threads[1:]
        setting.service.refusing.set()
        setting.service.go.set()
        setting.results.wait_payloads(5)


def test_flood_of_urgent_requests_leaves_the_others_their_answers(bus: MemoryBus) -> None:
    """Each of both kinds gets exactly one."""
    with bridged(bus) as setting:
        flood = [b"me %d!" % i for i in range(500)]
        rows = [b"me %d" % i for i in range(50)]
        for i, payload in enumerate(flood):
            setting.ask(payload)
            if i % 10 == 0:
                setting.ask(rows[i // 10])
        found = setting.results.wait_payloads(550)
        assert Counter(found) == Counter(b"answer " + it for it in flood + rows)


def test_urgent_requests_beyond_the_replies_on_their_way_wait_in_the_queue(bus: MemoryBus) -> None:
    """A bus that takes no replies is not to be filled with them."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        tampered.hold = lambda _topic, _payload: True
        setting.ask(*[b"me %d!" % i for i in range(33)])
        wait_until(lambda: len(setting.service.threads) == 33)
        is_queued = [name == "bridge requests" for name in setting.service.threads]
        assert is_queued == [*[False] * 32, True]
        for future in tampered.held:
            future.set_result(None)


def test_latencies_are_those_of_answers_that_are_not_urgent(bus: MemoryBus) -> None:
    """From arrival, the wait in the queue included, to the bus; and they outlive the bridge."""
    vitals = Vitals()
    with bridged(bus, vitals=vitals) as setting:
        setting.ask(b"me at once!")
        setting.results.wait_payloads(1)
        wait_until(lambda: setting.bridge.pending == 0)
        assert vitals.latencies() is None
        setting.service.delay_s = 0.02
        setting.ask(b"me 1", b"me 2")
        setting.results.wait_payloads(3)
        wait_until(lambda: setting.bridge.pending == 0)
        setting.service.delay_s = 0.0
        found = vitals.latencies()
        assert found is not None
        assert found.p50_s >= 0.02
        ask_alone(setting, b"me 3")
        again = vitals.latencies()
    with bridged(bus, vitals=vitals) as setting:
        assert vitals.latencies() == again
        assert setting.bridge.counters == Counters(received=4, answered=4)


def test_answers_are_counted_by_their_kind_once_the_bus_has_taken_them(bus: MemoryBus) -> None:
    """And what it did not take is the last fault."""
    vitals, tampered = Vitals(), Tampered(bus.connect())
    with bridged(bus, pubsub=tampered, vitals=vitals) as setting:
        setting.service.kind = "odd"
        ask_alone(setting, b"me 1")
        tampered.error = lambda _topic, _payload: NotPermittedError("no")
        setting.ask(b"me 2")
        wait_until(lambda: setting.bridge.counters.failed)
        assert vitals.count()[1] == {"odd": 1}
        assert vitals.last_fault is not None
        assert (vitals.last_fault.code, vitals.last_fault.text) == ("not_permitted", "no")


# --- ends nobody asked for ------------------------------------------------------------------------


def test_broken_connection_is_told_once(bus: MemoryBus) -> None:
    """Though the subscription and the replies in work all notice."""
    with bridged(bus) as setting:
        setting.hold()
        setting.ask(b"me 1")
        wait_until(lambda: setting.bridge.pending == 2)
        bus.break_connections()
        assert isinstance(setting.end.wait_error(), ConnectionLostError)
        setting.service.go.set()
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=2, failed=2)
        assert len(setting.end.errors) == 1


def test_connection_that_only_publishing_finds_lost_is_told(bus: MemoryBus) -> None:
    """And the bridge does not hear any more."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        tampered.error = lambda _topic, _payload: ConnectionLostError("gone")
        setting.ask(b"me 1")
        assert str(setting.end.wait_error()) == "gone"
        setting.ask(b"me 2")
        assert setting.bridge.counters.received == 1


def test_deaf_subscription_is_told(bus: MemoryBus) -> None:
    """Publishing still works then; what waits is answered."""
    with bridged(bus, probe_every_s=0.02, probe_timeout_s=0.05) as setting:
        bus.deafen()
        assert isinstance(setting.end.wait_error(), DeafError)
        assert setting.bridge.close(WAIT_S)
        assert len(setting.end.errors) == 1


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda answers: answers[:-1], "service: got 0 answers to 1 requests, expected as many"),
        (lambda answers: answers * 2, "service: got 2 answers to 1 requests, expected as many"),
        (lambda _answers: 1 / 0, "service: got ZeroDivisionError, expected answers"),
        (lambda _answers: sys.exit(3), "service: got SystemExit, expected answers"),
        (lambda _answers: None, "service: got TypeError, expected answers"),
    ],
)
def test_service_that_breaks_its_contract_ends_the_bridge_with_an_error(
    bus: MemoryBus, change: Callable[..., Any], text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The process must not stay RUNNING with a bridge that answers nobody."""
    with bridged(bus) as setting:
        setting.service.change = change
        setting.ask(b"me 1")
        error = setting.end.wait_error()
        assert isinstance(error, ServiceFailedError)
        assert str(error) == text
        wait_until(lambda: setting.bridge.pending == 0)
        assert setting.bridge.counters == Counters(received=1, dropped=1)
        setting.ask(b"me 2")
        assert setting.bridge.counters.received == 1
        assert setting.bridge.close(WAIT_S)
    [record] = [it for it in caplog.records if it.message == "the service broke its contract"]
    assert record.exc_info


def test_requests_that_wait_behind_a_failure_are_still_answered(bus: MemoryBus) -> None:
    """The thread lives on; the end is told once however often the service fails."""
    with bridged(bus, Limits(max_batch=1)) as setting:

        def change(answers: list[Answer]) -> list[Answer]:
            return [] if answers[0].payload != b"answer me 2" else answers

        setting.service.change = change
        setting.hold()
        setting.ask(b"me 1", b"me 2")
        wait_until(lambda: setting.bridge.pending == 3)
        setting.service.go.set()
        assert setting.results.wait_payloads(1) == [b"answer me 2"]
        wait_until(lambda: setting.bridge.pending == 0)
        assert len(setting.end.errors) == 1
        assert setting.bridge.counters == Counters(received=3, answered=1, dropped=2)


def test_refusing_that_fails_ends_the_bridge_with_an_error(bus: MemoryBus) -> None:
    """As answering that fails does."""
    with bridged(bus, Limits(max_waiting=1)) as setting:
        setting.service.refuse = lambda *_arguments: 1 / 0  # type: ignore[assignment, method-assign]
        setting.hold()
        setting.ask(b"me 1", b"me 2")
        assert isinstance(setting.end.wait_error(), ServiceFailedError)


# --- opening, moving, closing ---------------------------------------------------------------------


def test_opening_that_fails_leaves_nothing_behind(bus: MemoryBus) -> None:
    """The caller has the error; `lost` is not told as well."""
    tampered, end = Tampered(bus.connect()), Recorder()
    tampered.error = lambda _topic, _payload: NotPermittedError("no probes")
    bridge = Bridge(tampered, REQUESTS, Echo(), Limits(), end.lost)
    with pytest.raises(NotPermittedError, match=r"^no probes$"):
        bridge.open()
    bus.connect().publish(REQUESTS, b"me 1").result(WAIT_S)
    assert bridge.counters == Counters()
    assert bridge.close(0)
    assert end.errors == []


def test_second_opening_is_an_error(bus: MemoryBus) -> None:
    """Also after the end: make another bridge."""
    with (
        bridged(bus) as setting,
        pytest.raises(RuntimeError, match=r"^bridge: got a second opening, expected one$"),
    ):
        setting.bridge.open()


def test_moved_bridge_hears_the_new_topic_alone(bus: MemoryBus) -> None:
    """What came on the old one before is answered."""
    with bridged(bus) as setting:
        setting.hold()
        setting.bridge.move("elsewhere")
        assert setting.bridge.topic == "elsewhere"
        setting.ask(b"me too late")
        setting.requester.publish("elsewhere", b"me there").result(WAIT_S)
        setting.service.go.set()
        assert setting.results.wait_payloads(2) == [b"answer me first", b"answer me there"]
        assert setting.end.errors == []
        setting.bridge.move("elsewhere")
        assert setting.bridge.topic == "elsewhere"


def test_move_that_fails_leaves_the_bridge_where_it_was(bus: MemoryBus) -> None:
    """The new topic is proved before the old one is left."""
    tampered = Tampered(bus.connect())
    tampered.error = lambda topic, _payload: NotPermittedError("no") if topic == "bad" else None
    with bridged(bus, pubsub=tampered) as setting:
        with pytest.raises(NotPermittedError, match=r"^no$"):
            setting.bridge.move("bad")
        assert setting.bridge.topic == REQUESTS
        setting.ask(b"me 1")
        assert setting.results.wait_payloads(1) == [b"answer me 1"]
        assert setting.end.errors == []


def test_moved_bridge_notices_that_it_turned_deaf(bus: MemoryBus) -> None:
    """As it did before."""
    with bridged(bus, probe_every_s=0.02, probe_timeout_s=0.05) as setting:
        setting.bridge.move("elsewhere")
        bus.deafen()
        error = setting.end.wait_error()
        text = "elsewhere: got no probe back in 0.1 s, expected it at once"
        assert (type(error), str(error)) == (DeafError, text)


def test_closed_bridge_cannot_move(bus: MemoryBus) -> None:
    """And hears nothing on the new topic."""
    with bridged(bus) as setting:
        assert setting.bridge.close(WAIT_S)
        text = r"^bridge: got its end, expected it to go on hearing$"
        with pytest.raises(ConnectionLostError, match=text):
            setting.bridge.move("elsewhere")
        setting.requester.publish("elsewhere", b"me 1").result(WAIT_S)
        assert setting.bridge.counters == Counters()


def test_close_finishes_what_waits_and_what_is_in_work(bus: MemoryBus) -> None:
    """And hears nothing new meanwhile."""
    with bridged(bus, Limits(max_batch=1)) as setting:
        setting.hold()
        setting.ask(b"me 1", b"me 2")
        wait_until(lambda: setting.bridge.pending == 3)
        results: list[bool] = []
        closing = threading.Thread(target=lambda: results.append(setting.bridge.close(WAIT_S)))
        closing.start()
        wait_until(lambda: setting.bridge._closed)
        wait_until(lambda: not bus._open or bus._open[0].topic != REQUESTS)
        setting.ask(b"me too late")
        setting.service.go.set()
        closing.join()
        assert results == [True]
        expected = [b"answer me first", b"answer me 1", b"answer me 2"]
        assert setting.results.wait_payloads(3) == expected
        assert setting.bridge.counters == Counters(received=3, answered=3)
        assert setting.bridge.close(0)
        assert setting.end.errors == []


def test_close_gives_up_at_its_deadline(bus: MemoryBus, caplog: pytest.LogCaptureFixture) -> None:
    """What is in work may still end; what waits is dropped, and said to be."""
    with bridged(bus, Limits(max_batch=1)) as setting:
        setting.hold()
        setting.ask(b"me 1", b"me 2")
        wait_until(lambda: setting.bridge.pending == 3)
        assert not setting.bridge.close(0.01)
        assert setting.bridge.counters == Counters(received=3, dropped=2)
        setting.service.go.set()
        assert setting.results.wait_payloads(1) == [b"answer me first"]
        wait_until(lambda: setting.bridge.pending == 0)
    [record] = [it for it in caplog.records if it.message == "requests are left without a reply"]
    assert record.requests == 2  # type: ignore[attr-defined]


def test_close_says_when_a_reply_did_not_go_out(bus: MemoryBus) -> None:
    """A requester is left waiting then."""
    tampered = Tampered(bus.connect())
    with bridged(bus, pubsub=tampered) as setting:
        setting.hold()
        tampered.error = lambda _topic, _payload: NotPermittedError("no")
        timer = threading.Timer(0.05, setting.service.go.set)
        timer.start()
        assert not setting.bridge.close(WAIT_S)
        assert setting.bridge.counters == Counters(received=1, failed=1)
        timer.join()


def test_close_on_the_bridges_own_thread_does_not_wait_for_itself(bus: MemoryBus) -> None:
    """Whoever is told of the end may close there and then."""
    service, results = Echo(), []
    closed = threading.Event()

    def lost(_error: TransportError) -> None:
        results.append(bridge.close(WAIT_S))
        closed.set()

    bridge = Bridge(bus.connect(), REQUESTS, service, Limits(), lost, probe_every_s=60)
    bridge.open()
    service.change = lambda _answers: []
    bus.connect().publish(REQUESTS, b"me 1").result(WAIT_S)
    assert closed.wait(5)
    assert results == [False]


def test_bridge_that_was_never_opened_closes(bus: MemoryBus) -> None:
    """There is nothing to finish."""
    bridge = Bridge(bus.connect(), REQUESTS, Echo(), Limits(), lambda _error: None)
    assert bridge.close(0)
    assert bridge.pending == 0


def test_closed_bridge_leaves_no_thread(bus: MemoryBus) -> None:
    """A component that reconnects makes many of them."""
    with bridged(bus) as setting:
        setting.ask(b"me 1")
        setting.results.wait_payloads(1)
    names = ("bridge requests", "bridge refusals", f"probe {REQUESTS}")
    wait_until(lambda: not [it for it in threading.enumerate() if it.name in names])
