"""How the component is, as a client hears it."""

import asyncio
import time

import pytest

from consumer.client import InferenceClient
from consumer.errors import (
    ClientClosedError,
    DeadlineExceededError,
    MalformedReplyError,
    RequestTimeoutError,
)
from consumer.health import Health, LastError, parse_health
from interface.errors import ConnectionLostError
from interface.pubsub import MemoryBus
from tests.consumer.conftest import Json, Service, refusal

BODY: Json = {
    "ready": True,
    "model": {"name": "wine", "version": "1.0.0", "digest": "ab12"},
    "engine": "forest",
    "uptimeSeconds": 12,
    "waiting": 3,
    "maxWaiting": 64,
    "served": 100,
    "refused": {"busy": 2, "no_rows": 1},
    "failed": 1,
    "latencyMs": {"p50": 0.25, "p99": 4},
    "lastError": {"code": "deaf", "message": "a: got b", "when": "2026-01-01T00:00:00+00:00"},
    "residentBytes": 12345678,
}

HEALTH = Health(
    ready=True,
    model="wine",
    version="1.0.0",
    digest="ab12",
    engine="forest",
    uptime_s=12.0,
    waiting=3,
    max_waiting=64,
    served=100,
    refused={"busy": 2, "no_rows": 1},
    failed=1,
    p50_ms=0.25,
    p99_ms=4.0,
    last_error=LastError("deaf", "a: got b", "2026-01-01T00:00:00+00:00"),
    resident_bytes=12345678,
)


def test_health_is_asked_as_the_rules_say(client: InferenceClient, service: Service) -> None:
    """And comes back as a value (requests 9)."""
    service.answer = lambda _: (200, BODY)
    before = time.time()
    assert client.health(timeout_s=30) == HEALTH
    (request,) = service.requests
    assert set(request) == {"op", "id", "replyTo", "deadlineMs"}
    assert (request["op"], request["replyTo"]) == ("health", client.reply_topic)
    assert before + 30 <= request["deadlineMs"] / 1000 <= time.time() + 30.001


def test_health_is_asked_from_an_event_loop(client: InferenceClient, service: Service) -> None:
    """Without blocking it."""
    service.answer = lambda _: (200, BODY)
    assert asyncio.run(client.health_async()) == HEALTH


def test_health_does_not_wait_for_questions_in_flight(bus: MemoryBus, service: Service) -> None:
    """The component may be asked why they take so long."""
    service.answer = lambda request: (200, BODY) if "op" in request else None
    with InferenceClient(bus.connect, max_in_flight=1) as client:
        service.holds = True
        asked = client._ask({"x": 1}, 10.0, None, None)
        service.wait_for(1)
        service.holds = False
        assert client.health() == HEALTH
        service.release()
        assert asked.result(10).predictions == (1,)


def test_no_answer_is_an_error_of_its_own(client: InferenceClient, service: Service) -> None:
    """In time."""
    service.answer, service.holds = lambda _: (200, BODY), True
    with pytest.raises(RequestTimeoutError) as caught:
        client.health(timeout_s=0.05)
    assert str(caught.value) == "health: got no reply in 0.05 s, expected one"


def test_refusal_is_the_error_of_its_code(client: InferenceClient, service: Service) -> None:
    """As with questions."""
    service.answer = lambda _: (504, refusal("deadline_exceeded", "deadlineMs: got a, expected b"))
    with pytest.raises(DeadlineExceededError, match=r"^deadlineMs: got a, expected b$"):
        client.health()


def test_lost_connection_ends_the_wait(
    bus: MemoryBus, client: InferenceClient, service: Service
) -> None:
    """As that of a question."""
    service.answer, service.holds = lambda _: (200, BODY), True
    future = client._ask_health(10.0)
    service.wait_for(1)
    bus.break_connections()
    with pytest.raises(ConnectionLostError):
        future.result(10)


@pytest.mark.parametrize("timeout_s", [0, -1, float("inf"), float("nan")])
def test_timeout_that_is_no_time_is_refused(client: InferenceClient, timeout_s: float) -> None:
    """Before anything is sent."""
    with pytest.raises(ValueError, match=r"^timeout_s: got "):
        client.health(timeout_s)


def test_closed_client_is_not_asked(bus: MemoryBus) -> None:
    """As with questions."""
    client = InferenceClient(bus.connect)
    client.close()
    with pytest.raises(ClientClosedError):
        client.health()


def test_what_is_not_known_is_none() -> None:
    """Before the first answer, without errors, elsewhere than on Linux."""
    names = ("maxWaiting", "latencyMs", "lastError", "residentBytes")
    found = parse_health({**BODY, **dict.fromkeys(names), "more": [1]})
    assert (found.max_waiting, found.resident_bytes) == (None, None)
    assert (found.p50_ms, found.p99_ms, found.last_error) == (None, None, None)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ready": 1}, "reply.body.ready: got a int, expected a bool"),
        ({"model": None}, "reply.body.model: got a NoneType, expected a dict"),
        ({"model": {"name": "a"}}, "reply.body.version: got a NoneType, expected a str"),
        ({"waiting": True}, "reply.body.waiting: got a bool, expected a int"),
        ({"uptimeSeconds": "1"}, "reply.body.uptimeSeconds: got a str, expected a float"),
        (
            {"uptimeSeconds": 10**309},
            "reply.body.uptimeSeconds: got an integer of 1027 bits, expected a float",
        ),
        ({"refused": {"busy": None}}, "reply.body.busy: got a NoneType, expected a int"),
        ({"refused": []}, "reply.body.refused: got a list, expected a dict"),
        ({"latencyMs": {"p50": 1}}, "reply.body.p99: got a NoneType, expected a float"),
        ({"lastError": "a"}, "reply.body.lastError: got a str, expected a dict"),
        ({"residentBytes": 1.5}, "reply.body.residentBytes: got a float, expected a int"),
    ],
)
def test_answer_that_is_none_about_health_is_refused(change: Json, text: str) -> None:
    """With the field, as place, observed, expected."""
    with pytest.raises(MalformedReplyError) as caught:
        parse_health({**BODY, **change})
    assert str(caught.value) == text


def test_answer_of_a_stranger_is_refused(client: InferenceClient, service: Service) -> None:
    """As an `InferenceError`, like all that is wrong with answers."""
    service.answer = lambda _: (200, {})
    with pytest.raises(MalformedReplyError):
        client.health()
