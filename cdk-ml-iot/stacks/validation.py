"""The image as a Lambda function, with events for the console, and the gate."""

from aws_cdk import CfnOutput, Duration, Fn, Stack
from aws_cdk import aws_eventschemas as eventschemas
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.artifacts import Image
from stacks.bundle import MACHINES, Bundle
from stacks.events import REGISTRY, document_of
from stacks.options import Options
from stacks.sources import gate_code
from stacks.task import Task, make_log, make_role

_ARCHITECTURES = {
    "amd64": lambda_.Architecture.X86_64,
    "arm64": lambda_.Architecture.ARM_64,
}


class Validation(Construct):
    """Proves that the image predicts what the notebook predicted, before a device gets it.

    Attributes:
        passed: the gate; what must not exist without its consent depends on it.
        image: the image that passed, by digest: what the function really ran.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        options: Options,
        bundle: Bundle,
        image: Image,
        code: lambda_.Code,
        retention: logs.RetentionDays,
    ) -> None:
        """Defines function, events and gate; `code` has the handlers."""
        super().__init__(scope, id)
        log = make_log(self, "Log", retention)
        self._function = lambda_.DockerImageFunction(
            self,
            "Function",
            description="An XGBoost model in the image that Greengrass core devices run",
            code=lambda_.DockerImageCode.from_ecr(
                image.asset.repository, tag_or_digest=image.asset.image_tag
            ),
            architecture=_ARCHITECTURES[options.architecture],
            memory_size=options.memory_mb,
            timeout=Duration.seconds(options.timeout_s),
            log_group=log,
            role=make_role(self, "Role", log),
        )
        CfnOutput(self, "Name", key="Function", value=self._function.function_name)
        self._share_events(bundle, code, retention)
        gate = self._gate(options, bundle, image, retention)
        self.passed = gate.resource
        self.image = gate.resource.get_att_string("ImageUri")
        CfnOutput(self, "Image", key="Image", value=self.image)

    def _share_events(
        self, bundle: Bundle, code: lambda_.Code, retention: logs.RetentionDays
    ) -> None:
        registry = Task(
            self,
            "TestEventRegistry",
            code=code,
            handler="handlers.registry.handle",
            description="Makes the registry of shareable test events where there is none",
            properties={"RegistryName": REGISTRY},
            statements=[
                iam.PolicyStatement(
                    actions=["schemas:CreateRegistry"],
                    resources=[
                        Stack.of(self).format_arn(
                            service="schemas", resource=f"registry/{REGISTRY}"
                        )
                    ],
                )
            ],
            retention=retention,
        )
        eventschemas.CfnSchema(
            self,
            "TestEvents",
            registry_name=registry.resource.get_att_string("Name"),
            schema_name=Fn.join("", ["_", self._function.function_name, "-schema"]),
            type="OpenApi3",
            content=document_of(bundle.golden),
        )

    def _gate(
        self, options: Options, bundle: Bundle, image: Image, retention: logs.RetentionDays
    ) -> Task:
        exact = bundle.machine == MACHINES[options.architecture]
        with gate_code(bundle) as folder:
            return Task(
                self,
                "Gate",
                code=lambda_.Code.from_asset(str(folder)),
                handler="handlers.gate.handle",
                description="Fails the stack where the function does not predict as recorded",
                properties={
                    "FunctionName": self._function.function_name,
                    "ImageUri": image.uri,
                    "ModelName": bundle.name,
                    "ModelVersion": bundle.version,
                    "Exact": "true" if exact else "false",
                },
                statements=[
                    iam.PolicyStatement(
                        actions=["lambda:GetFunction", "lambda:InvokeFunction"],
                        resources=[self._function.function_arn],
                    )
                ],
                retention=retention,
            )
