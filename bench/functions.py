"""Lambda functions to compare with: one that does nothing."""

from typing import Any


def empty(event: object, context: object) -> dict[str, Any]:
    """A small constant."""
    del event, context
    return {"statusCode": 200, "body": {"predictions": [0.0]}}
