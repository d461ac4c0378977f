"""Lays out the image's file system, in the build stage: `python3 -m release.image.rootfs STEP …`.

Each step writes a tree that one COPY of the Dockerfile takes over whole, so that nothing in a layer
has a date or a mode of the build's. Only the standard library is used here, and Debian's own tools.

Modules are compiled beforehand, because the image's root may be read-only. Those of others come
without their sources: a line number in a traceback is enough there, and it halves their size. Ours
bring them, as the line itself is what a report from a far device needs.
"""

import argparse
import ast
import os
import py_compile
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

from release.image.stdlib import is_dropped, is_dropped_extension

APP = Path("opt/edgexgb")
PACKAGES = Path("opt/packages")
BUNDLE = Path("opt/bundle")
START = APP / "start"

WORKSTATION_ONLY = frozenset(
    f"model.{name}"
    for name in [
        *["dataset", "forest", "hyperparameters", "pack", "plots", "probe", "proof", "source"],
        *["tables", "train", "ubj"],
    ]
)
"""Modules that make bundles; import-linter forbids them to what serves."""

_STDLIB = Path(sysconfig.get_path("stdlib"))
_USER = 65_532
_MODES = {True: 0o755, False: 0o644}

_LAUNCHER = f"""#!{os.path.realpath(sys.executable)} -ISBXutf8
import sys

sys.path[1:1] = ["/{APP}", "/{PACKAGES}"]

from container.entry import main

sys.exit(main(sys.argv[1:]))
"""
"""Isolated, without `site`, without writing bytecode: nothing but the image decides what runs."""


# --- steps ----------------------------------------------------------------------------------------


def system(out: Path, packages: Path) -> None:
    """The interpreter, its library, and the shared libraries of all that is there.

    Args:
        out: the tree to write.
        packages: the tree of `packages`, whose libraries count too.
    """
    interpreter = Path(os.path.realpath(sys.executable))
    _copy(interpreter, out / interpreter.relative_to("/"))
    (out / "usr/bin/python3").symlink_to(interpreter.name)
    files = [interpreter, *_standard_library(out)]
    libraries = sorted(_libraries([*files, *_elf_files(packages)]))
    for path in libraries:
        _copy(path, out / path.relative_to("/"))
    for name in ("lib", "lib64"):
        if (Path("/") / name).is_symlink() and (out / "usr" / name).is_dir():
            (out / name).symlink_to(f"usr/{name}")
    _copy(Path("/usr/lib/os-release"), out / "usr/lib/os-release")
    _describe_packages(out, [*files, *libraries])
    _add_user(out)


def packages(installed: Path, out: Path, *, engine: str) -> None:
    """What pip has installed, less what serving never opens.

    Args:
        installed: pip's target directory.
        out: the tree to write.
        engine: `xgboost` keeps XGBoost's library, but none of its Python.
    """
    unwanted = re.compile(
        r".*\.(pyi|h|c|cpp|pxd|typed)|RECORD|INSTALLER|REQUESTED|direct_url\.json"
    )
    for path in _files(installed):
        name = path.relative_to(installed)
        folders = set(name.parts[:-1])
        if unwanted.fullmatch(name.name) or folders & {"__pycache__", "tests", "test", "bin"}:
            continue
        if name.parts[0] == "xgboost" and name.parts[1] not in {"lib", "VERSION"}:
            continue
        target = out / PACKAGES / name
        if path.suffix == ".py":
            _compile(path, target.with_suffix(".pyc"), Path("/") / PACKAGES / name)
        else:
            _copy(path, target)
            if _is_elf(target):
                subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)
    if engine == "xgboost":
        # Where the library is looked for; the package itself would need numpy and scipy.
        (out / PACKAGES / "xgboost/__init__.py").touch()


def code(source: Path, out: Path) -> None:
    """Our own modules with the compiled kernels, and what starts them.

    Args:
        source: the checkout, of which `model`, `interface`, `container` and `setup.py` are read.
        out: the tree to write.
    """
    for folder in ("model", "interface", "container"):
        for path in sorted((source / folder).glob("*.py")):
            if f"{folder}.{path.stem}" in WORKSTATION_ONLY:
                continue
            target = out / APP / folder / path.name
            _copy(path, target)
            cached = f"{path.stem}.{sys.implementation.cache_tag}.pyc"
            _compile(
                path, target.parent / "__pycache__" / cached, Path("/") / APP / folder / path.name
            )
    for name in ("_forest", "_rows"):
        _build_extension(source, name, out / APP / "model")
    _copy(source / "LICENSE", out / APP / "LICENSE")
    start = out / START
    start.write_text(_LAUNCHER)
    start.chmod(0o755)


def bundle(source: Path, out: Path) -> None:
    """The model, as it is.

    Args:
        source: the bundle's directory.
        out: the tree to write.
    """
    for path in _files(source):
        target = out / BUNDLE / path.relative_to(source)
        _copy(path, target)
        target.chmod(_MODES[False])


def seal(out: Path) -> None:
    """Gives every entry of a tree the same owner, date and one of two modes."""
    date = int(os.environ["SOURCE_DATE_EPOCH"])
    for path in sorted([out, *out.rglob("*")]):
        if not path.is_symlink():
            runs = path.is_dir() or bool(path.stat().st_mode & 0o100)
            path.chmod(0o1777 if path == out / "tmp" else _MODES[runs])
        os.chown(path, 0, 0, follow_symlinks=False)
        os.utime(path, (date, date), follow_symlinks=False)


# --- the interpreter ------------------------------------------------------------------------------


def _standard_library(out: Path) -> Iterator[Path]:
    """Writes the standard library; yields what of Debian's it was made of."""
    for path in _files(_STDLIB):
        name = path.relative_to(_STDLIB)
        if name.parts[0] == "lib-dynload":
            if not is_dropped_extension(path.name.split(".")[0]):
                _copy(path, out / path.relative_to("/"))
                yield path
        elif path.suffix == ".py" and not is_dropped(".".join(name.with_suffix("").parts)):
            target = (out / path.relative_to("/")).with_suffix(".pyc")
            _compile(path, target, path)
            yield path


def _libraries(files: Iterable[Path]) -> set[Path]:
    """The shared libraries that the files need, the loader too, each at its real place."""
    found: set[Path] = set()
    for file in files:
        if not _is_elf(file):
            continue
        # What a package brings itself is found beside it, and is in its tree already.
        listing = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=True)
        for name in re.findall(r"(/\S+) \(0x", listing.stdout):
            if name.startswith(("/usr/", "/lib")):
                path = Path(name)
                found.add(Path(os.path.realpath(path.parent)) / path.name)
        if "not found" in listing.stdout:
            sys.exit(f"{file}: got a library that is not found, expected all:\n{listing.stdout}")
    return found


def _describe_packages(out: Path, files: Iterable[Path]) -> None:
    """Leaves the records and licences of the Debian packages that the files came from.

    They stand where scanners of images look for them.
    Source: GoogleContainerTools/distroless, `/var/lib/dpkg/status.d`.
    """
    for name in sorted(_packages_of(files)):
        record = _output(["dpkg-query", "--status", name])
        plain = name.split(":")[0]
        status = out / "var/lib/dpkg/status.d" / plain
        status.parent.mkdir(parents=True, exist_ok=True)
        status.write_text(record)
        licence = Path(os.path.realpath(f"/usr/share/doc/{plain}/copyright"))
        if licence.is_file():
            _copy(licence, out / "usr/share/doc" / plain / "copyright")


def _packages_of(files: Iterable[Path]) -> set[str]:
    """The Debian packages of files, as `name` or `name:architecture`."""
    real = {os.path.realpath(path) for path in files}
    # Older packages are recorded without `/usr`; of the two forms one is found.
    names = sorted(real | {path.removeprefix("/usr") for path in real})
    found = subprocess.run(
        ["dpkg-query", "--search", *names], capture_output=True, text=True, check=False
    )
    return {line.split(": ")[0].split(", ")[0] for line in found.stdout.splitlines()}


def _add_user(out: Path) -> None:
    """Leaves a user without rights, a place for temporary files, and the mount points."""
    etc = out / "etc"
    etc.mkdir()
    line = f"nonroot:x:{_USER}:{_USER}:nonroot:/tmp:/sbin/nologin\n"
    (etc / "passwd").write_text(f"root:x:0:0:root:/:/sbin/nologin\n{line}")
    (etc / "group").write_text(f"root:x:0:\nnonroot:x:{_USER}:\n")
    (etc / "os-release").symlink_to("../usr/lib/os-release")
    (out / "tmp").mkdir()


# --- files ----------------------------------------------------------------------------------------


def _build_extension(source: Path, name: str, folder: Path) -> None:
    """Compiles an extension as setuptools would, with the flags of `setup.py`."""
    tree = ast.parse((source / "setup.py").read_text())
    flags = next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLAGS"
    )
    target = folder / f"{name}{sysconfig.get_config_var('EXT_SUFFIX')}"
    command = [
        *["gcc", "-shared", "-fPIC", *shlex.split(sysconfig.get_config_var("CFLAGS") or "")],
        *[*flags, "-g0", "-Wl,--build-id=none", "-I", sysconfig.get_path("include")],
        *[f"model/{name[1:]}.c", "-o", str(target), "-lm", "-lpthread"],
    ]
    subprocess.run(command, cwd=source, check=True)
    subprocess.run(["strip", "--strip-unneeded", str(target)], check=True)


def _compile(source: Path, target: Path, place: Path) -> None:
    """Compiles a module; `place` is where tracebacks say it is."""
    target.parent.mkdir(parents=True, exist_ok=True)
    py_compile.compile(
        str(source),
        cfile=str(target),
        dfile=str(place),
        doraise=True,
        invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH,
    )


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(_MODES[os.access(source, os.X_OK)])


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _elf_files(folder: Path) -> list[Path]:
    return [path for path in _files(folder) if _is_elf(path)]


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def main() -> None:
    """Runs one step."""
    parser = argparse.ArgumentParser()
    parser.add_argument("step", choices=("packages", "system", "code", "bundle"))
    parser.add_argument("out", type=Path)
    parser.add_argument("source", type=Path, help="what the step reads")
    parser.add_argument("--engine", choices=("forest", "xgboost"), default="forest")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True)
    match arguments.step:
        case "packages":
            packages(arguments.source, arguments.out, engine=arguments.engine)
        case "system":
            system(arguments.out, arguments.source)
        case "code":
            code(arguments.source, arguments.out)
        case "bundle":
            bundle(arguments.source, arguments.out)
    seal(arguments.out)


if __name__ == "__main__":
    main()
