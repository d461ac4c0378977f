"""Which versions a deployment comes to, compared with trying all of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from semantic_version import Version

from nucleus.dependencies import Dependency
from nucleus.deployments.resolution import resolve
from nucleus.errors import DeploymentError


@dataclass(frozen=True)
class Made:
    """A recipe, as far as resolution looks at it."""

    name: str
    version: Version
    dependencies: Mapping[str, Dependency] = field(default_factory=dict)

    @property
    def place(self) -> str:
        return f"{self.name}.json"


def made(name: str, version: str, **needs: str) -> Made:
    """A component with hard dependencies, those that begin with `?` are soft."""
    dependencies = {
        other: Dependency(text.removeprefix("?"), hard=not text.startswith("?"))
        for other, text in needs.items()
    }
    return Made(name, Version(version), dependencies)


def versions(roots: dict[str, str], *at_hand: Made, **running: str) -> dict[str, str]:
    """The versions that a deployment comes to."""
    found = resolve(
        {name: Version(text) for name, text in roots.items()},
        at_hand,
        {name: Version(text) for name, text in running.items()},
    )
    return {name: str(it.version) for name, it in found.items()}


def test_dependency_comes_in_its_highest_version_that_fits() -> None:
    """And what nobody needs stays away."""
    at_hand = [made("B", it) for it in ("1.0.0", "1.10.0", "1.9.0", "2.0.0")]
    found = versions({"A": "1.0.0"}, made("A", "1.0.0", B="^1.0.0"), *at_hand, made("C", "1.0.0"))
    assert found == {"A": "1.0.0", "B": "1.10.0"}


def test_dependency_that_runs_and_fits_is_left_as_it_is() -> None:
    """A deployment does not update what it need not."""
    at_hand = [made("A", "1.0.0", B="^1.0.0"), made("B", "1.0.0"), made("B", "1.1.0")]
    assert versions({"A": "1.0.0"}, *at_hand, B="1.0.0")["B"] == "1.0.0"
    assert versions({"A": "1.0.0"}, *at_hand, B="0.9.0")["B"] == "1.1.0"


def test_choice_that_leads_nowhere_is_given_up() -> None:
    """B 2.0.0 is the higher one, but what it needs does not exist."""
    at_hand = [
        made("A", "1.0.0", B="*", C="*"),
        made("B", "2.0.0", C="^2.0.0"),
        made("B", "1.0.0", C="^1.0.0"),
        made("C", "1.0.0"),
    ]
    assert versions({"A": "1.0.0"}, *at_hand) == {"A": "1.0.0", "B": "1.0.0", "C": "1.0.0"}


def test_soft_dependency_comes_along_where_there_is_a_recipe() -> None:
    """And is done without where there is none."""
    asking = made("A", "1.0.0", B="?*")
    assert versions({"A": "1.0.0"}, asking) == {"A": "1.0.0"}
    assert versions({"A": "1.0.0"}, asking, made("B", "1.0.0"))["B"] == "1.0.0"


def test_component_of_aws_is_taken_as_present() -> None:
    """This device has none of them."""
    needs = {"aws.greengrass.Nucleus": ">=2.0.0"}
    assert versions({"A": "1.0.0"}, made("A", "1.0.0", **needs)) == {"A": "1.0.0"}


@pytest.mark.parametrize(
    ("roots", "at_hand", "text"),
    [
        (
            {"A": "1.0.0"},
            [made("A", "1.1.0"), made("A", "0.9.0")],
            "A=1.0.0: got no such recipe (versions at hand: 1.1.0, 0.9.0), "
            "expected one in the recipe directory or on the device",
        ),
        (
            {"A": "1.0.0"},
            [made("A", "1.0.0", B="~1.0.0")],
            "A 1.0.0: ComponentDependencies.B: got no such component, "
            "expected one that satisfies '~1.0.0'",
        ),
        (
            {"A": "1.0.0", "B": "2.0.0"},
            [made("A", "1.0.0", B="~1.0.0"), made("B", "2.0.0")],
            "A 1.0.0: ComponentDependencies.B: got version 2.0.0, "
            "expected one that satisfies '~1.0.0'",
        ),
        (
            {"A": "1.0.0", "B": "1.0.0"},
            [made("A", "1.0.0", C="^1"), made("B", "1.0.0", C="^2"), made("C", "1.0.0")],
            "B 1.0.0: ComponentDependencies.C: got version 1.0.0, expected one that satisfies '^2'",
        ),
    ],
    ids=["root", "missing", "roots that clash", "needs that clash"],
)
def test_what_does_not_fit_is_named(roots: dict[str, str], at_hand: list[Made], text: str) -> None:
    """Who asks, for what, and what there is."""
    with pytest.raises(DeploymentError) as caught:
        versions(roots, *at_hand)
    assert str(caught.value) == text


_names = st.sampled_from("ABCD")
_numbers = st.sampled_from(("1.0.0", "1.1.0", "2.0.0"))
_needs = st.dictionaries(_names, st.sampled_from(("*", "^1.0.0", "^2.0.0", "?^1.0.0")), max_size=2)
_worlds = st.dictionaries(st.tuples(_names, _numbers), _needs, min_size=1, max_size=8)


def fits(found: Mapping[str, Made], roots: Mapping[str, Version], at_hand: list[Made]) -> bool:
    """Whether these are the roots and what they need, and all needs are met."""
    names = {it.name for it in at_hand}
    if any(name not in found or found[name].version != it for name, it in roots.items()):
        return False
    needed = set(roots)
    for recipe in found.values():
        for name, dependency in recipe.dependencies.items():
            is_met = name in found and dependency.is_met_by(found[name].version)
            if (name in names or dependency.hard) and not is_met:
                return False
    while more := {n for it in needed for n in found[it].dependencies if n in found} - needed:
        needed |= more
    return needed == found.keys()


@given(world=_worlds, data=st.data())
def test_a_solution_is_found_where_there_is_one(
    world: dict[tuple[str, str], dict[str, str]], data: st.DataObject
) -> None:
    """As trying every version of every component finds one."""
    at_hand = [made(name, number, **needs) for (name, number), needs in world.items()]
    root = data.draw(st.sampled_from(at_hand))
    roots = {root.name: root.version}
    by_name = {it.name: [o for o in at_hand if o.name == it.name] for it in at_hand}
    candidates = [
        {it.name: it for it in picked if it is not None}
        for picked in product(*([None, *them] for them in by_name.values()))
    ]
    exists = any(fits(it, roots, at_hand) for it in candidates)
    try:
        found = resolve(roots, at_hand, {})
    except DeploymentError:
        assert not exists
    else:
        assert fits(found, roots, at_hand)


@given(world=_worlds, data=st.data())
def test_what_runs_and_is_asked_for_again_stays(
    world: dict[tuple[str, str], dict[str, str]], data: st.DataObject
) -> None:
    """A deployment of the same roots, after one that was found, changes no version."""
    at_hand = [made(name, number, **needs) for (name, number), needs in world.items()]
    root = data.draw(st.sampled_from(at_hand))
    roots = {root.name: root.version}
    try:
        first = resolve(roots, at_hand, {})
    except DeploymentError:
        return
    again = resolve(roots, at_hand, {name: it.version for name, it in first.items()})
    assert {it.name: it.version for it in again.values()} == {
        it.name: it.version for it in first.values()
    }
