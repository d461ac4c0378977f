"""A subscription that proves that it hears.

A bus may keep a subscription open and deliver nothing: nucleus lite does so after a restart of its
pub/sub daemon, and publishing still succeeds. So a listener publishes probes to its own topic, and
takes a probe that does not come back for the loss of the subscription. Any message proves as much
as a probe does, so none is sent where messages flow.

A probe is no message for anybody: listeners pass over those of others, too.

Source: aws-greengrass-lite 2.6, observed running.
"""

import contextlib
import logging
import re
import threading
import time
import uuid

from interface.errors import DeafError, NotPermittedError, TransportError
from interface.pubsub import Deliver, Lost, PubSub, Subscription

_PROBE = re.compile(rb'\{"probe":"[0-9a-f]{32}"\}')

_log = logging.getLogger(__name__)


def make_probe() -> bytes:
    """A probe, unlike any other; no listener takes it for a message."""
    return b'{"probe":"' + uuid.uuid4().hex.encode() + b'"}'


class Listener:
    """Hears a topic, and notices when it no longer does.

    `deliver` gets every message but probes. `lost` is told once, whether the subscription ended or
    turned deaf; the listener is closed then.
    """

    def __init__(  # noqa: PLR0913  (the keywords are for tests and settings)
        self,
        pubsub: PubSub,
        topic: str,
        deliver: Deliver,
        lost: Lost,
        *,
        probe_every_s: float = 5.0,
        probe_timeout_s: float = 5.0,
        must_prove: bool = True,
    ) -> None:
        """Subscribes, and proves once that the subscription hears.

        Args:
            pubsub: the connection; the listener does not close it.
            topic: a plain topic, without wildcards, to which probes may be published.
            deliver: see `PubSub.subscribe`.
            lost: see `PubSub.subscribe`.
            probe_every_s: of silence, after which the listener asks itself.
            probe_timeout_s: how long one probe may take; a second one is sent before giving up. On
                nucleus lite, one component that does not read stalls the bus for 5 s.
            must_prove: whether not being permitted to publish probes is an error; else the listener
                does without them.

        Raises:
            DeafError: the probes did not arrive.
            NotPermittedError: to subscribe, or to publish the probe.
            TransportError: anything else that subscribing or publishing may raise, or that ended
                the subscription meanwhile; `lost` is not told of it.
        """
        self.topic = topic
        self._pubsub = pubsub
        self._deliver = deliver
        self._lost = lost
        self._every_s = probe_every_s
        self._timeout_s = probe_timeout_s
        self._probe = make_probe()
        self._heard = threading.Event()
        self._closed = threading.Event()
        self._guard = threading.Lock()
        self._is_proving = True
        self._error: TransportError | None = None
        self._subscription: Subscription = pubsub.subscribe(topic, self._hear, self._end)
        may_probe = True
        try:
            self._prove()
        except NotPermittedError:
            may_probe = False
            if must_prove:
                self._stop()
                raise
            _log.warning("not permitted to probe", extra={"topic": topic})
        except BaseException:
            self._stop()
            raise
        with self._guard:
            self._is_proving = False
            error = self._error
        if error is not None:
            raise error
        if may_probe:
            threading.Thread(target=self._watch, name=f"probe {topic}", daemon=True).start()

    def close(self) -> None:
        """Ends the subscription; `lost` is not told any more."""
        self._stop()

    def _stop(self) -> bool:
        """Whether this call was the one that stopped it."""
        with self._guard:
            if self._closed.is_set():
                return False
            self._closed.set()
        self._subscription.close()
        return True

    def _hear(self, payload: bytes) -> None:
        self._heard.set()
        if not self._closed.is_set() and not _PROBE.fullmatch(payload):
            self._deliver(payload)

    def _end(self, error: TransportError) -> None:
        with self._guard:
            if self._closed.is_set():
                return
            self._closed.set()
            self._error = error
            is_proving = self._is_proving
        self._heard.set()  # wakes whoever waits for a probe
        if not is_proving:  # else the constructor raises it
            self._lost(error)

    def _prove(self) -> None:
        """Publishes probes until something arrives.

        Raises:
            DeafError: nothing did.
            TransportError: publishing failed, or the subscription ended.
        """
        for _ in range(2):
            self._heard.clear()
            if self._error is not None:
                raise self._error
            end = time.monotonic() + self._timeout_s
            with contextlib.suppress(TimeoutError):  # not taken is as good as not heard
                self._pubsub.publish(self.topic, self._probe).result(self._timeout_s)
            if self._heard.wait(max(0.0, end - time.monotonic())):
                return
        waited_s = 2 * self._timeout_s
        raise DeafError(f"{self.topic}: got no probe back in {waited_s:g} s, expected it at once")

    def _watch(self) -> None:
        while not self._closed.is_set():
            self._heard.clear()
            if self._closed.wait(self._every_s) or self._heard.is_set():
                continue
            try:
                self._prove()
            except TransportError as error:
                if self._stop():
                    self._lost(error)
