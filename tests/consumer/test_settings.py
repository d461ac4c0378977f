import math
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from consumer.settings import (
    NAMES,
    Settings,
    SettingsError,
    parse_settings,
    unknown_settings,
)

RECIPE = Path(__file__).parents[2] / "consumer" / "recipe.yaml"


def test_empty_configuration_gives_the_defaults() -> None:
    """A recipe may leave everything out."""
    assert parse_settings({}) == Settings()


def test_configuration_of_the_recipe_is_the_defaults_too() -> None:
    """One set of them, though it stands in two places; nothing in it is unknown."""
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    configuration = recipe["ComponentConfiguration"]["DefaultConfiguration"]
    assert parse_settings(configuration) == Settings()
    assert unknown_settings(configuration) == []
    assert set(configuration) >= NAMES
    assert len(NAMES) == len(fields(Settings))


@pytest.mark.parametrize("value", [6145, 6145.0, "6145", "6145.0", " 6145 "])
def test_number_is_read_in_whatever_type_a_nucleus_has_made_of_it(value: Any) -> None:
    """Classic makes doubles, lite makes text."""
    configuration = {"maxMessageBytes": value, "timeoutSeconds": value}
    found = parse_settings(configuration)
    assert (found.max_message_bytes, found.timeout_s) == (6145, 6145.0)
    assert type(found.max_message_bytes) is int


def test_every_setting_is_read() -> None:
    """Choices without regard to case; None is as absent."""
    configuration = {
        "requestTopic": "a/b",
        "resultTopic": "c",
        "maxMessageBytes": 1000,
        "maxInFlight": 2,
        "timeoutSeconds": "0.5",
        "source": " /rows ",
        "rowsPerRequest": 3,
        "intervalSeconds": 0.25,
        "repeat": "ONCE",
        "resultFile": "/results.jsonl",
        "logLevel": "debug",
        "python": None,
    }
    assert parse_settings(configuration) == Settings(
        request_topic="a/b",
        result_topic="c",
        max_message_bytes=1000,
        max_in_flight=2,
        timeout_s=0.5,
        source="/rows",
        rows_per_request=3,
        interval_s=0.25,
        repeat="once",
        result_file=Path("/results.jsonl"),
        log_level="DEBUG",
    )
    assert parse_settings(dict.fromkeys(configuration)) == Settings()


_WHOLE = "a whole number from 1 to 1000000000"
_TOPIC = "a topic without wildcards, of at most 223 bytes"
_SECONDS = "seconds, more than 0 and at most 86400"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("maxMessageBytes", "many", _WHOLE),
        ("maxMessageBytes", "1_000", _WHOLE),
        ("maxMessageBytes", True, _WHOLE),
        ("maxMessageBytes", [1], _WHOLE),
        ("maxInFlight", 0, _WHOLE),
        ("maxInFlight", 1.5, _WHOLE),
        ("rowsPerRequest", 10**400, _WHOLE),
        ("rowsPerRequest", "nan", _WHOLE),
        ("timeoutSeconds", 0, _SECONDS),
        ("timeoutSeconds", math.inf, _SECONDS),
        ("intervalSeconds", "86401", _SECONDS),
        ("requestTopic", "a/+", _TOPIC),
        ("requestTopic", "", _TOPIC),
        ("resultTopic", "a//b", _TOPIC),
        ("resultTopic", "x" * 224, _TOPIC),
        ("source", 5, "text"),
        ("repeat", "twice", "one of once, forever"),
        ("logLevel", "loud", "one of DEBUG, INFO, WARNING, ERROR"),
        ("resultFile", {}, "text"),
    ],
)
def test_value_that_cannot_be_used_is_refused(name: str, value: Any, expected: str) -> None:
    """The text names the setting, what it is, and what it should be."""
    with pytest.raises(SettingsError) as caught:
        parse_settings({name: value})
    shown = repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:80]}…"
    assert str(caught.value) == f"{name}: got {shown}, expected {expected}"


def test_misspelt_settings_are_found() -> None:
    """What others read is none."""
    configuration = {"requesttopic": "a", "python": "x", "accessControl": {}, "source": "samples"}
    assert unknown_settings(configuration) == ["requesttopic"]
