"""What the golden frames in `tests/data/frames` mean; their README says where they are from."""

from collections.abc import Callable
from typing import Any

import pytest

from nucleus.eventstream.message import (
    Header,
    HeaderType,
    Message,
    MessageFlag,
    MessageType,
    make_message,
    text_header,
)


def _three(kind: int, flags: int, stream_id: int) -> tuple[Header, ...]:
    values = {":message-type": kind, ":message-flags": flags, ":stream-id": stream_id}
    return tuple(Header(name, HeaderType.INT32, value) for name, value in values.items())


_VERSION = text_header(":version", "0.1.0")
_JSON = text_header(":content-type", "application/json")


def _model(shape: str) -> Header:
    return text_header("service-model-type", f"aws.greengrass#{shape}")


GOLDEN = {
    "connect": Message((_VERSION, *_three(4, 0, 0)), b'{"authToken":"T"}'),
    "lite-connect": Message((_VERSION, *_three(4, 0, 0)), b'{"authToken": "lurIl6NR1q8qhIgz"}'),
    "connect-ack": make_message(MessageType.CONNECT_ACK, 0, flags=MessageFlag.CONNECTION_ACCEPTED),
    "connect-ack-refused": make_message(MessageType.CONNECT_ACK, 0),
    "publish-request": Message(
        (
            _JSON,
            _model("PublishToTopicRequest"),
            *_three(0, 0, 1),
            text_header("operation", "aws.greengrass#PublishToTopic"),
        ),
        b'{"topic": "a/b", "publishMessage": {"binaryMessage": {"message": "aGk="}}}',
    ),
    "publish-response": Message((*_three(0, 2, 1), _JSON, _model("PublishToTopicResponse")), b"{}"),
    "stream-end": make_message(
        MessageType.APPLICATION_MESSAGE, 1, flags=MessageFlag.TERMINATE_STREAM
    ),
}

golden: Callable[..., Any] = pytest.mark.parametrize("name", sorted(GOLDEN))
