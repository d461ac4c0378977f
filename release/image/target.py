"""The component on a core device's bus, as the gate asks it."""

import contextlib
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from interface.envelope import REQUEST_TOPIC, RESULT_TOPIC
from interface.errors import TransportError
from release.errors import CommandError
from release.targets import Reply

if TYPE_CHECKING:
    from interface.greengrass import CoreDevice

_ANSWER_S = 60.0


class BusTarget:
    """The bytes of an event as a message on the request topic, and the next reply to it.

    Events without an `id` are answered at the result topic, one after the other.
    """

    takes_any_bytes = True

    def __init__(self, name: str, device: "CoreDevice", ready_ms: Callable[[], float]) -> None:
        """Hears replies from now on; does not close the connection.

        Args:
            name: see `Target`.
            device: a connection that may publish requests and hear results.
            ready_ms: what the component took to be RUNNING.
        """
        self.name = name
        self._device = device
        self._ready_ms = ready_ms
        self._heard: SimpleQueue[bytes | TransportError] = SimpleQueue()
        device.subscribe(RESULT_TOPIC, self._heard.put, self._heard.put)

    def invoke(self, event: bytes) -> Reply:
        """See `Target.invoke`."""
        with contextlib.suppress(Empty):
            while True:  # what came too late for the event before
                self._heard.get_nowait()
        start = time.perf_counter()
        try:
            self._device.publish(REQUEST_TOPIC, event).result(_ANSWER_S)
            heard = self._heard.get(timeout=_ANSWER_S)
        except (Empty, TimeoutError) as error:
            observed = f"no reply in {_ANSWER_S:g} s"
            raise CommandError(f"{self.name}: got {observed}, expected one") from error
        except TransportError as error:
            raise CommandError(f"{self.name}: {error}") from error
        if isinstance(heard, TransportError):
            raise CommandError(f"{self.name}: {heard}") from heard
        return Reply(heard, time.perf_counter() - start)

    def cold_start_ms(self) -> float | None:
        """From the start of the recipe's script to RUNNING, the golden rows included."""
        return self._ready_ms()


def payload_limit(max_packet_bytes: int) -> int:
    """How long an event may be for a message of the bus to hold it."""
    from interface.greengrass import payload_limit as limit  # the SDK: a tenth of a second

    return limit(REQUEST_TOPIC, max_packet_bytes)
