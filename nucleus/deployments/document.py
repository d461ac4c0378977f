"""What a deployment asks for."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

from semantic_version import Version

from nucleus.configuration import parse_pointer
from nucleus.errors import DeploymentError
from nucleus.recipe_text import describe

_POLICIES = ("ROLLBACK", "DO_NOTHING")


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationUpdate:
    """What a deployment changes in the configuration of a component.

    Attributes:
        merge: JSON that is merged over what is there.
        reset: JSON pointers to what goes back to the recipe's default, before that.
    """

    merge: Mapping[str, Any] = field(default_factory=dict)
    reset: tuple[str, ...] = ()


NO_UPDATE = ConfigurationUpdate()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A local deployment.

    Attributes:
        id: unique; components quote it when they defer.
        created_ms: since 1970; a component's own write of later is newer than the deployment.
        add: root components and their versions, added to those that there are.
        remove: root components that go.
        configurations: by component.
        recipes: the directory of recipes; None where the device has them all.
        artifacts: the directory of artifacts; None where there are none.
        rolls_back: whether what has failed is undone.
    """

    id: str = field(default_factory=lambda: str(uuid4()))
    created_ms: int = field(default_factory=lambda: time.time_ns() // 1_000_000)
    add: Mapping[str, Version] = field(default_factory=dict)
    remove: tuple[str, ...] = ()
    configurations: Mapping[str, ConfigurationUpdate] = field(default_factory=dict)
    recipes: Path | None = None
    artifacts: Path | None = None
    rolls_back: bool = True


def parse_deployment(request: Mapping[str, Any]) -> Deployment:
    """The deployment that a CreateLocalDeployment request asks for.

    Source: aws-greengrass-nucleus, builtin/services/cli/CLIEventStreamAgent.java and
    LocalOverrideRequest; the shape CreateLocalDeploymentRequest.

    Raises:
        DeploymentError: it asks for nothing, or a field is not what it should be.
    """
    add = {
        name: _version(name, text)
        for name, text in _map(request, "rootComponentVersionsToAdd").items()
    }
    remove = request.get("rootComponentsToRemove") or []
    if not isinstance(remove, list) or not all(isinstance(it, str) and it for it in remove):
        raise DeploymentError("rootComponentsToRemove", describe(remove), "a list of names")
    for name in remove:
        if name in add:
            raise DeploymentError(name, "both an addition and a removal", "one of them")
    configurations = parse_configurations(
        _map(request, "componentToConfiguration"), "componentToConfiguration"
    )
    if not (add or remove or configurations):
        expected = "components to add or remove, or a configuration"
        raise DeploymentError("deployment", "nothing to do", expected)
    policy = request.get("failureHandlingPolicy") or "ROLLBACK"
    if policy not in _POLICIES:
        raise DeploymentError("failureHandlingPolicy", repr(policy), " or ".join(_POLICIES))
    return Deployment(
        add=add,
        remove=tuple(remove),
        configurations=configurations,
        recipes=_directory(request, "recipeDirectoryPath"),
        artifacts=_directory(request, "artifactsDirectoryPath"),
        rolls_back=policy == "ROLLBACK",
    )


def parse_configurations(content: object, place: str) -> dict[str, ConfigurationUpdate]:
    """Updates by component: `{"COMPONENT": {"MERGE": {…}, "RESET": ["/pointer", …]}}`.

    Source: aws-greengrass-cli, `deployment create --update-config`.

    Raises:
        DeploymentError: they are something else.
    """
    if not isinstance(content, Mapping):
        raise DeploymentError(place, describe(content), "an object of components")
    return {name: _update(it, f"{place}.{name}") for name, it in content.items()}


def _update(content: object, place: str) -> ConfigurationUpdate:
    if not isinstance(content, Mapping):
        raise DeploymentError(place, describe(content), "an object with MERGE and RESET")
    for key in content:
        if key not in {"MERGE", "RESET"}:
            raise DeploymentError(f"{place}.{key}", "an unknown key", "MERGE or RESET")
    merge = content.get("MERGE", {})
    if not isinstance(merge, Mapping):
        raise DeploymentError(f"{place}.MERGE", describe(merge), "an object")
    _check_json(merge, f"{place}.MERGE")
    reset = content.get("RESET", [])
    if not isinstance(reset, list):
        raise DeploymentError(f"{place}.RESET", describe(reset), "a list of JSON pointers")
    for i, reference in enumerate(reset):
        here = f"{place}.RESET[{i}]"
        if not isinstance(reference, str):
            raise DeploymentError(here, describe(reference), "a JSON pointer")
        try:
            parse_pointer(reference)
        except ValueError as error:
            raise DeploymentError(here, repr(reference), "a JSON pointer such as '/a/b'") from error
    return ConfigurationUpdate(merge=merge, reset=tuple(reset))


def _check_json(value: object, place: str) -> None:
    if isinstance(value, Mapping):
        for key, item in value.items():
            _check_json(item, f"{place}.{key}")
    elif isinstance(value, list):
        for i, item in enumerate(value):
            _check_json(item, f"{place}[{i}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise DeploymentError(place, str(value), "a finite number")


def _version(name: str, text: object) -> Version:
    try:
        return Version(text)
    except (ValueError, TypeError) as error:
        expected = "a semantic version such as '1.0.0'"
        raise DeploymentError(f"{name}: version", describe(text), expected) from error


def _map(request: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = request.get(key)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise DeploymentError(key, describe(value), "an object")
    return value


def _directory(request: Mapping[str, Any], key: str) -> Path | None:
    value = request.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not Path(value).is_absolute():
        raise DeploymentError(key, describe(value), "an absolute path")
    if not Path(value).is_dir():
        raise DeploymentError(value, "no such directory", "one")
    return Path(value)
