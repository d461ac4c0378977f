"""Predictions over pub/sub: right, complete, and each to its asker."""

import contextlib
from queue import SimpleQueue

import psutil
import pytest

from interface.envelope import Request, encode_request, parse_reply
from model.golden import differences
from tests.conftest import Packed
from tests.device.conftest import NAMES
from tests.device.running import RunningDevice
from tests.device.traffic import Answers, Traffic


def topics_of(name: str) -> dict[str, str]:
    """The topics of a bundle's component on the shared devices."""
    place = name if name in NAMES else "edgexgb"
    return {"request_topic": f"{place}/requests", "result_topic": f"{place}/results"}


@pytest.mark.parametrize("name", ["mixed", *NAMES])
def test_golden_rows_over_the_bus_are_predicted_to_the_last_bit(
    shared: RunningDevice, bundles: dict[str, Packed], name: str
) -> None:
    """What the gate proved in the process is what a consumer gets."""
    bundle = bundles[name].bundle
    with shared.client(**topics_of(name)) as client:
        got = client.predict([golden.row for golden in bundle.golden], 20.0)
    assert (got.model, got.version) == (bundle.manifest.name, bundle.manifest.version)
    assert differences(bundle.golden, got.predictions, got.probabilities, exact=True) == []


def test_many_consumers_at_once_each_get_their_own_answers(
    shared: RunningDevice, mixed: Packed
) -> None:
    """Eight consumers of four threads: no request is lost, mixed up, or left to grow in memory."""
    n_each = 625 if shared.personality.name == "classic" else 200
    watched = [psutil.Process(shared.process.pid), shared.server()]
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(shared.client()) for _ in range(8)]
        Traffic(clients, mixed, 4).run(10, 30.0)
        before = [process.memory_info().rss for process in watched]
        traffic = Traffic(clients, mixed, 4)
        traffic.run(n_each, 30.0)
        after = [process.memory_info().rss for process in watched]
    outcomes = traffic.outcomes
    assert outcomes.failures == []
    assert set(outcomes.counts) == {"answered", "refused"}
    assert sum(outcomes.counts.values()) == 32 * n_each
    grown = [new - old for old, new in zip(before, after, strict=True)]
    assert max(grown) < 16 * 1024 * 1024, grown


def test_a_batch_of_5000_rows_crosses_the_bus_in_messages_that_it_takes(
    shared: RunningDevice, mixed: Packed
) -> None:
    """Nucleus lite takes 7 KB in one message; a batch is cut and joined, to the last bit."""
    picked = [i % len(mixed.rows) for i in range(5000)]
    with shared.client() as client:
        got = client.predict([mixed.rows[i] for i in picked], 60.0)
    Answers(mixed).check(picked, got)


def test_a_burst_beyond_the_queue_is_answered_exactly_once_each(
    shared: RunningDevice, mixed: Packed
) -> None:
    """Each of 400 messages sent without waiting is predicted or told `busy`, and no two twice."""
    topic, n_requests = "edgexgb/results/burst", 400
    replies: SimpleQueue[bytes] = SimpleQueue()
    with contextlib.closing(shared.connect()) as bus:
        bus.subscribe(topic, replies.put, lambda _error: None)
        sent = []
        for number in range(n_requests):
            event = {"records": [mixed.rows[number % len(mixed.rows)]]}
            request = encode_request(Request(id=number, event=event, reply_to=topic))
            sent.append(bus.publish("edgexgb/requests", request))
        assert [future.exception(30.0) for future in sent] == [None] * n_requests
        found = [parse_reply(replies.get(timeout=30.0)) for _ in range(n_requests)]
        # Whatever came twice would be here by now: the component answers in order.
        with shared.client() as client:
            client.predict(mixed.rows[0], 30.0)
    assert replies.empty()
    assert sorted(int(reply.id or 0) for reply in found) == list(range(n_requests))
    assert {reply.status for reply in found} <= {200, 429}
    expected = mixed.bundle.predict(list(mixed.rows)).predictions
    for reply in found:
        if reply.status == 200:
            assert reply.body["predictions"] == [expected[int(reply.id or 0) % len(expected)]]
