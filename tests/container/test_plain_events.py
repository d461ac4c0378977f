"""The short way of plain events against the general one: nobody can tell which was taken."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from container.events import Reply, encode_response
from container.handler import BundleHandler, make_handler
from container.settings import Settings
from model.bundle import Bundle
from model.manifest import Feature
from model.rows import make_scanner
from tests.conftest import Packed
from tests.model.event_texts import event_texts

MIXED = (
    Feature(name="colour", kind="categorical", categories=("blue", "green", "red")),
    Feature(name="grade", kind="categorical", categories=(10, 20, 30)),
    Feature(name="active", kind="bool"),
    Feature(name="count", kind="int"),
    Feature(name="size", kind="float"),
)


def general(bundle: Bundle, chosen: Settings | None = None) -> BundleHandler:
    """A handler as it is where no compiler was."""
    return BundleHandler(bundle, chosen or Settings(), None)


def text(response: Any) -> str:
    return json.dumps(response, allow_nan=False, separators=(",", ":"))


def test_features_here_are_those_of_the_bundle(mixed: Packed) -> None:
    """What the events are made of is what the model takes."""
    found = [(it.name, it.kind, it.categories) for it in mixed.manifest.features]
    assert found == [(it.name, it.kind, it.categories) for it in MIXED]


@given(event=event_texts(MIXED), is_lenient=st.booleans(), max_rows=st.sampled_from([2, 10_000]))
@settings(max_examples=400)
def test_answer_to_any_event_is_the_general_one(
    mixed: Packed, lenient: Packed, event: bytes, is_lenient: bool, max_rows: int
) -> None:
    """Good or refused, with its id, to the letter of its JSON."""
    bundle = (lenient if is_lenient else mixed).bundle
    chosen = Settings(max_rows=max_rows)
    wanted = general(bundle, chosen)(event)
    found = make_handler(bundle, chosen)(event)
    if wanted["body"].get("error", {}).get("code") == "deadline_exceeded":
        assert found["statusCode"] == wanted["statusCode"]  # the text has the time in it
    else:
        assert encode_response(found) == encode_response(wanted) == text(found) == text(wanted)


@given(st.lists(event_texts(MIXED, oddities=1), min_size=2, max_size=5))
def test_events_together_are_answered_as_in_general(mixed: Packed, events: list[bytes]) -> None:
    """The matrices of both ways are joined alike."""
    wanted = [text(it.response) for it in general(mixed.bundle).answer(events)]
    found = [
        encode_response(it.response) for it in make_handler(mixed.bundle, Settings()).answer(events)
    ]
    pairs = zip(found, wanted, strict=True)
    assert all(pair[0] == pair[1] for pair in pairs if "deadline_exceeded" not in pair[1])


@pytest.mark.kernel
def test_plain_event_takes_the_short_way(mixed: Packed) -> None:
    """Else the other comparisons here would say nothing."""
    scanner = make_scanner(mixed.manifest.features, absent_field=mixed.manifest.absent_field)
    assert scanner is not None
    event = json.dumps({"id": 1, "records": list(mixed.rows[:3])}).encode()
    found = scanner.scan(event, 3)
    assert found is not None
    assert found[0].values.tobytes() == mixed.bundle.encode(list(mixed.rows[:3])).tobytes()


@pytest.mark.parametrize("max_request_bytes", [79, 80, 81])
def test_size_of_an_event_is_limited(regression: Packed, max_request_bytes: int) -> None:
    """Also of one that the short way could read."""
    event = json.dumps([regression.rows[0]]).encode().ljust(80)
    chosen = Settings(max_request_bytes=max_request_bytes)
    found = make_handler(regression.bundle, chosen)(event)
    assert found == general(regression.bundle, chosen)(event)
    assert found["statusCode"] == (200 if len(event) <= max_request_bytes else 413)


@pytest.mark.parametrize("fixture", ["multiclass", "binary", "regression", "mixed"])
@pytest.mark.parametrize("fields", [{}, {"id": 'a"ü\n'}, {"id": -7}, {"topK": 1}])
def test_reply_is_written_as_json_writes_it(
    request: pytest.FixtureRequest, fixture: str, fields: dict[str, Any]
) -> None:
    """Each task's, with an id of each type or none."""
    packed: Packed = request.getfixturevalue(fixture)
    event = json.dumps({**fields, "records": list(packed.rows)}).encode()
    response = make_handler(packed.bundle, Settings())(event)
    assert encode_response(response) == text(response)
    assert isinstance(response, Reply) is (response["statusCode"] == 200 and "topK" not in fields)


def test_reply_with_an_odd_label_is_written_as_json_writes_it(binary: Packed) -> None:
    """1 and 1.0 are two labels, though one key; and text may need escapes."""
    for labels in ((1, 1.0), ('"', "ü"), (True, False)):
        manifest = binary.manifest._replace(labels=labels)
        bundle = Bundle(manifest, "digest", list, binary.bundle._engine)
        event = json.dumps(list(binary.rows)).encode()
        response = make_handler(bundle, Settings())(event)
        assert {str(it) for it in response["body"]["predictions"]} == {str(it) for it in labels}
        assert encode_response(response) == text(response)


def test_refusal_is_written_as_json_writes_it(mixed: Packed) -> None:
    """By the one encoder that there is for all else."""
    response = make_handler(mixed.bundle, Settings())(
        b'{"records":[{"colour":"\xc3\xbc"}],"id":"\xc3\xbc"}'
    )
    assert encode_response(response) == text(response)
    assert response["statusCode"] == 400


def test_number_that_json_has_not_is_refused() -> None:
    """It would be no JSON."""
    with pytest.raises(ValueError, match="JSON compliant"):
        encode_response({"a": float("nan")})
