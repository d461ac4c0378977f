"""The operations on local deployments."""

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from nucleus.authorization import CLI, Authorization
from nucleus.deployments.document import Deployment
from nucleus.deployments.history import Phase, Record, Result
from nucleus.errors import DeploymentError, DeviceError
from nucleus.operation import Caller, Operations
from nucleus.operations.deployments import deployment_operations
from nucleus.personality import CLASSIC
from tests.nucleus.recording import call, refused

TOOLS = Caller("tools", 3)
ID = str(uuid4())
DETAILS: dict[str, list[str]] = {"deploymentErrorStack": [], "deploymentErrorTypes": []}


class Deployments:
    """Keeps what it is told, and raises what it is given."""

    def __init__(self) -> None:
        self.taken: list[Deployment] = []
        self.canceled: list[str] = []
        self.known: list[Record] = []
        self.problem: Exception | None = None

    def submit(self, deployment: Deployment) -> None:
        self._raise()
        self.taken.append(deployment)

    def cancel(self, deployment_id: str) -> None:
        self._raise()
        self.canceled.append(deployment_id)

    def records(self) -> list[Record]:
        self._raise()
        return self.known

    def _raise(self) -> None:
        if self.problem is not None:
            raise self.problem


@pytest.fixture
def deployments() -> Deployments:
    return Deployments()


@pytest.fixture
def operations(deployments: Deployments) -> Operations:
    """Everything is allowed to the user's tools; component A may look at one deployment."""
    authorization = Authorization(CLASSIC)
    authorization.allow_everything("tools")
    policy = {"operations": ["aws.greengrass#GetLocalDeploymentStatus"], "resources": [ID]}
    authorization.load("A", {CLI: {"A:1": policy}})
    return deployment_operations(deployments, authorization)


def record(**fields: Any) -> Record:
    """Of a deployment that was made in the first second of 2026."""
    return Record(number=1, created=1767225600.0, **{"id": ID, **fields})


def test_deployment_is_taken_and_named(deployments: Deployments, operations: Operations) -> None:
    """By its id."""
    response = call(operations, "CreateLocalDeployment", TOOLS, rootComponentsToRemove=["A"])
    assert response == {"deploymentId": deployments.taken[0].id}
    assert deployments.taken[0].remove == ("A",)


@pytest.mark.parametrize(
    "name",
    [
        "CreateLocalDeployment",
        "CancelLocalDeployment",
        "GetLocalDeploymentStatus",
        "ListLocalDeployments",
    ],
)
def test_component_is_refused(name: str, deployments: Deployments, operations: Operations) -> None:
    """Authorisation comes first."""
    code, _ = refused(operations, name)
    assert (code, deployments.taken) == ("UnauthorizedError", [])


def test_component_may_look_at_what_its_policy_names(
    deployments: Deployments, operations: Operations
) -> None:
    """The resource is the deployment's id."""
    deployments.known = [record()]
    response = call(operations, "GetLocalDeploymentStatus", deploymentId=ID)
    assert response["deployment"]["deploymentId"] == ID
    other = str(uuid4())
    assert refused(operations, "GetLocalDeploymentStatus", deploymentId=other)[0] == (
        "UnauthorizedError"
    )


def test_request_that_is_none_is_refused(operations: Operations) -> None:
    """In the words of who reads it."""
    code, text = refused(operations, "CreateLocalDeployment", TOOLS)
    assert code == "InvalidArgumentsError"
    assert text.startswith("deployment: got nothing to do")


def test_disk_that_is_full_is_said(deployments: Deployments, operations: Operations) -> None:
    """No deployment is taken that nobody could follow."""
    deployments.problem = OSError(28, "No space left on device")
    found = refused(operations, "CreateLocalDeployment", TOOLS, rootComponentsToRemove=["A"])
    expected = "the deployment is not written: [Errno 28] No space left on device"
    assert found == ("ServiceError", expected)


@pytest.mark.parametrize(
    ("found", "status", "details"),
    [
        (record(), "QUEUED", None),
        (record(phase=Phase.PREPARING), "IN_PROGRESS", None),
        (record(phase=Phase.NOTIFYING), "IN_PROGRESS", None),
        (record(phase=Phase.ACTIVATING), "IN_PROGRESS", None),
        (record(phase=Phase.ROLLING_BACK), "IN_PROGRESS", None),
        (
            record(phase=Phase.DONE, result=Result.SUCCESSFUL),
            "SUCCEEDED",
            {"detailedDeploymentStatus": "SUCCESSFUL"},
        ),
        (
            record(phase=Phase.DONE, result=Result.FAILED_ROLLBACK_COMPLETE, message="why"),
            "FAILED",
            {
                "detailedDeploymentStatus": "FAILED_ROLLBACK_COMPLETE",
                "deploymentFailureCause": "why",
                **DETAILS,
            },
        ),
        (record(phase=Phase.DONE, result=Result.CANCELED, message="why"), "CANCELED", None),
    ],
)
def test_record_becomes_the_shape_of_the_sdk(
    found: Record,
    status: str,
    details: dict[str, Any] | None,
    deployments: Deployments,
    operations: Operations,
) -> None:
    """Alone, and in the list of all."""
    deployments.known = [record(id=str(uuid4())), found]
    shape = {"deploymentId": ID, "status": status, "createdOn": "01/01/2026 00:00:00"}
    if details is not None:
        shape["deploymentStatusDetails"] = details  # type: ignore[assignment]
    alone = call(operations, "GetLocalDeploymentStatus", TOOLS, deploymentId=ID)
    assert alone == {"deployment": shape}
    listed = call(operations, "ListLocalDeployments", TOOLS)["localDeployments"]
    assert [it["deploymentId"] for it in listed] == [it.id for it in deployments.known]
    assert listed[1] == shape


def test_deployment_is_canceled(deployments: Deployments, operations: Operations) -> None:
    """By its id."""
    response = call(operations, "CancelLocalDeployment", TOOLS, deploymentId=ID)
    assert response == {"message": f"deployment {ID} is cancelled"}
    assert deployments.canceled == [ID]


@pytest.mark.parametrize("name", ["CancelLocalDeployment", "GetLocalDeploymentStatus"])
@pytest.mark.parametrize("deployment_id", [None, "", "7", 7, [ID]])
def test_id_that_is_none_is_refused(
    name: str, deployment_id: object, deployments: Deployments, operations: Operations
) -> None:
    """Nothing is looked up."""
    deployments.problem = AssertionError()
    found = refused(operations, name, TOOLS, deploymentId=deployment_id)
    text = "Invalid deploymentId format received. DeploymentId is a UUID"
    assert found == ("InvalidArgumentsError", text)


@pytest.mark.parametrize("name", ["CancelLocalDeployment", "GetLocalDeploymentStatus"])
def test_deployment_that_nobody_knows_is_said(
    name: str, deployments: Deployments, operations: Operations
) -> None:
    """With what it is, and which."""
    deployments.problem = KeyError(ID) if name.startswith("Cancel") else None
    found = refused(operations, name, TOOLS, deploymentId=ID)
    assert found == ("ResourceNotFoundError", "Cannot find deployment")


Call = Callable[[Operations], tuple[str, str]]


@pytest.mark.parametrize(
    ("ask", "problem", "code"),
    [
        (
            lambda it: refused(it, "CancelLocalDeployment", TOOLS, deploymentId=ID),
            DeploymentError("deployment", "SUCCESSFUL", "another"),
            "InvalidArgumentsError",
        ),
        (
            lambda it: refused(it, "CancelLocalDeployment", TOOLS, deploymentId=ID),
            DeviceError("a torn file"),
            "ServiceError",
        ),
        (
            lambda it: refused(it, "GetLocalDeploymentStatus", TOOLS, deploymentId=ID),
            DeviceError("a torn file"),
            "ServiceError",
        ),
        (lambda it: refused(it, "ListLocalDeployments", TOOLS), DeviceError("x"), "ServiceError"),
    ],
)
def test_what_cannot_be_done_is_said(
    ask: Call, problem: Exception, code: str, deployments: Deployments, operations: Operations
) -> None:
    """In the words of who could not."""
    deployments.problem = problem
    assert ask(operations) == (code, str(problem))
