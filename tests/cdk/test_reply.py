import json
from collections.abc import Mapping
from typing import Any

import pytest

from handlers.reply import MAX_RESPONSE_BYTES, RefusedError, _put, answer

REQUEST = {
    "RequestType": "Create",
    "ResponseURL": "https://bucket/key?signed",
    "StackId": "arn:stack",
    "RequestId": "request",
    "LogicalResourceId": "Gate",
    "ResourceProperties": {"Name": "x"},
}


def answered(event: Mapping[str, Any], work: Any) -> tuple[str, dict[str, Any], int]:
    sent: list[tuple[str, bytes]] = []
    answer(event, work, lambda address, body: sent.append((address, body)))
    ((address, body),) = sent
    return address, json.loads(body), len(body)


def fail(error: Exception) -> Any:
    def work(properties: Mapping[str, Any]) -> Mapping[str, str]:
        raise error

    return work


def test_work_that_is_done_succeeds_with_its_attributes() -> None:
    """The request's own ids come back, and an identity that never changes."""
    address, body, _ = answered(REQUEST, lambda properties: {"Name": properties["Name"]})
    assert address == REQUEST["ResponseURL"]
    assert body == {
        "Status": "SUCCESS",
        "Reason": "",
        "PhysicalResourceId": "Gate",
        "StackId": "arn:stack",
        "RequestId": "request",
        "LogicalResourceId": "Gate",
        "Data": {"Name": "x"},
    }


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RefusedError("row 0: got 1, expected 2"), "row 0: got 1, expected 2"),
        (KeyError("Code"), "KeyError: 'Code'"),
    ],
)
def test_work_that_fails_fails_the_stack(error: Exception, reason: str) -> None:
    """With a reason: a refusal as it stands, everything else by its kind."""
    _, body, _ = answered(REQUEST, fail(error))
    assert (body["Status"], body["Reason"]) == ("FAILED", reason)


def test_deletion_asks_nobody() -> None:
    """What was done stays, and a stack can always be deleted."""
    event = {**REQUEST, "RequestType": "Delete", "PhysicalResourceId": "Before"}
    _, body, _ = answered(event, fail(RefusedError("asked")))
    assert (body["Status"], body["PhysicalResourceId"]) == ("SUCCESS", "Before")


@pytest.mark.parametrize("text", ["x" * 100_000, "é" * 100_000, '"' * 100_000])
def test_long_reason_is_cut_to_what_is_taken(text: str) -> None:
    """CloudFormation takes no more than 4 KB, and would wait on."""
    _, body, n_bytes = answered(REQUEST, fail(RefusedError(text)))
    assert n_bytes <= MAX_RESPONSE_BYTES
    assert body["Reason"].endswith("...")


def test_address_that_is_not_https_is_refused() -> None:
    """A file of the machine, for instance."""
    with pytest.raises(ValueError, match="ResponseURL: got another scheme, expected https"):
        _put("file:///etc/passwd", b"")
