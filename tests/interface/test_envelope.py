"""Requests and replies as bytes, and where replies may go."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interface.envelope import (
    MAX_TOPIC_BYTES,
    Reply,
    Request,
    check_reply_topic,
    encode_json,
    encode_request,
    parse_reply,
)
from interface.errors import EnvelopeError

RESULTS = "edge/results"

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # json refuses nothing else; lone surrogates have no UTF-8
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=10,
)
objects = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"])), json_values, max_size=4
)
ids = st.integers() | st.text(st.characters(exclude_categories=["Cs"]))


# --- requests -------------------------------------------------------------------------------------


def test_request_carries_its_envelope_beside_the_event() -> None:
    """Compact, and text as it is."""
    event = {"records": [{"é": 1.5}], "topK": 2}
    payload = encode_request(Request(id=7, event=event, reply_to="r/1", deadline_ms=99))
    assert payload == (
        '{"records":[{"é":1.5}],"topK":2,"id":7,"replyTo":"r/1","deadlineMs":99}'.encode()
    )


def test_request_without_options_has_none() -> None:
    """A null would be another thing."""
    assert encode_request(Request(id="a", event={})) == b'{"id":"a"}'


def test_field_of_the_event_does_not_replace_one_of_the_envelope() -> None:
    """The reply would go to nobody."""
    event = {"id": 1, "replyTo": "elsewhere", "deadlineMs": 1}
    payload = encode_request(Request(id=7, event=event, reply_to="r", deadline_ms=2))
    assert json.loads(payload) == {"id": 7, "replyTo": "r", "deadlineMs": 2}


@given(ids, objects)
def test_any_event_comes_back_from_its_bytes(identity: str | int, event: dict[str, Any]) -> None:
    """The envelope changes nothing in it."""
    payload = encode_request(Request(id=identity, event=event))
    assert json.loads(payload) == {**event, "id": identity}


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (math.nan, "Out of range float values are not JSON compliant"),
        (math.inf, "Out of range float values are not JSON compliant"),
        ({1, 2}, "Object of type set is not JSON serializable"),
        ("\ud800", "surrogates not allowed"),
    ],
)
def test_value_that_is_not_json_is_refused(value: object, text: str) -> None:
    """Before it is on the bus."""
    with pytest.raises(EnvelopeError) as raised:
        encode_json({"x": value}, "place")
    error = raised.value
    assert (error.place, error.expected) == ("place", "JSON")
    assert error.observed.startswith("a value that is not JSON (")
    assert text in error.observed
    assert str(error) == f"place: got {error.observed}, expected JSON"


def test_value_without_an_end_is_refused() -> None:
    """As any other that is not JSON."""
    value: list[Any] = []
    value.append(value)
    with pytest.raises(EnvelopeError):
        encode_json(value, "place")


# --- replies --------------------------------------------------------------------------------------


@given(st.none() | ids, st.integers(), objects)
def test_any_reply_is_parsed(identity: str | int | None, status: int, body: dict[str, Any]) -> None:
    """Whatever the body holds, and whatever stands beside it."""
    fields = {"id": identity, "statusCode": status, "body": body, "other": 1}
    found = parse_reply(encode_json(fields, "reply"))
    assert found == Reply(id=identity, status=status, body=body)


def test_reply_without_an_id_is_one() -> None:
    """The request had none, or could not be read."""
    assert parse_reply(b'{"statusCode":400,"body":{}}') == Reply(id=None, status=400, body={})


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"\xff", "reply: got bytes that are no JSON, expected a reply"),
        (b"", "reply: got bytes that are no JSON, expected a reply"),
        (b"[" * 100_000, "reply: got bytes that are no JSON, expected a reply"),
        (b"9" * 5000, "reply: got bytes that are no JSON, expected a reply"),
        (b"[]", "reply: got a list, expected an object"),
        (b'{"id":true}', "reply.id: got a bool, expected text or a whole number"),
        (b'{"id":1.5}', "reply.id: got a float, expected text or a whole number"),
        (b'{"id":1}', "reply.statusCode: got a NoneType, expected a whole number"),
        (b'{"statusCode":true}', "reply.statusCode: got a bool, expected a whole number"),
        (b'{"statusCode":200}', "reply.body: got a NoneType, expected an object"),
        (b'{"statusCode":200,"body":"{}"}', "reply.body: got a str, expected an object"),
    ],
)
def test_message_that_is_no_reply_is_refused(payload: bytes, text: str) -> None:
    """Anyone may publish to a topic."""
    with pytest.raises(EnvelopeError) as raised:
        parse_reply(payload)
    assert str(raised.value) == text


@given(st.binary())
def test_any_bytes_are_a_reply_or_an_envelope_error(payload: bytes) -> None:
    """And nothing else is raised."""
    try:
        assert isinstance(parse_reply(payload), Reply)
    except EnvelopeError as error:
        assert error.place.startswith("reply")


def test_body_is_not_in_the_text_of_a_reply() -> None:
    """Payloads are not logged."""
    assert "secret" not in repr(Reply(id=1, status=200, body={"x": "secret"}))


# --- where replies go -----------------------------------------------------------------------------


@pytest.mark.parametrize("reply_to", [None, RESULTS])
def test_reply_goes_to_the_result_topic(reply_to: str | None) -> None:
    """Where nothing else is asked for."""
    assert check_reply_topic(reply_to, RESULTS) == RESULTS


@pytest.mark.parametrize("rest", ["a", "a/b", "é", "x" * (MAX_TOPIC_BYTES - len(RESULTS) - 1)])
def test_reply_may_go_under_the_result_topic(rest: str) -> None:
    """Each requester has a topic of its own."""
    assert check_reply_topic(f"{RESULTS}/{rest}", RESULTS) == f"{RESULTS}/{rest}"


@pytest.mark.parametrize(
    "reply_to",
    [
        "",
        "elsewhere",
        "edge",
        "edge/results2",
        f"{RESULTS}/",
        f"{RESULTS}//a",
        f"{RESULTS}/a/",
        f"{RESULTS}/+",
        f"{RESULTS}/a#",
        f"{RESULTS}/*",
        f"/{RESULTS}/a",
    ],
)
def test_reply_may_go_nowhere_else(reply_to: str) -> None:
    """Else whoever may ask could have the component write where only it may."""
    with pytest.raises(EnvelopeError) as raised:
        check_reply_topic(reply_to, RESULTS)
    assert str(raised.value) == f"replyTo: got {reply_to!r}, expected a topic under {RESULTS}/"


@pytest.mark.parametrize("character", ["x", "é", "\ud800"])
def test_reply_topic_is_not_too_long(character: str) -> None:
    """In bytes, as the bus counts."""
    rest = character * 250
    with pytest.raises(EnvelopeError) as raised:
        check_reply_topic(f"{RESULTS}/{rest}", RESULTS)
    length = len(RESULTS) + 1 + 250
    text = f"replyTo: got a topic of {length} characters, expected at most 256 bytes"
    assert str(raised.value) == text


def test_long_topic_that_is_refused_is_not_repeated_whole() -> None:
    """The text goes into a reply, which has a bound."""
    with pytest.raises(EnvelopeError) as raised:
        check_reply_topic("x" * 10_000, RESULTS)
    assert len(str(raised.value)) < 200


@given(st.text(max_size=300))
def test_any_topic_is_under_the_result_topic_or_refused(text: str) -> None:
    """No text slips through."""
    for reply_to in (text, f"{RESULTS}/{text}"):
        try:
            found = check_reply_topic(reply_to, RESULTS)
        except EnvelopeError:
            continue
        assert found == RESULTS or found.startswith(f"{RESULTS}/")
        assert not set("+#*") & set(found)
