"""A task of a deployment: a function of ours that CloudFormation calls, and waits for."""

from collections.abc import Mapping, Sequence
from typing import Any

from aws_cdk import CustomResource, Duration, RemovalPolicy
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

RUNTIME = lambda_.Runtime.PYTHON_3_14

_SECONDS = 300


class Task(Construct):
    """Calls a handler of `handlers/` with properties, again whenever these change.

    No framework around it: one function for each task, with the rights of that task.

    Attributes:
        resource: what depends on the task depends on this; has its attributes.
    """

    def __init__(  # noqa: PLR0913  (what a task is)
        self,
        scope: Construct,
        id: str,  # noqa: A002  (the CDK's name)
        *,
        code: lambda_.Code,
        handler: str,
        description: str,
        properties: Mapping[str, Any],
        statements: Sequence[iam.PolicyStatement],
        retention: logs.RetentionDays,
    ) -> None:
        """Defines the function with its log and its role, and the resource that calls it.

        Args:
            scope: see the CDK.
            id: see the CDK.
            code: a directory with the handlers.
            handler: such as `handlers.gate.handle`.
            description: of the function.
            properties: what the handler gets.
            statements: what it may do, besides writing its log.
            retention: of that log.
        """
        super().__init__(scope, id)
        log = make_log(self, "Log", retention)
        function = lambda_.Function(
            self,
            "Function",
            description=description,
            code=code,
            handler=handler,
            runtime=RUNTIME,
            memory_size=256,
            timeout=Duration.seconds(_SECONDS),
            log_group=log,
            role=make_role(self, "Role", log, statements),
        )
        self.resource = CustomResource(
            self,
            "Resource",
            service_token=function.function_arn,
            properties=dict(properties),
            resource_type=f"Custom::{id}",
            # An answer that never comes would hold the stack up for an hour.
            service_timeout=Duration.seconds(2 * _SECONDS),
        )


def make_log(scope: Construct, id: str, retention: logs.RetentionDays) -> logs.LogGroup:  # noqa: A002
    """A log of a function; it goes with the stack."""
    return logs.LogGroup(scope, id, retention=retention, removal_policy=RemovalPolicy.DESTROY)


def make_role(
    scope: Construct,
    id: str,  # noqa: A002
    log: logs.LogGroup,
    statements: Sequence[iam.PolicyStatement] = (),
) -> iam.Role:
    """A function's role: it may write that log, and what the statements say."""
    write_log = iam.PolicyStatement(
        actions=["logs:CreateLogStream", "logs:PutLogEvents"], resources=[log.log_group_arn]
    )
    # Inside the role, so that nothing runs before it may.
    policy = iam.PolicyDocument(statements=[write_log, *statements])
    principal = iam.ServicePrincipal("lambda.amazonaws.com")
    return iam.Role(scope, id, assumed_by=principal, inline_policies={"Policy": policy})
