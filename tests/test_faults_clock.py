"""The clock of a whole device jumps: who sees it, what is told of it, and that all goes on."""

import errno
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from bench.faults import clock
from bench.faults.bundles import VERSIONS
from bench.faults.catalogue import lasting_s
from bench.faults.changes import RolledOut
from bench.faults.clock import Clock, ClockError
from bench.faults.jumps import AllAhead, AllBehind, AllFarAhead, AllIn1970
from bench.faults.ledger import Ledger, Window
from bench.faults.rig import Rig
from nucleus.deployments.history import History

JUMPS = (AllAhead, AllBehind, AllFarAhead, AllIn1970)
HOUR_S = 3600.0
YEAR_S = 365.25 * 24 * HOUR_S
NEAR_S = 60.0
PAUSE_S = 0.01

needs_clock = pytest.mark.skipif(bool(clock.lacks()), reason=clock.lacks())


@pytest.fixture
def made(tmp_path: Path) -> Iterator[Clock]:
    """A clock that may jump."""
    with Clock(tmp_path) as found:
        yield found


_BELIEVER = f"""
import ctypes, datetime, json, sys, threading, time

lib = ctypes.CDLL(None, use_errno=True)

def zeros():
    return ctypes.create_string_buffer(64)

def wait(call, *arguments, clock=time.time):
    seconds, part = divmod(clock() + {PAUSE_S}, 1)
    code = call(*arguments, (ctypes.c_long * 2)(int(seconds), int(part * 1e9)))
    return ctypes.get_errno() if code == -1 else code

for line in sys.stdin:
    print(json.dumps(eval(line)), flush=True)
"""


class Believer:
    """A process with another clock, which runs an expression of Python for each line."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [*words, "-c", _BELIEVER],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def tell(self, expression: str) -> object:
        """The value of an expression there, now."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{expression}\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def end(self) -> None:
        """Ends it."""
        self._process.communicate(timeout=20.0)


@pytest.fixture(params=["environment", "interpreter"])
def believer(request: pytest.FixtureRequest, made: Clock) -> Iterator[Believer]:
    """A process that was started in either way."""
    if request.param == "environment":
        process = Believer([sys.executable], {**os.environ, **made.environment})
    else:
        process = Believer([str(made.python)], {})
    yield process
    process.end()


@needs_clock
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S, 50 * YEAR_S])
@pytest.mark.parametrize(
    "expression",
    [
        "time.time()",
        "time.clock_gettime(time.CLOCK_REALTIME)",
        "datetime.datetime.now(datetime.UTC).timestamp()",
        "ctypes.CDLL(None).time(None) % 2**32",
    ],
)
def test_process_sees_each_jump_at_once(
    jump_s: float, expression: str, made: Clock, believer: Believer
) -> None:
    """And the jump back."""
    for offset_s in (0.0, jump_s, 0.0):
        made.set(offset_s)
        assert made.offset_s == offset_s
        assert believer.tell(expression) == pytest.approx(time.time() + offset_s, abs=NEAR_S)


@needs_clock
def test_monotonic_clock_goes_on_as_ever(made: Clock, believer: Believer) -> None:
    """It is the machine's, as it is for all."""
    made.set(HOUR_S)
    before_s = time.monotonic()
    told_s = believer.tell("time.monotonic()")
    assert isinstance(told_s, float)
    assert before_s <= told_s <= time.monotonic()


_WAITS = {
    "semaphore": "wait(lib.sem_timedwait, zeros())",
    "condition": "wait(lib.pthread_cond_timedwait, zeros(), zeros())",
}
"""C's own, of which all are zero when they are new."""


@needs_clock
@pytest.mark.parametrize("kind", _WAITS)
@pytest.mark.parametrize("jump_s", [-HOUR_S, 50 * YEAR_S])
def test_wait_by_the_wall_clock_ends_in_time_and_is_counted(
    kind: str, jump_s: float, made: Clock, believer: Believer
) -> None:
    """The kernel would have it wait by the machine's clock: for years, or not at all."""
    made.set(jump_s)
    began_s = time.monotonic()
    assert believer.tell(_WAITS[kind]) == errno.ETIMEDOUT
    assert PAUSE_S <= time.monotonic() - began_s < NEAR_S
    assert made.n_wall_waits == 1


@needs_clock
def test_wait_of_python_is_by_the_monotonic_clock_and_is_not_counted(
    made: Clock, believer: Believer
) -> None:
    """So is one by a condition variable whose deadline is of that clock."""
    made.set(50 * YEAR_S)
    assert believer.tell("threading.Event().wait(0.01)") is False
    by_it = "wait(lib.pthread_cond_timedwait, zeros(), zeros(), clock=time.monotonic)"
    assert believer.tell(by_it) == errno.ETIMEDOUT
    assert made.n_wall_waits == 0


def test_without_a_compiler_the_faults_are_left_out_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """All others come as ever."""
    monkeypatch.setenv("CC", "no-such-compiler")
    with pytest.raises(ClockError, match=r"^a C compiler: got .*no-such-compiler.*, expected one$"):
        Clock(tmp_path)
    clock.lacks.cache_clear()
    try:
        left = set(lasting_s(soaks=True))
        assert "clock ahead 1 h" in left
        assert left.isdisjoint(it.name for it in JUMPS)
        assert [it.split(": ")[1] for it in caplog.messages] == [it.name for it in JUMPS]
    finally:
        clock.lacks.cache_clear()


def test_compiler_that_makes_nothing_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """By its exit code, where it says nothing."""
    monkeypatch.setenv("CC", "false")
    text = r"^clock\.c: got 'exit code 1' of the compiler, expected a library$"
    with pytest.raises(ClockError, match=text):
        Clock(tmp_path)


@needs_clock
@pytest.mark.parametrize("personality", ["classic", "lite"])
def test_all_go_on_when_the_clock_of_the_device_jumps(personality: str) -> None:
    """What is under way may be too late; a deployment takes no longer; and nobody waits by it."""
    ledger = Ledger()
    with Rig(personality, 1, ledger) as rig:
        assert rig.clock is not None
        rig.wait_for_answers()
        assert all(believes(it) for it in (psutil.Process(rig.device.pid), rig.server()))
        assert all(believes(psutil.Process(it.child.process.pid)) for it in rig.askers)

        window = Window("jumps", "", time.monotonic(), allowed=AllAhead.allowed)
        ledger.open_window(window)
        for kind in JUMPS:
            fault = kind(random.Random(1))
            fault.inject(rig)
            assert rig.clock.offset_s == pytest.approx(fault.offset_s(), abs=NEAR_S)
            rig.wait_for_answers()
            fault.heal(rig)
            assert rig.clock.offset_s == 0
            rig.wait_for_answers()
        window.healed_s = window.recovered_s = time.monotonic()

        allowed = AllAhead.allowed | RolledOut.allowed
        ledger.open_window(Window("deployment", "", time.monotonic(), allowed=allowed))
        history = History(rig.root.deployment_history)
        results: list[str] = []
        rolling = threading.Thread(target=lambda: results.append(rig.deploy_bundle(VERSIONS[1])))
        rolling.start()
        rig.wait(history.read, "a deployment")
        rig.clock.set(HOUR_S)
        rolling.join()
        rig.wait_state("RUNNING")
        rig.wait_for_answers()
        assert results == ["SUCCESSFUL"]
        [record] = history.read()
        assert record.ended is not None
        assert record.ended - record.created > HOUR_S
        assert record.took_s is not None
        assert 0 < record.took_s < NEAR_S
        assert believes(rig.server())  # another process than before
        assert rig.clock.n_wall_waits == 0
    assert [it.text for it in ledger.verdict(time.monotonic(), is_over=True)] == []


def believes(process: psutil.Process | None) -> bool:
    """Whether a process looks at the clock that may jump."""
    return process is not None and any("libclock" in it.path for it in process.memory_maps())
