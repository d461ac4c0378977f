from pathlib import Path

import pytest

from release.demo import main
from tests.conftest import BUNDLE_FILES


def test_demo_runs_twice_and_shows_the_main_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Training, gate, predictions beside true labels; a second run takes the first's place."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert main() == 0
        printed = capsys.readouterr().out
        for word in (
            "$ edgexgb train",
            "to the last bit",
            "p(class_0)",
            "true",
            "accepted edgexgb.Inference",
            "refused edgexgb.Inference",
            "FAILED_ROLLBACK_COMPLETE",
            "wine 2.0.0: 64 of 64 golden rows equal to the last bit",
            "What to try next",
        ):
            assert word in printed
    bundle = tmp_path / "build" / "demo" / "wine"
    assert sorted(path.name for path in bundle.iterdir()) == BUNDLE_FILES
    assert sorted(path.name for path in bundle.parent.iterdir()) == [
        "device",
        "wine",
        "wine-better",
        "wine-better-plots",
        "wine-events",
        "wine-plots",
        "wine-report",
        "wine-sabotaged",
    ]
