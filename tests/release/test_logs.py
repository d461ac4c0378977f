from itertools import islice
from pathlib import Path

import pytest

from nucleus.component_log import ComponentLog
from nucleus.root import DeviceRoot
from release.errors import CommandError
from release.logs import LogTail, log_lines


def write(root: Path, name: str, *lines: str) -> Path:
    path = DeviceRoot(root).log(name)
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return path


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_tail_gives_last_lines_then_new_ones(tmp_path: Path) -> None:
    """Whole lines alone; half a line waits for its end."""
    path = write(tmp_path, "A", "1", "2", "3")
    tail = LogTail(path)
    assert tail.last(2) == ["2", "3"]
    assert tail.new() == []
    append(path, "4\n5")
    assert tail.new() == ["4"]
    append(path, "5\n")
    assert tail.new() == ["55"]
    tail.close()


def test_tail_of_a_log_that_is_not_there_yet_waits(tmp_path: Path) -> None:
    """Its component may not have written."""
    (tmp_path / "logs").mkdir()
    tail = LogTail(DeviceRoot(tmp_path).log("A"))
    assert tail.last(5) == []
    write(tmp_path, "A", "1")
    assert tail.new() == ["1"]
    tail.close()


def test_tail_loses_no_line_when_a_log_is_put_aside(tmp_path: Path) -> None:
    """What came before, and what came since, through several looks."""
    path = tmp_path / "logs" / "A.log"
    log = ComponentLog(path, "A", file_bytes=400)
    tail = LogTail(path)
    seen: list[str] = []
    for number in range(20):
        log.event("INFO", f"line-{number}-end", "RUNNING")
        seen += tail.new()
    log.close()
    tail.close()
    assert len(list(path.parent.iterdir())) > 3
    assert [f"line-{i}-end" in line for i, line in enumerate(seen)] == [True] * 20


def test_tail_survives_bytes_that_are_no_text(tmp_path: Path) -> None:
    """A component may write anything."""
    path = write(tmp_path, "A")
    path.write_bytes(b"\xff\n")
    tail = LogTail(path)
    assert tail.new() == ["\ufffd"]
    tail.close()


def test_log_of_one_component_has_no_heading(tmp_path: Path) -> None:
    """Its lines alone, for those who pipe them."""
    write(tmp_path, "A", "1", "2", "3")
    write(tmp_path, "B", "4")
    assert list(log_lines(DeviceRoot(tmp_path), "A", 2, follow=False)) == ["2", "3"]


def test_logs_of_all_have_headings(tmp_path: Path) -> None:
    """Full logs beside them are not logs of components."""
    write(tmp_path, "A", "1", "2", "3")
    write(tmp_path, "A_2026_01_02_03_0", "old")
    write(tmp_path, "B.C", "4")
    write(tmp_path, "Empty")
    lines = list(log_lines(DeviceRoot(tmp_path), None, 2, follow=False))
    assert lines == ["==> A <==", "2", "3", "", "==> B.C <==", "4"]


def test_followed_logs_go_on(tmp_path: Path) -> None:
    """Also that of a component which begins later; a heading where the log changes."""
    path = write(tmp_path, "A", "1")
    lines = log_lines(DeviceRoot(tmp_path), None, 10, follow=True)
    assert list(islice(lines, 2)) == ["==> A <==", "1"]
    append(path, "2\n")
    assert next(lines) == "2"
    write(tmp_path, "B", "3")
    append(path, "4\n")
    assert list(islice(lines, 4)) == ["4", "", "==> B <==", "3"]
    lines.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["C", "../secret", "A_2026_01_02_03_0"])
def test_unknown_log_is_refused(name: str, tmp_path: Path) -> None:
    """With the names that there are; no path leads elsewhere."""
    write(tmp_path, "A", "1")
    write(tmp_path, "B", "1")
    (tmp_path / "secret.log").write_text("secret")
    with pytest.raises(CommandError) as caught:
        list(log_lines(DeviceRoot(tmp_path), name, 1, follow=False))
    assert str(caught.value) == (
        f"{tmp_path}/logs/{name}.log: got no such log, expected one of: A, B"
    )


def test_no_logs_at_all_is_said(tmp_path: Path) -> None:
    """Most likely the root is another."""
    with pytest.raises(CommandError) as caught:
        list(log_lines(DeviceRoot(tmp_path), None, 1, follow=False))
    assert str(caught.value) == f"{tmp_path}: got no logs, expected those of a core device"
