import json
from pathlib import Path

import pytest

from consumer.results import ResultFile, ResultsError
from tests.consumer.disks import Disk, limited


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


def test_disk_without_room_is_an_error(disk: Disk) -> None:
    """Which names the file, the system's reason, and the room that it takes; then all is well."""
    path = disk.folder / "results.jsonl"
    results = ResultFile(path)
    results.append([{"row": 0}])
    before = path.read_bytes()
    text = "x" * 5000  # more than what is left of the file's own block
    with disk.full():
        with pytest.raises(ResultsError) as caught:
            results.append([{"row": 1}, {"row": 2, "prediction": text}])
        assert path.read_bytes() == before
    assert str(caught.value) == f"{path}: got {disk.error}, expected room for 5040 bytes"
    results.append([{"row": 1}])
    assert path.read_text() == '{"row": 0}\n{"row": 1}\n'


def test_lines_of_which_a_part_finds_room_are_taken_back(tmp_path: Path) -> None:
    """Wherever the disk ends: no reader shall meet half a line, or half of a request's rows."""
    path = tmp_path / "results.jsonl"
    results = ResultFile(path)
    results.append([{"row": 0}])
    before = path.read_bytes()
    for n_bytes in range(len(before), 3 * len(before)):
        with limited(n_bytes), pytest.raises(ResultsError):
            results.append([{"row": 1}, {"row": 2}])
        assert path.read_bytes() == before
    with limited(3 * len(before)):
        results.append([{"row": 1}, {"row": 2}])
    assert path.read_bytes() == before + b'{"row": 1}\n{"row": 2}\n'


def test_file_that_was_put_aside_stays_where_there_is_no_room(tmp_path: Path) -> None:
    """However often the new one is begun in vain, the older results are not pushed out."""
    path = tmp_path / "results.jsonl"
    results = ResultFile(path, max_bytes=5)
    results.append([{"row": 0}])
    with limited(0):
        for _ in range(3):
            with pytest.raises(ResultsError):
                results.append([{"row": 1}])
    assert (tmp_path / "results.jsonl.1").read_text() == '{"row": 0}\n'


def test_device_without_room_is_an_error() -> None:
    """There is nothing to take back there."""
    with pytest.raises(ResultsError) as caught:
        ResultFile(Path("/dev/full")).append([{"row": 0}])
    expected = "/dev/full: got No space left on device, expected room for 11 bytes"
    assert str(caught.value) == expected


def test_line_that_a_killed_process_has_not_ended_spoils_no_other(tmp_path: Path) -> None:
    """The next one begins on a line of its own."""
    path = tmp_path / "results.jsonl"
    path.write_text('{"row": 0}\n{"ro')
    ResultFile(path).append([{"row": 1}])
    assert path.read_text() == '{"row": 0}\n{"ro\n{"row": 1}\n'


def test_half_a_character_is_written_as_an_escape(tmp_path: Path) -> None:
    """A label of a reply, which anybody may publish, may hold one; no line is lost over it."""
    path = tmp_path / "results.jsonl"
    ResultFile(path).append([{"prediction": "a\ud83d", "row": "\u2028\x1b[31m\n"}])
    (line,) = path.read_bytes().removesuffix(b"\n").split(b"\n")
    assert b"\x1b" not in line
    assert json.loads(line) == {"prediction": "a\ud83d", "row": "\u2028\x1b[31m\n"}
