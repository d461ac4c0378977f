"""Whoever asks wrongly hears so, and the component serves on."""

import contextlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from awsiot.greengrasscoreipc import model

from interface.errors import (
    ConnectionLostError,
    MessageTooLargeError,
)
from interface.greengrass import connect
from tests.conftest import Packed
from tests.device.requester import REQUESTS, RESULTS, Requester
from tests.device.running import RunningDevice
from tests.device.traffic import Answers
from tests.device.waiting import wait_until


@pytest.fixture
def requester(shared: RunningDevice, mixed: Packed) -> Iterator[Requester]:
    """Speaks to the shared device, whose component must serve afterwards."""
    pid = shared.component()["pid"]
    with contextlib.closing(shared.connect()) as bus:
        yield Requester(bus)
    with shared.client() as client:
        Answers(mixed).check([0], client.predict(mixed.rows[0], 30.0))
    assert (shared.component()["pid"], shared.component()["state"]) == (pid, "RUNNING")


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", "malformed_request"),
        (b"\xff\xfe no text", "malformed_request"),
        (b"{", "malformed_request"),
        (b"[" * 5000, "malformed_request"),
        (b"7", "malformed_request"),
        (b"null", "malformed_request"),
        (b"[]", "no_rows"),
        (b'{"records": 7}', "malformed_request"),
        (b'{"records": [7]}', "malformed_request"),
        (b'{"hello": "world"}', "missing_feature"),
        (b'{"probe": "not quite"}', "missing_feature"),
        (b'{"records": [{"count": NaN}]}', "malformed_request"),
        (b'{"records": [], "deadlineMs": 1}', "deadline_exceeded"),
    ],
)
def test_a_message_that_is_no_request_gets_an_error_reply(
    requester: Requester, payload: bytes, code: str
) -> None:
    """Anyone may publish anything; what it is not is said at the result topic."""
    topic, reply = requester.send(payload)
    assert (topic, reply["body"]["error"]["code"]) == (RESULTS, code)
    assert "id" not in reply


@pytest.mark.parametrize(
    "reply_to", ["elsewhere", f"{RESULTS}/+", f"{RESULTS}//x", f"{RESULTS}/{'x' * 300}", 7]
)
def test_a_reply_elsewhere_is_refused_at_the_result_topic(
    requester: Requester, mixed: Packed, reply_to: object
) -> None:
    """Nobody has the component write where its policy lets it and theirs does not."""
    request = {"id": "mine", "replyTo": reply_to, "records": [mixed.rows[0]]}
    topic, reply = requester.send(json.dumps(request).encode())
    assert topic == RESULTS
    assert (reply["id"], reply["body"]["error"]["code"]) == ("mine", "malformed_request")
    assert reply["body"]["error"]["message"].startswith("replyTo: got ")


def test_a_request_as_json_message_is_answered(requester: Requester, mixed: Packed) -> None:
    """What other components publish by hand; only whole numbers may have become doubles."""
    row = {**mixed.rows[0], "grade": None}
    message = {"id": "by-hand", "replyTo": f"{RESULTS}/mine", "records": [row]}
    publish = model.PublishMessage(json_message=model.JsonMessage(message=message))
    operation = requester.bus._client.new_publish_to_topic()
    operation.activate(model.PublishToTopicRequest(topic=REQUESTS, publish_message=publish))
    operation.get_response().result(30.0)
    operation.close()
    topic, reply = requester.next()
    assert (topic, reply["id"], reply["statusCode"]) == (f"{RESULTS}/mine", "by-hand", 200)
    assert reply["body"]["predictions"] == mixed.bundle.predict([row]).predictions


def test_a_huge_message_is_refused_here_or_there(
    shared: RunningDevice, requester: Requester
) -> None:
    """17 MiB cross the classic nucleus and get a reply; what lite would choke on never leaves."""
    if shared.personality.name == "lite":
        with pytest.raises(MessageTooLargeError):
            requester.bus.publish(REQUESTS, b" " * 7_000).result(30.0)
        return
    topic, reply = requester.send(b'{"records": "' + b"x" * (17 * 1024 * 1024) + b'"}')
    assert (topic, reply["statusCode"]) == (RESULTS, 413)
    assert reply["body"]["error"]["code"] == "request_too_large"


def test_a_message_above_lites_packet_costs_its_sender_the_connection_and_nobody_else(
    shared: RunningDevice, requester: Requester
) -> None:
    """A sender that does not know the limit hears `connection_lost`; classic takes the message."""
    with contextlib.closing(connect(*shared.root.read_tools_token())) as careless:
        sent = careless.publish(REQUESTS, b"x" * 7_800)
        if shared.personality.name == "lite":
            with pytest.raises(ConnectionLostError):
                sent.result(30.0)
        else:
            sent.result(30.0)
            assert requester.next()[1]["body"]["error"]["code"] == "malformed_request"


def test_a_request_on_a_topic_that_nobody_hears_times_out(
    shared: RunningDevice, mixed: Packed
) -> None:
    """Pub/sub cannot tell; the caller's own time does."""
    silence = pytest.raises(TimeoutError, match=r"^request: got no reply in 0.3 s, expected one$")
    with shared.client(request_topic="edgexgb/nobody") as client, silence:
        client.predict(mixed.rows[0], 0.3)


ASKER = """
import sys
from consumer.client import InferenceClient
from interface.errors import TransportError
from interface.greengrass import connect
with InferenceClient(connect) as client:
    try:
        client.predict({"size": 1.0}, 20.0)
    except TransportError as error:
        print("GOT", type(error).__name__, flush=True)
"""


def write_asker(folder: Path, access: str) -> Path:
    """The recipe of a component that asks once, and says what error of the bus it met."""
    script = folder / "ask.py"
    script.write_text(ASKER)
    recipe = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": "com.example.Asker",
        "ComponentVersion": "1.0.0",
        "ComponentDescription": "Asks once.",
        "ComponentConfiguration": {"DefaultConfiguration": json.loads(access)},
        "Manifests": [
            {
                "Platform": {"os": "linux", "runtime": "*"},
                "Lifecycle": {"run": f"exec {sys.executable} {script}"},
            }
        ],
    }
    path = folder / "asker.json"
    path.write_text(json.dumps(recipe))
    return path


SUBSCRIBES = {
    "accessControl": {
        "aws.greengrass.ipc.pubsub": {
            "asker:pubsub:1": {
                "policyDescription": "Hears replies.",
                "operations": ["aws.greengrass#SubscribeToTopic"],
                "resources": [f"{RESULTS}/*"],
            }
        }
    }
}


@pytest.mark.parametrize("access", ["{}", json.dumps(SUBSCRIBES)], ids=["nothing", "no requests"])
def test_a_consumer_without_permission_gets_a_typed_error(
    personality: str, tmp_path: Path, access: str
) -> None:
    """Not to hear replies, or not to send requests: either is `NotPermittedError`, not silence."""
    recipe = write_asker(tmp_path, access)
    with RunningDevice(tmp_path / "root", ["--recipe", recipe], personality) as device:
        device.start()
        log = device.root.log("com.example.Asker")
        wait_until(lambda: device.component("com.example.Asker")["state"] == "FINISHED", "an end")
        assert "GOT NotPermittedError" in log.read_text()
