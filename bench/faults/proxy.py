"""A Unix-socket proxy before the core device, which may do to frames what a bad day does.

It forwards whole event-stream frames. A tamper, of one direction of one connection, gets them one
by one, and may cut, stall, trickle, shorten, double, swap or drop them.

Source: nucleus/eventstream/decode.py, the frame; unix(7), SO_PEERCRED.
"""

import asyncio
import contextlib
import json
import os
import socket
import struct
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from nucleus.eventstream.decode import Decoder
from nucleus.eventstream.encode import encode_message

TO_DEVICE, TO_CLIENT = "to_device", "to_client"

_T = TypeVar("_T")

_PRELUDE = struct.Struct(">III")
_CREDENTIALS = struct.Struct("3i")
_CHUNK_BYTES = 64 * 1024
_MAX_FRAME_BYTES = 32 * 1024 * 1024
_CALL_S = 10.0
_MODE = 0o666
"""Of a socket, as the nucleus's own; in a container somebody else connects."""
_EVENT = b"SubscriptionResponseMessage"
_HEAD_BYTES = 512
"""Of a frame, in which its headers are."""


class Tamper(ABC):
    """What is done to the frames of one direction of one connection.

    Attributes:
        is_lasting: whether only the connection's end is the end of it.
    """

    is_lasting: ClassVar[bool] = False

    @abstractmethod
    async def forward(self, frame: bytes, pipe: "Pipe") -> None:
        """Does with a frame what it likes."""

    def heal(self, pipe: "Pipe") -> None:  # noqa: B027  (most hold nothing)
        """Lets go of what it has held back; it is out of the pipe."""


class Pipe:
    """One direction of a connection.

    Attributes:
        link: the connection.
        direction: `to_device` or `to_client`.
        tamper: what is done to frames; None where they pass.
    """

    def __init__(
        self,
        link: "Link",
        direction: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self.link = link
        self.direction = direction
        self.tamper: Tamper | None = None
        self._reader = reader
        self._writer = writer
        self._buffer = bytearray()

    def write(self, data: bytes) -> None:
        """Sends bytes, which need not be a frame."""
        self._writer.write(data)

    async def run(self) -> None:
        """Forwards until the end of either side."""
        while chunk := await self._reader.read(_CHUNK_BYTES):
            self._buffer += chunk
            frames = take_frames(self._buffer)
            if self.tamper is None:
                self._writer.writelines(frames)
            else:
                for frame in frames:
                    await self._forward(frame)
            await self._writer.drain()

    async def _forward(self, frame: bytes) -> None:
        if self.tamper is None:
            self._writer.write(frame)
        else:
            await self.tamper.forward(frame, self)


class Link:
    """A connection of a client with the device, through us.

    Attributes:
        pid: of the client; 0 where it cannot be known.
        pipes: by direction.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.pipes: dict[str, Pipe] = {}
        self._writers: list[asyncio.StreamWriter] = []

    async def run(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        device: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        opened: "Callable[[Link], None]",
    ) -> None:
        """Forwards both ways until one side ends."""
        self._writers = [client[1], device[1]]
        self.pipes = {
            TO_DEVICE: Pipe(self, TO_DEVICE, client[0], device[1]),
            TO_CLIENT: Pipe(self, TO_CLIENT, device[0], client[1]),
        }
        opened(self)
        tasks = [asyncio.ensure_future(pipe.run()) for pipe in self.pipes.values()]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cut()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    def cut(self) -> None:
        """Ends the connection, both ways; what was written before is still sent."""
        for writer in self._writers:
            writer.close()


Select = Callable[[Link], bool]
"""Which connections are meant."""


def everyone(_link: Link) -> bool:
    """All connections."""
    return True


class Proxy:
    """Listens at some paths, and forwards to one; has a thread and an event loop of its own."""

    def __init__(self, paths: Sequence[Path], upstream: Path) -> None:
        """Starts the thread; listens to nothing before `listen`."""
        self._paths = [str(path) for path in paths]
        self._upstream = str(upstream)
        self._links: set[Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._servers: list[asyncio.Server] = []
        self._opened: list[tuple[Select, str, Callable[[], Tamper]]] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def listen(self) -> None:
        """Serves from now on."""
        self._call(self._listen())

    def deafen(self) -> None:
        """Serves nobody any more; connections are ended, and the paths removed."""
        self._call(self._deafen())

    def close(self) -> None:
        """Ends all of it."""
        self.deafen()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def tamper(self, select: Select, direction: str, make: Callable[[], Tamper]) -> int:
        """Puts a tamper into one direction of connections; in how many."""

        async def put() -> int:
            chosen = [link for link in self._links if select(link)]
            for link in chosen:
                link.pipes[direction].tamper = make()
            return len(chosen)

        return self._call(put())

    def tamper_next(self, select: Select, direction: str, make: Callable[[], Tamper]) -> None:
        """Does so to the next connection that is meant, when it comes."""

        async def put() -> None:
            self._opened.append((select, direction, make))

        self._call(put())

    def cut(self, select: Select) -> int:
        """Ends connections between two frames; how many."""

        async def end() -> int:
            chosen = [link for link in self._links if select(link)]
            for link in chosen:
                link.cut()
            return len(chosen)

        return self._call(end())

    def heal(self) -> None:
        """Lets everything pass again, but what a `Deaf` has made deaf for good."""

        async def let() -> None:
            self._opened.clear()
            for link in self._links:
                for pipe in link.pipes.values():
                    tamper = pipe.tamper
                    if tamper is not None and not tamper.is_lasting:
                        pipe.tamper = None
                        tamper.heal(pipe)

        self._call(let())

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()

    def _call(self, coroutine: "Coroutine[Any, Any, _T]") -> "_T":
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_S)

    async def _listen(self) -> None:
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108  (a path as sockets have it)
            self._servers.append(await asyncio.start_unix_server(self._serve, path))
            os.chmod(path, _MODE)  # noqa: PTH101

    async def _deafen(self) -> None:
        servers, self._servers = self._servers, []
        for server in servers:
            server.close()
        for path in self._paths if servers else ():
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)  # noqa: PTH108
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        link = Link(_pid_of(writer))
        try:
            device = await asyncio.open_unix_connection(self._upstream)
        except OSError:
            writer.close()
            return
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await link.run((reader, writer), device, self._open)
        finally:
            self._links.discard(link)

    def _open(self, link: Link) -> None:
        self._links.add(link)
        for one in tuple(self._opened):
            select, direction, make = one
            if select(link):
                self._opened.remove(one)
                link.pipes[direction].tamper = make()


def take_frames(buffer: bytearray) -> list[bytes]:
    """Takes the complete frames out of a buffer; what is no frame is taken as it is."""
    frames = []
    at = 0
    while len(buffer) - at >= _PRELUDE.size:
        total = _PRELUDE.unpack_from(buffer, at)[0]
        if not _PRELUDE.size < total <= _MAX_FRAME_BYTES:
            total = len(buffer) - at
        if len(buffer) - at < total:
            break
        frames.append(bytes(buffer[at : at + total]))
        at += total
    del buffer[:at]
    return frames


def is_event(frame: bytes) -> bool:
    """Whether a frame carries a message of a subscription."""
    return _EVENT in frame[:_HEAD_BYTES]


def _pid_of(writer: asyncio.StreamWriter) -> int:
    peer = writer.get_extra_info("socket")
    found = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    pid: int = _CREDENTIALS.unpack(found)[0]
    return pid


# --- tampers --------------------------------------------------------------------------------------


class Cut(Tamper):
    """Sends a part of the next frame, and ends the connection."""

    def __init__(self, share: float) -> None:
        self._share = share

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        pipe.write(frame[: max(1, int(self._share * len(frame)))])
        pipe.link.cut()
        await asyncio.sleep(0)


class Shorten(Tamper):
    """Leaves some bytes out of the middle of the next frame."""

    def __init__(self, n_bytes: int) -> None:
        self._n_bytes = n_bytes

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        middle = len(frame) // 2
        pipe.write(frame[:middle] + frame[middle + self._n_bytes :])
        pipe.tamper = None
        await asyncio.sleep(0)


class Trickle(Tamper):
    """Sends a few bytes at a time."""

    def __init__(self, n_bytes: int, pause_s: float) -> None:
        self._n_bytes = n_bytes
        self._pause_s = pause_s

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        at = 0
        while pipe.tamper is self and at < len(frame):
            pipe.write(frame[at : at + self._n_bytes])
            at += self._n_bytes
            await asyncio.sleep(self._pause_s)
        pipe.write(frame[at:])


class Stall(Tamper):
    """Sends nothing until it is healed, and reads no further."""

    def __init__(self) -> None:
        self._is_over = asyncio.Event()

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        await self._is_over.wait()
        pipe.write(frame)

    def heal(self, pipe: Pipe) -> None:  # noqa: ARG002  (it writes later)
        self._is_over.set()


class Double(Tamper):
    """Sends each message of a subscription twice."""

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        pipe.write(frame * 2 if is_event(frame) else frame)
        await asyncio.sleep(0)


class Swap(Tamper):
    """Sends every second message of a subscription before the one that came before it."""

    LONGEST_S = 0.02
    """For which a message waits for another."""

    def __init__(self) -> None:
        self._held = b""
        self._timer: asyncio.TimerHandle | None = None

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        if not is_event(frame):
            pipe.write(frame)
        elif self._held:
            pipe.write(frame)
            self.heal(pipe)
        else:
            self._held = frame
            self._timer = asyncio.get_running_loop().call_later(self.LONGEST_S, self.heal, pipe)
        await asyncio.sleep(0)

    def heal(self, pipe: Pipe) -> None:
        if self._timer is not None:
            self._timer.cancel()
        held, self._held = self._held, b""
        pipe.write(held)


class Deaf(Tamper):
    """Drops the messages of subscriptions, for as long as the connection lasts."""

    is_lasting = True

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        if not is_event(frame):
            pipe.write(frame)
        await asyncio.sleep(0)


class WrongToken(Tamper):
    """Puts another token into the CONNECT."""

    async def forward(self, frame: bytes, pipe: Pipe) -> None:
        pipe.tamper = None
        pipe.write(with_token(frame, "X" * 16))
        await asyncio.sleep(0)


def with_token(frame: bytes, token: str) -> bytes:
    """A CONNECT with another token."""
    decoder = Decoder(_MAX_FRAME_BYTES)
    decoder.feed(frame)
    message = next(iter(decoder.messages()))
    return encode_message(replace(message, payload=json.dumps({"authToken": token}).encode()))
