import io
import time
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import pytest
from rich.console import Console

from model.bundle import Bundle
from release.show import show_bundle, show_device, show_predictions, sparkline
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


def device_printed(*components: dict[str, Any], health: dict[str, Any] | None = None) -> str:
    console = Console(file=io.StringIO(), width=120)
    status = {"thing_name": "laptop", "personality": "lite", "pid": 77, "health": health}
    show_device({**status, "components": components}, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def component(**fields: Any) -> dict[str, Any]:
    return {
        "name": "App",
        "version": "1.2.3",
        "state": "RUNNING",
        "since": time.time(),
        "since_s": time.monotonic(),
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
    ],
)
def test_time_in_a_state_is_shown_in_its_two_largest_units(
    seconds: int, shown: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As people say it."""
    monkeypatch.setattr(time, "monotonic", lambda: 1e9)
    assert f" {shown} " in device_printed(component(since_s=1e9 - seconds))


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0, 1.6e9])
def test_clock_that_is_set_changes_no_time_in_a_state(jump_s: float) -> None:
    """A device boots in 1970, and hears of the time when it is online."""
    assert " 0 s " in device_printed(component(since=time.time() - jump_s))


HEALTH = {
    "ready": True,
    "model": "wine",
    "version": "1.0.0",
    "digest": "ab12",
    "engine": "forest",
    "uptime_s": 12.5,
    "waiting": 3,
    "max_waiting": 64,
    "served": 100,
    "refused": {"busy": 2, "no_rows": 1},
    "failed": 1,
    "p50_ms": 0.2514,
    "p99_ms": 4.0,
    "last_error": None,
    "resident_bytes": 31_400_000,
}


def test_health_of_the_inference_component_is_a_line() -> None:
    """However narrow the terminal is."""
    text = device_printed(component(name="edgexgb.Inference"), health=HEALTH)
    assert text.splitlines()[-1] == (
        "edgexgb.Inference: ready, wine 1.0.0 (forest), waiting 3 of 64, served 100, "
        "refused 3 (busy 2, no_rows 1), failed 1, p50 0.251 ms, p99 4 ms, 31 MB"
    )


def test_health_of_which_little_is_known_is_a_shorter_line() -> None:
    """And the last error has one of its own, as it is written."""
    little = dict.fromkeys(("max_waiting", "p50_ms", "p99_ms", "resident_bytes"))
    error = {"code": "deaf", "message": "a: got [red], expected b", "when": "2026-01-01"}
    health = {**HEALTH, **little, "ready": False, "refused": {}, "last_error": error}
    text = device_printed(component(name="edgexgb.Inference"), health=health)
    assert text.splitlines()[-2:] == [
        "edgexgb.Inference: not ready, wine 1.0.0 (forest), waiting 3, served 100, refused 0, "
        "failed 1",
        "last error edgexgb.Inference: deaf at 2026-01-01: a: got [red], expected b",
    ]


def test_inference_component_without_an_answer_is_said_to_have_none() -> None:
    """A device without that component says nothing about it."""
    text = device_printed(component(name="edgexgb.Inference"))
    assert text.splitlines()[-1] == "edgexgb.Inference: no answer"
    assert "answer" not in device_printed(component())


HOSTILE = "\x1b]0;x\x07[/red]\n\u202e"


def test_text_of_others_steers_no_terminal() -> None:
    """Neither names and labels of a reply nor those of a bundle."""
    text = printed(
        {
            "model": {"name": HOSTILE, "version": HOSTILE},
            "predictions": [HOSTILE],
            "labels": [HOSTILE],
            "probabilities": [[0.75]],
        }
    )
    assert not {"\x1b", "\x07", "\u202e"} & set(text)
    assert text.count(r"\x1b]0;x\x07") >= 2


def test_bundle_of_hostile_names_is_shown(multiclass: Packed) -> None:
    """Metrics, too, whose names nothing checks."""
    manifest = multiclass.manifest
    feature = manifest.features[0]._replace(name=HOSTILE)
    hostile = manifest._replace(
        metrics={HOSTILE: 1.0}, labels=(HOSTILE, "b"), machine=HOSTILE, features=(feature,)
    )
    console = Console(file=io.StringIO(), width=200)
    bundle = SimpleNamespace(manifest=hostile, digest="0" * 64, golden=())
    show_bundle(cast("Bundle", bundle), console)
    assert isinstance(console.file, io.StringIO)
    assert not {"\x1b", "\x07", "\u202e"} & set(console.file.getvalue())
