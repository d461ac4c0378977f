import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from release.image.context import build_context
from stacks.bundle import read_bundle
from stacks.errors import OptionsError
from stacks.sources import (
    consumer_archive,
    gate_code,
    handler_code,
    image_context,
    image_files,
    project_version,
)
from tests.conftest import Packed


def tree(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def test_image_is_built_from_what_the_command_takes(multiclass: Packed) -> None:
    """The very same files as `edgexgb image build` sends to docker."""
    with (
        build_context(multiclass.directory, multiclass.bundle) as theirs,
        image_context(read_bundle(multiclass.directory)) as ours,
    ):
        assert tree(ours) == tree(theirs)


def test_pattern_without_files_is_refused(tmp_path: Path) -> None:
    """An image without them would fail later, in the cloud."""
    (tmp_path / ".dockerignore").write_text("*\n!bundle\n!model/*.py\n")
    with pytest.raises(OptionsError, match=r"\.dockerignore: got no file for model/\*\.py"):
        image_files(tmp_path)


def test_gate_gets_the_handlers_and_the_rows(multiclass: Packed) -> None:
    """The other tasks get the handlers alone."""
    with handler_code() as code, gate_code(read_bundle(multiclass.directory)) as gate:
        assert set(tree(gate)) - set(tree(code)) == {"handlers/golden.jsonl"}
        assert "handlers/gate.py" in tree(code)


def test_handlers_run_without_the_project(tmp_path: Path) -> None:
    """They import what Lambda's Python brings, and boto3 only when they are called."""
    with handler_code() as code:
        program = "import sys; sys.path.insert(0, '.'); import handlers.gate, handlers.publish"
        program += ", handlers.registry; assert 'boto3' not in sys.modules"
        subprocess.run([sys.executable, "-I", "-S", "-c", program], cwd=code, check=True)


def test_consumer_archive_has_the_same_bytes_each_time() -> None:
    """Its digest is part of a version."""
    with consumer_archive() as first, consumer_archive() as second:
        assert first.read_bytes() == second.read_bytes()


def test_consumer_runs_from_its_archive(tmp_path: Path) -> None:
    """Unpacked as a device does, it finds its own packages there, and its samples."""
    with consumer_archive() as archive, zipfile.ZipFile(archive) as file:
        file.extractall(tmp_path)
    program = "import consumer.component, interface.greengrass; print(consumer.__file__)"
    done = subprocess.run(
        [sys.executable, "-P", "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(tmp_path / "consumer" / "__init__.py")
    assert (tmp_path / "consumer" / "samples.json").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"consumer", "interface"}


def test_version_is_the_projects() -> None:
    """As installed."""
    from importlib.metadata import version

    assert project_version() == version("edgexgb")
