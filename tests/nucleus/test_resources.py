"""The grammar of resources, and what they match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.resources import ResourceError, interpolate, to_patterns, validate


def hits(resource: str, text: str, *, is_mqtt: bool = False, is_lite: bool = False) -> bool:
    patterns = to_patterns(resource, is_mqtt=is_mqtt, is_lite=is_lite)
    return any(pattern.fullmatch(text) for pattern in patterns)


GLOBS = [
    ("a/b", "a/b", True),
    ("a/b", "a/b/c", False),
    ("a/b", "x/a/b", False),
    ("*", "a/b/c", True),
    ("*", "", True),
    ("a/*", "a/", True),
    ("a/*", "a/b/c", True),
    ("a/*", "a/#", True),
    ("a/*", "a", False),
    ("*/c", "a/b/c", True),
    ("a*c*e", "abcde", True),
    ("a*c*e", "abcd", False),
    ("a*c*e", "ace", True),
    ("a*a", "a", False),
    ("*ab*ab", "abab", True),
    ("*ab*ab", "ab", False),
    ("a.b", "axb", False),
    ("a/${*}/b", "a/*/b", True),
    ("a/${*}/b", "a/x/b", False),
    ("a${?}", "a?", True),
    ("${$}aws/*", "$aws/things", True),
    ("$aws/*", "$aws/things", True),
    ("a\nb*", "a\nb\nc", True),
]


@pytest.mark.parametrize("is_lite", [False, True], ids=["classic", "lite"])
@pytest.mark.parametrize(("resource", "text", "expected"), GLOBS)
def test_a_glob_matches_as_both_nuclei_have_it(
    resource: str, text: str, expected: bool, is_lite: bool
) -> None:
    """`*` crosses `/`, escapes are literal, and all of the text counts."""
    assert hits(resource, text, is_lite=is_lite) is expected
    assert hits(resource, text, is_mqtt=True, is_lite=is_lite) is expected


@pytest.mark.parametrize(
    ("resource", "text", "expected"),
    [
        ("a/+/b", "a/+/b", True),
        ("a/+/b", "a/x/b", False),
        ("a/#", "a/#", True),
        ("a/#", "a/b", False),
        ("a/#", "a", False),
        ("#", "a", False),
    ],
)
def test_mqtt_wildcards_are_literal_outside_of_the_proxy(
    resource: str, text: str, expected: bool
) -> None:
    """A policy for local pub/sub must name the very filter."""
    assert hits(resource, text) is expected
    assert hits(resource, text, is_lite=True) is expected


MQTT = [
    # resource, topic, classic, lite
    ("a/+/b", "a/x/b", True, True),
    ("a/+/b", "a//b", True, True),
    ("a/+/b", "a/x/y/b", False, False),
    ("+/b", "a/b", True, True),
    ("a/+", "a/b", True, True),
    ("a/+", "a/b/c", False, False),
    ("+", "a", True, True),
    ("a/#", "a/b/c", True, True),
    ("a/#", "a/", True, True),
    ("a/#", "a", True, False),
    ("a/#", "ab", False, False),
    ("#", "a/b", True, True),
    ("a#", "ab", False, True),
    ("a#", "a#", True, True),
    ("a/#/b", "a/x/b", False, True),
    ("a+", "ab", False, True),
    ("a+b", "axb", False, False),
    ("a+b", "a+b", True, True),
    ("a/*/+/b", "a/x/y/z/b", True, False),
    ("a/*/+/b", "a/x/+/b", True, True),
    ("*/+/b", "a/x/b", True, False),
    ("a*/#", "ab/c", True, False),
    ("a*/#", "ab", True, False),
]


@pytest.mark.parametrize(("resource", "topic", "classic", "lite"), MQTT)
def test_the_proxy_matches_mqtt_wildcards_as_each_nucleus_has_it(
    resource: str, topic: str, classic: bool, lite: bool
) -> None:
    """Classic wants whole levels and takes them beside `*`; lite takes them anywhere, alone."""
    assert hits(resource, topic, is_mqtt=True) is classic
    assert hits(resource, topic, is_mqtt=True, is_lite=True) is lite


@pytest.mark.parametrize(
    "resource",
    ["", "a", "*", "a/${*}", "${?}${$}", "$aws/things/{iot:thingName}", "$", "a$", "{a}"],
)
def test_a_resource_that_is_well_formed_passes(resource: str) -> None:
    """Braces without a dollar are no escape."""
    validate(resource)


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        ("a?", "got 'a?', expected '?' only in the escape ${?}"),
        ("${?}?", "got '${?}?', expected '?' only in the escape ${?}"),
        ("a${x}b", "got 'a${x}b', expected no other escape than ${*}, ${?} or ${$}"),
        ("a${", "got 'a${', expected no other escape than ${*}, ${?} or ${$}"),
        ("a${*", "got 'a${*', expected no other escape than ${*}, ${?} or ${$}"),
        ("a${**}", "got 'a${**}', expected no other escape than ${*}, ${?} or ${$}"),
        ("${}", "got '${}', expected no other escape than ${*}, ${?} or ${$}"),
    ],
)
def test_a_resource_that_breaks_the_grammar_is_refused(resource: str, text: str) -> None:
    """The text shows the resource and the rule."""
    with pytest.raises(ResourceError) as caught:
        validate(resource)
    assert str(caught.value) == text


def test_the_thing_name_replaces_its_variable() -> None:
    """Wherever it stands; an escape is no variable."""
    resource = "a/{iot:thingName}/b/{iot:thingName}/${*}"
    assert interpolate(resource, "Thing-1") == "a/Thing-1/b/Thing-1/${*}"


@pytest.mark.parametrize("resource", ["a/{configuration:/x}", "a/{iot:thingName", "{}"])
def test_another_variable_is_refused(resource: str) -> None:
    """Nothing but the thing's name is known in a resource."""
    with pytest.raises(ResourceError) as caught:
        interpolate(resource, "T")
    expected = "no other variable than {iot:thingName}"
    assert str(caught.value) == f"got {resource!r}, expected {expected}"


def oracle(pattern: str, text: str) -> bool:
    """Whether a glob of plain characters and stars matches, in the plainest way there is."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(oracle(pattern[1:], text[i:]) for i in range(len(text) + 1))
    return bool(text) and pattern[0] == text[0] and oracle(pattern[1:], text[1:])


@given(st.text("ab/*", max_size=7), st.text("ab/", max_size=9))
def test_a_glob_agrees_with_the_plainest_matcher(pattern: str, text: str) -> None:
    """Atomic parts lose no match."""
    assert hits(pattern, text) is oracle(pattern, text)


def level_oracle(pattern: list[str], topic: list[str]) -> bool:
    """Whether a filter of whole levels matches, by definition."""
    if not pattern:
        return not topic
    if pattern[0] == "#":
        return True
    if not topic:
        return False
    return pattern[0] in ("+", topic[0]) and level_oracle(pattern[1:], topic[1:])


@given(
    st.lists(st.sampled_from(["a", "b", "", "+"]), min_size=1, max_size=4),
    st.booleans(),
    st.lists(st.sampled_from(["a", "b", ""]), min_size=1, max_size=5),
)
def test_a_filter_agrees_with_the_definition_of_mqtt(
    levels: list[str], is_open: bool, topic: list[str]
) -> None:
    """On classic, which keeps to it: `#` takes the level above as well."""
    pattern = levels + ["#"] * is_open
    expected = level_oracle(pattern, topic)
    assert hits("/".join(pattern), "/".join(topic), is_mqtt=True) is expected


def test_a_policy_of_many_stars_does_not_stall() -> None:
    """Where a backtracking matcher would need longer than the test may."""
    assert hits("*a" * 30, "a" * 4000 + "b") is False
    assert hits("*a/+" * 20, "a/" * 4000 + "b/", is_mqtt=True) is False
