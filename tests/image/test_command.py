"""`edgexgb image` with a docker that says what it is told to: its errors, each one line."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from release.cli import main
from release.errors import CommandError
from release.image import context as image_context
from release.image.build import choose_engine, default_tag
from release.image.docker import BuildError, explain, image_command, run_docker
from tests.conftest import Packed, copy_bundle, without_forest

Captured = pytest.CaptureFixture[str]

NO_DAEMON = (
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. "
    "Is the docker daemon running?"
)
NO_BASE = """Step 2/34 : FROM ${BASE_IMAGE} AS build
Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host"""
BAD_STEP = """Step 8/34 : RUN pip install
 ---> Running in 0123456789ab
ERROR: No matching distribution found for awscrt==0.36.1
The command '/bin/sh -c pip install' returned a non-zero code: 1"""


def fake(
    folder: Path, monkeypatch: pytest.MonkeyPatch, text: str = "", *, wait: bool = False
) -> None:
    """A docker that fails with a text, or waits; it leaves its arguments beside it."""
    script = folder / "docker"
    script.write_text(
        f"#!{sys.executable}\n"
        "import json, pathlib, sys, time\n"
        f"pathlib.Path({str(folder / 'words')!r}).write_text(json.dumps(sys.argv[1:]))\n"
        f"if {wait}: time.sleep(60)\n"
        f"print({text!r}, file=sys.stderr)\n"
        "sys.exit(1)\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def run(capsys: Captured, *argv: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    code = main([str(word) for word in argv])
    return code, *capsys.readouterr()


def test_absent_docker_is_one_line(
    capsys: Captured, multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = run(capsys, "image", "build", multiclass.directory)
    assert (code, out) == (1, "")
    assert err == (
        "edgexgb image: error: docker: got no such command, expected Docker's: "
        "install the package docker.io, or Docker Desktop\n"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            NO_DAEMON,
            "docker: got no daemon, expected one that runs: start it with `systemctl start",
        ),
        (
            "permission denied while trying to connect to the Docker daemon socket",
            "docker: got no right to reach the daemon, expected to be root or in the group docker",
        ),
        (NO_BASE, "mine:1: got no base image, expected one here: `docker pull mine:1`, or name"),
    ],
)
def test_build_that_cannot_start_is_one_line(
    text: str,
    expected: str,
    capsys: Captured,
    multiclass: Packed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No daemon, no right to it, no base image: each says what to do."""
    fake(tmp_path, monkeypatch, text)
    code, out, err = run(capsys, "image", "build", multiclass.directory, "--base", "mine:1")
    assert (code, out) == (1, "")
    assert err.splitlines()[-1].startswith(f"edgexgb image: error: {expected}")


def test_failed_step_shows_its_last_lines(
    capsys: Captured, multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that docker said last, and then one line with the reason."""
    fake(tmp_path, monkeypatch, BAD_STEP)
    code, _, err = run(capsys, "image", "build", multiclass.directory)
    assert code == 1
    assert BAD_STEP in err
    assert err.splitlines()[-1] == (
        "edgexgb image: error: docker build: got a failed step (ERROR: No matching distribution "
        "found for awscrt==0.36.1), expected an image"
    )


def test_build_sends_options_and_facts_of_the_model(
    capsys: Captured, multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every option of ours reaches docker, and the model's identity becomes build arguments."""
    fake(tmp_path, monkeypatch, "x")
    options = (
        "--platform",
        "linux/arm64",
        "--network",
        "host",
        "--no-cache",
        "--engine",
        "xgboost",
    )
    run(capsys, "image", "build", multiclass.directory, *options)
    words = json.loads((tmp_path / "words").read_text())
    assert words[:3] == ["build", "--force-rm", "--tag"]
    assert words[3] == "edgexgb-wine:1.2.3"
    for option in (["--platform", "linux/arm64"], ["--network", "host"], ["--no-cache"]):
        at = words.index(option[0])
        assert words[at : at + len(option)] == option
    for expected in (
        "BASE_IMAGE=debian:trixie-slim",
        "ENGINE=xgboost",
        "MODEL_NAME=wine",
        "MODEL_VERSION=1.2.3",
        f"MODEL_DIGEST={multiclass.bundle.digest}",
    ):
        assert expected in words
    assert not Path(words[-1]).exists()  # the context went with the build


def test_bad_bundle_is_refused_before_any_build(
    capsys: Captured, multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker is not even asked."""
    bundle = copy_bundle(multiclass, tmp_path)
    (bundle / "golden.jsonl").write_text("{}")
    fake(tmp_path, monkeypatch)
    code, _, err = run(capsys, "image", "build", bundle)
    assert (code, err.count("\n")) == (1, 1)
    assert err.startswith("edgexgb image: error: golden.jsonl: got 2 bytes")
    assert not (tmp_path / "words").exists()


def test_interrupt_leaves_no_temporary_file(
    multiclass: Packed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C during a build: exit code 130, and the build's context is gone."""
    fake(tmp_path, monkeypatch, wait=True)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    command = [sys.executable, "-m", "release.cli", "image", "build", str(multiclass.directory)]
    with subprocess.Popen(
        command,
        cwd=image_context.ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        while not (tmp_path / "words").exists():
            assert process.poll() is None
            time.sleep(0.02)
        os.killpg(process.pid, 2)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err.splitlines()[-1] == "edgexgb image: stopped"
    assert list(temporary.iterdir()) == []


def test_inspect_of_an_unknown_image_is_one_line(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names the image."""
    fake(tmp_path, monkeypatch, "Error response from daemon: No such image: nothing:1")
    code, _, err = run(capsys, "image", "inspect", "nothing:1")
    assert code == 1
    assert err == (
        "edgexgb image: error: nothing:1: got no such image here, "
        "expected one that was built or pulled\n"
    )


def test_other_failure_repeats_the_last_line() -> None:
    """What docker itself says is kept, as one line."""
    error = explain(["image", "save"], ["first", "no space left on device", ""])
    assert str(error) == "docker image: got a failure (no space left on device), expected none"
    assert not isinstance(error, BuildError)


def test_tag_holds_to_the_characters_of_docker(multiclass: Packed) -> None:
    """Lower case in the name, no `+` in the version."""
    manifest = multiclass.manifest
    assert default_tag(manifest) == "edgexgb-wine:1.2.3"


@pytest.mark.kernel
def test_engine_is_the_bundles_unless_asked_for(multiclass: Packed, tmp_path: Path) -> None:
    """The forest where there is one; asked for in vain it is an error."""
    assert choose_engine(multiclass.manifest, "auto") == "forest"
    assert choose_engine(multiclass.manifest, "xgboost") == "xgboost"
    from model.bundle import open_bundle

    bundle = open_bundle(without_forest(copy_bundle(multiclass, tmp_path)))
    bundle.close()
    assert choose_engine(bundle.manifest, "auto") == "xgboost"
    with pytest.raises(CommandError, match=r"--engine forest: got a bundle without model\.forest"):
        choose_engine(bundle.manifest, "forest")


def test_checkout_without_its_files_is_refused(multiclass: Packed, tmp_path: Path) -> None:
    """An installation that is no checkout cannot build."""
    with (
        pytest.raises(
            CommandError, match=r"Dockerfile: got no such file, expected edgexgb install"
        ),
        image_context.build_context(multiclass.directory, multiclass.bundle, root=tmp_path),
    ):
        pytest.fail("expected no context")


def test_context_is_of_named_files_with_one_date_and_mode(
    multiclass: Packed, tmp_path: Path
) -> None:
    """What else lies in the bundle's directory stays there."""
    bundle = copy_bundle(multiclass, tmp_path)
    (bundle / "secret.env").write_text("TOKEN=1")
    (bundle / "model.ubj").chmod(0o600)
    with image_context.build_context(bundle, multiclass.bundle) as context:
        files = {path.relative_to(context): path.stat() for path in context.rglob("*.*")}
    names = {str(path) for path in files}
    assert {"setup.py", "bundle/manifest.json", "bundle/model.ubj", "model/forest.c"} <= names
    assert not [name for name in names if "secret" in name or "test" in name.split("/")[0]]
    assert {int(stat.st_mtime) for stat in files.values()} == {1_735_689_600}
    assert {stat.st_mode & 0o777 for stat in files.values()} == {0o644}
    assert not context.exists()


def test_locked_down_command_has_its_options_before_the_image() -> None:
    """What stands after the image is an argument to the container."""
    options = ("--memory", "128m")
    words = image_command("sha256:1", "--self-test", network="host", options=options)
    assert words[:3] == ("docker", "run", "--rm")
    assert words[words.index("--network") + 1] == "host"
    assert words[-4:] == ("--memory", "128m", "sha256:1", "--self-test")


def test_docker_output_is_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is."""
    (tmp_path / "docker").write_text("#!/bin/sh\necho $1 $2\n")
    (tmp_path / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run_docker("image", "ls") == "image ls\n"
