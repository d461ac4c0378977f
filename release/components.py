"""What a core device on this machine runs: our components by their recipes, and the user's own."""

import argparse
import json
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, NoReturn

from model.bundle import open_bundle
from nucleus.device import Placement
from nucleus.root import DeviceRoot
from release.errors import CommandError
from release.image.facts import find_image

INFERENCE = "edgexgb.Inference"
CONSUMER = "edgexgb.Consumer"

PROCESS = "process"
CONTAINER = "container"
"""The attribute `runtime` of a device on this machine: how it runs our component."""

UNSTAMPED = f"edgexgb@sha256:{'0' * 64}"
"""What the recipe has in place of the image; no image has such a digest."""

_PINNED = re.compile(r"([a-z0-9][a-z0-9._:/-]*@)?sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What a core device is to run.

    Attributes:
        placements: the components.
        configurations: what is merged into theirs, by component.
        platform: overrides of the attributes that manifests are chosen by.
    """

    placements: Sequence[Placement]
    configurations: Mapping[str, Mapping[str, Any]]
    platform: Mapping[str, str]


def select(arguments: argparse.Namespace) -> Selection:
    """What the arguments of `edgexgb device start` name.

    Raises:
        CommandError: an option is no good, or nothing is named.
        BundleError: the bundle cannot be opened.
        OSError: a recipe cannot be read.
    """
    if arguments.bundle is not None and arguments.image is not None:
        observed = f"a bundle ({arguments.bundle}) beside it"
        raise CommandError(f"--image: got {observed}, expected none: the image has its own")
    recipes: list[tuple[str, str]] = []
    configurations: dict[str, dict[str, Any]] = {}
    if arguments.bundle is not None:
        # What is wrong with the bundle is better said here than in the component's log.
        open_bundle(arguments.bundle).close()
        recipes.append(packaged("container"))
        bundle = str(arguments.bundle.resolve())
        configurations[INFERENCE] = {"python": sys.executable, "bundle": bundle}
    elif arguments.image is not None:
        # By its digest: the tag may name another image when the component is started again.
        recipes.append(image_recipe(find_image(arguments.image).id))
    if arguments.consumer:
        recipes.append(packaged("consumer"))
        configurations[CONSUMER] = {"python": sys.executable}
    recipes.extend((str(path), _read(path)) for path in arguments.recipe)
    if arguments.artifacts is not None and not arguments.artifacts.is_dir():
        observed = "no such directory"
        raise CommandError(f"{arguments.artifacts}: got {observed}, expected one of artifacts")
    if not recipes and (arguments.fresh or not DeviceRoot(arguments.root).has_state):
        expected = "a bundle, an --image or a --recipe"
        raise CommandError(f"nothing to run: got no component, expected {expected}")
    for text in arguments.configure:
        name, fields = parse_configuration(text)
        configurations[name] = merge(configurations.get(name, {}), fields)
    # Ours run as processes here, but for an image: the manifest for containers comes after theirs.
    runtime = PROCESS if arguments.image is None else CONTAINER
    platform = {"runtime": runtime} | dict(_pair(text) for text in arguments.platform)
    if platform["runtime"] == CONTAINER and arguments.bundle is not None:
        expected = "an --image in place of the bundle"
        raise CommandError(f"--platform runtime={CONTAINER}: got no image, expected {expected}")
    return Selection(
        placements=[
            Placement(place=place, recipe=text, artifacts=arguments.artifacts)
            for place, text in recipes
        ],
        configurations=configurations,
        platform=platform,
    )


def image_recipe(image: str) -> tuple[str, str]:
    """The inference component's recipe with an image, and how errors call it.

    Raises:
        CommandError: the image is not pinned by a digest.
    """
    place, text = packaged("container")
    return place, stamp_recipe(text, image)


def stamp_recipe(text: str, image: str) -> str:
    """The inference component's recipe with its image, in place of the digest that nothing has.

    Args:
        text: `container/recipe.yaml`.
        image: pinned by a digest: `REGISTRY/NAME@sha256:…`, or `sha256:…` on this machine alone.

    Raises:
        CommandError: the image is not pinned, or the recipe was stamped before.
    """
    if not _PINNED.fullmatch(image):
        expected = "one with a digest: sha256: and 64 digits"
        raise CommandError(f"the recipe's image: got {image!r}, expected {expected}")
    if UNSTAMPED not in text:
        raise CommandError(f"the recipe: got no {UNSTAMPED}, expected the one that we ship")
    return text.replace(UNSTAMPED, image)


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(f"--platform: got {text!r}, expected KEY=VALUE")
    return name, value


def packaged(package: str) -> tuple[str, str]:
    """A recipe that we ship, and how errors call it."""
    file = files(package) / "recipe.yaml"
    return f"{package}/recipe.yaml", file.read_text(encoding="utf-8")


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")  # editors may write a byte order mark
    except UnicodeDecodeError as error:
        raise CommandError(f"{path}: got bytes that are no UTF-8, expected a recipe") from error


def parse_configuration(text: str) -> tuple[str, dict[str, Any]]:
    """The component and the fields in an option `--configure COMPONENT=JSON`.

    Raises:
        CommandError: it is no such thing.
    """
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise CommandError(f"--configure: got {text!r}, expected COMPONENT=JSON")
    try:
        fields = json.loads(value, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        observed = f"text that is no JSON ({error})"
        raise CommandError(f"--configure {name}: got {observed}, expected an object") from error
    if not isinstance(fields, dict):
        observed = f"a {type(fields).__name__}"
        raise CommandError(f"--configure {name}: got {observed}, expected an object")
    return name, fields


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"the constant {constant}")


def merge(into: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """As a deployment merges: objects key by key, everything else is replaced."""
    merged = dict(into)
    for key, value in fields.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged
