"""Golden rows, and whether a response is what the notebook's model predicted.

The rules are those of docs/bundle.md, 4.3; this reads the file, and nothing else of the project.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

RELATIVE_TOLERANCE = 1e-6
_SHOWN = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a response has to say besides its predictions.

    Attributes:
        name: the model's.
        version: the model's.
        exact: whether every bit counts (the architecture that recorded the golden rows).
    """

    name: str
    version: str
    exact: bool


def parse_golden(text: str) -> list[dict[str, Any]]:
    """The rows of `golden.jsonl`: `row`, `prediction`, and `probabilities` where there are some."""
    return [json.loads(line) for line in text.removesuffix("\n").split("\n")]


def find_difference(
    golden: Sequence[Mapping[str, Any]], response: Any, expected: Expectation
) -> str | None:
    """What is wrong with the response to a request of these rows; None where nothing is."""
    body = response.get("body") if isinstance(response, dict) else None
    if not isinstance(body, dict) or response.get("statusCode") != 200:
        return f"response: got {_show(response)}, expected statusCode 200"
    model = {"name": expected.name, "version": expected.version}
    if body.get("model") != model:
        return f"model: got {_show(body.get('model'))}, expected {_show(model)}"
    predictions, probabilities = body.get("predictions"), body.get("probabilities")
    if not isinstance(predictions, list) or len(predictions) != len(golden):
        return f"predictions: got {_show(predictions)}, expected {len(golden)}"
    if probabilities is not None and (
        not isinstance(probabilities, list) or len(probabilities) != len(golden)
    ):
        return f"probabilities: got {_show(probabilities)}, expected {len(golden)} rows"
    for i, row in enumerate(golden):
        if not _same(row["prediction"], predictions[i], exact=expected.exact):
            recorded = _show(row["prediction"])
            return f"row {i}, prediction: got {_show(predictions[i])}, expected {recorded}"
        wanted = row.get("probabilities")
        found = None if probabilities is None else probabilities[i]
        if not _same(wanted, found, exact=expected.exact):
            return f"row {i}, probabilities: got {_show(found)}, expected {_show(wanted)}"
    return None


def _same(wanted: Any, found: Any, *, exact: bool) -> bool:
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(wanted, found, strict=False)
        return len(wanted) == len(found) and all(_same(*pair, exact=exact) for pair in pairs)
    if type(wanted) is float and type(found) is float and not exact:
        return math.isclose(wanted, found, rel_tol=RELATIVE_TOLERANCE, abs_tol=1e-12)
    return type(wanted) is type(found) and bool(wanted == found)


def _show(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
