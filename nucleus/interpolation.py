"""Placeholders in a recipe's lifecycle, such as `{configuration:/topic}`, and their values.

The two nuclei agree on the names and on little else: the classic one leaves what it does not know
as it is, so that the shell sees it, and puts configuration into the script unescaped; nucleus lite
takes every brace for a placeholder, fails where it is none, and escapes what it puts in.

Source: aws-greengrass-nucleus, KernelConfigResolver; aws-greengrass-lite, modules/recipe-runner.
"""

import json
import logging
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from nucleus.configuration import pointer
from nucleus.errors import InterpolationError
from nucleus.personality import CLASSIC, Personality

_log = logging.getLogger(__name__)

_OWN = re.compile(r"\{([.\w-]+):([^:}]+)\}", re.ASCII)
_OTHERS = re.compile(r"\{([.\w-]+):([.\w-]+):([^:}]+)\}", re.ASCII)
_BRACE = re.compile(r"\{([^}]*)(\}?)")
_SHELL_ACTIVE = re.compile(r'(["\\$`])')
_PATHS = frozenset(
    {
        ("kernel", "rootPath"),
        ("iot", "thingName"),
        ("work", "path"),
        ("artifacts", "path"),
        ("artifacts", "decompressedPath"),
    }
)
_MAX_LITE_PLACEHOLDER_BYTES = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ComponentPaths:
    """The directories of one version of a component; none ends in a slash.

    Attributes:
        artifacts: where its files are.
        artifacts_unarchived: where its zip files are unpacked, each in a directory of its own.
        work: where its scripts run.
    """

    artifacts: str
    artifacts_unarchived: str
    work: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InterpolationContext:
    """What placeholders can stand for.

    Attributes:
        component: whose text it is.
        configuration: of a component, by name; None where the device has no such component.
        paths: likewise.
        kernel_root: the device's directory.
        thing_name: of the device.
        dependencies: the components whose values may be used besides its own.
        personality: whose rules.
    """

    component: str
    configuration: Callable[[str], Mapping[str, Any] | None]
    paths: Callable[[str], ComponentPaths | None]
    kernel_root: str
    thing_name: str
    dependencies: Collection[str] = field(default_factory=frozenset)
    personality: Personality = CLASSIC


def interpolate(text: str, context: InterpolationContext) -> str:
    """A script with the values of its placeholders.

    Raises:
        InterpolationError: a JSON pointer that is none; on nucleus lite any placeholder that has no
            value.
    """
    if context.personality.name == "lite":
        return _BRACE.sub(lambda found: _lite_value(found, context, in_shell=True), text)
    return _interpolate_classic(text, context)


def interpolate_variable(text: str, context: InterpolationContext) -> str:
    """The value of an environment variable with the values of its placeholders.

    As `interpolate`, but nothing is escaped: no shell reads it.

    Raises:
        InterpolationError: as there.
    """
    if context.personality.name == "lite":
        return _BRACE.sub(lambda found: _lite_value(found, context, in_shell=False), text)
    return _interpolate_classic(text, context)


def foreign_braces(text: str) -> Iterator[str]:
    """The braces of a text, each with its content, that are no placeholder of nucleus lite."""
    for found in _BRACE.finditer(text):
        namespace, _, key = found[1].partition(":")
        is_known = (namespace, key) in _PATHS or (namespace == "configuration" and key[:1] == "/")
        if not (found[2] and is_known and len(found[1].encode()) <= _MAX_LITE_PLACEHOLDER_BYTES):
            yield found[0]


def _interpolate_classic(text: str, context: InterpolationContext) -> str:
    def own(found: re.Match[str]) -> str:
        return _classic_value(found, context.component, found[1], found[2], context)

    def others(found: re.Match[str]) -> str:
        if found[1] not in context.dependencies:
            _log.error("%s: %s is no direct dependency", context.component, found[0])
            return found[0]
        return _classic_value(found, found[1], found[2], found[3], context)

    # Two passes, as there: a value with a placeholder for another component gets that one's value.
    return _OTHERS.sub(others, _OWN.sub(own, text))


def _classic_value(
    found: re.Match[str], component: str, namespace: str, key: str, context: InterpolationContext
) -> str:
    """The value of one placeholder; the placeholder itself where there is none."""
    if namespace == "configuration":
        value = _configured(found[0], component, key, context)
    else:
        value = _path(component, namespace, key, context)
    if value is None:
        _log.error("%s: nothing to put in place of %s", context.component, found[0])
        return found[0]
    return value


def _lite_value(found: re.Match[str], context: InterpolationContext, *, in_shell: bool) -> str:
    """The value of one placeholder.

    Raises:
        InterpolationError: there is none.
    """
    if not found[2]:
        raise InterpolationError(found[0][:60], "no end", "a '}'")
    if any(True for _ in foreign_braces(found[0])):
        raise InterpolationError(found[0], "a placeholder nucleus lite does not know", "another")
    namespace, _, key = found[1].partition(":")
    if namespace != "configuration":
        path = _path(context.component, namespace, key, context)
        if path is None:
            raise InterpolationError(found[0], "a component without paths", "one with paths")
        return path if namespace in {"kernel", "iot"} else f"{path}/"
    value = _configured(found[0], context.component, key, context)
    if value is None:
        raise InterpolationError(found[0], "no such configuration", "a value")
    return _SHELL_ACTIVE.sub(r"\\\1", value) if in_shell else value


def _path(component: str, namespace: str, key: str, context: InterpolationContext) -> str | None:
    if (namespace, key) == ("kernel", "rootPath"):
        return context.kernel_root
    if (namespace, key) == ("iot", "thingName"):
        return context.thing_name
    paths = context.paths(component)
    if paths is None:
        return None
    return {
        ("work", "path"): paths.work,
        ("artifacts", "path"): paths.artifacts,
        ("artifacts", "decompressedPath"): paths.artifacts_unarchived,
    }.get((namespace, key))


def _configured(
    placeholder: str, component: str, reference: str, context: InterpolationContext
) -> str | None:
    """A component's configured value as text; None where there is none.

    Scalars stand as they are, null as `null`, objects and lists as compact JSON in the order of
    their keys.

    Raises:
        InterpolationError: the pointer is none.
    """
    configuration = context.configuration(component)
    if configuration is None:
        return None
    try:
        value = pointer(configuration, reference)
    except KeyError:
        return None
    except ValueError as error:
        expected = "one such as '/key'"
        raise InterpolationError(placeholder, "a pointer without a slash", expected) from error
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)
