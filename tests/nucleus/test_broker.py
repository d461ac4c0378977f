"""The bridge to a broker: a real one that knows MQTT 3.1.1, and one of MQTT 5 that echoes."""

import asyncio
import logging
import shutil
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from amqtt.broker import Broker

from nucleus.authorization import MQTT_PROXY, Authorization
from nucleus.broker import BrokerAddress, MqttBroker, parse_broker_url
from nucleus.mqtt_message import MqttMessage
from nucleus.operations.mqtt import MqttProxy, PublishError
from nucleus.personality import CLASSIC
from tests.nucleus.recording import open_stream

PATIENCE_S = 20.0


def play(scene: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        async with asyncio.timeout(2 * PATIENCE_S):
            await scene()

    asyncio.run(run())


async def until(condition: Callable[[], bool]) -> None:
    """Returns when a condition holds."""
    async with asyncio.timeout(PATIENCE_S):
        while not condition():  # noqa: ASYNC110  (lists have no event to wait for)
            await asyncio.sleep(0.001)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


@asynccontextmanager
async def real_broker(port: int) -> AsyncIterator[None]:
    """A broker of MQTT 3.1.1 that forgets everything at the end."""
    listener = {"type": "tcp", "bind": f"127.0.0.1:{port}"}
    plugins = {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}}
    broker = Broker({"listeners": {"default": listener}, "plugins": plugins})
    await broker.start()
    try:
        yield
    finally:
        await broker.shutdown()


class EchoBroker:
    """Speaks MQTT 5: takes everyone and every subscription, and sends what is published back.

    Source: MQTT 5.0, section 3.
    """

    def __init__(self, *, refuses_with: int = 0, acknowledges: bool = True) -> None:
        self.connects: list[bytes] = []
        self.filters: list[str] = []
        self.published: list[bytes] = []
        self._refuses_with = refuses_with
        self._acknowledges = acknowledges
        self._writers: list[asyncio.StreamWriter] = []

    @asynccontextmanager
    async def serve(self, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
        """Gives the port."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=tls)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            self.hang_up()
            await server.wait_closed()

    def hang_up(self) -> None:
        """Drops every connection."""
        for writer in self._writers:
            writer.close()
        self._writers.clear()

    def send(self, packet: bytes) -> None:
        """To every client."""
        for writer in self._writers:
            writer.write(packet)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        try:
            while True:
                (first,) = await reader.readexactly(1)
                body = await reader.readexactly(await self._length(reader))
                writer.write(self._answer(first, body))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    @staticmethod
    async def _length(reader: asyncio.StreamReader) -> int:
        length = shift = 0
        while True:
            (byte,) = await reader.readexactly(1)
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return length

    def _answer(self, first: int, body: bytes) -> bytes:
        kind = first >> 4
        if kind == 1:  # CONNECT
            self.connects.append(body)
            return bytes((0x20, 3, 0, self._refuses_with, 0))
        if kind == 8:  # SUBSCRIBE
            (length,) = struct.unpack_from("!H", body, 3)
            self.filters.append(body[5 : 5 + length].decode())
            return bytes((0x90, 4)) + body[:2] + bytes((0, 1))
        if kind == 10:  # UNSUBSCRIBE
            (length,) = struct.unpack_from("!H", body, 3)
            self.filters.remove(body[5 : 5 + length].decode())
            return bytes((0xB0, 4)) + body[:2] + bytes((0, 0))
        if kind == 12:  # PINGREQ
            return bytes((0xD0, 0))
        if kind != 3:
            return b""
        self.published.append(body)
        if not self._acknowledges:
            return b""
        assert len(body) < 128
        echo = bytes((first, len(body))) + body
        if first & 0x06:  # not QoS 0
            (length,) = struct.unpack_from("!H", body)
            echo += bytes((0x40, 2)) + body[2 + length : 4 + length]
        return echo


@asynccontextmanager
async def connected(
    port: int, scheme: str = "mqtt", **options: Any
) -> AsyncIterator[tuple[MqttBroker, list[MqttMessage]]]:
    """A connection, and what it receives."""
    received: list[MqttMessage] = []
    broker = MqttBroker(f"{scheme}://127.0.0.1:{port}", received.append, **options)
    try:
        yield broker, received
    finally:
        await broker.close()


def message(topic: str, payload: bytes = b"x", qos: int = 1) -> MqttMessage:
    return MqttMessage(topic=topic, payload=payload, qos=qos)


# --- a real broker --------------------------------------------------------------------------------


def test_messages_go_to_a_real_broker_and_come_back() -> None:
    """What was published and subscribed to before it was reached as well."""
    port = free_port()

    async def scene() -> None:
        async with real_broker(port), connected(port) as (broker, received):
            broker.subscribe("a/#")
            broker.publish(message("a/early"))
            await broker.connected(PATIENCE_S)
            broker.publish(message("a/late", b"\x00\xff"))
            broker.publish(message("b"))
            broker.publish(message("a/end", qos=0))
            await until(lambda: len(received) == 3)
            assert sorted((it.topic, it.payload) for it in received) == [
                ("a/early", b"x"),
                ("a/end", b"x"),
                ("a/late", b"\x00\xff"),
            ]
            await until(lambda: broker.pending_bytes == 0)

    play(scene)


def test_a_broker_of_mqtt_3_is_spoken_to_in_its_own_tongue(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """With a warning, for not all of a message gets through."""
    port = free_port()

    async def scene() -> None:
        async with real_broker(port), connected(port) as (broker, received):
            broker.subscribe("a")
            await broker.connected(PATIENCE_S)
            broker.publish(
                MqttMessage(topic="a", payload=b"x", qos=1, user_properties=(("k", "v"),))
            )
            await until(lambda: bool(received))
            assert received == [message("a")]

    with caplog.at_level(logging.INFO, logger="nucleus"):
        play(scene)
    place = f"broker 127.0.0.1:{port}"
    assert [it.message for it in caplog.records if it.name == "nucleus.broker"] == [
        f"{place}: no MQTT 5; user properties and their like are lost",
        f"{place}: connected",
    ]


def test_components_hear_each_other_through_a_real_broker_once() -> None:
    """With the proxy before it, and filters that overlap."""
    port = free_port()

    async def scene() -> None:
        authorization = Authorization(CLASSIC)
        policy = {"operations": ["*"], "resources": ["*"]}
        authorization.load("A", {MQTT_PROXY: {"1": policy}})
        proxy = MqttProxy(authorization, CLASSIC)
        operations = proxy.operations()
        async with real_broker(port):
            broker = MqttBroker(f"mqtt://127.0.0.1:{port}", proxy.receive)
            try:
                proxy.attach(broker)
                streams = [
                    open_stream(operations, "SubscribeToIoTCore", topicName=it, qos="1")
                    for it in ("a/b", "a/+", "a/#")
                ]
                await broker.connected(PATIENCE_S)
                for i in range(3):
                    proxy.publish(message("a/b", str(i).encode()), "A")
                proxy.publish(message("a"), "A")
                await until(lambda: len(streams[2].events) == 4)
                assert [len(stream.events) for stream in streams] == [3, 3, 4]
            finally:
                await broker.close()

    play(scene)


def test_messages_wait_for_a_broker_that_is_away() -> None:
    """Those of QoS 1; subscriptions are made again, and nothing is left waiting."""
    port = free_port()

    async def scene() -> None:
        async with connected(port) as (broker, received):
            async with real_broker(port):
                broker.subscribe("a")
                await broker.connected(PATIENCE_S)
            await until(lambda: not broker.is_connected)
            broker.publish(message("a", b"dropped", qos=0))
            for i in range(3):
                broker.publish(message("a", str(i).encode()))
            assert broker.pending_bytes == 6
            async with real_broker(port):
                await until(lambda: len(received) == 3)
                assert {it.payload for it in received} == {b"0", b"1", b"2"}
                await until(lambda: broker.pending_bytes == 0)
                # The real broker hangs if it is stopped while it awaits an acknowledgement.
                await broker.close()

    play(scene)


# --- MQTT 5 ---------------------------------------------------------------------------------------


def test_all_of_a_message_gets_through_mqtt_5() -> None:
    """Out and back in."""
    full = MqttMessage(
        topic="a",
        payload=b"\x00\xff",
        qos=1,
        retain=True,
        user_properties=(("k", "1"), ("k", "2")),
        expiry_s=60,
        correlation_data=b"\x01",
        response_topic="r",
        is_utf8=True,
        content_type="text/plain",
    )

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port, connected(port) as (broker, received):
            await broker.connected(PATIENCE_S)
            for it in (full, message("a", b"", qos=0)):
                broker.publish(it)
            await until(lambda: len(received) == 2)
            assert received == [full, message("a", b"", qos=0)]
            await until(lambda: broker.pending_bytes == 0)

    play(scene)


def test_a_topic_that_is_no_text_costs_one_message(caplog: pytest.LogCaptureFixture) -> None:
    """It is dropped, and what follows comes in."""

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port, connected(port) as (broker, received):
            await broker.connected(PATIENCE_S)
            echo.send(b"\x30\x05\0\2\xff\xff\0")
            broker.publish(message("a"))
            await until(lambda: received == [message("a")])

    play(scene)
    (text,) = [it.message for it in caplog.records if it.name == "nucleus.broker"]
    assert text.endswith(": got a topic that is no UTF-8; message dropped")


def test_subscriptions_follow_the_connection() -> None:
    """Made again after it was lost, unless they have ended meanwhile."""

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port, connected(port) as (broker, _):
            broker.subscribe("a")
            broker.subscribe("b")
            await until(lambda: echo.filters == ["a", "b"])
            broker.subscribe("c")
            broker.unsubscribe("a")
            await until(lambda: echo.filters == ["b", "c"])
            echo.filters.clear()
            echo.hang_up()
            await until(lambda: not broker.is_connected)
            broker.unsubscribe("b")
            broker.subscribe("d")
            await until(lambda: echo.filters == ["c", "d"])

    play(scene)


def test_user_and_password_are_told_to_the_broker() -> None:
    """As they are in the URL, unescaped; with the name of the device."""

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port:
            url = f"mqtt://us%40er:p%2Fw@127.0.0.1:{port}"
            broker = MqttBroker(url, list[MqttMessage]().append, client_id="Thing")
            try:
                await broker.connected(PATIENCE_S)
            finally:
                await broker.close()
        (connect,) = echo.connects
        assert connect.endswith(b"\0\5Thing\0\5us@er\0\3p/w")

    play(scene)


def test_a_refusal_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """And waiting for the connection ends some time."""

    async def scene() -> None:
        echo = EchoBroker(refuses_with=0x86)
        async with echo.serve() as port, connected(port) as (broker, _):
            await until(lambda: len(echo.connects) == 2)
            with pytest.raises(TimeoutError):
                await broker.connected(0.01)
            assert not broker.is_connected

    play(scene)
    (text,) = [it.message for it in caplog.records if it.name == "nucleus.broker"]
    assert text.endswith(": refused with Bad user name or password; trying again and again")


def test_a_broker_out_of_reach_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """The device starts nonetheless."""
    port = free_port()

    async def scene() -> None:
        async with connected(port):
            await until(lambda: bool(caplog.messages))

    play(scene)
    text = f"broker 127.0.0.1:{port}: out of reach; trying again and again"
    assert caplog.messages == [text]


def test_the_spool_is_bounded() -> None:
    """Messages of QoS 0 are not kept in it while the broker is away."""
    port = free_port()

    async def scene() -> None:
        async with connected(port, spool_bytes=10) as (broker, _):
            broker.publish(message("a", b"12345"))
            broker.publish(message("a", b"1234567890", qos=0))
            assert broker.pending_bytes == 6
            with pytest.raises(PublishError) as caught:
                broker.publish(message("a", b"1234"))
            text = "Message spool is full. Message could not be added."
            assert str(caught.value) == text
            broker.publish(message("a", b"123"))
            assert broker.pending_bytes == 10

    play(scene)


def test_the_spool_counts_what_the_broker_has_not_acknowledged() -> None:
    """Also while it is connected; what is lost with the connection is sent again."""

    async def scene() -> None:
        echo = EchoBroker(acknowledges=False)
        async with echo.serve() as port, connected(port, spool_bytes=10) as (broker, _):
            await broker.connected(PATIENCE_S)
            broker.publish(message("a", b"123456789"))
            await until(lambda: len(echo.published) == 1)
            with pytest.raises(PublishError):
                broker.publish(message("a", qos=0))
            echo.hang_up()
            await until(lambda: len(echo.published) == 2)
            assert broker.pending_bytes == 10

    play(scene)


def test_many_small_messages_are_handed_over_bit_by_bit() -> None:
    """In order."""
    n = 500

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port, connected(port) as (broker, received):
            for i in range(n):
                broker.publish(message("a", str(i).encode()))
            await until(lambda: len(received) == n)
            assert [int(it.payload) for it in received] == list(range(n))
            await until(lambda: broker.pending_bytes == 0)

    play(scene)


def test_a_closed_connection_takes_nothing() -> None:
    """Closing it twice is no harm, and nothing comes in any more."""

    async def scene() -> None:
        echo = EchoBroker()
        async with echo.serve() as port, connected(port) as (broker, received):
            await broker.connected(PATIENCE_S)
            await broker.close()
            await broker.close()
            assert not broker.is_connected
            with pytest.raises(PublishError) as caught:
                broker.publish(message("a"))
            assert str(caught.value) == "The connection to the broker is closed"
            assert received == []

    play(scene)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="makes a certificate with openssl")
def test_tls_is_spoken_where_the_url_says_so(tmp_path: Path) -> None:
    """With the certificates that were given."""
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1")
    make = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    files = ("-nodes", "-days", "2", "-keyout", key, "-out", certificate)
    subprocess.run([*make, *files, *subject], check=True, capture_output=True)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)

    async def scene() -> None:
        echo = EchoBroker()
        tls = ssl.create_default_context(cafile=certificate)
        async with (
            echo.serve(server) as port,
            connected(port, "mqtts", tls=tls) as (broker, received),
        ):
            await broker.connected(PATIENCE_S)
            broker.publish(message("a"))
            await until(lambda: received == [message("a")])

    play(scene)


# --- URLs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("mqtt://host", BrokerAddress("host", 1883, is_tls=False)),
        ("mqtts://host/", BrokerAddress("host", 8883, is_tls=True)),
        ("mqtt://[::1]:9", BrokerAddress("::1", 9, is_tls=False)),
        ("mqtt://u@host", BrokerAddress("host", 1883, is_tls=False, user="u")),
        (
            "mqtt://u:p%40@host:7",
            BrokerAddress("host", 7, is_tls=False, user="u", password="p@"),
        ),
    ],
)
def test_a_url_gives_an_address(url: str, address: BrokerAddress) -> None:
    """With the port that is usual where none is told."""
    assert parse_broker_url(url) == address


EXPECTED = "expected mqtt:// or mqtts://[USER[:PASSWORD]@]HOST[:PORT]"


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http://u:secret@host", f"broker: got http://host, {EXPECTED}"),
        ("host:1883", f"broker: got host://, {EXPECTED}"),
        ("mqtt://", f"broker: got mqtt://, {EXPECTED}"),
        (f"mqtt://u:secret@{'x' * 64}", f"broker: got a URL that is none, {EXPECTED}"),
        ("mqtt://u:secret@host:port", f"broker: got a URL that is none, {EXPECTED}"),
        ("mqtt://u:secret@host/topic", f"broker: got a path after host, {EXPECTED}"),
        ("mqtt://u:secret@host?x", f"broker: got a path after host, {EXPECTED}"),
    ],
)
def test_another_url_is_refused(url: str, text: str) -> None:
    """And its password is not told."""
    with pytest.raises(ValueError) as caught:
        parse_broker_url(url)
    assert str(caught.value) == text


def test_a_password_is_not_shown() -> None:
    """Where an address gets into a log."""
    assert "secret" not in repr(parse_broker_url("mqtt://u:secret@host"))
