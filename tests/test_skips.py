import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.skips import HAS_KERNEL

ROOT = Path(__file__).parents[1]

TESTS = """
import pytest

def test_passes():
    pass

def test_skips_itself():
    pytest.skip("no such tool")

@pytest.mark.skipif(True, reason="no such system")
def test_is_skipped():
    pass

@pytest.mark.xfail(reason="known")
def test_fails_as_expected():
    raise AssertionError

@pytest.mark.kernel
def test_needs_the_kernel():
    pass
"""
MODULE = """
import pytest

pytest.skip("no such library", allow_module_level=True)
"""
HIDDEN = """
import sys
sys.modules["model._forest"] = None
"""
"""A plugin that hides the kernel from all that is imported after it."""


def run(folder: Path, text: str = TESTS, *options: str, **environment: str) -> tuple[int, str]:
    """A run of its own over one file: the exit code, and what was printed."""
    (folder / "test_it.py").write_text(text)
    (folder / "hidden.py").write_text(HIDDEN)
    clean = {k: v for k, v in os.environ.items() if k not in {"CI", "EDGEXGB_WITHOUT_KERNEL"}}
    plugins = ("-p", "tests.skips", "-p", "no:cacheprovider")
    fixed = ("-q", "-rA", "--strict-markers", "-c", os.devnull)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *fixed, *options, *plugins, "test_it.py"],
        cwd=folder,
        env={
            **clean,
            "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}",
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def counts(printed: str) -> str:
    """The last line without its time."""
    return printed.splitlines()[-1].rpartition(" in ")[0]


def test_skip_on_ones_own_machine_is_a_remark(tmp_path: Path) -> None:
    """Not everybody has every tool."""
    code, printed = run(tmp_path, TESTS, "-p", "hidden")
    assert (code, counts(printed)) == (0, "1 passed, 3 skipped, 1 xfailed")
    assert "no compiled kernel" in printed


def test_skip_in_ci_is_a_failure_that_gives_the_reason(tmp_path: Path) -> None:
    """Of each kind, and of the kernel's tests too; an expected failure is none of them."""
    code, printed = run(tmp_path, TESTS, "-p", "hidden", CI="true")
    assert (code, counts(printed)) == (1, "1 failed, 1 passed, 1 xfailed, 2 errors")
    for name, reason in (
        ("test_skips_itself", "Skipped: no such tool"),
        ("test_is_skipped", "Skipped: no such system"),
        ("test_needs_the_kernel", "Skipped: no compiled kernel"),
    ):
        text = f"test_it.py::{name}: got a skip in CI ({reason}), expected every test to run"
        assert text in printed.splitlines()


def test_module_that_skips_itself_in_ci_is_a_failure(tmp_path: Path) -> None:
    """Otherwise a whole file could go unnoticed."""
    assert run(tmp_path, MODULE)[0] == 5  # pytest's code for a run without tests
    code, printed = run(tmp_path, MODULE, CI="true")
    assert (code, counts(printed)) == (2, "1 error")
    assert "got a skip in CI (Skipped: no such library), expected every test to run" in printed


def test_run_without_the_kernel_may_skip_its_tests_alone(tmp_path: Path) -> None:
    """What is marked is left out on purpose; all else is needed there as well."""
    environment = {"CI": "true", "EDGEXGB_WITHOUT_KERNEL": "1"}
    code, printed = run(tmp_path, TESTS, "-p", "hidden", **environment)
    assert (code, counts(printed)) == (1, "1 failed, 1 passed, 1 skipped, 1 xfailed, 1 error")
    assert "test_needs_the_kernel: got a skip in CI" not in printed


@pytest.mark.kernel
def test_run_without_the_kernel_that_has_one_is_refused(tmp_path: Path) -> None:
    """It would prove nothing about a machine without a compiler."""
    assert HAS_KERNEL
    code, printed = run(tmp_path, EDGEXGB_WITHOUT_KERNEL="1")
    assert code == 4
    assert (
        "EDGEXGB_WITHOUT_KERNEL: got a compiled kernel, expected none in this environment"
        in printed
    )
