"""Whether XGBoost loads a model file, tried in a process of its own. Not shipped.

Over a damaged file the library may end its process, never come back, or ask for all the memory
there is.
"""

import ctypes
import resource
import subprocess
import sys
from pathlib import Path

from model.xgboost_engine import load_library

_SECONDS, _BYTES_PER_SECOND = 30.0, 1_000_000
_MEMORY_BYTES, _MEMORY_PER_BYTE = 2 * 1024**3, 30


def can_load(path: Path) -> bool:
    """Whether the library takes the file, within a time and a memory that its size allows for."""
    command = [sys.executable, "-m", "model.probe", str(path)]
    limit_s = _SECONDS + path.stat().st_size / _BYTES_PER_SECOND
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=limit_s)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _load(path: Path) -> int:
    library, content, handle = load_library(), path.read_bytes(), ctypes.c_void_p()
    most = _MEMORY_BYTES + _MEMORY_PER_BYTE * len(content)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    library.XGBoosterCreate(None, 0, ctypes.byref(handle))
    size = ctypes.c_uint64(len(content))
    status: int = library.XGBoosterLoadModelFromBuffer(handle, content, size)
    return status


if __name__ == "__main__":
    sys.exit(_load(Path(sys.argv[1])))
