"""On what and of what a run was: a number without them says nothing."""

import json
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.crew import EXTRA_PYTHON
from bench.models import ROOT

_VECTORS = (
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "asimd",
    "sve",
)
_OURS = ("xgboost-cpu", "numpy", "pandas", "scikit-learn", "awslambdaric", "awsiotsdk")
_EXTRA = ("onnxruntime", "onnxmltools", "tl2cgen", "treelite", "mlserver-xgboost", "xgboost-cpu")
_TELL = """
import json, sys
from importlib.metadata import version
print(json.dumps({name: version(name) for name in sys.argv[1:]}))
"""


def describe_run(plan: str) -> dict[str, Any]:
    """Machine, versions, commit and time of a run that starts now."""
    cpu = _cpu()
    return {
        "plan": plan,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": {
            "cpu": cpu.get("model name", platform.processor() or platform.machine()),
            "cores": os.cpu_count(),
            "vectors": [flag for flag in _VECTORS if flag in _flags(cpu)],
            "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "load": round(os.getloadavg()[0], 2),
        },
        "python": platform.python_version(),
        "versions": {name: found for name in _OURS if (found := _version(name))},
        "competitors": _competitors(),
    }


def _cpu() -> dict[str, str]:
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in text.split("\n\n", maxsplit=1)[0].splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _flags(cpu: dict[str, str]) -> set[str]:
    return set(f"{cpu.get('flags', '')} {cpu.get('Features', '')}".split())


def _commit() -> str:
    """The commit, and whether files differ from it; `unknown` outside of a repository."""
    try:
        commit = _git("rev-parse", "--short=12", "HEAD").strip()
        return f"{commit} with changes" if _git("status", "--porcelain").strip() else commit
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _competitors() -> dict[str, str]:
    if not EXTRA_PYTHON.exists():
        return {}
    done = subprocess.run(
        [str(EXTRA_PYTHON), "-c", _TELL, *_EXTRA], capture_output=True, text=True, check=False
    )
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


if __name__ == "__main__":
    json.dump(describe_run("none"), sys.stdout, indent=2)
