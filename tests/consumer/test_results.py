import json
from pathlib import Path

import pytest

from consumer.results import ResultFile


def test_results_are_appended_line_by_line(tmp_path: Path) -> None:
    """Folders on the way are made."""
    path = tmp_path / "deep" / "results.jsonl"
    ResultFile(path).append([{"row": 0, "prediction": "größe"}])
    ResultFile(path).append([{"row": 1}, {"row": 2}])
    lines = path.read_text(encoding="utf-8").splitlines()
    assert [json.loads(line) for line in lines] == [
        {"row": 0, "prediction": "größe"},
        {"row": 1},
        {"row": 2},
    ]


def test_full_file_is_put_aside(tmp_path: Path) -> None:
    """One older file is kept, and no more."""
    path = tmp_path / "results.jsonl"
    results = ResultFile(path, max_bytes=20)
    for i in range(6):
        results.append([{"row": i, "prediction": 1}])
    assert sorted(it.name for it in tmp_path.iterdir()) == ["results.jsonl", "results.jsonl.1"]
    assert json.loads(path.read_text())["row"] == 5
    assert json.loads((tmp_path / "results.jsonl.1").read_text())["row"] == 4


def test_full_disk_is_an_error() -> None:
    """Linux has a device for that."""
    with pytest.raises(OSError, match=r"No space left on device"):
        ResultFile(Path("/dev/full")).append([{"row": 0}])


def test_half_a_character_is_written_as_an_escape(tmp_path: Path) -> None:
    """A label of a reply, which anybody may publish, may hold one; no line is lost over it."""
    path = tmp_path / "results.jsonl"
    ResultFile(path).append([{"prediction": "a\ud83d", "row": "\u2028\x1b[31m\n"}])
    (line,) = path.read_bytes().removesuffix(b"\n").split(b"\n")
    assert b"\x1b" not in line
    assert json.loads(line) == {"prediction": "a\ud83d", "row": "\u2028\x1b[31m\n"}
