import struct
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.image import imread

from model.plots import TOP_FEATURES, draw_confusion, draw_importance, draw_residuals


def size(path: Path) -> tuple[int, int]:
    """Width and height in pixels, from the PNG's own header."""
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    assert content[-8:-4] == b"IEND"
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def assert_legible(path: Path) -> None:
    width, height = size(path)
    assert 600 <= width <= 3000
    assert 300 <= height <= 3000


@pytest.mark.parametrize("n", [1, TOP_FEATURES, TOP_FEATURES + 30])
def test_importance_of_any_number_of_features_is_a_picture(tmp_path: Path, n: int) -> None:
    """The picture grows with its bars, up to the limit."""
    gains = {f"a feature with a long name {i} {'x' * 80}": 10.0**-i for i in range(n)}
    path = draw_importance(gains, tmp_path / "new" / "plot.png", n_features=60)
    assert path == tmp_path / "new" / "plot.png"
    assert_legible(path)


def test_importance_beyond_the_limit_shows_the_strongest_alone(tmp_path: Path) -> None:
    """What is weaker than the first twenty changes nothing but their number in the note."""
    gains = {f"f{i:02}": 100.0 - i for i in range(TOP_FEATURES + 2)}
    weaker = {**gains, f"f{TOP_FEATURES + 1:02}": 0.001}
    first = draw_importance(gains, tmp_path / "a.png", n_features=30).read_bytes()
    assert draw_importance(weaker, tmp_path / "b.png", n_features=30).read_bytes() == first
    stronger = {**gains, f"f{TOP_FEATURES + 1:02}": 1000.0}
    assert draw_importance(stronger, tmp_path / "c.png", n_features=30).read_bytes() != first


def test_importance_of_a_model_without_splits_is_a_picture(tmp_path: Path) -> None:
    """A model that learned nothing is said to be so, not an error."""
    assert_legible(draw_importance({}, tmp_path / "plot.png", n_features=3))


@pytest.mark.parametrize("name", ["price $", "a $ in $ b", r"$\frac{$", "Größe", "温度"])
def test_names_are_drawn_as_they_are(tmp_path: Path, name: str) -> None:
    """A dollar sign starts no formula, and a letter that the font lacks warns nobody."""
    assert_legible(draw_importance({name: 1.0}, tmp_path / "a.png", n_features=1))
    assert_legible(draw_confusion([0, 1], [0, 0], [name, "b"], tmp_path / "b.png"))
    assert_legible(draw_residuals([0, 1], [0, 0], tmp_path / "c.png", target=name))


@pytest.mark.parametrize("n_labels", [2, 8, 20, 21])
def test_confusion_of_any_number_of_labels_is_a_picture(tmp_path: Path, n_labels: int) -> None:
    """Few labels have numbers in their cells, many have a colour scale instead."""
    actual = list(range(n_labels)) * 3
    predicted = [label // 2 for label in actual]
    labels = [f"the label number {i}" for i in range(n_labels)]
    assert_legible(draw_confusion(actual, predicted, labels, tmp_path / "plot.png"))


def test_confusion_takes_labels_of_any_type(tmp_path: Path) -> None:
    """Labels are drawn as text whatever they are."""
    assert_legible(draw_confusion([0, 1], [1, 1], [False, True], tmp_path / "bools.png"))
    assert_legible(draw_confusion([0, 1], [1, 1], [1.5, 20], tmp_path / "numbers.png"))


def test_confusion_has_true_labels_down_and_predicted_labels_across(tmp_path: Path) -> None:
    """Where all rows are predicted as the first label, the first column is dark, not a row."""
    path = draw_confusion([0, 0, 1, 1], [0, 0, 0, 0], ["a", "b"], tmp_path / "plot.png")
    darkest = mpl.colormaps["Blues"](1.0)
    is_dark = np.isclose(imread(path), darkest, atol=0.01).all(axis=2)
    rows, columns = np.nonzero(is_dark)
    assert np.ptp(rows) == pytest.approx(2 * np.ptp(columns), rel=0.02)


@pytest.mark.parametrize("scale", [0.0, 1e-9, 1.0, 1e12])
def test_residuals_of_any_scale_are_a_picture(tmp_path: Path, scale: float) -> None:
    """Equal values, tiny and huge ones all have room."""
    truth = np.linspace(-1, 1, 50) * scale
    path = draw_residuals(
        truth.tolist(), (truth * 0.9).tolist(), tmp_path / "plot.png", target="a target " * 9
    )
    assert_legible(path)


def test_plots_leave_matplotlib_as_it_was(tmp_path: Path) -> None:
    """A notebook keeps its backend and its settings; pyplot is not even imported."""
    before = dict(mpl.rcParams)
    draw_residuals([0, 1], [1, 1], tmp_path / "plot.png", target="y")
    assert dict(mpl.rcParams) == before
    code = "import sys, model.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
