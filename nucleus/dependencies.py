"""What components need of each other: version requirements, and the order in which to start.

Source: AWS IoT Greengrass V2 developer guide, component recipe reference; aws-greengrass-lite 2.6,
observed running.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Protocol, TypeVar

from semantic_version import NpmSpec, Version

from nucleus.errors import RecipeError
from nucleus.personality import Personality
from nucleus.recipe_text import Section

PROVIDED_PREFIX = "aws.greengrass."
"""Components of AWS itself, such as the nucleus or the token exchange service: never run here."""

MAX_REQUIREMENT = 256
"""Characters of a version requirement; real ones have twenty."""

_OPERATOR = re.compile(r"(?<![<>=~^])([<>=~^]+)\s+")
_LITE_REQUIREMENT = re.compile(r"(?:[<>]=?|=)?\s*v?\d[0-9A-Za-z.+-]*")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Dependency:
    """What a component needs of another.

    Attributes:
        requirement: as written, such as `~2.0.0`.
        hard: whether the dependant waits for it, and is restarted with it.
    """

    requirement: str
    hard: bool = True

    def is_met_by(self, version: Version) -> bool:
        """Whether a version satisfies the requirement."""
        return bool(NpmSpec(_tidy(self.requirement)).match(version))


class Component(Protocol):
    """Who has dependencies: a recipe."""

    @property
    def place(self) -> str:
        """How errors call it."""

    @property
    def name(self) -> str:
        """Of the component."""

    @property
    def version(self) -> Version:
        """Of the component."""

    @property
    def dependencies(self) -> Mapping[str, Dependency]:
        """By name."""


ComponentT = TypeVar("ComponentT", bound=Component)


def parse_dependencies(section: Section, personality: Personality) -> dict[str, Dependency]:
    """The dependencies of a recipe, by name.

    Raises:
        RecipeError: a requirement or a type that the nucleus does not know.
    """
    found = {}
    for name, fields in section.members():
        fields.warn_of_others(frozenset({"VersionRequirement", "DependencyType"}))
        requirement = fields.optional_text("VersionRequirement", "*")
        _check_requirement(requirement, fields.place_of("VersionRequirement"), personality)
        kind = fields.optional_text("DependencyType", "HARD")
        if kind.upper() not in {"HARD", "SOFT"}:
            raise RecipeError(fields.place_of("DependencyType"), repr(kind), "'HARD' or 'SOFT'")
        found[name] = Dependency(requirement, hard=kind.upper() == "HARD")
    return found


def start_order(recipes: Iterable[ComponentT]) -> list[ComponentT]:
    """The recipes, each after all that it depends on.

    Components of AWS itself are taken as present. A soft dependency may be absent, but where it is
    present its version must fit too.

    Raises:
        RecipeError: a name stands twice, a hard dependency is missing, a version does not satisfy a
            requirement, or components depend on each other in a circle.
    """
    by_name: dict[str, ComponentT] = {}
    for recipe in recipes:
        if recipe.name in by_name:
            raise RecipeError(recipe.place, f"a second component {recipe.name!r}", "one of a name")
        by_name[recipe.name] = recipe
    graph: TopologicalSorter[str] = TopologicalSorter()
    for recipe in by_name.values():
        graph.add(recipe.name, *_present(recipe, by_name))
    try:
        return [by_name[name] for name in graph.static_order()]
    except CycleError as error:
        circle = " -> ".join(reversed(error.args[1]))
        place = f"{by_name[error.args[1][0]].place}: ComponentDependencies"
        raise RecipeError(place, f"the circle {circle}", "an order to start in") from error


def _present(recipe: Component, by_name: Mapping[str, Component]) -> list[str]:
    """The dependencies of a recipe that are among the given ones."""
    found = []
    for name, dependency in recipe.dependencies.items():
        place = f"{recipe.place}: ComponentDependencies.{name}"
        other = by_name.get(name)
        if other is not None:
            if not dependency.is_met_by(other.version):
                expected = f"one that satisfies {dependency.requirement!r}"
                raise RecipeError(place, f"version {other.version}", expected)
            found.append(name)
        elif name.startswith(PROVIDED_PREFIX):
            _log.info("%s: taken as present; this device has no components of AWS", place)
        elif dependency.hard:
            expected = f"a component that satisfies {dependency.requirement!r}"
            raise RecipeError(place, "no such component", expected)
    return found


def _check_requirement(requirement: str, place: str, personality: Personality) -> None:
    if len(requirement) > MAX_REQUIREMENT:
        observed = f"text of {len(requirement)} characters"
        raise RecipeError(place, observed, f"at most {MAX_REQUIREMENT}")
    if personality.name == "lite":
        parts = _tidy(requirement).split()
        if not parts or not all(_LITE_REQUIREMENT.fullmatch(part) for part in parts):
            expected = "a list of versions after '>', '>=', '<', '<=' or '=' on nucleus lite"
            raise RecipeError(place, repr(requirement), expected)
    try:
        NpmSpec(_tidy(requirement))
    except (ValueError, AttributeError) as error:  # the latter over `1. - 2`
        expected = "a requirement as npm writes them, such as '~1.0.0'"
        raise RecipeError(place, repr(requirement), expected) from error


def _tidy(requirement: str) -> str:
    """The requirement in the form that `NpmSpec` takes; npm allows a space after an operator."""
    return _OPERATOR.sub(r"\1", requirement.strip())
