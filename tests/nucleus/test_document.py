"""What a deployment asks for, from the wire."""

from pathlib import Path
from typing import Any

import pytest
from semantic_version import Version

from nucleus.deployments.document import ConfigurationUpdate, parse_deployment
from nucleus.errors import DeploymentError


def test_all_fields_are_read(tmp_path: Path) -> None:
    """As greengrass-cli writes them."""
    found = parse_deployment(
        {
            "rootComponentVersionsToAdd": {"A": "1.0.0"},
            "rootComponentsToRemove": ["B"],
            "componentToConfiguration": {"A": {"MERGE": {"x": 1}, "RESET": ["/y", ""]}},
            "recipeDirectoryPath": str(tmp_path),
            "artifactsDirectoryPath": str(tmp_path),
            "failureHandlingPolicy": "DO_NOTHING",
        }
    )
    assert found.add == {"A": Version("1.0.0")}
    assert found.remove == ("B",)
    assert found.configurations == {"A": ConfigurationUpdate(merge={"x": 1}, reset=("/y", ""))}
    assert (found.recipes, found.artifacts) == (tmp_path, tmp_path)
    assert not found.rolls_back


def test_what_is_absent_has_defaults() -> None:
    """A failure is undone unless that is not wanted; each deployment has an id of its own."""
    one, other = (parse_deployment({"rootComponentsToRemove": ["B"]}) for _ in range(2))
    assert one.rolls_back
    assert (one.recipes, one.artifacts) == (None, None)
    assert one.id != other.id


def configure(content: object) -> dict[str, Any]:
    return {"componentToConfiguration": {"A": content}}


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        ({}, "deployment: got nothing to do, expected components to add or remove, or a configur"),
        (
            {"rootComponentVersionsToAdd": {"A": "1"}},
            "A: version: got '1', expected a semantic version such as '1.0.0'",
        ),
        (
            {"rootComponentVersionsToAdd": {"A": None}},
            "A: version: got nothing, expected a semantic version such as '1.0.0'",
        ),
        ({"rootComponentVersionsToAdd": []}, "rootComponentVersionsToAdd: got a list, expected an"),
        ({"rootComponentsToRemove": "A"}, "rootComponentsToRemove: got 'A', expected a list of na"),
        (
            {"rootComponentVersionsToAdd": {"A": "1.0.0"}, "rootComponentsToRemove": ["A"]},
            "A: got both an addition and a removal, expected one of them",
        ),
        (configure([]), "componentToConfiguration.A: got a list, expected an object with MERGE"),
        (configure({"merge": {}}), "componentToConfiguration.A.merge: got an unknown key, expect"),
        (configure({"MERGE": 1}), "componentToConfiguration.A.MERGE: got the number 1, expected"),
        (configure({"RESET": "/a"}), "componentToConfiguration.A.RESET: got '/a', expected a list"),
        (
            configure({"RESET": ["", "a"]}),
            "componentToConfiguration.A.RESET[1]: got 'a', expected a JSON pointer such as '/a/b'",
        ),
        (
            configure({"MERGE": {"x": [float("inf")]}}),
            "componentToConfiguration.A.MERGE.x[0]: got inf, expected a finite number",
        ),
        (
            {"rootComponentsToRemove": ["A"], "recipeDirectoryPath": "/none"},
            "/none: got no such directory, expected one",
        ),
        (
            {"rootComponentsToRemove": ["A"], "recipeDirectoryPath": "."},
            "recipeDirectoryPath: got '.', expected an absolute path",
        ),
        (
            {"rootComponentsToRemove": ["A"], "failureHandlingPolicy": "no"},
            "failureHandlingPolicy: got 'no', expected ROLLBACK or DO_NOTHING",
        ),
    ],
)
def test_request_that_is_none_is_named(request_: dict[str, Any], text: str) -> None:
    """Place, observed, expected."""
    with pytest.raises(DeploymentError) as caught:
        parse_deployment(request_)
    assert str(caught.value).startswith(text)
