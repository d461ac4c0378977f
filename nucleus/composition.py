"""From recipes to what the supervisor runs: manifests chosen, scripts with their values put in."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nucleus.artifacts import component_paths, local_files, place_artifacts
from nucleus.component import ComponentSpec
from nucleus.configuration import ConfigurationStore
from nucleus.dependencies import start_order
from nucleus.errors import InterpolationError, RecipeError
from nucleus.interpolation import (
    ComponentPaths,
    InterpolationContext,
    interpolate,
    interpolate_variable,
)
from nucleus.personality import Personality
from nucleus.recipe import Manifest, Recipe, Step, choose_manifest, parse_recipe
from nucleus.root import DeviceRoot
from nucleus.tokens import Tokens

SOCKET_VARIABLE = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"

_VERSION = "2.18.0"  # the nucleus whose behaviour this one imitates

_PROXIES = ("ALL_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
_INHERITED = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TMPDIR", "TZ"),
    *("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"),  # the daemon that the user has images in
    *_PROXIES,
    *map(str.lower, _PROXIES),
)
"""What a component gets of the device's own environment; it may hold secrets, so no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A component that the device is to run.

    Attributes:
        place: how errors call its recipe, such as the file's name.
        recipe: the recipe's text.
        artifacts: the user's directory of artifacts; None where there is none.
    """

    place: str
    recipe: str
    artifacts: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """A recipe and the manifest that fits, with the files at hand.

    Attributes:
        placement: where it comes from.
        recipe: of the component.
        manifest: the one that fits.
        files: its artifacts by file name.
    """

    placement: Placement = field(repr=False)
    recipe: Recipe
    manifest: Manifest
    files: Mapping[str, Path]


@dataclass(frozen=True, slots=True)
class Composer:
    """Makes specifications of components, as one device has them.

    Attributes:
        root: of the device.
        personality: whose rules.
        platform: see `nucleus.platforms.this_platform`.
        thing_name: of the device.
        tokens: which components connect with.
    """

    root: DeviceRoot
    personality: Personality
    platform: Mapping[str, str]
    thing_name: str
    tokens: Tokens

    def parse(self, placement: Placement) -> Recipe:
        """The recipe of a placement.

        Raises:
            RecipeError: it is none.
        """
        return parse_recipe(placement.recipe, placement.place, self.personality)

    def choose(self, placements: Iterable[Placement]) -> dict[str, Chosen]:
        """The components by name, in the order in which they start.

        Raises:
            RecipeError: a recipe is none, no manifest fits, or a dependency is not met.
        """
        recipes: list[Recipe] = []
        by_name: dict[str, Placement] = {}
        for placement in placements:
            recipes.append(self.parse(placement))
            by_name[recipes[-1].name] = placement
        found: dict[str, Chosen] = {}
        for recipe in start_order(recipes):
            placement = by_name[recipe.name]
            files = local_files(placement.artifacts, recipe)
            manifest = choose_manifest(recipe, self.platform, self.personality, files)
            found[recipe.name] = Chosen(
                placement=placement, recipe=recipe, manifest=manifest, files=files
            )
        return found

    def place(self, chosen: Chosen) -> None:
        """Puts a component's artifacts where its scripts expect them.

        Raises:
            RecipeError: a file that is to be unpacked is no zip file.
            OSError: a file cannot be copied.
        """
        place_artifacts(chosen.manifest, chosen.files, component_paths(self.root, chosen.recipe))

    def specs(
        self, components: Mapping[str, Chosen], store: ConfigurationStore
    ) -> dict[str, ComponentSpec]:
        """The components with their scripts as they are run, by name.

        Raises:
            RecipeError: a placeholder has no value.
        """
        return {name: self._spec(components, name, store) for name in components}

    def _spec(
        self, components: Mapping[str, Chosen], name: str, store: ConfigurationStore
    ) -> ComponentSpec:
        def paths(component: str) -> ComponentPaths | None:
            other = components.get(component)
            return None if other is None else component_paths(self.root, other.recipe)

        def configuration(component: str) -> Mapping[str, Any] | None:
            return store[component].value() if component in store else None

        recipe, manifest = components[name].recipe, components[name].manifest
        context = InterpolationContext(
            component=name,
            configuration=configuration,
            paths=paths,
            kernel_root=str(self.root.path.resolve()),
            thing_name=self.thing_name,
            dependencies=frozenset(recipe.dependencies),
            personality=self.personality,
        )
        try:
            steps = {it: _resolve(step, context) for it, step in manifest.lifecycle.items()}
            setenv = {it: interpolate_variable(v, context) for it, v in manifest.setenv.items()}
        except InterpolationError as error:
            place = f"{manifest.place}: {error.place}"
            raise RecipeError(place, error.observed, error.expected) from error
        return ComponentSpec(
            name=name,
            version=str(recipe.version),
            steps=steps,
            environment={**self._environment(name), **setenv},
            work=self.root.work(name),
            log=self.root.log(name),
            dependencies={other: it.hard for other, it in recipe.dependencies.items()},
        )

    def _environment(self, component: str) -> dict[str, str]:
        """What a component's scripts find in their environment.

        Source: AWS IoT Greengrass V2 developer guide, component environment variables;
        aws-greengrass-nucleus, GenericExternalService.java.
        """
        token = self.tokens.issue(component)
        socket = str(self.root.socket)
        inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return {
            **inherited,
            "SVCUID": token,
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
            SOCKET_VARIABLE: socket,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH": socket,
            "AWS_REGION": "local",
            "AWS_DEFAULT_REGION": "local",
            "AWS_IOT_THING_NAME": self.thing_name,
            "GGC_VERSION": _VERSION,
            "PWD": str(self.root.work(component)),
        }


def _resolve(step: Step, context: InterpolationContext) -> Step:
    return replace(
        step,
        script=interpolate(step.script, context),
        environment={
            name: interpolate_variable(value, context) for name, value in step.environment.items()
        },
    )
