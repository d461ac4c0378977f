"""Whatever is killed, all answers again within seconds, and nothing is left behind."""

import contextlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

import psutil
import pytest

from interface.envelope import Request, encode_request, parse_reply
from model.golden import GoldenRow
from release.components import CONSUMER, INFERENCE
from tests.conftest import Packed, with_golden
from tests.device.conftest import Begin
from tests.device.held import HeldComponent
from tests.device.running import RunningDevice
from tests.device.traffic import Traffic
from tests.device.waiting import wait_until

PASSING = {"connection_lost", "token_refused", "request_timeout", "deadline_exceeded", "busy"}
"""Codes of errors that a caller may meet when something is killed while it waits."""


def disturb(device: RunningDevice, packed: Packed, kill: Callable[[], object]) -> None:
    """Kills in the middle of traffic, and waits until requests are answered as before."""
    with device.client() as one, device.client() as other:
        traffic = Traffic([one, other], packed, 2)
        counts = traffic.outcomes.counts
        traffic.start(timeout_s=2.0)
        try:
            wait_until(lambda: counts["answered"] > 50, "answers")
            kill()
            before = counts["answered"]
            wait_until(lambda: counts["answered"] > before + 100, "answers after the kill")
        finally:
            outcomes = traffic.stop()
    assert outcomes.failures == []
    assert set(outcomes.counts) <= {"answered", "refused"} | PASSING


def assert_no_more_than(device: RunningDevice, *names: str) -> None:
    """Of the components, these run, each as one process, and nothing else has their socket."""
    pids = {device.component(name)["pid"] for name in names}
    wait_until(lambda: {it.pid for it in device.processes()} == pids, "an end of what was left")


def test_a_device_killed_in_traffic_answers_again_once_it_is_started(
    begin: Begin, mixed: Packed
) -> None:
    """Clients find the new device by themselves; the old device's components are gone."""
    device = begin()
    old = device.server()

    def kill() -> None:
        device.kill()
        device.start()

    disturb(device, mixed, kill)
    # Whoever is now its parent may not have waited for it yet.
    assert not old.is_running() or old.status() == psutil.STATUS_ZOMBIE
    assert_no_more_than(device, INFERENCE)
    device.stop()
    assert device.processes() == []


def test_a_component_killed_in_traffic_is_started_again_and_answers(
    begin: Begin, mixed: Packed
) -> None:
    """The nucleus starts it anew, and whoever asked meanwhile has an answer or a typed error."""
    device = begin()
    old = device.server()
    disturb(device, mixed, old.kill)
    device.wait_state("RUNNING", not_pid=old.pid)
    status = device.component()
    meaning = "killed, by somebody or for want of memory"
    assert status["last_error"] == f"startup: got exit code 137 ({meaning}), expected 0"
    assert_no_more_than(device, INFERENCE)


def test_a_component_that_somebody_terminates_is_started_again(begin: Begin) -> None:
    """An end that the nucleus did not ask for is an error, lest it stay RUNNING and be no more."""
    device = begin()
    pid = device.component()["pid"]
    psutil.Process(pid).terminate()
    device.wait_state("RUNNING", not_pid=pid)
    assert device.component()["last_error"] == "startup: got exit code 143, expected 0"


def test_a_component_terminated_in_traffic_answers_all_that_it_has_received(
    begin: Begin, held: HeldComponent, mixed: Packed
) -> None:
    """A refusal tells how far it has read; all before that get a reply, and just one."""
    topic, n_requests = "edgexgb/results/burst", 400
    replies: SimpleQueue[bytes] = SimpleQueue()
    device = begin(maxWaitingRequests=100, python=str(held.python))
    server = device.server()
    held.hold()  # so that the queue fills, however slow the bus is
    requests = [
        encode_request(Request(id=i, event={"records": list(mixed.rows[:20])}, reply_to=topic))
        for i in range(n_requests)
    ]
    with contextlib.closing(device.connect()) as bus:
        bus.subscribe(topic, replies.put, lambda _error: None)
        for request in requests:
            bus.publish("edgexgb/requests", request)
        found = [parse_reply(replies.get(timeout=30.0))]
        while found[-1].status != 429:
            found.append(parse_reply(replies.get(timeout=30.0)))
        n_received = int(found[-1].id or 0)
        held.let()
        server.terminate()
        psutil.wait_procs([server], 30.0)
        device.wait_state("RUNNING", not_pid=server.pid)
        with device.client() as client:  # whatever was published before has arrived by then
            client.predict(mixed.rows[0], 30.0)
        while not replies.empty():
            found.append(parse_reply(replies.get()))
    identities = [int(reply.id or 0) for reply in found]
    assert len(set(identities)) == len(identities)
    assert set(range(n_received)) <= set(identities)
    assert {reply.status for reply in found} <= {200, 429}


def test_a_consumer_that_is_killed_asks_again(begin: Begin, multiclass: Packed) -> None:
    """The sample component is started anew, and predicts on."""
    fast = json.dumps({"intervalSeconds": "0.1"})
    arguments = ("--consumer", "--configure", f"{CONSUMER}={fast}")
    device = begin(*arguments, bundle=multiclass.directory)
    wait_until(lambda: "predicted" in device.messages(CONSUMER), "a prediction")
    pid = device.component(CONSUMER)["pid"]
    psutil.Process(pid).kill()
    device.wait_state("RUNNING", CONSUMER, not_pid=pid)

    def predicts_again() -> bool:
        messages = device.messages(CONSUMER)
        return messages.count("started") == 2 and messages[-1] == "predicted"

    wait_until(predicts_again, "a prediction after the kill")
    assert_no_more_than(device, INFERENCE, CONSUMER)


def test_a_component_that_crashes_three_times_is_shown_broken(begin: Begin, mixed: Packed) -> None:
    """The nucleus gives up and says so; asking ends in a typed error; a restart by hand heals."""
    device = begin()
    for _ in range(2):
        server = device.server()
        server.kill()
        device.wait_state("RUNNING", not_pid=server.pid)
    device.server().kill()
    device.wait_state("BROKEN")
    assert device.component()["errors"] == 3
    assert device.processes() == []
    with device.client() as client:
        with pytest.raises(TimeoutError, match=r"^request: got no reply in 0.5 s, expected one$"):
            client.predict(mixed.rows[0], 0.5)
        with contextlib.closing(device.connect()) as bus:
            bus.restart_component(INFERENCE)
        device.wait_state("RUNNING")
        client.predict(mixed.rows[0], 30.0)


def test_a_bundle_whose_golden_rows_differ_never_runs(
    begin: Begin, mixed: Packed, tmp_path: Path
) -> None:
    """The gate on the device: three attempts, each refused before it has subscribed."""

    def change(rows: list[GoldenRow]) -> None:
        other = {"no": "yes", "yes": "no"}
        rows[3] = rows[3]._replace(prediction=other[str(rows[3].prediction)])

    device = begin(bundle=with_golden(mixed, tmp_path, change))
    assert device.component()["state"] == "BROKEN"
    assert "currentState=RUNNING" not in device.root.log(INFERENCE).read_text()
    last = device.lines()[-1]
    assert last["message"] == "giving up"
    assert "golden.jsonl: row 3.prediction: got" in last["error"]


def test_a_device_killed_at_any_moment_of_its_start_can_be_started_again(
    personality: str, mixed: Packed, tmp_path: Path
) -> None:
    """Nothing that a killed device has left stops the next one on the same root."""
    with RunningDevice(tmp_path / "root", [mixed.directory], personality) as device:
        for delay_s in (0.3, 0.5, 0.8):
            device.launch()
            time.sleep(delay_s)  # any moment will do
            device.kill()
        device.start()
        with device.client() as client:
            client.predict(mixed.rows[0], 30.0)
        assert_no_more_than(device, INFERENCE)
