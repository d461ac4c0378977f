"""Who may do what: `accessControl` as each nucleus reads it.

A policy belongs to a component and a service, and grants operations on resources. It is looked up
when a request is made, so a changed policy counts at once, and streams that are open live on.

Source: aws-greengrass-nucleus, authorization/{AuthorizationHandler,AuthorizationPolicyParser,
AuthorizationModule,WildcardTrie}.java; aws-greengrass-lite, modules/ggipcd/src/ipc_authz.c,
modules/ggipcd/src/services/mqttproxy/mqttproxy.c, modules/ggl-policy-validation.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nucleus.errors import AccessControlError
from nucleus.operation import IpcError
from nucleus.personality import Personality
from nucleus.resources import ResourceError, interpolate, to_patterns, validate

PUBSUB = "aws.greengrass.ipc.pubsub"
MQTT_PROXY = "aws.greengrass.ipc.mqttproxy"
CLI = "aws.greengrass.Cli"

ANY = "*"

OPERATIONS = {
    PUBSUB: {"PublishToTopic", "SubscribeToTopic"},
    MQTT_PROXY: {"PublishToIoTCore", "SubscribeToIoTCore"},
    CLI: {
        "GetComponentDetails",
        "ListComponents",
        "RestartComponent",
        "StopComponent",
        "CreateLocalDeployment",
        "GetLocalDeploymentStatus",
        "ListLocalDeployments",
        "CreateDebugPassword",
    },
    "aws.greengrass.ipc.lifecycle": {"PauseComponent", "ResumeComponent"},
    "aws.greengrass.ipc.componentmetric": {"PutComponentMetric"},
    "aws.greengrass.SecretManager": {"GetSecretValue"},
    "aws.greengrass.ShadowManager": {
        "GetThingShadow",
        "UpdateThingShadow",
        "DeleteThingShadow",
        "ListNamedShadowsForThing",
    },
    "aws.greengrass.clientdevices.Auth": {
        "SubscribeToCertificateUpdates",
        "VerifyClientDeviceIdentity",
        "GetClientDeviceAuthToken",
        "AuthorizeClientDeviceAction",
    },
}
"""The services that policies are for, and their operations without `aws.greengrass#`."""

_PREFIX = "aws.greengrass#"
_FIELDS = frozenset({"policydescription", "operations", "resources"})

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Grant:
    """What one policy allows; `patterns` is None where that is every resource."""

    service: str
    operations: frozenset[str]
    patterns: tuple[re.Pattern[str], ...] | None

    def allows(self, service: str, operation: str, resource: str) -> bool:
        if service != self.service or operation not in self.operations:
            return False
        if self.patterns is None:
            return True
        return any(pattern.fullmatch(resource) for pattern in self.patterns)


class Authorization:
    """What each component is allowed."""

    def __init__(
        self,
        personality: Personality,
        *,
        thing_name: str = "",
        interpolates_resources: bool = False,
    ) -> None:
        """Nothing is allowed yet.

        Args:
            personality: whose rules count.
            thing_name: what `{iot:thingName}` in a resource stands for.
            interpolates_resources: whether it stands for that on classic too, where it takes the
                nucleus's setting `interpolateComponentConfiguration`; lite always does so.
        """
        self._is_lite = personality.name == "lite"
        self._thing_name = thing_name
        self._interpolates = self._is_lite or interpolates_resources
        self._grants: dict[str, tuple[_Grant, ...]] = {}
        self._trusted: set[str] = set()

    def load(self, component: str, access_control: object) -> None:
        """Replaces what a component is allowed; where this raises, nothing changes.

        What a nucleus cannot use it logs and leaves out; only lite refuses, and only a resource
        that breaks the grammar.

        Args:
            component: its name; `*` is every component.
            access_control: the value of `accessControl` in its configuration: a map, None where
                there is none, or (classic only) the JSON text of a map.

        Raises:
            AccessControlError: lite: a resource with `?`, or with another `${…}` than `${*}`,
                `${?}`, `${$}`.
        """
        self.validate(component, access_control)
        self._grants[component] = tuple(self._parse(component, access_control))

    def validate(self, component: str, access_control: object) -> None:
        """Checks what a deployment would load, before it changes anything.

        Raises:
            AccessControlError: as `load`.
        """
        if not self._is_lite:
            return
        for service, policies in _entries(access_control):
            for policy_id, policy in _entries(policies):
                resources = policy.get("resources") if isinstance(policy, Mapping) else None
                for i, resource in enumerate(resources if isinstance(resources, list) else []):
                    try:
                        validate(str(resource))
                    except ResourceError as error:
                        place = f"{component}.accessControl.{service}.{policy_id}.resources[{i}]"
                        raise AccessControlError(place, error.observed, error.expected) from error

    def forget(self, component: str) -> None:
        """Drops what a component is allowed; nothing where it is not known."""
        self._grants.pop(component, None)
        self._trusted.discard(component)

    def allow_everything(self, component: str) -> None:
        """Allows a principal everything, whatever its policies: the device's own tools."""
        self._trusted.add(component)

    def check(self, component: str, service: str, operation: str, resource: str) -> None:
        """Returns where the operation is allowed.

        Args:
            component: the principal.
            service: such as `aws.greengrass.ipc.pubsub`.
            operation: such as `aws.greengrass#PublishToTopic`.
            resource: such as a topic.

        Raises:
            IpcError: `UnauthorizedError`.
        """
        if component in self._trusted or self._is_allowed(component, service, operation, resource):
            return
        text = "IPC Operation not authorized."
        if not self._is_lite:
            text = (
                f"Principal {component} is not authorized to perform {service}:{operation} "
                f"on resource {resource}"
            )
        _log.info(
            "not authorized: %s to perform %s:%s on %s", component, service, operation, resource
        )
        raise IpcError("UnauthorizedError", text)

    def _is_allowed(self, component: str, service: str, operation: str, resource: str) -> bool:
        if self._is_lite:
            try:  # lite holds a request to the grammar of policies
                validate(resource)
            except ResourceError:
                return False
        elif not resource:
            return False
        for principal in (component,) if self._is_lite else (component, ANY):
            grants = self._grants.get(principal, ())
            for wanted in (operation, ANY):
                if any(grant.allows(service, wanted, resource) for grant in grants):
                    return True
        return False

    # --- from configuration to grants -------------------------------------------------------------

    def _parse(self, component: str, access_control: object) -> list[_Grant]:
        place = f"{component}.accessControl"
        try:
            services = self._to_map(access_control, place)
            return [
                grant
                for service, policies in services.items()
                for policy_id, policy in _map_at(policies, f"{place}.{service}").items()
                for grant in self._parse_policy(service, policy, f"{place}.{service}.{policy_id}")
            ]
        except AccessControlError as error:
            _log.warning("the component is allowed nothing: %s", error)
            return []

    def _to_map(self, access_control: object, place: str) -> Mapping[str, Any]:
        if access_control is None:
            return {}
        if isinstance(access_control, str) and not self._is_lite:
            try:
                access_control = json.loads(access_control)
            except (ValueError, RecursionError) as error:
                raise AccessControlError(place, "text that is no JSON", "a map") from error
        return _map_at(access_control, place)

    def _parse_policy(self, service: str, policy: object, place: str) -> list[_Grant]:
        """One grant, or none where the policy is of no use.

        Raises:
            AccessControlError: it has not the form of a policy; classic then drops every policy of
                the component.
        """
        try:
            fields = self._fields(policy, place)
            operations = _texts_at(fields, "operations", place)
            resources = _texts_at(fields, "resources", place)
        except AccessControlError as error:
            if not self._is_lite:
                raise
            _log.warning("a policy that allows nothing: %s", error)
            return []
        if not operations:
            _log.warning("%s: got no operations, expected one at least; policy dropped", place)
            return []
        if not resources and self._is_lite:
            _log.warning("%s: got no resources, expected one at least; policy dropped", place)
            return []
        _warn_of_unknown(service, operations, place)
        patterns = self._patterns(service, resources, place) if resources else None
        return [_Grant(service, frozenset(operations), patterns)]

    def _fields(self, policy: object, place: str) -> Mapping[str, Any]:
        fields = _map_at(policy, place)
        if self._is_lite:
            return fields
        folded = {key.lower(): value for key, value in fields.items()}
        for key in folded.keys() - _FIELDS:
            expected = "policyDescription, operations or resources"
            raise AccessControlError(place, f"the key {key!r}", expected)
        return folded

    def _patterns(
        self, service: str, resources: list[str], place: str
    ) -> tuple[re.Pattern[str], ...]:
        """The patterns of the resources that are well formed; the others are logged."""
        patterns = []
        for i, resource in enumerate(resources):
            try:
                text = interpolate(resource, self._thing_name) if self._interpolates else resource
                _validate(text, is_lite=self._is_lite)
            except ResourceError as error:
                _log.warning("%s.resources[%d]: %s; resource skipped", place, i, error)
                continue
            patterns += to_patterns(text, is_mqtt=service == MQTT_PROXY, is_lite=self._is_lite)
        return tuple(patterns)


def _validate(resource: str, *, is_lite: bool) -> None:
    """Checks a resource of a policy; classic wants some text, too.

    Raises:
        ResourceError: it is none.
    """
    if not resource and not is_lite:
        raise ResourceError("an empty text", "a resource")
    validate(resource)


def _entries(value: object) -> list[tuple[str, Any]]:
    """What a map has; nothing of anything else."""
    return list(value.items()) if isinstance(value, Mapping) else []


def _map_at(value: object, place: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise AccessControlError(place, json.dumps(value, default=str), "a map")
    return value


def _texts_at(fields: Mapping[str, Any], key: str, place: str) -> list[str]:
    """The list of strings under a key; empty where there is none."""
    value = fields.get(key)
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        observed = json.dumps(value, default=str)
        raise AccessControlError(f"{place}.{key}", observed, "a list of strings")
    return value


def _warn_of_unknown(service: str, operations: list[str], place: str) -> None:
    """Logs what no nucleus has; the policy counts nonetheless."""
    if service not in OPERATIONS:
        _log.warning("%s: got the service %r, which the nucleus does not have", place, service)
        return
    known = {_PREFIX + name for name in OPERATIONS[service]} | {ANY}
    for operation in operations:
        if operation not in known:
            _log.warning(
                "%s: got the operation %r, which %s does not have", place, operation, service
            )
