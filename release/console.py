"""Test events for the Lambda console's *Test* button, made from a bundle's golden rows."""

import json
import re
from pathlib import Path

from container.bodies import JSON_TYPE
from model.bundle import Bundle
from release.cases import bad_requests
from release.http_events import FORMS

_EXAMPLE_ROWS = 3


def write_events(bundle: Bundle, directory: Path) -> list[Path]:
    """The files: one good event, one for each HTTP form, and one for each error code.

    Raises:
        OSError: the directory cannot be written.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rows = [golden.row for golden in bundle.golden[:_EXAMPLE_ROWS]]
    body = json.dumps({"records": rows})
    events: dict[str, object] = {"good": {"records": rows}}
    events |= {name: form(body, JSON_TYPE) for name, form in FORMS.items()}
    for request in bad_requests(bundle):
        # The first for each code; the console itself takes nothing but JSON.
        if request.is_json:
            events.setdefault(f"error-{request.code}", json.loads(request.event))
    files = []
    for name, event in events.items():
        file = directory / f"{re.sub('[^a-z0-9-]', '-', name)}.json"
        # One line for an event that is large by design: indented it would be a thousand screens.
        text = json.dumps(event, indent=2, ensure_ascii=False)
        text = text if len(text) < 20_000 else json.dumps(event)
        file.write_text(f"{text}\n", encoding="utf-8")
        files.append(file)
    return files
