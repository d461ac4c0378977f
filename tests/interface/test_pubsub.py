"""The bus in memory does what the port promises."""

import threading

import pytest

from interface.errors import ConnectionLostError
from interface.pubsub import MemoryBus, MemoryPubSub
from tests.interface.conftest import WAIT_S, Recorder, wait_until


def test_message_reaches_every_subscription_to_its_topic_and_no_other(bus: MemoryBus) -> None:
    """Own messages too; in order, one at a time."""
    one, two = bus.connect(), bus.connect()
    own, foreign, elsewhere = Recorder(), Recorder(), Recorder()
    one.subscribe("a", own.deliver, own.lost)
    two.subscribe("a", foreign.deliver, foreign.lost)
    two.subscribe("b", elsewhere.deliver, elsewhere.lost)
    for i in range(50):
        assert one.publish("a", b"%d" % i).result(WAIT_S) is None
    one.publish("b", b"last").result(WAIT_S)
    expected = [b"%d" % i for i in range(50)]
    assert own.wait_payloads(50) == expected
    assert foreign.wait_payloads(50) == expected
    assert elsewhere.wait_payloads(1) == [b"last"]


def test_slow_subscription_holds_up_nobody_else(bus: MemoryBus) -> None:
    """Each has a thread of its own."""
    pubsub, recorder, go = bus.connect(), Recorder(), threading.Event()

    def hang(_payload: bytes) -> None:
        go.wait(WAIT_S)

    pubsub.subscribe("a", hang, lambda _error: None)
    pubsub.subscribe("a", recorder.deliver, recorder.lost)
    pubsub.publish("a", b"1")
    pubsub.publish("a", b"2")
    assert recorder.wait_payloads(2) == [b"1", b"2"]
    go.set()


def test_broken_connection_is_told_once_to_each_subscription(bus: MemoryBus) -> None:
    """Nothing can be done with it from then on, and nothing is raised by publishing."""
    pubsub, first, second = bus.connect(), Recorder(), Recorder()
    pubsub.subscribe("a", first.deliver, first.lost)
    pubsub.subscribe("b", second.deliver, second.lost)
    bus.break_connections()
    bus.break_connections()
    for recorder in (first, second):
        error = recorder.wait_error()
        assert isinstance(error, ConnectionLostError)
        assert str(error) == "the bus went away"
    with pytest.raises(ConnectionLostError, match=r"^the connection is closed$"):
        pubsub.subscribe("a", first.deliver, first.lost)
    assert isinstance(pubsub.publish("a", b"").exception(WAIT_S), ConnectionLostError)
    assert (len(first.errors), len(second.errors)) == (1, 1)


def test_connection_without_subscriptions_breaks_too(bus: MemoryBus) -> None:
    """It is as gone as the others."""
    pubsub = bus.connect()
    bus.break_connections()
    assert isinstance(pubsub.publish("a", b"").exception(WAIT_S), ConnectionLostError)


def test_connection_made_after_the_break_works(bus: MemoryBus) -> None:
    """As after a restart of the core device."""
    bus.break_connections()
    pubsub, recorder = bus.connect(), Recorder()
    pubsub.subscribe("a", recorder.deliver, recorder.lost)
    pubsub.publish("a", b"1").result(WAIT_S)
    assert recorder.wait_payloads(1) == [b"1"]


def test_deafened_bus_tells_nobody_and_takes_messages(bus: MemoryBus) -> None:
    """A subscription that is made afterwards hears."""
    pubsub, deaf, hearing = bus.connect(), Recorder(), Recorder()
    pubsub.subscribe("a", deaf.deliver, deaf.lost)
    bus.deafen()
    pubsub.subscribe("a", hearing.deliver, hearing.lost)
    assert pubsub.publish("a", b"1").result(WAIT_S) is None
    assert hearing.wait_payloads(1) == [b"1"]
    assert (deaf.payloads, deaf.errors) == ([], [])


def test_closed_subscription_gets_nothing_and_its_thread_ends(pubsub: MemoryPubSub) -> None:
    """The other subscriptions of the connection stay."""
    closed, hearing = Recorder(), Recorder()
    subscription = pubsub.subscribe("closed-one", closed.deliver, closed.lost)
    pubsub.subscribe("a", hearing.deliver, hearing.lost)
    subscription.close()
    subscription.close()
    pubsub.publish("closed-one", b"1").result(WAIT_S)
    pubsub.publish("a", b"2").result(WAIT_S)
    assert hearing.wait_payloads(1) == [b"2"]
    wait_until(
        lambda: "memory-bus closed-one" not in {it.name for it in threading.enumerate()},
    )
    assert (closed.payloads, closed.errors) == ([], [])


def test_closed_connection_ends_its_subscriptions_and_no_others(bus: MemoryBus) -> None:
    """`lost` is not told: whoever closes knows."""
    one, two, ended, hearing = bus.connect(), bus.connect(), Recorder(), Recorder()
    one.subscribe("a", ended.deliver, ended.lost)
    two.subscribe("a", hearing.deliver, hearing.lost)
    one.close()
    one.close()
    two.publish("a", b"1").result(WAIT_S)
    assert hearing.wait_payloads(1) == [b"1"]
    assert (ended.payloads, ended.errors) == ([], [])
    assert isinstance(one.publish("a", b"").exception(WAIT_S), ConnectionLostError)
