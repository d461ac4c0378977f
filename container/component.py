"""The component: a bundle behind the bus, from the first connection to the last reply.

It never stays RUNNING and deaf. What may pass, such as a connection lost or a subscription gone
deaf, is retried for seconds; what does not, and what no retry can heal, such as a token that the
core device does not know any more, ends in an exit that is not 0, so that the nucleus starts the
component anew. The nucleus itself restarts without delay, and gives up after three times: so the
retries are spent in here.

Source: aws-greengrass-nucleus 2.18, lifecyclemanager/Lifecycle.java.
"""

import contextlib
import logging
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from container.configuration import Configuration, parse_configuration
from container.handler import BundleHandler, make_handler
from container.health import Health, Interval
from container.service import BundleService
from container.settings import Settings, SettingsError
from interface.bridge import Bridge
from interface.errors import (
    NotPermittedError,
    OperationRefusedError,
    ServiceFailedError,
    TokenRefusedError,
    TransportError,
    TransportTimeoutError,
)
from interface.greengrass import CoreDevice
from interface.hearing import make_probe
from interface.logs import configure_logging
from model.bundle import Bundle

RETRY_FOR_S = 10.0
"""How long a lost connection is retried before the component gives up."""

_FINAL = (TokenRefusedError, NotPermittedError, ServiceFailedError, SettingsError)
"""What another attempt would not change."""

_RECHECK_MS = 1000
_FINISH_S = 4.0
"""For what is in flight when the component is told to stop.

A nucleus kills 5 s after SIGTERM. Source: aws-greengrass-nucleus 2.18,
util/platforms/unix/UnixPlatform.java.
"""

STOPPED = 128 + signal.SIGTERM
"""The exit code of a component that was told to stop: never 0.

A nucleus that stops it does not look at the code. But should somebody else have sent the signal, 0
would leave the component RUNNING without a process.

Source: aws-greengrass-nucleus 2.18, lifecyclemanager/GenericExternalService.java.
"""

_PROVE_S = 5.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Lost:
    session: object
    error: TransportError


@dataclass(frozen=True, slots=True)
class _Changed:
    pass


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Event = _Lost | _Changed | _Stop


class Component:
    """Serves a bundle over the bus until it is told to stop, or cannot."""

    def __init__(
        self, bundle: Bundle, settings: Settings, connect: Callable[[], CoreDevice]
    ) -> None:
        """Takes an open bundle; `connect` makes a new connection each time."""
        self._bundle = bundle
        self._settings = settings
        self._connect = connect
        self._health = Health(bundle)
        self._line = Interval()
        # Its `put` may be called from a signal handler, which may interrupt anything.
        self._events: SimpleQueue[_Event] = SimpleQueue()

    def stop(self) -> None:
        """Has `run` finish what is in flight and return; may be called from a signal handler."""
        self._events.put(_Stop())

    def run(self) -> int:
        """Serves; the exit code: `STOPPED` where it was told to stop, else 1."""
        end: float | None = None  # of the retries; None while all is well
        pause_s = 0.1
        while True:
            began = time.monotonic()
            try:
                with contextlib.closing(self._connect()) as device:
                    self._serve(device)
            except _FINAL as error:
                _log.error("giving up", extra=_fields(error))
                return 1
            except TransportError as error:
                self._health.note(error.code, str(error))
                now = time.monotonic()
                # A connection that has served for long enough is no part of the trouble before it.
                if end is None or now - began > RETRY_FOR_S:
                    end, pause_s = now + RETRY_FOR_S, 0.1
                if now > end:
                    _log.error("giving up", extra=_fields(error))
                    return 1
                _log.warning("trying again", extra=_fields(error))
            else:
                return STOPPED
            pause_s = min(2.0, pause_s * 2)
            if self._stopped_within(pause_s * random.uniform(0.5, 1.0)):  # noqa: S311
                return STOPPED

    def _stopped_within(self, seconds: float) -> bool:
        """Whether `stop` is called while we wait; other events are of a connection that is gone."""
        end = time.monotonic() + seconds
        with contextlib.suppress(Empty):
            while (left := end - time.monotonic()) > 0:
                if isinstance(self._events.get(timeout=left), _Stop):
                    return True
        return False

    def _serve(self, device: CoreDevice) -> None:
        """Serves on one connection until it is told to stop.

        Raises:
            TransportError: it can serve no longer.
            SettingsError: the configuration it started with is no good.
        """
        configuration = parse_configuration(device.get_configuration(), self._settings)
        configure_logging(configuration.serving.log_level)
        service = BundleService(self._handler(configuration), configuration.result_topic)

        def lost(error: TransportError) -> None:
            self._events.put(_Lost(device, error))

        bridge = Bridge(
            device,
            configuration.request_topic,
            service,
            configuration.limits,
            lost,
            vitals=self._health.vitals,
        )
        session = _Session(device, bridge, service, configuration)
        try:
            bridge.open()
            _prove_replies(device, configuration.result_topic)
            device.follow_configuration(lambda: self._events.put(_Changed()), lost)
            self._events.put(_Changed())  # perhaps, while nobody was listening
            try:
                device.follow_updates(session.ask, lost)
            except OperationRefusedError:  # nucleus lite asks nobody
                _log.info("updates cannot be deferred here")
            device.report_running()
            self._health.attach(bridge)
            topics = {
                "request_topic": configuration.request_topic,
                "result_topic": configuration.result_topic,
            }
            _log.info("running", extra=topics)
            self._follow(session)
        finally:
            self._health.detach()
            if not bridge.close(_FINISH_S):
                _log.warning("requests in flight were not answered")

    def _follow(self, session: "_Session") -> None:
        while True:
            match self._next(session.configuration.health_s):
                case _Stop():
                    _log.info("stopping", extra={"in_flight": session.bridge.pending})
                    return
                case _Lost(device, error) if device is session.device:
                    raise error
                case _Changed():
                    self._adopt(session)

    def _next(self, health_s: int) -> _Event | None:
        """What happens next; None where a line about the component's health came before."""
        try:
            return self._events.get(timeout=self._line.left_s(health_s))
        except Empty:
            self._line.restart()
            _log.info("health", extra=self._health.report())
            return None

    def _adopt(self, session: "_Session") -> None:
        """Puts a new configuration to use; keeps the current one where the new one is no good."""
        current = session.configuration
        try:
            wanted = parse_configuration(session.device.get_configuration(), self._settings)
            if wanted == current:
                return
            if wanted.result_topic != current.result_topic:
                _prove_replies(session.device, wanted.result_topic)
            if wanted.request_topic != current.request_topic:
                session.bridge.move(wanted.request_topic)
        except (SettingsError, NotPermittedError) as error:
            fields = _fields(error)
            _log.error("keeping the configuration", extra=fields)
            self._health.note(fields["code"], fields["error"])
            return
        configure_logging(wanted.serving.log_level)
        session.service.adopt(self._handler(wanted), wanted.result_topic)
        session.bridge.reconfigure(wanted.limits)
        session.configuration = wanted
        _log.info("configuration changed")

    def _handler(self, configuration: Configuration) -> BundleHandler:
        return make_handler(self._bundle, configuration.serving, self._health)


@dataclass(slots=True)
class _Session:
    """What serves on one connection."""

    device: CoreDevice
    bridge: Bridge
    service: BundleService
    configuration: Configuration
    _first_asked: tuple[str, float] = ("", 0.0)

    def ask(self, deployment_id: str) -> int:
        """In how many milliseconds the nucleus should ask again; 0 where it may update now.

        Requests in flight hold up an update, but not for ever.
        """
        now = time.monotonic()
        if self._first_asked[0] != deployment_id:
            self._first_asked = (deployment_id, now)
        waited_s = now - self._first_asked[1]
        pending = self.bridge.pending
        if pending == 0 or waited_s >= self.configuration.defer_update_s:
            return 0
        _log.info("update deferred", extra={"in_flight": pending})
        return _RECHECK_MS


def _prove_replies(device: CoreDevice, result_topic: str) -> None:
    """Publishes where requesters may want their replies: who may not would hear, and never answer.

    Raises:
        NotPermittedError: the policy allows neither the result topic nor those under it.
        TransportError: the connection is gone, or the bus refused or did not answer.
    """
    with contextlib.suppress(NotPermittedError):
        _publish_probe(device, f"{result_topic}/probe")  # nobody's; the other may have readers
        return
    _publish_probe(device, result_topic)


def _publish_probe(device: CoreDevice, topic: str) -> None:
    try:
        device.publish(topic, make_probe()).result(_PROVE_S)
    except TimeoutError as error:
        observed = f"no answer in {_PROVE_S:g} s, expected one"
        raise TransportTimeoutError(f"publish to {topic}: got {observed}") from error


def _fields(error: Exception) -> dict[str, str]:
    return {"code": getattr(error, "code", "settings"), "error": str(error)}
