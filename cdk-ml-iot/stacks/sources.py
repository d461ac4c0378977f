"""What the assets are made of: directories with chosen files of the project, and nothing else.

Which files make the image is said once, by `.dockerignore`, which lets in what it names.
"""

import shutil
import tempfile
import tomllib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stacks.bundle import GOLDEN, Bundle
from stacks.errors import OptionsError

ROOT = Path(__file__).resolve().parents[2]
HANDLERS = Path(__file__).resolve().parents[1] / "handlers"

CONSUMER_ARCHIVE = "edgexgb-consumer.zip"
_CONSUMER_PATTERNS = ("consumer/*.py", "consumer/samples.json", "interface/*.py")
_DATE = (2025, 1, 1, 0, 0, 0)


@contextmanager
def image_context(bundle: Bundle, root: Path = ROOT) -> Iterator[Path]:
    """A directory to build the image from; the CDK copies it before the block ends.

    Raises:
        OptionsError: a file is missing.
    """
    with _directory() as context:
        for name in ["Dockerfile", *image_files(root)]:
            _copy(root / name, context / name)
        for name in bundle.files:
            _copy(bundle.directory / name, context / "bundle" / name)
        yield context


def image_files(root: Path = ROOT) -> list[str]:
    """What `.dockerignore` lets into a build besides the bundle, as paths under the root."""
    names = []
    for line in (root / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip().removeprefix("!")
        if line.startswith("!") and pattern != "bundle":
            found = sorted(str(path.relative_to(root)) for path in root.glob(pattern))
            if not found:
                raise OptionsError(f".dockerignore: got no file for {pattern}, expected some")
            names += found
    return names


@contextmanager
def gate_code(bundle: Bundle) -> Iterator[Path]:
    """A directory with the handlers, and with the golden rows that the gate replays."""
    with handler_code() as code:
        _copy(bundle.directory / GOLDEN, code / "handlers" / GOLDEN)
        yield code


@contextmanager
def handler_code() -> Iterator[Path]:
    """A directory with the handlers that the account runs while the stack is deployed."""
    with _directory() as code:
        for path in HANDLERS.glob("*.py"):
            _copy(path, code / "handlers" / path.name)
        yield code


@contextmanager
def consumer_archive(root: Path = ROOT) -> Iterator[Path]:
    """The consumer's artifact, with the same bytes wherever it is made."""
    with _directory() as folder:
        archive = folder / CONSUMER_ARCHIVE
        # Stored, not deflated: what that gives depends on the machine's zlib.
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as file:
            for pattern in _CONSUMER_PATTERNS:
                for path in sorted(root.glob(pattern)):
                    entry = zipfile.ZipInfo(str(path.relative_to(root)), _DATE)
                    entry.create_system = 3  # Unix
                    entry.external_attr = 0o644 << 16
                    file.writestr(entry, path.read_bytes())
        yield archive


def project_version(root: Path = ROOT) -> str:
    """The version of the project, for the image's label."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return str(project["project"]["version"])


@contextmanager
def _directory() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="edgexgb-cdk-") as name:
        yield Path(name)


def _copy(source: Path, target: Path) -> None:
    if not source.is_file():
        raise OptionsError(f"{source}: got no such file, expected one of the checkout")
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o644)
