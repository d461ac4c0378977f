"""Where the time of one request goes, in our handler."""

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.ways import Ours
from container.events import encode_response
from model.features import Matrix
from model.rows import RowScanner, make_scanner

STAGES = ("read", "predict", "rest", "write")
"""In their order: the text to the matrix; the matrix to outputs; checks, labels and the response;
the response to text."""

_MAX_ROWS = 10_000
_SECOND_NS = 1_000_000_000


def split_stages(way: Ours, texts: list[str], at_least_s: float) -> dict[str, float]:
    """Microseconds of each stage, medians over requests that take turns.

    Each stage is called by itself with what it would have got. `rest` is the handler's time less
    the two inside it.
    """
    features = way.bundle.manifest.features
    scanner = make_scanner(features, absent_field=way.bundle.manifest.absent_field)
    inputs = [_to_calls(way, scanner, text) for text in texts]
    times: dict[str, list[int]] = {name: [] for name in inputs[0]}
    gc.collect()
    end = time.perf_counter_ns() + int(at_least_s * _SECOND_NS)
    while len(times["read"]) < len(inputs) or time.perf_counter_ns() < end:
        for calls in inputs:
            for name, call in calls.items():
                start = time.perf_counter_ns()
                call()
                times[name].append(time.perf_counter_ns() - start)
    found = {name: statistics.median(values) / 1e3 for name, values in times.items()}
    found["rest"] = max(0.0, found.pop("handler") - found["read"] - found["predict"])
    return {stage: found[stage] for stage in STAGES}


def _to_calls(way: Ours, scanner: RowScanner | None, text: str) -> dict[str, Callable[[], object]]:
    """The stages of one request, each ready to be called."""
    content = text.encode()
    read = _reader(scanner, content)
    matrix: Any = way.bundle.encode(read())
    n_rows = len(matrix) // len(way.bundle.manifest.features)
    response = way.handler(content, None)
    return {
        "read": lambda: way.bundle.encode(read()),
        "predict": lambda: way.engine.predict(matrix, n_rows),
        "handler": lambda: way.handler(content, None),
        "write": lambda: encode_response(response),
    }


def _reader(scanner: RowScanner | None, content: bytes) -> Callable[[], Matrix | list[object]]:
    """As the handler reads this request: by the scanner, or else as any JSON."""
    if scanner is None or scanner.scan(content, _MAX_ROWS) is None:
        return lambda: json.loads(content)

    def scan() -> Matrix:
        found = scanner.scan(content, _MAX_ROWS)
        assert found is not None
        return found[0]

    return scan
