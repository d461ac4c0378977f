import logging
from pathlib import Path
from typing import Any

import pytest
import yaml
from semantic_version import Version

from nucleus.dependencies import Dependency
from nucleus.errors import RecipeError
from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.recipe import Artifact, Manifest, Recipe, Step, choose_manifest, parse_recipe

RECIPES = Path(__file__).parents[1] / "data" / "recipes"
DEVICE = {"os": "linux", "architecture": "amd64"}
LITE_DEVICE = {**DEVICE, "runtime": "aws_nucleus_lite"}


def read(name: str, personality: Personality = CLASSIC) -> Recipe:
    return parse_recipe((RECIPES / name).read_text(), name, personality)


def recipe_text(**changes: Any) -> str:
    """A small good recipe with some fields changed; None leaves one out."""
    fields: dict[str, Any] = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": "a.B",
        "ComponentVersion": "1.0.0",
        "Manifests": [{"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": {"run": "true"}}],
        **changes,
    }
    present = {name: value for name, value in fields.items() if value is not None}
    return yaml.safe_dump(present, sort_keys=False)


def with_manifest(**fields: Any) -> str:
    return recipe_text(Manifests=[{"Platform": {"os": "linux", "runtime": "*"}, **fields}])


def chosen(text: str, personality: Personality = CLASSIC, *local: str) -> Manifest:
    device = DEVICE if personality is CLASSIC else LITE_DEVICE
    return choose_manifest(parse_recipe(text, "r", personality), device, personality, local)


def error_of(text: str, personality: Personality = CLASSIC) -> str:
    with pytest.raises(RecipeError) as caught:
        chosen(text, personality)
    return str(caught.value)


def test_full_recipe_is_parsed() -> None:
    """Every field, whatever the case of its key, with YAML's scalars as the nucleus reads them."""
    recipe = read("full.yaml")
    assert recipe.name == "example.Sensor_Reader-2"
    assert recipe.version == Version("1.2.3")
    assert (recipe.description, recipe.publisher) == ("Reads a sensor.", "Example")
    assert recipe.configuration == {
        "topic": "sensors/1",
        "enabled": "yes",
        "since": "2024-02-29",
        "ratio": 1.5,
        "active": True,
        "nothing": None,
        "quoted": "17",
        "retries": 17,
    }
    assert recipe.dependencies == {
        "example.Store": Dependency(">= 1.0.0 <2.0.0", hard=True),
        "example.Clock": Dependency("~1.4.0", hard=False),
    }
    assert recipe.manifests[0] == Manifest(
        place="full.yaml: Manifests[0]",
        platform={"os": "/linux|darwin/", "architecture": "amd64"},
        lifecycle={
            "install": Step(script="echo install"),
            "startup": Step(
                script="echo startup {configuration:/topic}",
                timeout_s=30.0,
                requires_privilege=True,
                skipif="! exists /run/never",
                environment={"LEVEL": "4"},
            ),
            "shutdown": Step(script="echo shutdown", timeout_s=2.5),
        },
        setenv={"LEVEL": "3", "DEBUG": "true"},
        artifacts=(
            Artifact(uri="docker:registry.example/image@sha256:0123"),
            Artifact(uri="s3://bucket/key/program.zip", unarchive=True),
        ),
    )


def test_minimal_json_recipe_is_parsed() -> None:
    """No platform fits every device."""
    recipe = read("minimal.json")
    assert recipe.version == Version("0.1.0-rc.1")
    assert choose_manifest(recipe, {"os": "plan9"}, CLASSIC).lifecycle == {
        "run": Step(script="true")
    }


def test_first_manifest_that_fits_is_chosen() -> None:
    """In the recipe's order."""
    recipe = read("full.yaml")
    local = ("program.zip",)
    assert choose_manifest(recipe, DEVICE, CLASSIC, local) == recipe.manifests[0]
    arm = {"os": "linux", "architecture": "arm"}
    assert choose_manifest(recipe, arm, CLASSIC) == recipe.manifests[1]


def test_common_lifecycle_is_used_by_selections() -> None:
    """A manifest's own selection comes before `all`, on each level."""
    small, windows = read("full.yaml").manifests[1:]
    assert small.lifecycle == {"run": Step(script="echo small")}
    assert windows.lifecycle["run"] == Step(script="echo all")
    assert "install" not in windows.lifecycle  # its only selection is for others


def test_selections_below_the_steps_are_followed() -> None:
    """The classic nucleus allows the keys there too."""
    text = recipe_text(
        Manifests=[{"Platform": {"os": "linux"}, "Selections": ["one", "two"]}],
        Lifecycle={"run": {"two": "echo two", "all": "echo all"}, "install": {"all": "echo any"}},
    )
    assert chosen(text).lifecycle == {
        "run": Step(script="echo two"),
        "install": Step(script="echo any"),
    }


def test_manifest_with_a_lifecycle_of_its_own_ignores_the_common_one() -> None:
    """All of it, not step by step."""
    text = with_manifest(Lifecycle={"run": "true"}).replace(
        "Manifests:", "Lifecycle: {all: {install: 'false'}}\nManifests:"
    )
    assert chosen(text).lifecycle == {"run": Step(script="true")}


def test_no_manifest_that_fits_is_refused_with_what_was_looked_for() -> None:
    """Device and offers."""
    with pytest.raises(RecipeError) as caught:
        choose_manifest(read("full.yaml"), {"os": "plan9", "architecture": "arm"}, CLASSIC)
    assert str(caught.value) == (
        "full.yaml: Manifests: got manifests for os /linux|darwin/, architecture amd64; "
        "os linux, architecture *; os windows, expected one for os plan9, architecture arm"
    )


def test_no_manifest_for_lite_says_what_lite_wants() -> None:
    """A runtime is easily forgotten."""
    assert error_of(recipe_text(Manifests=[{"Platform": {"os": "linux"}}]), LITE) == (
        "r: Manifests: got manifests for os linux, expected one for os linux, architecture amd64, "
        "runtime aws_nucleus_lite (nucleus lite takes only those with a runtime of '*' or "
        "'aws_nucleus_lite')"
    )


def test_recipe_for_lite_is_read_as_lite_reads_it(caplog: pytest.LogCaptureFixture) -> None:
    """Scalars are text; a manifest without runtime, and steps it does not have, are left out."""
    recipe = read("lite.yaml", LITE)
    assert recipe.configuration == {"port": "1883", "on": "true"}
    with caplog.at_level(logging.WARNING):
        manifest = choose_manifest(recipe, LITE_DEVICE, LITE)
    assert manifest.lifecycle == {
        "install": Step(script="test -d {work:path}", timeout_s=60.0),
        "run": Step(
            script='exec "$PYTHON" -m example --port {configuration:/port}',
            environment={"PYTHON": "{artifacts:decompressedPath}venv/bin/python"},
        ),
    }
    place = "lite.yaml: Manifests[1].Lifecycle"
    assert caplog.messages == [
        f"{place}.install: nucleus lite has no Skipif; it is ignored",
        f"{place}.shutdown: nucleus lite has no such step; it is ignored",
    ]


def test_recipe_for_both_is_chosen_by_classic_from_the_first() -> None:
    """What would not do on nucleus lite does no harm there."""
    assert choose_manifest(read("lite.yaml"), DEVICE, CLASSIC).lifecycle == {
        "run": Step(script="echo ${CLASSIC:-only}")
    }


FORMS = "one of install, run, startup, shutdown, recover, bootstrap, uninstall"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            recipe_text(RecipeFormatVersion="2021-01-01"),
            "RecipeFormatVersion: got '2021-01-01', expected '2020-01-25'",
        ),
        (recipe_text(ComponentName=None), "ComponentName: got nothing, expected text"),
        (
            recipe_text(ComponentName="a b"),
            "ComponentName: got 'a b', expected at most 128 letters, digits, '-', '_' and '.'",
        ),
        (
            recipe_text(ComponentName=".."),
            "ComponentName: got '..', expected at most 128 letters, digits, '-', '_' and '.'",
        ),
        (
            recipe_text(ComponentName="a" * 129),
            f"ComponentName: got '{'a' * 60}…', "
            "expected at most 128 letters, digits, '-', '_' and '.'",
        ),
        (
            recipe_text(ComponentVersion="1.0"),
            "ComponentVersion: got '1.0', expected a semantic version such as '1.0.0'",
        ),
        (recipe_text(ComponentVersion=1.0), "ComponentVersion: got the number 1.0, expected text"),
        (
            recipe_text(ComponentVersion="1.0.0-" + "a" * 60),
            f"ComponentVersion: got '1.0.0-{'a' * 54}…', expected at most 64 characters",
        ),
        (
            recipe_text(ComponentType="aws.greengrass.lambda"),
            "ComponentType: got 'aws.greengrass.lambda' (Lambda functions are not run as "
            "components), expected 'aws.greengrass.generic'",
        ),
        (
            recipe_text(ComponentType="mine"),
            "ComponentType: got 'mine', expected 'aws.greengrass.generic'",
        ),
        (recipe_text(Manifests=[]), "Manifests: got none, expected one at least"),
        (recipe_text(Manifests=None), "Manifests: got none, expected one at least"),
        (
            recipe_text(ComponentConfiguration=[]),
            "ComponentConfiguration: got a list, expected an object",
        ),
        (
            with_manifest(Lifecycle={"run": ["x"]}),
            "Manifests[0].Lifecycle.run: got a list, expected text or an object",
        ),
        (
            with_manifest(Lifecycle={"run": {}}),
            "Manifests[0].Lifecycle.run.Script: got nothing, expected text",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": 3}}),
            "Manifests[0].Lifecycle.run.Script: got the number 3, expected text",
        ),
        (
            with_manifest(Lifecycle={"start": "x"}),
            f"Manifests[0].Lifecycle.start: got a step, expected {FORMS}",
        ),
        (
            with_manifest(Lifecycle={"Run": "x", "run": "y"}),
            "Manifests[0].Lifecycle: got the step 'run' twice, expected it once",
        ),
        (
            with_manifest(Lifecycle={"run": "x", "Startup": "y"}),
            "Manifests[0].Lifecycle: got both run and startup, expected one of them",
        ),
        (
            with_manifest(Lifecycle={"Bootstrap": "x"}),
            "Manifests[0].Lifecycle.bootstrap: got a step (it may restart the nucleus or reboot "
            "the machine), expected a recipe without it",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "Timeout": 0}}),
            "Manifests[0].Lifecycle.run.Timeout: got the number 0, expected a number of seconds",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "Timeout": "{configuration:/t}"}}),
            "Manifests[0].Lifecycle.run.Timeout: got '{configuration:/t}', "
            "expected a number of seconds",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "Timeout": True}}),
            "Manifests[0].Lifecycle.run.Timeout: got true, expected a number of seconds",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "RequiresPrivilege": "maybe"}}),
            "Manifests[0].Lifecycle.run.RequiresPrivilege: got 'maybe', expected true or false",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "Skipif": "isdir /"}}),
            "Manifests[0].Lifecycle.run.Skipif: got 'isdir /', "
            "expected 'exists PATH' or 'onpath COMMAND', perhaps after '!'",
        ),
        (
            with_manifest(Lifecycle={"Setenv": {"A": ["x"]}}),
            "Manifests[0].Lifecycle.Setenv.A: got a list, expected a variable and its text",
        ),
        (
            with_manifest(Platform={"os": 1}),
            "Manifests[0].Platform.os: got the number 1, expected text",
        ),
        (
            with_manifest(Platform={"os": "/(/"}),
            "Manifests[0].Platform.os: got '/(/', "
            "expected a pattern (missing ), unterminated subpattern at position 0)",
        ),
        (
            with_manifest(Platform={"os": "/a{1,99999999999}/"}),
            "Manifests[0].Platform.os: got '/a{1,99999999999}/', "
            "expected a pattern (the repetition number is too large)",
        ),
        (
            with_manifest(Lifecycle={"run": {"Script": "x", "Timeout": "9" * 5000}}),
            f"Manifests[0].Lifecycle.run.Timeout: got '{'9' * 60}…', expected a number of seconds",
        ),
        (
            with_manifest(Selections="all"),
            "Manifests[0].Selections: got 'all', expected a list of texts",
        ),
        (
            with_manifest(Artifacts=[{}]),
            "Manifests[0].Artifacts[0].URI: got nothing, expected text",
        ),
        (
            with_manifest(Artifacts=[{"URI": "s3://b/k/f.zip"}]),
            "Manifests[0].Artifacts[0].URI: got 's3://b/k/f.zip' (nothing is downloaded; put the "
            "file among the local artifacts), expected 'f.zip' at hand",
        ),
        (
            with_manifest(Artifacts=[{"URI": "https://x/f"}]),
            "Manifests[0].Artifacts[0].URI: got 'https://x/f', "
            "expected s3:, greengrass: or docker:",
        ),
        (
            with_manifest(Artifacts=[{"URI": "docker:x", "Unarchive": "TAR"}]),
            "Manifests[0].Artifacts[0].Unarchive: got 'TAR', expected 'NONE' or 'ZIP'",
        ),
    ],
)
def test_recipe_that_is_wrong_is_refused(text: str, error: str) -> None:
    """With the place, what is there and what should be."""
    assert error_of(text) == f"r: {error}"


@pytest.mark.parametrize(
    ("lifecycle", "error"),
    [
        ({"Run": "x"}, "Run: got 'Run', expected 'run', in lower case"),
        ({"run": "x" * 10_001}, "run: got a script of 10001 bytes, expected 10000 at most"),
        (
            {"run": "echo ${HOME}"},
            "run: got '{HOME}', expected a placeholder: "
            "nucleus lite takes every '{' for the start of one",
        ),
        (
            {"run": {"Script": "x", "Setenv": {"A": "a{"}}},
            "run: got '{', expected a placeholder: "
            "nucleus lite takes every '{' for the start of one",
        ),
        (
            {"run": "x", "Setenv": {"A": "{other:configuration:/x}"}},
            "run: got '{other:configuration:/x}', expected a placeholder: "
            "nucleus lite takes every '{' for the start of one",
        ),
        (
            {"uninstall": "x"},
            "uninstall: got a step (nothing is ever removed by a script here), "
            "expected a recipe without it",
        ),
    ],
)
def test_manifest_that_lite_stumbles_over_is_refused(lifecycle: object, error: str) -> None:
    """On a device it would fail, or worse, run cut off."""
    text = with_manifest(Lifecycle=lifecycle)
    assert error_of(text, LITE) == f"r: Manifests[0].Lifecycle.{error}"


def test_long_recipe_is_refused_by_lite_and_logged_by_classic(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Its length counts in bytes."""
    text = recipe_text() + "# é" * 6000
    size_bytes = len(text.encode())
    with caplog.at_level(logging.WARNING):
        parse_recipe(text, "r")
    assert caplog.messages == [f"r: got {size_bytes} bytes; the cloud takes 16384"]
    assert error_of(text, LITE) == f"r: got {size_bytes} bytes, expected 16384 at most"


def test_artifact_that_is_at_hand_needs_no_download() -> None:
    """As in a local deployment on a device."""
    text = with_manifest(Artifacts=[{"URI": "s3://bucket/key/f.zip", "Unarchive": "ZIP"}])
    (artifact,) = chosen(text, CLASSIC, "f.zip").artifacts
    assert (artifact.scheme, artifact.file_name, artifact.unarchive) == ("s3", "f.zip", True)


def test_image_is_accepted_and_said_not_to_be_pulled(caplog: pytest.LogCaptureFixture) -> None:
    """It must be there already."""
    with caplog.at_level(logging.INFO):
        chosen(with_manifest(Artifacts=[{"URI": "docker:image@sha256:12"}]))
    assert caplog.messages == [
        "r: Manifests[0].Artifacts[0].URI: docker:image@sha256:12 is not pulled; "
        "it must be on this machine"
    ]


def test_half_a_character_is_refused() -> None:
    """JSON can hold what no file can."""
    assert error_of("\ud800") == "r: got half a character, expected UTF-8"


def test_pattern_of_too_many_groups_is_refused() -> None:
    """Python reads them by recursion; how deep is its own affair."""
    text = with_manifest(Platform={"os": "/" + "(" * 2000 + ")" * 2000 + "/"})
    assert error_of(text).startswith("r: Manifests[0].Platform.os: got '/(((")


@pytest.mark.parametrize(("value", "words"), [("x", "'x'"), (["x"], "a list")])
def test_selection_that_is_no_lifecycle_is_refused(value: object, words: str) -> None:
    """Each selection of the recipe's own lifecycle is steps by name."""
    text = recipe_text(Manifests=[{}], Lifecycle={"all": value})
    assert error_of(text) == f"r: Lifecycle, selected: got {words}, expected an object"
