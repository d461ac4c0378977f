"""`edgexgb rollout`: a bundle goes to a device as an update, proved here first, watched there."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from model.bundle import open_bundle
from model.errors import BundleError
from model.golden import parse_golden
from model.manifest import GOLDEN
from nucleus.root import DeviceRoot
from release.components import CONTAINER, INFERENCE, parse_configuration
from release.deploy import Said
from release.device import add_root, whole
from release.errors import CommandError
from release.replay import Replay, replay
from release.request import add_topics, asking
from release.rollout.deployment import Outcome, roll_out, version_on
from release.rollout.show import show_outcome
from release.rollout.update import Update, bundle_update, image_update
from release.validate import Report

_REPLAY_S = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """An update, and what is known of the model in it.

    Attributes:
        update: ready to be deployed.
        model: its name and version; empty where the bundle cannot be opened.
        rows: its golden rows, to ask for; none where they cannot be read.
    """

    update: Update
    model: str
    rows: Sequence[Mapping[str, Any]]


def add_rollout(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_root(parser)
    parser.add_argument("bundle", type=Path, help="the bundle's directory")
    parser.add_argument(
        "--image",
        metavar="IMAGE",
        help="an image that was built of the bundle (default: where the device runs images, it is "
        "built, or taken as docker has it)",
    )
    parser.add_argument("--network", help="of the build's steps, as docker's own option")
    parser.add_argument(
        "--validate",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether the gate is passed here before (default: it is); without, the device alone "
        "finds out whether the update is any good",
    )
    parser.add_argument(
        "--configure",
        action="append",
        default=[],
        metavar="COMPONENT=JSON",
        help="merge into the component's configuration",
    )
    parser.add_argument(
        "--reset",
        action="store_true",
        help="set the component's configuration back to the recipe's defaults first",
    )
    parser.add_argument(
        "--rollback",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether an update that fails is undone (default: it is; never on nucleus lite)",
    )
    parser.add_argument(
        "--timeout",
        type=whole,
        default=900,
        metavar="SECONDS",
        help="how long to watch (default: 900); the deployment itself has no limit",
    )
    add_topics(parser)
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def rollout(arguments: argparse.Namespace) -> int:
    """Runs the command; 0 where the device has the update and answers as the notebook did.

    Raises:
        CommandError: the gate is not passed, or the update cannot be deployed.
        BundleError: the bundle cannot be opened.
        DeviceError: no device runs, or it has ended.
        OSError: a file cannot be read or written.
    """
    root = DeviceRoot(arguments.root)
    platform = root.running()["platform"]
    configuration = _configuration(arguments.configure)
    if platform.get("runtime") == CONTAINER:
        prepared = _prepare_image(arguments)
    elif arguments.image is not None:
        expected = "one that was started with an --image"
        raise CommandError(f"{root.path}: got a device that runs processes, expected {expected}")
    else:
        prepared = _prepare_bundle(arguments)
    before, state = version_on(root)
    if before == prepared.update.version:
        return _is_there_already(before, state)
    _say(f"{INFERENCE}: {before or 'none'} -> {prepared.update.version}")
    with _progress() as say:
        outcome = roll_out(
            root,
            prepared.update,
            rows=prepared.rows,
            topics=_topics(arguments),
            configuration=configuration,
            resets=arguments.reset,
            rolls_back=arguments.rollback,
            timeout_s=arguments.timeout,
            say=say,
        )
    return _conclude(arguments, outcome, prepared)


def _is_there_already(version: str, state: str) -> int:
    """Says that nothing has to be done.

    Raises:
        CommandError: it is there, but does not run.
    """
    if state != "RUNNING":
        hint = f"`edgexgb device restart {INFERENCE}` tries again"
        raise CommandError(f"{INFERENCE} {version}: got {state}, expected RUNNING; {hint}")
    print(f"unchanged: {INFERENCE} {version} runs, of the same model, code and recipe")
    return 0


def _conclude(arguments: argparse.Namespace, outcome: Outcome, prepared: _Prepared) -> int:
    """Replays the golden rows where the update was accepted, and prints all of it."""
    golden: Replay | None = None
    if outcome.is_accepted:
        with asking(DeviceRoot(arguments.root), **_topics(arguments), name="rollout") as client:
            golden = replay(arguments.bundle, lambda rows: client.predict(rows, _REPLAY_S))
    if arguments.json:
        fields = {**asdict(outcome), "accepted": outcome.is_accepted, "model": prepared.model}
        print(json.dumps({**fields, "golden": golden and asdict(golden)}, indent=2))
    else:
        show_outcome(outcome, prepared.model, golden, Console(highlight=False))
    return 0 if golden is not None and not golden.differences else 1


# --- what goes out --------------------------------------------------------------------------------


def _prepare_bundle(arguments: argparse.Namespace) -> _Prepared:
    """The bundle as it is, for a process; through the gate, in this process.

    Raises:
        BundleError: it is not good.
        CommandError: it does not pass the gate.
        OSError: it cannot be read.
    """
    if arguments.validate:
        _validate_here(arguments.bundle)
    update = bundle_update(arguments.bundle)
    return _Prepared(update=update, model=_model(arguments.bundle), rows=_rows(arguments.bundle))


def _validate_here(bundle_path: Path) -> None:
    from release.targets import open_target
    from release.validate import all_cases, validate

    with (
        contextlib.closing(open_bundle(bundle_path)) as bundle,
        open_target("in-process", bundle_path, None) as target,
    ):
        report = validate(bundle, target, all_cases(bundle))
    _check_passed(report, str(bundle_path), "in this process")


def _prepare_image(arguments: argparse.Namespace) -> _Prepared:
    """The image of the bundle, built where it has to be; through the gate, as a Lambda.

    The second door, the component, is tried by the deployment itself.

    Raises:
        BundleError: the bundle is not good.
        CommandError: there is no image of the bundle, or it does not pass the gate.
        OSError: the bundle cannot be read.
    """
    from release.image import build_image
    from release.image_facts import find_image
    from release.image_validate import check_bundle, extracted_bundle, validate_image

    reference = arguments.image
    if reference is None:
        options = () if arguments.network is None else ("--network", arguments.network)
        reference = build_image(arguments.bundle, options=options).reference
    image = find_image(reference)
    if arguments.validate:
        with (
            extracted_bundle(image) as inside,
            contextlib.closing(open_bundle(inside)) as found,
            contextlib.closing(open_bundle(arguments.bundle)) as given,
        ):
            check_bundle(image, found, given)
            report = validate_image(image, inside, doors=("lambda",)).doors[0].report
        _check_passed(report, reference, f"{reference} as a Lambda")
    bundle = arguments.bundle
    return _Prepared(update=image_update(image.id), model=_model(bundle), rows=_rows(bundle))


def _check_passed(report: Report, place: str, target: str) -> None:
    """Says how the gate was passed.

    Raises:
        CommandError: it was not.
    """
    if not report.passed:
        failed = next(group for group in report.groups if group.failed)
        observed = f"{report.n_failed} of {report.n_checks} checks failed"
        first = f"{failed.name}, {failed.failures[0]}"
        raise CommandError(f"{place}: got {observed}, expected none; first: {first}")
    _say(f"gate, {target}: {report.n_checks} of {report.n_checks} passed")


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


def _topics(arguments: argparse.Namespace) -> dict[str, str]:
    """As `InferenceClient` takes them."""
    return {"request_topic": arguments.request_topic, "result_topic": arguments.result_topic}


def _configuration(texts: Sequence[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for text in texts:
        name, fields = parse_configuration(text)
        if name != INFERENCE:
            raise CommandError(f"--configure: got {name!r}, expected {INFERENCE}")
        merged |= fields
    return merged


# --- telling --------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Shows what is waited for: a line that changes on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Said()
        return
    with console.status("deploying") as status:
        yield status.update
