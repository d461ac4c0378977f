"""How the component is."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from container.health import Health, Interval, resident_bytes
from interface.bridge import Answer, Bridge, Limits
from interface.pubsub import MemoryBus
from tests.conftest import Packed


class Nobody:
    """A service that is not asked."""

    def answer(self, payloads: Sequence[bytes]) -> Sequence[Answer]:
        raise NotImplementedError

    def is_urgent(self, payload: bytes) -> bool:
        raise NotImplementedError

    def refuse(self, payload: bytes, retry_after_ms: int) -> Answer:
        raise NotImplementedError

    def too_large(self, answer: Answer, max_bytes: int) -> Answer:
        raise NotImplementedError


@pytest.fixture
def health(mixed: Packed) -> Health:
    """Of a component that has just started."""
    return Health(mixed.bundle)


def test_component_is_ready_while_a_bridge_hears(health: Health) -> None:
    """Only then is there a queue, too."""
    bridge = Bridge(
        MemoryBus().connect(), "a", Nobody(), Limits(max_waiting=5), lambda _error: None
    )

    def found() -> tuple[object, ...]:
        report = health.report()
        return report["ready"], report["waiting"], report["maxWaiting"]

    assert found() == (False, 0, None)
    health.attach(bridge)
    assert found() == (True, 0, 5)
    health.detach()
    assert found() == (False, 0, None)


def test_each_request_is_counted_once(health: Health) -> None:
    """Served, refused by code, or failed; questions about health are none of these."""
    vitals = health.vitals
    for kind in ("", "", "", "health", "no_rows", "internal", "deadline_exceeded", "no_rows"):
        vitals.answer(kind)
    vitals.refuse("busy")
    vitals.refuse("busy")
    vitals.fail()
    vitals.drop(3)
    report = health.report()
    assert report["served"] == 3
    assert report["refused"] == {"busy": 2, "deadline_exceeded": 1, "no_rows": 2}
    assert report["failed"] == 1 + 1 + 3


def test_latencies_are_milliseconds(health: Health) -> None:
    """None before the first answer."""
    assert health.report()["latencyMs"] is None
    for took_s in (0.25, 0.5, 0.5):
        health.vitals.answer("", took_s)
    assert health.report()["latencyMs"] == {"p50": 500.0, "p99": 500.0}


def test_last_error_has_code_text_and_time(health: Health, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time as in the log, and of a long text the beginning: it has to fit a message."""
    monkeypatch.setattr(time, "time", lambda: 1_000_000_000.5)
    health.note("deaf", "x" * 501)
    assert health.report()["lastError"] == {
        "code": "deaf",
        "message": "x" * 500,
        "when": "2001-09-09T01:46:40.500000+00:00",
    }


def test_resident_memory_is_in_bytes(tmp_path: Path) -> None:
    """What is held shows; where nothing is known, nothing is made up."""
    before = resident_bytes()
    held = bytearray(b"x") * 50_000_000
    after = resident_bytes()
    assert before is not None
    assert after is not None
    assert after - before > len(held) * 0.9
    odd = tmp_path / "statm"
    assert resident_bytes(str(odd)) is None
    odd.write_text("12\n")
    assert resident_bytes(str(odd)) is None


def test_interval_ends_when_it_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """And can be changed on the way; no wait is longer than a wait can be."""
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    interval = Interval()
    now_s = 130.0
    assert [interval.left_s(it) for it in (0, 60, 30, 10)] == [None, 30.0, 0.0, 0.0]
    assert interval.left_s(10**18) == threading.TIMEOUT_MAX
    interval.restart()
    assert interval.left_s(60) == 60.0
