"""HTTP events as AWS's services send them, and the handlers of the sample bundles."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.bodies import JSON_TYPE
from container.handler import make_handler
from container.settings import Settings
from tests.conftest import Packed

Event = dict[str, Any]
Answer = Callable[..., dict[str, Any]]

EVENTS = Path(__file__).parents[1] / "data" / "events"
FORMS = sorted(path.stem for path in EVENTS.glob("*.json"))
"""Names of the recorded events: one for each service and form of its headers."""

ALB_FORMS = ["alb", "alb-multi-value"]

_RECORDED = {name: json.loads((EVENTS / f"{name}.json").read_text()) for name in FORMS}


def http_event(
    form: str,
    body: object,
    content_type: str | None = JSON_TYPE,
    *,
    is_base64: bool = False,
    query: dict[str, str] | None = None,
) -> Event:
    """A recorded event with a body, a Content-Type (or none) and a query string in it."""
    event: Event = copy.deepcopy(_RECORDED[form])
    event.update(body=body, isBase64Encoded=is_base64)
    for name in ("headers", "multiValueHeaders"):
        headers = event.get(name) or {}
        for key in [key for key in headers if key.lower() == "content-type"]:
            if content_type is None:
                del headers[key]
            else:
                headers[key] = content_type if name == "headers" else [content_type]
    if query is not None:
        several = {key: ["0", value] for key, value in query.items()}
        if "queryStringParameters" in event or event.get("version") == "2.0":
            event["queryStringParameters"] = query
        if "multiValueQueryStringParameters" in event:
            event["multiValueQueryStringParameters"] = several
    return event


@pytest.fixture(scope="session")
def mixed_answer(mixed: Packed) -> Answer:
    """The handler of the bundle with every kind of feature."""
    return make_handler(mixed.bundle, Settings())


@pytest.fixture(scope="session")
def lenient_answer(lenient: Packed) -> Answer:
    """The handler of the bundle that takes rows with gaps and unknown categories."""
    return make_handler(lenient.bundle, Settings())


@pytest.fixture(scope="session")
def wine_answer(multiclass: Packed) -> Answer:
    """The handler of the bundle with three classes."""
    return make_handler(multiclass.bundle, Settings())


@pytest.fixture(scope="session")
def diabetes_answer(regression: Packed) -> Answer:
    """The handler of the regression."""
    return make_handler(regression.bundle, Settings())
