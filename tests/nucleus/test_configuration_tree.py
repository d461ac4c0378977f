"""The trees below configurations; what they do for one is tested with it."""

import pytest

from nucleus.configuration_tree import (
    KeyPath,
    Leaf,
    Node,
    merge_into,
    newest,
    node_from_json,
    node_to_json,
    prune,
    to_value,
)


def tree() -> Node:
    return {"a": Leaf(1, 10), "b": {"c": Leaf([2], 30), "d": {}}}


def test_the_newest_leaf_dates_a_map() -> None:
    """One without leaves is as old as can be."""
    assert newest(tree()) == 30
    assert newest({"d": {}}) == 0
    assert newest(Leaf(1, 10)) == 10


def test_the_value_has_no_timestamps() -> None:
    """And is nobody else's."""
    node = tree()
    to_value(node)["b"]["c"].append(3)
    assert to_value(node) == {"a": 1, "b": {"c": [2], "d": {}}}


def test_pruning_leaves_what_is_wanted() -> None:
    """And tells the topmost of what it removes; leaf and map are not told apart."""
    node, removed = tree(), list[KeyPath]()
    prune(node, {"b": {"c": "any"}}, ("root",), removed)
    assert to_value(node) == {"b": {"c": [2]}}
    assert removed == [("root", "a"), ("root", "b", "d")]
    prune(node, {"b": 1}, (), removed)
    assert to_value(node) == {"b": {"c": [2]}}


def test_merging_dates_what_it_writes() -> None:
    """Also where the value stays the same, which is no change."""
    node, changed = tree(), list[KeyPath]()
    merge_into(node, {"a": 1, "b": {"c": [4]}, "e": 5}, 20, ("root",), changed)
    assert node == {"a": Leaf(1, 20), "b": {"c": Leaf([2], 30), "d": {}}, "e": Leaf(5, 20)}
    assert changed == [("root", "e")]


def test_json_brings_a_tree_back() -> None:
    """Empty maps included."""
    assert node_from_json(node_to_json(tree()), "x") == tree()


def test_json_of_another_form_names_its_place() -> None:
    """From the name that the whole was given."""
    with pytest.raises(ValueError) as caught:
        node_from_json({"keys": {"a": {"keys": {"b": 1}}}}, "x")
    assert str(caught.value) == "x/a/b: got 1, expected keys, or value and timestampMs"
