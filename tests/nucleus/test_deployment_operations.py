"""CreateLocalDeployment."""

import pytest

from nucleus.authorization import Authorization
from nucleus.deployments.document import Deployment
from nucleus.operation import Caller
from nucleus.operations.deployments import deployment_operations
from nucleus.personality import CLASSIC
from tests.nucleus.recording import call, refused

TOOLS = Caller("tools", 3)


@pytest.fixture
def authorization() -> Authorization:
    """Everything is allowed to the user's tools, and nothing to anybody else."""
    found = Authorization(CLASSIC)
    found.allow_everything("tools")
    return found


def test_deployment_is_taken_and_named(authorization: Authorization) -> None:
    """By its id."""
    taken: list[Deployment] = []
    operations = deployment_operations(taken.append, authorization)
    response = call(operations, "CreateLocalDeployment", TOOLS, rootComponentsToRemove=["A"])
    assert response == {"deploymentId": taken[0].id}
    assert taken[0].remove == ("A",)


def test_component_may_not_deploy(authorization: Authorization) -> None:
    """Authorisation comes first."""
    taken: list[Deployment] = []
    operations = deployment_operations(taken.append, authorization)
    code, _ = refused(operations, "CreateLocalDeployment")
    assert (code, taken) == ("UnauthorizedError", [])


def test_request_that_is_none_is_refused(authorization: Authorization) -> None:
    """In the words of who reads it."""
    operations = deployment_operations(lambda _: None, authorization)
    code, text = refused(operations, "CreateLocalDeployment", TOOLS)
    assert code == "InvalidArgumentsError"
    assert text.startswith("deployment: got nothing to do")


def test_disk_that_is_full_is_said(authorization: Authorization) -> None:
    """No deployment is taken that nobody could follow."""

    def fail(_: Deployment) -> None:
        raise OSError(28, "No space left on device")

    operations = deployment_operations(fail, authorization)
    found = refused(operations, "CreateLocalDeployment", TOOLS, rootComponentsToRemove=["A"])
    expected = "the deployment is not written: [Errno 28] No space left on device"
    assert found == ("ServiceError", expected)
