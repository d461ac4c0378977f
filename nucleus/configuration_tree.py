"""The tree of a configuration: maps whose leaves remember when they were written."""

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KeyPath = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value that is no map.

    Attributes:
        value: JSON; nobody may change it.
        timestamp_ms: when it was written, since 1970.
    """

    value: Any
    timestamp_ms: int


Node = dict[str, "Node | Leaf"]


def merge_into(
    node: Node,
    value: Mapping[str, Any],
    timestamp_ms: int,
    place: KeyPath,
    changed: list[KeyPath],
) -> None:
    """Writes a map's leaves as of the timestamp; see `Configuration.merge`.

    Args:
        node: the tree, which changes.
        value: JSON.
        timestamp_ms: when it was written.
        place: where the node is.
        changed: takes the key paths of what changed.
    """
    for key, new in value.items():
        here, old = (*place, key), node.get(key)
        if isinstance(new, Mapping):
            if isinstance(old, Leaf):
                if old.timestamp_ms > timestamp_ms:
                    continue
                changed.append(here)
            if not isinstance(old, dict):
                node[key] = old = {}
            merge_into(old, new, timestamp_ms, here, changed)
        elif old is None or newest(old) <= timestamp_ms:
            if not isinstance(old, Leaf) or _text(old.value) != _text(new):
                changed.append(here)
            node[key] = Leaf(copy.deepcopy(new), timestamp_ms)


def prune(node: Node, wanted: Mapping[str, Any], place: KeyPath, changed: list[KeyPath]) -> None:
    """Removes what is not wanted.

    Args:
        node: the tree, which changes.
        wanted: JSON with all keys that stay.
        place: where the node is.
        changed: takes the key paths of what was removed.
    """
    for key, child in list(node.items()):
        if key not in wanted:
            del node[key]
            changed.append((*place, key))
        elif isinstance(child, dict) and isinstance(wanted[key], Mapping):
            prune(child, wanted[key], (*place, key), changed)


def overwrite(node: Node, wanted: Node, place: KeyPath, changed: list[KeyPath]) -> None:
    """Writes every leaf with its timestamp, whatever was there and however new it is.

    Args:
        node: the tree, which changes.
        wanted: the leaves.
        place: where the node is.
        changed: takes the key paths of leaves whose value has changed.
    """
    for key, new in wanted.items():
        here, old = (*place, key), node.get(key)
        if isinstance(new, Leaf):
            if not isinstance(old, Leaf) or _text(old.value) != _text(new.value):
                changed.append(here)
            node[key] = new
        else:
            if not isinstance(old, dict):
                if old is not None:
                    changed.append(here)
                node[key] = old = {}
            overwrite(old, new, here, changed)


def newest(node: Node | Leaf) -> int:
    """The timestamp of the newest leaf; 0 where there is none."""
    if isinstance(node, Leaf):
        return node.timestamp_ms
    return max((newest(child) for child in node.values()), default=0)


def _text(value: Any) -> str:
    """A text that differs where the JSON does: True is not 1, and 1 is not 1.0."""
    return json.dumps(value, sort_keys=True)


def to_value(node: Node | Leaf) -> Any:
    """The JSON without timestamps; a copy."""
    if isinstance(node, Leaf):
        return copy.deepcopy(node.value)
    return {key: to_value(child) for key, child in node.items()}


def node_to_json(node: Node | Leaf) -> dict[str, Any]:
    """The JSON with timestamps; a copy."""
    if isinstance(node, Leaf):
        return {"value": copy.deepcopy(node.value), "timestampMs": node.timestamp_ms}
    return {"keys": {key: node_to_json(child) for key, child in node.items()}}


def node_from_json(content: Any, place: str) -> Node | Leaf:
    """What `node_to_json` wrote.

    Raises:
        ValueError: it is something else; the text names the place.
    """
    if isinstance(content, Mapping):
        keys, timestamp_ms = content.get("keys"), content.get("timestampMs")
        if content.keys() == {"keys"} and isinstance(keys, Mapping):
            return {key: node_from_json(it, f"{place}/{key}") for key, it in keys.items()}
        if content.keys() == {"value", "timestampMs"} and type(timestamp_ms) is int:
            return Leaf(copy.deepcopy(content["value"]), timestamp_ms)
    observed = json.dumps(content)
    raise ValueError(f"{place}: got {observed}, expected keys, or value and timestampMs")
