"""The component's configuration, read into settings.

A nucleus may change the types of what stands in a recipe: classic makes doubles of whole numbers,
lite makes text of everything. So 6144, 6144.0 and "6144" are the same here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from consumer.client import MAX_MESSAGE_BYTES
from interface.envelope import MAX_TOPIC_BYTES, REQUEST_TOPIC, RESULT_TOPIC

SAMPLES_SOURCE = "samples"

_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_REPEAT: tuple[Literal["once", "forever"], ...] = ("once", "forever")
_LONGEST_S = 86_400.0
_MOST = 10**9

_ELSEWHERE = frozenset({"accessControl", "python"})
"""Read by the nucleus and by the recipe's script."""


class SettingsError(ValueError):
    """A setting has a value that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the sample component does.

    Attributes:
        request_topic: what the inference component listens to (`requestTopic`).
        result_topic: under which replies come (`resultTopic`).
        max_message_bytes: of a request; a larger batch is cut (`maxMessageBytes`).
        max_in_flight: messages without an answer yet (`maxInFlight`).
        timeout_s: for one request (`timeoutSeconds`).
        source: `samples`, or a file, or a folder to watch (`source`).
        rows_per_request: at most (`rowsPerRequest`).
        interval_s: between two requests, and between two looks into a folder (`intervalSeconds`).
        repeat: whether to begin again at the end (`repeat`).
        result_file: gets a line of JSON for each row; None for no file (`resultFile`).
        log_level: of the root logger (`logLevel`).
    """

    request_topic: str = REQUEST_TOPIC
    result_topic: str = RESULT_TOPIC
    max_message_bytes: int = MAX_MESSAGE_BYTES
    max_in_flight: int = 8
    timeout_s: float = 5.0
    source: str = SAMPLES_SOURCE
    rows_per_request: int = 100
    interval_s: float = 10.0
    repeat: Literal["once", "forever"] = "forever"
    result_file: Path | None = None
    log_level: str = "INFO"


NAMES = frozenset(
    {
        "requestTopic",
        "resultTopic",
        "maxMessageBytes",
        "maxInFlight",
        "timeoutSeconds",
        "source",
        "rowsPerRequest",
        "intervalSeconds",
        "repeat",
        "resultFile",
        "logLevel",
    }
)


def parse_settings(configuration: Mapping[str, Any]) -> Settings:
    """The settings in a configuration; defaults for what it does not name.

    Raises:
        SettingsError: names the setting, its value and what was expected.
    """
    default = Settings()
    result_file = _text(configuration, "resultFile", "")
    return Settings(
        request_topic=_topic(configuration, "requestTopic", default.request_topic),
        result_topic=_topic(configuration, "resultTopic", default.result_topic),
        max_message_bytes=_whole(configuration, "maxMessageBytes", default.max_message_bytes),
        max_in_flight=_whole(configuration, "maxInFlight", default.max_in_flight),
        timeout_s=_seconds(configuration, "timeoutSeconds", default.timeout_s),
        source=_text(configuration, "source", default.source) or default.source,
        rows_per_request=_whole(configuration, "rowsPerRequest", default.rows_per_request),
        interval_s=_seconds(configuration, "intervalSeconds", default.interval_s),
        repeat=_REPEAT[_choice(configuration, "repeat", _REPEAT, default.repeat)],
        result_file=Path(result_file) if result_file else None,
        log_level=_LEVELS[_choice(configuration, "logLevel", _LEVELS, default.log_level)],
    )


def unknown_settings(configuration: Mapping[str, Any]) -> list[str]:
    """The names in a configuration that mean nothing here, such as misspelt ones."""
    return sorted(set(configuration) - NAMES - _ELSEWHERE)


def _text(configuration: Mapping[str, Any], name: str, default: str) -> str:
    value = configuration.get(name)
    if value is None:
        return default
    if not isinstance(value, str):
        raise _error(name, value, "text")
    return value.strip()


def _topic(configuration: Mapping[str, Any], name: str, default: str) -> str:
    topic = _text(configuration, name, default)
    # A client's own part stands behind the result topic.
    room = MAX_TOPIC_BYTES - len("/") - 32
    if not all(topic.split("/")) or set("+#*") & set(topic) or len(topic.encode()) > room:
        expected = f"a topic without wildcards, of at most {room} bytes"
        raise _error(name, topic, expected)
    return topic


def _choice(
    configuration: Mapping[str, Any], name: str, choices: tuple[str, ...], default: str
) -> int:
    text = _text(configuration, name, default)
    folded = [choice.lower() for choice in choices]
    if text.lower() not in folded:
        raise _error(name, text, f"one of {', '.join(choices)}")
    return folded.index(text.lower())


def _whole(configuration: Mapping[str, Any], name: str, default: int) -> int:
    number = _number(configuration, name, default)
    if not 1 <= number <= _MOST or number != int(number):
        raise _error(name, configuration.get(name), f"a whole number from 1 to {_MOST}")
    return int(number)


def _seconds(configuration: Mapping[str, Any], name: str, default: float) -> float:
    number = _number(configuration, name, default)
    if not 0 < number <= _LONGEST_S:
        expected = f"seconds, more than 0 and at most {_LONGEST_S:g}"
        raise _error(name, configuration.get(name), expected)
    return number


def _number(configuration: Mapping[str, Any], name: str, default: float) -> float:
    """The number in whatever a nucleus has made of it; NaN where there is none."""
    value = configuration.get(name)
    if value is None:
        return float(default)
    if isinstance(value, str) and value.isascii() and "_" not in value:
        try:
            return float(value)
        except ValueError:
            return math.nan
    if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300:
        return float(value)
    return math.nan


def _error(name: str, value: object, expected: str) -> SettingsError:
    observed = repr(value)
    observed = observed if len(observed) <= 80 else f"{observed[:80]}…"
    return SettingsError(f"{name}: got {observed}, expected {expected}")
