import builtins
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from release.start import main


def test_interrupt_while_modules_load_ends_without_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever presses Ctrl-C at once sees what they see later."""
    original = builtins.__import__

    def interrupted(
        name: str,
        globals: Mapping[str, Any] | None = None,  # noqa: A002  (the names of `__import__`)
        locals: Mapping[str, Any] | None = None,  # noqa: A002
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> Any:
        if name == "release.cli":
            raise KeyboardInterrupt
        return original(name, globals, locals, fromlist or (), level)

    monkeypatch.setattr(builtins, "__import__", interrupted)
    assert main() == 130


def test_command_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Words and exit code are those of the command."""
    monkeypatch.setattr("sys.argv", ["edgexgb", "inspect", "nowhere"])
    assert main() == 1
    assert "nowhere" in capsys.readouterr().err
