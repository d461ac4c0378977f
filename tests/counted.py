"""What valgrind runs for tests/test_instructions.py: the same work, a number of times.

    python -m tests.counted request BUNDLE EVENT TIMES
    python -m tests.counted kernel FOREST MATRIX TIMES

Two runs with different TIMES differ in nothing else, so start-up cancels. Prints what served.
"""

import gc
import sys
from array import array
from collections.abc import Callable
from pathlib import Path

_WARM_UP = 50
"""Calls before all that are counted: the interpreter specialises code that runs often."""


def main(what: str, served: str, asked: str, times: str) -> None:
    """Opens what serves, and has it serve."""
    make = {"request": make_request, "kernel": make_kernel}[what]
    name, call = make(Path(served), Path(asked).read_bytes())
    gc.disable()
    for _ in range(_WARM_UP + int(times)):
        call()
    print(name)


def make_request(bundle: Path, event: bytes) -> tuple[str, Callable[[], object]]:
    """The engine's name, and a request as Lambda's runtime makes it: JSON bytes to JSON text."""
    from container.events import encode_response
    from container.handler import make_handler
    from container.settings import Settings
    from model.bundle import open_bundle

    opened = open_bundle(bundle)
    handler = make_handler(opened, Settings())
    assert handler(event)["statusCode"] == 200
    return type(opened._engine).__name__, lambda: encode_response(handler(event))


def make_kernel(forest: Path, content: bytes) -> tuple[str, Callable[[], object]]:
    """The walk's name, and a call of the kernel over a matrix of float32."""
    from model import _forest

    opened = _forest.Forest(forest.read_bytes())
    matrix = array("f", content)
    n_rows = len(matrix) // opened.n_features
    return opened.walk, lambda: opened.predict(matrix, n_rows, 1)


if __name__ == "__main__":
    main(*sys.argv[1:])
