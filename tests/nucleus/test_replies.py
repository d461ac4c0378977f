from typing import Any

import pytest

from nucleus.eventstream.message import MessageFlag, MessageType, make_message, text_header
from nucleus.eventstream.replies import Replies, to_json
from nucleus.operation import IpcError
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.golden import GOLDEN
from tests.nucleus.wire import parts

ERROR = MessageType.APPLICATION_ERROR
DATA = MessageType.APPLICATION_MESSAGE
ENDS = MessageFlag.TERMINATE_STREAM
NONE = MessageFlag.NONE


def test_golden_replies_are_built() -> None:
    """By the classic nucleus; lite builds the first, too."""
    assert Replies(CLASSIC).accept() == GOLDEN["connect-ack"]
    assert Replies(LITE).accept() == GOLDEN["connect-ack"]
    assert Replies(CLASSIC).refuse() == GOLDEN["connect-ack-refused"]
    assert Replies(CLASSIC).response(1, "PublishToTopic", {}) == GOLDEN["publish-response"]
    assert Replies(CLASSIC).end(1) == GOLDEN["stream-end"]


def test_lite_closes_without_a_word() -> None:
    """On a refused CONNECT and on every breach of the protocol."""
    assert Replies(LITE).refuse() is None
    assert Replies(LITE).violation("a reason") is None


def test_classic_says_what_was_wrong() -> None:
    """As JSON on no stream."""
    found = parts(Replies(CLASSIC).violation("a reason") or make_message(DATA, 1))
    assert found == (MessageType.PROTOCOL_ERROR, NONE, 0, None, {"message": "a reason"})


@pytest.mark.parametrize(("personality", "flags"), [(CLASSIC, ENDS), (LITE, NONE)])
def test_unary_response_ends_its_stream_on_classic_alone(
    personality: Personality, flags: MessageFlag
) -> None:
    """Which makes the client of AWS leak a little with every call on lite."""
    found = parts(Replies(personality).response(3, "GetConfiguration", {"value": 1}))
    assert found == (DATA, flags, 3, "aws.greengrass#GetConfigurationResponse", {"value": 1})


def test_subscription_stays_open(personality: Personality) -> None:
    """After the response and after each event."""
    replies = Replies(personality)
    response = parts(replies.first_response(3, "SubscribeToTopic", {}))
    assert response == (DATA, NONE, 3, "aws.greengrass#SubscribeToTopicResponse", {})
    event = parts(replies.event(3, "SubscriptionResponseMessage", {"a": 1}))
    assert event == (DATA, NONE, 3, "aws.greengrass#SubscriptionResponseMessage", {"a": 1})


def test_pong_echoes_payload_and_free_headers() -> None:
    """Those of the protocol are its own."""
    free = text_header("a", "b")
    ping = make_message(MessageType.PING, 0, extra=(text_header(":c", "d"), free), payload=b"\xff")
    pong = make_message(MessageType.PING_RESPONSE, 0, extra=(free,), payload=b"\xff")
    assert Replies(CLASSIC).pong(ping) == pong


NOT_FOUND = IpcError("ResourceNotFoundError", "gone", {"resourceName": "a", "resourceType": None})


def test_modelled_error_of_classic_has_all_keys() -> None:
    """Without those that are None."""
    found = parts(Replies(CLASSIC).error(2, NOT_FOUND))
    body = {
        "message": "gone",
        "_service": "aws.greengrass#GreengrassCoreIPC",
        "_message": "gone",
        "_errorCode": "ResourceNotFoundError",
        "resourceName": "a",
    }
    assert found == (ERROR, ENDS, 2, "aws.greengrass#ResourceNotFoundError", body)


def test_modelled_error_of_lite_has_two_keys() -> None:
    """So that the client of AWS knows no text."""
    found = parts(Replies(LITE).error(2, NOT_FOUND))
    body = {"_message": "gone", "_errorCode": "ResourceNotFoundError"}
    assert found == (ERROR, ENDS, 2, "aws.greengrass#ResourceNotFoundError", body)


EMPTY = {"_message": "", "_errorCode": "ServiceError"}


def test_failure_is_plain_text_on_classic_and_empty_on_lite() -> None:
    """Nothing of the device's own fault goes out."""
    message = Replies(CLASSIC).failure(4)
    assert parts(message) == (ERROR, ENDS, 4, None, b"InternalServerError")
    assert message.text(":content-type") == "text/plain"
    found = parts(Replies(LITE).failure(4))
    assert found == (ERROR, ENDS, 4, "aws.greengrass#ServiceError", EMPTY)


@pytest.mark.parametrize("operation", ["aws.greengrass#Fly", "PublishToTopic", "GetSecretValue"])
def test_unknown_operation_has_no_model_type_on_classic(operation: str) -> None:
    """A name without its namespace is unknown, too."""
    body: dict[str, Any] = {
        "error": "Unsupported Operation",
        "message": f"{operation} is an unsupported operation.",
    }
    assert parts(Replies(CLASSIC).no_operation(4, operation)) == (ERROR, ENDS, 4, None, body)


def test_absent_operation_is_a_service_error_on_classic() -> None:
    """As where the component that brings it is not deployed."""
    found = parts(Replies(CLASSIC).no_operation(4, "aws.greengrass#GetSecretValue"))
    assert found[:4] == (ERROR, ENDS, 4, "aws.greengrass#ServiceError")
    text = "Operation aws.greengrass#GetSecretValue is not supported by Greengrass"
    assert found[4]["message"] == text


@pytest.mark.parametrize("operation", ["aws.greengrass#Fly", "aws.greengrass#GetSecretValue"])
def test_every_missing_operation_is_an_empty_service_error_on_lite(operation: str) -> None:
    """It knows no difference."""
    found = parts(Replies(LITE).no_operation(4, operation))
    assert found == (ERROR, ENDS, 4, "aws.greengrass#ServiceError", EMPTY)


def test_json_is_compact_utf8() -> None:
    """Half a surrogate pair stays the escape that it came as."""
    assert to_json({"a": [1, "é", "\ud800"]}) == '{"a":[1,"é","\\ud800"]}'.encode()


@pytest.mark.parametrize("value", [float("nan"), float("inf"), object(), b"bytes"])
def test_what_json_cannot_hold_is_refused(value: Any) -> None:
    """It would make the client fail, or worse."""
    with pytest.raises(ValueError):
        to_json({"a": value})
