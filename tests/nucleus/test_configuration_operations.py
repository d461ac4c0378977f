"""Reading, changing and following configurations over IPC, without a socket."""

from typing import Any

import pytest

from nucleus.configuration import ConfigurationStore
from nucleus.operation import IpcError, Operations
from nucleus.operations.configuration import configuration_operations
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.recording import A, B, call, open_stream, refused

NOW_MS = 5_000

ACCESS = {"service": {"1": {"operations": ["*"]}}}


@pytest.fixture
def store() -> ConfigurationStore:
    store = ConfigurationStore()
    value = {"a": {"b": [1], "c": "x"}, "n": 7, "accessControl": ACCESS}
    store.open("A").merge((), value, 1_000)
    store.open("B").merge((), {"b": True}, 1_000)
    return store


@pytest.fixture
def operations(store: ConfigurationStore, personality: Personality) -> Operations:
    return configuration_operations(store, personality, now_ms=lambda: NOW_MS)


def served(store: ConfigurationStore, personality: Personality) -> Operations:
    return configuration_operations(store, personality, now_ms=lambda: NOW_MS)


# --- GetConfiguration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "component", "value"),
    [
        ({"keyPath": ["a"]}, "A", {"b": [1], "c": "x"}),
        ({"keyPath": ["a", "b"]}, "A", {"b": [1]}),
        ({"keyPath": ["n"]}, "A", {"n": 7}),
        ({"componentName": "B"}, "B", {"b": True}),
        ({"componentName": "B", "keyPath": []}, "B", {"b": True}),
        ({"componentName": None, "keyPath": None}, "A", None),
        ({}, "A", None),
    ],
)
def test_what_is_read_is_a_map_or_a_leaf_under_its_own_key(
    request_: dict[str, Any],
    component: str,
    value: Any,
    operations: Operations,
    store: ConfigurationStore,
) -> None:
    """Of any component; without a name, of the caller; without a key path, the whole."""
    expected = store["A"].value() if value is None else value
    answer = call(operations, "GetConfiguration", **request_)
    assert answer == {"componentName": component, "value": expected}


@pytest.mark.parametrize("name", ["GetConfiguration", "SubscribeToConfigurationUpdate"])
@pytest.mark.parametrize(
    ("request_", "resource"),
    [
        ({"keyPath": ["x"]}, "A/x"),
        ({"keyPath": ["a", "c", "d"]}, "A/a/c/d"),
        ({"componentName": "C"}, "C"),
    ],
)
def test_an_unknown_place_is_not_found(
    name: str, request_: dict[str, Any], resource: str, operations: Operations
) -> None:
    """With the resource that was looked for."""
    with pytest.raises(IpcError) as caught:
        call(operations, name, **request_)
    assert str(caught.value) == "ResourceNotFoundError: Key not found"
    assert caught.value.fields == {"resourceType": "Configuration", "resourceName": resource}


@pytest.mark.parametrize("name", ["GetConfiguration", "SubscribeToConfigurationUpdate"])
@pytest.mark.parametrize(
    "request_", [{"keyPath": "a"}, {"keyPath": ["a", 1]}, {"componentName": 7}]
)
def test_a_malformed_place_is_refused(
    name: str, request_: dict[str, Any], operations: Operations, personality: Personality
) -> None:
    """Lite has ServiceError for that."""
    code = "ServiceError" if personality is LITE else "InvalidArgumentsError"
    assert refused(operations, name, **request_) == (code, "Received invalid parameters.")


# --- UpdateConfiguration --------------------------------------------------------------------------


def test_an_update_merges_into_the_callers_own(
    operations: Operations, store: ConfigurationStore
) -> None:
    """Nothing is deleted, and another component that is named is not touched."""
    request: dict[str, Any] = {"keyPath": ["a"], "timestamp": 2.0, "valueToMerge": {"c": "y"}}
    assert call(operations, "UpdateConfiguration", A, componentName="B", **request) == {}
    assert store["A"].value(("a",)) == {"b": [1], "c": "y"}
    assert store["B"].value() == {"b": True}


def test_an_update_of_the_whole_needs_no_key_path(
    operations: Operations, store: ConfigurationStore
) -> None:
    """It merges at the root."""
    call(operations, "UpdateConfiguration", B, timestamp=2.0, valueToMerge={"new": {"x": "y"}})
    assert store["B"].value() == {"b": True, "new": {"x": "y"}}


def test_an_old_update_fails_on_classic(store: ConfigurationStore) -> None:
    """The proposed value does not count."""
    operations = served(store, CLASSIC)
    request: dict[str, Any] = {"keyPath": ["a"], "timestamp": 0.999, "valueToMerge": {"c": "y"}}
    assert refused(operations, "UpdateConfiguration", **request) == (
        "FailedUpdateConditionCheckError",
        "Proposed timestamp is older than the config's latest modified timestamp",
    )
    assert store["A"].value(("a", "c")) == "x"


def test_an_old_update_goes_unnoticed_on_lite(store: ConfigurationStore) -> None:
    """It succeeds, and does nothing."""
    operations = served(store, LITE)
    request: dict[str, Any] = {"keyPath": ["a"], "timestamp": 0.999, "valueToMerge": {"c": "y"}}
    assert call(operations, "UpdateConfiguration", **request) == {}
    assert store["A"].value(("a", "c")) == "x"


@pytest.mark.parametrize(("key_path", "dated_ms"), [(["new", "place"], NOW_MS), (["a"], 2_000)])
def test_a_new_place_is_dated_by_the_device_on_classic(
    key_path: list[str], dated_ms: int, store: ConfigurationStore
) -> None:
    """So the component's own clock must not be behind when it writes there again."""
    operations = served(store, CLASSIC)
    update: dict[str, Any] = {"keyPath": key_path, "timestamp": 2.0, "valueToMerge": {"x": "y"}}
    call(operations, "UpdateConfiguration", **update)
    assert store["A"].merge((*key_path, "x"), "z", dated_ms)
    assert not store["A"].merge((*key_path, "x"), "z", dated_ms - 1)


def test_a_new_place_is_dated_by_the_component_on_lite(store: ConfigurationStore) -> None:
    """In milliseconds."""
    operations = served(store, LITE)
    call(operations, "UpdateConfiguration", keyPath=["new"], timestamp=2.0, valueToMerge={"x": "y"})
    assert not store["A"].merge(("new", "x"), "z", 1_999)
    assert store["A"].merge(("new", "x"), "z", 2_000)


def test_integers_become_doubles_on_classic(store: ConfigurationStore) -> None:
    """Java reads every number of a map as one; lite keeps them."""
    value = {"n": 3, "deep": [{"m": 4}, True, None, 1.5, "5"]}
    for personality, number in ((CLASSIC, float), (LITE, int)):
        call(served(store, personality), "UpdateConfiguration", timestamp=2.0, valueToMerge=value)
        found = store["A"].value()
        assert found["n"] == 3
        assert found["deep"] == [{"m": 4}, True, None, 1.5, "5"]
        assert (type(found["n"]), type(found["deep"][0]["m"])) == (number, number)
        assert found["deep"][1] is True


@pytest.mark.parametrize(
    "request_",
    [
        {"valueToMerge": {"accessControl": {}}},
        {"valueToMerge": {"a": 1, "accessControl": {}}},
        {"keyPath": ["accessControl"], "valueToMerge": {"x": {}}},
        {"keyPath": ["accessControl", "service"], "valueToMerge": {"x": {}}},
    ],
)
def test_a_component_cannot_change_what_it_may(
    request_: dict[str, Any], operations: Operations, store: ConfigurationStore
) -> None:
    """Not even beside other keys; below the root the name is nothing special."""
    assert refused(operations, "UpdateConfiguration", timestamp=9.0, **request_) == (
        "InvalidArgumentsError",
        "Config update is not allowed for following fields [accessControl]",
    )
    assert store["A"].value(("accessControl",)) == ACCESS
    deep: dict[str, Any] = {"accessControl": {"x": "y"}}
    call(operations, "UpdateConfiguration", keyPath=["a"], timestamp=9.0, valueToMerge=deep)
    assert store["A"].value(("a", "accessControl")) == {"x": "y"}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({"valueToMerge": {}}, "Timestamp is required"),
        ({"timestamp": "1", "valueToMerge": {}}, "Timestamp is required"),
        ({"timestamp": True, "valueToMerge": {}}, "Timestamp is required"),
        ({"timestamp": float("inf"), "valueToMerge": {}}, "Timestamp is required"),
        ({"timestamp": 2.0}, "ValueToMerge is required"),
        ({"timestamp": 2.0, "valueToMerge": [1]}, "ValueToMerge is required"),
        (
            {"timestamp": 2.0, "valueToMerge": {}, "keyPath": "a"},
            "Received invalid parameters.",
        ),
    ],
)
def test_an_update_without_what_it_needs_is_refused_on_classic(
    request_: dict[str, Any], text: str, store: ConfigurationStore
) -> None:
    """An integer for a timestamp is taken there."""
    operations = served(store, CLASSIC)
    answer = refused(operations, "UpdateConfiguration", **request_)
    assert answer == ("InvalidArgumentsError", text)
    assert call(operations, "UpdateConfiguration", timestamp=2, valueToMerge={}) == {}


@pytest.mark.parametrize(
    "request_",
    [
        {"valueToMerge": {}},
        {"timestamp": 2, "valueToMerge": {}},
        {"timestamp": float("nan"), "valueToMerge": {}},
        {"timestamp": 2.0},
        {"timestamp": 2.0, "valueToMerge": {}, "keyPath": [1]},
    ],
)
def test_an_update_without_what_it_needs_is_refused_on_lite(
    request_: dict[str, Any], store: ConfigurationStore
) -> None:
    """An integer for a timestamp is not taken there."""
    answer = refused(served(store, LITE), "UpdateConfiguration", **request_)
    assert answer == ("InvalidArgumentsError", "Received invalid parameters.")


def test_lite_takes_any_json_for_a_leaf(store: ConfigurationStore) -> None:
    """The SDK sends maps alone, but lite does not insist."""
    request: dict[str, Any] = {"keyPath": ["n"], "timestamp": 2.0, "valueToMerge": [8]}
    call(served(store, LITE), "UpdateConfiguration", **request)
    assert store["A"].value(("n",)) == [8]


def test_an_update_through_a_leaf_is_a_service_error(operations: Operations) -> None:
    """It would delete the leaf."""
    request: dict[str, Any] = {
        "keyPath": ["n", "x", "y"],
        "timestamp": 9.0,
        "valueToMerge": {"z": "1"},
    }
    text = "configuration/n: got a leaf, expected a map"
    assert refused(operations, "UpdateConfiguration", **request) == ("ServiceError", text)


def test_a_component_without_configuration_cannot_update(personality: Personality) -> None:
    """Such as one that was removed while it ran."""
    operations = configuration_operations(ConfigurationStore(), personality)
    request: dict[str, Any] = {"timestamp": 9.0, "valueToMerge": {}}
    text = "Component config not found for component A"
    assert refused(operations, "UpdateConfiguration", **request) == ("InvalidArgumentsError", text)


def test_without_a_clock_the_machines_counts() -> None:
    """In milliseconds since 1970."""
    store = ConfigurationStore()
    store.open("A")
    operations = configuration_operations(store, CLASSIC)
    request: dict[str, Any] = {"keyPath": ["x"], "timestamp": 0.0, "valueToMerge": {"y": "z"}}
    call(operations, "UpdateConfiguration", **request)
    year_2020_ms, year_2100_ms = 1_577_836_800_000, 4_102_444_800_000
    assert not store["A"].merge(("x", "y"), "w", year_2020_ms)
    assert store["A"].merge(("x", "y"), "w", year_2100_ms)


# --- SubscribeToConfigurationUpdate ---------------------------------------------------------------


def event(component: str, *key_path: str) -> tuple[str, Any]:
    fields = {"componentName": component, "keyPath": list(key_path)}
    return ("ConfigurationUpdateEvents", {"configurationUpdateEvent": fields})


def test_a_subscriber_is_told_where_without_the_value(
    operations: Operations, store: ConfigurationStore
) -> None:
    """For each leaf below the key path; of any component."""
    whole = open_stream(operations, "SubscribeToConfigurationUpdate")
    leaf = open_stream(operations, "SubscribeToConfigurationUpdate", keyPath=["a", "c"])
    other = open_stream(
        operations, "SubscribeToConfigurationUpdate", componentName="B", keyPath=None
    )
    store["A"].apply({}, ["/n"], {"a": {"b": [2], "c": "y"}}, 9_000)
    assert whole.events == [event("A", "n"), event("A", "a", "b"), event("A", "a", "c")]
    assert leaf.events == [event("A", "a", "c")]
    assert other.events == []
    store["B"].merge((), {"b": False}, 9_000)
    assert other.events == [event("B", "b")]


def test_an_update_by_the_component_itself_is_told(operations: Operations) -> None:
    """It hears of its own change."""
    stream = open_stream(operations, "SubscribeToConfigurationUpdate", keyPath=["a"])
    request: dict[str, Any] = {"keyPath": ["a"], "timestamp": 2.0, "valueToMerge": {"c": "y"}}
    call(operations, "UpdateConfiguration", **request)
    assert stream.events == [event("A", "a", "c")]


def test_a_closed_stream_ends_the_subscription(
    operations: Operations, store: ConfigurationStore
) -> None:
    """The others go on."""
    streams = [open_stream(operations, "SubscribeToConfigurationUpdate") for _ in range(2)]
    streams[0].close()
    store["A"].merge((), {"n": 8}, 9_000)
    assert [len(stream.events) for stream in streams] == [0, 1]
