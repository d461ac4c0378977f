"""Recipes: what a component is, what it needs, and what to run on which platform.

Source: AWS IoT Greengrass V2 developer guide, component recipe reference; aws-greengrass-nucleus,
RecipeLoader and PlatformResolver; aws-greengrass-lite, docs/RECIPE_SUPPORT_CHANGES.md.
"""

import logging
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from semantic_version import Version

from nucleus.dependencies import Dependency, parse_dependencies
from nucleus.errors import RecipeError
from nucleus.interpolation import foreign_braces
from nucleus.personality import CLASSIC, Personality
from nucleus.platforms import LITE_RUNTIME, fits, pattern_of
from nucleus.recipe_text import Section, describe, parse_text
from nucleus.steps import Step, parse_lifecycle, select_steps

__all__ = [
    "NOT_MODELLED",
    "Artifact",
    "Manifest",
    "Recipe",
    "Step",
    "choose_manifest",
    "parse_recipe",
]

FORMAT = "2020-01-25"
GENERIC = "aws.greengrass.generic"

NOT_MODELLED = {
    "bootstrap": "it may restart the nucleus or reboot the machine",
    "uninstall": "nothing is ever removed by a script here",
    "s3": "nothing is downloaded; put the file among the local artifacts",
    "greengrass": "nothing is downloaded; put the file among the local artifacts",
    "aws.greengrass.lambda": "Lambda functions are not run as components",
    "aws.greengrass.plugin": "it would run inside the nucleus, in Java",
    "aws.greengrass.nucleus": "this device is the nucleus",
}
"""What is refused aloud, and why: steps, schemes of artifacts, types of components.

Two more things are passed over, each with a line in the log: images of `docker:` artifacts are not
pulled, and `RequiresPrivilege` changes no user.
"""

MAX_NAME = 128
MAX_VERSION = 64
MAX_RECIPE_BYTES = 16 * 1024
"""Of nucleus lite, which refuses a longer one; the cloud's own limit is about the same."""
MAX_LITE_SCRIPT_BYTES = 10_000
"""Source: aws-greengrass-lite, modules/recipe-runner/src/runner.c."""

_NAME = re.compile(r"[A-Za-z0-9._-]+")
_LITE_STEPS = frozenset({"install", "run", "startup"})
_LITE_IGNORES = frozenset({"shutdown", "recover"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A file or image that a manifest needs.

    Attributes:
        uri: as written.
        unarchive: whether it is a zip file that is unpacked.
    """

    uri: str
    unarchive: bool = False

    @property
    def scheme(self) -> str:
        """`s3`, `docker` or `greengrass`."""
        return self.uri.partition(":")[0].lower()

    @property
    def file_name(self) -> str:
        """The last part of the URI: what the file is called on the device."""
        return self.uri.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What to run on one kind of platform.

    Attributes:
        place: where it stands in the recipe.
        platform: attribute and wanted value, see `nucleus.platforms.fits`.
        lifecycle: the steps by name: the manifest's own, else what `selections` take from the
            recipe's. Names are in lower case, but as written on nucleus lite.
        setenv: environment of every step.
        artifacts: what it needs.
        selections: keys of the recipe's own lifecycle.
    """

    place: str
    platform: Mapping[str, str]
    lifecycle: Mapping[str, Step]
    setenv: Mapping[str, str]
    artifacts: tuple[Artifact, ...] = ()
    selections: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A component.

    Attributes:
        place: how errors call the recipe, such as its file name.
        name: of the component.
        version: semantic.
        description: for people.
        publisher: for people.
        configuration: the default configuration.
        dependencies: other components by name.
        manifests: in the order of the recipe.
    """

    place: str
    name: str
    version: Version
    description: str
    publisher: str
    configuration: Mapping[str, Any]
    dependencies: Mapping[str, Dependency]
    manifests: tuple[Manifest, ...]


def parse_recipe(text: str, place: str, personality: Personality = CLASSIC) -> Recipe:
    """A recipe from JSON or YAML.

    Args:
        text: the whole of it.
        place: how errors call it, such as its file name.
        personality: the classic nucleus takes keys in any case; nucleus lite does not, and it keeps
            YAML's scalars as text.

    Raises:
        RecipeError: it is no recipe, or a component of a kind that is not run here.
    """
    is_lite = personality.name == "lite"
    _check_size(text, place, is_lite=is_lite)
    root = parse_text(text, place, exact_keys=is_lite, only_text=is_lite)
    root.warn_of_others(_RECIPE_FIELDS)
    if (found := root.text("RecipeFormatVersion")) != FORMAT:
        raise RecipeError(root.place_of("RecipeFormatVersion"), repr(found), repr(FORMAT))
    kind = root.optional_text("ComponentType", GENERIC)
    if kind != GENERIC:
        why = f" ({NOT_MODELLED[kind]})" if kind in NOT_MODELLED else ""
        raise RecipeError(root.place_of("ComponentType"), f"{kind!r}{why}", repr(GENERIC))
    configuration = root.section("ComponentConfiguration").section("DefaultConfiguration")
    manifests = _parse_manifests(root)
    if not manifests:
        raise RecipeError(root.place_of("Manifests"), "none", "one at least")
    return Recipe(
        place=place,
        name=_parse_name(root),
        version=_parse_version(root),
        description=root.optional_text("ComponentDescription"),
        publisher=root.optional_text("ComponentPublisher"),
        configuration=configuration.fields,
        dependencies=parse_dependencies(root.section("ComponentDependencies"), personality),
        manifests=manifests,
    )


def choose_manifest(
    recipe: Recipe,
    platform: Mapping[str, str],
    personality: Personality,
    local_artifacts: Collection[str] = (),
) -> Manifest:
    """The first manifest that fits, if this device can do what it asks for.

    Args:
        recipe: of the component.
        platform: see `nucleus.platforms.this_platform`.
        personality: decides about what fits, and about nucleus lite's limits.
        local_artifacts: names of files at hand, so that they need no download.

    Raises:
        RecipeError: none fits, or the one that does asks for what is not modelled.
    """
    for manifest in recipe.manifests:
        if fits(manifest.platform, platform, personality):
            break
    else:
        raise _no_manifest(recipe, platform, personality)
    if personality.name == "lite":
        manifest = _as_on_lite(manifest)
    for name in manifest.lifecycle:
        if name in NOT_MODELLED:
            place = f"{manifest.place}.Lifecycle.{name}"
            raise RecipeError(place, f"a step ({NOT_MODELLED[name]})", "a recipe without it")
    if "run" in manifest.lifecycle and "startup" in manifest.lifecycle:
        raise RecipeError(f"{manifest.place}.Lifecycle", "both run and startup", "one of them")
    for i, artifact in enumerate(manifest.artifacts):
        _check_artifact(artifact, f"{manifest.place}.Artifacts[{i}].URI", local_artifacts)
    return manifest


def _check_size(text: str, place: str, *, is_lite: bool) -> None:
    try:
        size_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise RecipeError(place, "half a character", "UTF-8") from error
    if size_bytes <= MAX_RECIPE_BYTES:
        return
    if is_lite:
        raise RecipeError(place, f"{size_bytes} bytes", f"{MAX_RECIPE_BYTES} at most")
    _log.warning("%s: got %d bytes; the cloud takes %d", place, size_bytes, MAX_RECIPE_BYTES)


def _parse_name(root: Section) -> str:
    name = root.text("ComponentName")
    # It becomes part of paths: `..` would leave the device's directory.
    if len(name) > MAX_NAME or _NAME.fullmatch(name) is None or not name.strip("."):
        expected = f"at most {MAX_NAME} letters, digits, '-', '_' and '.'"
        raise RecipeError(root.place_of("ComponentName"), describe(name), expected)
    return name


def _parse_version(root: Section) -> Version:
    text = root.text("ComponentVersion")
    place = root.place_of("ComponentVersion")
    if len(text) > MAX_VERSION:
        raise RecipeError(place, describe(text), f"at most {MAX_VERSION} characters")
    try:
        return Version(text)
    except ValueError as error:
        raise RecipeError(place, repr(text), "a semantic version such as '1.0.0'") from error


def _parse_manifests(root: Section) -> tuple[Manifest, ...]:
    """Every manifest, with the steps that it has or selects."""
    common = root.section("Lifecycle")
    sections = root.sections("Manifests")
    selections = [_parse_selections(section) for section in sections]
    keywords = {"all", *(key for keys in selections for key in keys)}
    found = []
    for section, keys in zip(sections, selections, strict=True):
        section.warn_of_others(_MANIFEST_FIELDS)
        own = section.section("Lifecycle")
        if not own.fields:
            selected = select_steps(common.fields, keywords, keys)
            if not isinstance(selected, dict):
                raise RecipeError(f"{common.place}, selected", describe(selected), "an object")
            own = Section(common.place, selected, common.exact_keys)
        lifecycle, setenv = parse_lifecycle(own)
        found.append(
            Manifest(
                place=section.place,
                platform=_parse_platform(section.section("Platform")),
                lifecycle=lifecycle,
                setenv=setenv,
                artifacts=tuple(_parse_artifact(item) for item in section.sections("Artifacts")),
                selections=keys,
            )
        )
    return tuple(found)


def _parse_selections(section: Section) -> tuple[str, ...]:
    value = section.value("Selections")
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(key, str) for key in value):
        raise RecipeError(section.place_of("Selections"), describe(value), "a list of texts")
    return tuple(value)


def _parse_platform(section: Section) -> dict[str, str]:
    found = {}
    for key, value in section.fields.items():
        place = section.place_of(key)
        if not isinstance(value, str):
            raise RecipeError(place, describe(value), "text")
        if (pattern := pattern_of(value)) is not None:
            try:
                re.compile(pattern)
            except (re.error, OverflowError, RecursionError) as error:
                raise RecipeError(place, describe(value), f"a pattern ({error})") from error
        found[key if section.exact_keys else key.lower()] = value
    return found


def _parse_artifact(section: Section) -> Artifact:
    section.warn_of_others(_ARTIFACT_FIELDS)
    unarchive = section.optional_text("Unarchive", "NONE")
    if unarchive not in {"NONE", "ZIP"}:
        raise RecipeError(section.place_of("Unarchive"), repr(unarchive), "'NONE' or 'ZIP'")
    return Artifact(uri=section.text("URI"), unarchive=unarchive == "ZIP")


def _check_artifact(artifact: Artifact, place: str, local_artifacts: Collection[str]) -> None:
    scheme = artifact.scheme
    if scheme == "docker":
        _log.info("%s: %s is not pulled; it must be on this machine", place, artifact.uri)
    elif scheme not in NOT_MODELLED:
        raise RecipeError(place, repr(artifact.uri), "s3:, greengrass: or docker:")
    elif artifact.file_name not in local_artifacts:
        raise RecipeError(
            place, f"{artifact.uri!r} ({NOT_MODELLED[scheme]})", f"{artifact.file_name!r} at hand"
        )


def _no_manifest(
    recipe: Recipe, platform: Mapping[str, str], personality: Personality
) -> RecipeError:
    def shown(attributes: Mapping[str, str]) -> str:
        return ", ".join(f"{key} {value}" for key, value in attributes.items()) or "anything"

    offered = "; ".join(shown(manifest.platform) for manifest in recipe.manifests)
    expected = f"one for {shown(platform)}"
    if personality.name == "lite":
        expected += f" (nucleus lite takes only those with a runtime of '*' or '{LITE_RUNTIME}')"
    return RecipeError(f"{recipe.place}: Manifests", f"manifests for {offered}", expected)


def _as_on_lite(manifest: Manifest) -> Manifest:
    """The manifest without what nucleus lite passes over.

    Raises:
        RecipeError: it holds what nucleus lite stumbles over.
    """
    steps = {}
    for name, step in manifest.lifecycle.items():
        place = f"{manifest.place}.Lifecycle.{name}"
        if name.lower() in _LITE_STEPS | _LITE_IGNORES and name != name.lower():
            raise RecipeError(place, repr(name), f"{name.lower()!r}, in lower case")
        if name in _LITE_IGNORES:
            _log.warning("%s: nucleus lite has no such step; it is ignored", place)
            continue
        if step.skipif is not None:
            _log.warning("%s: nucleus lite has no Skipif; it is ignored", place)
        size_bytes = len(step.script.encode())
        if size_bytes > MAX_LITE_SCRIPT_BYTES:
            expected = f"{MAX_LITE_SCRIPT_BYTES} at most"
            raise RecipeError(place, f"a script of {size_bytes} bytes", expected)
        for text in (step.script, *step.environment.values(), *manifest.setenv.values()):
            for brace in foreign_braces(text):
                expected = "a placeholder: nucleus lite takes every '{' for the start of one"
                raise RecipeError(place, describe(brace), expected)
        steps[name] = Step(
            script=step.script,
            timeout_s=step.timeout_s,
            requires_privilege=step.requires_privilege,
            environment=step.environment,
        )
    return Manifest(
        place=manifest.place,
        platform=manifest.platform,
        lifecycle=steps,
        setenv=manifest.setenv,
        artifacts=manifest.artifacts,
        selections=manifest.selections,
    )


_RECIPE_FIELDS = frozenset(
    {
        "RecipeFormatVersion",
        "ComponentName",
        "ComponentVersion",
        "ComponentDescription",
        "ComponentPublisher",
        "ComponentType",
        "ComponentSource",
        "ComponentConfiguration",
        "ComponentDependencies",
        "Manifests",
        "Lifecycle",
    }
)
_MANIFEST_FIELDS = frozenset({"Name", "Platform", "Lifecycle", "Artifacts", "Selections"})
_ARTIFACT_FIELDS = frozenset({"URI", "Unarchive", "Permission", "Digest", "Algorithm"})
