import logging
from pathlib import Path

import pytest

from consumer.folder import Folder
from tests.consumer.disks import Disk


def names(found: list[Path]) -> list[str]:
    return [path.name for path in found]


def test_complete_files_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Once they have looked the same twice; others are left alone."""
    for name in ("b.csv", "a.json", "c.JSONL", "d.csv.tmp", ".e.csv", "f.txt"):
        (tmp_path / name).write_text("x")
    (tmp_path / "g.csv").mkdir()
    folder = Folder(tmp_path)
    assert folder.poll() == ([], True)
    found, more = folder.poll()
    assert names(found) == ["a.json", "b.csv", "c.JSONL"]
    assert more is False


def test_file_that_grows_waits(tmp_path: Path) -> None:
    """A writer may take its time."""
    folder = Folder(tmp_path)
    path = tmp_path / "a.csv"
    for _ in range(3):
        with path.open("a") as file:
            file.write("x\n")
        assert folder.poll() == ([], True)
    assert folder.poll() == ([path], False)


def test_finished_files_are_out_of_the_way(tmp_path: Path) -> None:
    """A failed one has a text beside it that says why."""
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text(name)
    folder = Folder(tmp_path)
    folder.poll()
    for path, error in zip(folder.poll()[0], (None, "records[0].x: got é"), strict=True):
        folder.finish(path, error)
    assert folder.poll() == ([], False)
    assert (tmp_path / "done" / "a.csv").read_text() == "a.csv"
    assert (tmp_path / "failed" / "b.csv").read_text() == "b.csv"
    text = (tmp_path / "failed" / "b.csv.error.txt").read_text(encoding="utf-8")
    assert text == "records[0].x: got é\n"


def test_file_of_a_name_that_was_there_before_replaces_nothing(tmp_path: Path) -> None:
    """Sensors like to write `rows.csv` every day."""
    folder = Folder(tmp_path)
    for day in range(3):
        (tmp_path / "rows.csv").write_text(str(day))
        folder.poll()
        (path,) = folder.poll()[0]
        folder.finish(path)
    done = sorted((tmp_path / "done").iterdir())
    assert [(path.name, path.read_text()) for path in done] == [
        ("rows-2.csv", "1"),
        ("rows-3.csv", "2"),
        ("rows.csv", "0"),
    ]


def test_file_that_cannot_be_moved_is_not_taken_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it changes, else it would be asked for ever; but moved once that is possible."""
    caplog.set_level(logging.ERROR)
    path = tmp_path / "a.csv"
    path.write_text("x")
    (tmp_path / "done").write_text("in the way")
    folder = Folder(tmp_path)
    folder.poll()
    assert folder.poll() == ([path], False)
    folder.finish(path)
    assert [record.message for record in caplog.records] == ["a file could not be moved"]
    assert folder.poll() == ([], False)
    path.write_text("changed")
    assert folder.poll() == ([], True)
    assert folder.poll() == ([path], False)
    folder.finish(path)
    (tmp_path / "done").unlink()
    assert folder.poll() == ([], False)
    assert (tmp_path / "done" / "a.csv").read_text() == "changed"
    assert folder.poll() == ([], False)
    assert len(caplog.records) == 2  # none for attempts in vain


def test_failed_file_waits_for_room_for_its_reason(disk: Disk) -> None:
    """It is not among the failed ones without a text, and no text is there in part."""
    path = disk.folder / "a.csv"
    path.write_text("x")
    folder = Folder(disk.folder)
    folder.poll()
    assert folder.poll() == ([path], False)
    reason = "because " * 1000
    with disk.full():
        folder.finish(path, reason)
        assert folder.poll() == ([], False)
        assert path.exists()
        assert list((disk.folder / "failed").iterdir()) == []
    assert folder.poll() == ([], False)
    assert not path.exists()
    failed = {it.name: it.read_text() for it in (disk.folder / "failed").iterdir()}
    assert failed == {"a.csv": "x", "a.csv.error.txt": f"{reason}\n"}


def test_reason_of_a_file_that_is_gone_is_not_left(tmp_path: Path) -> None:
    """Somebody may take a file back."""
    Folder(tmp_path).finish(tmp_path / "a.csv", "because")
    assert list((tmp_path / "failed").iterdir()) == []


def test_reason_with_half_a_character_is_written(tmp_path: Path) -> None:
    """A service's error may hold one, and ends nobody."""
    path = tmp_path / "a.csv"
    path.write_text("x")
    Folder(tmp_path).finish(path, "got 'a\ud83d'")
    assert (tmp_path / "failed" / "a.csv.error.txt").read_text() == "got 'a\\ud83d'\n"


def test_folder_that_is_gone_is_an_error(tmp_path: Path) -> None:
    """Nothing would ever come of it."""
    with pytest.raises(FileNotFoundError):
        Folder(tmp_path / "nowhere").poll()
