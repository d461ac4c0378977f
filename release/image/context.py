"""What a build of the image is made of: a directory for docker, with nothing else in it."""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from model.bundle import Bundle
from release.errors import CommandError

ROOT = Path(__file__).resolve().parents[2]

_FILES = (
    "Dockerfile",
    "LICENSE",
    "setup.py",
    "release/image/rootfs.py",
    "release/image/stdlib.py",
    "container/requirements.lock",
    "container/xgboost.lock",
)
_PATTERNS = ("model/*.py", "model/*.c", "model/*.h", "interface/*.py", "container/*.py")
_DATE = 1_735_689_600


@contextlib.contextmanager
def build_context(bundle: Path, opened: Bundle, *, root: Path = ROOT) -> Iterator[Path]:
    """A directory to build from, which does not outlive the block.

    Args:
        bundle: the bundle's directory, of which the files that its manifest names are taken.
        opened: the same, open.
        root: the checkout.

    Raises:
        CommandError: the project was not installed from a checkout.
    """
    missing = [name for name in _FILES if not (root / name).is_file()]
    if missing:
        raise CommandError(
            f"{root / missing[0]}: got no such file, expected edgexgb installed from its checkout "
            "(`make setup`, or `pip install -e .`)"
        )
    with tempfile.TemporaryDirectory(prefix="edgexgb-image-") as name:
        context = Path(name)
        names = [*_FILES, *_matching(root)]
        for source, target in [
            *((root / name, context / name) for name in names),
            *((bundle / name, context / "bundle" / name) for name in _bundle_files(opened)),
        ]:
            _copy(source, target)
        yield context


def source_revision(root: Path = ROOT) -> str:
    """The commit of the checkout, with `-dirty` after it where files differ; else `unknown`."""
    try:
        done = subprocess.run(
            [
                "git",
                "-C",
                str(root),
                "describe",
                "--always",
                "--abbrev=40",
                "--exclude=*",
                "--dirty",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _bundle_files(opened: Bundle) -> list[str]:
    return ["manifest.json", *opened.manifest.files]


def _matching(root: Path) -> list[str]:
    found = [path for pattern in _PATTERNS for path in root.glob(pattern)]
    return sorted(str(path.relative_to(root)) for path in found)


def _copy(source: Path, target: Path) -> None:
    """Copies a file, but neither its date nor its mode, which are of this machine."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
    os.utime(target, (_DATE, _DATE))
