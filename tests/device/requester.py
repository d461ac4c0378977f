"""A requester by hand: any bytes out, any reply in."""

import json
from queue import SimpleQueue
from typing import Any

from interface.greengrass import CoreDevice

REQUESTS, RESULTS = "edgexgb/requests", "edgexgb/results"


class Requester:
    """Publishes anything to the request topic, and hears what is said at the result topic."""

    def __init__(self, bus: CoreDevice) -> None:
        """Hears from now on; does not close the connection."""
        self.bus = bus
        self._replies: SimpleQueue[tuple[str, dict[str, Any]]] = SimpleQueue()
        for topic in (RESULTS, f"{RESULTS}/mine"):
            bus.watch(topic, self._take, lambda _error: None)

    def _take(self, topic: str, payload: bytes) -> None:
        self._replies.put((topic, json.loads(payload)))

    def ask(self, event: object) -> dict[str, Any]:
        """The reply to an event."""
        return self.send(json.dumps(event).encode())[1]

    def send(self, payload: bytes) -> tuple[str, dict[str, Any]]:
        """Topic and content of the reply to any bytes."""
        self.bus.publish(REQUESTS, payload).result(30.0)
        return self.next()

    def next(self) -> tuple[str, dict[str, Any]]:
        """Topic and content of the next reply."""
        return self._replies.get(timeout=30.0)
