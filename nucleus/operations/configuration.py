"""GetConfiguration, UpdateConfiguration and SubscribeToConfigurationUpdate.

None of them needs a policy: every component may read the configuration of every other.

Source: aws-greengrass-nucleus, builtin/services/configstore/ConfigStoreIPCEventStreamAgent.java;
aws-greengrass-lite, modules/ggipcd/src/services/config, modules/ggconfigd/src/db_interface.c.
"""

import math
import time
from collections.abc import Callable
from typing import Any, TypeGuard, cast

from nucleus.configuration import ACCESS_CONTROL, Configuration, ConfigurationStore
from nucleus.configuration_tree import KeyPath
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream
from nucleus.personality import Personality


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def configuration_operations(
    store: ConfigurationStore, personality: Personality, *, now_ms: Callable[[], int] = _now_ms
) -> Operations:
    """The operations on the configurations of a device.

    Args:
        store: which they read and change.
        personality: whose rules count.
        now_ms: the device's clock, since 1970.
    """
    family = _Family(store, personality, now_ms)
    return {
        "GetConfiguration": Operation(family.get),
        "UpdateConfiguration": Operation(family.update),
        "SubscribeToConfigurationUpdate": Operation(family.subscribe, is_subscription=True),
    }


class _Family:
    def __init__(
        self, store: ConfigurationStore, personality: Personality, now_ms: Callable[[], int]
    ) -> None:
        self._store = store
        self._is_lite = personality.name == "lite"
        self._mimics_java = personality.mimics_java_json
        # Lite has this for UpdateConfiguration alone.
        self._invalid = "ServiceError" if self._is_lite else "InvalidArgumentsError"
        self._now_ms = now_ms

    def get(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        component, key_path = self._place(caller, request)
        value = self._find(component, key_path)
        if not isinstance(value, dict):
            value = {key_path[-1]: value}
        return {"componentName": component, "value": value}

    def subscribe(self, caller: Caller, request: Json, stream: Stream) -> Json:
        component, key_path = self._place(caller, request)
        self._find(component, key_path)

        def tell(changed: KeyPath) -> None:
            event = {"componentName": component, "keyPath": list(changed)}
            stream.send("ConfigurationUpdateEvents", {"configurationUpdateEvent": event})

        stream.on_close(self._store[component].subscribe(key_path, tell))
        return {}

    def update(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        timestamp_ms, value = self._parse_update(request)
        key_path = self._key_path(request, "InvalidArgumentsError")
        restricted = key_path[:1] or (tuple(value) if isinstance(value, dict) else ())
        if ACCESS_CONTROL in restricted:
            text = f"Config update is not allowed for following fields [{ACCESS_CONTROL}]"
            raise IpcError("InvalidArgumentsError", text)
        if caller.component not in self._store:
            text = f"Component config not found for component {caller.component}"
            raise IpcError("InvalidArgumentsError", text)
        configuration = self._store[caller.component]
        if not self._is_lite and not _has(configuration, key_path):
            # What is new counts as written now, whatever the component says.
            timestamp_ms = self._now_ms()
        try:
            is_newest = configuration.merge(key_path, value, timestamp_ms)
        except ValueError as error:
            raise IpcError("ServiceError", str(error)) from error
        if not is_newest and not self._is_lite:  # lite says nothing
            text = "Proposed timestamp is older than the config's latest modified timestamp"
            raise IpcError("FailedUpdateConditionCheckError", text)
        return {}

    def _parse_update(self, request: Json) -> tuple[int, Any]:
        timestamp_s, value = request.get("timestamp"), request.get("valueToMerge")
        if self._is_lite:
            # An integer fails the schema there; any JSON may be merged.
            if not _is_finite(timestamp_s, float) or "valueToMerge" not in request:
                raise IpcError("InvalidArgumentsError", "Received invalid parameters.")
            return int(timestamp_s * 1000), value
        if not _is_finite(timestamp_s, int, float):
            raise IpcError("InvalidArgumentsError", "Timestamp is required")
        if not isinstance(value, dict):
            raise IpcError("InvalidArgumentsError", "ValueToMerge is required")
        return int(timestamp_s * 1000), _with_doubles(value) if self._mimics_java else value

    def _place(self, caller: Caller, request: Json) -> tuple[str, KeyPath]:
        component = request.get("componentName")
        if component is None:
            component = caller.component
        if not isinstance(component, str):
            raise IpcError(self._invalid, "Received invalid parameters.")
        return component, self._key_path(request, self._invalid)

    def _key_path(self, request: Json, error: str) -> KeyPath:
        key_path = request.get("keyPath")
        if key_path is None:
            return ()
        if not isinstance(key_path, list) or not all(isinstance(key, str) for key in key_path):
            raise IpcError(error, "Received invalid parameters.")
        return tuple(key_path)

    def _find(self, component: str, key_path: KeyPath) -> Any:
        try:
            return self._store[component].value(key_path)
        except KeyError as error:
            name = "/".join((component, *key_path))
            fields = {"resourceType": "Configuration", "resourceName": name}
            raise IpcError("ResourceNotFoundError", "Key not found", fields) from error


def _has(configuration: Configuration, key_path: KeyPath) -> bool:
    try:
        configuration.value(key_path)
    except KeyError:
        return False
    return True


def _is_finite(value: object, *kinds: type) -> TypeGuard[float]:
    return type(value) in kinds and math.isfinite(cast("float", value))


def _with_doubles(value: Any) -> Any:
    """The value as classic takes it from the wire: Java reads every number as a double."""
    if isinstance(value, dict):
        return {key: _with_doubles(it) for key, it in value.items()}
    if isinstance(value, list):
        return [_with_doubles(it) for it in value]
    return float(value) if type(value) is int else value
