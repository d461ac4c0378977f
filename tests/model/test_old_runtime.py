import os
import subprocess
import sys
from pathlib import Path

from model.xgboost_engine import library_version
from tests.conftest import Packed, copy_bundle, without_forest

OLD = Path(sys.prefix) / "share" / "old-xgboost"

OPEN = """
import sys
from pathlib import Path
from model.bundle import open_bundle
from model.errors import BundleVersionError
try:
    open_bundle(Path(sys.argv[1]))
except BundleVersionError as error:
    print(error)
"""


def test_real_old_runtime_refuses_a_newer_bundle(multiclass: Packed, tmp_path: Path) -> None:
    """XGBoost 2.1.4 would load this model without complaint; the bundle's audit does not let it."""
    directory = without_forest(copy_bundle(multiclass, tmp_path))
    finished = subprocess.run(
        [sys.executable, "-c", OPEN, str(directory)],
        env={**os.environ, "PYTHONPATH": str(OLD)},
        capture_output=True,
        text=True,
        check=True,
    )
    ours = ".".join(map(str, library_version()))
    assert finished.stdout == (
        f"manifest.json: xgboost_version: got a model written by XGBoost {ours}, "
        "expected at most 2.1.4, the version installed here\n"
    )
