import asyncio
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from uuid import uuid4

import psutil
import pytest

from nucleus.process_tree import end, sweep

MARK = "EDGEXGB_TEST_SWEEP"
ORPHAN = "setsid sh -c '{}' >/dev/null 2>&1 </dev/null & echo $!"


@pytest.fixture
def value() -> str:
    return f"/tmp/{uuid4().hex}.socket"


@pytest.fixture
def orphans() -> Iterator[list[psutil.Process]]:
    """Processes that no test may leave behind."""
    found: list[psutil.Process] = []
    yield found
    for process in found:
        if process.is_running():
            process.kill()


def orphan(script: str, value: str) -> psutil.Process:
    """A process without a parent, as a killed device leaves them."""
    found = subprocess.run(
        ["sh", "-c", ORPHAN.format(script)],
        env={**os.environ, MARK: value},
        capture_output=True,
        text=True,
        check=True,
    )
    return psutil.Process(int(found.stdout))


def ends(process: psutil.Process) -> bool:
    """Whether it has ended; it may be a zombie where nobody waits for orphans."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_sweep_ends_what_has_the_variable(value: str, orphans: list[psutil.Process]) -> None:
    """Whether it heeds SIGTERM or not; nobody else."""
    orphans += [
        orphan("exec sleep 100", value),
        orphan('trap "" TERM; while :; do sleep 1; done', value),
        orphan("exec sleep 100", f"{value}.other"),
    ]
    deadline = time.monotonic() + 10
    while "sleep" not in orphans[0].name() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asyncio.run(sweep(MARK, value, grace_s=0.2)) >= 2
    assert [ends(process) for process in orphans] == [True, True, False]
    assert asyncio.run(sweep(MARK, value)) == 0


def test_sweep_spares_our_own_children(value: str) -> None:
    """They are of this device."""
    with subprocess.Popen(["sleep", "100"], env={**os.environ, MARK: value}) as child:
        assert asyncio.run(sweep(MARK, value)) == 0
        assert child.poll() is None
        child.kill()


@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root makes namespaces here",
)
def test_sweep_spares_containers(value: str, orphans: list[psutil.Process]) -> None:
    """A component that forgets its container must be seen to."""
    try:
        subprocess.run(["unshare", "--mount", "true"], check=True, capture_output=True)
    except subprocess.CalledProcessError:
        pytest.skip("this machine allows no namespaces")
    orphans.append(orphan("exec unshare --mount sleep 100", value))
    deadline = time.monotonic() + 10
    while orphans[0].name() != "sleep" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert asyncio.run(sweep(MARK, value, grace_s=0.2)) == 0
    assert not ends(orphans[0])


def test_end_tells_each_process_once() -> None:
    """A second SIGTERM makes many programs leave in the middle of leaving."""
    script = "trap 'n=x$n; echo $n' TERM; echo begun; for i in 1 2 3 4; do sleep 0.1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begun\n"
        tree = [psutil.Process(process.pid)]
        asyncio.run(end(lambda: tree, grace_s=10))
        assert process.stdout.read() == "x\n"
        assert process.wait() == 0


def test_process_that_ended_meanwhile_is_no_error() -> None:
    """It is what was wanted."""
    with subprocess.Popen(["true"]) as process:
        known = psutil.Process(process.pid)
        process.wait()
    asyncio.run(end(lambda: [known]))
    assert process.returncode == 0
