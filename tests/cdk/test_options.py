from pathlib import Path
from typing import Any

import pytest

from stacks.errors import OptionsError
from stacks.options import CANARY, FLEET, Options, check_timeout, read_options
from tests.cdk.conftest import ROOT

GOOD: dict[str, Any] = {"bundle": "b", "report": "r"}


def options(**context: Any) -> Options:
    return read_options({**GOOD, **context}.get)


def test_bundle_and_report_are_enough() -> None:
    """Everything else has a default, and the fleet is left alone."""
    found = options()
    assert (found.bundle, found.report) == (Path("b"), Path("r"))
    assert (found.canary.group, found.canary.abort_after) == ("edgexgb-canary", 1)
    assert found.fleet is None
    assert found == Options(bundle=Path("b"), report=Path("r"), canary=found.canary)


def test_text_of_the_command_line_is_as_good_as_json() -> None:
    """`-c name=value` has nothing but text."""
    typed = options(
        memoryMb=512,
        consumer=False,
        deployToFleet=True,
        canary={"incrementFactor": 2.5, "rollback": False},
    )
    text = options(
        memoryMb="512",
        consumer="false",
        deployToFleet="true",
        canary='{"incrementFactor": "2.5", "rollback": "false"}',
    )
    assert typed == text
    assert typed.fleet is not None
    assert typed.canary.factor == 2.5


def test_what_is_not_given_keeps_its_default() -> None:
    """In a rollout, too."""
    found = options(canary={"abortAfter": 3}).canary
    assert (found.abort_after, found.base_rate) == (3, CANARY["baseRatePerMinute"])


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (
            {"bundle": None},
            "bundle: got nothing, expected a bundle's directory, as `edgexgb train` and `pack` "
            "make it (`-c bundle=…`)",
        ),
        ({"name": "Ä"}, "name: got 'Ä', expected a short name in lower case"),
        ({"architecture": "x86"}, "architecture: got 'x86', expected one of amd64, arm64"),
        ({"nucleus": 1}, "nucleus: got 1, expected one of classic, lite"),
        ({"memoryMb": "64"}, "memoryMb: got '64', expected a whole number from 128 to 10240"),
        ({"memoryMb": True}, "memoryMb: got True, expected a whole number from 128 to 10240"),
        (
            {"timeoutSeconds": "1.5"},
            "timeoutSeconds: got '1.5', expected a whole number from 1 to 900",
        ),
        (
            {"logRetentionDays": 2},
            "logRetentionDays: got 2, expected one of 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, "
            "365, 400, 545, 731, 1827, 3653",
        ),
        ({"consumer": "yes"}, "consumer: got 'yes', expected true or false"),
        ({"deployToFleet": 1}, "deployToFleet: got 1, expected true or false"),
        (
            {"tokenExchangeRole": "arn:aws:iam::1:role/x"},
            "tokenExchangeRole: got 'arn:aws:iam::1:role/x', expected a role's name, not its ARN",
        ),
        ({"nucleusVersion": "2"}, "nucleusVersion: got '2', expected a version such as 2.17.0"),
        ({"canaryGroup": "a b"}, "canaryGroup: got 'a b', expected a thing group's name"),
        (
            {"canaryGroup": "x", "fleetGroup": "x"},
            "fleetGroup: got 'x', expected another group than canaryGroup, with other devices in "
            "it",
        ),
        ({"canary": "{"}, "canary: got '{', expected an object, or JSON text of one"),
        ({"canary": []}, "canary: got [], expected an object, or JSON text of one"),
        (
            {"fleet": {"speed": 1}},
            f"fleet: got the unknown key 'speed', expected one of {', '.join(FLEET)}",
        ),
        (
            {"canary": {"incrementFactor": 1.25}},
            "canary.incrementFactor: got 1.25, expected a number from 1 to 5 with at most 1 digit "
            "after the point",
        ),
        (
            {"canary": {"baseRatePerMinute": 60}},
            "canary.maximumPerMinute: got 50, expected at least canary.baseRatePerMinute, 60",
        ),
        (
            {"canary": {"timeoutMinutes": 10081}},
            "canary.timeoutMinutes: got 10081, expected a whole number from 1 to 10080",
        ),
        (
            {"configuration": {"other": {}}},
            "configuration.other: got {}, expected an object for one of edgexgb.Inference, "
            "edgexgb.Consumer",
        ),
    ],
)
def test_wrong_value_is_refused(context: dict[str, Any], expected: str) -> None:
    """The key, what was given, what was expected."""
    with pytest.raises(OptionsError) as caught:
        options(**context)
    assert str(caught.value) == expected


def test_timeout_leaves_room_to_fail_and_to_go_back() -> None:
    """A job that is over before would say nothing of the rollback."""
    rollout = options(canary={"timeoutMinutes": 20}).canary
    check_timeout("canary", rollout, 600)
    with pytest.raises(OptionsError) as caught:
        check_timeout("canary", rollout, 601)
    assert str(caught.value) == (
        "canary.timeoutMinutes: got 20, expected at least 21: that long a device may take to fail "
        "and to go back"
    )


def test_document_has_every_key_and_the_defaults_of_rollouts() -> None:
    """docs/rollout.md, 6."""
    text = (ROOT / "docs" / "rollout.md").read_text(encoding="utf-8")
    asked = set()

    def find(name: str) -> Any:
        asked.add(name)
        return GOOD.get(name)

    read_options(find)
    assert [name for name in sorted(asked) if f"`{name}`" not in text] == []
    for name in set(CANARY) - {"notify", "notifySeconds", "rollback"}:
        assert f"| `{name}` | {CANARY[name]} | {FLEET[name]} |" in text
