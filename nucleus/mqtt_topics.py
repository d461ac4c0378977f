"""The topics that AWS IoT Core takes.

Source: aws-greengrass-nucleus, mqttclient/IotCoreTopicValidator.java.
"""

import re
from itertools import zip_longest

MAX_TOPIC_BYTES = 256
MAX_RESERVED_TOPIC_BYTES = 512
MAX_SLASHES = 7

_RULE = re.compile(r"\A\$aws/rules/[^/\s]+/(?=\S)")
_SHARE = re.compile(r"\A\$share/[^/\s]+/(?=\S)")


class TopicError(ValueError):
    """A topic that IoT Core would refuse; the text says why."""


def validate_topic(topic: str) -> None:
    """Checks a topic to publish to.

    Raises:
        TopicError: it is empty, too long or too deep, or has a wildcard.
    """
    if not topic:
        raise TopicError("Topic must not be empty")
    if "+" in topic or "#" in topic:
        raise TopicError("Publish topics must not contain wildcard characters of '#' or '+'")
    _validate_size(topic)


def validate_filter(topic_filter: str) -> None:
    """Checks a filter to subscribe to.

    Raises:
        TopicError: it is empty, too long or too deep, or a wildcard is not a level of its own.
    """
    if not topic_filter:
        raise TopicError("Topic must not be empty")
    *before, last = strip_share(topic_filter).split("/")
    if any("#" in level for level in before) or any(
        len(level) > 1 and ("+" in level or "#" in level) for level in (*before, last)
    ):
        raise TopicError(f"topic filter: got {topic_filter!r}, expected wildcards as whole levels")
    _validate_size(strip_share(topic_filter))


def strip_share(topic_filter: str) -> str:
    """The filter itself of a shared subscription, `$share/GROUP/FILTER`; any other as it is."""
    return _SHARE.sub("", topic_filter)


def covers(wide: str, narrow: str) -> bool:
    """Whether the one filter takes every topic that the other takes."""
    if wide == narrow:
        return True
    if "$share/" in (wide[:7], narrow[:7]) or (narrow.startswith("$") and wide[:1] in ("+", "#")):
        return False
    for want, level in zip_longest(wide.split("/"), narrow.split("/")):
        if want == "#":
            return True
        if level in ("#", None) or want not in ("+", level):
            return False
    return True


def _validate_size(topic: str) -> None:
    """Checks length and depth; the prefix of a rule does not count.

    Raises:
        TopicError: one is too large.
    """
    effective = _RULE.sub("", topic)
    if effective.startswith("$"):
        # IoT Core knows its own topics best.
        if len(effective.encode()) > MAX_RESERVED_TOPIC_BYTES:
            raise TopicError(
                "Reserved topic total length is greater than 512 bytes of UTF-8 encoded characters"
            )
        return
    if effective.count("/") > MAX_SLASHES:
        raise TopicError("The request topic must have no more than 7 forward slashes (/)")
    if len(effective.encode()) > MAX_TOPIC_BYTES:
        raise TopicError(
            "The topic size of request must be no larger than 256 bytes of UTF-8 encoded characters"
        )
