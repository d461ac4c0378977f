"""What an IPC operation is: the contract between the server and the families of operations.

Everything runs on the one event loop of the server, so an operation is a plain function that must
not block.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]


class Stream(Protocol):
    """The open stream of a subscription."""

    def send(self, event_type: str, event: Mapping[str, Any]) -> None:
        """Sends one event, in order; nothing where the stream has ended.

        Args:
            event_type: the shape's short name, such as `SubscriptionResponseMessage`.
            event: its JSON.
        """

    def on_close(self, callback: Callable[[], None]) -> None:
        """Calls back once, when the stream or its connection has ended, whoever ended it."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        component: the name of the component whose token opened the connection.
        connection: a number, unique while the device runs: one component may connect twice.
    """

    component: str
    connection: int


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation that the device has.

    Attributes:
        run: takes the caller, the request's JSON object, and the stream; gives the first response.
            It raises `IpcError` for what the caller did wrong.
        is_subscription: whether the stream stays open after the first response. Only then may
            the stream be used, and events that are sent before `run` returns go out after the
            response.
    """

    run: Callable[[Caller, Json, Stream], Json]
    is_subscription: bool = False


Operations = Mapping[str, Operation]
"""By short name, such as `PublishToTopic`."""


@dataclass(slots=True)
class IpcError(Exception):
    """An answer of the modelled kind, such as `UnauthorizedError`.

    Attributes:
        code: the shape's short name.
        message: for people.
        fields: what else the shape carries, such as `resourceName`.
    """

    code: str
    message: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"
