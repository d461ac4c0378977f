"""Messages that other components publish as JSON, and not as bytes."""

import json
from typing import Any


def encode_message(value: Any) -> bytes:
    """Compact JSON in ASCII; doubles that are whole numbers are written as such.

    The classic nucleus makes doubles of all numbers in a `jsonMessage`: an id of 7 comes as 7.0.
    What is no JSON, such as NaN, is passed on for whoever reads it to refuse.

    Source: aws-greengrass-nucleus, builtin/services/pubsub/PubSubIPCEventStreamAgent.java.

    Raises:
        RecursionError: it is nested too deeply.
    """
    restored = json.loads(json.dumps(value), parse_float=_to_number)
    return json.dumps(restored, separators=(",", ":")).encode()


def _to_number(text: str) -> int | float:
    value = float(text)
    is_whole = value.is_integer() and abs(value) <= 2**53 and not (value == 0 and text[0] == "-")
    return int(value) if is_whole else value
