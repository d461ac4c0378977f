"""What devices download: the image, and the consumer's archive."""

import hashlib
from typing import cast

from aws_cdk import (
    Acknowledgment,
    CfnElement,
    CfnOutput,
    Duration,
    RemovalPolicy,
    Stack,
    Validations,
)
from aws_cdk import aws_ecr_assets as ecr_assets
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from aws_cdk import aws_s3 as s3
from aws_cdk import aws_s3_assets as s3_assets
from constructs import Construct

from stacks.bundle import Bundle
from stacks.options import Options
from stacks.recipes import check_size, read_recipe, stamp_archive
from stacks.sources import ROOT, consumer_archive, image_context, project_version
from stacks.task import Task

PREFIX = "consumer/"
_PLATFORMS = {
    "amd64": ecr_assets.Platform.LINUX_AMD64,
    "arm64": ecr_assets.Platform.LINUX_ARM64,
}


class Image(Construct):
    """The image as an asset: hashed here, built and pushed by `cdk deploy`.

    Attributes:
        asset: see the CDK.
        uri: by tag, which the repository keeps from changing.
    """

    def __init__(self, scope: Construct, id: str, options: Options, bundle: Bundle) -> None:  # noqa: A002
        """Defines the asset from the same files that `edgexgb image build` takes."""
        super().__init__(scope, id)
        with image_context(bundle) as context:
            self.asset = ecr_assets.DockerImageAsset(
                self,
                "Asset",
                directory=str(context),
                platform=_PLATFORMS[options.architecture],
                build_args={
                    "BASE_IMAGE": options.base_image,
                    "ENGINE": bundle.engine,
                    # Not REVISION: with each commit every device would pull an image.
                    "VERSION": project_version(),
                    "MODEL_NAME": bundle.name,
                    "MODEL_VERSION": bundle.version,
                    "MODEL_DIGEST": bundle.digest,
                },
            )
        self.uri = self.asset.repository.repository_uri_for_tag_or_digest(self.asset.image_tag)


class Archives(Construct):
    """The bucket of archives, and the consumer's archive in it under a key of its version.

    Attributes:
        bucket: closed to the public, encrypted, and kept when the stack goes: devices need it.
        consumer: the consumer's recipe, which names the archive.
        published: what needs the archive depends on this.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        code: lambda_.Code,
        retention: logs.RetentionDays,
    ) -> None:
        """Defines bucket, archive, and the task that copies it; `code` has the handlers."""
        super().__init__(scope, id)
        logs_bucket = self._bucket("AccessLogs", expiration=Duration.days(90))
        Validations.of(logs_bucket).acknowledge(
            Acknowledgment(
                id="AwsSolutions-S1",
                reason="It holds the access log of the other bucket; its own would have no end.",
            )
        )
        self.bucket = self._bucket("Bucket", logs_bucket=logs_bucket)
        with consumer_archive() as archive:
            content = hashlib.sha256(archive.read_bytes()).hexdigest()
            asset = s3_assets.Asset(self, "Consumer", path=str(archive))
            name = archive.name
        self.consumer = stamp_archive(
            read_recipe(ROOT / "consumer" / "recipe.yaml"),
            prefix=f"s3://{self.bucket.bucket_name}/",
            key=f"{PREFIX}{{version}}/{name}",
            content=content,
        )
        check_size(self.consumer)
        key = f"{PREFIX}{self.consumer.version}/{name}"
        self.published = Task(
            self,
            "Publish",
            code=code,
            handler="handlers.publish.handle",
            description="Copies the consumer's archive to the key that devices know",
            properties={
                "FromBucket": asset.s3_bucket_name,
                "FromKey": asset.s3_object_key,
                "ToBucket": self.bucket.bucket_name,
                "ToKey": key,
            },
            statements=[
                iam.PolicyStatement(
                    actions=["s3:GetObject"],
                    resources=[asset.bucket.arn_for_objects(asset.s3_object_key)],
                ),
                iam.PolicyStatement(
                    actions=["s3:PutObject"], resources=[self.bucket.arn_for_objects(key)]
                ),
            ],
            retention=retention,
        ).resource

    def _bucket(
        self,
        id: str,  # noqa: A002
        *,
        logs_bucket: s3.Bucket | None = None,
        expiration: Duration | None = None,
    ) -> s3.Bucket:
        rules = [] if expiration is None else [s3.LifecycleRule(expiration=expiration)]
        return s3.Bucket(
            self,
            id,
            block_public_access=s3.BlockPublicAccess.BLOCK_ALL,
            encryption=s3.BucketEncryption.S3_MANAGED,
            enforce_ssl=True,
            minimum_tls_version=1.2,
            object_ownership=s3.ObjectOwnership.BUCKET_OWNER_ENFORCED,
            versioned=logs_bucket is not None,
            server_access_logs_bucket=logs_bucket,
            lifecycle_rules=rules,
            removal_policy=RemovalPolicy.RETAIN,
        )


class DevicePolicy(Construct):
    """What the token exchange role has to be allowed: to pull the image, to read the archives."""

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        image: Image,
        bucket: s3.Bucket,
        role: str | None,
    ) -> None:
        """Defines the policy, attaches it to a role where one is named, and puts its ARN out."""
        super().__init__(scope, id)
        statements = [
            iam.PolicyStatement(
                sid="LogIn",
                actions=["ecr:GetAuthorizationToken"],
                resources=["*"],  # the action knows no resources
            ),
            iam.PolicyStatement(
                sid="PullImage",
                actions=["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
                resources=[image.asset.repository.repository_arn],
            ),
            iam.PolicyStatement(
                sid="ReadArchives",
                actions=["s3:GetObject"],
                resources=[bucket.arn_for_objects(f"{PREFIX}*")],
            ),
        ]
        roles = [] if role is None else [iam.Role.from_role_name(self, "Role", role)]
        policy = iam.ManagedPolicy(
            self,
            "Policy",
            description="For the token exchange role of Greengrass core devices",
            statements=statements,
            roles=roles,
        )
        archives = Stack.of(self).get_logical_id(cast("CfnElement", bucket.node.default_child))
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions-IAM5[Resource::*]",
                reason="ecr:GetAuthorizationToken knows no resources.",
            ),
            Acknowledgment(
                id=f"AwsSolutions-IAM5[Resource::<{archives}.Arn>/{PREFIX}*]",
                reason="Devices read the archive of whichever version they get.",
            ),
        )
        CfnOutput(self, "Arn", key="TokenExchangePolicy", value=policy.managed_policy_arn)
