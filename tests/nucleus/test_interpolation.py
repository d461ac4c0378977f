import json
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.errors import InterpolationError
from nucleus.interpolation import (
    ComponentPaths,
    InterpolationContext,
    foreign_braces,
    interpolate,
    interpolate_variable,
)
from nucleus.personality import LITE

CONFIGURATIONS: dict[str, Any] = {
    "own.Name": {
        "topic": "a/b",
        "count": 3,
        "ratio": 1.0,
        "on": True,
        "none": None,
        "tree": {"z": [1, "é"], "a": {}},
        "list": ["x", {"y": "deep"}],
        "a/b": {"m~n": "escaped"},
        "evil": """$(touch x) `y` "z" \\ 'w'""",
        "hidden": "{other-Name:configuration:/topic}",
        "": "empty key",
    },
    "other-Name": {"topic": "c/d"},
    "third": {"topic": "e/f"},
}


def paths_of(component: str) -> ComponentPaths | None:
    if component not in CONFIGURATIONS:
        return None
    return ComponentPaths(
        artifacts=f"/gg/packages/artifacts/{component}/1.0.0",
        artifacts_unarchived=f"/gg/packages/artifacts-unarchived/{component}/1.0.0",
        work=f"/gg/work/{component}",
    )


CONTEXT = InterpolationContext(
    component="own.Name",
    configuration=CONFIGURATIONS.get,
    paths=paths_of,
    kernel_root="/gg",
    thing_name="thing",
    dependencies={"other-Name", "absent"},
)
LITE_CONTEXT = replace(CONTEXT, personality=LITE)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("-t {configuration:/topic}!", "-t a/b!"),
        ("{configuration:/count} {configuration:/ratio}", "3 1.0"),
        ("{configuration:/on} {configuration:/none}", "true null"),
        ("{configuration:/tree}", '{"a":{},"z":[1,"é"]}'),
        ("{configuration:/list/1/y}", "deep"),
        ("{configuration:/list/2}", "{configuration:/list/2}"),
        ("{configuration:/a~1b/m~0n}", "escaped"),
        ("{configuration:/}", "empty key"),
        ("{configuration:/missing}", "{configuration:/missing}"),
        ("{configuration:/topic/deeper}", "{configuration:/topic/deeper}"),
        ("{artifacts:path}/x", "/gg/packages/artifacts/own.Name/1.0.0/x"),
        ("{artifacts:decompressedPath}", "/gg/packages/artifacts-unarchived/own.Name/1.0.0"),
        ("{work:path} {kernel:rootPath}", "/gg/work/own.Name /gg"),
        ("{iot:thingName}", "thing"),
        ("{artifacts:other}", "{artifacts:other}"),
        ("${HOME:-x} ${A}", "${HOME:-x} ${A}"),
        ("awk '{print $1}' {", "awk '{print $1}' {"),
        ("{other-Name:configuration:/topic}", "c/d"),
        ("{other-Name:artifacts:path}", "/gg/packages/artifacts/other-Name/1.0.0"),
        ("{third:configuration:/topic}", "{third:configuration:/topic}"),
        ("{absent:configuration:/topic}", "{absent:configuration:/topic}"),
        ("{absent:work:path}", "{absent:work:path}"),
        ("{configuration:/hidden}", "c/d"),
        ("{{configuration:/topic}}", "{a/b}"),
        ("{configuration:/evil}", CONFIGURATIONS["own.Name"]["evil"]),
    ],
)
def test_placeholder_on_classic_gets_its_value_or_stays(text: str, expected: str) -> None:
    """What is unknown stays as written, and nothing is escaped."""
    assert interpolate(text, CONTEXT) == expected
    assert interpolate_variable(text, CONTEXT) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("-t {configuration:/topic}!", "-t a/b!"),
        ("{artifacts:path}x", "/gg/packages/artifacts/own.Name/1.0.0/x"),
        ("{artifacts:decompressedPath}", "/gg/packages/artifacts-unarchived/own.Name/1.0.0/"),
        ("{work:path} {kernel:rootPath}", "/gg/work/own.Name/ /gg"),
        ("{iot:thingName} $HOME }", "thing $HOME }"),
        ("{configuration:/tree}", '{\\"a\\":{},\\"z\\":[1,\\"é\\"]}'),
        ("{configuration:/evil}", """\\$(touch x) \\`y\\` \\"z\\" \\\\ 'w'"""),
    ],
)
def test_placeholder_on_lite_gets_its_value_escaped(text: str, expected: str) -> None:
    """Paths end in a slash, and the shell finds nothing to do in configuration."""
    assert interpolate(text, LITE_CONTEXT) == expected


def test_variable_on_lite_is_not_escaped() -> None:
    """No shell reads it."""
    value = interpolate_variable("{configuration:/evil}{work:path}", LITE_CONTEXT)
    assert value == CONFIGURATIONS["own.Name"]["evil"] + "/gg/work/own.Name/"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("echo ${HOME}", "{HOME}: got a placeholder nucleus lite does not know, expected another"),
        (
            "{other-Name:configuration:/topic}",
            "{other-Name:configuration:/topic}: got a placeholder nucleus lite does not know, "
            "expected another",
        ),
        ("a { b", "{ b: got no end, expected a '}'"),
        (
            "{configuration:/missing}",
            "{configuration:/missing}: got no such configuration, expected a value",
        ),
    ],
)
def test_placeholder_without_a_value_fails_on_lite(text: str, error: str) -> None:
    """A device would not run the step."""
    for function in (interpolate, interpolate_variable):
        with pytest.raises(InterpolationError) as caught:
            function(text, LITE_CONTEXT)
        assert str(caught.value) == error


def test_pointer_without_a_slash_fails_on_classic() -> None:
    """It is no JSON pointer, and the nucleus says so too."""
    with pytest.raises(InterpolationError) as caught:
        interpolate("{configuration:topic}", CONTEXT)
    assert str(caught.value) == (
        "{configuration:topic}: got a pointer without a slash, expected one such as '/key'"
    )


def test_long_placeholder_is_foreign_to_lite() -> None:
    """It reads 256 bytes of one at most."""
    assert list(foreign_braces("{configuration:/" + "a" * 242 + "}")) != []
    assert list(foreign_braces("{configuration:/" + "a" * 241 + "}")) == []


@given(st.text(alphabet=st.characters(exclude_characters="{")))
def test_text_without_braces_is_left_alone(text: str) -> None:
    """By both nuclei."""
    assert interpolate(text, CONTEXT) == text
    assert interpolate(text, LITE_CONTEXT) == text


@given(st.text(alphabet=st.characters(exclude_characters="\x00", exclude_categories=["Cs"])))
def test_configuration_on_lite_is_what_the_shell_sees_between_double_quotes(value: str) -> None:
    """Whatever is configured: nothing of it is run."""
    context = replace(LITE_CONTEXT, configuration=lambda _: {"key": value})
    script = interpolate('printf %s "{configuration:/key}"', context)
    found = subprocess.run(["sh", "-c", script], capture_output=True, check=True)
    assert found.stdout.decode() == value


@given(
    st.recursive(
        st.integers() | st.booleans(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_configured_value_on_classic_is_its_json(value: Any) -> None:
    """Numbers, truths, lists and objects."""
    context = replace(CONTEXT, configuration=lambda _: {"key": value}, dependencies=())
    assert json.loads(interpolate("{configuration:/key}", context)) == value
