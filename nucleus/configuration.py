"""The configuration of components: trees whose leaves remember when they were written.

A write that is older than the leaf it meets loses, so it does not matter in which order a device
hears of changes: what a component wrote after a deployment was made outlives that deployment.

Source: aws-greengrass-nucleus, config/{Topic,Topics}.java, componentmanager/KernelConfigResolver.
"""

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nucleus.configuration_tree import (
    KeyPath,
    Leaf,
    Node,
    merge_into,
    newest,
    node_from_json,
    node_to_json,
    overwrite,
    prune,
    to_value,
)

Changed = Callable[[KeyPath], None]
"""Told the key path of what changed: a leaf, or what was removed."""

DEFAULT_TIMESTAMP_MS = 1
"""The age of a recipe's defaults; any other write is newer."""

ACCESS_CONTROL = "accessControl"

_log = logging.getLogger(__name__)


class Configuration:
    """The configuration of one component."""

    def __init__(self, changed: Callable[[Sequence[KeyPath]], None] | None = None) -> None:
        """It is empty.

        Args:
            changed: called once after each change, with the key paths of all that changed.
        """
        self._root: Node = {}
        self._changed = changed
        self._subscriptions: dict[object, tuple[KeyPath, Changed]] = {}

    def value(self, key_path: Sequence[str] = ()) -> Any:
        """What is at the key path: a map, or a leaf's JSON value; a copy.

        Raises:
            KeyError: nothing is.
        """
        return to_value(self._at(key_path))

    def merge(self, key_path: Sequence[str], value: Any, timestamp_ms: int) -> bool:
        """Writes a value; never deletes a key.

        Maps are merged, all else is replaced, lists among it. Each leaf that was written later
        keeps its value. Where a map meets a leaf, or a leaf a map, the later one stays.

        Args:
            key_path: where; what is missing on the way is made.
            value: JSON; at the root a map.
            timestamp_ms: when the value was written, since 1970.

        Returns:
            Whether nothing at the key path is newer than what was written.

        Raises:
            ValueError: the root cannot become a leaf, or the key path leads through a leaf.
        """
        self._check_way(key_path)
        for key in reversed(key_path):
            value = {key: value}
        if not isinstance(value, Mapping):
            observed = json.dumps(value)
            raise ValueError(f"configuration: got {observed} for the whole, expected a map")  # noqa: TRY004
        changed: list[KeyPath] = []
        merge_into(self._root, value, timestamp_ms, (), changed)
        written = newest(self._at(key_path)) <= timestamp_ms
        self._tell(changed)
        return written

    def resolve(
        self,
        defaults: Mapping[str, Any],
        reset: Sequence[str],
        merge: Mapping[str, Any],
        timestamp_ms: int,
    ) -> dict[str, Any]:
        """What `apply` would aim at; nothing changes.

        Raises:
            ValueError: a pointer that is none.
        """
        resolved = Configuration()
        resolved._root = copy.deepcopy(self._root)
        for reference in reset:
            resolved._remove(reference)
        resolved.merge((), defaults, DEFAULT_TIMESTAMP_MS)
        resolved.merge((), merge, timestamp_ms)
        value: dict[str, Any] = resolved.value()
        return value

    def apply(
        self,
        defaults: Mapping[str, Any],
        reset: Sequence[str],
        merge: Mapping[str, Any],
        timestamp_ms: int,
    ) -> None:
        """Takes a deployment over.

        First what is reset is removed, then the defaults of the recipe fill in what is not there,
        then the deployment's own values are merged. The whole is written back as of the deployment:
        so a default of today is an old value tomorrow, and another default will not replace it. A
        leaf that is newer than the deployment stays, unless it is reset and has no default.

        Args:
            defaults: the recipe's `DefaultConfiguration`.
            reset: JSON pointers; an empty one is everything. An element of a list cannot be reset.
            merge: the deployment's values.
            timestamp_ms: when the deployment was made, since 1970.

        Raises:
            ValueError: a pointer that is none; nothing has changed.
        """
        wanted = self.resolve(defaults, reset, merge, timestamp_ms)
        changed: list[KeyPath] = []
        prune(self._root, wanted, (), changed)
        merge_into(self._root, wanted, timestamp_ms, (), changed)
        self._tell(changed)

    def subscribe(self, key_path: Sequence[str], callback: Changed) -> Callable[[], None]:
        """Has the callback told of every change at the key path or below.

        Returns:
            What ends the subscription; a second call does nothing.
        """
        key = object()
        self._subscriptions[key] = (tuple(key_path), callback)

        def end() -> None:
            self._subscriptions.pop(key, None)

        return end

    def replace(self, other: "Configuration") -> None:
        """Takes another one's content over, with its timestamps; subscribers hear what differs."""
        changed: list[KeyPath] = []
        prune(self._root, other.value(), (), changed)
        overwrite(self._root, copy.deepcopy(other._root), (), changed)  # noqa: SLF001  (of our own kind)
        self._tell(changed)

    def to_json(self) -> dict[str, Any]:
        """All of it, with timestamps, as JSON that `from_json` reads."""
        return node_to_json(self._root)

    @classmethod
    def from_json(
        cls, content: Any, changed: Callable[[Sequence[KeyPath]], None] | None = None
    ) -> "Configuration":
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        found = cls(changed)
        root = node_from_json(content, "configuration")
        if isinstance(root, Leaf):
            raise ValueError("configuration: got a leaf, expected a map")  # noqa: TRY004
        found._root = root
        return found

    def _at(self, key_path: Sequence[str]) -> Node | Leaf:
        node: Node | Leaf = self._root
        for key in key_path:
            if isinstance(node, Leaf):
                raise KeyError(key)
            node = node[key]
        return node

    def _check_way(self, key_path: Sequence[str]) -> None:
        node: Node | Leaf | None = self._root
        for at, key in enumerate(key_path):
            if isinstance(node, Leaf):
                place = "/".join(key_path[:at])
                raise ValueError(f"configuration/{place}: got a leaf, expected a map")  # noqa: TRY004
            node = None if node is None else node.get(key)

    def _remove(self, reference: str) -> None:
        """Removes what a JSON pointer points at; nothing where nothing is there."""
        if not reference:
            self._root = {}
            return
        *way, last = parse_pointer(reference)
        try:
            node = self._at(way)
        except KeyError:
            return
        if isinstance(node, Leaf):
            _log.warning("reset of %s: got a place inside a leaf, which cannot be reset", reference)
        else:
            node.pop(last, None)

    def _tell(self, changed: list[KeyPath]) -> None:
        for key_path in changed:
            for prefix, callback in list(self._subscriptions.values()):
                # What is removed, or becomes a leaf, takes what is below it along.
                n = min(len(prefix), len(key_path))
                if prefix[:n] == key_path[:n]:
                    callback(key_path)
        if changed and self._changed is not None:
            self._changed(tuple(changed))


class ConfigurationStore:
    """The configurations of a device, by component."""

    def __init__(self, changed: Callable[[str, Sequence[KeyPath]], None] | None = None) -> None:
        """It is empty.

        Args:
            changed: called once after each change, with the component and the key paths; a place to
                write the store to disk.
        """
        self._changed = changed
        self._configurations: dict[str, Configuration] = {}
        self._policies: list[Callable[[str, Any], None]] = []

    def __contains__(self, component: str) -> bool:
        return component in self._configurations

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._configurations))

    def __getitem__(self, component: str) -> Configuration:
        """The configuration of a component that is known.

        Raises:
            KeyError: it is not.
        """
        return self._configurations[component]

    def open(self, component: str) -> Configuration:
        """The configuration of a component; an empty one where it was not known."""
        if component not in self._configurations:
            self._configurations[component] = Configuration(self._teller(component))
        return self._configurations[component]

    def remove(self, component: str) -> None:
        """Forgets a component; nothing where it is not known. Its policies go as well."""
        if self._configurations.pop(component, None) is not None:
            for load in self._policies:
                load(component, None)

    def replace(self, other: "ConfigurationStore") -> None:
        """Takes all of another store over, as of a deployment or of the snapshot before one.

        Raises:
            Exception: what those raise who follow the policies; see `follow_policies`.
        """
        for component in set(self) - set(other):
            self.remove(component)
        for component in other:
            self.open(component).replace(other[component])

    def follow_policies(self, load: Callable[[str, Any], None]) -> None:
        """Has `accessControl` loaded for all that are known, and whenever it changes.

        Args:
            load: takes a component and its `accessControl`, None where it has none; such as
                `Authorization.load`. What it raises passes through whoever made the change, which
                stands: what may be refused is to be validated before.
        """
        self._policies.append(load)
        for component in self:
            load(component, self._policy(component))

    def to_json(self) -> dict[str, Any]:
        """All of it, with timestamps, as JSON that `from_json` reads."""
        return {component: self[component].to_json() for component in self}

    @classmethod
    def from_json(
        cls, content: Any, changed: Callable[[str, Sequence[KeyPath]], None] | None = None
    ) -> "ConfigurationStore":
        """What `to_json` wrote.

        Raises:
            ValueError: it is something else.
        """
        if not isinstance(content, Mapping):
            observed = json.dumps(content)
            raise ValueError(f"configurations: got {observed}, expected a map")  # noqa: TRY004
        store = cls(changed)
        for component, tree in content.items():
            teller = store._teller(component)
            store._configurations[component] = Configuration.from_json(tree, teller)
        return store

    def _policy(self, component: str) -> Any:
        try:
            return self[component].value((ACCESS_CONTROL,))
        except KeyError:
            return None

    def _teller(self, component: str) -> Callable[[Sequence[KeyPath]], None]:
        def tell(changed: Sequence[KeyPath]) -> None:
            if self._changed is not None:
                self._changed(component, changed)
            if any(key_path[0] == ACCESS_CONTROL for key_path in changed):
                for load in self._policies:
                    load(component, self._policy(component))

        return tell


def parse_pointer(reference: str) -> list[str]:
    """The tokens of a JSON pointer.

    Source: RFC 6901, section 4.

    Raises:
        ValueError: it is none.
    """
    if not reference:
        return []
    if not reference.startswith("/"):
        raise ValueError(f"JSON pointer: got {reference!r}, expected '' or a text that starts '/'")
    return [it.replace("~1", "/").replace("~0", "~") for it in reference[1:].split("/")]


def pointer(value: Any, reference: str) -> Any:
    """What a JSON pointer points at in a JSON value.

    Raises:
        KeyError: nothing is there.
        ValueError: the pointer is none.
    """
    for token in parse_pointer(reference):
        if isinstance(value, Mapping) and token in value:
            value = value[token]
        elif isinstance(value, list) and _is_index(token) and int(token) < len(value):
            value = value[int(token)]
        else:
            raise KeyError(reference)
    return value


def _is_index(token: str) -> bool:
    return token.isascii() and token.isdigit() and str(int(token)) == token
