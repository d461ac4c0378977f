"""The gate in the stack: the function has to predict what the notebook predicted.

It asks for each golden row alone, and for all of them at once. The first answer that differs fails
the stack, and with it everything that depends on the gate. What passed is named by its digest.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from handlers.golden import Expectation, find_difference, parse_golden
from handlers.reply import RefusedError, answer

_GOLDEN = Path(__file__).parent / "golden.jsonl"

logging.getLogger().setLevel(logging.INFO)


class Functions(Protocol):
    """What is needed of Lambda's API, as boto3 has it."""

    def get_function(self, *, FunctionName: str) -> dict[str, Any]:
        """Where its image is."""
        ...

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        """Its answer."""
        ...


def handle(event: dict[str, Any], context: object) -> None:
    """Lambda's handler."""
    del context
    import boto3  # what Lambda's own Python brings; nothing else here needs it
    from botocore.config import Config

    # As long as there is time for; after boto3's own minute the function would be asked again.
    client = boto3.client("lambda", config=Config(read_timeout=240, retries={"max_attempts": 2}))
    rows = parse_golden(_GOLDEN.read_text(encoding="utf-8"))
    answer(event, lambda properties: check(properties, rows, client))


def check(
    properties: Mapping[str, Any], golden: Sequence[Mapping[str, Any]], functions: Functions
) -> dict[str, str]:
    """The attribute `ImageUri`: the image that passed, by digest.

    Args:
        properties: `FunctionName`, `ImageUri` (what the function has to run), `ModelName`,
            `ModelVersion`, `Exact` (`true` or `false`).
        golden: the golden rows, one at least.
        functions: Lambda's API.

    Raises:
        RefusedError: an answer differs, or the function does not run that image.
    """
    name = properties["FunctionName"]
    image = _running_image(name, properties["ImageUri"], functions)
    expected = Expectation(
        name=properties["ModelName"],
        version=properties["ModelVersion"],
        exact=properties["Exact"] == "true",
    )
    groups = [("all rows at once", golden)]
    groups += [(f"row {i} alone", [row]) for i, row in enumerate(golden)]
    for place, rows in groups:
        response = _invoke(name, {"records": [row["row"] for row in rows]}, place, functions)
        difference = find_difference(rows, response, expected)
        if difference is not None:
            raise RefusedError(f"golden rows, {place}: {difference}")
    return {"ImageUri": image}


def _running_image(name: str, wanted: str, functions: Functions) -> str:
    code = functions.get_function(FunctionName=name)["Code"]
    if code.get("ImageUri") != wanted:
        raise RefusedError(f"{name}: got the image {code.get('ImageUri')}, expected {wanted}")
    resolved = str(code.get("ResolvedImageUri"))
    if "@sha256:" not in resolved:
        raise RefusedError(f"{name}: got the image {resolved}, expected one named by digest")
    return resolved


def _invoke(name: str, event: object, place: str, functions: Functions) -> Any:
    response = functions.invoke(FunctionName=name, Payload=json.dumps(event).encode())
    payload = response["Payload"].read()
    if "FunctionError" in response:
        text = payload.decode(errors="replace")[:500]
        raise RefusedError(f"golden rows, {place}: got an error ({text}), expected predictions")
    return json.loads(payload)
