import asyncio
import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest

from consumer.client import InferenceClient
from consumer.job import Job
from consumer.settings import Settings
from interface.errors import ConnectionLostError, TokenRefusedError
from interface.pubsub import MemoryBus, PubSub
from tests.consumer.conftest import Json, Service, refusal, rows_of
from tests.consumer.disks import Disk


class EnoughError(Exception):
    """Ends a job that would go on for ever."""


class Run:
    """Runs a job and keeps what came of it.

    Attributes:
        pauses: how often it paused.
        most_pauses: after which it is ended.
        on_pause: called at each pause.
    """

    def __init__(self, client: InferenceClient, **settings: Any) -> None:
        self.settings = Settings(**{"repeat": "once", **settings})
        self.pauses = 0
        self.most_pauses = 1000
        self.on_pause: Any = lambda: None
        self.job = Job(client, self.settings, self._pause)

    async def _pause(self) -> None:
        self.pauses += 1
        self.on_pause()
        if self.pauses >= self.most_pauses:
            raise EnoughError

    def run(self) -> Job:
        asyncio.run(self.job.run())
        return self.job

    def run_forever(self, pauses: int) -> Job:
        self.most_pauses = pauses
        with pytest.raises(EnoughError):
            asyncio.run(self.job.run())
        return self.job


@pytest.fixture
def sums(service: Service) -> Service:
    """Predicts the number of a row's values, for any rows."""
    service.answer = lambda request: (
        (
            400,
            refusal("not_a_number", "data[0].x: got 'acid', expected a number or null"),
        )
        if any(row.get("x") == "acid" for row in rows_of(request))
        else (
            200,
            service.body([len(row) for row in rows_of(request)]),
        )
    )
    return service


def facts(caplog: pytest.LogCaptureFixture, message: str) -> list[dict[str, Any]]:
    return [vars(record) for record in caplog.records if record.message == message]


def test_samples_are_asked_in_requests_of_some_rows(
    client: InferenceClient, sums: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """One log line each, with what matters."""
    caplog.set_level(logging.INFO)
    run = Run(client, rows_per_request=5)
    job = run.run()
    assert (job.requests, job.failed, run.pauses) == (3, 0, 2)
    lines = facts(caplog, "predicted")
    assert [(line["row"], line["rows"]) for line in lines] == [(0, 5), (5, 5), (10, 2)]
    assert lines[0]["predictions"] == (13,) * 5
    assert (lines[0]["model"], lines[0]["version"]) == ("wine", "1.0.0")
    assert 0 < lines[0]["latency_ms"] < 60_000
    assert lines[0]["source"] == "samples.json"


def test_job_that_repeats_begins_again(client: InferenceClient, sums: Service) -> None:
    """With a pause before each request but the first."""
    job = Run(client, repeat="forever").run_forever(pauses=3)
    assert job.requests == 3


def test_results_of_each_row_are_kept(
    client: InferenceClient, service: Service, tmp_path: Path
) -> None:
    """With the number that the row has in its source."""
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"x": 1}\n{"x": 2}\n{"x": 3}\n')
    service.answer = lambda request: (
        200,
        {
            **service.body(["a" for _ in rows_of(request)]),
            "labels": ["a", "b"],
            "probabilities": [[0.75, 0.25] for _ in rows_of(request)],
        },
    )
    results = tmp_path / "results.jsonl"
    Run(client, source=str(rows), rows_per_request=2, result_file=results).run()
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert [line["row"] for line in lines] == [0, 1, 2]
    assert lines[2] == {
        "source": "rows.jsonl",
        "row": 2,
        "prediction": "a",
        "probabilities": [0.75, 0.25],
        "model": "wine",
        "version": "1.0.0",
    }


def test_result_file_that_cannot_be_written_is_logged(
    client: InferenceClient, sums: Service, caplog: pytest.LogCaptureFixture
) -> None:
    """The job goes on; the predictions are in the log."""
    job = Run(client, result_file=Path("/dev/full"), rows_per_request=6).run()
    assert job.failed == 0
    assert len(facts(caplog, "results not written")) == 2


def test_failed_request_is_logged_and_the_job_goes_on(
    client: InferenceClient, sums: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With its code and its text."""
    rows = tmp_path / "rows.json"
    rows.write_text('[{"x": 1}, {"x": "acid"}, {"x": 3}]')
    job = Run(client, source=str(rows), rows_per_request=1).run()
    assert (job.requests, job.failed) == (3, 1)
    (line,) = facts(caplog, "request failed")
    assert (line["code"], line["row"]) == ("not_a_number", 1)
    assert line["error"] == "records[0].x: got 'acid', expected a number or null"


def test_file_that_is_not_there_is_logged_and_read_again(
    client: InferenceClient, sums: Service, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It may come yet."""
    path = tmp_path / "rows.json"
    run = Run(client, source=str(path), repeat="forever")
    run.on_pause = lambda: path.write_text('{"x": 1}')
    assert run.run_forever(pauses=2).requests == 1
    (line,) = facts(caplog, "no rows")
    assert line["error"].endswith(f"No such file or directory: '{path}'")


# --- a folder -------------------------------------------------------------------------------------


def test_files_of_a_folder_are_taken_once_each(
    client: InferenceClient, sums: Service, tmp_path: Path
) -> None:
    """Good ones go to `done`, others to `failed` with the reason."""
    (tmp_path / "a.csv").write_text("x,y\n1,2\n3,4\n")
    (tmp_path / "b.json").write_text('[{"x": "acid"}]')
    (tmp_path / "c.jsonl").write_text("no json\n")
    job = Run(client, source=str(tmp_path)).run()
    assert (job.requests, job.failed) == (2, 2)
    assert sorted(str(it.relative_to(tmp_path)) for it in tmp_path.rglob("*") if it.is_file()) == [
        "done/a.csv",
        "failed/b.json",
        "failed/b.json.error.txt",
        "failed/c.jsonl",
        "failed/c.jsonl.error.txt",
    ]
    assert (tmp_path / "failed" / "b.json.error.txt").read_text() == (
        "records[0].x: got 'acid', expected a number or null\n"
    )


def test_folder_is_watched_for_ever(client: InferenceClient, sums: Service, tmp_path: Path) -> None:
    """Files that come later are taken, too; their requests follow at once."""
    run = Run(client, source=str(tmp_path), repeat="forever", rows_per_request=1)

    def write() -> None:
        if run.pauses == 3:
            (tmp_path / "late.csv").write_text("x\n1\n2\n3\n")

    run.on_pause = write
    assert run.run_forever(pauses=6).requests == 3
    assert (tmp_path / "done" / "late.csv").exists()


def test_file_that_met_a_passing_error_is_taken_again(
    client: InferenceClient, service: Service, tmp_path: Path
) -> None:
    """A busy service says nothing about the rows."""
    (tmp_path / "a.json").write_text('{"x": 1}')
    busy = [refusal("busy", retryAfterMs=10_000)]
    service.answer = lambda _: (429, busy.pop()) if busy else None
    job = Run(client, source=str(tmp_path), repeat="forever").run_forever(pauses=4)
    assert (job.requests, job.failed) == (2, 1)
    assert (tmp_path / "done" / "a.json").exists()


def test_folder_once_leaves_what_met_a_passing_error(
    client: InferenceClient, service: Service, tmp_path: Path
) -> None:
    """And comes to an end."""
    (tmp_path / "a.json").write_text('{"x": 1}')
    service.answer = lambda _: (429, refusal("busy", retryAfterMs=10_000))
    job = Run(client, source=str(tmp_path)).run()
    assert (job.requests, job.failed) == (1, 1)
    assert (tmp_path / "a.json").exists()


def test_file_whose_results_find_no_room_is_taken_again(
    client: InferenceClient,
    sums: Service,
    disk: Disk,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is neither lost nor done, nobody asks for what could not be kept, and all ends well."""
    (disk.folder / "a.csv").write_text("x\n1\n2\n3\n")
    results = disk.folder / "results.jsonl"
    results.touch()
    fields = {"repeat": "forever", "rows_per_request": 1, "result_file": results}
    run = Run(client, source=str(disk.folder), **fields)
    full = contextlib.ExitStack()
    full.enter_context(disk.full())

    def look() -> None:
        if run.pauses == 4:
            assert (disk.folder / "a.csv").exists()
            assert results.read_bytes() == b""
            full.close()

    run.on_pause = look
    assert run.run_forever(pauses=6).requests == 3 + 3
    said = [(it["source"], it["error"]) for it in facts(caplog, "results not written")]
    lost = '{"source": "a.csv", "row": 0, "prediction": 1, "probabilities": null, "model": "wine"'
    n_bytes = len(f'{lost}, "version": "1.0.0"}}\n')
    why = f"{results}: got {disk.error}, expected room for {n_bytes} bytes"
    assert said == [("a.csv", why)] * 3
    assert [json.loads(it)["row"] for it in results.read_text().splitlines()] == [0, 1, 2]
    assert (disk.folder / "done" / "a.csv").exists()


# --- the connection -------------------------------------------------------------------------------


def test_lost_connection_is_tried_again(
    bus: MemoryBus, sums: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request that it met is asked once more."""
    monkeypatch.setattr("consumer.job.RETRY_PAUSES_S", (0.01, 0.01))
    usual, broken = sums.answer, [True]

    def answer(request: Json) -> tuple[int, Json] | None:
        if broken:
            broken.clear()
            bus.break_connections()
            sums.open()
        return usual(request)

    sums.answer = answer
    with InferenceClient(bus.connect) as client:
        job = Run(client).run()
    assert (job.requests, job.failed) == (1, 0)
    assert len(sums.requests) == 2


@pytest.mark.parametrize(
    ("error", "attempts"), [(ConnectionLostError("gone"), 3), (TokenRefusedError("old"), 1)]
)
def test_connection_that_stays_away_ends_the_job(
    monkeypatch: pytest.MonkeyPatch, error: Exception, attempts: int
) -> None:
    """After brief retries; at once where the token is refused."""
    monkeypatch.setattr("consumer.job.RETRY_PAUSES_S", (0.01, 0.01))
    monkeypatch.setattr("consumer.connection.FIRST_PAUSE_S", 600)  # one attempt a request
    connects = 0

    def connect() -> PubSub:
        nonlocal connects
        connects += 1
        raise error

    with InferenceClient(connect) as client, pytest.raises(type(error)) as caught:
        Run(client, timeout_s=20).run()
    assert str(caught.value) == str(error)
    assert connects == attempts
