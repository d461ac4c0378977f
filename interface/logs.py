"""One JSON object a line on stdout; only entry points call this."""

import json
import logging
import sys
import time

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """A record as one line of JSON: time, level, logger, message, and what `extra` held."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end."""
        fields: dict[str, object] = {
            "timestamp": to_utc(record.created),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        fields.update({k: v for k, v in vars(record).items() if k not in _STANDARD})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        try:
            return json.dumps(fields, default=str, allow_nan=False)
        except ValueError:  # a NaN somewhere: as text, all of them
            return json.dumps({name: str(value) for name, value in fields.items()})


def to_utc(seconds: float) -> str:
    """Seconds since 1970 in ISO 8601, with microseconds.

    `datetime` would take its time to load in every cold start.
    """
    whole, micros = divmod(round(seconds * 1e6), 1_000_000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(whole))}.{micros:06d}+00:00"


def configure_logging(level: str) -> None:
    """Sends every record of at least this level to stdout, in place of any handler before."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
