"""The sample component's work: rows from a source, request by request, until it is done."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from consumer.chunks import Rows
from consumer.client import InferenceClient
from consumer.errors import BusyError, InferenceError, ModelChangedError
from consumer.folder import Folder
from consumer.prediction import Prediction
from consumer.results import ResultFile, ResultsError
from consumer.rows import SAMPLES, RowsError, cut_rows, read_rows
from consumer.settings import SAMPLES_SOURCE, Settings
from interface.errors import ConnectionLostError, TokenRefusedError, TransportError

RETRY_PAUSES_S = (0.5, 1.0, 2.0)
"""After a lost connection; each request tries by itself to connect until its deadline."""

MAX_SHOWN = 5
"""Predictions in a log line."""

_PASSING = (TransportError, TimeoutError, BusyError, ModelChangedError, ResultsError)
"""Errors that say nothing about the rows; a watched file that met one is taken again."""

Pause = Callable[[], Awaitable[None]]
"""Waits for the interval; may end the job by raising."""

_log = logging.getLogger(__name__)


class Job:
    """Asks for predictions of everything that its source has.

    Each row is asked at least once: what was under way when a process ended, or met an error that
    passes, is asked again, and then stands twice in the result file.
    """

    def __init__(self, client: InferenceClient, settings: Settings, pause: Pause) -> None:
        """Prepares a job.

        Args:
            client: who is asked; the job does not close it.
            settings: what to ask, and how often.
            pause: between two requests, and between two looks into a folder.
        """
        self._client = client
        self._settings = settings
        self._pause = pause
        self._results = ResultFile(settings.result_file) if settings.result_file else None
        self.requests = 0
        self.failed = 0

    async def run(self) -> None:
        """Returns when everything is asked and nothing is to be repeated.

        Raises:
            ConnectionLostError: the connection stayed away through all retries.
            OSError: a folder cannot be read.
            TokenRefusedError: the core device does not know this component any more.
        """
        source = self._settings.source
        path = SAMPLES if source == SAMPLES_SOURCE else Path(source)
        if path.is_dir():
            await self._watch(Folder(path))
        else:
            await self._read_again_and_again(path)

    async def _read_again_and_again(self, path: Path) -> None:
        while True:
            try:
                await self._ask_all(path, self._pause)
            except (OSError, RowsError) as error:
                self.failed += 1
                _log.error("no rows", extra={"source": path.name, "error": str(error)})
            if self._settings.repeat == "once":
                return
            await self._pause()

    async def _watch(self, folder: Folder) -> None:
        tried: set[Path] = set()
        while True:
            files, more_to_come = folder.poll()
            for path in files:
                tried.add(path)
                await self._take(folder, path)
            if self._settings.repeat == "once" and not more_to_come and tried.issuperset(files):
                return
            await self._pause()

    async def _take(self, folder: Folder, path: Path) -> None:
        """Asks for a file's rows, and puts it where it belongs then."""
        try:
            error = await self._ask_all(path, _no_pause, until=ResultsError)
        except FileNotFoundError:  # somebody took it away
            return
        except (OSError, RowsError) as problem:
            self.failed += 1
            _log.error("no rows", extra={"source": path.name, "error": str(problem)})
            error = problem
        if not isinstance(error, _PASSING):
            folder.finish(path, None if error is None else str(error))

    async def _ask_all(
        self, path: Path, pause: Pause, *, until: type[Exception] | None = None
    ) -> Exception | None:
        """Asks for the rows of a file, request by request; gives the last error that one met.

        Args:
            path: of the file.
            pause: between two requests.
            until: the error after which the rest is not asked for; None where it always is.

        Raises:
            ConnectionLostError: see `run`.
            OSError: the file cannot be read.
            RowsError: it does not hold rows.
            TokenRefusedError: see `run`.
        """
        rows = read_rows(path)
        found: Exception | None = None
        for start in range(0, len(rows), self._settings.rows_per_request):
            if start:
                await pause()
            some = cut_rows(rows, start, start + self._settings.rows_per_request)
            found = await self._ask(path.name, some, start) or found
            if until is not None and isinstance(found, until):
                break
        return found

    async def _ask(self, source: str, rows: Rows, start: int) -> Exception | None:
        """One request; its error, if it met one, is logged and given, and the job goes on.

        Raises:
            ConnectionLostError: see `run`.
            TokenRefusedError: see `run`.
        """
        self.requests += 1
        for pause_s in (*RETRY_PAUSES_S, None):
            began = time.perf_counter()
            try:
                prediction = await self._client.predict_async(rows, self._settings.timeout_s)
            except TokenRefusedError:
                raise
            except ConnectionLostError as error:
                if pause_s is None:
                    raise
                _log.warning("connection lost, trying again", extra={"error": str(error)})
                await asyncio.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  (spreads)
            except (InferenceError, TransportError) as error:
                self.failed += 1
                facts = {"source": source, "row": start, "code": error.code, "error": str(error)}
                _log.error("request failed", extra=facts)
                return error
            else:
                return self._note(source, start, prediction, time.perf_counter() - began)
        raise AssertionError("unreachable: the last round returns or raises")

    def _note(
        self, source: str, start: int, prediction: Prediction, took_s: float
    ) -> ResultsError | None:
        """Logs an answer, and appends its rows to the result file; the error, if that fails."""
        facts = {
            "source": source,
            "row": start,
            "rows": len(prediction.predictions),
            "predictions": prediction.predictions[:MAX_SHOWN],
            "model": prediction.model,
            "version": prediction.version,
            "latency_ms": round(took_s * 1000, 3),
        }
        _log.info("predicted", extra=facts)
        if self._results is None:
            return None
        probabilities = prediction.probabilities or [None] * len(prediction.predictions)
        both = zip(prediction.predictions, probabilities, strict=True)
        try:
            self._results.append(
                {
                    "source": source,
                    "row": start + i,
                    "prediction": said,
                    "probabilities": likely,
                    "model": prediction.model,
                    "version": prediction.version,
                }
                for i, (said, likely) in enumerate(both)
            )
        except ResultsError as error:
            _log.error("results not written", extra={"source": source, "error": str(error)})
            return error
        return None


async def _no_pause() -> None:
    """The rows of a watched file are asked for at once."""
