"""A stream that keeps what is sent, to call operations without a socket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from nucleus.operation import Caller, IpcError, Operations

A = Caller("A", 1)
B = Caller("B", 2)


@dataclass(eq=False, slots=True)
class RecordingStream:
    """Keeps the events; `close` ends it as a component would."""

    events: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    _callbacks: list[Callable[[], None]] = field(default_factory=list)

    def send(self, event_type: str, event: Mapping[str, Any]) -> None:
        self.events.append((event_type, event))

    def on_close(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def close(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def call(operations: Operations, name: str, caller: Caller = A, **request: Any) -> dict[str, Any]:
    """The response of an operation that uses no stream."""
    return operations[name].run(caller, request, RecordingStream())


def open_stream(
    operations: Operations, name: str, caller: Caller = A, **request: Any
) -> RecordingStream:
    """The stream of a subscription that was taken."""
    stream = RecordingStream()
    assert operations[name].is_subscription
    assert operations[name].run(caller, request, stream) == {}
    return stream


def refused(
    operations: Operations, name: str, caller: Caller = A, **request: Any
) -> tuple[str, str]:
    """Code and text of a refusal."""
    with pytest.raises(IpcError) as caught:
        operations[name].run(caller, request, RecordingStream())
    return caught.value.code, caught.value.message
