"""The locks and lists of the image agree with the project's."""

import re
import tomllib
from pathlib import Path

import pytest

from release.image.rootfs import WORKSTATION_ONLY
from release.image.stdlib import is_dropped, is_dropped_extension

ROOT = Path(__file__).parents[2]
PIN = re.compile(r"^([a-z0-9-]+==[^ ;]+)", re.MULTILINE)
HASHED = re.compile(
    r"^([a-z0-9-]+)==[^\n]*\\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+", re.MULTILINE
)


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


@pytest.mark.parametrize("name", ["container/requirements.lock", "container/xgboost.lock"])
def test_lock_of_the_image_pins_what_the_project_pins(name: str) -> None:
    """The tests' versions are the device's, each by hash, from no index by name."""
    lock = text_of(name)
    pins = PIN.findall(lock)
    assert pins
    assert set(pins) <= set(PIN.findall(text_of("requirements.lock")))
    assert len(HASHED.findall(lock)) == len(pins)
    assert "://" not in lock


def test_lock_of_the_image_has_what_serving_needs_and_no_more() -> None:
    """The runtime client and the device's SDK, with what they need."""
    names = {pin.split("==")[0] for pin in PIN.findall(text_of("container/requirements.lock"))}
    assert names == {"awscrt", "awsiotsdk", "awslambdaric", "simplejson", "snapshot-restore-py"}


def test_modules_left_out_are_those_that_serving_may_not_import() -> None:
    """The list of import-linter is the image's."""
    project = tomllib.loads(text_of("pyproject.toml"))
    contract = next(
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"] == "the serving path has no data-science library"
    )
    forbidden = {name for name in contract["forbidden_modules"] if name.startswith("model.")}
    assert forbidden == WORKSTATION_ONLY


@pytest.mark.parametrize("name", ["model/train.py", "model/pack.py", "model/tables.py"])
def test_modules_left_out_are_there(name: str) -> None:
    """A renamed module would slip into the image."""
    assert (ROOT / name).is_file()
    assert name.removesuffix(".py").replace("/", ".") in WORKSTATION_ONLY


@pytest.mark.parametrize(
    "module",
    [
        "test",
        "test.support",
        "unittest.mock",
        "ctypes.tests.a",
        "encodings.gb18030",
        "ssl",
        "pydoc",
    ],
)
def test_module_without_a_place_in_the_image_is_dropped(module: str) -> None:
    """By its own name, its package's, or its kind."""
    assert is_dropped(module)


@pytest.mark.parametrize(
    "module",
    [
        *["traceback", "linecache", "hashlib", "encodings.utf_8", "encodings.idna", "json.decoder"],
        *["email.parser", "http.client", "urllib.request", "logging", "multiprocessing.context"],
        *["ctypes.util", "csv", "_sysconfigdata__x86_64-linux-gnu", "testing"],
    ],
)
def test_module_that_an_error_may_need_is_kept(module: str) -> None:
    """What is not on the list stays."""
    assert not is_dropped(module)


def test_extensions_of_tests_are_dropped_and_those_of_hashes_kept() -> None:
    """Python's own hashes stay where OpenSSL's go; libffi is read through `_ctypes`."""
    assert is_dropped_extension("_testlimitedcapi")
    assert is_dropped_extension("_ssl")
    assert is_dropped_extension("_hashlib")
    assert not is_dropped_extension("_sha2")
    assert not is_dropped_extension("_ctypes")
