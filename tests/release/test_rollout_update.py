"""What goes out: versions that follow from content, recipes and archives."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from nucleus.personality import LITE
from nucleus.recipe import parse_recipe
from release.components import INFERENCE
from release.errors import CommandError
from release.rollout.update import bundle_update, component_version, image_update
from tests.conftest import BUNDLE_FILES, Packed, change_manifest, copy_bundle

ROOT = Path(__file__).parents[2]
IMAGE = f"sha256:{'a1' * 32}"
PACKAGES = ("consumer", "container", "interface", "model", "nucleus", "release")
SHOW = """
import pathlib, sys
from nucleus.errors import RecipeError
from release.errors import CommandError
from release.rollout.update import bundle_update, image_update
try:
    print(bundle_update(pathlib.Path(sys.argv[1])).version, image_update(sys.argv[2]).version)
except (CommandError, RecipeError) as error:
    print(error)
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The project's packages, to be changed."""
    folder = tmp_path / "checkout"
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignored)
    return folder


def said(checkout: Path, bundle: Path) -> str:
    """What a checkout gives a bundle and an image as versions, or why it refuses."""
    found = subprocess.run(
        [sys.executable, "-c", SHOW, str(bundle), IMAGE],
        env={**os.environ, "PYTHONPATH": str(checkout)},
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout.strip()


def change(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# --- versions -------------------------------------------------------------------------------------


def test_same_content_is_the_same_version_wherever_it_lies(
    multiclass: Packed, tmp_path: Path
) -> None:
    """Another directory, other dates, other rights: nothing of them reaches a device."""
    copied = copy_bundle(multiclass, tmp_path)
    for path in copied.iterdir():
        os.utime(path, (1e9, 1e9))
        path.chmod(0o600)
    first, second = bundle_update(multiclass.directory), bundle_update(copied)
    assert (second.version, second.recipe) == (first.version, first.recipe)


def test_version_is_one_that_every_nucleus_reads_and_a_range_includes(multiclass: Packed) -> None:
    """MAJOR.MINOR of the recipe; the patch fits Java's int."""
    for update in (bundle_update(multiclass.directory), image_update(IMAGE)):
        major, minor, patch = update.version.split(".")
        assert (major, minor) == ("0", "1")
        assert 0 <= int(patch) < 2**31
        assert str(int(patch)) == patch


@pytest.mark.parametrize("name", BUNDLE_FILES)
def test_one_other_byte_of_the_bundle_is_another_version(
    name: str, multiclass: Packed, tmp_path: Path
) -> None:
    """Whichever file it is in, and whether the bundle is any good or not."""
    copied = copy_bundle(multiclass, tmp_path)
    content = bytearray((copied / name).read_bytes())
    content[len(content) // 2] ^= 1
    (copied / name).write_bytes(content)
    assert bundle_update(copied).version != bundle_update(multiclass.directory).version


def test_missing_file_and_one_more_are_other_versions(multiclass: Packed, tmp_path: Path) -> None:
    """A name counts as much as what is in it."""
    copied = copy_bundle(multiclass, tmp_path)
    versions = {bundle_update(copied).version}
    (copied / "golden.jsonl").rename(copied / "golden.txt")
    versions.add(bundle_update(copied).version)
    (copied / "golden.txt").unlink()
    versions.add(bundle_update(copied).version)
    assert len(versions) == 3


def test_unchanged_checkout_gives_the_same_versions(checkout: Path, multiclass: Packed) -> None:
    """Elsewhere, as another process; what python keeps beside its sources counts for nothing."""
    ours = (bundle_update(multiclass.directory).version, image_update(IMAGE).version)
    assert said(checkout, multiclass.directory) == " ".join(ours)
    (checkout / "model" / "__pycache__").mkdir(exist_ok=True)
    (checkout / "model" / "__pycache__" / "bundle.pyc").touch()
    assert said(checkout, multiclass.directory) == " ".join(ours)


@pytest.mark.parametrize("file", ["container/service.py", "interface/bridge.py", "model/bundle.py"])
def test_changed_code_is_another_version_of_the_bundles_component(
    file: str, checkout: Path, multiclass: Packed
) -> None:
    """An image holds its code, and has another digest where that changes."""
    with (checkout / file).open("a") as code:
        code.write("# changed\n")
    process, image = said(checkout, multiclass.directory).split()
    assert process != bundle_update(multiclass.directory).version
    assert image == image_update(IMAGE).version


def test_code_that_serves_nothing_changes_no_version(checkout: Path, multiclass: Packed) -> None:
    """Neither the consumer, nor the device, nor this very command."""
    expected = said(checkout, multiclass.directory)
    for file in ("consumer/client.py", "nucleus/device.py", "release/rollout/update.py"):
        with (checkout / file).open("a") as code:
            code.write("# changed\n")
    assert said(checkout, multiclass.directory) == expected


def test_changed_recipe_is_another_version_of_both(checkout: Path, multiclass: Packed) -> None:
    """A limit, and MAJOR.MINOR itself."""
    recipe = checkout / "container" / "recipe.yaml"
    versions = [said(checkout, multiclass.directory).split()]
    change(recipe, 'maxRows: "10000"', 'maxRows: "10001"')
    versions.append(said(checkout, multiclass.directory).split())
    change(recipe, 'ComponentVersion: "0.1.0"', 'ComponentVersion: "3.2.0-rc.1"')
    versions.append(said(checkout, multiclass.directory).split())
    for one in zip(*versions, strict=True):
        assert len(set(one)) == 3
        assert one[2].startswith("3.2.")


def test_comment_in_the_recipe_is_no_change(checkout: Path, multiclass: Packed) -> None:
    """No device ever sees it."""
    expected = said(checkout, multiclass.directory)
    with (checkout / "container" / "recipe.yaml").open("a") as recipe:
        recipe.write("# a comment\n")
    assert said(checkout, multiclass.directory) == expected


def test_order_of_a_recipes_keys_is_no_change() -> None:
    """Nor is it one for a device."""
    one = {"ComponentVersion": "1.2.0", "A": {"x": 1, "y": 2}}
    other = {"A": {"y": 2, "x": 1}, "ComponentVersion": "1.2.0"}
    assert component_version(one) == component_version(other)


# --- recipes and archives -------------------------------------------------------------------------


def test_bundle_travels_as_an_archive_that_the_recipe_names(
    multiclass: Packed, tmp_path: Path
) -> None:
    """One manifest, for processes; where the device unpacks it, the script looks for it."""
    update = bundle_update(multiclass.directory)
    recipe = parse_recipe(update.recipe, "the recipe", LITE)
    assert (recipe.name, str(recipe.version)) == (INFERENCE, update.version)
    [manifest] = recipe.manifests
    [artifact] = manifest.artifacts
    assert artifact.uri == f"s3://edgexgb/{INFERENCE}/{update.version}/bundle.zip"
    assert artifact.unarchive
    script = json.loads(update.recipe)["Manifests"][0]["Lifecycle"]["startup"]["Script"]
    assert 'export EDGEXGB_BUNDLE="{artifacts:decompressedPath}/bundle"' in script
    assert "configuration:/bundle" not in script


def test_archive_unpacks_to_the_bundle_byte_for_byte(multiclass: Packed, tmp_path: Path) -> None:
    """Among the artifacts, where a deployment looks for it."""
    update = bundle_update(multiclass.directory)
    recipes, artifacts = update.write(tmp_path)
    assert [path.name for path in recipes.iterdir()] == [f"{INFERENCE}-{update.version}.json"]
    with zipfile.ZipFile(artifacts / INFERENCE / update.version / "bundle.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = {path.name: path.read_bytes() for path in (tmp_path / "unpacked").iterdir()}
    assert unpacked == {path.name: path.read_bytes() for path in multiclass.directory.iterdir()}
    assert sorted(unpacked) == BUNDLE_FILES


def test_same_bundle_is_the_same_archive(multiclass: Packed, tmp_path: Path) -> None:
    """Whenever it was written."""
    copied = copy_bundle(multiclass, tmp_path)
    for path in copied.iterdir():
        os.utime(path, (1e9, 1e9))
    contents = set()
    for name, bundle in (("a", multiclass.directory), ("b", copied)):
        (tmp_path / name).mkdir()
        update = bundle_update(bundle)
        _, artifacts = update.write(tmp_path / name)
        contents.add((artifacts / INFERENCE / update.version / "bundle.zip").read_bytes())
    assert len(contents) == 1


def test_update_of_an_image_holds_its_digest_and_no_archive(tmp_path: Path) -> None:
    """In the artifact, and in the script that runs it; another image is another version."""
    update = image_update(IMAGE)
    fields = json.loads(update.recipe)
    assert fields["ComponentVersion"] == update.version
    artifacts = [it for one in fields["Manifests"] for it in one.get("Artifacts", [])]
    assert artifacts == [{"URI": f"docker:{IMAGE}"}]
    assert f" {IMAGE} component " in update.recipe
    assert "0" * 64 not in update.recipe
    _, folder = update.write(tmp_path)
    assert list(folder.iterdir()) == []
    assert image_update(f"sha256:{'a2' * 32}").version != update.version


def test_image_of_the_same_layers_has_the_same_version() -> None:
    """Its own digest is another one for each commit that it was built of."""
    layers = [f"sha256:{'b1' * 32}", f"sha256:{'b2' * 32}"]
    update, other = image_update(IMAGE, layers), image_update(f"sha256:{'a2' * 32}", layers)
    assert update.version == other.version
    assert f" {IMAGE} component " in update.recipe
    assert f" sha256:{'a2' * 32} component " in other.recipe
    assert image_update(IMAGE, layers[:1]).version != update.version


# --- what is refused ------------------------------------------------------------------------------


def test_directory_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """By the file that makes a bundle of it."""
    expected = f"{tmp_path / 'manifest.json'}: got no such file, expected a bundle's"
    with pytest.raises(CommandError) as caught:
        bundle_update(tmp_path)
    assert str(caught.value) == expected


def test_bundle_is_not_opened(multiclass: Packed, tmp_path: Path) -> None:
    """Whether it is any good is the gate's to say, and the device's."""
    copied = copy_bundle(multiclass, tmp_path)
    change_manifest(copied, lambda fields: fields.update(format=99))
    assert bundle_update(copied).version


def test_image_without_a_digest_is_refused() -> None:
    """A tag names another image tomorrow."""
    with pytest.raises(CommandError, match="got 'edgexgb:latest', expected one with a digest"):
        image_update("edgexgb:latest")


Damage = Callable[[str], str]

_DAMAGES: dict[str, tuple[Damage, str]] = {
    "no YAML": (lambda text: text + "\n]", "container/recipe.yaml: got "),
    "no name": (
        lambda text: text.replace("ComponentName: ", "Name: "),
        "container/recipe.yaml: ComponentName: got ",
    ),
    "no process": (
        lambda text: text.replace("runtime: process", "runtime: other"),
        "container/recipe.yaml: got no script for the runtime 'process' with ",
    ),
    "another bundle": (
        lambda text: text.replace("{configuration:/bundle}", "/opt/bundle"),
        "container/recipe.yaml: got no script for the runtime 'process' with ",
    ),
    "no manifests": (
        lambda text: text.replace("Manifests:", "manifests:"),
        "container/recipe.yaml: got no script for the runtime 'process' with ",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGES.values(), ids=_DAMAGES.keys())
def test_broken_recipe_is_refused_by_its_place(
    damage: tuple[Damage, str], checkout: Path, multiclass: Packed
) -> None:
    """In one line, before a device hears of it."""
    do, expected = damage
    recipe = checkout / "container" / "recipe.yaml"
    text = recipe.read_text()
    recipe.write_text(do(text))
    assert recipe.read_text() != text
    found: Any = said(checkout, multiclass.directory)
    assert found.startswith(expected)
    assert found.count("\n") == 0
