"""What a deployment does to each component that runs.

Source: aws-greengrass-nucleus, GenericExternalService; aws-greengrass-lite, RELEASE_NOTES.md.
"""

from dataclasses import replace
from enum import Enum

from nucleus.component import ComponentSpec
from nucleus.personality import Personality
from nucleus.recipe import Step


class Change(Enum):
    """To one component."""

    NONE = "it runs on"
    RESTART = "it stops and runs again"
    REINSTALL = "it stops, installs and runs again; also what is new"


def change_between(
    old: ComponentSpec | None,
    new: ComponentSpec,
    *,
    has_other_files: bool,
    is_reconfigured: bool,
    personality: Personality,
) -> Change:
    """What leads from the old component to the new one.

    Args:
        old: as it runs; None where it does not.
        new: as it shall run.
        has_other_files: whether its artifacts are others, perhaps under the same version.
        is_reconfigured: whether its configuration changes.
        personality: nucleus lite restarts what is configured anew.
    """
    if old is None or has_other_files or old.version != new.version:
        return Change.REINSTALL
    if old.steps.get("install") != new.steps.get("install"):
        return Change.REINSTALL
    if _without_shutdown(old) != _without_shutdown(new):
        return Change.RESTART
    if is_reconfigured and personality.restarts_on_configuration:
        return Change.RESTART
    return Change.NONE


def _without_shutdown(spec: ComponentSpec) -> ComponentSpec:
    """The component without what another script may replace while it runs, and its dependencies."""
    steps: dict[str, Step] = {it: step for it, step in spec.steps.items() if it != "shutdown"}
    return replace(spec, steps=steps, dependencies={})
