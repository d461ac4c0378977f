"""Recipes as the cloud gets them: the very files, with version, artifacts and platform filled in.

Computed here and not by the command: where the image lies is known only while the stack is
deployed, so that no file could hold it.
"""

import copy
import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacks.errors import OptionsError

MAX_RECIPE_BYTES = 16_000
"""Source: aws-greengrass-gdk-cli 1.6.2, which refuses larger ones; nucleus lite takes 16 KiB."""

_DOCKER = "docker:"
_PATCHES = 2**31
"""Classic's nucleus reads each number of a version as Java's int. Source: semver4j 3."""

_DOCKER_NEEDS = ("aws.greengrass.DockerApplicationManager", "aws.greengrass.TokenExchangeService")
_DOCKER_RANGE = ">=2.0.0 <2.1.0"  # nucleus lite reads no `~`

Recipe = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamped:
    """A recipe that is ready to become a component version.

    Attributes:
        name: the component's.
        version: the component's, which follows from everything that decides what a device runs.
        text: the recipe as JSON; what only the deployment knows stands in it as CDK's tokens.
    """

    name: str
    version: str
    text: str


def read_recipe(path: Path) -> Recipe:
    """The recipe in a file.

    Raises:
        OptionsError: there is none, or it has aliases.
    """
    try:
        text = path.read_text(encoding="utf-8")
        has_alias = any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text))
        recipe = yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        observed = f"no recipe ({' '.join(str(error).split())})"
        raise OptionsError(f"{path}: got {observed}, expected one") from error
    if has_alias:  # a few lines of them are gigabytes, once they are written as JSON
        raise OptionsError(f"{path}: got an alias, expected a recipe without any")
    if not isinstance(recipe, dict) or not isinstance(recipe.get("Manifests"), list):
        raise OptionsError(f"{path}: got no recipe, expected an object with Manifests")
    return recipe


def stamp_image(
    recipe: Mapping[str, Any], *, uri: str, content: str, architecture: str, nucleus: str
) -> Stamped:
    """The inference component's recipe, for an image.

    Args:
        recipe: its file's content, which names one image in a `docker:` artifact and in scripts.
        uri: the image's, with registry and digest; may be a token.
        content: what stands for the image's content in the version.
        architecture: docker's name of it; only devices of this architecture fit.
        nucleus: `classic`, where docker needs two more components, or `lite`, with both inside.

    Raises:
        OptionsError: the recipe names no image.
    """
    stamped = copy.deepcopy(dict(recipe))
    images = {uri for _, uri in _artifacts(stamped) if uri.startswith(_DOCKER)}
    if len(images) != 1:
        observed = f"{len(images)} images"
        raise OptionsError(f"{stamped['ComponentName']}: got {observed}, expected one to replace")
    for manifest, artifact in _artifacts(stamped):
        if artifact in images:
            names = {"amd64": "amd64", "arm64": "aarch64"}
            manifest["Platform"]["architecture"] = names[architecture]
    if nucleus == "classic":
        for name in _DOCKER_NEEDS:
            stamped.setdefault("ComponentDependencies", {})[name] = {
                "VersionRequirement": _DOCKER_RANGE,
                "DependencyType": "HARD",
            }
    old = images.pop().removeprefix(_DOCKER)
    version = component_version(_replace(stamped, old, content))
    return _stamped(_replace(stamped, old, uri), version)


def stamp_archive(recipe: Mapping[str, Any], *, prefix: str, key: str, content: str) -> Stamped:
    """The consumer's recipe, for an archive.

    Args:
        recipe: its file's content, with one manifest.
        prefix: of the archive's address, as far as it is the same for every version; may hold a
            token.
        key: the rest; `{version}` in it is filled in.
        content: the archive's sha256.
    """
    stamped = copy.deepcopy(dict(recipe))
    artifact: Recipe = {"URI": content, "Unarchive": "ZIP"}
    stamped["Manifests"][0]["Artifacts"] = [artifact]
    version = component_version(stamped)
    artifact["URI"] = f"{prefix}{key.format(version=version)}"
    return _stamped(stamped, version)


def check_size(stamped: Stamped) -> None:
    """Refuses a recipe that is too large, whatever the tokens in it become.

    Raises:
        OptionsError: says how large it is.
    """
    # A token is shorter than an image's address: 12 digits, a region, a name and a digest.
    n_bytes = len(stamped.text.encode()) + 4 * 250
    if n_bytes > MAX_RECIPE_BYTES:
        expected = f"at most {MAX_RECIPE_BYTES}"
        raise OptionsError(f"{stamped.name}: got a recipe of {n_bytes} bytes, expected {expected}")


def longest_failure_s(recipe: Mapping[str, Any]) -> int:
    """How long a device may take until it sees that the component cannot start: three attempts.

    Source: aws-greengrass-nucleus 2.18, lifecyclemanager/Lifecycle.java, with its default timeouts.
    """
    defaults = {"startup": 120, "shutdown": 15, "recover": 60}
    longest = 0
    for manifest in recipe["Manifests"]:
        steps = {name.lower(): step for name, step in manifest.get("Lifecycle", {}).items()}
        once = 0
        for name, default in defaults.items():
            step = steps.get(name)
            if step is not None:
                once += int(step.get("Timeout", default)) if isinstance(step, dict) else default
        longest = max(longest, once)
    return 3 * longest


def _artifacts(recipe: Mapping[str, Any]) -> Iterator[tuple[Recipe, str]]:
    for manifest in recipe["Manifests"]:
        for artifact in manifest.get("Artifacts", []):
            yield manifest, artifact["URI"]


def _replace(value: Any, old: str, new: str) -> Any:
    match value:
        case str():
            return value.replace(old, new)
        case list():
            return [_replace(item, old, new) for item in value]
        case dict():
            return {key: _replace(item, old, new) for key, item in value.items()}
    return value


def component_version(recipe: Mapping[str, Any]) -> str:
    """MAJOR.MINOR of the file, and a patch number out of all that the recipe says.

    Numbers, so that ranges such as `>=0.1.0` include it; their order means nothing.
    """
    text = json.dumps(recipe, sort_keys=True)
    patch = int.from_bytes(hashlib.sha256(text.encode()).digest()) % _PATCHES
    major, minor, _ = str(recipe["ComponentVersion"]).split(".")
    return f"{major}.{minor}.{patch}"


def _stamped(recipe: Recipe, version: str) -> Stamped:
    recipe["ComponentVersion"] = version
    text = json.dumps(recipe, ensure_ascii=False, separators=(",", ":"))
    return Stamped(name=recipe["ComponentName"], version=version, text=text)
