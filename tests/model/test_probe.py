from pathlib import Path

import pytest

from model.probe import can_load
from tests.conftest import Packed


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_whole_model_is_loaded(regression: Packed, tmp_path: Path, suffix: str) -> None:
    """Both of XGBoost's formats."""
    path = tmp_path / f"model.{suffix}"
    regression.estimator.save_model(path)
    assert can_load(path)


@pytest.mark.parametrize("content", [b"", b"{", b"no model", b"{}"])
def test_file_that_is_no_model_is_not(tmp_path: Path, content: bytes) -> None:
    """Over some of these the library ends its process, which is not this one."""
    path = tmp_path / "model.ubj"
    path.write_bytes(content)
    assert not can_load(path)


def test_length_beyond_all_memory_is_not(regression: Packed, tmp_path: Path) -> None:
    """A damaged length makes the library ask for memory that the probe does not have."""
    path = tmp_path / "model.ubj"
    regression.estimator.save_model(path)
    content = path.read_bytes()
    at = content.index(b"split_conditions") + len(b"split_conditions")
    length = content.index(b"#L", at) + 2
    path.write_bytes(content[:length] + b"\x00\x00\x00\x10" + b"\x00" * 4 + content[length + 8 :])
    assert not can_load(path)
