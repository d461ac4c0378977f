import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any, NoReturn

import pytest

from interface.logs import JsonFormatter

ROOT = Path(__file__).parents[2]


def refuse(constant: str) -> NoReturn:
    raise ValueError(constant)


def format_record(record: logging.LogRecord) -> dict[str, Any]:
    """The fields of a record's line, which must be one line of strict JSON."""
    line = JsonFormatter().format(record)
    assert "\n" not in line
    line.encode()
    fields: dict[str, Any] = json.loads(line, parse_constant=refuse)
    return fields


def record(message: str, *arguments: object, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"name": "model.bundle", "levelno": 20, "levelname": "INFO"})
    made.msg, made.args = message, arguments
    vars(made).update(extra)
    return made


def test_record_is_time_level_logger_and_message() -> None:
    """Nothing else is in a plain line; the time has its zone."""
    fields = format_record(record("opened %s", "wine"))
    time = datetime.fromisoformat(fields.pop("timestamp"))
    assert time.utcoffset() is not None
    assert fields == {"level": "INFO", "logger": "model.bundle", "message": "opened wine"}


def test_extra_fields_stand_beside_the_message() -> None:
    """What `extra` held is there by name."""
    fields = format_record(record("opened", digest="ab12", rows=3))
    assert (fields["digest"], fields["rows"]) == ("ab12", 3)


def test_traceback_is_in_the_same_line() -> None:
    """A log collector would otherwise take each of its lines for a message."""
    try:
        int("broken\nin two")
    except ValueError:
        failed = record("failed", exc_info=sys.exc_info())
    fields = format_record(failed)
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    last = "ValueError: invalid literal for int() with base 10: 'broken\\nin two'"
    assert fields["exception"].endswith(last)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(Path("/x"), id="a path"),
        pytest.param({1, 2}, id="a set"),
        pytest.param(b"\xff", id="bytes"),
        pytest.param(float("nan"), id="NaN"),
        pytest.param("\ud800", id="a lone surrogate"),
        pytest.param("two\nlines", id="two lines"),
    ],
)
def test_extra_of_any_value_is_still_a_line_of_json(value: object) -> None:
    """What a caller sends may end up in a log, and must not break it."""
    assert "odd" in format_record(record("x", odd=value))


def test_configured_root_writes_lines_to_stdout_from_its_level_on() -> None:
    """Handlers that were there before are gone; stderr stays silent."""
    code = (
        "import logging, sys\n"
        "from interface.logs import configure_logging\n"
        "logging.basicConfig(stream=sys.stderr)\n"
        "configure_logging('INFO')\n"
        "log = logging.getLogger('a.b')\n"
        "log.debug('hidden')\n"
        "log.info('größe %s', '\\ud800', extra={'id': '\\udc00'})\n"
        "log.error('last')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, timeout=60
    )
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert [line["level"] for line in lines] == ["INFO", "ERROR"]
    assert lines[0]["message"].startswith("größe ")
    assert lines[0]["logger"] == "a.b"
    assert done.stderr == b""
