"""A stream tells of its end once, and only of one that nobody here asked for."""

import threading
from concurrent.futures import Future
from typing import Any

import pytest

from interface.courier import Courier
from interface.errors import ConnectionLostError, OperationRefusedError, TransportError
from interface.stream import Stream
from tests.interface.conftest import Recorder, wait_until


class Operation:
    """As the SDK's: what a stream needs of it."""

    def __init__(self) -> None:
        self.response: Future[Any] = Future()
        self.n_closed = 0

    def get_response(self) -> "Future[Any]":
        return self.response

    def close(self) -> None:
        self.n_closed += 1


def explain(error: Exception) -> TransportError | None:
    return OperationRefusedError(str(error)) if str(error) else None


def opened(recorder: Recorder, courier: Courier | None = None) -> tuple[Stream, Operation]:
    stream, operation = (
        Stream("place", recorder.deliver, recorder.lost, explain, courier),
        Operation(),
    )
    stream.attach(operation)
    operation.response.set_result({})
    return stream, operation


def test_end_of_an_open_stream_is_told_once() -> None:
    """However often it is said."""
    recorder = Recorder()
    stream, _ = opened(recorder)
    stream.on_stream_closed()
    stream.on_stream_closed()
    [error] = recorder.errors
    text = "place: got its end, expected it to stay open"
    assert (type(error), str(error)) == (ConnectionLostError, text)


def test_error_before_the_end_is_what_is_told() -> None:
    """It is the reason; one that concerns an event alone is none."""
    recorder = Recorder()
    stream, _ = opened(recorder)
    assert not stream.on_stream_error(ValueError(""))
    assert recorder.errors == []
    assert stream.on_stream_error(ValueError("over"))
    stream.on_stream_closed()
    [error] = recorder.errors
    assert (type(error), str(error)) == (OperationRefusedError, "over")


def test_end_of_a_stream_that_was_refused_is_not_told() -> None:
    """Whoever wanted to open it has the error already."""
    recorder, operation = Recorder(), Operation()
    stream = Stream("place", recorder.deliver, recorder.lost, explain)
    stream.attach(operation)
    operation.response.set_exception(ValueError("refused"))
    stream.on_stream_closed()
    assert recorder.errors == []


def test_closed_stream_neither_delivers_nor_tells() -> None:
    """The SDK may still have something under way."""
    recorder = Recorder()
    stream, operation = opened(recorder)
    stream.on_stream_event(b"1")
    stream.close()
    stream.on_stream_event(b"2")
    stream.on_stream_closed()
    assert (recorder.payloads, recorder.errors) == ([b"1"], [])
    assert operation.n_closed == 1


def test_stream_that_never_began_closes() -> None:
    """There is no operation where it could not be sent."""
    recorder = Recorder()
    Stream("place", recorder.deliver, recorder.lost, explain).close()
    assert recorder.errors == []


def test_event_that_is_not_taken_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """And the stream goes on."""
    recorder, taken = Recorder(), []

    def take(event: int) -> None:
        taken.append(1 // event)

    stream = Stream("place", take, recorder.lost, explain)
    stream.attach(Operation())
    stream.on_stream_event(0)
    stream.on_stream_event(1)
    assert taken == [1]
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("by_us", [True, False])
def test_courier_ends_with_the_stream(by_us: bool) -> None:
    """Whoever ended it."""
    stream, _ = opened(Recorder(), Courier("of the stream"))
    if by_us:
        stream.close()
    else:
        stream.on_stream_closed()
    wait_until(lambda: "of the stream" not in {it.name for it in threading.enumerate()})
