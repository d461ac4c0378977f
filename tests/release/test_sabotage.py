from pathlib import Path

import pytest

from model.bundle import check_replay, open_bundle
from model.errors import BundleMismatchError
from release.sabotage import sabotage
from tests.conftest import Packed


def test_copy_opens_but_does_not_replay(multiclass: Packed, tmp_path: Path) -> None:
    """Every checksum fits; only the replay finds out, at the first row."""
    bundle = open_bundle(sabotage(multiclass.directory, tmp_path / "out", "7.0.0"))
    assert bundle.manifest.version == "7.0.0"
    with pytest.raises(BundleMismatchError, match=r"row 0\.prediction"):
        check_replay(bundle)
    bundle.close()


def test_second_copy_takes_the_place_of_the_first(multiclass: Packed, tmp_path: Path) -> None:
    """Nothing of what was there stays, and the original is as it was."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "other").write_text("")
    assert sabotage(multiclass.directory, out, "7.0.0") == out
    assert sorted(it.name for it in out.iterdir()) == sorted(
        it.name for it in multiclass.directory.iterdir()
    )
    bundle = open_bundle(multiclass.directory)
    check_replay(bundle)
    bundle.close()
