"""The topics that IoT Core takes, and which filter makes another one superfluous."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.mqtt_topics import TopicError, covers, strip_share, validate_filter, validate_topic
from nucleus.topics import matches

TOO_LONG = "The topic size of request must be no larger than 256 bytes of UTF-8 encoded characters"
TOO_DEEP = "The request topic must have no more than 7 forward slashes (/)"
WILDCARD = "Publish topics must not contain wildcard characters of '#' or '+'"
TOO_LONG_RESERVED = (
    "Reserved topic total length is greater than 512 bytes of UTF-8 encoded characters"
)


@pytest.mark.parametrize(
    "topic",
    [
        "a",
        "/",
        "a/b/c/d/e/f/g/h",
        "a" * 256,
        "é" * 128,
        "a*b",
        "$aws/rules/rule/a/b/c/d/e/f/g/h",
        "$aws/rules/rule/" + "a" * 256,
        "$aws/things/T/shadow/name/N/update/accepted/x/y",
        "$aws/" + "a" * 507,
    ],
)
def test_a_topic_within_the_limits_passes(topic: str) -> None:
    """As a filter too."""
    validate_topic(topic)
    validate_filter(topic)


TOO_LARGE = [
    ("", "Topic must not be empty"),
    ("a" * 257, TOO_LONG),
    ("é" * 129, TOO_LONG),
    ("/" * 8, TOO_DEEP),
    ("$aws/rules/rule/" + "a" * 257, TOO_LONG),
    ("$aws/rules/rule/a/b/c/d/e/f/g/h/i", TOO_DEEP),
    ("$aws/" + "a" * 508, TOO_LONG_RESERVED),
    ("$aws/rules/rule/", None),
]


@pytest.mark.parametrize(("topic", "text"), TOO_LARGE)
def test_a_topic_beyond_the_limits_is_refused(topic: str, text: str | None) -> None:
    """The prefix of a rule is not counted; an empty rule's topic is a reserved one."""
    for validate in (validate_topic, validate_filter):
        if text is None:
            validate(topic)
            continue
        with pytest.raises(TopicError) as caught:
            validate(topic)
        assert str(caught.value) == text


@pytest.mark.parametrize("topic", ["a/+", "#", "a+b", "a#"])
def test_a_topic_with_a_wildcard_is_no_place_to_publish_to(topic: str) -> None:
    """Wherever it stands."""
    with pytest.raises(TopicError) as caught:
        validate_topic(topic)
    assert str(caught.value) == WILDCARD


@pytest.mark.parametrize("topic_filter", ["#", "+", "a/+/b", "a/#", "+/+/#", "$share/g/a/+"])
def test_a_filter_of_whole_levels_passes(topic_filter: str) -> None:
    """Shared subscriptions included."""
    validate_filter(topic_filter)


@pytest.mark.parametrize("topic_filter", ["a#", "a+", "a/#/b", "+a", "a/b#", "##"])
def test_a_filter_with_a_wildcard_in_a_level_is_refused(topic_filter: str) -> None:
    """A broker would close the connection."""
    with pytest.raises(TopicError) as caught:
        validate_filter(topic_filter)
    text = f"topic filter: got {topic_filter!r}, expected wildcards as whole levels"
    assert str(caught.value) == text


def test_the_group_of_a_shared_subscription_is_not_counted() -> None:
    """What follows is."""
    assert strip_share("$share/group/a/b") == "a/b"
    assert strip_share("$share/group") == "$share/group"
    assert strip_share("a/$share/g/b") == "a/$share/g/b"
    validate_filter("$share/group/" + "a" * 256)
    with pytest.raises(TopicError) as caught:
        validate_filter("$share/group/" + "a" * 257)
    assert str(caught.value) == TOO_LONG


@pytest.mark.parametrize(
    ("wide", "narrow", "expected"),
    [
        ("a", "a", True),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/#", "a/+", True),
        ("a/#", "a/+/#", True),
        ("#", "a/#", True),
        ("#", "+", True),
        ("a/+", "a/#", False),
        ("+", "#", False),
        ("+/+", "a/#", False),
        ("a/+", "a", False),
        ("a", "a/b", False),
        ("a/b", "a/+", False),
        ("#", "$aws/x", False),
        ("+/x", "$aws/x", False),
        ("$aws/#", "$aws/x", True),
        ("#", "$share/g/a", False),
        ("$share/g/#", "$share/g/a", False),
        ("$share/g/a", "$share/g/a", True),
    ],
)
def test_a_filter_covers_what_takes_no_more(wide: str, narrow: str, expected: bool) -> None:
    """The members of a shared subscription are covered by nothing else."""
    assert covers(wide, narrow) is expected


LEVELS = st.lists(st.sampled_from(["a", "b", "", "+", "$x"]), min_size=1, max_size=4)
FILTERS = st.builds(
    lambda levels, end: "/".join(levels + end), LEVELS, st.sampled_from([[], ["#"]])
)
TOPICS = st.lists(st.sampled_from(["a", "b", "", "$x"]), min_size=1, max_size=5).map("/".join)


@given(FILTERS, FILTERS, TOPICS)
def test_whoever_is_covered_misses_nothing(wide: str, narrow: str, topic: str) -> None:
    """By the matcher that decides about messages."""
    if covers(wide, narrow) and matches(narrow, topic):
        assert matches(wide, topic)
