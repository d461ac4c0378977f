"""Component versions, which outlive the stack: devices and deployments refer to them."""

from collections.abc import Mapping

from aws_cdk import CfnOutput, RemovalPolicy
from aws_cdk import aws_greengrassv2 as greengrass
from constructs import Construct, IDependable

from stacks.recipes import Stamped


class Component(Construct):
    """A version of a component.

    A version never changes, and an earlier one must stay: a device that goes back needs it. What a
    first deployment of the stack made goes away where that fails, so that it can be repeated.
    """

    def __init__(
        self,
        scope: Construct,
        id: str,  # noqa: A002
        stamped: Stamped,
        *,
        after: IDependable,
        tags: Mapping[str, str],
    ) -> None:
        """Defines the version, made once `after` is there; the tags are for people."""
        super().__init__(scope, id)
        version = greengrass.CfnComponentVersion(
            self, "Version", inline_recipe=stamped.text, tags=tags
        )
        version.apply_removal_policy(
            RemovalPolicy.RETAIN_ON_UPDATE_OR_DELETE, apply_to_update_replace_policy=True
        )
        version.node.add_dependency(after)
        CfnOutput(self, "Number", key=f"{id}Version", value=stamped.version)
