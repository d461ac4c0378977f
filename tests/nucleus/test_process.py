import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from nucleus.process import MAX_LINE_CHARACTERS, Command, Script, Stream

MARK = "EDGEXGB_TEST_MARK"


def marked(mark: str) -> list[psutil.Process]:
    """All living processes that were started with a mark, wherever they went."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture
def mark() -> Iterator[str]:
    """What all scripts of a test have in their environment; none of them may be left."""
    mark = uuid4().hex
    yield mark
    left = marked(mark)
    for process in left:
        process.kill()
    assert left == []


class Runner:
    """Runs scripts in a directory, and keeps what they write."""

    def __init__(self, directory: Path, mark: str) -> None:
        self.lines: list[tuple[Stream, str]] = []
        self.environment = {"PATH": os.environ["PATH"], MARK: mark}
        self._directory = directory

    def start(self, script: str) -> Script:
        command = Command(script=script, directory=self._directory, environment=self.environment)
        return Script(command, lambda stream, line: self.lines.append((stream, line)))

    async def run(self, script: str) -> int:
        running = self.start(script)
        try:
            return await asyncio.wait_for(running.wait(), 10)
        finally:
            await running.stop(0.2)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110  (it is about other processes)
                await asyncio.sleep(0.01)

    def text(self, stream: Stream = "stdout") -> str:
        return "\n".join(line for of, line in self.lines if of == stream)


@pytest.fixture
def runner(tmp_path: Path, mark: str) -> Runner:
    return Runner(tmp_path, mark)


@pytest.mark.parametrize(
    ("script", "code"),
    [("true", 0), ("exit 7", 7), ("kill -9 $$", 137), ("kill -TERM $$", 143), ("no-such", 127)],
)
def test_exit_code_is_what_a_shell_shows(runner: Runner, script: str, code: int) -> None:
    """Signals included."""
    assert asyncio.run(runner.run(script)) == code


def test_output_is_passed_on_by_line_and_stream(runner: Runner) -> None:
    """All of it, before the end is told; also a last line without an end."""
    asyncio.run(runner.run("echo one; echo two >&2; printf 'three\\r\\n\\nfour'"))
    assert runner.text("stdout") == "one\nthree\n\nfour"
    assert runner.text("stderr") == "two"


def test_script_runs_where_and_with_what_it_was_told(runner: Runner, tmp_path: Path) -> None:
    """In its directory, with nothing inherited, without a terminal's input."""
    runner.environment["A"] = "ü"
    os.environ["EDGEXGB_NOT_INHERITED"] = "x"
    try:
        asyncio.run(runner.run('pwd; echo "$A$EDGEXGB_NOT_INHERITED"; cat'))
    finally:
        del os.environ["EDGEXGB_NOT_INHERITED"]
    assert runner.text().splitlines()[:2] == [str(tmp_path), "ü"]


def test_long_line_is_cut_into_several(runner: Runner) -> None:
    """However long, and whether it ends or not."""
    asyncio.run(runner.run("head -c 100000 /dev/zero | tr '\\0' x; echo; echo y"))
    assert {len(line) for _, line in runner.lines[:-2]} == {MAX_LINE_CHARACTERS}
    assert "".join(line for _, line in runner.lines) == "x" * 100_000 + "y"


def test_output_that_is_no_text_is_replaced(runner: Runner) -> None:
    """A character that comes in two parts is one."""
    asyncio.run(runner.run("printf 'a\\377b\\n\\303'; sleep 0.1; printf '\\244'"))
    assert runner.text() == "a�b\nä"


def test_flood_of_output_arrives_whole(runner: Runner) -> None:
    """More than a pipe holds."""
    asyncio.run(runner.run("seq 100000"))
    assert runner.lines == [("stdout", str(i)) for i in range(1, 100_001)]


def test_who_keeps_the_pipe_open_keeps_nobody_waiting(runner: Runner) -> None:
    """The end is told when the shell ends; what it left is still heard, and ends with `stop`."""

    async def story() -> None:
        script = runner.start("(sleep 0.1; echo late; sleep 100) & echo early")
        assert await asyncio.wait_for(script.wait(), 5) == 0
        assert runner.text() == "early"
        assert script.has_processes()
        await runner.until(lambda: runner.text() == "early\nlate")
        await script.stop()
        assert not script.has_processes()

    asyncio.run(story())


@pytest.mark.parametrize(
    "script",
    [
        "sleep 100",
        "sleep 100 | sleep 100",
        "sleep 100 & sleep 100 & wait",
        "sh -c 'sh -c \"sleep 100; true\"; true'; true",
        "setsid sleep 100 & sleep 100",
    ],
)
def test_stop_ends_the_whole_tree(runner: Runner, mark: str, script: str) -> None:
    """With SIGTERM, where that is heeded."""

    async def story() -> int:
        running = runner.start(f"echo begun; {script}")
        await runner.until(lambda: any("sleep" in p.name() for p in marked(mark)))
        started = time.monotonic()
        await running.stop(grace_s=30)
        assert time.monotonic() - started < 20
        assert marked(mark) == []
        return await running.wait()

    assert asyncio.run(story()) == 143


def test_stop_kills_what_does_not_heed_it(runner: Runner, mark: str) -> None:
    """Shell, child, and a child in a session of its own."""
    script = "trap '' TERM; setsid sh -c 'trap \"\" TERM; while :; do sleep 1; done' & sleep 100 & "

    async def story() -> int:
        running = runner.start(script + "echo begun; while :; do sleep 1; done")
        await runner.until(lambda: len(marked(mark)) >= 5)
        await running.stop(grace_s=0.2)
        assert marked(mark) == []
        return await running.wait()

    assert asyncio.run(story()) == 137


def test_stop_lets_a_script_end_well(runner: Runner) -> None:
    """SIGTERM comes first, and leaves time."""

    async def story() -> int:
        running = runner.start(
            "trap 'echo bye; exit 5' TERM; echo begun; while :; do sleep 0.05; done"
        )
        await runner.until(lambda: runner.text() == "begun")
        await running.stop()
        await running.stop()
        return await running.wait()

    assert asyncio.run(story()) == 5
    assert runner.text() == "begun\nbye"


def test_script_that_cannot_start_leaves_nothing_open(tmp_path: Path) -> None:
    """No directory, or a script that no process can be given."""

    async def start(script: str, directory: Path) -> None:
        Script(Command(script=script, directory=directory, environment={}), print)

    before = len(psutil.Process().open_files()), psutil.Process().num_fds()
    with pytest.raises(FileNotFoundError):
        asyncio.run(start("true", tmp_path / "none"))
    with pytest.raises(ValueError, match="embedded null byte"):
        asyncio.run(start("a\0b", tmp_path))
    with pytest.raises(OSError, match="Argument list too long"):
        asyncio.run(start("#" * 3_000_000, tmp_path))
    assert (len(psutil.Process().open_files()), psutil.Process().num_fds()) == before


def test_scripts_leave_no_descriptor_and_no_child(runner: Runner) -> None:
    """A device runs for years."""

    async def story() -> tuple[int, int]:
        await runner.run("true")
        before = psutil.Process().num_fds()
        for _ in range(20):
            await runner.run("echo x; (sleep 100 &)")
        return before, psutil.Process().num_fds()

    children = set(psutil.Process().children())
    before, after = asyncio.run(story())
    assert before == after
    assert set(psutil.Process().children()) <= children


DEVICE = f"""
import asyncio, os, sys
from pathlib import Path
from nucleus.process import Command, Script

async def main():
    environment = {{"PATH": os.environ["PATH"], "{MARK}": os.environ["{MARK}"]}}
    command = Command(script="exec sleep 100", directory=Path("/"), environment=environment)
    script = Script(command, lambda stream, line: None)
    print(script.pid, flush=True)
    await script.wait()

asyncio.run(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of a parent's death")
def test_script_ends_when_the_device_is_killed(mark: str) -> None:
    """Also with -9, when nobody can do anything any more."""
    with subprocess.Popen(
        [sys.executable, "-c", DEVICE],
        env={**os.environ, MARK: mark},
        stdout=subprocess.PIPE,
    ) as device:
        assert device.stdout is not None
        script = psutil.Process(int(device.stdout.readline()))
        device.send_signal(signal.SIGKILL)
        device.wait()
    gone, _ = psutil.wait_procs([script], timeout=10)
    assert gone == [script]
