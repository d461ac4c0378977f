import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from consumer.batch import RowLimits
from consumer.client import InferenceClient
from consumer.errors import (
    BusyError,
    DeadlineExceededError,
    MalformedReplyError,
    MalformedRequestError,
    ModelChangedError,
    NotANumberError,
    RequestTooLargeError,
    TooManyRowsError,
)
from consumer.prediction import Prediction
from interface.pubsub import MemoryBus
from tests.consumer.conftest import Json, Service, refusal, rows_of


def many(count: int) -> list[Json]:
    return [{"x": i} for i in range(count)]


def lengths(service: Service) -> list[int]:
    """How many rows each request had."""
    return [len(rows_of(request)) for request in service.requests]


# --- busy -----------------------------------------------------------------------------------------


def test_busy_service_is_asked_again_under_a_new_id(
    client: InferenceClient, service: Service
) -> None:
    """Not before it said."""
    busy = [refusal("busy", retryAfterMs=30), refusal("busy", retryAfterMs=30)]
    service.answer = lambda _: (429, busy.pop()) if busy else None
    began = time.monotonic()
    assert client.predict({"x": 1}).predictions == (1,)
    assert time.monotonic() - began >= 0.06
    assert len({request["id"] for request in service.requests}) == 3


@pytest.mark.parametrize("retry_after_ms", [10**9, 600_000, None, "soon", -5, True])
def test_busy_until_after_the_deadline_is_the_error(
    client: InferenceClient,
    service: Service,
    retry_after_ms: object,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At once, for waiting is of no use; what is no time counts as the default."""
    monkeypatch.setattr("consumer.batch.RETRY_AFTER_MS", 60_000)
    told = {} if retry_after_ms is None else {"retryAfterMs": retry_after_ms}
    service.answer = lambda _: (429, refusal("busy", "queue: got no free place", **told))
    with pytest.raises(BusyError, match=r"^queue: got no free place$"):
        client.predict({"x": 1}, timeout_s=10)
    assert len(service.requests) == 1


def test_place_is_free_while_a_busy_service_is_waited_for(bus: MemoryBus, service: Service) -> None:
    """Only messages in flight count."""
    service.answer = lambda request: (
        (429, refusal("busy", retryAfterMs=10_000)) if request["data"] == [["busy"]] else None
    )
    with InferenceClient(bus.connect, max_in_flight=1) as client, ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.predict, {"x": "busy"}, 60)
        service.wait_for(1)
        assert client.predict({"x": 1}, 5).predictions == (1,)
        client.close()
        assert waiting.exception(10) is not None


# --- refusals of a part ---------------------------------------------------------------------------


def test_wrong_row_of_a_later_part_has_the_callers_number(bus: MemoryBus, service: Service) -> None:
    """In the message and in the details, as records or as data."""

    def answer(request: Json) -> tuple[int, Json] | None:
        for i, row in enumerate(rows_of(request)):
            if row["x"] == "acid":
                place = f"data[{i}].x"
                body = refusal("not_a_number", f"{place}: got 'acid', expected a number or null")
                body["error"]["details"] = [
                    {"code": "not_a_number", "place": place, "observed": "'acid'", "expected": "a"}
                ]
                return 400, body
        return None

    service.answer = answer
    rows = many(300)
    rows[217]["x"] = "acid"
    table = {"columns": ["x"], "data": [[row["x"]] for row in rows]}
    with InferenceClient(bus.connect, max_message_bytes=400) as client:
        for asked, name in ((rows, "records"), (table, "data")):
            with pytest.raises(NotANumberError) as caught:
                client.predict(asked)
            place = f"{name}[217].x"
            assert str(caught.value) == f"{place}: got 'acid', expected a number or null"
            assert caught.value.details[0].place == place
    assert max(service.sizes) <= 400


def test_first_of_several_wrong_rows_is_the_error(bus: MemoryBus, service: Service) -> None:
    """Though its part may be answered last."""

    def answer(request: Json) -> tuple[int, Json] | None:
        return 400, refusal("not_a_number", f"data[0].x: got {rows_of(request)[0]['x']}")

    service.answer = answer
    service.holds = True
    with InferenceClient(bus.connect, max_message_bytes=300) as client, ThreadPoolExecutor() as it:
        asked = it.submit(client.predict, many(100), 30)
        service.wait_for(2)
        while not asked.done():
            service.release(turned=True)
            time.sleep(0.001)
        assert str(asked.exception()) == "records[0].x: got 0"


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (504, refusal("deadline_exceeded", "deadlineMs: got late"), DeadlineExceededError),
        (200, {"predictions": [1]}, MalformedReplyError),
        (200, {}, MalformedReplyError),
    ],
)
def test_refusal_is_raised_as_what_it_is(
    client: InferenceClient, service: Service, status: int, body: Json, error: type[Exception]
) -> None:
    """Also what is no answer at all, for no other will come."""
    service.answer = lambda _: (status, body)
    with pytest.raises(error):
        client.predict({"x": 1})


def test_option_that_is_no_json_is_refused(client: InferenceClient, service: Service) -> None:
    """On this side already."""
    with pytest.raises(MalformedRequestError, match=r"^request: got a value that is not JSON"):
        client.predict({"x": 1}, threshold=float("nan"))
    assert service.requests == []


# --- how many rows fit ----------------------------------------------------------------------------


def test_told_limit_cuts_the_batch_and_is_remembered(
    client: InferenceClient, service: Service
) -> None:
    """The second batch is not refused any more."""
    service.max_rows, service.tells_max_rows = 10, True
    assert client.predict(many(35)).predictions == tuple(range(35))
    assert sorted(lengths(service)) == [5, 10, 10, 10, 35]
    service.requests.clear()
    assert client.predict(many(20)).predictions == tuple(range(20))
    assert lengths(service) == [10, 10]


def test_untold_limit_is_found_by_halves(client: InferenceClient, service: Service) -> None:
    """And is remembered, too."""
    service.max_rows = 10
    assert client.predict(many(64)).predictions == tuple(range(64))
    service.requests.clear()
    assert client.predict(many(64)).predictions == tuple(range(64))
    assert lengths(service) == [8] * 8


def test_limit_of_one_kind_of_request_is_not_that_of_another(
    client: InferenceClient, service: Service
) -> None:
    """Two likeliest labels are shorter than all probabilities."""
    service.max_rows, service.tells_max_rows = 10, True
    client.predict(many(20))
    service.requests.clear()
    service.max_rows = 100
    client.predict(many(20), top_k=1)
    assert lengths(service) == [20]


def test_limit_is_forgotten_with_its_model(client: InferenceClient, service: Service) -> None:
    """The next one may have fewer labels."""
    service.max_rows, service.tells_max_rows = 10, True
    client.predict(many(20))
    service.version, service.max_rows = "2.0.0", 100
    client.predict(many(1))
    service.requests.clear()
    client.predict(many(20))
    assert lengths(service) == [20]


def test_reply_to_a_single_row_that_does_not_fit_is_the_error(
    client: InferenceClient, service: Service
) -> None:
    """It cannot be cut; others of its kind neither."""
    service.max_rows = 0
    with pytest.raises(TooManyRowsError):
        client.predict(many(4))


def test_single_row_that_does_not_fit_is_the_error(bus: MemoryBus, service: Service) -> None:
    """No part of the batch is asked then."""
    client = InferenceClient(bus.connect, max_message_bytes=400)
    with client, pytest.raises(RequestTooLargeError, match=r"^records\[2\]: got a row for a "):
        client.predict([*many(2), {"x": "x" * 500}])
    assert service.requests == []


@pytest.mark.parametrize("told", [0, -3, 1000, "5", 2.5, True])
def test_odd_limit_is_not_believed(client: InferenceClient, service: Service, told: object) -> None:
    """The batch is cut all the same, and comes to its end."""

    def answer(request: Json) -> tuple[int, Json] | None:
        if len(rows_of(request)) <= 3:
            return None
        return 413, refusal("request_too_large", maxRows=told)

    service.answer = answer
    assert client.predict(many(9)).predictions == tuple(range(9))


def test_what_is_known_of_limits_stays_bounded() -> None:
    """Though callers may ask for any topK."""
    limits = RowLimits()
    for top_k in range(1000):
        limits.learn(top_k, 5)
    assert len(limits._most) <= 32
    assert limits.get(999) == 5
    limits.learn(999, 9)
    assert limits.get(999) == 5
    for version, most in (("1", 5), ("1", 5), ("2", None)):
        limits.see(Prediction(model="m", version=version, predictions=()))
        assert limits.get(999) == most


# --- an update in the middle ----------------------------------------------------------------------


def test_batch_that_meets_an_update_is_asked_once_more(bus: MemoryBus, service: Service) -> None:
    """All its rows are from the new model then."""
    service.max_rows, service.tells_max_rows = 10, True

    def answer(request: Json) -> tuple[int, Json] | None:
        if rows_of(request)[0]["x"] == 10:
            service.version = "2.0.0"
        return None

    service.answer = answer
    with InferenceClient(bus.connect, max_in_flight=1) as client:
        found = client.predict(many(30))
    assert found.version == "2.0.0"
    assert found.predictions == tuple(range(30))


def test_model_that_keeps_changing_is_the_error(bus: MemoryBus, service: Service) -> None:
    """Twice is enough."""
    service.max_rows, service.tells_max_rows = 10, True

    def answer(request: Json) -> tuple[int, Json] | None:
        service.version = f"{len(service.requests)}.0.0"
        return None

    service.answer = answer
    client = InferenceClient(bus.connect, max_in_flight=1)
    with client, pytest.raises(ModelChangedError, match=r"^reply: got answers of wine "):
        client.predict(many(30))


def test_batches_run_beside_each_other(client: InferenceClient, service: Service) -> None:
    """Their parts do not mix."""
    service.max_rows = 7

    async def ask() -> None:
        asked = [client.predict_async([{"x": f"{i}.{j}"} for j in range(50)], 30) for i in range(6)]
        for i, found in enumerate(await asyncio.gather(*asked)):
            assert found.predictions == tuple(f"{i}.{j}" for j in range(50))

    asyncio.run(ask())
