"""Real images as Lambdas: locked down, within 128 MB, and gone when they should be."""

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from release.cli import main
from release.emulator import INVOCATIONS
from release.image.facts import ImageFacts, OurImage, find_image
from release.image.owner import OWNER, remove_orphans
from release.image.run import LambdaContainer, Limits, lambda_command, run_lambda
from release.targets import HttpTarget
from tests.conftest import Packed, bits, in_memory
from tests.image.conftest import docker

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

ROOT = Path(__file__).parents[2]
MEMORY_BYTES = 128 * 1024 * 1024
MARK = "4c6f6e67"
"""In everything that a caller sends here, and nowhere else."""


@pytest.fixture(scope="module")
def image(wine: ImageFacts) -> OurImage:
    return find_image(wine.id)


@contextlib.contextmanager
def serving(
    image: OurImage, limits: Limits | None = None
) -> Iterator[tuple[LambdaContainer, HttpTarget]]:
    with (
        run_lambda(image, limits=limits) as container,
        contextlib.closing(HttpTarget("image", container.url)) as target,
    ):
        yield container, target


def ask(target: HttpTarget, event: object) -> Any:
    content = event if isinstance(event, bytes) else json.dumps(event).encode()
    return target.invoke(content).json()


def of_container(container: LambdaContainer) -> Any:
    return json.loads(docker("container", "inspect", container.name).stdout)[0]


def running(image: OurImage) -> list[str]:
    """All containers of ours that run an image, or should have gone with it."""
    filters = ("--filter", f"label={OWNER}", "--filter", f"ancestor={image.id}")
    return docker("ps", "--all", "--quiet", "--no-trunc", *filters).stdout.split()


def wait_until(holds: Any) -> bool:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        if holds():
            return True
        time.sleep(0.05)
    return False


def many_rows(packed: Packed, n_rows: int) -> list[dict[str, Any]]:
    """Rows of the training data, each number with all the digits of a random one."""
    draw = np.random.default_rng(5).uniform(1, 1.001, n_rows)
    rows = packed.rows
    return [
        {name: value * factor for name, value in rows[i % len(rows)].items()}
        for i, factor in enumerate(draw.tolist())
    ]


# --- predictions, locked down ---------------------------------------------------------------------


@pytest.mark.parametrize("user", ["0:0", "65532:65532", "2000000000"])
def test_any_user_without_rights_gets_the_predictions_of_the_model_in_memory(
    user: str, image: OurImage, multiclass: Packed
) -> None:
    """Root without capabilities, the image's own user, one that nobody knows: the same bits."""
    predictions, probabilities = in_memory(multiclass, multiclass.frame)
    with serving(image, Limits(user=user)) as (container, target):
        body = ask(target, {"records": multiclass.rows})["body"]
        assert of_container(container)["Config"]["User"] == user
    assert body["predictions"] == predictions
    assert bits(body["probabilities"]) == bits(probabilities)


def test_container_is_shut_in(image: OurImage) -> None:
    """Read-only, without rights, bounded, one port on loopback, no log of docker's own."""
    with serving(image) as (container, _):
        found = of_container(container)
    host = found["HostConfig"]
    assert found["Image"] == container.image == image.id
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert not host["Privileged"]
    assert (host["Memory"], host["MemorySwap"]) == (MEMORY_BYTES, MEMORY_BYTES)
    assert (host["NanoCpus"], host["PidsLimit"]) == (1_000_000_000, 64)
    assert host["LogConfig"]["Type"] == "none"
    assert host["Tmpfs"] == {"/tmp": ""}
    assert found["Config"]["User"] == "12345:54321"
    assert [(it["Destination"], it["RW"]) for it in found["Mounts"]] == [("/emulator", False)]
    bindings = found["NetworkSettings"]["Ports"]["8080/tcp"]
    assert [binding["HostIp"] for binding in bindings] == ["127.0.0.1"]
    assert container.url == f"http://127.0.0.1:{bindings[0]['HostPort']}"


def test_ten_thousand_rows_near_the_largest_request_fit_into_128_megabytes(
    image: OurImage, multiclass: Packed
) -> None:
    """6 MB of base64, emulator included; nothing is killed, and every row is answered."""
    rows = many_rows(multiclass, 10_000)
    text = json.dumps({"records": rows}, separators=(",", ":")).encode()
    event = {"body": base64.b64encode(text).decode(), "isBase64Encoded": True}
    assert 5_500_000 < len(json.dumps(event)) <= 6 * 1024 * 1024
    with serving(image) as (container, target):
        body = ask(target, event)["body"]
        peak_bytes, n_killed = memory(container)
    assert len(body["predictions"]) == 10_000
    assert 0 < peak_bytes < MEMORY_BYTES
    assert n_killed == 0


def memory(container: LambdaContainer) -> tuple[int, int]:
    """A container's largest memory in bytes, and how often something in it was killed for it.

    Source: cgroups(7); the kernel's cgroup-v1/memory.rst and cgroup-v2.rst.
    """
    lines = Path(f"/proc/{of_container(container)['State']['Pid']}/cgroup").read_text().splitlines()
    groups = {line.split(":")[1]: line.split(":")[2].lstrip("/") for line in lines}
    first = Path("/sys/fs/cgroup/memory") / groups.get("memory", "")
    second = Path("/sys/fs/cgroup") / groups.get("", "")
    peak, events = first / "memory.max_usage_in_bytes", first / "memory.oom_control"
    if "memory" not in groups:
        peak, events = second / "memory.peak", second / "memory.events"
    killed = re.search(r"^oom_kill (\d+)$", events.read_text(), re.MULTILINE)
    assert killed is not None
    return int(peak.read_text()), int(killed[1])


def test_request_of_millions_of_parts_is_refused_and_kills_nothing(
    image: OurImage, multiclass: Packed
) -> None:
    """Parsed, it would take more memory than there is."""
    event = b'{"body": [' + b"{}," * 1_900_000 + b"{}]}"
    with serving(image) as (container, target):
        response = ask(target, event)
        assert response["statusCode"] == 413
        assert response["body"]["error"]["code"] == "too_many_rows"
        assert memory(container)[1] == 0
        assert ask(target, {"records": multiclass.rows[:1]})["statusCode"] == 200


# --- what is to be seen from outside --------------------------------------------------------------


def test_nothing_that_a_caller_sends_is_to_be_seen_anywhere(
    image: OurImage, multiclass: Packed
) -> None:
    """Not in what docker tells, nor in processes' arguments, nor in what the function writes."""
    row = dict(multiclass.rows[0])
    form = {"requestContext": {"http": {}}, "headers": {"authorization": MARK, "x": MARK}}
    events: list[object] = [
        {"records": [{**row, MARK: 1}]},
        {"records": [{**row, "hue": MARK}]},
        {"records": [row], "id": MARK, "colour": MARK},
        {"body": f"{MARK}: 1"},
        {**form, "body": json.dumps([row])},
        {**form, "body": MARK},
        MARK.encode(),
        b'{"records": [' + b"[" * 10_000 + MARK.encode(),
    ]
    with serving(image) as (container, target):
        for event in events:
            assert ask(target, event)["statusCode"] in {200, 400, 415}
        seen = [
            docker("container", "inspect", container.name).stdout,
            docker("logs", container.name).stdout,
            docker("top", container.name, "-eo", "pid,args").stdout,
            docker("history", "--no-trunc", image.id).stdout,
            docker("image", "inspect", image.id).stdout,
            container.log(),
            *(" ".join(it.info["cmdline"] or ()) for it in psutil.process_iter(["cmdline"])),
        ]
        assert container.name in seen[0]
        assert "/opt/edgexgb/start" in seen[2]
        assert "bundle opened" in container.log()
    assert not [text for text in seen if MARK in text]
    assert not [name for name in found_names(seen[0]) if "TOKEN" in name or "SECRET" in name]


def found_names(inspected: str) -> list[str]:
    """The variables that docker shows of a container."""
    return [entry.split("=")[0] for entry in json.loads(inspected)[0]["Config"]["Env"]]


# --- its end --------------------------------------------------------------------------------------


def test_sigterm_ends_it_with_0_and_no_answer_is_cut_short(
    image: OurImage, multiclass: Packed
) -> None:
    """Whoever is being answered gets the whole answer, or none."""
    event = json.dumps({"records": many_rows(multiclass, 10_000)}).encode()
    command = lambda_command(image, name="edgexgb-sigterm", port=None, limits=Limits())
    answers: list[bytes] = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as client:
        try:
            assert wait_until(lambda: docker("port", "edgexgb-sigterm").stdout)
            address = docker("port", "edgexgb-sigterm", "8080/tcp").stdout.split()[0]
            asking = threading.Thread(
                target=_ask_until_gone, args=(address, event, answers), daemon=True
            )
            asking.start()
            assert wait_until(lambda: len(answers) >= 3)
            assert docker("stop", "--time", "20", "edgexgb-sigterm").returncode == 0
            asking.join()
            assert client.wait() == 0  # killed, it would be 137
        finally:
            docker("rm", "--force", "edgexgb-sigterm")
    assert {len(json.loads(answer)["body"]["predictions"]) for answer in answers} == {10_000}


def _ask_until_gone(address: str, event: bytes, answers: list[bytes]) -> None:
    """Keeps asking; what has come of an answer counts, whole or not."""
    while True:
        with contextlib.closing(http.client.HTTPConnection(address, timeout=30)) as connection:
            try:
                connection.request("POST", INVOCATIONS, event)
                response = connection.getresponse()
            except (OSError, http.client.HTTPException):
                if answers:
                    return
                time.sleep(0.05)  # the emulator is not there yet
                continue
            # The emulator, as it ends, answers with nothing what it does not have answered yet.
            if answer := _read(response):
                answers.append(answer)


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read()
    except http.client.IncompleteRead as error:
        return error.partial


def started(*options: str) -> "tuple[subprocess.Popen[str], str]":
    """`edgexgb image run` in a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "release.cli", "image", "run", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signal_ends_the_command_and_removes_the_container(
    number: int, code: int, image: OurImage, multiclass: Packed
) -> None:
    """Ctrl-C is how it is meant to end; the others are told by the exit code."""
    process, url = started(image.id)
    try:
        with contextlib.closing(HttpTarget("image", url)) as target:
            assert ask(target, {"records": multiclass.rows[:1]})["statusCode"] == 200
        os.killpg(process.pid, number)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == code
        assert running(image) == []
    finally:
        process.kill()
        process.communicate()
    assert "Ctrl-C stops\n" in errors
    assert "Traceback" not in errors


def test_killed_command_takes_its_container_along(image: OurImage) -> None:
    """`kill -9` leaves it no word; the kernel tells docker's client, which ends the container."""
    process, url = started(image.id)
    assert url.startswith("http://127.0.0.1:")
    assert len(running(image)) == 1
    process.kill()
    process.communicate()
    assert wait_until(lambda: running(image) == [])


def test_container_whose_client_was_killed_too_goes_with_the_next_run(image: OurImage) -> None:
    """Nobody was left to end it; whoever comes next does."""
    process, _ = started(image.id)
    process.send_signal(signal.SIGSTOP)
    for child in psutil.Process(process.pid).children():
        child.kill()
    process.kill()
    process.communicate()
    orphans = running(image)
    assert len(orphans) == 1
    with run_lambda(image) as container:
        assert docker("container", "inspect", orphans[0]).returncode != 0
        assert remove_orphans() == []
        assert container.is_running()
    assert running(image) == []


def test_end_of_the_container_ends_the_command_with_an_error(image: OurImage) -> None:
    """One line, and exit code 1."""
    process, _ = started(image.id, "--json")
    docker("rm", "--force", *running(image))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.splitlines()[-1] == (
        "edgexgb image: error: the container: got an exit, expected it to run until Ctrl-C"
    )


# --- what is refused ------------------------------------------------------------------------------


def test_taken_port_is_one_line(image: OurImage, capsys: pytest.CaptureFixture[str]) -> None:
    """It names the port, and leaves no container."""
    with run_lambda(image) as container:
        port = container.url.rpartition(":")[2]
        assert main(["image", "run", image.id, "--port", port]) == 1
        assert len(running(image)) == 1
    assert capsys.readouterr().err == (
        f"edgexgb image: error: port {port}: got one in use, expected a free one\n"
    )


def test_image_that_is_none_of_ours_is_one_line(
    base: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which label is missing."""
    for action in ("run", "validate"):
        assert main(["image", action, base]) == 1
        assert capsys.readouterr().err == (
            f"edgexgb image: error: {base}: got an image without the label edgexgb.model.digest, "
            "expected one that `edgexgb image build` has made\n"
        )


def test_what_docker_refuses_is_one_line(
    image: OurImage, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user that docker cannot find."""
    assert main(["image", "run", image.id, "--user", "nobody-here"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("edgexgb image: error: docker run: got a failure (Error response")
    assert "nobody-here" in errors
    assert errors.count("\n") == 1
    assert running(image) == []


@pytest.mark.parametrize(
    "words", [["--port", "0"], ["--memory", "0"], ["--cpus", "0"], ["--cpus", "many"]]
)
def test_wrong_limit_is_refused_by_its_name(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """Before docker is asked."""
    with pytest.raises(SystemExit, match="2"):
        main(["image", "run", "x", *words])
    assert f"argument {words[0]}: got {words[1]!r}, expected" in capsys.readouterr().err
