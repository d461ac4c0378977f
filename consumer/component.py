"""The sample component: settings from its configuration, a job, and how it all ends.

Exit codes: 0 when the job is done, or the nucleus says stop; 1 when the connection does not come
back, the token is refused, or the settings cannot be used. With a 1 the nucleus starts a new
process, and that gets a new token.
"""

import asyncio
import logging
import random
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from consumer.client import InferenceClient
from consumer.connection import run_in_thread
from consumer.job import RETRY_PAUSES_S, Job
from consumer.settings import Settings, SettingsError, parse_settings, unknown_settings
from interface.errors import TokenRefusedError, TransportError
from interface.logs import configure_logging
from interface.memory import return_memory
from interface.pubsub import PubSub, Subscription

STOPPED = 128 + signal.SIGTERM
"""The exit code of a component that was told to stop: never 0, which is for a job that is done.

A nucleus that stops it does not look at the code. But should somebody else have sent the signal, 0
would leave the component FINISHED, and never started again.

Source: aws-greengrass-nucleus 2.18, lifecyclemanager/GenericExternalService.java.
"""

_log = logging.getLogger(__name__)


class Device(PubSub, Protocol):
    """A connection to the core device, as `interface.greengrass` makes it."""

    def get_configuration(self) -> Mapping[str, Any]:
        """The component's configuration.

        Raises:
            TransportError: the device did not give it.
        """

    def follow_configuration(self, changed: Callable[[], None]) -> Subscription:
        """Has `changed` called whenever the configuration has changed.

        Raises:
            TransportError: the device refused.
        """


class _ChangedError(Exception):
    """The settings are others now; the job begins anew with them."""


class Line:
    """The component's one connection: the client's own, and where the configuration comes from."""

    def __init__(self, connect: Callable[[], Device], changed: Callable[[], None]) -> None:
        self._connect = connect
        self._changed = changed
        self._device: Device | None = None
        self._unused: Device | None = None

    def open(self) -> Mapping[str, Any]:
        """Makes a connection, kept for the first `connect`; gives the configuration; may block.

        Raises:
            TransportError: there is no connection, or no configuration.
        """
        device = self._make()
        try:
            configuration = device.get_configuration()
        except BaseException:
            device.close()
            raise
        self._unused = device
        return configuration

    def connect(self) -> PubSub:
        """The connection that is there, for the first time, then new ones; may block.

        Raises:
            TransportError: there is none to be had.
        """
        device, self._unused = self._unused, None
        if device is None:
            device = self._make()
            self._changed()  # perhaps, while nobody was listening
        return device

    def configuration(self) -> Mapping[str, Any]:
        """The configuration as it is now; may block.

        Raises:
            TransportError: the device did not give it.
        """
        assert self._device is not None
        return self._device.get_configuration()

    def close(self) -> None:
        """Ends the connection, whoever used it; may block for a moment."""
        if self._device is not None:
            self._device.close()

    def _make(self) -> Device:
        device = self._connect()
        try:
            device.follow_configuration(self._changed)
        except BaseException:
            device.close()
            raise
        self._device = device
        return device


async def run(connect: Callable[[], Device]) -> int:
    """Works until the job is done; gives the exit code.

    Args:
        connect: makes a connection to the core device; may block, and runs on other threads.
    """
    while True:
        try:
            await _work(connect)
        except _ChangedError:
            _log.info("configuration changed")
        except (TransportError, TimeoutError, SettingsError, OSError) as error:
            _log.error("stopping", extra={"error": str(error), "kind": type(error).__name__})
            return 1
        else:
            return 0


async def _work(connect: Callable[[], Device]) -> None:
    """Works with one set of settings.

    Raises:
        _ChangedError: there is another one.
        OSError: a folder cannot be read.
        SettingsError: the first settings cannot be used.
        TransportError: the connection stayed away.
    """
    loop, changed = asyncio.get_running_loop(), asyncio.Event()
    line = Line(connect, lambda: _call(loop, changed.set))
    try:
        configuration = await _open(line)
        settings = parse_settings(configuration)
        logging.getLogger().setLevel(settings.log_level)
        if unknown := unknown_settings(configuration):
            _log.warning("unknown settings", extra={"names": unknown})

        async def pause() -> None:
            await _pause(settings, line, changed)

        with InferenceClient(
            line.connect,
            request_topic=settings.request_topic,
            result_topic=settings.result_topic,
            max_message_bytes=settings.max_message_bytes,
            max_in_flight=settings.max_in_flight,
        ) as client:
            job = Job(client, settings, pause)
            _log.info("started", extra={"source": settings.source, "topic": settings.request_topic})
            await job.run()
            _log.info("done", extra={"requests": job.requests, "failed": job.failed})
    finally:
        line.close()


def _call(loop: asyncio.AbstractEventLoop, function: Callable[[], None]) -> None:
    """Calls a function on the loop, from any thread, unless all is over."""
    try:
        loop.call_soon_threadsafe(function)
    except RuntimeError:
        _log.debug("told after the end")


async def _open(line: Line) -> Mapping[str, Any]:
    """The configuration, after some attempts to connect if need be.

    Raises:
        TransportError: the last attempt's error.
    """
    for pause_s in RETRY_PAUSES_S:
        try:
            return await run_in_thread(line.open)
        except TokenRefusedError:
            raise
        except TransportError as error:
            _log.warning("not connected, trying again", extra={"error": str(error)})
            await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  (spreads)
    return await run_in_thread(line.open)


async def _pause(settings: Settings, line: Line, changed: asyncio.Event) -> None:
    """Waits for the interval.

    Raises:
        _ChangedError: there are other settings now, and they can be used.
    """
    try:
        async with asyncio.timeout(settings.interval_s):
            await changed.wait()
    except TimeoutError:
        return
    changed.clear()
    try:
        others = parse_settings(await run_in_thread(line.configuration))
    except (SettingsError, TransportError) as error:
        _log.error("changed settings not used", extra={"error": str(error)})
        return
    if others != settings:
        raise _ChangedError


async def _until_signal(work: Awaitable[int]) -> int:
    """What the work gives; `STOPPED` where a signal ends it before."""
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        _log.info("stopped")
        return STOPPED


def main(connect: Callable[[], Device]) -> int:
    """Runs the component; gives the exit code."""
    return_memory()
    configure_logging("INFO")
    logging.getLogger("awsiot").setLevel(logging.WARNING)  # it has a line for each connection
    return asyncio.run(_until_signal(run(connect)))
