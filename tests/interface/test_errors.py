"""The trees of errors."""

import pytest

from interface import errors
from interface.errors import EnvelopeError, TokenRefusedError, TransportError

CODES = {
    "TransportError": "transport",
    "ConnectionLostError": "connection_lost",
    "TokenRefusedError": "token_refused",
    "TokenMissingError": "token_missing",
    "NotPermittedError": "not_permitted",
    "MessageTooLargeError": "message_too_large",
    "TransportTimeoutError": "transport_timeout",
    "OperationRefusedError": "operation_refused",
    "DeafError": "deaf",
    "ServiceFailedError": "service_failed",
}


def test_every_transport_error_has_its_own_stable_code() -> None:
    """Logs and their readers rely on them."""
    found = {
        name: it.code
        for name, it in vars(errors).items()
        if isinstance(it, type) and issubclass(it, TransportError)
    }
    assert found == CODES
    assert len(set(CODES.values())) == len(CODES)


@pytest.mark.parametrize("name", [name for name in CODES if name != "TransportError"])
def test_errors_do_not_catch_each_other(name: str) -> None:
    """Each is a kind of its own; a token that is missing is as final as one that is refused."""
    parent = TokenRefusedError if name == "TokenMissingError" else TransportError
    assert getattr(errors, name).__bases__ == (parent,)


def test_envelope_error_keeps_its_parts() -> None:
    """They are put into replies one by one."""
    error = EnvelopeError("here", "this", "that")
    assert (error.place, error.observed, error.expected) == ("here", "this", "that")
    assert str(error) == "here: got this, expected that"
    assert isinstance(error, ValueError)
