"""Section 4: from a process's start to its first prediction, its memory, what is installed."""

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from bench.crew import EXTRA_PYTHON
from bench.models import ROOT, SPECS, build
from bench.plan import COMPETITORS, Plan
from bench.progress import Progress
from bench.spread import spread

_OURS = """
from container import lambda_function
lambda_function.handler(open({text!r}, "rb").read(), None)
"""
_WAY = """
from pathlib import Path
from bench.{module} import {name}
way = {name}(Path({directory!r}), 0)
way.answer(open({text!r}).read())
"""
_CLASSES = {
    "sample": ("ways", "Sample"),
    "inplace": ("ways", "Inplace"),
    "capi": ("ways", "CApi"),
    "onnx": ("competitors", "Onnx"),
    "tl2cgen": ("competitors", "Tl2cgen"),
    "mlserver": ("competitors", "MLServer"),
}
DOORS = ("the Lambda door", "the device door", "our own code")
"""What has to be installed to serve a bundle with a forest; see `bench.budgets`."""

LIBRARY = "XGBoost's library, where no forest serves"

_INSTALLED = {
    "the Lambda door": ("awslambdaric",),
    "the device door": ("awsiotsdk",),
    LIBRARY: ("xgboost-cpu",),
    "the sample": ("xgboost-cpu", "pandas", "scikit-learn", "awslambdaric"),
}
_IMPORTED: dict[str, str] = {
    "Lambda": "container.lambda_function",
    "device": "container.component, interface.greengrass",
    "sample": "pandas, xgboost, sklearn",
}
_IMPORTS = 12

_PEAK = """
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
"""Says the largest resident memory in KiB. What wait4(2) tells is at least that of our process, of
which the new one was a copy until it ran another program. Source: proc(5); fs/exec.c of Linux."""


class StartError(Exception):
    """A process did not get to its first prediction; the text says why in short."""


def measure(plan: Plan, progress: Progress) -> dict[str, Any]:
    """By model the starts of each way; and `installed`, `imports`."""
    progress.begin(len(plan.models) + 2)
    models = {}
    for model in plan.models:
        progress.step(f"model {model}, processes")
        models[model] = _measure_starts(plan, model)
    progress.step("installed files")
    installed = _measure_installed()
    progress.step("imports")
    environment = _environment(build(SPECS[plan.models[0]]))
    imports = {what: _measure_imports(_IMPORTED[what], environment) for what in plan.imports}
    return {"models": models, "installed": installed, "imports": imports}


def _measure_starts(plan: Plan, model: str) -> dict[str, Any]:
    directory = build(SPECS[model])
    environment = _environment(directory)
    scripts = {"bare Python": ""}
    for way in plan.start_ways:
        scripts[way] = _script(way, directory)
    wall: dict[str, list[float]] = {}
    memory: dict[str, list[float]] = {}
    reasons: dict[str, str] = {}
    for number in range(plan.starts + 1):
        for way, script in scripts.items():
            if way in reasons:
                continue
            python = EXTRA_PYTHON if way in COMPETITORS else Path(sys.executable)
            try:
                seconds, peak_bytes = _start(python, script, environment)
            except StartError as error:
                reasons[way] = str(error)
                continue
            if number:  # a first start fills the caches
                wall.setdefault(way, []).append(seconds * 1e3)
                memory.setdefault(way, []).append(peak_bytes)
    return {
        "ways": {
            way: {"ms": spread([wall[way]]).to_json(), "rss_bytes": spread([memory[way]]).p50}
            for way in wall
            if way not in reasons
        },
        "reasons": reasons,
    }


def _script(way: str, directory: Path) -> str:
    text = directory / "first.json"
    stem = "v2-1" if way == "mlserver" else "requests-1"
    if way == "mlserver":
        text = directory / "first-v2.json"
    text.write_text((directory / f"{stem}.jsonl").read_text().partition("\n")[0])
    if way == "ours":
        return _OURS.format(text=str(text))
    module, name = _CLASSES[way]
    return _WAY.format(module=module, name=name, directory=str(directory), text=str(text))


def _environment(directory: Path) -> dict[str, str]:
    return {
        **os.environ,
        "EDGEXGB_BUNDLE": str(directory / "bundle"),
        "EDGEXGB_LOG_LEVEL": "ERROR",
        "PYTHONWARNINGS": "ignore",
    }


def _start(python: Path, script: str, environment: Mapping[str, str]) -> tuple[float, float]:
    """Seconds and largest resident bytes of a process that runs a script.

    Raises:
        StartError: it fails; the text is the last line of what it says.
    """
    if not python.exists():
        raise StartError("not installed; `make bench` installs it")
    start = time.perf_counter()
    done = subprocess.run(
        [str(python), "-c", script + _PEAK],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.perf_counter() - start
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"ended with code {done.returncode}"]
        raise StartError(lines[-1][:120])
    return seconds, int(done.stdout.split()[-1]) * 1024.0


# --- what is installed ----------------------------------------------------------------------------


def _measure_installed() -> dict[str, Any]:
    """Bytes on disk of what each way needs, dependencies included; files that exist, not wheels."""
    found: dict[str, Any] = {}
    for what, roots in _INSTALLED.items():
        packages = _closure(roots)
        sizes = {package: _size(package) for package in packages}
        if what == LIBRARY:  # its Python dependencies are not imported
            sizes = {roots[0]: sizes.get(roots[0], 0)}
        found[what] = {"bytes": sum(sizes.values()), "packages": sizes}
    own = sum(
        file.stat().st_size
        for package in ("model", "interface", "container")
        for file in (ROOT / package).rglob("*")
        if file.is_file() and file.suffix in {".py", ".so", ".yaml"}
    )
    found["our own code"] = {"bytes": own, "packages": {}}
    return found


def _closure(roots: tuple[str, ...]) -> list[str]:
    todo, seen = list(roots), set()
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name in seen:
            continue
        try:
            requires = distribution(name).requires or []
        except PackageNotFoundError:
            continue
        seen.add(name)
        for text in requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return sorted(seen)


def _size(name: str) -> int:
    total = 0
    for file in distribution(name).files or []:
        path = Path(str(file.locate()))
        if path.is_file() and path.suffix != ".pyc":
            total += path.stat().st_size
    return total


# --- imports --------------------------------------------------------------------------------------

_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \|\s*(\S+)")


def _measure_imports(modules: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Milliseconds of importing, by top-level package, the largest first; by `-X importtime`."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", f"import {modules}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    own: Counter[str] = Counter()
    for line in done.stderr.splitlines():
        if match := _LINE.match(line):
            own[match[3].partition(".")[0]] += int(match[1])
    found = {name: micros / 1e3 for name, micros in own.most_common(_IMPORTS)}
    return {"total": sum(own.values()) / 1e3, **found}
