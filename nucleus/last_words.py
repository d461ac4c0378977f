"""What a script said last about what is wrong, for people who do not see its log.

An exit code names no reason. Most programs write one before they end: a line on stderr, or a line
of JSON whose level is an error.
"""

import json
import re
from typing import Literal

MAX_CHARACTERS = 400
"""Of the text; a longer one is cut."""

_LEVELS = frozenset({"ERROR", "CRITICAL", "FATAL"})

_HINT = re.compile(r"usage:|(run|see|try) ['\"`].*(--help|-h)\b", re.IGNORECASE)
"""Where help is to be found, which programs such as docker write below the reason."""


class LastWords:
    """Takes the lines of a script as they come, and keeps the reason that they give.

    Attributes:
        text: in one line; empty where there was none.
    """

    def __init__(self) -> None:
        self.text = ""

    def take(self, stream: Literal["stdout", "stderr"], line: str) -> None:
        """One more line."""
        if line.startswith("{") and (fields := _parse(line)) is not None:
            found = _reason(fields)
        elif stream == "stderr" and not _HINT.match(line.strip()):
            found = line
        else:
            return
        if found := " ".join(found.split()):
            self.text = found if len(found) <= MAX_CHARACTERS else f"{found[:MAX_CHARACTERS]}…"


def _parse(line: str) -> dict[str, object] | None:
    """The fields of a line of JSON; None where it is none."""
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def _reason(fields: dict[str, object]) -> str:
    """What a line of JSON tells about an error; nothing where it is about something else.

    Source: the lines of our own components, see `interface.logs`.
    """
    if _text(fields.get("level")).upper() not in _LEVELS:
        return ""
    exception = _text(fields.get("exception")).strip().splitlines()
    parts = (_text(fields.get("message")), _text(fields.get("error")), *exception[-1:])
    return ": ".join(part for part in parts if part)


def _text(value: object) -> str:
    """A plain value as text; lists in lists may be nested deeper than they can be written."""
    return str(value) if value and isinstance(value, str | int | float) else ""
