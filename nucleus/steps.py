"""The steps of a lifecycle, from a recipe.

Source: AWS IoT Greengrass V2 developer guide, component recipe reference; aws-greengrass-nucleus,
GenericExternalService and PlatformResolver.
"""

import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from nucleus.errors import RecipeError
from nucleus.recipe_text import Section, describe

STEPS = ("install", "run", "startup", "shutdown", "recover", "bootstrap", "uninstall")

_SKIP = re.compile(r"!?\s*(exists|onpath) +(\S.*)")
_WHOLE = re.compile("[0-9]{1,18}")
_FIELDS = frozenset({"Script", "Timeout", "RequiresPrivilege", "Skipif", "Setenv"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of a lifecycle.

    Attributes:
        script: for `sh -c`, with its placeholders as written.
        timeout_s: None where the step's own default holds.
        requires_privilege: whether a nucleus would run it as root.
        skipif: `exists PATH` or `onpath COMMAND`, perhaps after `!`; None where it always runs.
        environment: of this step alone.
    """

    script: str
    timeout_s: float | None = None
    requires_privilege: bool = False
    skipif: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def select_steps(tree: object, keywords: Collection[str], keys: Collection[str]) -> Any:
    """What a manifest's selections leave of the recipe's own lifecycle.

    Where a level, the lifecycle itself or a step, has the key of any selection, the first of the
    manifest's own that is there is taken, else `all`, else nothing.

    Source: aws-greengrass-nucleus, PlatformResolver.filterPlatform.
    """
    if not isinstance(tree, Mapping):
        return tree
    if any(key in keywords for key in tree):
        for key in (*keys, "all"):
            if tree.get(key) is not None:
                return select_steps(tree[key], keywords, keys)
        return {}
    # An empty result is that of a level whose selections are all of other platforms.
    found = {key: select_steps(value, keywords, keys) for key, value in tree.items()}
    return {key: value for key, value in found.items() if value != {} or tree[key] == {}}


def parse_lifecycle(section: Section) -> tuple[dict[str, Step], dict[str, str]]:
    """The steps by name, and the environment of all of them.

    Raises:
        RecipeError: a step that no nucleus has, or one that is none.
    """
    steps, setenv = {}, _parse_environment(section, "Setenv")
    for key, value in section.fields.items():
        name = key if section.exact_keys else key.lower()
        if name.lower() == "setenv":
            continue
        if name.lower() not in STEPS:
            raise RecipeError(section.place_of(key), "a step", f"one of {', '.join(STEPS)}")
        if name in steps:
            raise RecipeError(section.place, f"the step {name!r} twice", "it once")
        if value is not None:
            steps[name] = _parse_step(section, key, value)
    return steps, setenv


def _parse_step(lifecycle: Section, key: str, value: object) -> Step:
    if isinstance(value, str):
        return Step(script=value)
    if not isinstance(value, dict):
        place = lifecycle.place_of(key)
        raise RecipeError(place, describe(value), "text or an object")
    section = lifecycle.section(key)
    section.warn_of_others(_FIELDS)
    script = section.optional_text("Script")
    if not script:
        raise RecipeError(section.place_of("Script"), describe(section.value("Script")), "text")
    skipif = section.optional_text("Skipif").strip() or None
    if skipif is not None and _SKIP.fullmatch(skipif) is None:
        expected = "'exists PATH' or 'onpath COMMAND', perhaps after '!'"
        raise RecipeError(section.place_of("Skipif"), repr(skipif), expected)
    return Step(
        script=script,
        timeout_s=_parse_timeout(section),
        requires_privilege=_parse_flag(section, "RequiresPrivilege"),
        skipif=skipif,
        environment=_parse_environment(section, "Setenv"),
    )


def _parse_timeout(section: Section) -> float | None:
    value = section.value("Timeout")
    if value is None:
        return None
    if isinstance(value, str) and _WHOLE.fullmatch(value.strip()):
        value = int(value)  # as nucleus lite keeps it
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(seconds := float(str(value))) or seconds <= 0:
        raise RecipeError(section.place_of("Timeout"), describe(value), "a number of seconds")
    return seconds


def _parse_flag(section: Section, name: str) -> bool:
    value = section.value(name)
    if value is None:
        return False
    if str(value).lower() not in {"true", "false"}:
        raise RecipeError(section.place_of(name), describe(value), "true or false")
    return str(value).lower() == "true"


def _parse_environment(section: Section, name: str) -> dict[str, str]:
    variables = section.section(name)
    found = {}
    for key, value in variables.fields.items():
        if value is None or isinstance(value, dict | list) or not key or "=" in key:
            raise RecipeError(variables.place_of(key), describe(value), "a variable and its text")
        found[key] = str(value).lower() if isinstance(value, bool) else str(value)
    return found
