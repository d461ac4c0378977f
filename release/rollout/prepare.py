"""What a rollout sends out: a bundle or its image, through the gate on this machine."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.bundle import open_bundle
from model.errors import BundleError
from model.golden import parse_golden
from model.manifest import GOLDEN
from release.errors import CommandError
from release.rollout.update import Update, bundle_update, image_update
from release.validate import Report

Say = Callable[[str], object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """An update, and what is known of the model in it.

    Attributes:
        update: ready to be deployed.
        model: its name and version; empty where the bundle cannot be opened.
        rows: its golden rows, to ask for; none where they cannot be read.
    """

    update: Update
    model: str
    rows: Sequence[Mapping[str, Any]]


def prepare_bundle(bundle: Path, *, validates: bool, say: Say) -> Prepared:
    """The bundle as it is, for a process; through the gate, in this process.

    Args:
        bundle: its directory.
        validates: whether the gate has to be passed.
        say: told how it was.

    Raises:
        BundleError: it is not good.
        CommandError: there is none, it does not pass the gate, or the recipe is none of ours.
        OSError: it cannot be read.
        RecipeError: the recipe cannot be read.
    """
    if validates:
        say(_validate_here(bundle))
    update = bundle_update(bundle)
    return Prepared(update=update, model=_model(bundle), rows=_rows(bundle))


def _validate_here(bundle_path: Path) -> str:
    from release.targets import open_target
    from release.validate import all_cases, validate

    with (
        contextlib.closing(open_bundle(bundle_path)) as bundle,
        open_target("in-process", bundle_path, None) as target,
    ):
        report = validate(bundle, target, all_cases(bundle))
    return _check_passed(report, str(bundle_path), "in this process")


def prepare_image(
    bundle: Path, reference: str | None, *, network: str | None, validates: bool, say: Say
) -> Prepared:
    """The image of the bundle, built where it has to be; through the gate, as a Lambda.

    The second door, the component, is tried by the deployment itself.

    Args:
        bundle: its directory.
        reference: of an image that was built of it; None to build it, or take what docker has.
        network: of the build's steps, as docker's own option.
        validates: whether the gate has to be passed.
        say: told how it was.

    Raises:
        BundleError: the bundle is not good.
        CommandError: there is no image of the bundle, it does not pass the gate, or the recipe is
            none of ours.
        OSError: the bundle cannot be read.
        RecipeError: the recipe cannot be read.
    """
    from release.image.build import build_image
    from release.image.docker import BuildError
    from release.image.facts import find_image
    from release.image.validate import check_bundle, extracted_bundle, validate_image

    if reference is None:
        options = () if network is None else ("--network", network)
        try:
            reference = build_image(bundle, options=options).reference
        except BuildError as error:
            for line in error.lines:
                say(line)
            raise
    image = find_image(reference)
    if validates:
        with (
            extracted_bundle(image) as inside,
            contextlib.closing(open_bundle(inside)) as found,
            contextlib.closing(open_bundle(bundle)) as given,
        ):
            check_bundle(image, found, given)
            report = validate_image(image, inside, doors=("lambda",)).doors[0].report
        say(_check_passed(report, reference, f"{reference} as a Lambda"))
    update = image_update(image.id, image.layers)
    return Prepared(update=update, model=_model(bundle), rows=_rows(bundle))


def _check_passed(report: Report, place: str, target: str) -> str:
    """How the gate was passed.

    Raises:
        CommandError: it was not.
    """
    if not report.passed:
        failed = next(group for group in report.groups if group.failed)
        observed = f"{report.n_failed} of {report.n_checks} checks failed"
        first = f"{failed.name}, {failed.failures[0]}"
        raise CommandError(f"{place}: got {observed}, expected none; first: {first}")
    return f"gate, {target}: {report.n_checks} of {report.n_checks} passed"


def _model(bundle_path: Path) -> str:
    try:
        with contextlib.closing(open_bundle(bundle_path, audit=False)) as bundle:
            return f"{bundle.manifest.name} {bundle.manifest.version}"
    except BundleError:
        return ""


def _rows(bundle_path: Path) -> list[dict[str, Any]]:
    """Golden rows to ask for, of whatever bundle; none where they cannot be read."""
    try:
        return [it.row for it in parse_golden((bundle_path / GOLDEN).read_bytes())]
    except (BundleError, OSError):
        return []
