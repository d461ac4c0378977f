"""The common sample handler as a Lambda function: read the body, predict, dump."""

import json
import os
from pathlib import Path
from typing import Any

from bench.ways import Sample

_model = Sample(Path(os.environ["BENCH_MODEL"]), 0)


def handler(event: list[Any], context: object) -> dict[str, Any]:
    """The reply; the runtime has parsed the event, so that the body is text again here."""
    del context
    return {"statusCode": 200, "body": _model.answer(json.dumps(event))}
