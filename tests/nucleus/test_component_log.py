import os
import re
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from nucleus.component_log import ComponentLog

NOON = datetime(2026, 11, 21, 10, 11, 12, 345678, tzinfo=UTC)


def make(path: Path, **settings: int) -> ComponentLog:
    return ComponentLog(path / "logs" / "a.B.log", "a.B", now=lambda: NOON, **settings)


def test_output_is_written_as_the_nucleus_writes_it(tmp_path: Path) -> None:
    """So that whoever greps logs of devices greps these."""
    log = make(tmp_path)
    log.output("stdout", "hello", "run", "RUNNING")
    log.output("stderr", "oh.", "startup", "STARTING")
    log.event("INFO", "Run script exited", "RUNNING", {"exitCode": 1})
    log.close()
    fields = "serviceName=a.B, currentState"
    assert (tmp_path / "logs" / "a.B.log").read_text().splitlines() == [
        "2026-11-21T10:11:12.345Z [INFO] (Copier) a.B: stdout. hello. "
        f"{{scriptName=services.a.B.lifecycle.run, {fields}=RUNNING}}",
        "2026-11-21T10:11:12.345Z [WARN] (Copier) a.B: stderr. oh.. "
        f"{{scriptName=services.a.B.lifecycle.startup, {fields}=STARTING}}",
        "2026-11-21T10:11:12.345Z [INFO] (nucleus) a.B: Run script exited. "
        f"{{exitCode=1, {fields}=RUNNING}}",
    ]


def test_time_of_another_zone_is_written_in_utc(tmp_path: Path) -> None:
    """Devices of a fleet are compared by it."""
    east = timezone(timedelta(hours=9))
    log = ComponentLog(tmp_path / "x.log", "x", now=lambda: NOON.astimezone(east))
    log.event("INFO", "x", "NEW")
    log.close()
    assert (tmp_path / "x.log").read_text().startswith("2026-11-21T10:11:12.345Z ")


def test_lines_are_in_the_file_at_once(tmp_path: Path) -> None:
    """Also when the device is killed just then."""
    log = make(tmp_path)
    log.event("INFO", "x", "NEW")
    assert log.path.read_text().count("\n") == 1
    log.close()


def test_log_of_an_earlier_device_goes_on(tmp_path: Path) -> None:
    """A restart forgets nothing, and a closed log opens itself."""
    for _ in range(2):
        log = make(tmp_path)
        log.event("INFO", "x", "NEW")
        log.close()
        log.event("INFO", "y", "NEW")
        log.close()
    assert log.path.read_text().count("\n") == 4


def test_full_file_is_put_aside_and_the_oldest_are_removed(tmp_path: Path) -> None:
    """Lines are never cut, the bound holds, and another component's files are let be."""
    other = tmp_path / "logs" / "a.B_2_2026_11_21_10_0.log"
    other.parent.mkdir()
    other.write_text("x" * 5000)
    log = make(tmp_path, file_bytes=500, total_bytes=2000)
    for i in range(100):
        log.event("INFO", f"line {i}", "NEW")
    log.close()
    found = [path for path in log.path.parent.iterdir() if path != other]
    assert sum(path.stat().st_size for path in found) <= 2000
    assert all(path.stat().st_size <= 500 for path in found)
    lines = [line for path in found for line in path.read_text().splitlines()]
    numbers = sorted(int(match[1]) for line in lines if (match := re.search(r"line (\d+)\.", line)))
    assert len(numbers) == len(lines)
    assert numbers == list(range(100 - len(numbers), 100))
    assert other.exists()
    names = {path.name for path in found} - {"a.B.log"}
    assert all(re.fullmatch(r"a\.B_2026_11_21_10_\d+\.log", name) for name in names)


def test_files_of_a_clock_that_was_ahead_are_removed_before_new_ones(tmp_path: Path) -> None:
    """Else they would stay for years, and each new one would go at once."""
    folder = tmp_path / "logs"
    folder.mkdir()
    ahead = [folder / f"a.B_2076_11_21_10_{n}.log" for n in range(3)]
    for path in ahead:
        path.write_text("x" * 500)
        os.utime(path, (3.4e9, 3.4e9))
    log = make(tmp_path, file_bytes=500, total_bytes=2000)
    for i in range(100):
        log.event("INFO", f"line {i}", "NEW")
        log.close()  # nothing is kept of a file that was put aside but its place
    assert not any(path.exists() for path in ahead)
    kept = "".join(path.read_text() for path in folder.iterdir())
    assert {int(n) for n in re.findall(r"line (\d+)\.", kept)} >= set(range(90, 100))


def test_line_longer_than_a_file_is_written_whole(tmp_path: Path) -> None:
    """It gets a file of its own."""
    log = make(tmp_path, file_bytes=100)
    log.event("INFO", "x" * 1000, "NEW")
    log.event("INFO", "y", "NEW")
    log.close()
    assert "y" in log.path.read_text()
    assert "x" * 1000 not in log.path.read_text()


def test_follower_hears_every_line_until_it_leaves(tmp_path: Path) -> None:
    """And one that fails costs the others nothing."""
    log = make(tmp_path)
    heard: list[str] = []

    def fail(line: str) -> None:
        raise RuntimeError(line)

    log.follow(fail)
    leave = log.follow(heard.append)
    log.event("INFO", "one", "NEW")
    leave()
    leave()
    log.event("INFO", "two", "NEW")
    log.close()
    assert [line.split(": ")[1].split(".")[0] for line in heard] == ["one"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no full device")
def test_full_disk_costs_lines_and_is_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The component goes on, and so does its log when there is room again."""
    path = tmp_path / "x.log"
    path.symlink_to("/dev/full")
    log = ComponentLog(path, "x")
    log.event("INFO", "lost", "NEW")
    log.event("INFO", "lost too", "NEW")
    assert caplog.messages == ["x.log: lines are lost: [Errno 28] No space left on device"]
    path.unlink()
    log.event("INFO", "kept", "NEW")
    log.close()
    assert "kept" in path.read_text()


def test_half_a_character_is_written_as_a_question_mark(tmp_path: Path) -> None:
    """Whatever a component says, its log can be read."""
    log = make(tmp_path)
    log.event("INFO", os.fsdecode(b"\xff"), "NEW")
    log.close()
    assert "a.B: ?. {" in log.path.read_text()
