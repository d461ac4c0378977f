"""What a deployment restarts, and what not."""

from dataclasses import replace
from pathlib import Path

import pytest

from nucleus.component import ComponentSpec
from nucleus.deployments.changes import Change, change_between
from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.recipe import Step

OLD = ComponentSpec(
    name="A",
    version="1.0.0",
    steps={it: Step(script=it) for it in ("install", "startup", "shutdown", "recover")},
    environment={"PATH": "/bin"},
    work=Path("work"),
    log=Path("log"),
)


def changed(new: ComponentSpec, personality: Personality = CLASSIC, **facts: bool) -> Change:
    """What leads from the old component to another."""
    facts = {"has_other_files": False, "is_reconfigured": False, **facts}
    return change_between(OLD, new, personality=personality, **facts)


def with_step(name: str, script: str = "other") -> ComponentSpec:
    return replace(OLD, steps={**OLD.steps, name: Step(script=script)})


@pytest.mark.parametrize(
    ("new", "change"),
    [
        (OLD, Change.NONE),
        (replace(OLD, version="1.0.1"), Change.REINSTALL),
        (with_step("install"), Change.REINSTALL),
        (with_step("startup"), Change.RESTART),
        (with_step("recover"), Change.RESTART),
        (with_step("shutdown"), Change.NONE),
        (replace(OLD, environment={"PATH": "/sbin"}), Change.RESTART),
        (replace(OLD, dependencies={"B": True}), Change.NONE),
    ],
    ids=["nothing", "version", "install", "startup", "recover", "shutdown", "Setenv", "needs"],
)
def test_what_changes_decides_about_the_restart(new: ComponentSpec, change: Change) -> None:
    """As the classic nucleus decides."""
    assert changed(new) is change


def test_new_component_is_installed() -> None:
    """Whatever it is."""
    found = change_between(
        None, OLD, has_other_files=False, is_reconfigured=True, personality=CLASSIC
    )
    assert found is Change.REINSTALL


def test_other_artifacts_under_the_same_version_are_installed() -> None:
    """Which only a local deployment can have."""
    assert changed(OLD, has_other_files=True) is Change.REINSTALL


def test_other_configuration_restarts_on_lite_alone() -> None:
    """A component of a classic nucleus hears of it instead."""
    assert changed(OLD, CLASSIC, is_reconfigured=True) is Change.NONE
    assert changed(OLD, LITE, is_reconfigured=True) is Change.RESTART
