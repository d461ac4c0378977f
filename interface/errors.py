"""What can go wrong between two components; each error has a stable `code`."""


class TransportError(Exception):
    """The bus did not do what was asked of it."""

    code = "transport"


class ConnectionLostError(TransportError):
    """The connection to the core device has gone, or could not be made."""

    code = "connection_lost"


class TokenRefusedError(TransportError):
    """The core device does not know this component's token; only a new start gets another."""

    code = "token_refused"


class TokenMissingError(TokenRefusedError):
    """The environment has no socket or no token: no nucleus started this process."""

    code = "token_missing"


class NotPermittedError(TransportError):
    """The component's `accessControl` does not allow this operation on this topic."""

    code = "not_permitted"


class MessageTooLargeError(TransportError):
    """A message is larger than the bus takes."""

    code = "message_too_large"


class TransportTimeoutError(TransportError):
    """The core device did not answer in time."""

    code = "transport_timeout"


class OperationRefusedError(TransportError):
    """The core device refused an operation for another reason, or does not have it."""

    code = "operation_refused"


class DeafError(TransportError):
    """A subscription is open, but what is published to its topic does not arrive."""

    code = "deaf"


class ServiceFailedError(TransportError):
    """What answers requests broke its contract; nobody can say what it would do next."""

    code = "service_failed"


class EnvelopeError(ValueError):
    """A message is not what docs/requests.md says.

    Attributes:
        place: where in the message.
        observed: what was found there.
        expected: what should have been.
    """

    def __init__(self, place: str, observed: str, expected: str) -> None:
        super().__init__(f"{place}: got {observed}, expected {expected}")
        self.place = place
        self.observed = observed
        self.expected = expected
