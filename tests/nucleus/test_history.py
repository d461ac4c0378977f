"""Records of deployments."""

import time
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


@pytest.mark.parametrize("jump_s", [-3600.0, 1.6e9])
def test_clock_that_is_set_meanwhile_does_not_change_how_long_a_deployment_took(
    jump_s: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning and its end are of two clocks then."""
    history = History(tmp_path)
    record = history.open(Deployment())
    tell_time = time.time
    monkeypatch.setattr(time, "time", lambda: tell_time() + jump_s)
    record.end(Result.SUCCESSFUL)
    assert record.ended is not None
    assert abs(record.ended - record.created) > 1000
    assert record.took_s is not None
    assert 0 <= record.took_s < 60


def test_nobody_knows_how_long_what_an_earlier_device_began_took(tmp_path: Path) -> None:
    """Since it may have been before the machine was started again."""
    history = History(tmp_path)
    history.open(Deployment())
    [record] = History(tmp_path).conclude(lambda _: (Result.CANCELED, ""))
    assert record.ended is not None
    assert record.took_s is None


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
