"""The release: an image, the proof that it predicts as recorded, and component versions of it."""

from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from stacks.artifacts import Archives, DevicePolicy, Image
from stacks.bundle import Bundle
from stacks.components import Component
from stacks.options import Options
from stacks.recipes import Recipe, check_size, stamp_image
from stacks.sources import handler_code
from stacks.validation import Validation


class Release(Stack):
    """One stack, so that nothing of it stays where the gate refuses.

    What passes the gate changes with each model, and a value that another stack imports could not.

    Attributes:
        versions: of the components, by name.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        options: Options,
        bundle: Bundle,
        recipe: Recipe,
        **props: Any,
    ) -> None:
        """Composes the parts; `recipe` is the inference component's."""
        super().__init__(scope, id, **props)
        retention = _retention(options.log_retention_days)
        with handler_code() as folder:
            code = lambda_.Code.from_asset(str(folder))
            image = Image(self, "Image", options, bundle)
            archives = Archives(self, "Archives", code=code, retention=retention)
            validation = Validation(
                self,
                "Validation",
                options=options,
                bundle=bundle,
                image=image,
                code=code,
                retention=retention,
            )
        inference = stamp_image(
            recipe,
            uri=validation.image,
            content=image.asset.asset_hash,
            architecture=options.architecture,
            nucleus=options.nucleus,
        )
        check_size(inference)
        # A patch number says nothing to people who look for the version of a model.
        model = {
            "edgexgb:model": f"{bundle.name} {bundle.version}",
            "edgexgb:bundle": bundle.digest,
        }
        Component(self, "Inference", inference, after=validation.passed, tags=model)
        self.versions = {inference.name: inference.version}
        consumer = archives.consumer
        component = Component(self, "Consumer", consumer, after=archives.published, tags={})
        component.node.add_dependency(validation.passed)
        self.versions[consumer.name] = consumer.version
        DevicePolicy(self, "Devices", image=image, bucket=archives.bucket, role=options.role)


def _retention(days: int) -> logs.RetentionDays:
    names = {
        days: name
        for name, days in {
            "ONE_DAY": 1,
            "THREE_DAYS": 3,
            "FIVE_DAYS": 5,
            "ONE_WEEK": 7,
            "TWO_WEEKS": 14,
            "ONE_MONTH": 30,
            "TWO_MONTHS": 60,
            "THREE_MONTHS": 90,
            "FOUR_MONTHS": 120,
            "FIVE_MONTHS": 150,
            "SIX_MONTHS": 180,
            "ONE_YEAR": 365,
            "THIRTEEN_MONTHS": 400,
            "EIGHTEEN_MONTHS": 545,
            "TWO_YEARS": 731,
            "FIVE_YEARS": 1827,
            "TEN_YEARS": 3653,
        }.items()
    }
    return logs.RetentionDays[names[days]]
