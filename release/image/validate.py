"""`edgexgb image validate`: the whole gate against an image, as the Lambda and as the component.

Each door's container is asked of docker which image it runs; a report exists only where both run
the one that was named.
"""

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from model.bundle import Bundle, open_bundle
from release.errors import CommandError
from release.image.build import DOORS
from release.image.docker import run_docker
from release.image.facts import MODEL_DIGEST, OurImage, find_image
from release.image.owner import created
from release.image.report import DoorReport, ImageReport
from release.image.run import Limits, read_limits, run_lambda
from release.targets import HttpTarget
from release.validate import TIMED_REQUESTS, all_cases, validate

REPORTS = Path("build") / "image-report"

_BUNDLE = "/opt/bundle"
"""Where a bundle is in an image; see the Dockerfile."""

_REFRESH_S = 0.1

OnCases = Callable[[str, int], object]
OnRequest = Callable[[str], object]
"""Are told, with the door's name, how many cases there will be, and of each request."""


@contextlib.contextmanager
def extracted_bundle(image: OurImage) -> Iterator[Path]:
    """The bundle of an image, in a directory that does not outlive the block.

    Nothing in the image is run.

    Raises:
        CommandError: there is none.
    """
    with (
        tempfile.TemporaryDirectory(prefix="edgexgb-image-") as folder,
        created(image.id) as container,
    ):
        run_docker("cp", f"{container}:{_BUNDLE}/.", folder)
        yield Path(folder)


def check_bundle(image: OurImage, found: Bundle, given: Bundle | None) -> None:
    """Checks that an image's bundle is the one that its label, and whoever asks, names.

    Raises:
        CommandError: it is another.
    """
    label = image.labels[MODEL_DIGEST]
    if found.digest != label:
        raise CommandError(
            f"{image.reference}: got a bundle with the digest {found.digest}, expected {label} "
            f"as its label {MODEL_DIGEST} says"
        )
    if given is not None and found.digest != given.digest:
        raise CommandError(
            f"{image.reference}: got a bundle with the digest {found.digest}, expected "
            f"{given.digest} as in --bundle"
        )


def validate_image(  # noqa: PLR0913  (the keywords are settings with defaults)
    image: OurImage,
    bundle: Path,
    *,
    doors: tuple[str, ...] = DOORS,
    limits: Limits | None = None,
    personality: str = "classic",
    on_cases: OnCases = lambda _door, _n: None,
    on_request: OnRequest = lambda _door: None,
) -> ImageReport:
    """The gate's report on an image.

    Args:
        image: which.
        bundle: the directory of what the image has in it.
        doors: those to try, of `DOORS`.
        limits: of the Lambda's container; the component's are in its recipe.
        personality: the component's nucleus: `classic` or `lite`.
        on_cases: called for each door with the number of cases that it will be asked.
        on_request: called after each case, and after each of the `TIMED_REQUESTS`.

    Raises:
        CommandError: a door does not open, or its container runs another image.
        BundleError: the bundle cannot be opened.
        DeviceError: the core device does not start.
    """
    reports = []
    for door in doors:
        if door == "lambda":
            found = _validate_lambda(image, bundle, limits or Limits(), on_cases, on_request)
        else:
            found = _validate_component(image, bundle, personality, on_cases, on_request)
        if found.image != image.id:
            raise CommandError(
                f"{door}: got a container that runs {found.image}, expected {image.id}"
            )
        reports.append(found)
    return ImageReport(image=image.id, reference=image.reference, doors=reports)


def _validate_lambda(
    image: OurImage, bundle: Path, limits: Limits, on_cases: OnCases, on_request: OnRequest
) -> DoorReport:
    with (
        contextlib.closing(open_bundle(bundle)) as opened,
        run_lambda(image, limits=limits) as container,
        contextlib.closing(HttpTarget("the image as a Lambda", container.url)) as target,
    ):
        cases = all_cases(opened)
        on_cases("lambda", len(cases))
        try:
            report = validate(opened, target, cases, on_request=lambda: on_request("lambda"))
        except CommandError as error:
            raise CommandError(f"{error}{_last_line(container.log())}") from error
        return DoorReport(door="lambda", image=container.image, report=report)


def _last_line(log: str) -> str:
    lines = [line for line in log.splitlines() if line.strip()]
    return f"; the container's last line: {lines[-1][:300]}" if lines else ""


def _validate_component(
    image: OurImage, bundle: Path, personality: str, on_cases: OnCases, on_request: OnRequest
) -> DoorReport:
    # A core device, for this door alone.
    from release.components import INFERENCE
    from release.image.component import validate_component

    seen: list[str] = []

    def look() -> None:
        if not seen:  # asked while it answers: the container is gone once the report is there
            form = ("container", "inspect", "--format", "{{.Image}}")
            seen.append(run_docker(*form, INFERENCE).strip())
        on_request("component")

    report = validate_component(
        image.id,
        bundle,
        personality=personality,
        on_cases=lambda cases: on_cases("component", len(cases)),
        on_request=look,
    )
    return DoorReport(door="component", image=seen[0], report=report)


# --- the command ----------------------------------------------------------------------------------


def run(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb image validate`; the exit code.

    Raises:
        CommandError: see `validate_image`; or the image has another bundle than the one given.
        BundleError: a bundle is not good.
        DeviceError: the core device does not start.
        OSError: the report cannot be written.
    """
    from rich.console import Console

    from release.image.report import show_image_report, write_image_report

    image = find_image(arguments.image)
    doors = DOORS if arguments.door == "both" else (arguments.door,)
    with contextlib.ExitStack() as stack:
        bundle = stack.enter_context(extracted_bundle(image))
        found = stack.enter_context(contextlib.closing(open_bundle(bundle)))
        given = None
        if arguments.bundle is not None:
            given = stack.enter_context(contextlib.closing(open_bundle(arguments.bundle)))
        check_bundle(image, found, given)
        with _progress(doors) as (on_cases, on_request):
            report = validate_image(
                image,
                bundle,
                doors=doors,
                limits=read_limits(arguments),
                personality=arguments.personality,
                on_cases=on_cases,
                on_request=on_request,
            )
    files = write_image_report(report, arguments.report or REPORTS)
    if arguments.json:
        print(report.to_json())
    else:
        show_image_report(report, Console())
        print(f"report: {files[1]} (and .json)")
    if not report.passed:
        print(f"edgexgb image: error: {_first_failure(report)}", file=sys.stderr)
        return 1
    return 0


def _first_failure(report: ImageReport) -> str:
    failed = [(it.door, group) for it in report.doors for group in it.report.groups if group.failed]
    door, group = failed[0]
    return f"{report.n_failed} checks failed; first, {door}: {' '.join(group.failures[0].split())}"


@contextlib.contextmanager
def _progress(doors: tuple[str, ...]) -> Iterator[tuple[OnCases, OnRequest]]:
    """A bar for each door, on stderr; without a thread, as processes are started meanwhile."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(
        console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    ) as bars:
        tasks = {door: bars.add_task(door, total=None) for door in doors}
        bars.refresh()
        shown = 0.0

        def begin(door: str, n_cases: int) -> None:
            bars.update(tasks[door], total=n_cases + TIMED_REQUESTS, refresh=True)

        def advance(door: str) -> None:
            nonlocal shown
            bars.advance(tasks[door])
            if time.monotonic() - shown > _REFRESH_S:
                bars.refresh()
                shown = time.monotonic()

        yield begin, advance
