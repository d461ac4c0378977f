"""Shareable test events, which the console's *Test* button has in its list.

Source: AWS Lambda Developer Guide, "Testing Lambda functions in the console"; the document's form
after aws-sam-cli, `samcli/lib/shared_test_events/lambda_shared_test_event.py`.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

REGISTRY = "lambda-testevent-schemas"
MAX_DOCUMENT_BYTES = 100_000
"""Source: Amazon EventBridge Schemas API reference, CreateSchema."""

_BATCH = 10


def make_events(golden: Sequence[Mapping[str, Any]]) -> dict[str, object]:
    """The events by name, made from the golden rows."""
    rows = [row["row"] for row in golden]
    batch = {"records": rows[:_BATCH]}
    return {
        "one-golden-row": {"records": rows[:1]},
        "golden-rows": batch,
        "wrapped-in-body": {"body": json.dumps(batch), "isBase64Encoded": False},
        "refused-unknown-feature": {"records": [{**rows[0], "no such feature": 1}]},
    }


def make_document(events: Mapping[str, object]) -> str:
    """The schema's content, an OpenAPI document with the events as its examples."""
    document = {
        "openapi": "3.0.0",
        "info": {"version": "1.0.0", "title": "Event"},
        "paths": {},
        "components": {
            "schemas": {"Event": {"type": "object"}},
            "examples": {name: {"value": event} for name, event in events.items()},
        },
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def document_of(golden: Sequence[Mapping[str, Any]]) -> str:
    """The document with as many of the events as there is room for, the smallest first."""
    events = sorted(make_events(golden).items(), key=lambda item: len(json.dumps(item[1])))
    while len(document := make_document(dict(events)).encode()) > MAX_DOCUMENT_BYTES:
        events.pop()
    return document.decode()
