"""Where a bundle's handler can be reached: in this process, over HTTP, in the cloud.

Each takes the bytes of an event and gives those of the response, so that what is compared went
through JSON both ways.
"""

import base64
import contextlib
import http.client
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from container.handler import Handler, make_handler
from container.settings import Settings
from model.bundle import open_bundle
from release.emulator import INVOCATIONS, run_emulator
from release.errors import CommandError

_TIMEOUT_S = 60.0
_INIT_DURATION = re.compile(r"Init Duration: ([0-9.]+) ms")


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back for an event.

    Attributes:
        payload: the response's bytes.
        seconds: from sending to having read it.
    """

    payload: bytes
    seconds: float

    def json(self) -> Any:
        """The payload, parsed.

        Raises:
            CommandError: it is no JSON.
        """
        try:
            return json.loads(self.payload)
        except ValueError as error:
            text = self.payload[:80].decode(errors="replace")
            raise CommandError(f"the target's reply: got {text!r}, expected JSON") from error


class Target(Protocol):
    """A place that answers events."""

    @property
    def name(self) -> str:
        """As the user named it."""

    @property
    def takes_any_bytes(self) -> bool:
        """Whether an event that is no JSON, or larger than Lambda takes, reaches the function."""

    def invoke(self, event: bytes) -> Reply:
        """The response to an event.

        Raises:
            CommandError: no answer, or one that is no response.
        """

    def cold_start_ms(self) -> float | None:
        """What the platform said its init phase took, where it says it."""


class InProcess:
    """The handler in this process."""

    name = "in-process"
    takes_any_bytes = True

    def __init__(self, handler: Handler) -> None:
        self._handler = handler

    def invoke(self, event: bytes) -> Reply:
        """See `Target.invoke`."""
        start = time.perf_counter()
        payload = json.dumps(self._handler(event, None), allow_nan=False).encode()
        return Reply(payload, time.perf_counter() - start)

    def cold_start_ms(self) -> float | None:
        """None: the process was there before."""
        return None


class HttpTarget:
    """The Invoke API on an address: the emulator, or `edgexgb serve`."""

    takes_any_bytes = True

    def __init__(self, name: str, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise CommandError(f"the target: got {url!r}, expected http://HOST:PORT")
        self.name = name
        kind = (
            http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        )
        self._connection = kind(parts.hostname, parts.port, timeout=_TIMEOUT_S)
        self._path = parts.path if parts.path not in {"", "/"} else INVOCATIONS

    def invoke(self, event: bytes) -> Reply:
        """See `Target.invoke`."""
        start = time.perf_counter()
        try:
            self._connection.request(
                "POST", self._path, event, {"Content-Type": "application/json"}
            )
            response = self._connection.getresponse()
            payload = response.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            where = f"{self._connection.host}:{self._connection.port}"
            raise CommandError(f"{where}: got {error}, expected a running function") from error
        if response.status != 200:
            text = payload[:120].decode(errors="replace")
            raise CommandError(f"{self.name}: got HTTP {response.status} ({text}), expected 200")
        return Reply(payload, time.perf_counter() - start)

    def cold_start_ms(self) -> float | None:
        """None: HTTP does not tell."""
        return None

    def close(self) -> None:
        """Closes the connection."""
        self._connection.close()


class DeployedFunction:
    """A function in AWS Lambda, or behind another endpoint of its API."""

    takes_any_bytes = False  # the Invoke API refuses them itself

    def __init__(self, function: str, endpoint_url: str | None) -> None:
        # boto3 takes a fifth of a second to import, and only this target needs it.
        import boto3
        import botocore.config
        import botocore.exceptions

        self.name = f"lambda:{function}"
        self._errors = (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError)
        self._function = function
        self._log_tail = ""
        config = botocore.config.Config(read_timeout=_TIMEOUT_S, retries={"total_max_attempts": 1})
        try:
            self._client = boto3.client("lambda", endpoint_url=endpoint_url, config=config)
        except self._errors as error:
            raise CommandError(
                f"{self.name}: got {error}, expected AWS credentials and a region"
            ) from error

    def invoke(self, event: bytes) -> Reply:
        """See `Target.invoke`."""
        start = time.perf_counter()
        try:
            answer = self._client.invoke(FunctionName=self._function, Payload=event, LogType="Tail")
            payload: bytes = answer["Payload"].read()
        except (*self._errors, ValueError) as error:
            raise CommandError(f"{self.name}: got {error}, expected an answer") from error
        self._log_tail = base64.b64decode(answer.get("LogResult", "")).decode(errors="replace")
        return Reply(payload, time.perf_counter() - start)

    def cold_start_ms(self) -> float | None:
        """The init duration in the last invocation's log, where that one was cold."""
        found = _INIT_DURATION.search(self._log_tail)
        return float(found[1]) if found else None


@contextlib.contextmanager
def open_target(
    text: str, bundle: Path | None, endpoint_url: str | None = None
) -> Iterator[Target]:
    """The target that a user named: `in-process`, `rie`, `http://…`, `lambda:NAME`.

    Args:
        text: the name.
        bundle: what in-process and rie serve.
        endpoint_url: of the Lambda API, for `lambda:NAME`.

    Raises:
        CommandError: no such target, or it cannot be reached.
        BundleError: the bundle cannot be opened.
    """
    if text in {"in-process", "rie"}:
        if bundle is None:
            raise CommandError(f"target {text}: got no bundle, expected its directory")
        if text == "rie":
            with (
                run_emulator(bundle) as emulator,
                contextlib.closing(HttpTarget("rie", emulator.url)) as target,
            ):
                yield target
            return
        with contextlib.closing(open_bundle(bundle)) as opened:
            yield InProcess(make_handler(opened, Settings()))
    elif text.startswith(("http://", "https://")):
        with contextlib.closing(HttpTarget(text, text)) as target:
            yield target
    elif text.startswith("lambda:") and len(text) > len("lambda:"):
        yield DeployedFunction(text.removeprefix("lambda:"), endpoint_url)
    else:
        expected = "in-process, rie, http://HOST:PORT or lambda:NAME"
        raise CommandError(f"the target: got {text!r}, expected {expected}")
