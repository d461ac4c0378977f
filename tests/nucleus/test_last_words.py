"""The reason that a script's lines give."""

import json

import pytest

from nucleus.last_words import MAX_CHARACTERS, LastWords


def words(*lines: tuple[str, str]) -> str:
    """What is kept of lines, each with its stream."""
    kept = LastWords()
    for stream, line in lines:
        kept.take("stderr" if stream == "err" else "stdout", line)
    return kept.text


def said(level: str, **fields: object) -> str:
    return json.dumps({"timestamp": "now", "level": level, **fields})


@pytest.mark.parametrize(
    ("lines", "text"),
    [
        ([], ""),
        ([("out", "starting")], ""),
        ([("err", "no such file"), ("out", "bye")], "no such file"),
        ([("err", "one"), ("err", "other"), ("err", "  ")], "other"),
        ([("err", "Traceback:"), ("err", "  x()"), ("err", "KeyError: 'a'")], "KeyError: 'a'"),
        (
            [("err", "docker: no such image"), ("err", ""), ("err", "Run 'docker run --help' for")],
            "docker: no such image",
        ),
        ([("err", "bad option"), ("err", "usage: program [-x]")], "bad option"),
        ([("out", said("ERROR", message="giving up", error="no bundle"))], "giving up: no bundle"),
        ([("out", said("critical", message="lost"))], "lost"),
        (
            [("err", said("ERROR", message="giving up", exception="Traceback:\n x\nOSError: no"))],
            "giving up: OSError: no",
        ),
        ([("out", said("ERROR", message=["a"], error=7, exception={"b": 1}))], "7"),
        ([("err", "early"), ("err", said("INFO", message="running"))], "early"),
        ([("err", "early"), ("out", said("ERROR", message="late"))], "late"),
        ([("out", said("ERROR", message="early")), ("err", "late")], "late"),
        ([("err", "{no json"), ("out", "{no json, too")], "{no json"),
        ([("err", "a\tb  c")], "a b c"),
        ([("err", "x" * 500)], "x" * MAX_CHARACTERS + "…"),
    ],
)
def test_lines_lead_to_the_latest_reason(lines: list[tuple[str, str]], text: str) -> None:
    """Errors of structured logs and lines of stderr, whichever came last; hints are none."""
    assert words(*lines) == text


def test_line_that_nests_too_deeply_is_taken_as_text() -> None:
    """It ends nobody who reads along."""
    line = '{"a":' * 20_000
    assert words(("err", line)) == f"{line[:MAX_CHARACTERS]}…"
