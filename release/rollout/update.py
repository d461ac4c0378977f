"""What goes out: the inference component's recipe, stamped with a version of its content.

A version follows from all that decides what the device runs: the recipe, and the image or the
bundle and the code that serves it. The same content has the same version, another another.
"""

import contextlib
import hashlib
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from model.manifest import MANIFEST
from nucleus.recipe import parse_recipe
from release.components import INFERENCE, PROCESS, image_recipe, packaged
from release.errors import CommandError

_PATCHES = 2**31
"""Classic's nucleus reads each number of a version as Java's int. Source: semver4j 3."""

_CODE = ("container", "interface", "model")
_ARCHIVE = "bundle.zip"
_CONFIGURED = "{configuration:/bundle}"
_UNPACKED = "{artifacts:decompressedPath}/bundle"
_DATE = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """A version of the inference component that is ready to be deployed.

    Attributes:
        version: of the component.
        recipe: its text, as JSON.
        artifacts: the bundle's files by name; empty for an image.
    """

    version: str
    recipe: str
    artifacts: Mapping[str, Path] = field(default_factory=dict)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Writes the directories of recipes and artifacts that a deployment takes; gives both.

        Raises:
            OSError: they cannot be written.
        """
        recipes, artifacts = folder / "recipes", folder / "artifacts"
        recipes.mkdir()
        (recipes / f"{INFERENCE}-{self.version}.json").write_text(self.recipe, encoding="utf-8")
        artifacts.mkdir()
        if self.artifacts:
            here = artifacts / INFERENCE / self.version
            here.mkdir(parents=True)
            with zipfile.ZipFile(here / _ARCHIVE, "w") as archive:
                for name, path in self.artifacts.items():
                    archive.writestr(zipfile.ZipInfo(name, _DATE), path.read_bytes())
        return recipes, artifacts


def bundle_update(bundle: Path) -> Update:
    """The update to a bundle that a process of this machine serves.

    The bundle travels as the component's artifact, so that the device keeps a copy of its own, and
    goes back to the old one whatever becomes of the directory. It is not opened: whether it is any
    good is the gate's to say, and the device's.

    Raises:
        CommandError: there is no bundle, or the recipe is none that we ship.
        OSError: a file cannot be read.
        RecipeError: the recipe cannot be read.
    """
    if not (bundle / MANIFEST).is_file():
        raise CommandError(f"{bundle / MANIFEST}: got no such file, expected a bundle's")
    parts = {path.name: path for path in sorted(bundle.glob("*")) if path.is_file()}
    place, text = packaged("container")
    recipe = _parse(text, place)
    artifact = {"URI": _digest(parts.items()), "Unarchive": "ZIP"}
    manifest = _process_manifest(recipe, place)
    manifest["Artifacts"] = [artifact]
    recipe["Manifests"] = [manifest]
    startup = manifest["Lifecycle"]["startup"]
    startup["Script"] = startup["Script"].replace(_CONFIGURED, _UNPACKED)
    version = component_version({**recipe, "Code": _digest(_code())})
    # Nothing is downloaded: the device takes the file of that name.
    artifact["URI"] = f"s3://edgexgb/{INFERENCE}/{version}/{_ARCHIVE}"
    return Update(version=version, recipe=_stamped(recipe, version), artifacts=parts)


def image_update(image: str, layers: Sequence[str] = ()) -> Update:
    """The update to an image.

    Args:
        image: its digest, which the recipe names.
        layers: their digests. The version follows from them where they are given: the image's own
            digest is another one for each commit that it is built of, which stands in its labels.

    Raises:
        CommandError: it is none, or the recipe is none that we ship.
        RecipeError: the recipe cannot be read.
    """
    content = hashlib.sha256("\n".join(layers).encode()).hexdigest()
    place, text = image_recipe(f"sha256:{content}" if layers else image)
    version = component_version(_parse(text, place))
    place, text = image_recipe(image)
    return Update(version=version, recipe=_stamped(_parse(text, place), version))


def component_version(recipe: Mapping[str, Any]) -> str:
    """MAJOR.MINOR of the recipe, and a patch number out of all that it says.

    Numbers, so that ranges such as `>=0.1.0` include it; their order means nothing.
    """
    text = json.dumps(recipe, sort_keys=True)
    patch = int.from_bytes(hashlib.sha256(text.encode()).digest()) % _PATCHES
    major, minor, _ = str(recipe["ComponentVersion"]).split(".", 2)
    return f"{major}.{minor}.{patch}"


def _parse(text: str, place: str) -> dict[str, Any]:
    """The recipe as it is written, once the device's own reader has found nothing wrong with it."""
    parse_recipe(text, place)
    recipe: dict[str, Any] = yaml.safe_load(text)
    return recipe


def _process_manifest(recipe: Mapping[str, Any], place: str) -> dict[str, Any]:
    """The manifest for processes.

    Raises:
        CommandError: there is none, or its script does not take the bundle from the configuration.
    """
    with contextlib.suppress(KeyError, TypeError, AttributeError):
        for manifest in recipe["Manifests"]:
            if manifest["Platform"].get("runtime") == PROCESS:
                if _CONFIGURED in manifest["Lifecycle"]["startup"]["Script"]:
                    return dict(manifest)
                break
    observed = f"no script for the runtime {PROCESS!r} with {_CONFIGURED}"
    raise CommandError(f"{place}: got {observed}, expected the recipe that we ship")


def _stamped(recipe: Mapping[str, Any], version: str) -> str:
    return json.dumps({**recipe, "ComponentVersion": version}, ensure_ascii=False, indent=1)


def _code() -> Iterable[tuple[str, Path]]:
    """The files that serve a bundle in a process, by name."""
    for package in _CODE:
        folder = Path(str(files(package)))
        for path in sorted([*folder.glob("*.py"), *folder.glob("*.so")]):
            yield f"{package}/{path.name}", path


def _digest(parts: Iterable[tuple[str, Path]]) -> str:
    """sha256 of names and contents."""
    digest = hashlib.sha256()
    for name, path in parts:
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        digest.update(f"{name}\0{content}\n".encode())
    return digest.hexdigest()
