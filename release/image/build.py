"""`edgexgb image`: the image that is validated as a Lambda and runs as a component."""

import argparse
import contextlib
import json
import re
import sys
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from model.bundle import check_replay, open_bundle
from model.manifest import FOREST, Manifest
from nucleus.personality import PERSONALITIES
from release.arguments import port, positive
from release.device import whole
from release.errors import CommandError
from release.image.context import build_context, source_revision
from release.image.docker import BuildError, build
from release.image.facts import ImageFacts, read_image

BASE = "debian:trixie-slim"
ENGINES = ("auto", "forest", "xgboost")
DOORS = ("lambda", "component")

_STEP_WIDTH = 100
_STEP = re.compile(r"Step \d+/\d+ : .*|#\d+ \[.*\d+/\d+\] .*")


def add_image(parser: argparse.ArgumentParser) -> None:
    """Adds the subcommands."""
    commands = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(run=run)
        added.add_argument("--json", action="store_true", help="print JSON")
        return added

    building = command("build", _build, "build the image of a bundle")
    building.add_argument("bundle", type=Path, help="the bundle's directory")
    building.add_argument("--tag", help="what to call it (default: edgexgb-NAME:VERSION)")
    building.add_argument("--base", default=BASE, help=f"a Debian image (default: {BASE})")
    building.add_argument(
        "--engine",
        choices=ENGINES,
        default="auto",
        help="forest: our kernel; xgboost: also XGBoost's library (default: what the bundle needs)",
    )
    building.add_argument("--platform", help="linux/amd64 or linux/arm64 (default: this machine's)")
    building.add_argument("--network", help="of the build's steps, as docker's own option")
    building.add_argument("--no-cache", action="store_true", help="run every step anew")
    inspecting = command("inspect", _inspect, "show what an image is made of, without running it")
    inspecting.add_argument("image", help="its tag or digest")
    inspecting.add_argument("--sbom", type=Path, metavar="FILE", help="write CycloneDX JSON there")
    running = command("run", _run, "run an image as a Lambda on loopback until Ctrl-C")
    running.add_argument("image", help="its tag or digest")
    running.add_argument("--port", type=port, help="(default: a free one)")
    _add_limits(running)
    validating = command("validate", _validate, "replay the golden rows against an image's doors")
    validating.add_argument("image", help="its tag or digest")
    validating.add_argument("--bundle", type=Path, help="refuse an image of another bundle")
    validating.add_argument("--report", type=Path, help="where to (default: build/image-report)")
    validating.add_argument(
        "--door",
        choices=("both", *DOORS),
        default="both",
        help="the Lambda, the component on a core device here (default: both)",
    )
    validating.add_argument(
        "--personality",
        choices=sorted(PERSONALITIES),
        default="classic",
        help="the nucleus that runs the component (default: classic)",
    )
    _add_limits(validating)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    """Adds what the Lambda's container may use; see `release.image.run.Limits`."""
    parser.add_argument("--memory", type=whole, default=128, metavar="MB", help="(default: 128)")
    parser.add_argument(
        "--cpus", type=positive, default=1.0, help="of the Lambda, 0.5 say (default: 1)"
    )
    parser.add_argument("--user", default="12345:54321", help="UID[:GID] (default: %(default)s)")


# --- build ----------------------------------------------------------------------------------------


def build_image(
    bundle: Path,
    *,
    tag: str | None = None,
    base: str = BASE,
    engine: str = "auto",
    options: tuple[str, ...] = (),
) -> ImageFacts:
    """Builds the image of a bundle, which must first replay its golden rows here.

    Args:
        bundle: the bundle's directory.
        tag: what to call it; `default_tag` where None.
        base: a Debian image, for the interpreter and the build.
        engine: one of `ENGINES`.
        options: more options of `docker build`.

    Raises:
        BundleError: the bundle is not good.
        BuildError: a step of the build failed.
        CommandError: the bundle has no compact forest for that engine, there is no docker, daemon
            or base image, or the project was not installed from a checkout.
    """
    with contextlib.closing(open_bundle(bundle)) as opened:
        check_replay(opened)
        manifest = opened.manifest
        reference = tag or default_tag(manifest)
        arguments = {
            "BASE_IMAGE": base,
            "ENGINE": choose_engine(manifest, engine),
            "VERSION": version("edgexgb"),
            "REVISION": source_revision(),
            "MODEL_NAME": manifest.name,
            "MODEL_VERSION": manifest.version,
            "MODEL_DIGEST": opened.digest,
        }
        with build_context(bundle, opened) as context:
            build(
                context,
                tag=reference,
                build_arguments=arguments,
                options=options,
                on_line=_show_step,
            )
    return read_image(reference)


def default_tag(manifest: Manifest) -> str:
    """A tag with the model's name and version, in the characters that docker allows.

    Source: distribution, `reference/reference.go`: lower case in names, 128 characters in tags.
    """
    name = re.sub(r"[^a-z0-9]+", "-", manifest.name.lower()).strip("-") or "model"
    version = re.sub(r"[^A-Za-z0-9_.-]", "-", manifest.version)[:128]
    return f"edgexgb-{name}:{version}"


def choose_engine(manifest: Manifest, engine: str) -> str:
    """The engine of the image, `forest` or `xgboost`.

    Raises:
        CommandError: the forest is asked for, and the bundle has none.
    """
    has_forest = FOREST in manifest.files
    if engine == "auto":
        return "forest" if has_forest else "xgboost"
    if engine == "forest" and not has_forest:
        observed = f"a bundle without {FOREST} ({manifest.forest.refusal})"
        raise CommandError(f"--engine forest: got {observed}, expected one, or --engine xgboost")
    return engine


def _build(arguments: argparse.Namespace) -> int:
    options: list[str] = []
    for name in ("platform", "network"):
        if (value := getattr(arguments, name)) is not None:
            options += [f"--{name}", value]
    if arguments.no_cache:
        options.append("--no-cache")
    try:
        facts = build_image(
            arguments.bundle,
            tag=arguments.tag,
            base=arguments.base,
            engine=arguments.engine,
            options=tuple(options),
        )
    except BuildError as error:
        for line in error.lines:
            print(line, file=sys.stderr)
        raise
    _print(facts, as_json=arguments.json)
    return 0


def _show_step(line: str) -> None:
    if _STEP.fullmatch(line):
        text = " ".join(line.split())
        print(text if len(text) <= _STEP_WIDTH else f"{text[: _STEP_WIDTH - 1]}…", file=sys.stderr)


# --- inspect --------------------------------------------------------------------------------------


def _inspect(arguments: argparse.Namespace) -> int:
    facts = read_image(arguments.image)
    if arguments.sbom is not None:
        from release.image.sbom import write_sbom  # a library that nothing else needs

        write_sbom(facts, arguments.sbom)
    _print(facts, as_json=arguments.json)
    return 0


# --- run and validate -----------------------------------------------------------------------------


def _run(arguments: argparse.Namespace) -> int:
    from release.image.run import run  # what builds and inspects needs no emulator

    return run(arguments)


def _validate(arguments: argparse.Namespace) -> int:
    from release.image.validate import run

    return run(arguments)


def _print(facts: ImageFacts, *, as_json: bool) -> None:
    from release.image.show import show_image

    if as_json:
        fields = {**asdict(facts), "size_bytes": facts.size_bytes}
        print(json.dumps({**fields, "update": asdict(facts.update)}, indent=2, ensure_ascii=False))
    else:
        show_image(facts, Console())
