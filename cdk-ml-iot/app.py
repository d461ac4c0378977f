"""The app: context in, stacks out. `cdk synth`, or `python app.py`; docs/rollout.md explains."""

import json
import sys
from pathlib import Path

from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from stacks.bundle import check_report, read_bundle
from stacks.deployment import Deployment
from stacks.errors import OptionsError
from stacks.options import Options, check_timeout, read_options
from stacks.recipes import longest_failure_s, read_recipe
from stacks.release import Release
from stacks.sources import ROOT


def build(app: App) -> None:
    """Defines the stacks that the app's context asks for.

    Raises:
        OptionsError: something in the context, or a file that it names, cannot be used.
    """
    options = read_options(app.node.try_get_context)
    bundle = read_bundle(options.bundle)
    check_report(options.report, bundle)
    recipe = read_recipe(ROOT / "container" / "recipe.yaml")
    rollouts = {"canary": options.canary}
    if options.fleet is not None:
        rollouts["fleet"] = options.fleet
    for name, rollout in rollouts.items():
        check_timeout(name, rollout, longest_failure_s(recipe))
    release = Release(
        app,
        f"{options.name}-release",
        options=options,
        bundle=bundle,
        recipe=recipe,
        description="XGBoost inference for devices: image, validation, component versions",
    )
    for name, rollout in rollouts.items():
        deployment = Deployment(
            app,
            f"{options.name}-{name}",
            rollout=rollout,
            versions=_versions(options, release),
            configuration=options.configuration,
            nucleus=(options.nucleus, options.nucleus_version),
            description=f"XGBoost inference for devices: deployment to {rollout.group}",
        )
        deployment.add_stack_dependency(release)
    rules = AwsSolutionsChecks(app, write_suppressions_to_cloud_formation=True)
    Validations.of(app).add_plugins(rules)


def _versions(options: Options, release: Release) -> dict[str, str]:
    versions = dict(release.versions)
    if options.inference_version is not None:
        versions["edgexgb.Inference"] = options.inference_version
    if not options.consumer:
        del versions["edgexgb.Consumer"]
    return versions


def _defaults() -> dict[str, object]:
    """The context of `cdk.json`; the command's, or CDK_CONTEXT_JSON's, goes before it."""
    settings = Path(__file__).with_name("cdk.json")
    context: dict[str, object] = json.loads(settings.read_text(encoding="utf-8"))["context"]
    return context


def main() -> int:
    """Synthesizes; 1 and a line of stderr where the context is no good."""
    app = App(context=_defaults(), analytics_reporting=False)
    try:
        build(app)
    except OptionsError as error:
        print(error, file=sys.stderr)
        return 1
    app.synth()
    return 0


if __name__ == "__main__":
    sys.exit(main())
