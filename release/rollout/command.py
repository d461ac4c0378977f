"""`edgexgb rollout`: a bundle goes to a device as an update, proved here first, watched there."""

import argparse
import contextlib
import json
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

import consumer
import interface
from nucleus.root import DeviceRoot
from release.components import CONTAINER, INFERENCE, merge, parse_configuration
from release.deploy import Said, add_watching, watch
from release.device import add_root, whole
from release.errors import CommandError
from release.replay import Replay, replay
from release.request import add_topics, asking
from release.rollout.deployment import Outcome, roll_out, under_way, version_on
from release.rollout.prepare import Prepared, prepare_bundle, prepare_image
from release.rollout.show import show_outcome

_REPLAY_S = 30.0


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
    add_topics(parser)
    add_watching(parser, whole)


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
        prepared = prepare_image(
            arguments.bundle,
            arguments.image,
            network=arguments.network,
            validates=arguments.validate,
            say=_say,
        )
    elif arguments.image is not None:
        expected = "one that was started with an --image"
        raise CommandError(f"{root.path}: got a device that runs processes, expected {expected}")
    else:
        prepared = prepare_bundle(arguments.bundle, validates=arguments.validate, say=_say)
    # Which version is there is known once it is there to stay.
    for deployment_id in under_way(root):
        with _progress() as say:
            say("waiting for another deployment")
            watch(root, deployment_id, arguments.timeout, say)
    before, state = version_on(root)
    if before == prepared.update.version and not (configuration or arguments.reset):
        return _is_there_already(arguments, before, state, prepared)
    _say(f"{INFERENCE}: {before or 'none'} -> {prepared.update.version}")
    with _goes_on_without(root), _progress() as say, _without_warnings():
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


def _is_there_already(
    arguments: argparse.Namespace, version: str, state: str, prepared: Prepared
) -> int:
    """Says that nothing has to be done.

    Raises:
        CommandError: it is there, but does not run.
    """
    if state != "RUNNING":
        hint = f"`edgexgb device restart {INFERENCE}` tries again"
        raise CommandError(f"{INFERENCE} {version}: got {state}, expected RUNNING; {hint}")
    if arguments.json:
        fields = {"version": version, "before": version, "record": None, "accepted": True}
        print(json.dumps({**fields, "unchanged": True, "model": prepared.model}, indent=2))
    else:
        print(f"unchanged: {INFERENCE} {version} runs, of the same model, code and recipe")
    return 0


def _conclude(arguments: argparse.Namespace, outcome: Outcome, prepared: Prepared) -> int:
    """Replays the golden rows where the update was accepted, and prints all of it.

    Raises:
        BundleError: the bundle cannot be opened here.
        CommandError: there was no answer, or a refusal.
        DeviceError: the device has ended.
    """
    golden: Replay | None = None
    try:
        if outcome.is_accepted:
            golden = _replay(arguments)
    finally:  # what has become of the deployment is worth knowing, whatever else goes wrong
        _show(arguments, outcome, prepared.model, golden)
    return 0 if golden is not None and not golden.differences else 1


def _replay(arguments: argparse.Namespace) -> Replay:
    root, topics = DeviceRoot(arguments.root), _topics(arguments)
    with (
        _progress() as say,
        _without_warnings(),
        asking(root, **topics, name="rollout") as client,
    ):
        say("replaying the golden rows over pub/sub")
        return replay(arguments.bundle, lambda rows: client.predict(rows, _REPLAY_S))


def _show(
    arguments: argparse.Namespace, outcome: Outcome, model: str, golden: Replay | None
) -> None:
    if arguments.json:
        facts = {"accepted": outcome.is_accepted, "unchanged": False, "model": model}
        fields = {**asdict(outcome), **facts, "golden": golden and asdict(golden)}
        print(json.dumps(fields, indent=2))
    else:
        show_outcome(outcome, model, golden, Console(highlight=False))


# --- what it was called with ----------------------------------------------------------------------


def _topics(arguments: argparse.Namespace) -> dict[str, str]:
    """As `InferenceClient` takes them."""
    return {"request_topic": arguments.request_topic, "result_topic": arguments.result_topic}


def _configuration(texts: Sequence[str]) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for text in texts:
        name, fields = parse_configuration(text)
        if name != INFERENCE:
            raise CommandError(f"--configure: got {name!r}, expected {INFERENCE}")
        merged = merge(merged, fields)
    return merged


# --- telling --------------------------------------------------------------------------------------


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def _goes_on_without(root: DeviceRoot) -> Iterator[None]:
    """Tells whoever stops watching that the device goes on."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if under_way(root):
            _say(
                "the device goes on with it; `edgexgb device deployments` tells what becomes of it"
            )
        raise


@contextlib.contextmanager
def _progress() -> Iterator[Any]:
    """Shows what is waited for: a line that changes on a terminal, lines elsewhere."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield Said()
        return
    began = time.monotonic()
    with console.status("") as status:
        yield lambda text: status.update(f"{escape(text)}, {time.monotonic() - began:.0f} s")


@contextlib.contextmanager
def _without_warnings() -> Iterator[None]:
    """Keeps the client from telling that nobody answers: during an update, that is to be."""
    loggers = [logging.getLogger(package.__name__) for package in (consumer, interface)]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
