"""What a device runs, kept on disk: recipes, artifacts and configuration of a deployment together.

deployments/current           a link to one of the states; replaced at once, or not at all
deployments/states/ID/        state.json, configuration.json, recipes/, artifacts/
deployments/history/          see `nucleus.deployments.history`

A deployment writes a state of its own beside the current one and, when its components run, points
the link at it. A device that is killed at any moment before starts from the old state; after, from
the new one. What is in a state but its configuration never changes.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from semantic_version import Version

from nucleus.composition import Chosen, Placement
from nucleus.configuration import ConfigurationStore
from nucleus.errors import DeviceError
from nucleus.root import read_json, write_json

FORMAT = 1
"""Of state.json. Whoever changes what is written raises it; a device refuses another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceState:
    """One state of a device.

    Attributes:
        id: of the deployment that made it.
        began_with: the digest of what the device was started with; see `digest_of`.
        platform: overrides of the attributes that manifests were chosen by.
        roots: the version of each root component.
        placements: all components, their artifacts in the state's own directory.
        configuration: the configurations as they were written last.
        digests: sha256 of the artifacts, by component and file.
    """

    id: str
    began_with: str
    platform: Mapping[str, str]
    roots: Mapping[str, Version]
    placements: tuple[Placement, ...] = field(repr=False)
    configuration: ConfigurationStore = field(repr=False)
    digests: Mapping[str, Mapping[str, str]] = field(repr=False)


class StateStore:
    """The states under one directory; one device uses it at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._states = path / "states"
        self._link = path / "current"

    def current_id(self) -> str | None:
        """Which state is the current one; None where there is none."""
        try:
            return self._link.readlink().name
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DeviceError(f"{self._link}: got {error}, expected a link to a state") from error

    def current(self) -> DeviceState | None:
        """The current state; None where there is none.

        Raises:
            DeviceError: what is there is none.
        """
        state_id = self.current_id()
        return None if state_id is None else self._read(state_id)

    def write(  # noqa: PLR0913  (the keywords are the state's fields)
        self,
        state_id: str,
        components: Iterable[Chosen],
        *,
        roots: Mapping[str, Version],
        platform: Mapping[str, str],
        began_with: str,
        configuration: ConfigurationStore,
    ) -> DeviceState:
        """A new state beside the others; it is not the current one yet.

        Raises:
            OSError: it cannot be written.
        """
        directory = self._states / state_id
        shutil.rmtree(directory, ignore_errors=True)
        recipes = directory / "recipes"
        recipes.mkdir(parents=True)
        (directory / "artifacts").mkdir()
        listed: dict[str, Any] = {}
        for chosen in components:
            name, version = chosen.recipe.name, str(chosen.recipe.version)
            (recipes / name).write_bytes(chosen.placement.recipe.encode())
            there = directory / "artifacts" / name / version
            digests = {file: self._copy(path, there) for file, path in chosen.files.items()}
            listed[name] = {"place": chosen.placement.place, "artifacts": digests}
        content = {
            "format": FORMAT,
            "began_with": began_with,
            "platform": dict(platform),
            "roots": {name: str(version) for name, version in roots.items()},
            "components": listed,
        }
        self.write_configuration(state_id, configuration)
        write_json(directory / "state.json", content)
        return self._read(state_id)

    def write_configuration(self, state_id: str, configuration: ConfigurationStore) -> None:
        """Replaces the configuration of a state.

        Raises:
            OSError: it cannot be written.
        """
        write_json(self._states / state_id / "configuration.json", configuration.to_json())

    def commit(self, state_id: str) -> None:
        """Makes a state the current one.

        Raises:
            OSError: it cannot be; the old one still is.
        """
        # What the link points at is on the disk before the link is.
        for path in (*sorted((self._states / state_id).rglob("*")), self._states / state_id):
            _flush(path)
        temporary = self._path / f".current.{os.getpid()}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path("states") / state_id)
        temporary.replace(self._link)
        _flush(self._path)

    def prune(self, but: Collection[str]) -> None:
        """Removes all states but these."""
        with contextlib.suppress(FileNotFoundError):
            for directory in self._states.iterdir():
                if directory.name not in but:
                    shutil.rmtree(directory, ignore_errors=True)

    def _copy(self, file: Path, directory: Path) -> str:
        """The digest of a file that is now in the directory, too."""
        directory.mkdir(parents=True, exist_ok=True)
        target = directory / file.name
        is_linked = False
        if file.is_relative_to(self._states):  # nobody changes files of a state
            with contextlib.suppress(OSError):  # not every file system has links
                os.link(file, target)
                is_linked = True
        if not is_linked:
            shutil.copy2(file, target)
        return digest_of_file(target)

    def _read(self, state_id: str) -> DeviceState:
        directory = self._states / state_id
        file = directory / "state.json"
        content = read_json(file)
        configuration = read_json(directory / "configuration.json")
        try:
            if content["format"] != FORMAT:
                observed = f"format {content['format']!r}"
                raise DeviceError(f"{file}: got {observed}, expected {FORMAT}")
            components = content["components"]
            return DeviceState(
                id=state_id,
                began_with=content["began_with"],
                platform=content["platform"],
                roots={name: Version(text) for name, text in content["roots"].items()},
                placements=tuple(
                    Placement(
                        place=it["place"],
                        recipe=(directory / "recipes" / name).read_bytes().decode(),
                        artifacts=directory / "artifacts",
                    )
                    for name, it in components.items()
                ),
                configuration=ConfigurationStore.from_json(configuration),
                digests={name: it["artifacts"] for name, it in components.items()},
            )
        except (KeyError, TypeError, AttributeError, ValueError, OSError) as error:
            expected = "a device's state; `edgexgb device start --fresh` begins anew"
            raise DeviceError(f"{file}: got {error!r}, expected {expected}") from error


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of(
    components: Iterable[Chosen],
    configurations: Mapping[str, Mapping[str, Any]],
    platform: Mapping[str, str],
) -> str:
    """A text that differs where recipes, artifacts, configurations or the platform do."""
    content = [
        [
            chosen.recipe.name,
            chosen.placement.recipe,
            {file: digest_of_file(path) for file, path in sorted(chosen.files.items())},
        ]
        for chosen in sorted(components, key=lambda it: it.recipe.name)
    ]
    text = json.dumps([content, configurations, platform], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """The sha256 of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
