import asyncio
import json
import logging
import math
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumer.chunks import Table
from consumer.client import InferenceClient
from consumer.errors import (
    ClientClosedError,
    NoRowsError,
    RequestTimeoutError,
)
from interface.errors import (
    ConnectionLostError,
    NotPermittedError,
    TokenRefusedError,
    TransportError,
)
from interface.pubsub import Deliver, Lost, MemoryBus, MemoryPubSub, PubSub, Subscription
from tests.consumer.conftest import REQUESTS, RESULTS, Json, Service


def wait_until(condition: Any) -> None:
    """Returns once the condition holds; fails after ten seconds."""
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)


class WatchedPubSub:
    """A connection that counts what is done with it, and may refuse."""

    def __init__(self, inner: MemoryPubSub, watch: "Watch") -> None:
        self.inner = inner
        self.watch = watch

    def subscribe(self, topic: str, deliver: Deliver, lost: Lost) -> Subscription:
        if self.watch.refuses_subscription is not None:
            raise self.watch.refuses_subscription
        self.watch.subscriptions += 1
        return self.inner.subscribe(topic, deliver, lost)

    def publish(self, topic: str, payload: bytes) -> "Future[None]":
        refusal = self.watch.refuses_publication.get(topic)
        if refusal is None:
            return self.inner.publish(topic, payload)
        refused: Future[None] = Future()
        refused.set_exception(refusal)
        return refused

    def close(self) -> None:
        self.watch.closes += 1
        self.inner.close()


class Watch:
    """Makes watched connections; the first may fail."""

    def __init__(self, bus: MemoryBus, *failures: Exception) -> None:
        self.bus = bus
        self.failures = list(failures)
        self.connects = self.subscriptions = self.closes = 0
        self.refuses_subscription: TransportError | None = None
        self.refuses_publication: dict[str, TransportError] = {}

    def connect(self) -> PubSub:
        self.connects += 1
        if self.failures:
            raise self.failures.pop(0)
        return WatchedPubSub(self.bus.connect(), self)


# --- questions and answers ------------------------------------------------------------------------


class Frame:
    """As much of a pandas DataFrame as is looked at."""

    columns = ("x", "y")

    def to_dict(self, orient: str) -> Json:
        assert orient == "split"
        return {"index": [7], "columns": ["x", "y"], "data": [[1.5, math.nan]]}


@pytest.mark.parametrize(
    ("rows", "sent"),
    [
        ({"x": 1.5, "y": None}, {"columns": ["x", "y"], "data": [[1.5, None]]}),
        ([{"x": 1.5}], {"columns": ["x"], "data": [[1.5]]}),
        ([{"x": 1, "y": 2}, {"y": 3, "x": 4}], {"columns": ["x", "y"], "data": [[1, 2], [4, 3]]}),
        ([{"x": 1}, {"x": 2, "y": 3}], {"records": [{"x": 1}, {"x": 2, "y": 3}]}),
        ({"records": [{"x": 1.5}]}, {"columns": ["x"], "data": [[1.5]]}),
        (Table(["x"], [[1.5]]), {"columns": ["x"], "data": [[1.5]]}),
        ({"columns": ["x"], "data": [[1.5]], "index": [3]}, {"columns": ["x"], "data": [[1.5]]}),
        (Frame(), {"columns": ["x", "y"], "data": [[1.5, None]]}),
        (
            Table(["x", "y"], [["1.5", ""], ['a,"b"', "é\n"]], textual=True),
            {
                "headers": {"content-type": "text/csv"},
                "body": 'x,y\n1.5,\n"a,""b""","é\n"',
            },
        ),
    ],
)
def test_rows_in_any_form_are_sent_as_the_rules_say(
    client: InferenceClient, service: Service, rows: Any, sent: Json
) -> None:
    """Records of the same names go as a table, which is shorter."""
    service.answer = lambda request: (200, service.body([0] * len(rows_in(request))))
    client.predict(rows)
    (request,) = service.requests
    assert {k: v for k, v in request.items() if k not in {"id", "replyTo", "deadlineMs"}} == sent


def rows_in(request: Json) -> Any:
    if "body" in request:
        return [None] * 2
    return request.get("records") or request["data"]


def test_answer_has_everything_of_the_reply(client: InferenceClient, service: Service) -> None:
    """Labels, probabilities and the model come along."""
    body = {
        **service.body(["no", "yes"]),
        "labels": ["no", "yes"],
        "probabilities": [[0.75, 0.25], [0.1, 0.9]],
    }
    service.answer = lambda _: (200, body)
    found = client.predict([{"x": 1}, {"x": 2}])
    assert (found.model, found.version) == ("wine", "1.0.0")
    assert found.predictions == ("no", "yes")
    assert found.labels == ("no", "yes")
    assert found.probabilities == ((0.75, 0.25), (0.1, 0.9))
    assert found.top_k is None


def test_options_stand_beside_the_rows(client: InferenceClient, service: Service) -> None:
    """Only those that were given."""
    client.predict({"x": 1}, top_k=2)
    client.predict({"x": 1}, threshold=0.0)
    assert [(it.get("topK"), it.get("threshold")) for it in service.requests] == [
        (2, None),
        (None, 0.0),
    ]
    assert "threshold" not in service.requests[0]


def test_request_names_its_reply_topic_and_its_deadline(
    client: InferenceClient, service: Service
) -> None:
    """The deadline is the timeout's end, on the clock that the device shares."""
    before = time.time()
    client.predict({"x": 1}, timeout_s=30)
    (request,) = service.requests
    assert request["replyTo"] == client.reply_topic
    assert client.reply_topic.startswith(f"{RESULTS}/")
    assert before + 30 <= request["deadlineMs"] / 1000 <= time.time() + 30.001


def test_client_keeps_one_connection_and_one_subscription(bus: MemoryBus, service: Service) -> None:
    """However many requests there are; and it closes what it opened."""
    watch = Watch(bus)
    with InferenceClient(watch.connect, name="tester") as client:
        client.open()
        for i in range(50):
            assert client.predict({"x": i}).predictions == (i,)
        assert (watch.connects, watch.subscriptions) == (1, 1)
        assert client.reply_topic.startswith(f"{RESULTS}/tester-")
    assert watch.closes == 1


def test_clients_have_reply_topics_of_their_own(bus: MemoryBus, service: Service) -> None:
    """Nobody reads the replies of another."""
    with InferenceClient(bus.connect) as one, InferenceClient(bus.connect) as other:
        assert one.reply_topic != other.reply_topic
        assert one.predict({"x": 1}).predictions == (1,)
        assert other.predict({"x": 2}).predictions == (2,)


@pytest.mark.parametrize("name", ["a/+", "#", "", "x" * 300])
def test_name_that_makes_no_topic_is_refused(bus: MemoryBus, name: str) -> None:
    """Before anything is connected; an empty name would still do."""
    if name == "":
        assert InferenceClient(bus.connect, name=name).reply_topic.startswith(f"{RESULTS}/-")
        return
    with pytest.raises(ValueError, match=r"^replyTo: got "):
        InferenceClient(bus.connect, name=name)


@pytest.mark.parametrize("limits", [(0, 8), (6144, 0)])
def test_limits_below_one_are_refused(bus: MemoryBus, limits: tuple[int, int]) -> None:
    """Nothing could ever be asked."""
    with pytest.raises(ValueError) as caught:
        InferenceClient(bus.connect, max_message_bytes=limits[0], max_in_flight=limits[1])
    assert str(caught.value) == (
        f"max_message_bytes and max_in_flight: got {limits[0]} and {limits[1]}, expected at least 1"
    )


@pytest.mark.parametrize("timeout_s", [0, -1.0, math.inf, math.nan])
def test_timeout_that_is_no_time_is_refused(client: InferenceClient, timeout_s: float) -> None:
    """A deadline must be a number of the future."""
    for ask in (lambda: client.predict({"x": 1}, timeout_s), lambda: client.open(timeout_s)):
        with pytest.raises(ValueError) as caught:
            ask()
        expected = "a finite number above 0"
        assert str(caught.value) == f"timeout_s: got {timeout_s}, expected {expected}"


def test_no_rows_are_refused_without_a_message(client: InferenceClient, service: Service) -> None:
    """There would be nothing to answer."""
    with pytest.raises(NoRowsError):
        client.predict([])
    assert service.requests == []


# --- correlation ----------------------------------------------------------------------------------


def test_replies_out_of_order_reach_who_asked(client: InferenceClient, service: Service) -> None:
    """By id, not by order."""
    service.holds = True
    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(client.predict, {"x": i}) for i in range(4)]
        service.wait_for(4)
        service.release(turned=True)
        assert [it.result().predictions for it in asked] == [(0,), (1,), (2,), (3,)]


def test_messages_of_others_on_the_reply_topic_are_passed_over(
    bus: MemoryBus, client: InferenceClient, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever they are; and nothing of them is logged."""
    caplog.set_level(logging.DEBUG)
    service.holds = True
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.predict, {"x": 1})
        service.wait_for(1)
        identity = service.requests[0]["id"]
        others = [
            b"\xff secret",
            b"[" * 100_000,
            b'["secret"]',
            b'{"id": "secret", "statusCode": 200, "body": {}}',
            b'{"id": 5, "statusCode": 200, "body": {}}',
            b'{"statusCode": 200, "body": {"secret": 1}}',
            json.dumps({"id": identity, "statusCode": "200", "body": {}}).encode(),
            json.dumps({"id": identity, "statusCode": 200, "body": "secret"}).encode(),
        ]
        for payload in others:
            service.pubsub.publish(client.reply_topic, payload)
        service.release()
        assert asked.result().predictions == (1,)
    assert "secret" not in caplog.text
    assert caplog.text.count("no reply, passed over") == 5


def test_reply_sent_twice_counts_once(client: InferenceClient, service: Service) -> None:
    """The second one is nobody's."""
    service.holds = True
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.predict, {"x": 1})
        service.wait_for(1)
        held = list(service._held)
        service.release()
        for topic, payload in held:
            service.pubsub.publish(topic, payload)
        assert asked.result().predictions == (1,)
        service.holds = False
        assert client.predict({"x": 2}).predictions == (2,)


def test_late_reply_is_not_the_next_ones(client: InferenceClient, service: Service) -> None:
    """Its id is forgotten with the timeout."""
    client.open()
    service.holds = True
    with pytest.raises(RequestTimeoutError) as caught:
        client.predict({"x": 1}, timeout_s=0.25)
    assert str(caught.value) == "request: got no reply in 0.25 s, expected one"
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.code == "request_timeout"
    service.wait_for(1)
    service.holds = False
    service.release()
    assert client.predict({"x": 2}).predictions == (2,)


# --- many at once ---------------------------------------------------------------------------------


def test_threads_and_coroutines_together_each_get_their_own(
    client: InferenceClient, service: Service
) -> None:
    """Eight threads and two event loops; each question is asked exactly once."""

    def block(at: int) -> list[Any]:
        return [client.predict({"x": f"t{at}.{i}"}, 30).predictions for i in range(40)]

    def loop(at: int) -> list[Any]:
        async def ask() -> list[Any]:
            asked = (client.predict_async({"x": f"l{at}.{i}"}, 30) for i in range(40))
            return [it.predictions for it in await asyncio.gather(*asked)]

        return asyncio.run(ask())

    with ThreadPoolExecutor(10) as threads:
        blocks = [threads.submit(block, at) for at in range(8)]
        loops = [threads.submit(loop, at) for at in range(2)]
        for at, done in enumerate(blocks):
            assert done.result() == [(f"t{at}.{i}",) for i in range(40)]
        for at, done in enumerate(loops):
            assert done.result() == [(f"l{at}.{i}",) for i in range(40)]
    asked = [request["data"][0][0] for request in service.requests]
    assert len(asked) == len(set(asked)) == 400
    assert len({request["id"] for request in service.requests}) == 400


def test_no_thread_is_made_for_a_request(client: InferenceClient, service: Service) -> None:
    """A hundred that wait cost no more than one."""
    client.predict({"x": 0})
    service.holds = True

    async def ask() -> int:
        asked = [asyncio.ensure_future(client.predict_async({"x": i}, 30)) for i in range(100)]
        await asyncio.to_thread(service.wait_for, 9)
        count = threading.active_count()
        service.holds = False
        service.release()
        await asyncio.gather(*asked)
        return count

    before = threading.active_count()
    assert asyncio.run(ask()) <= before + 1  # the one of to_thread


def test_messages_in_flight_are_bounded(bus: MemoryBus, service: Service) -> None:
    """The third waits until one of two is answered."""
    service.holds = True
    with InferenceClient(bus.connect, max_in_flight=2) as client, ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(client.predict, {"x": i}, 30) for i in range(3)]
        service.wait_for(2)
        time.sleep(0.05)  # the third one's chance to be wrong
        assert len(service.requests) == 2
        service.release()
        service.wait_for(3)
        service.release()
        assert [it.result().predictions for it in asked] == [(0,), (1,), (2,)]


def test_one_row_does_not_wait_for_all_of_a_batch(bus: MemoryBus, service: Service) -> None:
    """Who comes in between is next but few."""
    service.holds = True
    many = [{"x": "batch"} for _ in range(20)]
    service.max_rows, service.tells_max_rows = 1, True
    with InferenceClient(bus.connect, max_in_flight=2) as client, ThreadPoolExecutor(2) as threads:
        batch = threads.submit(client.predict, many, 30)
        service.wait_for(1)  # the whole of it, refused
        service.release()
        service.wait_for(3)
        one = threads.submit(client.predict, {"x": "one"}, 30)
        wait_until(lambda: waiters(client) == 1)
        while not one.done():
            service.release()
            time.sleep(0.001)
        assert one.result().predictions == ("one",)
        assert len(service.requests) < 12
        service.holds = False
        service.release()
        assert batch.result().predictions == ("batch",) * 20


def waiters(client: InferenceClient) -> int:
    """How many messages wait for their turn."""
    assert client._running is not None
    return len(client._running.exchange._slots._waiters or ())


# --- cancellation ---------------------------------------------------------------------------------


def test_cancelled_request_gives_its_place_back(bus: MemoryBus, service: Service) -> None:
    """And its late reply does no harm."""
    service.holds = True

    async def ask(client: InferenceClient) -> Any:
        first = asyncio.ensure_future(client.predict_async({"x": 1}, 30))
        await asyncio.to_thread(service.wait_for, 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        service.holds = False
        service.release()
        return await client.predict_async({"x": 2}, 10)

    with InferenceClient(bus.connect, max_in_flight=1) as client:
        assert asyncio.run(ask(client)).predictions == (2,)
        assert client._running is not None
        assert client._running.exchange._waiting == {}


def test_timeout_around_a_request_is_its_own(client: InferenceClient, service: Service) -> None:
    """asyncio's timeout cancels, and says so itself."""
    service.holds = True

    async def ask() -> None:
        async with asyncio.timeout(0.05):
            await client.predict_async({"x": 1}, 30)

    with pytest.raises(TimeoutError) as caught:
        asyncio.run(ask())
    assert type(caught.value) is TimeoutError


# --- connection -----------------------------------------------------------------------------------


def test_lost_connection_ends_requests_at_once_and_the_next_reconnects(
    bus: MemoryBus, service: Service
) -> None:
    """In flight: all of them, long before their deadline."""
    watch = Watch(bus)
    service.holds = True
    with InferenceClient(watch.connect) as client, ThreadPoolExecutor(3) as threads:
        asked = [threads.submit(client.predict, {"x": i}, 600) for i in range(3)]
        service.wait_for(3)
        bus.break_connections()
        for one in asked:
            with pytest.raises(ConnectionLostError) as caught:
                one.result(10)
            assert str(caught.value) == "the bus went away"
        service.holds = False
        service.open()
        again = [threads.submit(client.predict, {"x": i}, 10) for i in range(3)]
        assert [it.result().predictions for it in again] == [(0,), (1,), (2,)]
        assert watch.connects == 2
        wait_until(lambda: watch.closes == 1)
    assert watch.closes == 2


def test_request_right_after_a_loss_reconnects(bus: MemoryBus, service: Service) -> None:
    """Though the client may not have been told yet."""
    with InferenceClient(bus.connect) as client:
        for i in range(20):
            bus.break_connections()
            service.open()
            assert client.predict({"x": i}, 10).predictions == (i,)


def test_connecting_is_tried_again_until_the_deadline(bus: MemoryBus, service: Service) -> None:
    """A core device that restarts is back in a moment."""
    watch = Watch(bus, ConnectionLostError("no"), TimeoutError(), ConnectionLostError("no"))
    with InferenceClient(watch.connect) as client:
        assert client.predict({"x": 1}, 20).predictions == (1,)
    assert watch.connects == 4


def test_connection_that_cannot_be_made_is_the_error(
    bus: MemoryBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rather than a timeout, which would say less; no pause is made that ends too late."""
    monkeypatch.setattr("consumer.connection.FIRST_PAUSE_S", 600)
    watch = Watch(bus, *(ConnectionLostError("no socket") for _ in range(10)))
    with InferenceClient(watch.connect) as client:
        for ask in (lambda: client.predict({"x": 1}, 20), lambda: client.open(20)):
            with pytest.raises(ConnectionLostError) as caught:
                ask()
            assert str(caught.value) == "no socket"


def test_connection_that_hangs_is_a_timeout(bus: MemoryBus, service: Service) -> None:
    """The attempt goes on, for whoever comes next."""
    go = threading.Event()
    count = 0

    def connect() -> PubSub:
        nonlocal count
        count += 1
        go.wait(10)
        return bus.connect()

    with InferenceClient(connect) as client:
        with pytest.raises(RequestTimeoutError) as caught:
            client.open(0.05)
        assert str(caught.value) == "client: got no connection in 0.05 s, expected one"
        with pytest.raises(RequestTimeoutError):
            client.predict({"x": 1}, 0.05)
        go.set()
        assert client.predict({"x": 1}, 10).predictions == (1,)
        assert count == 1


@pytest.mark.parametrize("error", [TokenRefusedError("old token"), NotPermittedError("no")])
def test_final_refusal_is_raised_at_once(bus: MemoryBus, error: TransportError) -> None:
    """Another attempt would end alike."""
    watch = Watch(bus, error)
    with InferenceClient(watch.connect) as client:
        with pytest.raises(type(error)) as caught:
            client.predict({"x": 1}, 60)
        assert str(caught.value) == str(error)
    assert watch.connects == 1


def test_subscription_that_is_not_permitted_closes_the_connection(bus: MemoryBus) -> None:
    """None is left behind."""
    watch = Watch(bus)
    watch.refuses_subscription = NotPermittedError("not yours")
    with InferenceClient(watch.connect) as client:
        with pytest.raises(NotPermittedError, match=r"^not yours$"):
            client.predict({"x": 1}, 60)
        wait_until(lambda: watch.closes == 1)


def test_publication_that_is_not_permitted_is_the_error(bus: MemoryBus, service: Service) -> None:
    """The bus said why; no reason to wait."""
    watch = Watch(bus)
    watch.refuses_publication[REQUESTS] = NotPermittedError("not yours")
    with InferenceClient(watch.connect) as client:
        with pytest.raises(NotPermittedError, match=r"^not yours$"):
            client.predict({"x": 1}, 60)
        watch.refuses_publication.clear()
        assert client.predict({"x": 1}).predictions == (1,)


def test_client_that_may_not_probe_works_and_reconnects_after_silence(
    bus: MemoryBus, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It cannot know that it is deaf, but it can suspect."""
    monkeypatch.setattr("consumer.exchange.SILENT_S", 0.1)
    watch = Watch(bus)
    client = InferenceClient(watch.connect)
    watch.refuses_publication[client.reply_topic] = NotPermittedError("not yours")
    with client:
        assert client.predict({"x": 1}).predictions == (1,)
        bus.deafen()
        service.open()
        for _ in range(3):
            with pytest.raises(RequestTimeoutError):
                client.predict({"x": 1}, 0.1)
        assert client.predict({"x": 2}).predictions == (2,)
        assert watch.connects == 2


def test_client_that_may_not_probe_reconnects_though_somebody_always_waits(
    bus: MemoryBus, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one who asks for minutes, or enough who ask in turn, would keep it deaf."""
    monkeypatch.setattr("consumer.exchange.SILENT_S", 0.1)
    monkeypatch.setattr("consumer.exchange.SILENT_BESIDE_S", 0.2)
    watch = Watch(bus)
    client = InferenceClient(watch.connect)
    watch.refuses_publication[client.reply_topic] = NotPermittedError("not yours")
    with ThreadPoolExecutor(1) as threads, client:
        assert client.predict({"x": 1}).predictions == (1,)
        bus.deafen()
        service.open()
        waiting = threads.submit(client.predict, {"x": 1}, 600)
        assert client._running is not None
        exchange = client._running.exchange
        wait_until(lambda: exchange._waiting)
        for _ in range(3):
            with pytest.raises(RequestTimeoutError):
                client.predict({"x": 1}, 0.1)
        assert client.predict({"x": 2}).predictions == (2,)
        assert watch.connects == 2
        with pytest.raises(ConnectionLostError, match=r"^reply topic: got silence$"):
            waiting.result(10)


# --- the end --------------------------------------------------------------------------------------


def test_close_wakes_all_who_wait(bus: MemoryBus, service: Service) -> None:
    """Threads and coroutines, in flight or in the queue; a second close does nothing."""
    service.holds = True
    client = InferenceClient(bus.connect, max_in_flight=2)

    async def ask() -> list[Any]:
        asked = (client.predict_async({"x": i}, 600) for i in range(3))
        return await asyncio.gather(*asked, return_exceptions=True)

    with ThreadPoolExecutor(4) as threads:
        blocked = [threads.submit(client.predict, {"x": i}, 600) for i in range(3)]
        looped = threads.submit(asyncio.run, ask())
        service.wait_for(2)
        wait_until(lambda: waiters(client) == 4)
        client.close()
        client.close()
        errors = [it.exception(10) for it in blocked] + looped.result(10)
    assert [type(error) for error in errors] == [ClientClosedError] * 6
    text = "client: got a request, expected none once it is closed"
    assert {str(error) for error in errors} == {text}


def test_closed_client_answers_nothing(client: InferenceClient, bus: MemoryBus) -> None:
    """Whether it was ever in use or not."""
    client.predict({"x": 1})
    client.close()
    unused = InferenceClient(bus.connect)
    unused.close()
    for closed in (client, unused):
        with pytest.raises(ClientClosedError):
            closed.predict({"x": 1})
        with pytest.raises(ClientClosedError):
            asyncio.run(closed.predict_async({"x": 1}))
        with pytest.raises(ClientClosedError):
            closed.open()


def test_close_leaves_no_thread(bus: MemoryBus, service: Service) -> None:
    """But those of the bus, which end with it."""
    before = set(threading.enumerate())
    with InferenceClient(bus.connect) as client:
        client.predict({"x": 1})
    wait_until(lambda: set(threading.enumerate()) <= before)


def test_close_while_connecting_closes_what_comes_of_it(bus: MemoryBus) -> None:
    """A connection that is made too late is nobody's."""
    entered, go = threading.Event(), threading.Event()
    watch = Watch(bus)

    def connect() -> PubSub:
        entered.set()
        go.wait(10)
        return watch.connect()

    client = InferenceClient(connect)
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(client.predict, {"x": 1}, 600)
        assert entered.wait(10)
        client.close()
        assert isinstance(asked.exception(10), ClientClosedError)
        go.set()
        wait_until(lambda: watch.closes >= 1)


# --- batches --------------------------------------------------------------------------------------

_FLOATS = st.floats(allow_nan=False, allow_infinity=False)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(_FLOATS, min_size=1, max_size=120), st.integers(200, 900), st.integers(1, 50))
def test_batch_of_any_size_equals_its_rows_to_the_bit(
    bus: MemoryBus, service: Service, values: list[float], max_bytes: int, max_rows: int
) -> None:
    """However it has to be cut, by size and by the service; no message is too large."""
    service.requests.clear()
    service.sizes.clear()
    service.max_rows = max_rows
    with InferenceClient(bus.connect, max_message_bytes=max_bytes) as client:
        found = client.predict([{"x": value} for value in values], 30).predictions
    assert [float(it).hex() for it in found] == [value.hex() for value in values]
    assert max(service.sizes) <= max_bytes
