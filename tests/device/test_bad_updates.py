"""Updates that are no good, under traffic: each ends as on a device, and says why.

Who asks meanwhile loses nothing, where it asks again: the old version answers until it is stopped,
and once it runs again. What is refused before that does not even stop it.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from model.golden import GoldenRow
from model.manifest import FORMAT
from release.components import INFERENCE
from tests.conftest import (
    ANSWERS,
    COMPACT,
    Packed,
    change_manifest,
    copy_bundle,
    replace_file,
    with_golden,
)
from tests.device.recipes import recipe_text
from tests.device.running import RunningDevice
from tests.device.updates import (
    HANG,
    deploy,
    persistent_askers,
    write_recipe_text,
    write_update,
)

VERSION = "0.2.0"
PATIENCE = {"deferUpdateSeconds": "1"}
"""Of the device's component: who asks all the time must not hold up each update for long."""

MODEL = (*COMPACT, "model.ubj")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What is deployed.

    Attributes:
        recipes: a directory.
        merge: into the component's configuration.
    """

    recipes: Path
    merge: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bad:
    """One row of the table.

    Attributes:
        make: the update, from a folder of the test's own and a good bundle.
        words: the reason, in the words that people read.
        is_refused: whether that is seen before anything is touched.
    """

    make: Callable[[Path, Packed], Update]
    words: str
    is_refused: bool = False


# --- how they are made ----------------------------------------------------------------------------


def with_bundle(make: Callable[[Packed, Path], Path]) -> Callable[[Path, Packed], Update]:
    """An update to another bundle."""

    def update(folder: Path, better: Packed) -> Update:
        bundle = make(better, folder)
        return Update(
            recipes=write_update(folder / "recipes", VERSION), merge={"bundle": f"{bundle}"}
        )

    return update


def with_script(script: str, **startup: Any) -> Callable[[Path, Packed], Update]:
    """An update to another startup script."""
    return lambda folder, _: Update(
        recipes=write_update(folder / "recipes", VERSION, script, **startup)
    )


def with_recipe(change: Callable[[str], str]) -> Callable[[Path, Packed], Update]:
    """An update to another recipe, whose version is right before the change."""

    def update(folder: Path, _: Packed) -> Update:
        text = recipe_text("container").replace('"0.1.0"', VERSION)
        changed = change(text)
        assert changed != text
        return Update(recipes=write_recipe_text(folder / "recipes", changed))

    return update


def with_configuration(**merge: str) -> Callable[[Path, Packed], Update]:
    """An update that configures the component, too."""
    return lambda folder, _: Update(recipes=write_update(folder / "recipes", VERSION), merge=merge)


def other_golden(better: Packed, folder: Path) -> Path:
    def change(rows: list[GoldenRow]) -> None:
        other = next(it for it in ANSWERS if it != rows[0].prediction)
        rows[0] = rows[0]._replace(prediction=other)

    return with_golden(better, folder, change)


def truncated_model(better: Packed, folder: Path) -> Path:
    directory = copy_bundle(better, folder)
    content = (directory / MODEL).read_bytes()
    (directory / MODEL).write_bytes(content[: len(content) // 2])
    return directory


def truncated_and_signed_model(better: Packed, folder: Path) -> Path:
    directory = copy_bundle(better, folder)
    content = (directory / MODEL).read_bytes()
    replace_file(directory, MODEL, content[: len(content) // 2])
    return directory


def flipped_manifest(better: Packed, folder: Path) -> Path:
    directory = copy_bundle(better, folder)
    path = directory / "manifest.json"
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)
    return directory


def newer_format(better: Packed, folder: Path) -> Path:
    directory = copy_bundle(better, folder)
    change_manifest(directory, lambda fields: fields.update(format=FORMAT + 1))
    return directory


BAD = {
    "golden rows": Bad(
        make=with_bundle(other_golden), words="giving up: golden.jsonl: row 0.prediction: got '"
    ),
    "half a model": Bad(make=with_bundle(truncated_model), words=", as in the manifest; see "),
    "half a model with its checksum": Bad(
        make=with_bundle(truncated_and_signed_model), words=f"giving up: {MODEL}: got "
    ),
    "a flipped bit in the manifest": Bad(
        make=with_bundle(flipped_manifest),
        words="giving up: manifest.json: got text that is no JSON ",
    ),
    "a newer format": Bad(
        make=with_bundle(newer_format),
        words=f"manifest.json: got bundle format {FORMAT + 1}, expected at most {FORMAT}: update",
    ),
    "no bundle": Bad(
        make=with_bundle(lambda _, folder: folder / "nowhere"),
        words="nowhere/manifest.json: got no such directory, expected a bundle's file",
    ),
    "no interpreter": Bad(
        make=with_configuration(python="/nowhere/python"),
        words="got exit code 127, expected 0; its last error: sh: ",
    ),
    "no right to the topic": Bad(
        make=with_configuration(requestTopic="else/where"),
        words="giving up: subscription to else/where: got UnauthorizedError",
    ),
    "a crash at start": Bad(
        make=with_script("echo no camera at /dev/video0 >&2; exit 3"),
        words="got exit code 3, expected 0; its last error: no camera at /dev/video0",
    ),
    "a hang at start": Bad(
        make=with_script(f"echo no route to the broker >&2; {HANG}", Timeout=1),
        words="got no RUNNING in 1 s, expected it; its last error: no route to the broker",
    ),
    "a recipe that is no YAML": Bad(
        make=with_recipe(lambda text: text.replace("Manifests:", "Manifests: [")),
        words="recipe.yaml: got expected the node content",
        is_refused=True,
    ),
    "a recipe without a field": Bad(
        make=with_recipe(lambda text: text.replace(f"ComponentVersion: {VERSION}\n", "")),
        words="recipe.yaml: ComponentVersion: got nothing, expected text",
        is_refused=True,
    ),
    "a recipe for other platforms": Bad(
        make=with_recipe(lambda text: text.replace("os: linux", "os: windows")),
        words="Manifests: got manifests for os windows",
        is_refused=True,
    ),
    "a dependency that nobody has": Bad(
        make=with_recipe(
            lambda text: (
                f"ComponentDependencies: {{my.Camera: {{VersionRequirement: '>=1.0.0'}}}}\n{text}"
            )
        ),
        words="my.Camera: got no such component, expected one that satisfies '>=1.0.0'",
        is_refused=True,
    ),
    "another version than the recipe's": Bad(
        make=with_recipe(lambda text: text.replace(VERSION, "0.2.1")),
        words=f"{VERSION}: got no such recipe (versions at hand: 0.1.0, 0.2.1), expected one",
        is_refused=True,
    ),
}
"""By what is wrong."""


# --- the tests ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def device(
    personality: str, mixed: Packed, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningDevice]:
    """A device that every test leaves as it was."""
    root = tmp_path_factory.mktemp("bad") / "root"
    with RunningDevice(root, [mixed.directory], personality, {INFERENCE: PATIENCE}) as started:
        yield started.start()


@pytest.mark.parametrize("name", BAD)
def test_bad_update_never_answers_and_says_why(
    name: str, device: RunningDevice, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """Classic goes back by itself; lite is brought back by deploying the old version."""
    bad = BAD[name]
    update = bad.make(tmp_path, better)
    before = device.component()
    assert (before["version"], before["state"]) == ("0.1.0", "RUNNING")
    with persistent_askers(device, mixed, 2) as askers:
        askers.wait_for_more(5)
        code, record, errors = deploy(device, update.recipes, VERSION, **update.merge)
        assert code == 1
        if not bad.is_refused and not device.personality.rolls_back:
            assert device.component()["state"] == "BROKEN"
            bring_back(device, mixed, tmp_path / "old")
        askers.wait_for_more(5)
    assert {it for versions in askers.versions() for it in versions} == {mixed.manifest.version}
    assert_outcome(bad, device, record, errors)
    after = device.component()
    assert (after["version"], after["state"]) == ("0.1.0", "RUNNING")
    assert (after["pid"] == before["pid"]) == bad.is_refused


def assert_outcome(bad: Bad, device: RunningDevice, record: dict[str, Any], errors: str) -> None:
    """The result, and the last line that people read."""
    if bad.is_refused:
        expected, left = "FAILED_NO_STATE_CHANGE", "nothing has changed"
    elif device.personality.rolls_back:
        expected, left = "FAILED_ROLLBACK_COMPLETE", "what ran before runs again"
    else:
        expected, left = "FAILED_ROLLBACK_NOT_REQUESTED", "what has failed was left as it is"
    assert record["result"] == expected
    last = errors.splitlines()[-1]
    assert last.startswith(f"edgexgb device: error: deployment {record['id']}: got {expected} (")
    assert last.endswith(f"; {left}")
    assert record["message"] in last
    assert bad.words in record["message"]
    if not bad.is_refused:
        assert record["message"].startswith(f"{INFERENCE} {VERSION} is BROKEN: startup: got ")


def bring_back(device: RunningDevice, packed: Packed, folder: Path) -> None:
    """The version before, with the configuration that it had."""
    folder.mkdir()
    recipes = write_recipe_text(folder / "recipes", recipe_text("container"))
    merge = {"python": sys.executable, "bundle": str(packed.directory), **PATIENCE}
    code, _, errors = deploy(device, recipes, "0.1.0", "", **merge)
    assert code == 0, errors
