"""The recipe's script for containers, with a docker that writes down what it is told."""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from nucleus.interpolation import foreign_braces
from nucleus.personality import CLASSIC, LITE, PERSONALITIES, Personality
from nucleus.platforms import this_platform
from nucleus.recipe import MAX_LITE_SCRIPT_BYTES, MAX_RECIPE_BYTES, Manifest, choose_manifest
from nucleus.recipe import parse_recipe as parse
from release.cli import main
from release.components import (
    CONTAINER,
    INFERENCE,
    UNSTAMPED,
    image_recipe,
    stamp_recipe,
)
from release.errors import CommandError
from tests.conftest import Packed
from tests.device.recipes import recipe_text
from tests.device.running import RunningDevice
from tests.device.waiting import wait_until

IMAGE = f"registry.example/edgexgb-wine@sha256:{'5' * 64}"
TOKEN = "ABCDEFGHIJKLMNOP"
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

FAKE = """#!{python} -IS
import json, os, sys, time
folder, words = {folder!r}, sys.argv[1:]
stdin = os.read(0, 100).decode() if words[0] == "run" else None
seen = {{"words": words, "stdin": stdin, "environment": dict(os.environ)}}
with open(f"{{folder}}/calls", "a") as calls:
    calls.write(json.dumps(seen) + "\\n")
if words[0] == "events" and os.path.exists(f"{{folder}}/events"):
    print(open(f"{{folder}}/events").read())
if words[:2] == ["container", "inspect"]:
    try:
        os.remove(f"{{folder}}/left")
    except OSError:
        sys.exit(1)
if words[0] == "run" and os.path.exists(f"{{folder}}/wait"):
    os.set_blocking(0, False)
    try:
        rest = os.read(0, 1)
    except BlockingIOError:
        rest = None
    with open(f"{{folder}}/rest", "w") as file:
        json.dump(None if rest is None else rest.decode(), file)
if words[0] == "run":
    sys.exit(7)
"""


@dataclass(frozen=True)
class Call:
    """One call of docker."""

    words: list[str]
    stdin: str | None
    environment: dict[str, str]


class FakeDocker:
    """A docker first on the path, which leaves beside it what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        script = folder / "docker"
        script.write_text(FAKE.format(python=sys.executable, folder=str(folder)))
        script.chmod(0o755)
        self.path = f"{folder}:{os.environ['PATH']}"

    def calls(self) -> list[Call]:
        with_none = (self.folder / "calls").read_text() if (self.folder / "calls").exists() else ""
        return [Call(**json.loads(line)) for line in with_none.splitlines()]


@pytest.fixture
def docker(tmp_path: Path) -> FakeDocker:
    """A docker that starts nothing."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return FakeDocker(folder)


def manifest(personality: Personality = CLASSIC) -> Manifest:
    """The manifest for containers, of a recipe with an image."""
    recipe = parse(image_recipe(IMAGE)[1], "recipe", personality)
    platform = this_platform(personality, {"runtime": CONTAINER})
    return choose_manifest(recipe, platform, personality, {})


def start(
    docker: FakeDocker, folder: Path, shell: str = "sh", socket: str = "../gg/ipc.socket"
) -> "subprocess.CompletedProcess[str]":
    """Runs the startup script as a nucleus does."""
    (folder.parent / "gg").mkdir(exist_ok=True)
    (folder.parent / "gg" / "ipc.socket").touch()
    folder.mkdir(exist_ok=True)
    words = [shell, "sh"] if shell == "busybox" else [shell]
    return subprocess.run(
        [*words, "-c", manifest().lifecycle["startup"].script],
        cwd=folder,
        env={
            "PATH": docker.path,
            "SVCUID": TOKEN,
            "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT": socket,
            "EDGEXGB_MEMORY": "128m",
            "EDGEXGB_CPUS": "1",
            "EDGEXGB_PIDS": "64",
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


# --- what docker is told --------------------------------------------------------------------------


@pytest.mark.parametrize("shell", SHELLS)
def test_container_is_run_with_these_words_in_every_shell(
    docker: FakeDocker, tmp_path: Path, shell: str
) -> None:
    """Options first, then the image by its digest, then what it is to be; docker's code is ours."""
    done = start(docker, tmp_path / "work", shell)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    events, *others = [call.words for call in docker.calls()]
    assert events[:4] == ["events", "--since", "1h", "--until"]
    assert 0 <= time.time() - float(events[4]) < 60
    named = ["--filter", f"container={INFERENCE}"]
    assert events[5:] == [*named, "--filter", "event=start", "--filter", "event=oom"]
    assert others == [
        ["rm", "--force", INFERENCE],
        ["container", "inspect", INFERENCE],
        [
            *("run", "--rm", "--init", "--interactive", "--pull", "never", "--name", INFERENCE),
            *("--network", "none", "--read-only", "--tmpfs", "/tmp:size=16m"),
            *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
            *("--memory", "128m", "--memory-swap", "128m", "--cpus", "1", "--pids-limit", "64"),
            *("--log-driver", "none"),
            *("--mount", f"type=bind,source={tmp_path}/gg,target=/greengrass,readonly"),
            *("--env", "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"),
            *(IMAGE, "component"),
        ],
    ]


@pytest.mark.parametrize("shell", SHELLS)
def test_token_goes_through_stdin_alone(docker: FakeDocker, tmp_path: Path, shell: str) -> None:
    """In no argument, in no file; and the pipe does not end after it."""
    (docker.folder / "wait").touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "token").write_text("of an earlier start that was killed")
    start(docker, tmp_path / "work", shell)
    run = docker.calls()[-1]
    assert run.stdin == f"{TOKEN}\n"
    assert TOKEN not in str(run.words)
    assert json.loads((docker.folder / "rest").read_text()) is None  # nothing more, and no end
    assert list((tmp_path / "work").iterdir()) == []


def test_container_finds_the_socket_where_its_directory_is_mounted(
    docker: FakeDocker, tmp_path: Path
) -> None:
    """Through links and from the working directory, as where the root's path is too long."""
    (tmp_path / "a root").mkdir()
    (tmp_path / "a root" / "gg-ipc.socket").touch()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "a root")
    start(docker, tmp_path / "work", socket="link/gg-ipc.socket")
    run = docker.calls()[-1]
    assert f"type=bind,source={tmp_path}/a root,target=/greengrass,readonly" in run.words
    variable = "AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"
    assert run.environment[variable] == "/greengrass/gg-ipc.socket"


def test_container_that_docker_is_still_removing_is_waited_for(
    docker: FakeDocker, tmp_path: Path
) -> None:
    """Else its name would be taken, and the start would count as an error."""
    (docker.folder / "left").touch()
    start(docker, tmp_path / "work")
    called = [call.words[0] for call in docker.calls()]
    assert called == ["events", "rm", "container", "rm", "container", "run"]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("last", "is_said"), [("oom", True), ("start", False)])
def test_start_after_a_kill_for_memory_says_so(
    docker: FakeDocker, tmp_path: Path, shell: str, last: str, is_said: bool
) -> None:
    """The last container is gone, and its exit code may have had any reason; others are no news."""
    events = [f"2026-01-01T00:00:0{i} container {it} 5" for i, it in enumerate(("oom", last))]
    (docker.folder / "events").write_text("\n".join(events))
    done = start(docker, tmp_path / "work", shell)
    said = "memory: got the last container killed for it, expected 128m to be enough\n"
    assert (done.returncode, done.stderr) == (7, said if is_said else "")


def test_unwritable_work_directory_starts_nothing(docker: FakeDocker, tmp_path: Path) -> None:
    """No container without a token, and the error is the shell's own."""
    (tmp_path / "work" / "token" / "full").mkdir(parents=True)
    done = start(docker, tmp_path / "work")
    assert done.returncode == 1
    assert "token" in done.stderr
    assert "run" not in [call.words[0] for call in docker.calls()]


def test_device_without_a_socket_starts_nothing(docker: FakeDocker, tmp_path: Path) -> None:
    """Docker would be given no directory, or a wrong one."""
    done = start(docker, tmp_path / "work", socket="")
    assert (done.returncode, done.stderr) == (1, "socket: got none, expected the nucleus's\n")
    assert "run" not in [call.words[0] for call in docker.calls()]


def test_stop_comes_before_the_nucleus_loses_patience() -> None:
    """Docker kills after 8 s, the component needs 4, and the nucleus gives it 15."""
    shutdown = manifest().lifecycle["shutdown"]
    assert shutdown.timeout_s == 15
    assert shutdown.script.splitlines()[0].startswith(f"docker stop -t 8 {INFERENCE} ")
    assert all(
        f"docker rm --force {INFERENCE} " in manifest().lifecycle[it].script for it in REMOVE
    )


REMOVE = ("startup", "shutdown", "recover")


# --- both nuclei ----------------------------------------------------------------------------------


def test_script_is_what_nucleus_lite_can_run() -> None:
    """No brace of the shell's own, within its lengths, and its manifest is chosen there."""
    text = image_recipe(IMAGE)[1]
    script = manifest(LITE).lifecycle["startup"].script
    assert list(foreign_braces(script)) == []
    assert "{" not in script
    assert len(script.encode()) < MAX_LITE_SCRIPT_BYTES
    assert len(text.encode()) < MAX_RECIPE_BYTES


@pytest.mark.parametrize("personality", sorted(PERSONALITIES))
def test_limits_come_from_the_configuration_and_run_nothing(
    docker: FakeDocker,
    personality: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A component may write its own configuration: in a script, it would be root's command."""
    monkeypatch.setenv("PATH", docker.path)
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(image_recipe(IMAGE)[1])
    evil = f"1m\"; touch {tmp_path}/evil; '$(touch {tmp_path}/evil)`touch {tmp_path}/evil`"
    fields: dict[str, Any] = {"memory": evil, "cpus": 0.5, "pids": "32"}
    words = ("--recipe", recipe, "--platform", f"runtime={CONTAINER}")
    with RunningDevice(tmp_path / "root", words, personality, {INFERENCE: fields}) as device:
        device.launch()
        wait_until(lambda: [it for it in docker.calls() if it.words[0] == "run"], "a docker run")
        device.stop()
    run = next(it.words for it in docker.calls() if it.words[0] == "run")
    at = run.index("--memory")
    assert run[at : at + 8] == [
        *("--memory", evil, "--memory-swap", evil, "--cpus", "0.5", "--pids-limit", "32"),
    ]
    assert not (tmp_path / "evil").exists()


# --- the image in the recipe ----------------------------------------------------------------------


def test_image_stands_in_the_artifact_and_in_the_script() -> None:
    """Else one would be pulled and another run."""
    text = stamp_recipe(recipe_text("container"), IMAGE)
    assert text.count(IMAGE) == 2
    assert UNSTAMPED not in text
    assert [it.uri for it in manifest().artifacts] == [f"docker:{IMAGE}"]


@pytest.mark.parametrize(
    "image", ["edgexgb:1.0.0", "sha256:12", f"edgexgb:1@sha256:{'A' * 64}", f"x;@sha256:{'1' * 64}"]
)
def test_image_without_a_digest_is_refused(image: str) -> None:
    """A tag would name another image tomorrow; and whatever stands there, a shell reads."""
    with pytest.raises(CommandError) as caught:
        stamp_recipe(recipe_text("container"), image)
    assert str(caught.value) == (
        f"the recipe's image: got {image!r}, expected one with a digest: sha256: and 64 digits"
    )


def test_recipe_that_has_an_image_is_refused() -> None:
    """It would go out with the image of another release."""
    with pytest.raises(CommandError, match=r"^the recipe: got no edgexgb@sha256:0{64}, expected"):
        stamp_recipe(image_recipe(IMAGE)[1], IMAGE)


def test_digest_of_this_machine_alone_will_do() -> None:
    """An image that was never pushed has no other."""
    image = f"sha256:{'7' * 64}"
    assert f"            {image} component <&3" in image_recipe(image)[1]


# --- the command ----------------------------------------------------------------------------------

Captured = pytest.CaptureFixture[str]


def refusal(capsys: Captured, *words: object) -> str:
    assert main(["device", "start", *map(str, words)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    return err


def test_image_and_bundle_are_not_both_taken(capsys: Captured, binary: Packed) -> None:
    """The image has its own."""
    assert refusal(capsys, binary.directory, "--image", "x:1") == (
        f"edgexgb device: error: --image: got a bundle ({binary.directory}) beside it, "
        "expected none: the image has its own\n"
    )


def test_bundle_is_not_run_in_a_container(capsys: Captured, binary: Packed) -> None:
    """There is no image to run it in."""
    assert refusal(capsys, binary.directory, "--platform", "runtime=container") == (
        "edgexgb device: error: --platform runtime=container: got no image, "
        "expected an --image in place of the bundle\n"
    )


def test_absent_docker_is_said_before_anything_starts(
    capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and no device has been."""
    monkeypatch.setenv("PATH", str(tmp_path))
    text = refusal(capsys, "--image", "x:1", "--root", tmp_path / "root")
    assert text.startswith("edgexgb device: error: docker: got no such command, expected Docker's")
    assert not (tmp_path / "root").exists()


# --- the token in the image -----------------------------------------------------------------------


def component(bundle: Path, **environment: str) -> "subprocess.Popen[str]":
    """`container.entry component`, with a pipe to its stdin and without a nucleus."""
    return subprocess.Popen(
        [sys.executable, "-m", "container.entry", "component"],
        cwd=Path(__file__).parents[2],
        env={"PATH": os.environ["PATH"], "EDGEXGB_BUNDLE": str(bundle), **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def errors(output: str) -> list[str]:
    return [json.loads(line).get("error", "") for line in output.splitlines()]


def test_token_is_the_first_line_of_stdin(multiclass: Packed, tmp_path: Path) -> None:
    """Without a variable; what is then missing is the socket alone."""
    with component(multiclass.directory) as process:
        assert process.stdin is not None
        process.stdin.write(f"{TOKEN}\n")
        process.stdin.flush()
        assert process.stdout is not None
        out = process.stdout.read()
        assert process.wait() == 1
    assert errors(out)[-1].startswith("AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT: got")
    assert TOKEN not in out


@pytest.mark.parametrize("text", ["", "half a line", "x" * 5000 + "\n", "\n"])
def test_stdin_without_a_token_is_none(multiclass: Packed, text: str) -> None:
    """It ends, and says what it lacks; nothing waits for more."""
    with component(
        multiclass.directory, AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT="/none"
    ) as process:
        out, _ = process.communicate(text)
    assert process.returncode == 1
    assert errors(out)[-1] == (
        "SVCUID: got nothing, expected the nucleus to set it in the environment"
    )


def test_component_ends_with_stdin(multiclass: Packed) -> None:
    """Docker's client is gone: as by SIGTERM, although it was just trying to connect."""
    with component(
        multiclass.directory, AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT="/none"
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(f"{TOKEN}\n")
        process.stdin.flush()
        while "trying again" not in process.stdout.readline():
            assert process.poll() is None
        process.stdin.close()
        assert process.wait(30) == 143


def test_token_in_the_environment_leaves_stdin_alone(multiclass: Packed) -> None:
    """As where a nucleus starts the component as a process: its stdin is nobody's."""
    with component(
        multiclass.directory,
        SVCUID=TOKEN,
        AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT="/none",
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.close()
        while "trying again" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(0.2)
        assert process.poll() is None
        process.terminate()
        assert process.wait(30) == 143
