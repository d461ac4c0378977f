"""CreateLocalDeployment, for the tools of the user alone.

How a deployment goes on is read from the device's history, not asked.

Source: aws-greengrass-nucleus, builtin/services/cli/CLIEventStreamAgent.java;
aws-greengrass-lite, modules/ggipcd/src/services/cli/create_local_deployment.c.
"""

from collections.abc import Callable

from nucleus.authorization import CLI, Authorization
from nucleus.deployments.document import Deployment, parse_deployment
from nucleus.errors import DeploymentError
from nucleus.operation import Caller, IpcError, Json, Operation, Operations, Stream

_OPERATION = "CreateLocalDeployment"


def deployment_operations(
    submit: Callable[[Deployment], None], authorization: Authorization
) -> Operations:
    """The operation on deployments.

    Args:
        submit: takes one; raises OSError where it cannot.
        authorization: who may.
    """

    def create(caller: Caller, request: Json, _stream: Stream) -> Json:
        authorization.check(caller.component, CLI, f"aws.greengrass#{_OPERATION}", "*")
        try:
            deployment = parse_deployment(request)
        except DeploymentError as error:
            raise IpcError("InvalidArgumentsError", str(error)) from error
        try:
            submit(deployment)
        except OSError as error:
            raise IpcError("ServiceError", f"the deployment is not written: {error}") from error
        return {"deploymentId": deployment.id}

    return {_OPERATION: Operation(create)}
