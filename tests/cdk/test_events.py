import json

import pytest

from container.handler import make_handler
from container.settings import Settings
from stacks.bundle import read_bundle
from stacks.events import MAX_DOCUMENT_BYTES, document_of
from tests.conftest import Packed


@pytest.mark.parametrize("name", ["multiclass", "mixed"])
def test_events_do_what_their_names_say(name: str, request: pytest.FixtureRequest) -> None:
    """Asked of the real handler, as the console would send them."""
    packed: Packed = request.getfixturevalue(name)
    document = json.loads(document_of(read_bundle(packed.directory).golden))
    handler = make_handler(packed.bundle, Settings())
    found = {}
    for event, example in document["components"]["examples"].items():
        response = handler(json.dumps(example["value"]).encode(), None)
        body = response["body"]
        body = json.loads(body) if isinstance(body, str) else body
        code = body["error"]["code"] if "error" in body else len(body["predictions"])
        found[event] = (response["statusCode"], code)
    assert found == {
        "one-golden-row": (200, 1),
        "golden-rows": (200, 10),
        "wrapped-in-body": (200, 10),
        "refused-unknown-feature": (400, "unknown_feature"),
    }


def test_document_stays_within_what_the_registry_takes() -> None:
    """A model of thousands of features: the larger events are left out."""
    row = {"row": {f"feature {i}": 0.123456789 for i in range(1500)}, "prediction": 1.0}
    document = document_of([row] * 64)
    assert len(document.encode()) <= MAX_DOCUMENT_BYTES
    assert set(json.loads(document)["components"]["examples"]) == {
        "one-golden-row",
        "refused-unknown-feature",
    }
