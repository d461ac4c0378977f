"""Real images, of a real daemon: what is in them, and whether they work locked down."""

import json
import socket
import subprocess
import tarfile
from importlib.metadata import version
from pathlib import Path

import pytest

from release.image.build import BASE
from release.image.docker import image_command
from release.image.facts import MODEL_DIGEST, ImageFacts
from tests.conftest import Packed, copy_bundle, without_forest
from tests.image.conftest import Builder, docker, inspected

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

BUDGET_BYTES = 35_000_000
"""Of the image with the forest engine; the issue of more is an ADR."""

LOCKED = (
    *("run", "--rm", "--network", "none", "--read-only", "--user", "12345:54321"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory", "128m"),
)

UNWANTED = {
    *("sh", "bash", "dash", "busybox", "gcc", "cc", "ld", "as", "make", "apt", "apt-get", "dpkg"),
    *("pip", "pip3", "perl", "git", "curl", "wget", "ldconfig", "mount", "su", "login"),
}

PROBE = """
import importlib, pkgutil, sys
sys.path[1:1] = ["/opt/edgexgb", "/opt/packages"]
import container, interface, model
for package in container, interface, model:
    for found in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        if found.name not in ("container.__main__", "container.lambda_function"):
            importlib.import_module(found.name)
import awsiot.greengrasscoreipc.clientv2, awslambdaric.bootstrap, awslambdaric.__main__
import container.__main__
import awslambdaric.lambda_multi_concurrent_utils
import traceback, linecache, logging.handlers, email.parser, http.client, urllib.request, ctypes
import decimal, zoneinfo, statistics, tempfile, subprocess, csv, base64, gzip, hashlib, pickle
for name in "md5", "sha1", "sha256", "sha512", "sha3_256", "blake2b":
    hashlib.new(name, b"")
print(sys.flags.dont_write_bytecode, sys.version_info[:2] >= (3, 11))
"""


def test_two_builds_of_the_same_inputs_give_the_same_layers(
    builder: Builder, multiclass: Packed, wine: ImageFacts
) -> None:
    """Also when no step is taken from the cache."""
    again = builder(multiclass.directory, "--no-cache")
    assert again.layers == wine.layers
    assert again.labels == wine.labels


def test_another_bundle_changes_the_last_layer_only(
    builder: Builder, binary: Packed, wine: ImageFacts
) -> None:
    """That layer is what a device pulls for an update."""
    other = builder(binary.directory)
    assert other.layers[:-1] == wine.layers[:-1]
    assert other.update.digest != wine.update.digest
    assert other.update.content == "model"
    sizes = [path.stat().st_size for path in binary.directory.iterdir()]
    assert other.update.size_bytes == sum(sizes)
    assert 0 < other.update.pull_bytes < sum(sizes)
    changed = {name for name, value in wine.labels.items() if other.labels[name] != value}
    assert changed == {"edgexgb.model.name", "edgexgb.model.version", "edgexgb.model.digest"}


def test_image_is_within_its_budget(wine: ImageFacts) -> None:
    """Far below the 80 MB that it may have."""
    assert wine.size_bytes < BUDGET_BYTES
    assert wine.size_bytes == inspected(wine.id)["Size"]
    assert sum(wine.parts.values()) == wine.size_bytes
    assert "other files" not in wine.parts


def test_image_holds_nothing_that_serving_does_not_need(members: list[tarfile.TarInfo]) -> None:
    """No shell, compiler, package manager, test, cache or source of others."""
    paths = [Path("/") / member.name for member in members if not member.isdir()]
    names = {path.name for path in paths}
    assert not names & UNWANTED
    folders = {part for path in paths for part in path.parts[:-1]}
    assert not folders & {
        "test",
        "tests",
        "pip",
        "setuptools",
        "idlelib",
        "include",
        "cache",
        "apt",
    }
    assert {path.name for path in paths if path.parent == Path("/usr/bin")} == {
        "python3",
        "python3.13",
    }
    sources = {path.parts[:3] for path in paths if path.suffix == ".py"}
    assert sources == {("/", "opt", "edgexgb")}
    assert names.isdisjoint({"libssl.so.3", "libcrypto.so.3"})
    assert {"train.py", "pack.py", "train.ipynb"}.isdisjoint(names)


def test_every_entry_has_the_same_date_owner_and_mode(members: list[tarfile.TarInfo]) -> None:
    """Nothing of the machine that built it is in a layer, and any user can read all of it."""
    assert {(member.uid, member.gid) for member in members} == {(0, 0)}
    assert {member.mtime for member in members} == {1_735_689_600}
    modes = {member.name: member.mode & 0o7777 for member in members if not member.issym()}
    assert modes.pop("tmp") == 0o1777
    assert set(modes.values()) == {0o755, 0o644}


@pytest.mark.parametrize("arguments", [LOCKED, (*LOCKED, "--user", "0:0")])
def test_self_test_passes_locked_down_as_any_user(
    arguments: tuple[str, ...], wine: ImageFacts, multiclass: Packed
) -> None:
    """A read-only root, no network, no capability, 128 MB: one line says what was replayed."""
    done = docker(*arguments, wine.id, "--self-test")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert json.loads(done.stdout) == {
        "selfTest": "passed",
        "model": "wine",
        "version": "1.2.3",
        "digest": multiclass.bundle.digest,
        "engine": "forest",
        "goldenRows": len(multiclass.bundle.golden),
        "exact": True,
    }


def test_damaged_bundle_fails_the_self_test_with_one_line(
    wine: ImageFacts, multiclass: Packed, tmp_path: Path
) -> None:
    """The line is JSON and says which file it is."""
    damaged = copy_bundle(multiclass, tmp_path)
    (damaged / "golden.jsonl").write_text("{}")
    done = docker(*LOCKED, "--volume", f"{damaged}:/opt/bundle:ro", wine.id, "--self-test")
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.count("\n") == 1
    found = json.loads(done.stdout)
    assert found["selfTest"] == "failed"
    assert found["error"].startswith("golden.jsonl: got 2 bytes with sha256")


def test_command_of_a_locked_down_container_runs_the_self_test(wine: ImageFacts) -> None:
    """What `image_command` gives works as it is."""
    done = subprocess.run(image_command(wine.id, "--self-test"), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def test_every_module_in_the_image_finds_what_it_imports(wine: ImageFacts) -> None:
    """What was left out of the standard library is missed by nothing that is there."""
    python = ("--entrypoint", "/usr/bin/python3")
    done = docker(*LOCKED, *python, wine.id, "-ISB", "-W", "error", "-c", PROBE)
    assert (done.stdout, done.stderr) == ("1 True\n", "")


def test_labels_and_configuration_say_what_it_is(wine: ImageFacts, multiclass: Packed) -> None:
    """Model, engine, licence; a user without rights; no shell form; nothing in the environment."""
    assert wine.labels[MODEL_DIGEST] == multiclass.bundle.digest
    assert wine.labels["edgexgb.model.name"] == "wine"
    assert wine.labels["edgexgb.model.version"] == "1.2.3"
    assert wine.labels["edgexgb.engine"] == "forest"
    assert wine.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert wine.labels["org.opencontainers.image.version"] == version("edgexgb")
    config = inspected(wine.id)["Config"]
    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/opt/edgexgb/start"]
    assert not config["Cmd"]
    assert [entry.split("=")[0] for entry in config["Env"]] == ["PATH"]


def test_history_names_nothing_of_the_machine_that_built_it(wine: ImageFacts) -> None:
    """No certificate, package index, directory or host of it."""
    history = docker("history", "--no-trunc", "--format", "{{json .}}", wine.id).stdout
    recorded = history + json.dumps(inspected(wine.id)["Config"])
    assert "edgexgb.model.digest" in recorded
    for word in ("PIP_", "http:", "https:", "/root", "/work", "/tmp/", socket.gethostname(), BASE):
        assert word not in recorded, word


def test_packages_are_known_by_version_and_licence(wine: ImageFacts) -> None:
    """Debian's and pip's alike; scanners find the same records."""
    kinds = {package.name: package.kind for package in wine.packages}
    assert kinds["libc6"] == kinds["python3.13-minimal"] == "debian"
    assert kinds["awscrt"] == kinds["awsiotsdk"] == kinds["awslambdaric"] == "python"
    assert not [package for package in wine.packages if package.licence == "unknown"]


def test_lambda_without_a_runtime_says_what_it_needs(wine: ImageFacts) -> None:
    """Started by hand, as by mistake, it is one line and not a traceback."""
    done = docker(*LOCKED, wine.id)
    assert done.returncode == 2
    assert done.stderr.startswith("AWS_LAMBDA_RUNTIME_API: got nothing, expected the address")
    assert done.stderr.count("\n") == 1


def test_sigterm_ends_the_lambda_while_it_waits(wine: ImageFacts) -> None:
    """As a container's first process, and inside the client's blocking call for the next event."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        options = ("--network", "host", "--env", f"AWS_LAMBDA_RUNTIME_API={address}")
        container = docker("run", "--detach", *options, wine.id).stdout.strip()
        try:
            server.settimeout(30)
            connection, _ = server.accept()
            with connection:
                assert connection.recv(4096).startswith(b"GET /2018-06-01/runtime/invocation/next")
                docker("stop", "--time", "20", container)
            assert docker("wait", container).stdout == "0\n"  # killed, it would be 137
        finally:
            docker("rm", "--force", container)


def test_bundle_without_a_forest_is_served_by_xgboost(
    builder: Builder, multiclass: Packed, tmp_path: Path
) -> None:
    """The variant has XGBoost's library, and none of its Python."""
    image = builder(without_forest(copy_bundle(multiclass, tmp_path)))
    done = docker(*LOCKED, image.id, "--self-test")
    assert json.loads(done.stdout)["engine"] == "xgboost"
    assert image.labels["edgexgb.engine"] == "xgboost"
    names = {package.name for package in image.packages}
    assert "xgboost-cpu" in names
    assert names.isdisjoint({"numpy", "scipy"})
