"""Policies as each nucleus reads them."""

import json
import logging
from typing import Any

import pytest

from nucleus.authorization import CLI, MQTT_PROXY, PUBSUB, Authorization
from nucleus.errors import AccessControlError
from nucleus.operation import IpcError
from nucleus.personality import CLASSIC, LITE, Personality

PUBLISH = "aws.greengrass#PublishToTopic"
SUBSCRIBE = "aws.greengrass#SubscribeToTopic"
TO_CLOUD = "aws.greengrass#PublishToIoTCore"
RESTART = "aws.greengrass#RestartComponent"


def policy(
    resources: object = ("*",), operations: object = ("*",), service: str = PUBSUB
) -> dict[str, Any]:
    """An access control of one policy."""
    fields: dict[str, object] = {"policyDescription": "what it is for"}
    for key, value in (("operations", operations), ("resources", resources)):
        if value is not None:
            fields[key] = list(value) if isinstance(value, tuple) else value
    return {service: {"A:1": fields}}


def loaded(
    access_control: object, personality: Personality = CLASSIC, **options: Any
) -> Authorization:
    authorization = Authorization(personality, **options)
    authorization.load("A", access_control)
    return authorization


def allows(
    authorization: Authorization,
    resource: str = "a/b",
    operation: str = PUBLISH,
    service: str = PUBSUB,
    component: str = "A",
) -> bool:
    try:
        authorization.check(component, service, operation, resource)
    except IpcError as error:
        assert error.code == "UnauthorizedError"
        return False
    return True


def test_without_a_policy_nothing_is_allowed(personality: Personality) -> None:
    """Neither to a component that was loaded without one, nor to one that is not known."""
    authorization = loaded(None, personality)
    assert not allows(authorization)
    assert not allows(authorization, component="B")


def test_a_refusal_on_classic_names_principal_operation_and_resource() -> None:
    """In the words of the nucleus."""
    with pytest.raises(IpcError) as caught:
        loaded(policy(("x",))).check("A", PUBSUB, PUBLISH, "a/b")
    assert str(caught.value) == (
        "UnauthorizedError: Principal A is not authorized to perform "
        "aws.greengrass.ipc.pubsub:aws.greengrass#PublishToTopic on resource a/b"
    )


def test_a_refusal_on_lite_says_little() -> None:
    """In the words of lite; the log says what was asked for."""
    with pytest.raises(IpcError) as caught:
        loaded(policy(("x",)), LITE).check("A", PUBSUB, PUBLISH, "a/b")
    assert str(caught.value) == "UnauthorizedError: IPC Operation not authorized."


def test_a_refusal_is_logged(personality: Personality, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever runs the device can see which policy lacks."""
    with caplog.at_level(logging.INFO):
        assert not allows(loaded(None, personality))
    assert caplog.messages == [f"not authorized: A to perform {PUBSUB}:{PUBLISH} on a/b"]


GRANTS = [
    ("the operation", policy(operations=(PUBLISH,)), PUBLISH, PUBSUB, True),
    ("another operation", policy(operations=(SUBSCRIBE,)), PUBLISH, PUBSUB, False),
    ("one of several", policy(operations=(SUBSCRIBE, PUBLISH)), PUBLISH, PUBSUB, True),
    ("all operations", policy(), SUBSCRIBE, PUBSUB, True),
    ("without the prefix", policy(operations=("PublishToTopic",)), PUBLISH, PUBSUB, False),
    ("another service", policy(service=MQTT_PROXY), PUBLISH, PUBSUB, False),
    ("no operations", policy(operations=()), PUBLISH, PUBSUB, False),
    ("missing operations", policy(operations=None), PUBLISH, PUBSUB, False),
    ("another resource", policy(("a",)), PUBLISH, PUBSUB, False),
    ("one of several resources", policy(("x", "a/b")), PUBLISH, PUBSUB, True),
    ("an empty access control", {}, PUBLISH, PUBSUB, False),
    ("a service without policies", {PUBSUB: {}}, PUBLISH, PUBSUB, False),
    ("an operation nobody has", policy(operations=("x#Y", PUBLISH)), PUBLISH, PUBSUB, True),
    ("the command line", policy(("a/b",), (RESTART,), CLI), RESTART, CLI, True),
]


@pytest.mark.parametrize(
    ("access_control", "operation", "service", "expected"),
    [case[1:] for case in GRANTS],
    ids=[case[0] for case in GRANTS],
)
def test_a_policy_grants_what_it_lists(
    access_control: object, operation: str, service: str, expected: bool, personality: Personality
) -> None:
    """On both nuclei."""
    authorization = loaded(access_control, personality)
    assert allows(authorization, "a/b", operation, service) is expected


def test_a_second_policy_grants_where_the_first_does_not(personality: Personality) -> None:
    """Policies add up, also where the first one is for the same operation."""
    first, second = {"operations": ["*"], "resources": ["x"]}, {"operations": [PUBLISH]}
    second["resources"] = ["a/b"]
    assert allows(loaded({PUBSUB: {"1": first, "2": second}}, personality))


@pytest.mark.parametrize("resources", [None, ()], ids=["missing", "empty"])
def test_missing_resources_are_everything_on_classic_and_nothing_on_lite(
    resources: object,
) -> None:
    """Lite drops such a policy."""
    assert allows(loaded(policy(resources)))
    assert not allows(loaded(policy(resources), LITE))


def test_keys_of_a_policy_have_no_case_on_classic() -> None:
    """Lite wants them exactly."""
    shouted = {PUBSUB: {"1": {"Operations": ["*"], "RESOURCES": ["*"]}}}
    assert allows(loaded(shouted))
    assert not allows(loaded(shouted, LITE))


def test_json_text_is_taken_on_classic_alone() -> None:
    """A leaf of text is parsed there."""
    assert allows(loaded(json.dumps(policy())))
    assert not allows(loaded(json.dumps(policy()), LITE))


@pytest.mark.parametrize(
    ("access_control", "log"),
    [
        ("no JSON", "A.accessControl: got text that is no JSON, expected a map"),
        ("[]", "A.accessControl: got [], expected a map"),
        (7, "A.accessControl: got 7, expected a map"),
        ({PUBSUB: []}, f"A.accessControl.{PUBSUB}: got [], expected a map"),
        ({PUBSUB: {"1": None}}, f"A.accessControl.{PUBSUB}.1: got null, expected a map"),
        (
            {PUBSUB: {"1": {"operations": "*"}}},
            f'A.accessControl.{PUBSUB}.1.operations: got "*", expected a list of strings',
        ),
        (
            {PUBSUB: {"1": {"operations": ["*"], "resources": [1]}}},
            f"A.accessControl.{PUBSUB}.1.resources: got [1], expected a list of strings",
        ),
        (
            {PUBSUB: {"1": {"operation": ["*"]}}},
            f"A.accessControl.{PUBSUB}.1: got the key 'operation', "
            "expected policyDescription, operations or resources",
        ),
    ],
)
def test_a_malformed_access_control_on_classic_is_logged_and_grants_nothing(
    access_control: object, log: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad policy costs the component all of them; the deployment goes on."""
    if isinstance(access_control, dict):
        access_control = {**access_control, MQTT_PROXY: {"2": {"operations": ["*"]}}}
    authorization = loaded(access_control)
    assert caplog.messages == [f"the component is allowed nothing: {log}"]
    assert not allows(authorization)
    assert not allows(authorization, "a", TO_CLOUD, MQTT_PROXY)


def test_a_malformed_policy_on_lite_costs_that_policy(caplog: pytest.LogCaptureFixture) -> None:
    """The others count."""
    good, bad = {"operations": ["*"], "resources": ["*"]}, {"operations": "*"}
    assert allows(loaded({PUBSUB: {"1": bad, "2": good}}, LITE))
    place = f"A.accessControl.{PUBSUB}.1.operations"
    text = f'a policy that allows nothing: {place}: got "*", expected a list of strings'
    assert caplog.messages == [text]


DROPPED = "expected one at least; policy dropped"


@pytest.mark.parametrize(
    ("access_control", "personality", "log"),
    [
        (policy(operations=()), CLASSIC, f"{PUBSUB}.A:1: got no operations, {DROPPED}"),
        (policy(operations=None), LITE, f"{PUBSUB}.A:1: got no operations, {DROPPED}"),
        (policy(None), LITE, f"{PUBSUB}.A:1: got no resources, {DROPPED}"),
        (
            policy(operations=("x",)),
            CLASSIC,
            f"{PUBSUB}.A:1: got the operation 'x', which {PUBSUB} does not have",
        ),
        (
            policy(service="x"),
            LITE,
            "x.A:1: got the service 'x', which the nucleus does not have",
        ),
        (
            policy(("a?",)),
            CLASSIC,
            f"{PUBSUB}.A:1.resources[0]: got 'a?', "
            "expected '?' only in the escape ${?}; resource skipped",
        ),
        (
            policy(("a{b}",)),
            LITE,
            f"{PUBSUB}.A:1.resources[0]: got 'a{{b}}', "
            "expected no other variable than {iot:thingName}; resource skipped",
        ),
    ],
)
def test_what_does_not_count_is_logged(
    access_control: object,
    personality: Personality,
    log: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The deployment goes on, so the log is all that tells."""
    loaded(access_control, personality)
    assert caplog.messages == [f"A.accessControl.{log}"]


def test_a_bad_resource_on_classic_leaves_the_others() -> None:
    """It is skipped; a policy whose resources are all bad grants nothing."""
    authorization = loaded(policy(("a?", "${x}", "a/b")))
    assert allows(authorization, "a/b")
    assert not allows(authorization, "a?")
    assert not allows(loaded(policy(("a?",))))


@pytest.mark.parametrize(
    ("resource", "reason"),
    [
        ("a?", "expected '?' only in the escape ${?}"),
        ("a${b}", "expected no other escape than ${*}, ${?} or ${$}"),
    ],
)
def test_a_bad_resource_fails_a_deployment_on_lite(resource: str, reason: str) -> None:
    """The error says where it is, and what was loaded before still counts."""
    authorization = loaded(policy(("a/b",)), LITE)
    for method in (authorization.load, authorization.validate):
        with pytest.raises(AccessControlError) as caught:
            method("A", policy(("fine", resource)))
        place = f"A.accessControl.{PUBSUB}.A:1.resources[1]"
        assert str(caught.value) == f"{place}: got {resource!r}, {reason}"
        assert caught.value.place == place
    assert allows(authorization, "a/b")
    assert not allows(authorization, "fine")


def test_validation_changes_nothing(personality: Personality) -> None:
    """It only looks; classic has nothing to object to."""
    authorization = loaded(policy(("x",)), personality)
    authorization.validate("A", policy(("a/b",)))
    assert not allows(authorization, "a/b")
    Authorization(CLASSIC).validate("A", policy(("a?",)))


def test_a_request_for_a_bad_resource_is_refused_on_lite() -> None:
    """Lite holds topics to the grammar of policies, whatever the policy says."""
    authorization = loaded(policy(("*",)), LITE)
    assert not allows(authorization, "a?")
    assert allows(loaded(policy(("*",))), "a?")


@pytest.mark.parametrize(
    ("personality", "options", "topic", "expected"),
    [
        (LITE, {"thing_name": "T"}, "T/a", True),
        (CLASSIC, {"thing_name": "T"}, "T/a", False),
        (CLASSIC, {"thing_name": "T"}, "{iot:thingName}/a", True),
        (CLASSIC, {"thing_name": "T", "interpolates_resources": True}, "T/a", True),
    ],
)
def test_the_thing_name_is_interpolated_where_the_nucleus_does_so(
    personality: Personality, options: dict[str, Any], topic: str, expected: bool
) -> None:
    """Classic wants to be told to."""
    authorization = loaded(policy(("{iot:thingName}/*",)), personality, **options)
    assert allows(authorization, topic) is expected


def test_an_empty_resource_is_nothing_on_classic(caplog: pytest.LogCaptureFixture) -> None:
    """Neither in a policy nor in a request; lite has nothing against it."""
    assert not allows(loaded(policy(("",))), "")
    place = f"A.accessControl.{PUBSUB}.A:1.resources[0]"
    assert caplog.messages == [f"{place}: got an empty text, expected a resource; resource skipped"]
    assert not allows(loaded(policy(("*",))), "")
    assert allows(loaded(policy(("",)), LITE), "")


def test_wildcards_count_for_the_mqtt_proxy_alone(personality: Personality) -> None:
    """The same resource means other things to the two services."""
    both = policy(("a/+",)) | policy(("a/+",), service=MQTT_PROXY)
    authorization = loaded(both, personality)
    assert allows(authorization, "a/b", TO_CLOUD, MQTT_PROXY)
    assert not allows(authorization, "a/b")
    assert allows(authorization, "a/+")


def test_a_policy_that_changes_counts_at_once(personality: Personality) -> None:
    """It replaces all that was there before."""
    authorization = loaded(policy(("a/b",)), personality)
    authorization.load("A", policy(("x",)))
    assert not allows(authorization, "a/b")
    assert allows(authorization, "x")


def test_policies_are_their_components_own(personality: Personality) -> None:
    """What one may, another may not."""
    authorization = loaded(policy(), personality)
    authorization.load("B", policy(("x",)))
    assert allows(authorization, "a/b")
    assert not allows(authorization, "a/b", component="B")


def test_any_principal_has_policies_on_classic_alone() -> None:
    """After those of the component itself have not helped."""
    for personality, expected in ((CLASSIC, True), (LITE, False)):
        authorization = loaded(policy(("x",)), personality)
        authorization.load("*", policy(("a/b",)))
        assert allows(authorization, "a/b") is expected


def test_a_component_that_is_forgotten_may_nothing(personality: Personality) -> None:
    """Neither by its policies nor because it was trusted; one unknown may be forgotten too."""
    authorization = loaded(policy(), personality)
    authorization.allow_everything("A")
    authorization.forget("A")
    authorization.forget("B")
    assert not allows(authorization)


def test_the_devices_own_tools_may_everything(personality: Personality) -> None:
    """Whatever is asked for, and without a policy."""
    authorization = Authorization(personality)
    authorization.allow_everything("tools")
    assert allows(authorization, "a?", "x#Y", "no.service", component="tools")
    assert not allows(authorization)
