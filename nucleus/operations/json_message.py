"""What the nuclei do to a `jsonMessage` on its way; a `binaryMessage` arrives as it was sent."""

from typing import Any

MAX_DEPTH = 255
"""Lists and objects in each other that are taken at all: a bound of this device's own, which keeps
every message within what Python handles."""

LOST_DEPTH = 13
"""Lists and objects in each other, from which on lite delivers nothing.

Source: a running lite 2.6.
"""

DEAFENING_BYTES = 50 * 11
"""What a subscriber of lite has to hold a message; a larger one ends its subscription unseen.

A list of 45 numbers is enough, or two rows of 13 features.
Source: aws-greengrass-lite, modules/core-bus/src/client_subscribe.c, PAYLOAD_MAX_SUBOBJECTS.
"""

REFUSED_BYTES = 200 * 11
"""What the bus of lite has to hold a message; publishing a larger one fails.

Source: aws-greengrass-lite, modules/core-bus/src/server.c, PAYLOAD_VALUE_MAX_SUBOBJECTS.
"""

_VALUE_BYTES = 11
_PAIR_BYTES = 21
_ENVELOPE_BYTES = 3 * _PAIR_BYTES  # topic, type and message


def to_doubles(value: Any) -> Any:
    """The value as Java's object maps hold it: each number is a double.

    Source: aws-iot-device-sdk-java-v2, EventStreamRPCServiceModel.java.
    """
    if isinstance(value, dict):
        return {key: to_doubles(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [to_doubles(inner) for inner in value]
    if isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return value


def depth(value: object) -> int:
    """How many lists and objects are in each other; of any nesting."""
    levels, values = 0, [value]
    while values := [it for it in values if isinstance(it, dict | list)]:
        levels += 1
        values = [child for it in values for child in _children(it)]
    return levels


def lite_bytes(message: object) -> int:
    """The memory that a message takes on the bus of lite, but for its texts.

    An element of a list takes 11 bytes, a pair of an object 21; so does the message's own frame.
    Source: aws-greengrass-component-sdk, include/gg/types.h, on 64 bits.
    """
    return _ENVELOPE_BYTES + _inner_bytes(message)


def _inner_bytes(value: object) -> int:
    children = _children(value)
    each = _PAIR_BYTES if isinstance(value, dict) else _VALUE_BYTES
    return each * len(children) + sum(map(_inner_bytes, children))


def _children(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
