import platform

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nucleus.errors import RecipeError
from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.platforms import fits, this_platform

DEVICE = {"os": "linux", "architecture": "amd64"}
LITE_DEVICE = {**DEVICE, "runtime": "aws_nucleus_lite"}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, True),
        ({"os": "linux"}, True),
        ({"os": "darwin"}, False),
        ({"os": "linux", "architecture": "aarch64"}, False),
        ({"os": "/linux|darwin/"}, True),
        ({"os": "/lin/"}, False),
        ({"os": "/.+/", "architecture": "/amd.*/"}, True),
        ({"os": "all"}, True),
        ({"radio": "*"}, True),
        ({"radio": "lora"}, False),
        ({"radio": "/.*/"}, False),
        ({"os": "linux", "runtime": "*"}, True),
        ({"os": "linux", "runtime": "aws_nucleus_lite"}, False),
    ],
)
def test_manifest_on_classic_fits_as_the_nucleus_says(
    wanted: dict[str, str], expected: bool
) -> None:
    """Exact values, `*` also for what is absent, and whole patterns."""
    assert fits(wanted, DEVICE, CLASSIC) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, False),
        ({"os": "linux"}, False),
        ({"os": "linux", "runtime": "*"}, True),
        ({"runtime": "aws_nucleus_lite"}, True),
        ({"runtime": "other"}, False),
        ({"os": "/linux/", "runtime": "*"}, False),
        ({"os": "darwin", "runtime": "*"}, False),
        ({"os": "*", "architecture": "amd64", "runtime": "*"}, True),
    ],
)
def test_manifest_on_lite_fits_only_with_a_runtime(wanted: dict[str, str], expected: bool) -> None:
    """And patterns mean nothing there."""
    assert fits(wanted, LITE_DEVICE, LITE) is expected


def test_runtime_that_is_overridden_fits_too() -> None:
    """Besides the runtime of nucleus lite itself."""
    device = {**LITE_DEVICE, "runtime": "mine"}
    assert fits({"runtime": "mine"}, device, LITE)
    assert fits({"runtime": "aws_nucleus_lite"}, device, LITE)


@given(st.dictionaries(st.sampled_from(["os", "architecture", "x"]), st.text("ab*", min_size=1)))
def test_device_with_the_wanted_values_fits(wanted: dict[str, str]) -> None:
    """Whatever they are, as long as they are no pattern."""
    assert fits(wanted, wanted, CLASSIC)


@pytest.mark.parametrize(
    ("machine", "architecture"),
    [
        ("x86_64", "amd64"),
        ("AMD64", "amd64"),
        ("aarch64", "aarch64"),
        ("arm64", "aarch64"),
        ("armv7l", "arm"),
        ("i686", "x86"),
        ("riscv64", "riscv64"),
    ],
)
def test_machine_is_named_as_greengrass_names_it(
    machine: str, architecture: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker and Python have other names for some."""
    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    assert this_platform(CLASSIC) == {"os": "linux", "architecture": architecture}


@pytest.mark.parametrize(("personality", "runtime"), [(CLASSIC, None), (LITE, "aws_nucleus_lite")])
def test_only_nucleus_lite_has_a_runtime(personality: Personality, runtime: str | None) -> None:
    """The classic nucleus leaves it undefined, unless it is overridden."""
    assert this_platform(personality).get("runtime") == runtime
    overridden = this_platform(personality, {"runtime": "mine", "radio": "lora"})
    assert (overridden["runtime"], overridden["radio"]) == ("mine", "lora")


def test_other_system_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no Unix sockets for the IPC there."""
    monkeypatch.setattr(platform, "system", lambda: "Windows")
    with pytest.raises(RecipeError) as caught:
        this_platform(CLASSIC)
    assert str(caught.value) == "this machine: got Windows, expected Linux or Darwin"
