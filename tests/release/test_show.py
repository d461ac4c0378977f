import io
import time
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from release.show import show_device, show_predictions, sparkline
from tests.conftest import Packed


def printed(body: Mapping[str, object], packed: Packed | None = None) -> str:
    console = Console(file=io.StringIO(), width=120)
    show_predictions(body, packed.bundle.golden[:1] if packed else None, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_sparkline_shows_shares() -> None:
    """The highest count is a full block, nothing a blank, and little is never a blank."""
    assert sparkline([0, 1, 50, 100]) == " ▁▄█"
    assert sparkline([]) == ""
    assert sparkline([0]) == " "


def test_probabilities_have_a_column_for_each_label() -> None:
    """Each label heads its probabilities."""
    text = printed(
        {
            "model": {"name": "m", "version": "1.0.0"},
            "predictions": ["a"],
            "labels": ["a", "b"],
            "probabilities": [[0.75, 0.25]],
        }
    )
    for word in ("m 1.0.0", "p(a)", "p(b)", "0.7500", "0.2500"):
        assert word in text
    assert "true" not in text


def test_likeliest_labels_are_listed() -> None:
    """With topK, labels and probabilities stand side by side."""
    text = printed(
        {
            "model": {"name": "m", "version": "1.0.0"},
            "predictions": ["a"],
            "topK": [[{"label": "a", "probability": 0.5}, {"label": 7, "probability": 0.25}]],
        }
    )
    assert "a 0.5000, 7 0.2500" in text


def test_true_values_stand_beside_predictions(regression: Packed) -> None:
    """Where the golden rows know the truth, it has a column."""
    golden = regression.bundle.golden[0]
    body = {"model": {"name": "d", "version": "1.0.0"}, "predictions": [golden.prediction]}
    text = printed(body, regression)
    assert "true" in text
    assert f"{golden.actual:.6g}" in text


def test_text_in_brackets_is_shown_as_it_is() -> None:
    """A label or a feature may be written like a style of the terminal's library."""
    text = printed(
        {
            "model": {"name": "m", "version": "1.0.0"},
            "predictions": ["[red]"],
            "labels": ["[red]", "[b]"],
            "probabilities": [[0.75, 0.25]],
        }
    )
    for word in ("p([red])", "p([b])"):
        assert word in text
    assert text.count("[red]") == 2


def device_printed(*components: dict[str, Any]) -> str:
    console = Console(file=io.StringIO(), width=120)
    status = {"thing_name": "laptop", "personality": "lite", "pid": 77}
    show_device({**status, "components": components}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def component(**fields: Any) -> dict[str, Any]:
    return {
        "name": "App",
        "version": "1.2.3",
        "state": "RUNNING",
        "since": time.time(),
        "errors": 0,
        "pid": 4711,
        "last_error": "",
        **fields,
    }


def test_device_is_shown_with_its_components() -> None:
    """Who it is, and how each of them is."""
    text = device_printed(component(), component(name="Other", state="BROKEN", pid=None, errors=3))
    assert "laptop (lite), pid 77" in text
    first, second = (line for line in text.splitlines() if "1.2.3" in line)
    for word in ("App", "RUNNING", "0 s", "4711"):
        assert word in first
    for word in ("Other", "BROKEN", "3"):
        assert word in second
    assert "error " not in text


def test_error_of_a_component_is_shown_as_it_is() -> None:
    """In full, whatever brackets are in it."""
    error = f"startup: got [bold]{'x' * 200}[/nothing], expected 0"
    text = device_printed(component(name="[b]App", state="ERRORED", last_error=error))
    assert f"error [b]App: {error}\n" in text


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min 0 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 0 min"),
        (86_399, "23 h 59 min"),
        (90_061, "1 d 1 h"),
        (-5, "0 s"),  # a clock that was set back
    ],
)
def test_time_in_a_state_is_shown_in_its_two_largest_units(
    seconds: int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As people say it."""
    monkeypatch.setattr(time, "time", lambda: 1e9)
    assert f" {shown} " in device_printed(component(since=1e9 - seconds))
