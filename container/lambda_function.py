"""The function that Lambda, and the runtime interface emulator, invoke: `handler`.

Importing this module reads the environment and opens the bundle, because Lambda runs imports in its
init phase and bills the first request for what is left to do then.
"""

import gc
import logging
import os

from container.events import encode_response
from container.handler import make_handler
from container.settings import read_settings
from interface.logs import configure_logging
from model.bundle import open_bundle
from model.typed import Any


class EventMarshaller:
    """Hands events over as bytes, so that the handler parses them and answers what is wrong.

    The client's own marshaller lets the runtime answer malformed events itself, with a status of
    200 and no code, and keeps silent about a key that is there twice.

    Source: awslambdaric 4.2, `lambda_runtime_client.py`: the class attribute `marshaller` is there
    for function authors to override.
    """

    def unmarshal_request(self, request: bytes, content_type: str = "") -> bytes:
        """The event as it came."""
        del content_type  # a queue's or a schedule's event is JSON too
        return request

    def marshal_response(self, response: dict[str, Any]) -> tuple[str, str]:
        """The response as JSON text, and its media type."""
        return encode_response(response), "application/json"


def _use_marshaller() -> None:
    # Only the runtime has this variable, and has imported its client before us.
    if "AWS_LAMBDA_RUNTIME_API" in os.environ:
        from awslambdaric.lambda_runtime_client import LambdaRuntimeClient

        LambdaRuntimeClient.marshaller = EventMarshaller()


_settings = read_settings(os.environ)
configure_logging(_settings.log_level)
# What no prediction needs is left unread: the gate has audited and replayed the whole bundle.
_bundle = open_bundle(_settings.bundle, n_threads=_settings.n_threads, audit=False)
_use_marshaller()
logging.getLogger(__name__).info(
    "bundle opened",
    extra={
        "model": _bundle.manifest.name,
        "version": _bundle.manifest.version,
        "digest": _bundle.digest,
    },
)

handler = make_handler(_bundle, _settings)

gc.freeze()  # what is loaded now stays; no collection need look at it again
gc.enable()
