"""Which components in which versions a deployment comes to.

Roots have the versions that they were deployed in. What they need is taken as it runs, where that
fits, else in the highest version at hand that fits; where a choice leads nowhere, the next is
tried. A soft dependency comes along where a recipe for it is at hand, and may be absent else.

Source: aws-greengrass-nucleus, DependencyResolver and ComponentManager (which do not look back on a
choice that turns out wrong, so they refuse some deployments that are taken here).
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from typing import Generic, TypeVar

from semantic_version import Version

from nucleus.dependencies import PROVIDED_PREFIX, Component
from nucleus.errors import DeploymentError

ComponentT = TypeVar("ComponentT", bound=Component)


def resolve(
    roots: Mapping[str, Version],
    at_hand: Iterable[ComponentT],
    running: Mapping[str, Version],
) -> dict[str, ComponentT]:
    """The components by name: the roots, and all that they need.

    Args:
        roots: the version of each.
        at_hand: recipes, each name and version once.
        running: the versions that run.

    Raises:
        DeploymentError: a root is not at hand, or no versions of what is needed fit together.
    """
    search = _Search(at_hand, running)
    chosen: dict[str, ComponentT] = {}
    for name, version in roots.items():
        found = [it for it in search.versions(name) if it.version == version]
        if not found:
            there = ", ".join(str(it.version) for it in search.versions(name)) or "none"
            observed = f"no such recipe (versions at hand: {there})"
            expected = "one in the recipe directory or on the device"
            raise DeploymentError(f"{name}={version}", observed, expected)
        chosen[name] = found[0]
    for recipe in chosen.values():
        if (clash := next(_clashes(recipe, chosen), None)) is not None:
            raise clash
    resolved = search.complete(chosen)
    if resolved is None:
        assert search.problem is not None
        raise search.problem
    return resolved


class _Search(Generic[ComponentT]):
    """Looks for versions that fit together.

    Attributes:
        problem: the first that was met; what people are told where nothing fits.
    """

    def __init__(self, at_hand: Iterable[ComponentT], running: Mapping[str, Version]) -> None:
        self.problem: DeploymentError | None = None
        self._by_name: dict[str, list[ComponentT]] = {}
        for recipe in sorted(at_hand, key=lambda it: it.version, reverse=True):
            self._by_name.setdefault(recipe.name, []).append(recipe)
        for name, recipes in self._by_name.items():
            preferred = running.get(name)
            recipes.sort(key=lambda it: it.version != preferred)

    def versions(self, name: str) -> list[ComponentT]:
        """The recipes of a name, the one to be preferred first."""
        return self._by_name.get(name, [])

    def complete(self, chosen: Mapping[str, ComponentT]) -> dict[str, ComponentT] | None:
        """The chosen ones and all that they need; None where nothing fits."""
        need = next(self._needs(chosen), None)
        if need is None:
            return dict(chosen)
        asking, name = need
        problems = []
        for candidate in self.versions(name):
            tried = {**chosen, name: candidate}
            problem = next(chain(_clashes(candidate, tried), _clashes_over(name, tried)), None)
            if problem is not None:
                problems.append(problem)
            elif (found := self.complete(tried)) is not None:
                return found
        if self.problem is None:
            observed = "no such component"
            self.problem = problems[0] if problems else _unmet(asking, name, observed)
        return None

    def _needs(self, chosen: Mapping[str, ComponentT]) -> Iterator[tuple[ComponentT, str]]:
        """Who needs what that is not chosen yet."""
        for recipe in chosen.values():
            for name, dependency in recipe.dependencies.items():
                is_foreign = name.startswith(PROVIDED_PREFIX) or not dependency.hard
                if name not in chosen and (name in self._by_name or not is_foreign):
                    yield recipe, name


def _clashes(recipe: Component, chosen: Mapping[str, Component]) -> Iterator[DeploymentError]:
    """The chosen components that are not what this one needs."""
    for name, dependency in recipe.dependencies.items():
        if name in chosen and not dependency.is_met_by(chosen[name].version):
            yield _unmet(recipe, name, f"version {chosen[name].version}")


def _clashes_over(name: str, chosen: Mapping[str, Component]) -> Iterator[DeploymentError]:
    """Those among the chosen that need another version of one of them."""
    for recipe in chosen.values():
        dependency = recipe.dependencies.get(name)
        if dependency is not None and not dependency.is_met_by(chosen[name].version):
            yield _unmet(recipe, name, f"version {chosen[name].version}")


def _unmet(recipe: Component, name: str, observed: str) -> DeploymentError:
    requirement = recipe.dependencies[name].requirement
    place = f"{recipe.name} {recipe.version}: ComponentDependencies.{name}"
    return DeploymentError(place, observed, f"one that satisfies {requirement!r}")
