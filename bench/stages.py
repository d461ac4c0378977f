"""Where the time of one request goes, in our handler."""

import gc
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench.ways import Ours

_SECOND_NS = 1_000_000_000


def split_stages(way: Ours, texts: list[str], at_least_s: float) -> dict[str, float]:
    """Microseconds of each stage, medians over requests that take turns.

    Each stage is called by itself with what it would have got. `rest` is the handler's time less
    the three inside it: recognising the event, checks, labels, the response.
    """
    parse = _parser()
    inputs = [_Inputs(way, parse, text) for text in texts]
    times: dict[str, list[int]] = {
        "parse": [],
        "encode": [],
        "predict": [],
        "handler": [],
        "dump": [],
    }
    gc.collect()
    end = time.perf_counter_ns() + int(at_least_s * _SECOND_NS)
    while len(times["parse"]) < len(inputs) or time.perf_counter_ns() < end:
        for one in inputs:
            for name, call in one.calls.items():
                start = time.perf_counter_ns()
                call()
                times[name].append(time.perf_counter_ns() - start)
    found = {name: statistics.median(values) / 1e3 for name, values in times.items()}
    inside = found["parse"] + found["encode"] + found["predict"]
    found["rest"] = max(0.0, found.pop("handler") - inside)
    return found


def _parser() -> Callable[[str], Any]:
    """What the handler parses with, where it is still under that name; else the plain one."""
    try:
        from container.bodies import parse_json
    except ImportError:
        return json.loads
    return lambda text: parse_json(text, "body")


class _Inputs:
    """The stages of one request, each ready to be called."""

    def __init__(self, way: Ours, parse: Callable[[str], Any], text: str) -> None:
        content = text.encode()
        rows = parse(text)
        matrix = way.bundle.encode(rows)
        response = way.handler(content, None)
        self.calls: dict[str, Callable[[], object]] = {
            "parse": lambda: parse(text),
            "encode": lambda: way.bundle.encode(rows),
            "predict": lambda: way.engine.predict(matrix, len(rows)),
            "handler": lambda: way.handler(content, None),
            "dump": lambda: json.dumps(response, allow_nan=False, separators=(",", ":")),
        }
