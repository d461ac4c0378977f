"""The resources of policies: their grammar, and what they match.

`*` stands for any characters, `/` among them, and `${*}`, `${?}`, `${$}` for the character inside.
For the MQTT proxy `+` and `#` are wildcards as well; elsewhere they are ordinary characters.
"""

import re

_ESCAPE = re.compile(r"\$\{([*?$])\}")
_VARIABLE = re.compile(r"(?<!\$)\{([^}]*)\}?")


class ResourceError(ValueError):
    """A resource that breaks the grammar.

    Attributes:
        observed: what was found.
        expected: what should have been.
    """

    def __init__(self, observed: str, expected: str) -> None:
        super().__init__(f"got {observed}, expected {expected}")
        self.observed = observed
        self.expected = expected


def validate(resource: str) -> None:
    """Checks a resource against the grammar, which both nuclei share.

    Source: AuthorizationModule.java, `validateResource`; policy_validation.c.

    Raises:
        ResourceError: it has a bare `?`, or `${` that starts no escape.
    """
    rest = _ESCAPE.sub("", resource)
    if "${" in rest:
        raise ResourceError(repr(resource), "no other escape than ${*}, ${?} or ${$}")
    if "?" in rest:
        raise ResourceError(repr(resource), "'?' only in the escape ${?}")


def interpolate(resource: str, thing_name: str) -> str:
    """The resource with `{iot:thingName}` replaced.

    Raises:
        ResourceError: it has another `{…}`.
    """

    def replace(found: re.Match[str]) -> str:
        if found.group() != "{iot:thingName}":
            raise ResourceError(repr(resource), "no other variable than {iot:thingName}")
        return thing_name

    return _VARIABLE.sub(replace, resource)


def to_patterns(resource: str, *, is_mqtt: bool, is_lite: bool) -> list[re.Pattern[str]]:
    """The patterns of which one matches the whole of what the resource stands for.

    Args:
        resource: one that `validate` passes.
        is_mqtt: whether `+` and `#` are wildcards. Classic wants each to be a level of its own, and
            `abc/#` matches `abc`; on lite they may stand anywhere, but not beside a `*`, and
            `abc/#` does not match `abc`.
        is_lite: which of the two it is.
    """
    patterns = [_glob(resource, has_levels=is_mqtt and not is_lite)]
    if is_mqtt and is_lite and "*" not in resource and "${" not in resource:
        patterns.append(re.compile(_lite_filter(resource), re.DOTALL))
    return patterns


def _glob(resource: str, *, has_levels: bool) -> re.Pattern[str]:
    """The pattern of a glob.

    What stands between two stars is best matched as early as can be, whatever follows; so it is
    atomic, and no policy can stall the device by backtracking.
    """
    first, *others = _parts(resource, has_levels=has_levels)
    if not others:
        return re.compile(first, re.DOTALL)
    *middle, last = others
    return re.compile(first + "".join(f"(?>.*?{it})" for it in middle) + f".*{last}", re.DOTALL)


def _parts(resource: str, *, has_levels: bool) -> list[str]:
    """The regexes between the stars of a resource."""
    parts = [""]
    at = 0
    while at < len(resource):
        character = resource[at]
        escape = _ESCAPE.match(resource, at)
        if escape:
            parts[-1] += re.escape(escape[1])
            at = escape.end()
            continue
        if character == "*":
            parts.append("")
        elif has_levels and resource[at:] == "/#":
            parts[-1] += "(?:/.*)?"
            break
        elif has_levels and _is_level(resource, at, "#") and at == len(resource) - 1:
            parts[-1] += ".*"
        elif has_levels and _is_level(resource, at, "+"):
            parts[-1] += "[^/]*"
        else:
            parts[-1] += re.escape(character)
        at += 1
    return parts


def _is_level(resource: str, at: int, wildcard: str) -> bool:
    """Whether the character there is the wildcard, alone between slashes or ends."""
    before, after = resource[:at][-1:], resource[at + 1 : at + 2]
    return resource[at] == wildcard and before in ("", "/") and after in ("", "/")


def _lite_filter(resource: str) -> str:
    """The regex of a topic filter as lite matches it.

    Source: mqttproxy.c, `match_topic_filter`.
    """
    before, is_open, _ = resource.partition("#")
    regex = re.escape(before).replace(r"\+", "[^/]*+")
    return f"{regex}.*" if is_open else regex
