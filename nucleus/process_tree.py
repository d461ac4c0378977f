"""The processes that a script leaves behind it: its tree, its session, and those of a dead device.

Containers are never touched: they are no children of the script that asked for them, a real
nucleus does not end them either, and a component that forgets its container must be seen to.

Source: aws-greengrass-nucleus, UnixPlatform and Exec; credentials(7), sessions.
"""

import asyncio
import contextlib
import ctypes
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import psutil

GRACE_S = 5.0
"""Between SIGTERM and SIGKILL. Source: aws-greengrass-nucleus, Exec."""

_KILL_S = 2.0
_POLL_S = 0.05
_PR_SET_PDEATHSIG = 1

_log = logging.getLogger(__name__)


def die_with_parent(parent: int) -> Callable[[], None]:
    """What a child runs before its program, so that it ends when this process is killed.

    Linux alone can do so, and only for the child itself: its own children are left to `sweep`.

    Source: prctl(2), PR_SET_PDEATHSIG.

    Args:
        parent: our process id, for the case that we die before the child has asked.
    """
    if sys.platform != "linux":
        return lambda: None
    libc = ctypes.CDLL(None)

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(128 + signal.SIGTERM)

    return ask


class ProcessTree:
    """The processes of one script: its descendants, and all others of their sessions.

    A descendant is found by its parents, which may end before it; its session stays the same. So
    every session that was seen once belongs to the tree as long as it has members.
    """

    def __init__(self, leader: int) -> None:
        """Looks for nothing yet.

        Args:
            leader: the script's shell, which leads a session of its own.
        """
        self._leader = leader
        self._leader_runs = True
        self._sessions = {leader}

    def leader_ended(self) -> None:
        """The shell has been waited for, so that its number may become somebody else's.

        It does not while anybody of its session lives.
        """
        self._leader_runs = False

    def living(self) -> list[psutil.Process]:
        """Those that live now."""
        found: dict[int, psutil.Process] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            leader = psutil.Process(self._leader)
            if self._leader_runs:
                found = {child.pid: child for child in leader.children(recursive=True)}
                found[leader.pid] = leader
            else:
                self._sessions.discard(self._leader)  # somebody else has the number
        session_of = dict(_sessions())
        self._sessions |= {session_of[pid] for pid in found if pid in session_of}
        # Never ours, however a process may have come into it.
        self._sessions.discard(os.getsid(0))
        for pid, session in session_of.items():
            if session in self._sessions and pid not in found:
                with contextlib.suppress(psutil.NoSuchProcess):
                    found[pid] = psutil.Process(pid)
        return [process for process in found.values() if _lives(process)]


def _sessions() -> Iterator[tuple[int, int]]:
    """Every process that can be seen, and its session."""
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            yield pid, os.getsid(pid)


async def end(look: Callable[[], Iterable[psutil.Process]], grace_s: float = GRACE_S) -> None:
    """Asks processes to end, and kills those that have not after a while.

    Args:
        look: finds them; asked again and again, since they may have children meanwhile. Whoever was
            found once is not let go of, also where its parent has gone.
        grace_s: from SIGTERM to SIGKILL.
    """
    known: set[psutil.Process] = set()
    for signal_number, wait_s in ((signal.SIGTERM, grace_s), (signal.SIGKILL, _KILL_S)):
        told: set[psutil.Process] = set()
        until = time.monotonic() + wait_s
        while known := {process for process in {*known, *look()} if _lives(process)}:
            _tell(known - told, signal_number)
            told |= known
            if time.monotonic() >= until:
                break
            await asyncio.sleep(_POLL_S)
        else:
            return
    pids = ", ".join(str(process.pid) for process in known)
    _log.warning("processes that even SIGKILL has not ended: %s", pids)


async def sweep(variable: str, value: str, grace_s: float = GRACE_S) -> int:
    """Ends what a device that was killed has left running.

    Args:
        variable: an environment variable that the device gave to all its components.
        value: what it had there, such as the path of its socket. Nobody else may run with it now,
            so the caller must hold that path.
        grace_s: see `end`.

    Returns:
        How many processes were found.
    """
    found = _marked(variable, value)
    if found:
        _log.warning("ending %d processes that an earlier device has left", len(found))
        await end(lambda: found, grace_s)
    return len(found)


def _marked(variable: str, value: str) -> list[psutil.Process]:
    """The processes with a variable; neither we, nor our ancestors and descendants."""
    us = psutil.Process()
    ours = {us.pid, *(process.pid for process in [*us.parents(), *us.children(recursive=True)])}
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.pid not in ours and process.environ().get(variable) == value:
                if _is_in_container(process.pid):
                    _log.info("process %d is in a container, and is left alone", process.pid)
                else:
                    found.append(process)
    return found


def _is_in_container(pid: int) -> bool:
    """Whether a process sees other processes or files than we do.

    Source: namespaces(7). Elsewhere than on Linux containers run in a virtual machine.
    """
    return sys.platform == "linux" and any(
        Path(f"/proc/{pid}/ns/{kind}").readlink() != Path(f"/proc/self/ns/{kind}").readlink()
        for kind in ("pid", "mnt")
    )


def _tell(processes: Iterable[psutil.Process], signal_number: signal.Signals) -> None:
    """Sends a signal, to parents first: a shell whose child ended before would do what is next."""
    for process in sorted(processes, key=psutil.Process.create_time):
        with contextlib.suppress(psutil.NoSuchProcess):
            try:
                process.send_signal(signal_number)
            except psutil.AccessDenied:
                _log.warning("process %d belongs to another user and goes on", process.pid)


def _lives(process: psutil.Process) -> bool:
    """Whether it runs. A zombie does not: its parent has not asked for its end, no more."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
