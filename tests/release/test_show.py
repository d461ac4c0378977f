import io
from collections.abc import Mapping

from rich.console import Console

from release.show import show_predictions, sparkline
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
