import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_version import Version

from nucleus.dependencies import Dependency, start_order
from nucleus.errors import RecipeError
from nucleus.personality import CLASSIC, LITE
from nucleus.recipe import Recipe, parse_recipe


def recipe(name: str, version: str = "1.0.0", **needs: str) -> Recipe:
    """A recipe whose dependencies are hard, or soft where the requirement begins with a `?`."""
    return Recipe(
        place=f"{name}.yaml",
        name=name,
        version=Version(version),
        description="",
        publisher="",
        configuration={},
        dependencies={
            other: Dependency(wanted.removeprefix("?"), hard=not wanted.startswith("?"))
            for other, wanted in needs.items()
        },
        manifests=(),
    )


@pytest.mark.parametrize(
    ("requirement", "version", "expected"),
    [
        ("*", "1.5.0", True),
        ("~2.0.0", "2.0.9", True),
        ("~2.0.0", "2.1.0", False),
        ("^1.2.0", "1.9.9", True),
        (">= 1.0.0 < 2.0.0", "1.5.0", True),
        (">=1.0.0 <2.0.0", "2.0.0", False),
        ("1.0.0 || 2.0.0", "2.0.0", True),
        ("=1.0.0", "1.0.0", True),
        (">=1.0.0", "2.0.0-rc.1", False),
    ],
)
def test_requirement_is_read_as_npm_reads_it(
    requirement: str, version: str, expected: bool
) -> None:
    """With or without a space after an operator."""
    assert Dependency(requirement).is_met_by(Version(version)) is expected


def test_components_start_after_what_they_depend_on() -> None:
    """Soft dependencies count for the order too, where they are there."""
    found = start_order(
        [recipe("c", b="*"), recipe("b", a="*", x="?*"), recipe("d", c="?*"), recipe("a")]
    )
    assert [item.name for item in found] == ["a", "b", "c", "d"]


@given(
    st.permutations(["a", "b", "c", "d", "e"]),
    st.sets(st.tuples(st.integers(0, 4), st.integers(0, 4))),
)
def test_any_order_given_is_put_right(names: list[str], pairs: set[tuple[int, int]]) -> None:
    """Where a later name needs an earlier one, there is no circle, and each precedes its users."""
    letters = "abcde"
    needs = {name: {} for name in letters}  # type: dict[str, dict[str, str]]
    for one, other in pairs:
        if one != other:
            needs[letters[max(one, other)]][letters[min(one, other)]] = "*"
    found = [item.name for item in start_order([recipe(name, **needs[name]) for name in names])]
    assert sorted(found) == list(letters)
    assert all(found.index(o) < found.index(n) for n in letters for o in needs[n])


@pytest.mark.parametrize(
    ("recipes", "error"),
    [
        (
            [recipe("a", b=">=1.0.0")],
            "a.yaml: ComponentDependencies.b: got no such component, "
            "expected a component that satisfies '>=1.0.0'",
        ),
        (
            [recipe("a", b="~1.0.0"), recipe("b", "1.1.0")],
            "a.yaml: ComponentDependencies.b: got version 1.1.0, "
            "expected one that satisfies '~1.0.0'",
        ),
        (
            [recipe("a", b="?~1.0.0"), recipe("b", "1.1.0")],
            "a.yaml: ComponentDependencies.b: got version 1.1.0, "
            "expected one that satisfies '~1.0.0'",
        ),
        ([recipe("a"), recipe("a")], "a.yaml: got a second component 'a', expected one of a name"),
        (
            [recipe("a", a="*")],
            "a.yaml: ComponentDependencies: got the circle a -> a, expected an order to start in",
        ),
    ],
)
def test_components_that_do_not_fit_together_are_refused(recipes: list[Recipe], error: str) -> None:
    """With the recipe, the dependency and what was found."""
    with pytest.raises(RecipeError) as caught:
        start_order(recipes)
    assert str(caught.value) == error


def test_circle_is_refused_with_its_members() -> None:
    """Wherever it begins."""
    with pytest.raises(RecipeError) as caught:
        start_order([recipe("a", b="*"), recipe("b", c="*"), recipe("c", a="*")])
    shown = caught.value.observed.removeprefix("the circle ").split(" -> ")
    assert shown[0] == shown[-1]
    assert "".join(shown[:-1]) in {"abc", "bca", "cab"}


def test_component_of_aws_is_taken_as_present(caplog: pytest.LogCaptureFixture) -> None:
    """And said to be, once."""
    needs = {"aws.greengrass.TokenExchangeService": "~2.0.0"}
    with caplog.at_level(logging.INFO):
        assert len(start_order([recipe("a", **needs)])) == 1
    assert caplog.messages == [
        "a.yaml: ComponentDependencies.aws.greengrass.TokenExchangeService: "
        "taken as present; this device has no components of AWS"
    ]


def with_dependency(fields: str) -> str:
    return (
        "RecipeFormatVersion: '2020-01-25'\nComponentName: a\nComponentVersion: 1.0.0\n"
        f"ComponentDependencies:\n  b: {fields}\nManifests: [{{}}]\n"
    )


@pytest.mark.parametrize(
    ("fields", "dependency"),
    [
        ("{VersionRequirement: ~1.0.0}", Dependency("~1.0.0", hard=True)),
        ("{VersionRequirement: '1', DependencyType: Soft}", Dependency("1", hard=False)),
        ("{}", Dependency("*", hard=True)),
        ("null", Dependency("*", hard=True)),
    ],
)
def test_dependency_of_a_recipe_is_parsed(fields: str, dependency: Dependency) -> None:
    """HARD and any version are what it says where it says nothing."""
    assert parse_recipe(with_dependency(fields), "r").dependencies == {"b": dependency}


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        (
            "{VersionRequirement: latest}",
            "r: ComponentDependencies.b.VersionRequirement: got 'latest', "
            "expected a requirement as npm writes them, such as '~1.0.0'",
        ),
        (
            "{VersionRequirement: '1. - 2'}",
            "r: ComponentDependencies.b.VersionRequirement: got '1. - 2', "
            "expected a requirement as npm writes them, such as '~1.0.0'",
        ),
        (
            f"{{VersionRequirement: '{'<' * 257}'}}",
            "r: ComponentDependencies.b.VersionRequirement: got text of 257 characters, "
            "expected at most 256",
        ),
        (
            "{DependencyType: FIRM}",
            "r: ComponentDependencies.b.DependencyType: got 'FIRM', expected 'HARD' or 'SOFT'",
        ),
        ("1.0.0", "r: ComponentDependencies.b: got '1.0.0', expected an object"),
    ],
)
def test_dependency_that_no_nucleus_reads_is_refused(fields: str, error: str) -> None:
    """With its place."""
    with pytest.raises(RecipeError) as caught:
        parse_recipe(with_dependency(fields), "r")
    assert str(caught.value) == error


@pytest.mark.parametrize(
    "requirement", ["~1.0.0", "^1.0.0", "*", "1.0.0 || 2.0.0", "1.0.0 - 2.0.0"]
)
def test_requirement_that_lite_does_not_read_is_refused_there(requirement: str) -> None:
    """It parses nothing but comparisons."""
    text = with_dependency(f"{{VersionRequirement: '{requirement}'}}")
    parse_recipe(text, "r", CLASSIC)
    with pytest.raises(RecipeError) as caught:
        parse_recipe(text, "r", LITE)
    assert str(caught.value) == (
        f"r: ComponentDependencies.b.VersionRequirement: got {requirement!r}, expected a list of "
        "versions after '>', '>=', '<', '<=' or '=' on nucleus lite"
    )


def test_comparisons_are_read_on_lite() -> None:
    """Also several, which must all hold."""
    text = with_dependency("{VersionRequirement: '>=1.0.0 <2.0.0'}")
    assert parse_recipe(text, "r", LITE).dependencies["b"].is_met_by(Version("1.9.0"))
