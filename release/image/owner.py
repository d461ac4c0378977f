"""Containers that somebody here started and could not remove: a `kill -9` leaves them.

Each of our containers carries its owner's process as a label. Whoever starts another one first
removes those whose owner is gone. The owner is told by boot, by the namespace of process ids and by
its start, so that neither another machine's process nor one with its number is mistaken for it.
"""

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from nucleus.process_tree import die_with_parent
from release.errors import CommandError
from release.image.docker import explain, run_docker

OWNER = "edgexgb.owner"
"""The label."""

_SIGNALS = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_START_FIELD = 21
"""Of /proc/PID/stat: when the process started, in ticks after boot. Source: proc(5), from 0."""


def owner() -> str:
    """This process, as the label has it: boot, namespace, number, start."""
    pid = os.getpid()
    return f"{_here()}/{pid}/{_start(pid)}"


@contextlib.contextmanager
def signals_held() -> Iterator[None]:
    """Has what would end this process wait until the end of the block.

    Within it a client of docker's is started and assigned, so that none runs that nobody knows.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def start_client(command: Sequence[str]) -> "subprocess.Popen[str]":
    """Docker's client, which ends with this process; to be called while `signals_held`.

    It gets a session of its own: a Ctrl-C in the terminal reaches us alone. When we die it gets a
    SIGTERM, which it hands on to its container.
    """
    ask = die_with_parent(os.getpid())

    def prepare() -> None:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        ask()

    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
        preexec_fn=prepare,  # noqa: PLW1509  (no thread of ours runs)
    )


@contextlib.contextmanager
def created(image: str) -> Iterator[str]:
    """The name of a container that is there, but does not run; it does not outlive the block.

    Raises:
        CommandError: there is no such image, or no docker or daemon.
    """
    remove_orphans()
    name = f"edgexgb-{secrets.token_hex(4)}"
    label = f"{OWNER}={owner()}"
    client = None
    try:
        with signals_held():
            client = start_client(
                ("docker", "create", "--name", name, "--network", "none", "--label", label, image)
            )
        output, _ = client.communicate()
        if client.returncode != 0:
            raise explain(["create", image], output.splitlines())
        yield name
    finally:
        if client is not None:
            client.wait()  # what is about to be created can be removed only once it is there
            remove(name)
            if client.stdout is not None:
                client.stdout.close()


def remove_orphans() -> list[str]:
    """Removes the containers whose owner is gone; their ids.

    Raises:
        CommandError: there is no docker or daemon.
    """
    listed = run_docker(
        *("ps", "--all", "--no-trunc", "--filter", f"label={OWNER}"),
        *("--format", f'{{{{.ID}}}} {{{{.Label "{OWNER}"}}}}'),
    )
    orphans = [
        container
        for container, _, label in (line.partition(" ") for line in listed.splitlines())
        if is_orphan(label)
    ]
    for container in orphans:
        remove(container)
    return orphans


def remove(container: str) -> None:
    """Removes a container, running or not; one that is gone, or is going, is fine."""
    with contextlib.suppress(CommandError):
        run_docker("rm", "--force", "--volumes", container)


def is_orphan(label: str) -> bool:
    """Whether the owner that a label names was a process here, and is gone."""
    where, _, rest = label.rpartition("/")[0].rpartition("/")
    if where != _here():
        return False
    return not rest.isdigit() or _start(int(rest)) != label.rpartition("/")[2]


def _here() -> str:
    """The boot, and the namespace that numbers processes. Source: namespaces(7)."""
    return f"{_BOOT.read_text().strip()}/{Path('/proc/self/ns/pid').readlink()}"


def _start(pid: int) -> str | None:
    """When a process started; None where it does not run."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name may have blanks and brackets in it
    state, start = fields[0], fields[_START_FIELD - 2]
    return None if state in "ZX" else start
