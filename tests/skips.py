"""What a skipped test means: on one's own machine a remark, in CI a failure.

`CI=true` in the environment: whatever is skipped fails, for it proves nothing.
`EDGEXGB_WITHOUT_KERNEL=1`: this run is about a machine without a C compiler; there tests marked
`kernel`, and only these, may be skipped, and a kernel that is there after all ends the run.
"""

import os
from collections.abc import Generator

import pytest

from model import rows
from model.forest_engine import is_available

IS_CI = os.environ.get("CI") in {"true", "1"}
IS_WITHOUT_KERNEL = os.environ.get("EDGEXGB_WITHOUT_KERNEL") == "1"
HAS_KERNEL = is_available() and rows._rows is not None
"""Whether setup.py's extensions are there, both."""


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker.

    Raises:
        UsageError: the run is to be without a kernel, and has one.
    """
    config.addinivalue_line("markers", "kernel: needs model._forest and model._rows, which C makes")
    if IS_WITHOUT_KERNEL and HAS_KERNEL:
        raise pytest.UsageError(
            "EDGEXGB_WITHOUT_KERNEL: got a compiled kernel, expected none in this environment"
        )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips what needs the kernel where there is none."""
    if not HAS_KERNEL and item.get_closest_marker("kernel"):
        pytest.skip("no compiled kernel")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A skip that proves too little becomes a failure."""
    report = yield
    is_deliberate = IS_WITHOUT_KERNEL and item.get_closest_marker("kernel") is not None
    if IS_CI and report.skipped and not hasattr(report, "wasxfail") and not is_deliberate:
        _fail(report)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same of a module that skips itself."""
    report = yield
    if IS_CI and report.skipped:
        _fail(report)
    return report


def _fail(report: pytest.TestReport | pytest.CollectReport) -> None:
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    report.outcome = "failed"
    report.longrepr = f"{report.nodeid}: got a skip in CI ({reason}), expected every test to run"
