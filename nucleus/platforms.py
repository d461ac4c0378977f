"""The platform of this device, and whether a manifest is for it.

Source: aws-greengrass-nucleus, PlatformResolver and PlatformHelper; aws-greengrass-lite,
docs/RECIPE_SUPPORT_CHANGES.md.
"""

import platform
import re
from collections.abc import Mapping

from nucleus.errors import RecipeError
from nucleus.personality import Personality

LITE_RUNTIME = "aws_nucleus_lite"

_SYSTEMS = {"Linux": "linux", "Darwin": "darwin"}
_ARCHITECTURES = {
    "x86_64": "amd64",
    "amd64": "amd64",
    "aarch64": "aarch64",
    "arm64": "aarch64",
    "i386": "x86",
    "i686": "x86",
}
_ANYTHING = frozenset({"*", "all", "any"})
"""The latter two are how recipes of 2020 wrote the first."""


def this_platform(
    personality: Personality, overrides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What this machine is, in Greengrass's names: `os`, `architecture`, perhaps `runtime`.

    Args:
        personality: only nucleus lite has a `runtime`.
        overrides: added, or put in place of what was found, as the classic nucleus's setting
            `platformOverride` does.

    Raises:
        RecipeError: the machine is one this device does not run on.
    """
    system = platform.system()
    if system not in _SYSTEMS:
        raise RecipeError("this machine", system, " or ".join(_SYSTEMS))
    machine = platform.machine().lower()
    architecture = "arm" if machine.startswith("armv") else _ARCHITECTURES.get(machine, machine)
    found = {"os": _SYSTEMS[system], "architecture": architecture}
    if personality.name == "lite":
        found["runtime"] = LITE_RUNTIME
    return found | dict(overrides or {})


def fits(wanted: Mapping[str, str], platform_: Mapping[str, str], personality: Personality) -> bool:
    """Whether a manifest's `Platform` is met by a device's.

    A value is exact, `*` (also where the device has no such attribute), or, on the classic nucleus,
    a regular expression between slashes that must match the whole.
    """
    if personality.name == "lite":
        ours = {"*", LITE_RUNTIME, platform_.get("runtime", LITE_RUNTIME)}
        if wanted.get("runtime") not in ours:
            return False
        wanted = {name: value for name, value in wanted.items() if name != "runtime"}
    for name, value in wanted.items():
        if value in _ANYTHING:
            continue
        found = platform_.get(name)
        if found is None:
            return False
        if personality.name == "classic" and (pattern := pattern_of(value)) is not None:
            if re.fullmatch(pattern, found) is None:
                return False
        elif value != found:
            return False
    return True


def pattern_of(value: str) -> str | None:
    """The regular expression in a manifest's value; None where it is an exact one."""
    is_pattern = len(value) > 1 and value.startswith("/") and value.endswith("/")
    return value[1:-1] if is_pattern else None
