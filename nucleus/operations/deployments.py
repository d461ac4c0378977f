"""Local deployments: CreateLocalDeployment and those that ask about one, or cancel it.

They are for the user's tools; the first and those that ask may be allowed to components, too.

Source: aws-greengrass-cli, CLIEventStreamAgent.java; aws-greengrass-nucleus, DeploymentService, for
what can be cancelled (the operation itself is in neither: its texts and errors are our own);
aws-greengrass-lite, modules/ggipcd/src/services/cli/create_local_deployment.c, which has no other.
"""

import time
from typing import Protocol
from uuid import UUID

from nucleus.authorization import ANY, CLI, Authorization
from nucleus.deployments.document import Deployment, parse_deployment
from nucleus.deployments.history import Phase, Record, Result
from nucleus.errors import DeploymentError, DeviceError
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream


class LocalDeployments(Protocol):
    """The deployments of the device, as these operations need them."""

    def submit(self, deployment: Deployment) -> None:
        """Has a deployment made.

        Raises:
            OSError: it cannot be written down.
        """

    def cancel(self, deployment_id: str) -> None:
        """Has a deployment end that has changed nothing yet.

        Raises:
            KeyError: there is no such deployment.
            DeploymentError: it is too late.
            DeviceError: the history cannot be read.
        """

    def records(self) -> list[Record]:
        """What has become of them, the oldest first.

        Raises:
            DeviceError: the history cannot be read.
        """


def deployment_operations(
    deployments: LocalDeployments, authorization: Authorization
) -> Operations:
    """The operations on deployments; on lite the server hides all but the first."""
    family = _Family(deployments, authorization)
    return {
        "CreateLocalDeployment": Operation(family.create),
        "CancelLocalDeployment": Operation(family.cancel),
        "GetLocalDeploymentStatus": Operation(family.status),
        "ListLocalDeployments": Operation(family.list_all),
    }


class _Family:
    def __init__(self, deployments: LocalDeployments, authorization: Authorization) -> None:
        self._deployments = deployments
        self._authorization = authorization

    def create(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        self._authorize(caller, "CreateLocalDeployment")
        try:
            deployment = parse_deployment(request)
        except DeploymentError as error:
            raise IpcError("InvalidArgumentsError", str(error)) from error
        try:
            self._deployments.submit(deployment)
        except OSError as error:
            raise IpcError("ServiceError", f"the deployment is not written: {error}") from error
        return {"deploymentId": deployment.id}

    def cancel(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        self._authorize(caller, "CancelLocalDeployment")
        deployment_id = _deployment_id(request)
        try:
            self._deployments.cancel(deployment_id)
        except KeyError as error:
            raise _not_found(deployment_id) from error
        except DeploymentError as error:
            raise IpcError("InvalidArgumentsError", str(error)) from error
        except DeviceError as error:
            raise IpcError("ServiceError", str(error)) from error
        return {"message": f"deployment {deployment_id} is cancelled"}

    def status(self, caller: Caller, request: Json, _stream: Stream) -> Json:
        resource = request.get("deploymentId")
        is_text = isinstance(resource, str) and resource
        self._authorize(caller, "GetLocalDeploymentStatus", str(resource) if is_text else ANY)
        deployment_id = _deployment_id(request)
        for record in self._records():
            if record.id == deployment_id:
                return {"deployment": _to_shape(record)}
        raise _not_found(deployment_id)

    def list_all(self, caller: Caller, _request: Json, _stream: Stream) -> Json:
        self._authorize(caller, "ListLocalDeployments")
        return {"localDeployments": [_to_shape(record) for record in self._records()]}

    def _authorize(self, caller: Caller, operation: str, resource: str = ANY) -> None:
        self._authorization.check(caller.component, CLI, f"aws.greengrass#{operation}", resource)

    def _records(self) -> list[Record]:
        try:
            return self._deployments.records()
        except DeviceError as error:
            raise IpcError("ServiceError", str(error)) from error


def _deployment_id(request: Json) -> str:
    """The deployment that a request names.

    Raises:
        IpcError: `InvalidArgumentsError`.
    """
    found = request.get("deploymentId")
    try:
        UUID(found)
    except (ValueError, TypeError, AttributeError) as error:
        text = "Invalid deploymentId format received. DeploymentId is a UUID"
        raise IpcError("InvalidArgumentsError", text) from error
    return str(found)


def _to_shape(record: Record) -> Json:
    """A record as the shape LocalDeployment."""
    created = time.strftime("%m/%d/%Y %H:%M:%S", time.gmtime(record.created))
    shape: Json = {"deploymentId": record.id, "status": _status(record), "createdOn": created}
    if record.result is not None and record.result is not Result.CANCELED:
        details: Json = {"detailedDeploymentStatus": record.result}
        if record.message:
            details |= {
                "deploymentErrorStack": [],
                "deploymentErrorTypes": [],
                "deploymentFailureCause": record.message,
            }
        shape["deploymentStatusDetails"] = details
    return shape


def _status(record: Record) -> str:
    """Source: the shape DeploymentStatus."""
    if record.result is None:
        return "QUEUED" if record.phase is Phase.QUEUED else "IN_PROGRESS"
    ends = {Result.SUCCESSFUL: "SUCCEEDED", Result.CANCELED: "CANCELED"}
    return ends.get(record.result, "FAILED")


def _not_found(deployment_id: str) -> IpcError:
    fields = {"resourceType": "LocalDeployment", "resourceName": deployment_id}
    return IpcError("ResourceNotFoundError", "Cannot find deployment", fields)
