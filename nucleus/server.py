"""The IPC server: components connect to its Unix socket and call operations.

Everything happens on one event loop: a message is answered before the next one is read, and
nothing waits for a client. What a client does not read is kept for it, up to a bound, above which
it is disconnected; half a message costs nobody else anything. (Nucleus lite would make everyone
wait in both cases; this is not imitated.)
"""

import asyncio
import contextlib
import itertools
import logging
import os
import socket
import stat
from pathlib import Path

from nucleus.connection import Connection, Service
from nucleus.operation import Operations
from nucleus.personality import Personality
from nucleus.tokens import Tokens

MAX_PATH_BYTES = 107
"""Of a socket's path. Source: Linux, unix(7): sun_path has 108 with the final zero."""

DEFAULT_MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""What may wait for one client that does not read."""

_BACKLOG = 128
_MODE = 0o666  # components run as users of their own

_log = logging.getLogger(__name__)


class SocketPathError(ValueError):
    """A socket cannot be at this path."""


class IpcServer:
    """Serves components until it is closed; one event loop, and no use from other threads."""

    def __init__(
        self,
        path: Path,
        personality: Personality,
        tokens: Tokens,
        operations: Operations,
        *,
        max_unread_bytes: int = DEFAULT_MAX_UNREAD_BYTES,
    ) -> None:
        """Does nothing yet; see `start`.

        Args:
            path: where the socket is to be.
            personality: which nucleus this is.
            tokens: who may connect.
            operations: what this device can do.
            max_unread_bytes: what may wait for a client that does not read; one that lets more
                wait is disconnected.
        """
        self._path = path
        self._service = Service(
            personality=personality,
            tokens=tokens,
            operations=operations,
            max_unread_bytes=max_unread_bytes,
        )
        self._numbers = itertools.count(1)
        self._connections: set[Connection] = set()
        self._listener: asyncio.Server | None = None
        self._is_closed = False
        self._inode = (0, 0)

    @property
    def n_connections(self) -> int:
        """How many connections are open, whether they have said CONNECT or not."""
        return len(self._connections)

    async def start(self) -> None:
        """Makes the socket, readable and writable for everybody, and serves from now on.

        A socket that nobody listens to any more is replaced. A server starts once.

        Raises:
            SocketPathError: the path is too long, something else is there, or somebody listens.
            OSError: the socket cannot be made.
        """
        _clear_path(self._path)
        listener = socket.socket(socket.AF_UNIX)
        try:
            listener.bind(os.fspath(self._path))
            self._inode = _inode(self._path)
            self._path.chmod(_MODE)
            loop = asyncio.get_running_loop()
            self._listener = await loop.create_unix_server(
                self._connect, sock=listener, backlog=_BACKLOG
            )
        except BaseException:
            listener.close()
            self._remove_socket()
            raise
        _log.info("serving IPC as nucleus %s at %s", self._service.personality.name, self._path)

    async def close(self) -> None:
        """Ends all connections and removes the socket; a second call does nothing."""
        if self._listener is None:
            return
        listener, self._listener = self._listener, None
        self._is_closed = True
        listener.close()
        self._remove_socket()
        for _ in range(3):  # what asyncio has accepted comes in, and is closed by `_opened`
            await asyncio.sleep(0)
        for connection in list(self._connections):
            connection.close()
        if self._connections:
            await asyncio.wait([connection.ended for connection in self._connections])
        await listener.wait_closed()
        _log.info("stopped serving IPC at %s", self._path)

    def _remove_socket(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            if _inode(self._path) == self._inode:  # else it is another server's by now
                self._path.unlink()

    def _connect(self) -> Connection:
        return Connection(self._service, next(self._numbers), self._opened, self._ended)

    def _opened(self, connection: Connection) -> None:
        self._connections.add(connection)
        most = self._service.personality.max_connections
        if self._is_closed:  # it came while the server closed
            connection.close()
        elif most is not None and len(self._connections) > most:
            _log.warning("a connection was closed: got %d, expected at most %d", most + 1, most)
            connection.close()

    def _ended(self, connection: Connection) -> None:
        self._connections.discard(connection)


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino


def _clear_path(path: Path) -> None:
    """Removes what a server left there that is no more."""
    n_bytes = len(os.fsencode(path))
    if n_bytes > MAX_PATH_BYTES:
        raise SocketPathError(f"{path}: got {n_bytes} bytes, expected at most {MAX_PATH_BYTES}")
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise SocketPathError(f"{path}: got another file, expected a socket or nothing")
    if _is_served(path):
        raise SocketPathError(f"{path}: got a socket that is served, expected nothing")
    path.unlink(missing_ok=True)


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(0)
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # its queue is full
            return True
        return True
