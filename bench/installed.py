"""A tree of what serves, installed as in the image: compiled beforehand, and nothing else in it.

A checkout would not do: it compiles modules at each start where Python is to write no bytecode, and
its environment runs start-up files that no image has.
"""

import py_compile
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

from bench.models import BUILD, ROOT

_OURS = ("model", "interface", "container")
_PACKAGES = ("awslambdaric", "simplejson", "snapshot-restore-py")
"""Of `container/requirements.lock`, less the device's client."""

_START = """
import sys
sys.path[1:1] = [{ours!r}, {packages!r}]
from {module} import main
main({arguments!r})
"""


def install() -> Path:
    """Lays the tree out anew; where it is."""
    tree = BUILD / "installed"
    shutil.rmtree(tree, ignore_errors=True)
    for package in _OURS:
        for file in (ROOT / package).iterdir():
            if file.suffix in {".py", ".so"}:
                _put(file, tree / "ours" / package / file.name)
    _put(ROOT / "bench" / "functions.py", tree / "ours" / "functions.py")
    for name in _PACKAGES:
        for entry in distribution(name).files or []:
            if entry.suffix in {".py", ".so"} and ".." not in entry.parts:
                _put(Path(str(entry.locate())), tree / "packages" / entry)
    _write_start(tree, "ours", "container.entry", [])
    _write_start(tree, "empty", "awslambdaric.__main__", ["awslambdaric", "functions.empty"])
    return tree


def command(tree: Path, function: str) -> list[str]:
    """What starts a function of the tree, `ours` or `empty`, by the interpreter's flags there."""
    return [sys.executable, "-ISB", str(tree / f"{function}.py")]


def _write_start(tree: Path, function: str, module: str, arguments: list[str]) -> None:
    text = _START.format(
        ours=str(tree / "ours"),
        packages=str(tree / "packages"),
        module=module,
        arguments=arguments,
    )
    (tree / f"{function}.py").write_text(text)


def _put(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    if target.suffix == ".py":
        py_compile.compile(str(target), doraise=True)
