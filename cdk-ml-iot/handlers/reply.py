"""The answer to CloudFormation: every request gets one, or a stack waits for an hour.

Source: AWS CloudFormation User Guide, "Custom resource request and response reference".
"""

import json
import logging
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

MAX_RESPONSE_BYTES = 4096
_MAX_REASON = 1500  # characters, of at most 2 bytes each where JSON escapes none

Put = Callable[[str, bytes], object]
"""Takes the address and the body of the answer."""

_log = logging.getLogger(__name__)


class RefusedError(Exception):
    """What a stack must fail for: the text says place, observed and expected."""


def answer(
    event: Mapping[str, Any],
    work: Callable[[Mapping[str, Any]], Mapping[str, str]],
    put: Put | None = None,
) -> None:
    """Does the work of a custom resource, and says how it went.

    Args:
        event: CloudFormation's request.
        work: takes the resource's properties and gives its attributes; not asked when the resource
            is deleted, since what was done stays.
        put: sends the answer; over HTTPS where None.
    """
    status, reason, attributes = "SUCCESS", "", dict[str, str]()
    if event["RequestType"] != "Delete":
        try:
            attributes = dict(work(event["ResourceProperties"]))
        except RefusedError as error:
            status, reason = "FAILED", str(error)
        except Exception as error:
            _log.exception("the work failed")
            status, reason = "FAILED", f"{type(error).__name__}: {error}"
    body = {
        "Status": status,
        "Reason": _cut(reason),
        # The same for ever: another one would have CloudFormation delete the first.
        "PhysicalResourceId": event.get("PhysicalResourceId") or event["LogicalResourceId"],
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "Data": attributes,
    }
    _log.info("%s %s", status, reason)
    (put or _put)(event["ResponseURL"], json.dumps(body).encode())


def _cut(reason: str) -> str:
    text = reason.encode("ascii", "replace").decode()
    return text if len(text) <= _MAX_REASON else f"{text[: _MAX_REASON - 3]}..."


def _put(address: str, body: bytes) -> None:
    if not address.startswith("https://"):
        raise ValueError("ResponseURL: got another scheme, expected https")
    # The address is signed for an empty content type.
    request = urllib.request.Request(  # noqa: S310  (the scheme was looked at)
        address, data=body, method="PUT", headers={"Content-Type": ""}
    )
    with urllib.request.urlopen(request, timeout=30):  # noqa: S310
        pass
