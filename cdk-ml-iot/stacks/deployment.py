"""A deployment to a thing group: how fast, when to stop, and what a device does that fails."""

import json
from collections.abc import Mapping
from typing import Any

from aws_cdk import Stack
from aws_cdk import aws_greengrassv2 as greengrass
from constructs import Construct

from stacks.options import Rollout

_NUCLEUS = {"classic": "aws.greengrass.Nucleus", "lite": "aws.greengrass.NucleusLite"}


class Deployment(Stack):
    """The deployment of component versions to one thing group.

    The stack is complete once the deployment exists; it does not wait for devices.
    """

    def __init__(  # noqa: PLR0913
        self,
        scope: Construct,
        id: str,  # noqa: A002
        *,
        rollout: Rollout,
        versions: Mapping[str, str],
        configuration: Mapping[str, Mapping[str, Any]],
        nucleus: tuple[str, str | None],
        **props: Any,
    ) -> None:
        """Defines the deployment.

        Args:
            scope: see the CDK.
            id: see the CDK.
            rollout: to whom and how.
            versions: of the components, by name.
            configuration: merged into theirs, by component.
            nucleus: `classic` or `lite`, and its version, None to leave it as it is.
            props: see the CDK.
        """
        super().__init__(scope, id, **props)
        components = {
            name: _component(version, configuration.get(name, {}))
            for name, version in versions.items()
        }
        kind, version = nucleus
        if version is not None:
            components[_NUCLEUS[kind]] = {"componentVersion": version}
        greengrass.CfnDeployment(
            self,
            "Deployment",
            deployment_name=id,
            target_arn=self.format_arn(
                service="iot", resource="thinggroup", resource_name=rollout.group
            ),
            components=components,
            deployment_policies=_policies(rollout),
            iot_job_configuration=_job(rollout),
        )


def _component(version: str, configuration: Mapping[str, Any]) -> dict[str, Any]:
    # A device keeps what it has: a recipe's changed default, and that of accessControl, would never
    # arrive. So everything goes back to the defaults, and then gets what is configured here.
    update: dict[str, Any] = {"reset": [""]}
    if configuration:
        update["merge"] = json.dumps(configuration, sort_keys=True)
    return {"componentVersion": version, "configurationUpdate": update}


def _policies(rollout: Rollout) -> dict[str, Any]:
    action = "NOTIFY_COMPONENTS" if rollout.notify else "SKIP_NOTIFY_COMPONENTS"
    return {
        "failureHandlingPolicy": "ROLLBACK" if rollout.rollback else "DO_NOTHING",
        "componentUpdatePolicy": {"action": action, "timeoutInSeconds": rollout.notify_s},
    }


def _job(rollout: Rollout) -> dict[str, Any]:
    abort = {
        "failureType": "ALL",
        "action": "CANCEL",
        "thresholdPercentage": rollout.abort_percent,
        "minNumberOfExecutedThings": rollout.abort_after,
    }
    return {
        "abortConfig": {"criteriaList": [abort]},
        "timeoutConfig": {"inProgressTimeoutInMinutes": rollout.timeout_minutes},
        "jobExecutionsRolloutConfig": {
            "maximumPerMinute": rollout.most_rate,
            "exponentialRate": {
                "baseRatePerMinute": rollout.base_rate,
                "incrementFactor": rollout.factor,
                # One of two; the other counts devices that were told, and know nothing yet.
                "rateIncreaseCriteria": {"NumberOfSucceededThings": rollout.grow_after},
            },
        },
    }
