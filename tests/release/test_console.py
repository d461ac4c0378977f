import json
from pathlib import Path

from container.handler import make_handler
from container.settings import Settings
from release.console import write_events
from tests.conftest import Packed


def test_events_do_what_their_names_say(mixed: Packed, tmp_path: Path) -> None:
    """Good events predict, and each `error-CODE` event is answered with that code."""
    handler = make_handler(mixed.bundle, Settings())
    files = write_events(mixed.bundle, tmp_path / "events")
    codes = set()
    for file in files:
        response = handler(json.loads(file.read_text()), None)
        body = response["body"]
        body = json.loads(body) if isinstance(body, str) else body
        if file.stem.startswith("error-"):
            codes.add(body["error"]["code"])
            assert body["error"]["code"].replace("_", "-") == file.stem.removeprefix("error-")
        else:
            assert response["statusCode"] == 200
            assert len(body["predictions"]) == 3
    assert codes == {
        "malformed_request",
        "unknown_feature",
        "missing_feature",
        "not_a_number",
        "unknown_category",
        "no_rows",
        "too_many_rows",
        "unsupported_media_type",
        "deadline_exceeded",
    }
    assert {file.stem for file in files} >= {
        "good",
        "api-gateway-rest",
        "api-gateway-http",
        "function-url",
        "alb",
    }
