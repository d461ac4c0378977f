"""XGBoost's model to the forest file that the forest engine reads. Runs where models are packed.

docs/forest.md describes the file. Standard library only.
"""

import json
import math
import struct
import zlib
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

from model.forest_engine import CRC_OFFSET, MAGIC, TRANSFORMS
from model.ubj import parse_ubj

VERSION = 1
"""The file's version. To bump it: see docs/forest.md, "Versions"."""

MAX_FEATURES = 2**14 - 1
MAX_GROUPS = 2**12
MAX_TREES = 2**20
MAX_SLOTS = 2**27
MAX_TREE_SLOTS = 2**16
MAX_CATEGORY = 2**24
"""The first category that XGBoost takes for invalid. Source: `OutOfRangeCat`, categorical.h."""

_HEADER = struct.Struct("<8sHHIIIIIIII20x")
_NODE = struct.Struct("<fI")
_SET_NODE = struct.Struct("<II")
_TREE = struct.Struct("<IIHHHH")

_ROOT = 1
_LINE = 8
_PAIRS_IN_LINE = 4
_TOP_LEVELS = 5
_FEATURE_SHIFT = 16
_DEFAULT_LEFT = 1 << 30
_CATEGORICAL = 1 << 31
_NO_SETS, _INLINE_SETS, _INDEXED_SETS = range(3)
_INLINE_CATEGORIES = 32

Pair = tuple[int, int]


class UnsupportedForestError(Exception):
    """A model that the forest does not carry and XGBoost's own engine serves; the text says why."""


@dataclass(frozen=True, slots=True)
class _Tree:
    """One tree as XGBoost has it, node by node; a left child of -1 marks a leaf.

    Attributes:
        left: the left child of each node.
        right: the right child.
        feature: the column that is compared.
        value: the threshold, or the leaf's value.
        default_left: where a missing value goes.
        categories: the set of each categorical node.
        cover: how much of the training data came by.
    """

    left: Sequence[int]
    right: Sequence[int]
    feature: Sequence[int]
    value: Sequence[float]
    default_left: Sequence[int]
    categories: Mapping[int, Sequence[int]]
    cover: Sequence[float]


def encode_forest(model: bytes) -> bytes:
    """The forest file of a model: all its trees, so that it has to be sliced before.

    Args:
        model: XGBoost's own UBJ or JSON.

    Raises:
        UnsupportedForestError: what the model has is not carried; the text names it.
        ValueError: the bytes are no model of XGBoost's.
    """
    document = _parse(model)
    try:
        return _encode(document["learner"])
    except (KeyError, TypeError, IndexError, OverflowError, AttributeError) as error:
        text = f"the model: got one without {error}, expected XGBoost's own fields"
        raise ValueError(text) from error


def _parse(model: bytes) -> Any:
    if model[:1] == b"{" and model[1:2].strip()[:1] in {b"", b'"'}:
        try:
            return json.loads(model)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"the model: got no JSON ({error}), expected XGBoost's") from error
    return parse_ubj(model)


def _encode(learner: Mapping[str, Any]) -> bytes:
    transform, n_groups, n_features = _check(learner)
    booster = learner["gradient_booster"]["model"]
    by_id = {int(tree["id"]): tree for tree in booster["trees"]}
    groups = [int(group) for group in booster["tree_info"]]
    if sorted(by_id) != list(range(len(groups))):
        raise ValueError(f"the trees: got {len(by_id)} ids, expected those of {len(groups)} trees")
    if not 0 < len(groups) <= MAX_TREES:
        raise UnsupportedForestError(f"{len(groups)} trees: 1 to {MAX_TREES} are carried")
    nodes, words, table = bytearray(), array("I"), bytearray()
    for at, group in enumerate(groups):
        if not 0 <= group < n_groups:
            raise ValueError(f"tree {at}: got group {group}, expected one of {n_groups}")
        first = len(nodes) // _NODE.size
        content, depth, sets = _encode_tree(_tree(by_id[at], n_features), n_features, words, at)
        nodes += content
        slots = len(content) // _NODE.size
        table += _TREE.pack(first, slots, depth, group, sets, 0)
        nodes += bytes(-len(nodes) % (_LINE * _NODE.size))
    n_nodes = len(nodes) // _NODE.size
    if n_nodes > MAX_SLOTS or len(words) > MAX_SLOTS:
        raise UnsupportedForestError(f"{n_nodes} nodes: at most {MAX_SLOTS} are carried")
    text = _text(learner)
    scores = struct.pack(f"<{n_groups}f", *_base_scores(learner, n_groups))
    body = b"".join([nodes, _little_endian(words), table, scores, text])
    numbers = (
        n_features,
        n_groups,
        _rounds(booster, n_groups),
        len(groups),
        n_nodes,
        len(words),
        len(text),
    )
    header = _HEADER.pack(MAGIC, VERSION, transform, 0, *numbers)
    crc = zlib.crc32(body, zlib.crc32(header[CRC_OFFSET + 4 :]))
    return header[:CRC_OFFSET] + struct.pack("<I", crc) + header[CRC_OFFSET + 4 :] + body


def _check(learner: Mapping[str, Any]) -> tuple[int, int, int]:
    """The transform, the groups and the features of a model that can be carried."""
    booster = learner["gradient_booster"]["name"]
    if booster != "gbtree":
        raise UnsupportedForestError(f"the booster {booster}: only gbtree is carried")
    objective = learner["objective"]["name"]
    transform = TRANSFORMS.get(objective)
    if transform is None:
        raise UnsupportedForestError(f"the objective {objective}: it is none that is carried")
    parameters = learner["learner_model_param"]
    targets = int(parameters.get("num_target", "1"))
    if targets > 1:
        raise UnsupportedForestError(f"{targets} outputs for each row: one is carried")
    n_groups = max(1, int(parameters["num_class"]))
    if n_groups > MAX_GROUPS:
        raise UnsupportedForestError(f"{n_groups} classes: at most {MAX_GROUPS} are carried")
    if n_groups > 1 and not objective.startswith("multi:"):
        raise UnsupportedForestError(f"{n_groups} classes with {objective}: none are carried")
    n_features = int(parameters["num_feature"])
    if not 0 < n_features <= MAX_FEATURES:
        raise UnsupportedForestError(f"{n_features} features: 1 to {MAX_FEATURES} are carried")
    return transform, n_groups, n_features


def _base_scores(learner: Mapping[str, Any], n_groups: int) -> list[float]:
    """The base score of each group: a number in a text, from XGBoost 3.1 on a vector in it."""
    text = learner["learner_model_param"]["base_score"]
    scores = [float(word) for word in text.strip("[]").split(",")]
    scores = scores * n_groups if len(scores) == 1 else scores
    if len(scores) != n_groups:
        raise UnsupportedForestError(f"{len(scores)} base scores: {n_groups} are carried")
    return scores


def _rounds(booster: Mapping[str, Any], n_groups: int) -> int:
    """How many boosting rounds there are; XGBoost 2 and later count them in the file."""
    if borders := booster.get("iteration_indptr"):
        return len(borders) - 1
    parallel = int(booster["gbtree_model_param"].get("num_parallel_tree", "1"))
    return len(booster["tree_info"]) // (n_groups * max(1, parallel))


def _text(learner: Mapping[str, Any]) -> bytes:
    names = learner.get("feature_names", [])
    types = learner.get("feature_types", [])
    document = {
        "objective": learner["objective"]["name"],
        "features": list(zip(names, types, strict=False)),
    }
    return json.dumps(document).encode()


# --- one tree -------------------------------------------------------------------------------------


def _tree(fields: Mapping[str, Any], n_features: int) -> _Tree:
    if int(fields["tree_param"].get("size_leaf_vector", "0")) > 1:
        raise UnsupportedForestError("leaves that are vectors: only numbers are carried")
    tree = _Tree(
        left=fields["left_children"],
        right=fields["right_children"],
        feature=fields["split_indices"],
        value=fields["split_conditions"],
        default_left=fields["default_left"],
        categories=_categories(fields),
        cover=fields["sum_hessian"],
    )
    n = len(tree.left)
    lengths = {len(tree.right), len(tree.feature), len(tree.value), len(tree.default_left)}
    if n == 0 or lengths != {n} or len(tree.cover) != n:
        raise ValueError(f"a tree: got lists of {sorted(lengths)} nodes, expected {n} in each")
    split = [f for left, f in zip(tree.left, tree.feature, strict=True) if left >= 0]
    if split and not 0 <= min(split) <= max(split) < n_features:
        raise ValueError("a tree: got a feature beyond the last, expected one of the model's")
    return tree


def _categories(fields: Mapping[str, Any]) -> dict[int, Sequence[int]]:
    """The set of categories that go right, of each categorical node."""
    names = ("categories_nodes", "categories_segments", "categories_sizes")
    if "split_type" not in fields:
        return {}
    categories = fields["categories"]
    return {
        int(node): categories[begin : begin + size]
        for node, begin, size in zip(*(fields[name] for name in names), strict=True)
    }


def _encode_tree(
    tree: _Tree, n_features: int, words: "array[int]", at: int
) -> tuple[bytes, int, int]:
    """The nodes of a tree, its depth and how it holds its sets, which may add to the words."""
    slots, depth = _lay_out(tree)
    n_slots = max(slots.values()) + 1
    if n_slots > MAX_TREE_SLOTS:
        raise UnsupportedForestError(
            f"tree {at}: {n_slots} nodes: at most {MAX_TREE_SLOTS} are carried"
        )
    sets = _kind_of_sets(tree, slots)
    content = bytearray(n_slots * _NODE.size)
    for node, slot in slots.items():
        place = slot * _NODE.size
        if tree.left[node] < 0:
            if not math.isfinite(tree.value[node]):
                raise UnsupportedForestError(f"tree {at}: a leaf of {tree.value[node]}")
            packed = slot | n_features << _FEATURE_SHIFT
            _NODE.pack_into(content, place, tree.value[node], packed)
            continue
        packed = slots[tree.left[node]] | tree.feature[node] << _FEATURE_SHIFT
        packed |= _DEFAULT_LEFT if tree.default_left[node] else 0
        if node in tree.categories:
            value = _add_set(tree.categories[node], sets, words)
            _SET_NODE.pack_into(content, place, value, packed | _CATEGORICAL)
        elif math.isnan(tree.value[node]):
            raise UnsupportedForestError(f"tree {at}: a threshold of NaN")
        else:
            _NODE.pack_into(content, place, tree.value[node], packed)
    return bytes(content), depth, sets


def _kind_of_sets(tree: _Tree, slots: Mapping[int, int]) -> int:
    largest = -1
    for node in slots:
        if tree.left[node] >= 0 and node in tree.categories:
            categories = tree.categories[node]
            if not len(categories) or min(categories) < 0 or max(categories) >= MAX_CATEGORY:
                raise UnsupportedForestError(f"node {node}: categories out of range")
            largest = max(largest, *categories)
    if largest < 0:
        return _NO_SETS
    return _INLINE_SETS if largest < _INLINE_CATEGORIES else _INDEXED_SETS


def _add_set(categories: Sequence[int], sets: int, words: "array[int]") -> int:
    """A set's bits, or where they stand after they were added to the words."""
    bits = [0] * (max(categories) // 32 + 1)
    for category in categories:
        bits[category // 32] |= 1 << category % 32
    if sets == _INLINE_SETS:
        return bits[0]
    place = len(words)
    words.extend([len(bits), *bits])
    return place


# --- where the nodes of a tree stand --------------------------------------------------------------


def _lay_out(tree: _Tree) -> tuple[dict[int, int], int]:
    """The slot of each node that can be reached, and the depth of the deepest.

    Siblings stand beside each other, the left one in an even slot. The first five levels stand
    level by level: the kernels keep these 32 slots in registers. Below, pairs that are likely to be
    visited after one another share a line of the cache.

    Raises:
        ValueError: what hangs together is no tree.
    """
    slots = {0: _ROOT}
    depth, level = 0, [0]
    below: list[Pair] = []
    reached = {0}
    slot = 2
    while pairs := [(tree.left[node], tree.right[node]) for node in level if tree.left[node] >= 0]:
        level = [node for pair in pairs for node in pair]
        n_before = len(reached)
        reached.update(level)
        if len(reached) != n_before + len(level) or not 0 <= max(reached) < len(tree.left):
            raise ValueError("a tree: got a child that is no new node, expected a tree")
        depth += 1
        if depth < _TOP_LEVELS:
            for pair in pairs:
                slots[pair[0]], slots[pair[1]] = slot, slot + 1
                slot += 2
        elif depth == _TOP_LEVELS:
            below = pairs
    _place_below(tree, below, slots, slot)
    return slots, depth


def _place_below(tree: _Tree, roots: Sequence[Pair], slots: dict[int, int], slot: int) -> None:
    """Gives slots to the pairs below the top, a line of pairs at a time."""

    def weight(pair: Pair) -> float:
        return -(tree.cover[pair[0]] + tree.cover[pair[1]])

    def children(pair: Pair) -> list[Pair]:
        return [(tree.left[n], tree.right[n]) for n in pair if tree.left[n] >= 0]

    take = _LinePlaces(slot)
    waiting = list(roots)
    while waiting:
        line: list[Pair] = []
        open_pairs: list[tuple[float, Pair]] = []
        heappush(open_pairs, (weight(waiting[-1]), waiting.pop()))
        while open_pairs and len(line) < _PAIRS_IN_LINE:
            pair = heappop(open_pairs)[1]
            line.append(pair)
            for child in children(pair):
                heappush(open_pairs, (weight(child), child))
        waiting.extend(pair for _, pair in open_pairs)
        for pair, place in zip(line, take(len(line)), strict=True):
            slots[pair[0]], slots[pair[1]] = place, place + 1


class _LinePlaces:
    """Hands out places of pairs: those of one call in one line, with as little waste as can be."""

    def __init__(self, slot: int) -> None:
        self._next_line = -(-slot // _LINE) * _LINE
        rest = (self._next_line - slot) // 2
        self._open: dict[int, list[int]] = {rest: [slot]} if rest else {}

    def __call__(self, n_pairs: int) -> range:
        for free in range(n_pairs, _PAIRS_IN_LINE):
            if self._open.get(free):
                begin = self._open[free].pop()
                break
        else:
            free, begin = _PAIRS_IN_LINE, self._next_line
            self._next_line += _LINE
        end = begin + 2 * n_pairs
        if free > n_pairs:
            self._open.setdefault(free - n_pairs, []).append(end)
        return range(begin, end, 2)


def _little_endian(words: "array[int]") -> bytes:
    return struct.pack(f"<{len(words)}I", *words)
