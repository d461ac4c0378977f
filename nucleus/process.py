"""Scripts of components: a shell in a session of its own, its lines, its end.

Output is read as it comes: a line has a bound, bytes that are no UTF-8 are replaced, and who keeps
the pipe open after the shell has ended keeps nobody waiting.

Source: aws-greengrass-nucleus, GenericExternalService, UnixPlatform and Exec.
"""

import asyncio
import codecs
import contextlib
import os
import subprocess
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nucleus.last_words import LastWords
from nucleus.process_tree import GRACE_S, ProcessTree, die_with_parent, end

Stream = Literal["stdout", "stderr"]
OnLine = Callable[[Stream, str], None]

MAX_LINE_CHARACTERS = 16 * 1024
"""Of one line of output; a longer one is cut into several."""

_CHUNK_BYTES = 64 * 1024
_LAST_CHUNKS = 16  # a pipe holds one; more come from whoever writes on after the shell's end
_POLL_S = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to run.

    Attributes:
        script: for `sh -c`.
        directory: where; it must be there.
        environment: all of it; nothing is inherited.
    """

    script: str
    directory: Path
    environment: Mapping[str, str] = field(repr=False)  # it holds the component's token


class Script:
    """A script that runs, or ran. Belongs to the event loop that started it."""

    def __init__(self, command: Command, on_line: OnLine) -> None:
        """Starts it.

        Args:
            command: what to run.
            on_line: called with every line it writes, in order for each stream; must not raise.

        Raises:
            OSError: there is no such directory, no shell, or no room for another process.
            ValueError: the script or a variable holds what no process can be given, such as NUL.
        """
        self._ended = asyncio.Event()
        self._exit_code: int | None = None
        self._loop = asyncio.get_running_loop()
        with contextlib.ExitStack() as at_failure:
            readers, writers = [], []
            for _ in range(2):
                read, write = os.pipe()
                at_failure.callback(os.close, read)
                readers.append(read)
                writers.append(write)
            try:
                self._process = _start(command, writers[0], writers[1])
            finally:
                for write in writers:
                    os.close(write)
            at_failure.pop_all()
        self.pid = self._process.pid
        self._tree = ProcessTree(self.pid)
        self._last_words = LastWords()

        def take(stream: Stream, line: str) -> None:
            self._last_words.take(stream, line)
            on_line(stream, line)

        self._outputs = (
            _Output(readers[0], self._loop, lambda line: take("stdout", line)),
            _Output(readers[1], self._loop, lambda line: take("stderr", line)),
        )
        self._watch()

    @property
    def exit_code(self) -> int | None:
        """As a shell shows it: 128 and the signal's number after a signal; None while it runs."""
        return self._exit_code

    async def wait(self) -> int:
        """The exit code, once the shell has ended; what it wrote has been passed on by then."""
        await self._ended.wait()
        assert self._exit_code is not None
        return self._exit_code

    @property
    def last_words(self) -> str:
        """What it has said last about what is wrong; see `nucleus.last_words`."""
        return self._last_words.text

    def has_processes(self) -> bool:
        """Whether any process of the script lives: after its shell's end, those it has left."""
        return bool(self._tree.living())

    async def stop(self, grace_s: float = GRACE_S) -> None:
        """Ends the whole tree: SIGTERM, and SIGKILL for what is still there after a while."""
        await end(self._tree.living, grace_s)
        # Somebody who left the session may hold the pipes; nobody reads them any more.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), GRACE_S)
        for output in self._outputs:
            output.close()

    def _watch(self) -> None:
        """Has `_reap` called when the shell ends."""
        try:
            watched = os.pidfd_open(self.pid)
        except (AttributeError, OSError):  # not Linux, or an old one
            self._poll()
            return

        def is_over() -> None:
            self._loop.remove_reader(watched)
            os.close(watched)
            self._reap()

        self._loop.add_reader(watched, is_over)

    def _poll(self) -> None:
        if self._process.poll() is None:
            self._loop.call_later(_POLL_S, self._poll)
        else:
            self._reap()

    def _reap(self) -> None:
        code = self._process.wait()
        self._tree.leader_ended()
        self._exit_code = code if code >= 0 else 128 - code
        for output in self._outputs:
            output.drain()
        self._ended.set()


class _Output:
    """One stream of a script, as lines."""

    def __init__(
        self, descriptor: int, loop: asyncio.AbstractEventLoop, on_line: Callable[[str], None]
    ) -> None:
        os.set_blocking(descriptor, False)
        self._descriptor = descriptor
        self._loop = loop
        self._on_line = on_line
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""
        self._is_open = True
        loop.add_reader(descriptor, self._read)

    def drain(self) -> None:
        """Reads what is there now, without waiting; whoever holds the pipe may write on."""
        for _ in range(_LAST_CHUNKS):
            if not self._is_open or not self._read():
                return

    def close(self) -> None:
        """Reads what is there, passes the last line on, ended or not, and lets go of the pipe."""
        self.drain()
        if self._is_open:
            self._end()

    def _read(self) -> bool:
        """Whether there was anything."""
        try:
            chunk = os.read(self._descriptor, _CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""
        if not chunk:
            self._end()
            return False
        self._take(self._decoder.decode(chunk))
        return True

    def _end(self) -> None:
        self._is_open = False
        self._loop.remove_reader(self._descriptor)
        os.close(self._descriptor)
        self._take(self._decoder.decode(b"", final=True))
        if self._pending:
            self._on_line(self._pending)
            self._pending = ""

    def _take(self, text: str) -> None:
        *lines, self._pending = (self._pending + text).split("\n")
        for line in lines:
            self._pass_on(line.removesuffix("\r"))
        while len(self._pending) > MAX_LINE_CHARACTERS:
            self._on_line(self._pending[:MAX_LINE_CHARACTERS])
            self._pending = self._pending[MAX_LINE_CHARACTERS:]

    def _pass_on(self, line: str) -> None:
        for start in range(0, max(len(line), 1), MAX_LINE_CHARACTERS):
            self._on_line(line[start : start + MAX_LINE_CHARACTERS])


def _start(command: Command, stdout: int, stderr: int) -> subprocess.Popen[bytes]:
    with warnings.catch_warnings():
        # Since Python 3.12, for a function before exec in a process with threads; ours makes two
        # system calls and takes no lock.
        warnings.simplefilter("ignore", DeprecationWarning)
        return subprocess.Popen(
            ["sh", "-c", command.script],
            cwd=command.directory,
            env=dict(command.environment),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
            preexec_fn=die_with_parent(os.getpid()),  # noqa: PLW1509  (as said above)
        )
