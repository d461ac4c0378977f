"""A listener hears, proves it, and notices when it no longer does."""

import threading

import pytest

from interface.errors import (
    ConnectionLostError,
    DeafError,
    NotPermittedError,
    OperationRefusedError,
    TransportError,
)
from interface.hearing import Listener
from interface.pubsub import MemoryBus, MemoryPubSub
from tests.interface.conftest import Recorder, Tampered, wait_until

TOPIC = "ask/here"


def is_probe(payload: bytes) -> bool:
    return payload.startswith(b'{"probe":"')


def listen(pubsub: MemoryPubSub | Tampered, recorder: Recorder, **options: object) -> Listener:
    settings = {"probe_every_s": 0.02, "probe_timeout_s": 0.05, **options}
    return Listener(pubsub, TOPIC, recorder.deliver, recorder.lost, **settings)  # type: ignore[arg-type]


def test_open_listener_has_proved_that_it_hears(pubsub: MemoryPubSub) -> None:
    """One probe went out before the constructor returned."""
    tampered, recorder = Tampered(pubsub), Recorder()
    listener = listen(tampered, recorder, probe_every_s=60, probe_timeout_s=20)
    [(topic, payload)] = tampered.published
    assert topic == TOPIC
    assert is_probe(payload)
    listener.close()


def test_messages_are_delivered_in_order_and_probes_are_not(pubsub: MemoryPubSub) -> None:
    """Not even those of another listener on the topic."""
    recorder, other = Recorder(), Recorder()
    first, second = listen(pubsub, recorder), listen(pubsub, other)
    for i in range(100):
        pubsub.publish(TOPIC, b"%d" % i)
    expected = [b"%d" % i for i in range(100)]
    assert recorder.wait_payloads(100) == expected
    assert other.wait_payloads(100) == expected
    first.close()
    second.close()
    assert (recorder.errors, other.errors) == ([], [])


@pytest.mark.parametrize(
    "payload",
    [b'{"probe":"x"}', b'{"probe":"' + b"0" * 32 + b'"} ', b'{"probe":"' + b"G" * 32 + b'"}', b""],
)
def test_what_only_looks_like_a_probe_is_delivered(pubsub: MemoryPubSub, payload: bytes) -> None:
    """Whoever sent it waits for an answer."""
    recorder = Recorder()
    listener = listen(pubsub, recorder)
    pubsub.publish(TOPIC, payload)
    assert recorder.wait_payloads(1) == [payload]
    listener.close()


def test_bus_that_is_deaf_from_the_start_is_an_error(bus: MemoryBus) -> None:
    """Two probes are sent, and nothing is left behind."""
    tampered, recorder = Tampered(bus.connect()), Recorder()
    tampered.hold = lambda _topic, _payload: True  # taken, never delivered
    with pytest.raises(DeafError) as raised:
        listen(tampered, recorder)
    text = "ask/here: got no probe back in 0.1 s, expected it at once"
    assert str(raised.value) == text
    assert len(tampered.published) == 2
    assert recorder.errors == []
    bus.connect().publish(TOPIC, b"after the end")
    tampered.close()
    assert recorder.payloads == []


def test_subscription_that_turns_deaf_is_lost(bus: MemoryBus) -> None:
    """Publishing still succeeds then, so that nothing else would tell."""
    pubsub, recorder = bus.connect(), Recorder()
    listener = listen(pubsub, recorder)
    bus.deafen()
    assert isinstance(recorder.wait_error(), DeafError)
    listener.close()
    assert len(recorder.errors) == 1


def test_connection_that_breaks_is_lost_once(bus: MemoryBus) -> None:
    """By the subscription's end or by a probe, whichever is first."""
    pubsub, recorder = bus.connect(), Recorder()
    listener = listen(pubsub, recorder, probe_every_s=0.001)
    bus.break_connections()
    assert isinstance(recorder.wait_error(), ConnectionLostError)
    wait_until(lambda: f"probe {TOPIC}" not in {thread.name for thread in threading.enumerate()})
    listener.close()
    assert len(recorder.errors) == 1


def test_loss_while_it_proves_is_raised_and_not_told(bus: MemoryBus) -> None:
    """Nobody could be told of a listener that never was."""
    tampered, recorder = Tampered(bus.connect()), Recorder()

    def break_all(_topic: str, _payload: bytes) -> None:
        bus.break_connections()

    tampered.error = break_all
    with pytest.raises(ConnectionLostError):
        listen(tampered, recorder, probe_timeout_s=20)
    assert recorder.errors == []


def test_end_of_the_subscription_alone_is_raised_while_it_proves(bus: MemoryBus) -> None:
    """Publishing may still succeed."""
    pubsub, recorder = bus.connect(), Recorder()
    ending: list[Listener] = []

    tampered = Tampered(pubsub)

    def end(_topic: str, _payload: bytes) -> None:
        tampered.lost[0](OperationRefusedError("ended"))

    tampered.error = end
    with pytest.raises(OperationRefusedError, match=r"^ended$"):
        ending.append(listen(tampered, recorder, probe_timeout_s=20))
    assert (ending, recorder.errors) == ([], [])


@pytest.mark.parametrize("must_prove", [True, False])
def test_listener_that_may_not_probe(bus: MemoryBus, must_prove: bool) -> None:
    """It is an error where probes are a must; else the listener does without."""
    pubsub, recorder = bus.connect(), Recorder()
    tampered = Tampered(pubsub)
    tampered.error = lambda _topic, _payload: NotPermittedError("no")
    if must_prove:
        with pytest.raises(NotPermittedError, match=r"^no$"):
            listen(tampered, recorder)
        return
    listener = listen(tampered, recorder, must_prove=False)
    pubsub.publish(TOPIC, b"a message")
    assert recorder.wait_payloads(1) == [b"a message"]
    assert len(tampered.published) == 1
    bus.break_connections()
    assert isinstance(recorder.wait_error(), ConnectionLostError)
    listener.close()


def test_other_failure_to_probe_is_an_error_even_if_probes_are_no_must(bus: MemoryBus) -> None:
    """Only a policy is forgiven."""
    tampered, recorder = Tampered(bus.connect()), Recorder()
    tampered.error = lambda _topic, _payload: OperationRefusedError("no")
    with pytest.raises(OperationRefusedError, match=r"^no$"):
        listen(tampered, recorder, must_prove=False)


def test_probe_that_the_bus_does_not_take_in_time_counts_as_unheard(bus: MemoryBus) -> None:
    """A second one is sent before the subscription is given up."""
    tampered, recorder = Tampered(bus.connect()), Recorder()
    listener = listen(tampered, recorder)
    tampered.published.clear()
    tampered.hold = lambda _topic, _payload: True
    error: TransportError = recorder.wait_error()
    assert isinstance(error, DeafError)
    assert len(tampered.published) == 2
    listener.close()


def test_second_probe_may_prove_it(bus: MemoryBus) -> None:
    """One that is lost or late is no reason to give up."""
    tampered, recorder = Tampered(bus.connect()), Recorder()
    tampered.hold = lambda _topic, _payload: len(tampered.published) == 1
    listener = listen(tampered, recorder, probe_every_s=60, probe_timeout_s=0.5)
    assert len(tampered.published) == 2
    listener.close()
    assert recorder.errors == []


def test_no_probe_is_sent_where_messages_flow(pubsub: MemoryPubSub) -> None:
    """Any message proves as much."""
    tampered, recorder = Tampered(pubsub), Recorder()
    listener = listen(tampered, recorder, probe_every_s=1.0, probe_timeout_s=20)
    stop = threading.Event()

    def talk() -> None:
        while not stop.wait(0.01):
            pubsub.publish(TOPIC, b"a message")

    talking = threading.Thread(target=talk)
    talking.start()
    recorder.wait_payloads(120)  # for more than the interval
    stop.set()
    talking.join()
    assert [payload for _, payload in tampered.published if is_probe(payload)] == [
        tampered.published[0][1]
    ]
    listener.close()


def test_closed_listener_neither_hears_nor_complains(bus: MemoryBus) -> None:
    """And a second close does nothing."""
    pubsub, recorder = bus.connect(), Recorder()
    listener = listen(pubsub, recorder)
    listener.close()
    listener.close()
    other = Recorder()
    witness = listen(pubsub, other, probe_every_s=60, probe_timeout_s=20)
    pubsub.publish(TOPIC, b"a message")
    other.wait_payloads(1)
    bus.break_connections()
    other.wait_error()
    assert (recorder.payloads, recorder.errors) == ([], [])
    witness.close()
