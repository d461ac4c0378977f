"""Configurations: writing, deployments, subscriptions, and their JSON."""

import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.authorization import Authorization
from nucleus.configuration import Configuration, ConfigurationStore, parse_pointer, pointer
from nucleus.configuration_tree import KeyPath
from nucleus.errors import AccessControlError
from nucleus.personality import LITE

Tree = dict[str, Any]


def configured(value: Tree, timestamp_ms: int = 10) -> Configuration:
    configuration = Configuration()
    assert configuration.merge((), value, timestamp_ms)
    return configuration


def listen(configuration: Configuration, *key_path: str) -> list[KeyPath]:
    """The key paths that a subscription is told of from now on."""
    told: list[KeyPath] = []
    configuration.subscribe(key_path, told.append)
    return told


# --- reading and merging --------------------------------------------------------------------------


def test_a_new_configuration_is_an_empty_map() -> None:
    """So reading the whole never fails."""
    assert Configuration().value() == {}


def test_a_value_is_found_by_its_key_path() -> None:
    """A map or a leaf."""
    configuration = configured({"a": {"b": [1, {"c": 2}], "d": None}})
    assert configuration.value() == {"a": {"b": [1, {"c": 2}], "d": None}}
    assert configuration.value(("a",)) == {"b": [1, {"c": 2}], "d": None}
    assert configuration.value(("a", "b")) == [1, {"c": 2}]
    assert configuration.value(("a", "d")) is None


@pytest.mark.parametrize("key_path", [("x",), ("a", "x"), ("a", "b", "0"), ("a", "b", "x")])
def test_a_key_path_to_nothing_is_an_error(key_path: KeyPath) -> None:
    """Neither lists nor other leaves have keys."""
    with pytest.raises(KeyError):
        configured({"a": {"b": ["x"]}}).value(key_path)


def test_a_value_that_is_read_is_a_copy() -> None:
    """As is one that is written."""
    written = {"a": [1]}
    configuration = configured(written)
    written["a"].append(2)
    configuration.value()["a"].append(3)
    configuration.value(("a",)).append(4)
    assert configuration.value() == {"a": [1]}


def test_maps_are_merged_and_lists_replaced() -> None:
    """Nothing that is not named is touched."""
    configuration = configured({"a": {"b": 1, "c": [1, 2]}, "d": 4})
    assert configuration.merge((), {"a": {"c": [3], "e": 5}}, 11)
    assert configuration.value() == {"a": {"b": 1, "c": [3], "e": 5}, "d": 4}


def test_a_merge_below_makes_what_is_missing_on_the_way() -> None:
    """A leaf can be written by itself as well."""
    configuration = configured({"a": 1})
    assert configuration.merge(("b", "c"), {"d": 2}, 11)
    assert configuration.merge(("b", "c", "d"), 3, 12)
    assert configuration.value() == {"a": 1, "b": {"c": {"d": 3}}}


def test_an_older_write_leaves_newer_leaves_alone() -> None:
    """It takes effect where nothing newer stands, and says that it did not everywhere."""
    configuration = configured({"a": 1, "b": 2})
    configuration.merge(("a",), 3, 20)
    assert not configuration.merge((), {"a": 4, "b": 5, "c": 6}, 15)
    assert configuration.value() == {"a": 3, "b": 5, "c": 6}


def test_a_write_of_the_same_age_counts() -> None:
    """Only an older one does not."""
    configuration = configured({"a": 1}, 10)
    assert configuration.merge((), {"a": 2}, 10)
    assert configuration.value() == {"a": 2}


def test_a_newer_neighbour_makes_a_merge_old() -> None:
    """As on the classic nucleus, where a map is as old as its newest leaf."""
    configuration = configured({"a": {"b": 1}, "c": 2})
    configuration.merge(("c",), 3, 20)
    assert not configuration.merge((), {"a": {"b": 4}}, 15)
    assert configuration.value(("a", "b")) == 4
    assert configuration.merge(("a",), {"b": 5}, 15)


def test_between_a_map_and_a_leaf_the_newer_stays() -> None:
    """Either way."""
    leaf = configured({"a": 1}, 10)
    assert not leaf.merge((), {"a": {"b": 2}}, 9)
    assert leaf.value() == {"a": 1}
    assert leaf.merge((), {"a": {"b": 2}}, 11)
    assert leaf.value() == {"a": {"b": 2}}
    assert not leaf.merge((), {"a": 3}, 10)
    assert leaf.value() == {"a": {"b": 2}}
    assert leaf.merge((), {"a": 3}, 11)
    assert leaf.value() == {"a": 3}


def test_an_empty_map_is_kept() -> None:
    """A key of its own, which a later leaf replaces."""
    configuration = configured({"a": {}})
    assert configuration.value() == {"a": {}}
    assert configuration.merge((), {"a": 1}, 1)
    assert configuration.value() == {"a": 1}


def test_a_merge_through_a_leaf_is_refused() -> None:
    """It would delete the leaf."""
    configuration = configured({"a": {"b": 1}})
    with pytest.raises(ValueError) as caught:
        configuration.merge(("a", "b", "c", "d"), 2, 99)
    assert str(caught.value) == "configuration/a/b: got a leaf, expected a map"
    assert configuration.value() == {"a": {"b": 1}}


def test_the_whole_cannot_become_a_leaf() -> None:
    """A configuration is a map."""
    with pytest.raises(ValueError) as caught:
        Configuration().merge((), [1], 1)
    assert str(caught.value) == "configuration: got [1] for the whole, expected a map"


# --- properties -----------------------------------------------------------------------------------

LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.text("ab", max_size=2), st.lists(st.booleans())
)
# One shape for all, so that a key is a map everywhere or a leaf everywhere.
TREES = st.dictionaries(st.sampled_from(["leaf", "other", "map"]), st.none(), max_size=3).flatmap(
    lambda keys: st.fixed_dictionaries(
        {
            key: st.dictionaries(st.sampled_from("xyz"), LEAVES, min_size=1)
            if key == "map"
            else LEAVES
            for key in keys
        }
    )
)
ANY_TREES = st.recursive(
    st.dictionaries(st.sampled_from("abc"), LEAVES, max_size=3),
    lambda inner: st.dictionaries(st.sampled_from("abc"), st.one_of(LEAVES, inner), max_size=3),
    max_leaves=8,
)
TIMES = st.integers(1, 5)


def key_paths(value: Any, place: KeyPath = ()) -> set[KeyPath]:
    """Of all maps and leaves."""
    found = {place}
    if isinstance(value, dict):
        for key, child in value.items():
            found |= key_paths(child, (*place, key))
    return found


@given(ANY_TREES, ANY_TREES, TIMES, TIMES)
def test_merging_twice_is_merging_once(one: Tree, two: Tree, first: int, second: int) -> None:
    """A change that is told twice does no harm, and the second time nobody is told."""
    configuration = configured(one, first)
    configuration.merge((), two, second)
    once = configuration.to_json()
    told = listen(configuration)
    configuration.merge((), two, second)
    assert configuration.to_json() == once
    assert told == []


@given(st.lists(TREES, min_size=1, max_size=4), st.randoms())
def test_the_order_of_merges_does_not_matter(trees: list[Tree], random: Any) -> None:
    """The timestamp decides."""
    dated = list(enumerate(trees, start=1))
    ordered, shuffled = Configuration(), Configuration()
    for timestamp_ms, tree in dated:
        ordered.merge((), tree, timestamp_ms)
    random.shuffle(dated)
    for timestamp_ms, tree in dated:
        shuffled.merge((), tree, timestamp_ms)
    assert shuffled.to_json() == ordered.to_json()


@given(TREES, TREES, TIMES, TIMES)
def test_a_merge_never_deletes(one: Tree, two: Tree, first: int, second: int) -> None:
    """Whatever is merged, and however old it is."""
    configuration = configured(one, first)
    configuration.merge((), two, second)
    assert key_paths(configuration.value()) == key_paths(one) | key_paths(two)


@given(ANY_TREES, ANY_TREES, TIMES, TIMES)
def test_whoever_listens_can_follow(one: Tree, two: Tree, first: int, second: int) -> None:
    """Reading only the key paths that were told gives the new configuration."""
    configuration = configured(one, first)
    told = listen(configuration)
    before = configuration.value()
    configuration.merge((), two, second)
    for key_path in key_paths(before) | key_paths(configuration.value()):
        old = _at(before, key_path)
        new = _at(configuration.value(), key_path)
        is_leaf = not isinstance(old, dict) and not isinstance(new, dict)
        if is_leaf and json.dumps(old) != json.dumps(new):
            assert any(key_path[: len(it)] == it for it in told)


def _at(value: Any, key_path: KeyPath) -> Any:
    for key in key_path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@given(ANY_TREES, ANY_TREES, TIMES, TIMES)
def test_json_brings_everything_back(one: Tree, two: Tree, first: int, second: int) -> None:
    """Values and timestamps, through text as on disk."""
    configuration = configured(one, first)
    configuration.merge((), two, second)
    content = json.loads(json.dumps(configuration.to_json()))
    again = Configuration.from_json(content)
    assert again.to_json() == configuration.to_json()
    assert again.value() == configuration.value()


# --- deployments ----------------------------------------------------------------------------------


def test_a_first_deployment_gives_the_defaults_with_its_own_values_over_them() -> None:
    """Maps are merged, lists replaced."""
    configuration = Configuration()
    configuration.apply({"a": 1, "b": {"c": [2], "d": 3}}, [], {"b": {"c": [4]}}, 100)
    assert configuration.value() == {"a": 1, "b": {"c": [4], "d": 3}}


def test_a_changed_default_does_not_reach_a_device_that_has_the_key() -> None:
    """For the old default was written back as the deployment's own; a new key does arrive."""
    configuration = Configuration()
    configuration.apply({"a": 1, "map": {"old": 1}}, [], {}, 100)
    configuration.apply({"a": 2, "map": {"old": 2, "new": 2}, "b": 2}, [], {}, 200)
    assert configuration.value() == {"a": 1, "map": {"old": 1, "new": 2}, "b": 2}


def test_a_reset_brings_the_default_back() -> None:
    """Before the deployment's own values are merged."""
    configuration = Configuration()
    configuration.apply({"a": 1, "b": {"c": 1}}, [], {"a": 5, "b": {"c": 5, "x": 5}, "y": 5}, 100)
    defaults = {"a": 2, "b": {"c": 2, "d": 2}}
    configuration.apply(defaults, ["/a", "/b/c", "/y", "/no/such"], {"b": {"d": 9}}, 200)
    assert configuration.value() == {"a": 2, "b": {"c": 2, "d": 9, "x": 5}}


def test_a_reset_of_everything_leaves_defaults_and_the_merge() -> None:
    """By the empty pointer."""
    configuration = configured({"a": 5, "x": 5})
    configuration.apply({"a": 1}, [""], {"b": 2}, 200)
    assert configuration.value() == {"a": 1, "b": 2}


def test_an_element_of_a_list_cannot_be_reset(caplog: pytest.LogCaptureFixture) -> None:
    """It is logged and left."""
    configuration = configured({"a": [1, 2]})
    configuration.apply({"a": [3, 4]}, ["/a/0"], {}, 200)
    assert configuration.value() == {"a": [1, 2]}
    text = "reset of /a/0: got a place inside a leaf, which cannot be reset"
    assert caplog.messages == [text]


def test_a_reset_by_no_pointer_changes_nothing() -> None:
    """The deployment fails before it begins."""
    configuration = configured({"a": 1})
    with pytest.raises(ValueError) as caught:
        configuration.apply({"a": 2}, ["", "a"], {"b": 3}, 200)
    text = "JSON pointer: got 'a', expected '' or a text that starts '/'"
    assert str(caught.value) == text
    assert configuration.value() == {"a": 1}


def test_a_newer_write_of_the_component_outlives_a_deployment() -> None:
    """Also where the deployment would reset the key to a default."""
    configuration = Configuration()
    configuration.apply({"a": 1, "b": 1}, [], {}, 100)
    configuration.merge((), {"a": 7, "b": 7}, 300)
    configuration.apply({"a": 1, "b": 1}, ["/b"], {"a": 2}, 200)
    assert configuration.value() == {"a": 7, "b": 7}


def test_an_older_write_of_the_component_yields_to_a_deployment_that_names_it() -> None:
    """And outlives one that does not."""
    configuration = Configuration()
    configuration.apply({"a": 1, "b": 1}, [], {}, 100)
    configuration.merge((), {"a": 7, "b": 7}, 150)
    configuration.apply({"a": 1, "b": 1}, [], {"a": 2}, 200)
    assert configuration.value() == {"a": 2, "b": 7}


def test_a_deployment_dates_everything() -> None:
    """What it leaves as it is becomes its own, so a later write must be later than it."""
    configuration = configured({"a": 1}, 10)
    configuration.apply({}, [], {}, 100)
    assert not configuration.merge((), {"a": 2}, 99)
    assert configuration.merge((), {"a": 2}, 100)


def test_resolving_changes_nothing() -> None:
    """It tells what a deployment would aim at."""
    configuration = configured({"a": 1, "b": [1]}, 10)
    before = configuration.to_json()
    told = listen(configuration)
    resolved = configuration.resolve({"c": 3}, ["/a"], {"d": [4]}, 100)
    assert resolved == {"b": [1], "c": 3, "d": [4]}
    resolved["b"].append(2)
    assert configuration.to_json() == before
    assert told == []


# --- subscriptions --------------------------------------------------------------------------------


def test_a_subscription_is_told_the_key_path_of_each_leaf() -> None:
    """At its own place and below, and of nothing else."""
    configuration = configured({"a": {"b": 1, "c": 2}, "d": 3})
    whole, parent = listen(configuration), listen(configuration, "a")
    leaf, other = listen(configuration, "a", "b"), listen(configuration, "d")
    configuration.merge((), {"a": {"b": 5, "c": 6, "e": 7}}, 20)
    assert whole == parent == [("a", "b"), ("a", "c"), ("a", "e")]
    assert leaf == [("a", "b")]
    assert other == []


def test_a_write_that_changes_no_value_tells_nobody() -> None:
    """A newer timestamp is no news; True for 1 is, as they are not the same JSON."""
    configuration = configured({"a": 1, "b": {}})
    told = listen(configuration)
    configuration.merge((), {"a": 1, "b": {}, "c": {}}, 20)
    configuration.merge((), {"a": 2}, 19)
    assert told == []
    configuration.merge((), {"a": True}, 20)
    assert told == [("a",)]


def test_a_removal_is_told_above_and_below() -> None:
    """By the key path of what was removed."""
    configuration = configured({"a": {"b": {"c": 1}}, "d": 2})
    above, at, below = (listen(configuration, *it) for it in ("a", "ab", "abc"))
    other = listen(configuration, "d")
    configuration.apply({}, ["/a/b"], {}, 100)
    assert above == at == below == [("a", "b")]
    assert other == []


def test_a_leaf_that_becomes_a_map_is_told_with_what_is_in_it() -> None:
    """And a map that becomes a leaf by itself."""
    configuration = configured({"a": 1})
    told = listen(configuration)
    configuration.merge((), {"a": {"b": 2}}, 20)
    configuration.merge((), {"a": 3}, 21)
    assert told == [("a",), ("a", "b"), ("a",)]


def test_a_subscription_sees_the_change_done() -> None:
    """All of it, at the first key path already."""
    configuration = configured({"a": 1, "b": 1})
    seen: list[Any] = []
    configuration.subscribe((), lambda _: seen.append(configuration.value()))
    configuration.merge((), {"a": 2, "b": 2}, 20)
    assert seen == [{"a": 2, "b": 2}] * 2


def test_a_subscription_that_ended_hears_nothing() -> None:
    """Ending it twice is no harm, nor is ending it while told."""
    configuration = Configuration()
    told: list[KeyPath] = []

    def once(key_path: KeyPath) -> None:
        told.append(key_path)
        end()

    end = configuration.subscribe((), once)
    configuration.merge((), {"a": 1}, 10)
    configuration.merge((), {"a": 2}, 20)
    end()
    assert told == [("a",)]


# --- JSON -----------------------------------------------------------------------------------------


def test_the_json_tells_values_and_ages() -> None:
    """The form that devices keep on disk."""
    assert configured({"a": {"b": [1]}}).to_json() == {
        "keys": {"a": {"keys": {"b": {"value": [1], "timestampMs": 10}}}}
    }


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([], "configuration: got [], expected keys, or value and timestampMs"),
        ({"value": 1, "timestampMs": 2}, "configuration: got a leaf, expected a map"),
        (
            {"keys": {"a": {"value": 1}}},
            'configuration/a: got {"value": 1}, expected keys, or value and timestampMs',
        ),
        (
            {"keys": {"a": {"value": 1, "timestampMs": "2"}}},
            'configuration/a: got {"value": 1, "timestampMs": "2"}, '
            "expected keys, or value and timestampMs",
        ),
    ],
)
def test_json_of_another_form_is_refused(content: object, text: str) -> None:
    """The text names the place."""
    with pytest.raises(ValueError) as caught:
        Configuration.from_json(content)
    assert str(caught.value) == text


# --- the store ------------------------------------------------------------------------------------


def test_a_store_opens_what_it_does_not_know() -> None:
    """And gives the same again."""
    store = ConfigurationStore()
    assert "A" not in store
    with pytest.raises(KeyError):
        store["A"]
    configuration = store.open("A")
    assert store["A"] is store.open("A") is configuration
    store.open("0")
    assert list(store) == ["0", "A"]


def test_a_store_tells_once_of_each_change() -> None:
    """With the component and all key paths, so that it can be written to disk."""
    told: list[Any] = []
    store = ConfigurationStore(lambda *change: told.append(change))
    store.open("A").merge((), {"a": 1, "b": 2}, 10)
    store.open("A").merge((), {"a": 1, "b": 2}, 20)
    assert told == [("A", (("a",), ("b",)))]


def test_a_store_comes_back_from_its_json() -> None:
    """It tells of changes as before."""
    store = ConfigurationStore()
    store.open("A").merge((), {"a": 1}, 10)
    store.open("B")
    told: list[Any] = []
    again = ConfigurationStore.from_json(
        json.loads(json.dumps(store.to_json())), lambda *change: told.append(change)
    )
    assert again.to_json() == store.to_json()
    assert list(again) == ["A", "B"]
    again["A"].merge((), {"a": 2}, 20)
    assert told == [("A", (("a",),))]


def test_a_store_of_another_form_is_refused() -> None:
    """Such as a list."""
    with pytest.raises(ValueError) as caught:
        ConfigurationStore.from_json([1])
    assert str(caught.value) == "configurations: got [1], expected a map"


def test_policies_are_loaded_for_all_and_when_they_change() -> None:
    """Once for each change; not for a change of something else."""
    store = ConfigurationStore()
    store.open("A").merge((), {"accessControl": {"s": {"1": {}}}}, 10)
    store.open("B").merge((), {"x": 1}, 10)
    loaded: list[Any] = []
    store.follow_policies(lambda *it: loaded.append(it))
    assert loaded == [("A", {"s": {"1": {}}}), ("B", None)]
    loaded.clear()
    store["B"].merge((), {"x": 2}, 20)
    assert loaded == []
    change: Tree = {"accessControl": {"s": {"1": {"operations": [], "resources": []}}}}
    store["A"].apply({}, [], change, 20)
    assert loaded == [("A", change["accessControl"])]
    loaded.clear()
    store["A"].apply({}, [""], {}, 30)
    store.remove("A")
    store.remove("A")
    assert loaded == [("A", None), ("A", None)]
    assert "A" not in store


def test_a_policy_that_lite_refuses_fails_whoever_changed_it() -> None:
    """It can be found out before by resolving and validating."""
    store, authorization = ConfigurationStore(), Authorization(LITE)
    store.follow_policies(authorization.load)
    bad = {"accessControl": {"s": {"1": {"operations": ["*"], "resources": ["?"]}}}}
    resolved = store.open("A").resolve({}, [], bad, 10)
    with pytest.raises(AccessControlError):
        authorization.validate("A", resolved["accessControl"])
    with pytest.raises(AccessControlError):
        store["A"].apply({}, [], bad, 10)


# --- JSON pointers --------------------------------------------------------------------------------

# Source: RFC 6901, section 5.
RFC = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("", RFC),
        ("/foo", ["bar", "baz"]),
        ("/foo/0", "bar"),
        ("/", 0),
        ("/a~1b", 1),
        ("/c%d", 2),
        ("/e^f", 3),
        ("/g|h", 4),
        ("/i\\j", 5),
        ('/k"l', 6),
        ("/ ", 7),
        ("/m~0n", 8),
    ],
)
def test_a_pointer_finds_what_the_rfc_says(reference: str, expected: object) -> None:
    """All examples of the standard."""
    assert pointer(RFC, reference) == expected


@pytest.mark.parametrize(
    "reference", ["/x", "/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/²", "/a~1b/c", "/foo/0/0"]
)
def test_a_pointer_to_nothing_is_an_error(reference: str) -> None:
    """The place after the last element of a list included."""
    with pytest.raises(KeyError):
        pointer(RFC, reference)


def test_a_pointer_unescapes_in_the_right_order() -> None:
    """`~01` is `~1`, and no slash."""
    assert parse_pointer("/~01/~1~0") == ["~1", "/~"]


def test_a_text_without_a_slash_is_no_pointer() -> None:
    """It may be meant as a plain key."""
    with pytest.raises(ValueError) as caught:
        pointer(RFC, "foo")
    text = "JSON pointer: got 'foo', expected '' or a text that starts '/'"
    assert str(caught.value) == text


def test_nothing_is_logged_by_an_ordinary_deployment(caplog: pytest.LogCaptureFixture) -> None:
    """Configurations may hold what is nobody's business."""
    with caplog.at_level(logging.DEBUG):
        configured({"a": 1}).apply({"b": 2}, ["/a"], {"c": 3}, 100)
    assert caplog.messages == []


# --- back to a snapshot ---------------------------------------------------------------------------


def test_replace_goes_back_to_a_snapshot_with_its_timestamps() -> None:
    """However new what is there may be; subscribers hear what has changed, and only that."""
    configuration = Configuration()
    configuration.merge((), {"same": 1, "a": {"b": 1}, "leaf": 1, "map": {"x": 1}}, 5)
    snapshot = Configuration.from_json(configuration.to_json())
    heard: list[tuple[str, ...]] = []
    configuration.subscribe((), heard.append)
    configuration.merge((), {"a": {"b": 2}, "new": 2, "leaf": {"y": 2}, "map": 2}, 2**50)
    heard.clear()
    configuration.replace(snapshot)
    assert configuration.to_json() == snapshot.to_json()
    assert sorted(heard) == [("a", "b"), ("leaf",), ("map",), ("map", "x"), ("new",)]


@given(before=ANY_TREES, after=ANY_TREES)
def test_replace_gives_what_the_other_has(before: dict[str, Any], after: dict[str, Any]) -> None:
    """Whatever either holds."""
    configuration, other = Configuration(), Configuration()
    configuration.merge((), before, 9)
    other.merge((), after, 3)
    configuration.replace(other)
    assert configuration.to_json() == other.to_json()


def test_store_replace_removes_and_adds_components_with_their_policies() -> None:
    """As of a deployment, or of what was there before one."""
    store, other = ConfigurationStore(), ConfigurationStore()
    store.open("A").merge((), {"accessControl": {"x": 1}}, 5)
    other.open("B").merge((), {"accessControl": {"y": 1}}, 5)
    loaded: list[tuple[str, Any]] = []
    store.follow_policies(lambda component, policy: loaded.append((component, policy)))
    loaded.clear()
    store.replace(other)
    assert list(store) == ["B"]
    assert loaded == [("A", None), ("B", {"y": 1})]
