"""The facts of a bundle that the stacks need, and whether the gate has passed it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacks.errors import OptionsError

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Docker's names of architectures, and the manifest's."""

FOREST = "model.forest"
GOLDEN = "golden.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """A bundle on disk, whose files are those of its manifest.

    Attributes:
        directory: where it is.
        name: the model's.
        version: the model's.
        digest: the sha256 of its manifest, which names the whole.
        machine: the architecture that recorded the golden rows.
        files: the names of its files, the manifest first.
        golden: the golden rows.
    """

    directory: Path
    name: str
    version: str
    digest: str
    machine: str
    files: Sequence[str]
    golden: Sequence[Mapping[str, Any]]

    @property
    def engine(self) -> str:
        """What the image needs to serve it, as the Dockerfile calls it."""
        return "forest" if FOREST in self.files else "xgboost"


def read_bundle(directory: Path) -> Bundle:
    """The bundle in a directory.

    Raises:
        OptionsError: it is none, or a file is not the one of its manifest.
    """
    place = f"bundle: {directory}"
    try:
        content = (directory / "manifest.json").read_bytes()
        manifest = json.loads(content)
        digests = dict(manifest["files"])
        for name, digest in digests.items():
            found = hashlib.sha256((directory / name).read_bytes()).hexdigest()
            if found != digest:
                expected = f"{digest}, as its manifest says"
                raise OptionsError(f"{place}: got sha256 {found} of {name}, expected {expected}")
        text = (directory / GOLDEN).read_text(encoding="utf-8")
        return Bundle(
            directory=directory,
            name=str(manifest["name"]),
            version=str(manifest["version"]),
            digest=hashlib.sha256(content).hexdigest(),
            machine=str(manifest["machine"]),
            files=["manifest.json", *digests],
            golden=[json.loads(line) for line in text.removesuffix("\n").split("\n")],
        )
    except OSError as error:
        observed = f"{error.strerror} for {Path(error.filename or directory).name}"
        raise OptionsError(f"{place}: got {observed!r}, expected a bundle") from error
    except (ValueError, KeyError, TypeError) as error:
        if isinstance(error, OptionsError):
            raise
        observed = f"no valid manifest or golden rows ({type(error).__name__}: {error})"
        raise OptionsError(f"{place}: got {observed}, expected a bundle") from error


def check_report(path: Path, bundle: Bundle) -> None:
    """Refuses a bundle that the gate has not passed on the workstation.

    Raises:
        OptionsError: the report cannot be read, is of another bundle, or has failures.
    """
    place = f"report: {path}"
    try:
        report = json.loads(path.read_bytes())
        digest, passed = report["digest"], report["passed"]
    except OSError as error:
        raise OptionsError(f"{place}: got {error.strerror!r}, expected a report") from error
    except (ValueError, KeyError, TypeError) as error:
        expected = "the JSON that `edgexgb validate BUNDLE --report DIR` writes"
        raise OptionsError(f"{place}: got no report, expected {expected}") from error
    if digest != bundle.digest:
        expected = f"one of the bundle {bundle.digest}"
        raise OptionsError(f"{place}: got a report of the bundle {digest}, expected {expected}")
    if passed is not True:
        raise OptionsError(f"{place}: got a report with failures, expected one without")
