"""What the environment decides, read once at a root."""

import re
from collections.abc import Mapping

from model.typed import NamedTuple

LAMBDA_PAYLOAD_BYTES = 6 * 1024 * 1024
"""The largest synchronous request and reply. Source: AWS Lambda quotas."""

LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class SettingsError(ValueError):
    """A variable of the environment has a value that cannot be used."""


class Settings(NamedTuple):
    """How a bundle is served.

    Attributes:
        bundle: the bundle's directory (`EDGEXGB_BUNDLE`).
        max_rows: rows in one request (`EDGEXGB_MAX_ROWS`).
        max_request_bytes: of an event, and of a body inside it (`EDGEXGB_MAX_REQUEST_BYTES`).
        max_reply_bytes: of a reply (`EDGEXGB_MAX_REPLY_BYTES`).
        n_threads: that predict one request (`EDGEXGB_THREADS`).
        log_level: of the root logger (`EDGEXGB_LOG_LEVEL`).
    """

    bundle: str = "/opt/bundle"
    max_rows: int = 10_000
    max_request_bytes: int = LAMBDA_PAYLOAD_BYTES
    max_reply_bytes: int = LAMBDA_PAYLOAD_BYTES
    n_threads: int = 1
    log_level: str = "INFO"


def read_settings(environment: Mapping[str, str]) -> Settings:
    """The settings in the environment; defaults for what it does not name.

    Raises:
        SettingsError: names the variable, its value and what was expected.
    """
    defaults = Settings()
    level = environment.get("EDGEXGB_LOG_LEVEL", defaults.log_level).upper()
    if level not in LOG_LEVELS:
        raise SettingsError(
            f"EDGEXGB_LOG_LEVEL: got {level!r}, expected one of {', '.join(LOG_LEVELS)}"
        )
    return Settings(
        bundle=environment.get("EDGEXGB_BUNDLE", defaults.bundle),
        max_rows=_positive(environment, "EDGEXGB_MAX_ROWS", defaults.max_rows),
        max_request_bytes=_positive(
            environment, "EDGEXGB_MAX_REQUEST_BYTES", defaults.max_request_bytes
        ),
        max_reply_bytes=_positive(environment, "EDGEXGB_MAX_REPLY_BYTES", defaults.max_reply_bytes),
        n_threads=_positive(environment, "EDGEXGB_THREADS", defaults.n_threads),
        log_level=level,
    )


def _positive(environment: Mapping[str, str], name: str, default: int) -> int:
    text = environment.get(name, str(default))
    if not re.fullmatch("0*[1-9][0-9]{0,17}", text):
        raise SettingsError(f"{name}: got {text!r}, expected a whole number above 0")
    return int(text)
