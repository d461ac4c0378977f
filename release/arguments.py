"""What command-line arguments may be: text to value, for argparse."""

import argparse
import contextlib


def port(text: str) -> int:
    """A port.

    Raises:
        ArgumentTypeError: it is none.
    """
    if not text.isdecimal() or not 1 <= int(text) <= 65_535:
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a port from 1 to 65535")
    return int(text)


def positive(text: str) -> float:
    """A number above 0.

    Raises:
        ArgumentTypeError: it is none.
    """
    with contextlib.suppress(ValueError):
        if 0 < (value := float(text)) < float("inf"):
            return value
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number above 0")
