import pytest

from nucleus.topics import is_wildcard, matches, matches_in_trie

BOTH = [
    ("a/b", "a/b", True),
    ("a/b", "a/c", False),
    ("a/b", "a/b/c", False),
    ("a/b/c", "a/b", False),
    ("a/+", "a/b", True),
    ("a/+", "a/", True),
    ("a/+", "a", False),
    ("a/+", "a/b/c", False),
    ("+/b", "a/b", True),
    ("+/+", "/b", True),
    ("+", "a", True),
    ("a/+/c", "a/b/c", True),
    ("a/+/#", "a/b/c", True),
    ("a/#", "a/b", True),
    ("a/#", "a/b/c", True),
    ("a/#", "a/", True),
    ("a/#", "ab", False),
    ("a/#", "b/c", False),
    ("#", "a", True),
    ("#", "a/b/c", True),
    ("#", "/", True),
    ("/a", "a", False),
    ("a+", "ab", False),
    ("a#", "ab", False),
    ("A", "a", False),
]


@pytest.mark.parametrize(("topic_filter", "topic", "expected"), BOTH)
def test_filter_matches_by_levels(topic_filter: str, topic: str, *, expected: bool) -> None:
    """By the rules of MQTT, and in the trie of the classic nucleus."""
    assert matches(topic_filter, topic) is expected
    assert matches_in_trie(topic_filter, topic) is expected


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("a/#", "a", True),
        ("a/+/#", "a/b", True),
        ("+/#", "a", True),
        ("#", "$aws/things", False),
        ("+/things", "$aws/things", False),
        ("$aws/#", "$aws/things", True),
        ("$aws/+", "$aws/things", True),
    ],
)
def test_mqtt_has_two_rules_more(topic_filter: str, topic: str, *, expected: bool) -> None:
    """`a/#` takes its parent, and a leading wildcard takes no `$`; the trie does neither."""
    assert matches(topic_filter, topic) is expected
    if not topic_filter.startswith("$"):
        assert matches_in_trie(topic_filter, topic) is not expected


@pytest.mark.parametrize(
    ("topic_filter", "expected"),
    [("a/b", False), ("a/+/b", True), ("a/#", True), ("#", True), ("a/#/b", False), ("a+", False)],
)
def test_wildcard_is_a_whole_level(topic_filter: str, *, expected: bool) -> None:
    """And `#` the last one."""
    assert is_wildcard(topic_filter) is expected
