"""What the component's configuration decides, on top of the environment's settings.

A nucleus may hand a number over as a double or as text, so `6144`, `6144.0` and `"6144"` are one.
"""

import dataclasses
import re
from collections.abc import Mapping
from dataclasses import dataclass

from container.service import LONGEST_REFUSAL_BYTES
from container.settings import LOG_LEVELS, Settings, SettingsError
from interface.bridge import Limits
from interface.envelope import MAX_TOPIC_BYTES, REQUEST_TOPIC, RESULT_TOPIC
from model.errors import describe

_WHOLE = re.compile(r"[0-9]{1,18}(\.0*)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration:
    """How the component serves.

    Attributes:
        request_topic: where requests are heard (`requestTopic`).
        result_topic: where replies go, and under which a request may name a topic of its own
            (`resultTopic`).
        limits: of the bridge (`maxWaitingRequests`, `maxMessageBytes`, `retryAfterMs`).
        serving: the handler's settings (`maxRows`, `logLevel`); a reply stays under
            `maxMessageBytes`.
        defer_update_s: how long requests in flight may hold up an update (`deferUpdateSeconds`).
        health_s: between two lines of the log about how the component is; 0 for none
            (`healthSeconds`).
    """

    request_topic: str = REQUEST_TOPIC
    result_topic: str = RESULT_TOPIC
    limits: Limits = dataclasses.field(default_factory=Limits)
    serving: Settings = dataclasses.field(default_factory=Settings)
    defer_update_s: int = 30
    health_s: int = 60


def parse_configuration(fields: Mapping[str, object], settings: Settings) -> Configuration:
    """The configuration in the component's `ComponentConfiguration`; what is absent has a default.

    Raises:
        SettingsError: names the key, its value and what was expected.
    """
    defaults = Configuration()
    request_topic = _topic(fields, "requestTopic", defaults.request_topic)
    result_topic = _topic(fields, "resultTopic", defaults.result_topic)
    if request_topic == result_topic:
        expected = "another topic than requestTopic"
        raise SettingsError(f"resultTopic: got {describe(result_topic)}, expected {expected}")
    limits = Limits(
        max_waiting=_whole(fields, "maxWaitingRequests", defaults.limits.max_waiting),
        max_message_bytes=_whole(
            fields,
            "maxMessageBytes",
            defaults.limits.max_message_bytes,
            least=LONGEST_REFUSAL_BYTES,
        ),
        retry_after_ms=_whole(fields, "retryAfterMs", defaults.limits.retry_after_ms),
    )
    serving = settings._replace(
        max_rows=_whole(fields, "maxRows", settings.max_rows),
        max_reply_bytes=min(settings.max_reply_bytes, limits.max_message_bytes),
        log_level=_level(fields, settings.log_level),
    )
    return Configuration(
        request_topic=request_topic,
        result_topic=result_topic,
        limits=limits,
        serving=serving,
        defer_update_s=_whole(fields, "deferUpdateSeconds", defaults.defer_update_s, least=0),
        health_s=_whole(fields, "healthSeconds", defaults.health_s, least=0),
    )


def _topic(fields: Mapping[str, object], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str) or not value or set("+#*") & set(value):
        raise SettingsError(f"{name}: got {describe(value)}, expected a topic without wildcards")
    if len(value.encode(errors="surrogatepass")) > MAX_TOPIC_BYTES // 2:
        expected = f"a topic of at most {MAX_TOPIC_BYTES // 2} bytes, as a requester's name follows"
        raise SettingsError(f"{name}: got {describe(value)}, expected {expected}")
    return value


def _whole(fields: Mapping[str, object], name: str, default: int, *, least: int = 1) -> int:
    value = fields.get(name, default)
    text = str(value) if type(value) in {int, float, str} else ""
    if not _WHOLE.fullmatch(text) or int(text.partition(".")[0]) < least:
        expected = f"a whole number of at least {least}"
        raise SettingsError(f"{name}: got {describe(value)}, expected {expected}")
    return int(text.partition(".")[0])


def _level(fields: Mapping[str, object], default: str) -> str:
    value = fields.get("logLevel", default)
    if not isinstance(value, str) or value.upper() not in LOG_LEVELS:
        expected = f"one of {', '.join(LOG_LEVELS)}"
        raise SettingsError(f"logLevel: got {describe(value)}, expected {expected}")
    return value.upper()
