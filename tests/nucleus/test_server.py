import asyncio
import logging
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from nucleus.personality import CLASSIC, Personality
from nucleus.server import IpcServer, SocketPathError
from nucleus.tokens import Tokens
from tests.nucleus.conftest import running_server
from tests.nucleus.wire import client, connected


@pytest.fixture
def directory() -> Iterator[Path]:
    """One with a short name."""
    with TemporaryDirectory(prefix="ipc") as name:
        yield Path(name)


def server_at(path: Path) -> IpcServer:
    return IpcServer(path, CLASSIC, Tokens(CLASSIC), {})


def start_and_close(path: Path) -> None:
    async def run() -> None:
        server = server_at(path)
        await server.start()
        await server.close()

    asyncio.run(run())


def test_socket_is_open_to_everybody(personality: Personality) -> None:
    """Components run as users of their own."""
    with running_server(personality) as server:
        mode = server.path.stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o666


def test_closing_removes_the_socket_and_ends_connections(personality: Personality) -> None:
    """A second call does nothing; nobody can connect any more."""
    with (
        running_server(personality) as server,
        connected(server.path, server.token()) as peer,
        client(server.path) as silent,
    ):
        server.wait_for(lambda: server.server.n_connections == 2)
        server.stop()
        assert peer.receive() is None
        assert silent.receive() is None
        assert not server.path.exists()
        server.stop()
        assert server.call(lambda: server.server.n_connections) == 0


def test_closing_does_not_wait_for_a_client_that_does_not_read() -> None:
    """What waits for it is dropped after a moment."""
    with running_server(CLASSIC) as server, connected(server.path, server.token()) as deaf:
        deaf.call(1, "SubscribeToTopic", {"topic": "a"})
        for _ in range(500):
            server.call(lambda: server.pubsub.publish("a", b"x" * 6_000))
        server.stop()
        assert server.call(lambda: server.pubsub.n_subscriptions) == 0


def test_stale_socket_is_replaced(directory: Path) -> None:
    """A device that was killed leaves one."""
    path = directory / "ipc.socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(os.fspath(path))
    assert path.exists()
    start_and_close(path)
    assert not path.exists()


@pytest.mark.parametrize("backlog", [5, 0])
def test_socket_that_is_served_is_not_taken_over(directory: Path, backlog: int) -> None:
    """Two devices at one path would starve each other; a full queue is a server, too."""
    path = directory / "ipc.socket"
    with socket.socket(socket.AF_UNIX) as other, socket.socket(socket.AF_UNIX) as waiting:
        other.bind(os.fspath(path))
        other.listen(backlog)
        if not backlog:
            waiting.connect(os.fspath(path))
        with pytest.raises(SocketPathError) as refusal:
            start_and_close(path)
    assert str(refusal.value) == f"{path}: got a socket that is served, expected nothing"
    assert path.exists()


def test_other_file_is_not_removed(directory: Path) -> None:
    """It may be somebody's."""
    path = directory / "ipc.socket"
    path.write_text("precious")
    with pytest.raises(SocketPathError) as refusal:
        start_and_close(path)
    assert str(refusal.value) == f"{path}: got another file, expected a socket or nothing"
    assert path.read_text() == "precious"


def test_path_of_107_bytes_is_taken_and_of_108_refused(directory: Path) -> None:
    """The system has no room for more; a component could not connect either."""
    room = 107 - len(os.fsencode(directory)) - 1
    start_and_close(directory / ("x" * room))
    path = directory / ("é" + "x" * (room - 1))
    with pytest.raises(SocketPathError) as refusal:
        start_and_close(path)
    assert str(refusal.value) == f"{path}: got 108 bytes, expected at most 107"


def test_directory_that_is_not_there_is_an_os_error(directory: Path) -> None:
    """Nothing is left open."""
    with pytest.raises(FileNotFoundError):
        start_and_close(directory / "absent" / "ipc.socket")


def test_socket_of_a_successor_is_left_alone(directory: Path) -> None:
    """A device that closes late must not cut off the one that has come after it."""
    path = directory / "ipc.socket"

    async def run() -> None:
        server = server_at(path)
        await server.start()
        path.unlink()
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(os.fspath(path))
            await server.close()
            assert path.exists()

    asyncio.run(run())


def test_server_that_was_not_started_closes(directory: Path) -> None:
    """There is nothing to do."""
    asyncio.run(server_at(directory / "ipc.socket").close())


def test_start_and_stop_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """With the path, at INFO."""
    caplog.set_level(logging.INFO)
    with running_server(CLASSIC) as server:
        pass
    told = [(it.levelname, it.getMessage()) for it in caplog.records if it.name == "nucleus.server"]
    assert told == [
        ("INFO", f"serving IPC as nucleus classic at {server.path}"),
        ("INFO", f"stopped serving IPC at {server.path}"),
    ]
