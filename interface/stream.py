"""A stream of events from the core device, as a subscription.

It follows the shape of the SDK's stream handlers, and imports nothing of the SDK.
"""

import logging
import threading
from collections.abc import Callable
from typing import Any

from interface.courier import Courier
from interface.errors import ConnectionLostError, TransportError
from interface.pubsub import Lost

_log = logging.getLogger(__name__)


class Stream:
    """Hands events on, and tells `lost` once of an end that nobody here asked for.

    The methods named `on_…` are called by the SDK, on the thread that reads the connection.

    Attributes:
        place: what is streamed, for error texts.
    """

    def __init__(
        self,
        place: str,
        take: Callable[[Any], None],
        lost: Lost,
        explain: Callable[[Exception], TransportError | None],
        courier: Courier | None = None,
    ) -> None:
        """Does nothing yet.

        Args:
            place: what is streamed, for error texts.
            take: what to do with an event.
            lost: what to do about the end.
            explain: what an error means; None where only one event cannot be read.
            courier: what is to be closed at the end.
        """
        self.place = place
        self._explain = explain
        self._take = take
        self._lost = lost
        self._courier = courier
        self._guard = threading.Lock()
        self._is_over = False
        self._error: TransportError | None = None
        self._operation: Any = None

    def attach(self, operation: Any) -> None:
        """Takes the SDK's operation, before it is activated."""
        self._operation = operation

    def close(self) -> None:
        """See `Subscription`."""
        self._end()
        if self._operation is not None:
            self._operation.close()

    def _end(self) -> bool:
        """Whether this call was the one that ended it."""
        with self._guard:
            if self._is_over:
                return False
            self._is_over = True
        if self._courier is not None:
            self._courier.close()
        return True

    def on_stream_event(self, event: Any) -> None:
        """Takes an event."""
        if self._is_over:
            return
        try:
            self._take(event)
        except Exception:  # the stream goes on for the events to come
            _log.exception("an event was not taken", extra={"place": self.place})

    def on_stream_error(self, error: Exception) -> bool:
        """Takes an error; whether the stream is to be closed."""
        self._error = self._explain(error)
        if self._error is None:
            _log.warning("an event that cannot be read", extra={"place": self.place})
        return self._error is not None

    def on_stream_closed(self) -> None:
        """Takes the end, whoever asked for it."""
        # A stream that was refused never began: whoever wanted to open it has the error.
        was_open = self._operation.get_response().exception() is None
        if self._end() and was_open:
            observed = "its end, expected it to stay open"
            self._lost(self._error or ConnectionLostError(f"{self.place}: got {observed}"))
