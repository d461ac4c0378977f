"""Records of deployments."""

from pathlib import Path

import pytest
from semantic_version import Version

from nucleus.deployments import history as history_module
from nucleus.deployments.document import ConfigurationUpdate, Deployment
from nucleus.deployments.history import History, Phase, Result
from nucleus.errors import DeviceError

DEPLOYMENT = Deployment(
    id="d1",
    created_ms=1_500,
    add={"A": Version("1.0.0")},
    remove=("B",),
    configurations={"A": ConfigurationUpdate()},
)


def test_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    """What was asked for, how far it is, and how it has ended."""
    history = History(tmp_path)
    record = history.open(DEPLOYMENT)
    assert (record.number, record.created, record.phase) == (1, 1.5, Phase.QUEUED)
    assert (record.add, record.remove, record.configure) == ({"A": "1.0.0"}, ["B"], ["A"])
    record.end(Result.SUCCESSFUL)
    history.write(record)
    assert History(tmp_path).read() == [record]


def test_no_directory_is_an_empty_history(tmp_path: Path) -> None:
    """A device that had no deployment has none."""
    assert History(tmp_path / "none").read() == []


def test_record_is_found_by_its_id(tmp_path: Path) -> None:
    """The newest are looked at first."""
    history = History(tmp_path)
    for name in ("d1", "d2", "d3"):
        history.open(Deployment(id=name))
    found = history.find("d2")
    assert found is not None
    assert found.number == 2
    assert history.find("d4") is None


def test_oldest_records_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers go on."""
    monkeypatch.setattr(history_module, "KEPT", 3)
    history = History(tmp_path)
    for _ in range(5):
        history.open(Deployment())
    assert [it.number for it in history.read()] == [3, 4, 5]


def test_what_is_unfinished_is_concluded_once(tmp_path: Path) -> None:
    """What has ended stays as it is."""
    history = History(tmp_path)
    ended = history.open(DEPLOYMENT)
    ended.end(Result.SUCCESSFUL)
    history.write(ended)
    history.open(Deployment(id="d2"))
    found = history.conclude(lambda it: (Result.FAILED_NO_STATE_CHANGE, it.id))
    assert [(it.id, it.message) for it in found] == [("d2", "d2")]
    assert [it.result for it in history.read()] == [
        Result.SUCCESSFUL,
        Result.FAILED_NO_STATE_CHANGE,
    ]
    assert history.conclude(lambda _: (Result.REJECTED, "")) == []


@pytest.mark.parametrize("content", ["{", "[]", "{}", '{"result": "GOOD"}'])
def test_file_that_is_no_record_is_named(content: str, tmp_path: Path) -> None:
    """By its path."""
    path = tmp_path / "000001.json"
    path.write_text(content)
    with pytest.raises(DeviceError, match=f"^{path}: got "):
        History(tmp_path).read()
