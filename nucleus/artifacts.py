"""A component's files, put where its scripts expect them.

The user's directory has `COMPONENT/VERSION/FILE`, as greengrass-cli's `--artifactDir`; nothing is
downloaded.
"""

import logging
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from nucleus.errors import RecipeError
from nucleus.interpolation import ComponentPaths
from nucleus.recipe import Artifact, Manifest, Recipe
from nucleus.root import DeviceRoot

MAX_UNPACKED_BYTES = 4 * 1024**3
"""Of all files of one zip file."""

MAX_RATIO = 200
"""Times the size of the zip file, where it unpacks to more than `FREE_BYTES`. Text comes to 20."""

FREE_BYTES = 64 * 1024**2

_log = logging.getLogger(__name__)


def component_paths(root: DeviceRoot, recipe: Recipe) -> ComponentPaths:
    """Where a component's files are, whether they are there yet or not.

    Source: AWS IoT Greengrass V2 developer guide, recipe variables.
    """
    packages = root.path.resolve() / "packages"
    part = Path(recipe.name) / str(recipe.version)
    return ComponentPaths(
        artifacts=str(packages / "artifacts" / part),
        artifacts_unarchived=str(packages / "artifacts-unarchived" / part),
        work=str(root.work(recipe.name)),
    )


def local_files(directory: Path | None, recipe: Recipe) -> dict[str, Path]:
    """The files that the user has for a component, by name."""
    if directory is None:
        return {}
    here = directory / recipe.name / str(recipe.version)
    return {path.name: path for path in sorted(here.glob("*")) if path.is_file()}


def place_artifacts(manifest: Manifest, files: Mapping[str, Path], paths: ComponentPaths) -> None:
    """Copies and unpacks what a manifest names, in place of what an earlier start left there.

    Raises:
        RecipeError: a file that is to be unpacked is no zip file, or one that cannot be read.
        OSError: a file cannot be copied.
    """
    kept, unpacked = Path(paths.artifacts), Path(paths.artifacts_unarchived)
    for directory in (kept, unpacked):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    for i, artifact in enumerate(manifest.artifacts):
        if artifact.scheme == "docker":
            _log.info("%s: not pulled; the image has to be there", artifact.uri)
            continue
        shutil.copy2(files[artifact.file_name], kept)
        if artifact.unarchive:
            _unpack(artifact, kept, unpacked, f"{manifest.place}.Artifacts[{i}].URI")


def check_artifacts(manifest: Manifest, files: Mapping[str, Path]) -> None:
    """Reads what is to be unpacked to its end, so that a deployment fails before it begins.

    Raises:
        RecipeError: a file is no zip file, or one that cannot be read or must not be unpacked.
        OSError: a file cannot be read.
    """
    for i, artifact in enumerate(manifest.artifacts):
        if not artifact.unarchive or artifact.scheme == "docker":
            continue
        place, name = f"{manifest.place}.Artifacts[{i}].URI", artifact.file_name
        try:
            with zipfile.ZipFile(files[name]) as archive:
                _check_size(archive, files[name], place)
                broken = archive.testzip()
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
            raise RecipeError(place, f"{name!r} ({error})", "a zip file") from error
        if broken is not None:
            raise RecipeError(place, f"{name!r} ({broken!r} is damaged)", "a zip file")


def _unpack(artifact: Artifact, kept: Path, unpacked: Path, place: str) -> None:
    file = kept / artifact.file_name
    if not file.stem.strip("."):  # `...zip` would be unpacked beside the component's own directory
        raise RecipeError(place, repr(file.name), "a zip file with a name")
    try:
        with zipfile.ZipFile(file) as archive:
            _check_size(archive, file, place)
            # It makes no links, and leaves `..` and leading slashes out of names.
            archive.extractall(unpacked / file.stem)
    # RuntimeError: it needs a password, or is packed by a method that Python does not have.
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as error:
        raise RecipeError(place, f"{artifact.file_name!r} ({error})", "a zip file") from error


def _check_size(archive: zipfile.ZipFile, file: Path, place: str) -> None:
    """Refuses what would fill the disk; no more is ever unpacked than the archive itself says."""
    n_bytes = sum(member.file_size for member in archive.infolist())
    most = min(MAX_UNPACKED_BYTES, max(FREE_BYTES, MAX_RATIO * file.stat().st_size))
    if n_bytes > most:
        raise RecipeError(place, f"{file.name!r}, {n_bytes} bytes unpacked", f"at most {most}")
