from typing import Any

import pytest

from container.configuration import Configuration, parse_configuration
from container.service import LONGEST_REFUSAL_BYTES
from container.settings import Settings, SettingsError
from interface.bridge import Limits


def test_empty_configuration_is_the_default() -> None:
    """But replies stay under what the bus takes."""
    found = parse_configuration({}, Settings())
    assert found == Configuration(serving=Settings(max_reply_bytes=6144))


@pytest.mark.parametrize("whole", [7000, 7000.0, "7000", "7000.0"])
def test_number_is_taken_in_each_form_that_a_nucleus_gives_it(whole: Any) -> None:
    """Classic makes doubles of whole numbers, lite makes text of them."""
    names = ("maxMessageBytes", "maxRows", "maxWaitingRequests", "retryAfterMs")
    found = parse_configuration(dict.fromkeys(names, whole), Settings())
    assert found.limits == Limits(max_waiting=7000, max_message_bytes=7000, retry_after_ms=7000)
    assert (found.serving.max_rows, found.serving.max_reply_bytes) == (7000, 7000)


def test_shortest_messages_are_those_that_any_refusal_fits() -> None:
    """And no byte less (requests 8.3)."""
    found = parse_configuration({"maxMessageBytes": LONGEST_REFUSAL_BYTES}, Settings())
    assert found.limits.max_message_bytes == LONGEST_REFUSAL_BYTES
    assert found.serving.max_reply_bytes == LONGEST_REFUSAL_BYTES
    with pytest.raises(SettingsError):
        parse_configuration({"maxMessageBytes": LONGEST_REFUSAL_BYTES - 1}, Settings())


@pytest.mark.parametrize(("value", "health_s"), [("0", 0), (15.0, 15), ("90", 90)])
def test_interval_of_health_may_be_nothing(value: Any, health_s: int) -> None:
    """Then there is no line about it."""
    assert parse_configuration({"healthSeconds": value}, Settings()).health_s == health_s


def test_topics_and_level_are_taken() -> None:
    """The level in any case, and what belongs to others is passed over."""
    fields = {"requestTopic": "a/b", "resultTopic": "a/c", "logLevel": "debug", "accessControl": {}}
    found = parse_configuration(fields, Settings())
    assert (found.request_topic, found.result_topic) == ("a/b", "a/c")
    assert found.serving.log_level == "DEBUG"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"maxRows": 0}, "maxRows: got 0, expected a whole number of at least 1"),
        ({"maxRows": 1.5}, "maxRows: got 1.5, expected a whole number of at least 1"),
        ({"maxRows": True}, "maxRows: got true, expected a whole number of at least 1"),
        ({"maxRows": "many"}, "maxRows: got 'many', expected a whole number of at least 1"),
        ({"maxRows": None}, "maxRows: got null, expected a whole number of at least 1"),
        (
            {"maxMessageBytes": "3234"},
            "maxMessageBytes: got '3234', expected a whole number of at least 3235",
        ),
        (
            {"healthSeconds": -1},
            "healthSeconds: got -1, expected a whole number of at least 0",
        ),
        ({"requestTopic": 5}, "requestTopic: got 5, expected a topic without wildcards"),
        ({"requestTopic": ""}, "requestTopic: got '', expected a topic without wildcards"),
        ({"resultTopic": "a/#"}, "resultTopic: got 'a/#', expected a topic without wildcards"),
        (
            {"resultTopic": "edgexgb/requests"},
            "resultTopic: got 'edgexgb/requests', expected another topic than requestTopic",
        ),
        (
            {"resultTopic": "x" * 129},
            f"resultTopic: got '{'x' * 30}…{'x' * 30}', "
            "expected a topic of at most 128 bytes, as a requester's name follows",
        ),
        (
            {"logLevel": "LOUD"},
            "logLevel: got 'LOUD', expected one of DEBUG, INFO, WARNING, ERROR",
        ),
    ],
)
def test_wrong_value_is_named_with_its_key(fields: dict[str, Any], text: str) -> None:
    """As place, observed, expected."""
    with pytest.raises(SettingsError) as caught:
        parse_configuration(fields, Settings())
    assert str(caught.value) == text
