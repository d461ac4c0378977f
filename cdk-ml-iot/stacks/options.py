"""What the context decides, read once by `app.py`; docs/rollout.md has the table.

A value from the command line (`-c name=value`) is text; one from `cdk.json` has JSON's types.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stacks.errors import OptionsError

ARCHITECTURES = ("amd64", "arm64")
NUCLEI = ("classic", "lite")
LOG_RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1827, 3653)
"""Source: Amazon CloudWatch Logs API reference, PutRetentionPolicy."""

_NAME = re.compile(r"[a-z][a-z0-9-]{0,29}")
_GROUP = re.compile(r"[a-zA-Z0-9:_-]{1,128}")  # Source: AWS IoT API reference, CreateThingGroup.
_ROLE = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)
_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")

Find = Callable[[str], Any]
"""Gives the context's value of a name; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """How a deployment goes to a thing group. Bounds are those of AWS IoT jobs.

    Attributes:
        group: the thing group's name.
        base_rate: devices told in a minute at first, 1 to 1000 (`baseRatePerMinute`).
        factor: by which the rate grows, 1 to 5 (`incrementFactor`).
        grow_after: each time so many devices have succeeded (`growAfterSucceeded`).
        most_rate: devices told in a minute at most, 1 to 1000 (`maximumPerMinute`).
        abort_percent: of failed devices, above which no more are told (`abortPercent`).
        abort_after: devices that have to be done before that is looked at (`abortAfter`).
        timeout_minutes: for one device, 1 to 10080 (`timeoutMinutes`).
        notify: whether components are asked before they are updated (`notify`).
        notify_s: how long one may take to answer (`notifySeconds`).
        rollback: whether a device goes back after a failure (`rollback`).
    """

    group: str
    base_rate: int
    factor: float
    grow_after: int
    most_rate: int
    abort_percent: float
    abort_after: int
    timeout_minutes: int
    notify: bool = True
    notify_s: int = 60
    rollback: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What to deploy, and how; the attributes' comments name the context's keys.

    Attributes:
        name: of the stacks: `NAME-release`, `NAME-canary`, `NAME-fleet` (`name`).
        bundle: the bundle's directory (`bundle`).
        report: the JSON report of the gate on it (`report`).
        architecture: of the function and of the devices (`architecture`).
        base_image: the Debian image to build from (`baseImage`).
        memory_mb: of the function, 128 to 10240 (`memoryMb`).
        timeout_s: of the function, 1 to 900 (`timeoutSeconds`).
        log_retention_days: of the functions' logs (`logRetentionDays`).
        role: the token exchange role's name, to attach the policy to (`tokenExchangeRole`).
        nucleus: `classic` or `lite` (`nucleus`).
        nucleus_version: to hold the devices' nucleus at (`nucleusVersion`).
        consumer: whether the sample consumer is deployed, too (`consumer`).
        configuration: merged into the components', by component (`configuration`).
        inference_version: an earlier version to go back to (`inferenceVersion`).
        canary: how the first devices get it (`canaryGroup`, `canary`).
        fleet: how all others get it; None unless asked for (`fleetGroup`, `fleet`,
            `deployToFleet`).
    """

    name: str = "edgexgb"
    bundle: Path
    report: Path
    architecture: str = "amd64"
    base_image: str = "debian:trixie-slim"
    memory_mb: int = 256
    timeout_s: int = 30
    log_retention_days: int = 30
    role: str | None = None
    nucleus: str = "classic"
    nucleus_version: str | None = None
    consumer: bool = True
    configuration: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    inference_version: str | None = None
    canary: Rollout
    fleet: Rollout | None = None


CANARY: Mapping[str, Any] = {
    "baseRatePerMinute": 5,
    "incrementFactor": 1.5,
    "growAfterSucceeded": 5,
    "maximumPerMinute": 50,
    "abortPercent": 1,
    "abortAfter": 1,
    "timeoutMinutes": 60,
    "notify": True,
    "notifySeconds": 60,
    "rollback": True,
}
"""One failure is enough."""

FLEET: Mapping[str, Any] = {
    **CANARY,
    "baseRatePerMinute": 10,
    "incrementFactor": 2,
    "growAfterSucceeded": 10,
    "maximumPerMinute": 200,
    "abortPercent": 5,
    "abortAfter": 10,
    "timeoutMinutes": 180,
}


def read_options(find: Find) -> Options:
    """The options in the context.

    Raises:
        OptionsError: names the key, its value and what was expected.
    """
    components = ("edgexgb.Inference", "edgexgb.Consumer")
    configuration = _object(find, "configuration")
    for name, fields in configuration.items():
        if name not in components or not isinstance(fields, dict):
            expected = f"an object for one of {', '.join(components)}"
            raise OptionsError(f"configuration.{name}: got {_show(fields)}, expected {expected}")
    groups = {
        "canaryGroup": _text(find, "canaryGroup", "edgexgb-canary", _GROUP, "a thing group's name"),
        "fleetGroup": _text(find, "fleetGroup", "edgexgb-fleet", _GROUP, "a thing group's name"),
    }
    if len(set(groups.values())) == 1:
        expected = "another group than canaryGroup, with other devices in it"
        raise OptionsError(f"fleetGroup: got {groups['fleetGroup']!r}, expected {expected}")
    canary = _rollout(find, "canary", groups["canaryGroup"], CANARY)
    fleet = _rollout(find, "fleet", groups["fleetGroup"], FLEET)
    version = "a version such as 2.17.0"
    return Options(
        name=_text(find, "name", "edgexgb", _NAME, "a short name in lower case") or "",
        bundle=_path(find, "bundle", "a bundle's directory, as `edgexgb train` and `pack` make it"),
        report=_path(find, "report", "the JSON that `edgexgb validate BUNDLE --report DIR` writes"),
        architecture=_choice(find, "architecture", ARCHITECTURES),
        base_image=_text(
            find, "baseImage", "debian:trixie-slim", re.compile(r"\S+"), "an image's name"
        ),
        memory_mb=_whole(find, "memoryMb", 256, least=128, most=10_240),
        timeout_s=_whole(find, "timeoutSeconds", 30, least=1, most=900),
        log_retention_days=_retention(find),
        role=_text(find, "tokenExchangeRole", "", _ROLE, "a role's name, not its ARN") or None,
        nucleus=_choice(find, "nucleus", NUCLEI),
        nucleus_version=_text(find, "nucleusVersion", "", _VERSION, version) or None,
        consumer=_flag(find, "consumer", default=True),
        configuration=configuration,
        inference_version=_text(find, "inferenceVersion", "", _VERSION, version) or None,
        canary=canary,
        fleet=fleet if _flag(find, "deployToFleet", default=False) else None,
    )


def check_timeout(name: str, rollout: Rollout, failure_s: int) -> None:
    """Refuses a timeout within which a device could not fail and go back.

    Args:
        name: of the rollout, for the text.
        rollout: see there.
        failure_s: how long a device may take until it sees that a component cannot start.

    Raises:
        OptionsError: the job would be over before the device knows.
    """
    least = -(-2 * failure_s // 60)
    if rollout.timeout_minutes < least:
        expected = f"at least {least}: that long a device may take to fail and to go back"
        raise OptionsError(
            f"{name}.timeoutMinutes: got {rollout.timeout_minutes}, expected {expected}"
        )


def _rollout(find: Find, name: str, group: str, defaults: Mapping[str, Any]) -> Rollout:
    given = _object(find, name)
    unknown = sorted(set(given) - set(defaults))
    if unknown:
        expected = f"one of {', '.join(defaults)}"
        raise OptionsError(f"{name}: got the unknown key {unknown[0]!r}, expected {expected}")

    def find_in(key: str) -> Any:
        return given.get(key.removeprefix(f"{name}."))

    def whole(key: str, most: int) -> int:
        return _whole(find_in, f"{name}.{key}", defaults[key], least=1, most=most)

    rollout = Rollout(
        group=group,
        base_rate=whole("baseRatePerMinute", 1000),
        factor=_number(
            find_in, f"{name}.incrementFactor", defaults["incrementFactor"], 1, 5, digits=1
        ),
        grow_after=whole("growAfterSucceeded", 1_000_000),
        most_rate=whole("maximumPerMinute", 1000),
        abort_percent=_number(
            find_in, f"{name}.abortPercent", defaults["abortPercent"], 0.01, 100, digits=2
        ),
        abort_after=whole("abortAfter", 1_000_000),
        timeout_minutes=whole("timeoutMinutes", 10_080),
        notify=_flag(find_in, f"{name}.notify", default=defaults["notify"]),
        notify_s=whole("notifySeconds", 86_400),
        rollback=_flag(find_in, f"{name}.rollback", default=defaults["rollback"]),
    )
    if rollout.most_rate < rollout.base_rate:
        expected = f"at least {name}.baseRatePerMinute, {rollout.base_rate}"
        raise OptionsError(f"{name}.maximumPerMinute: got {rollout.most_rate}, expected {expected}")
    return rollout


# --- one value ------------------------------------------------------------------------------------


def _text(find: Find, name: str, default: str, pattern: re.Pattern[str], expected: str) -> str:
    value = find(name)
    if value is None or value == "":
        return default
    if not isinstance(value, str) or not pattern.fullmatch(value):
        raise _error(name, value, expected)
    return value


def _choice(find: Find, name: str, choices: tuple[str, ...]) -> str:
    value = find(name)
    if value is None:
        return choices[0]
    if value not in choices:
        raise _error(name, value, f"one of {', '.join(choices)}")
    return str(value)


def _path(find: Find, name: str, expected: str) -> Path:
    value = find(name)
    if not isinstance(value, str) or not value:
        raise _error(name, value, f"{expected} (`-c {name}=…`)")
    return Path(value)


def _flag(find: Find, name: str, *, default: bool) -> bool:
    value = find(name)
    if value is None:
        return default
    if value is True or value == "true":
        return True
    if value is False or value == "false":
        return False
    raise _error(name, value, "true or false")


def _whole(find: Find, name: str, default: int, *, least: int, most: int) -> int:
    value = find(name)
    if value is None:
        return default
    text = str(value) if type(value) in {int, str} else ""
    if not re.fullmatch("[0-9]{1,9}", text) or not least <= int(text) <= most:
        raise _error(name, value, f"a whole number from {least} to {most}")
    return int(text)


def _number(  # noqa: PLR0913, PLR0917  (a name, a default and three bounds)
    find: Find, name: str, default: float, least: float, most: float, digits: int
) -> float:
    value = find(name)
    if value is None:
        return default
    text = str(value) if type(value) in {int, float, str} else ""
    pattern = rf"[0-9]{{1,9}}(\.[0-9]{{1,{digits}}})?"
    if not re.fullmatch(pattern, text) or not least <= float(text) <= most:
        places = f"at most {digits} digit{'s' * (digits > 1)} after the point"
        raise _error(name, value, f"a number from {least:g} to {most:g} with {places}")
    return float(text)


def _retention(find: Find) -> int:
    days = _whole(find, "logRetentionDays", 30, least=1, most=3653)
    if days not in LOG_RETENTION_DAYS:
        expected = f"one of {', '.join(map(str, LOG_RETENTION_DAYS))}"
        raise _error("logRetentionDays", days, expected)
    return days


def _object(find: Find, name: str) -> Mapping[str, Any]:
    value = find(name)
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError as error:
            raise _error(name, value, "an object, or JSON text of one") from error
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise _error(name, value, "an object, or JSON text of one")
    return value


def _error(name: str, value: object, expected: str) -> OptionsError:
    return OptionsError(f"{name}: got {_show(value)}, expected {expected}")


def _show(value: object) -> str:
    if value is None:
        return "nothing"
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}…"
