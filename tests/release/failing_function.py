"""A Lambda function whose model is in trouble: it says what the event's only row tells it to."""

from types import SimpleNamespace
from typing import Any, NoReturn, cast

from container import lambda_function
from container.handler import BusyError, make_handler
from container.settings import Settings
from model.bundle import Bundle
from model.features import Rows


def _encode(rows: Rows) -> NoReturn:
    record = cast("list[dict[str, Any]]", rows)[0]
    if "busy" in record:
        raise BusyError(retry_after_ms=1500)
    raise ZeroDivisionError("a secret of the inside")


_bundle = SimpleNamespace(manifest=lambda_function._bundle.manifest, encode=_encode)
handler = make_handler(cast("Bundle", _bundle), Settings())
