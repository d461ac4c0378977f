import pytest

from container.settings import LAMBDA_PAYLOAD_BYTES, Settings, SettingsError, read_settings


def test_empty_environment_gives_the_defaults() -> None:
    """An image works without a single variable."""
    assert read_settings({}) == Settings(
        bundle="/opt/bundle",
        max_rows=10_000,
        max_request_bytes=6_291_456,
        max_reply_bytes=6_291_456,
        n_threads=1,
        log_level="INFO",
    )
    assert LAMBDA_PAYLOAD_BYTES == 6_291_456


def test_each_variable_sets_its_field() -> None:
    """Foreign variables are ignored; a level may be written in any case."""
    environment = {
        "EDGEXGB_BUNDLE": "/data/wine",
        "EDGEXGB_MAX_ROWS": "5",
        "EDGEXGB_MAX_REQUEST_BYTES": "1000",
        "EDGEXGB_MAX_REPLY_BYTES": "2000",
        "EDGEXGB_THREADS": "2",
        "EDGEXGB_LOG_LEVEL": "debug",
        "PATH": "/bin",
    }
    assert read_settings(environment) == Settings(
        bundle="/data/wine",
        max_rows=5,
        max_request_bytes=1000,
        max_reply_bytes=2000,
        n_threads=2,
        log_level="DEBUG",
    )


@pytest.mark.parametrize(
    "name",
    [
        "EDGEXGB_MAX_ROWS",
        "EDGEXGB_MAX_REQUEST_BYTES",
        "EDGEXGB_MAX_REPLY_BYTES",
        "EDGEXGB_THREADS",
    ],
)
@pytest.mark.parametrize(
    "value", ["", "0", "-1", "1.5", "many", " 1", "1_000", "\u0663", "\xb2", "9" * 5000]
)
def test_number_that_is_none_is_refused(name: str, value: str) -> None:
    """The text names the variable and its value."""
    with pytest.raises(SettingsError) as caught:
        read_settings({name: value})
    assert str(caught.value) == f"{name}: got {value!r}, expected a whole number above 0"


@pytest.mark.parametrize("value", ["", "LOUD", "10"])
def test_unknown_log_level_is_refused(value: str) -> None:
    """The levels are listed."""
    with pytest.raises(SettingsError) as caught:
        read_settings({"EDGEXGB_LOG_LEVEL": value})
    assert str(caught.value) == (
        f"EDGEXGB_LOG_LEVEL: got {value!r}, expected one of DEBUG, INFO, WARNING, ERROR"
    )
