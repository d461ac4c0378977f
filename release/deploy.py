"""`edgexgb device deploy` and `deployments`: local deployments, as greengrass-cli makes them."""

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from nucleus.deployments.document import parse_configurations
from nucleus.deployments.history import History, Phase, Record, Result
from nucleus.errors import DeploymentError, DeviceError
from nucleus.root import DeviceRoot
from release.bus import connected
from release.errors import CommandError

_POLL_S = 0.05
_REMIND_S = 5.0
_CANCEL_S = 30.0

_DOING = {
    Phase.QUEUED: "queued",
    Phase.PREPARING: "preparing: recipes, artifacts, configuration",
    Phase.NOTIFYING: "asking the components whether they are ready",
    Phase.ACTIVATING: "stopping and starting components",
    Phase.ROLLING_BACK: "it has failed; going back to what ran before",
    Phase.DONE: "done",
}


def add_deploy(parser: argparse.ArgumentParser, whole: Callable[[str], int]) -> None:
    """Adds the arguments of `deploy`; `whole` reads a number above 0."""
    parser.add_argument(
        *("--recipe-dir", "--recipes"),
        type=Path,
        metavar="DIRECTORY",
        help="recipes (.yaml, .yml, .json), beside those that the device has",
    )
    parser.add_argument(
        *("--artifact-dir", "--artifacts"),
        type=Path,
        metavar="DIRECTORY",
        help="their artifacts, as DIRECTORY/COMPONENT/VERSION/FILE",
    )
    parser.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="NAME=VERSION",
        help="add a root component, or change its version; may be given several times",
    )
    parser.add_argument(
        "--remove",
        action="append",
        default=[],
        metavar="NAME",
        help="remove a root component; may be given several times",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help='a JSON file: {"COMPONENT": {"MERGE": {…}, "RESET": ["/pointer", …]}}',
    )
    add_watching(parser, whole)


def add_watching(parser: argparse.ArgumentParser, whole: Callable[[str], int]) -> None:
    """Adds how a deployment ends, and how it is watched; `whole` as in `add_deploy`."""
    parser.add_argument(
        "--rollback",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="whether a deployment that fails is undone (default: it is; never on nucleus lite)",
    )
    parser.add_argument(
        "--timeout",
        type=whole,
        default=900,
        metavar="SECONDS",
        help="how long to watch (default: 900); the deployment itself has no limit",
    )
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")


def deploy(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb device deploy`; the exit code.

    Raises:
        CommandError: the deployment cannot be made, has failed, or takes too long.
        DeviceError: no device runs there, or it has ended.
        OSError: a file cannot be read.
    """
    root = DeviceRoot(arguments.root)
    root.running()
    request = _request(arguments)
    with connected(root) as device:
        deployment_id = device.create_local_deployment(request)
    record = watch(root, deployment_id, arguments.timeout, Said())
    if arguments.json:
        print(json.dumps(asdict(record), indent=2))
    if record.result is not Result.SUCCESSFUL:
        place = f"deployment {deployment_id}"
        raise CommandError(
            f"{place}: got {record.result} ({record.message}), expected {Result.SUCCESSFUL}"
            f"; {left(record)}"
        )
    if not arguments.json:
        print(f"deployment {deployment_id}: {record.result}{took(record)}")
    return 0


def cancel(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb device cancel`; the exit code.

    Raises:
        CommandError: there is no such deployment, or it can no longer be cancelled.
        DeviceError: no device runs there, or it has ended.
    """
    root = DeviceRoot(arguments.root)
    with connected(root) as device:
        device.cancel_local_deployment(arguments.deployment)
    record = watch(root, arguments.deployment, _CANCEL_S, lambda _: None)
    print(f"deployment {record.id}: {record.result}")
    return 0


def deployments(arguments: argparse.Namespace) -> int:
    """Runs `edgexgb device deployments`; the exit code.

    Raises:
        DeviceError: the history cannot be read.
    """
    records = History(DeviceRoot(arguments.root).deployment_history).read()
    if arguments.json:
        print(json.dumps([asdict(record) for record in records], indent=2))
        return 0
    from rich.console import Console

    from release.show_deployments import show_deployments

    show_deployments(records, Console())
    return 0


def took(record: Record) -> str:
    """` after` and how long, to follow a result; empty where the device does not know."""
    return "" if record.took_s is None else f" after {record.took_s:.1f} s"


def left(record: Record) -> str:
    """What the device runs after a deployment that has failed."""
    return {
        Result.FAILED_NO_STATE_CHANGE: "nothing has changed",
        Result.FAILED_ROLLBACK_COMPLETE: "what ran before runs again",
        Result.FAILED_ROLLBACK_NOT_REQUESTED: "what has failed was left as it is",
        Result.FAILED_UNABLE_TO_ROLLBACK: "see `edgexgb device status`",
    }.get(record.result or Result.REJECTED, "nothing has changed")


# --- what is asked for ----------------------------------------------------------------------------


def _request(arguments: argparse.Namespace) -> dict[str, Any]:
    """The fields of CreateLocalDeployment.

    Raises:
        CommandError: an argument is not what it should be.
        OSError: a file cannot be read.
    """
    request: dict[str, Any] = {
        "rootComponentVersionsToAdd": dict(_pair(text) for text in arguments.add),
        "rootComponentsToRemove": arguments.remove,
        "failureHandlingPolicy": "ROLLBACK" if arguments.rollback else "DO_NOTHING",
    }
    if len(request["rootComponentVersionsToAdd"]) != len(arguments.add):
        raise CommandError("--add: got a component twice, expected each once")
    if arguments.config is not None:
        request["componentToConfiguration"] = _configurations(arguments.config)
    if not (arguments.add or arguments.remove or arguments.config):
        raise CommandError("deploy: got nothing to do, expected --add, --remove or --config")
    for key, path in (
        ("recipeDirectoryPath", arguments.recipe_dir),
        ("artifactsDirectoryPath", arguments.artifact_dir),
    ):
        if path is not None:
            if not path.is_dir():
                raise CommandError(f"{path}: got no such directory, expected one")
            request[key] = str(path.resolve())
    return request


def _pair(text: str) -> tuple[str, str]:
    name, equals, version = text.partition("=")
    if not name or not equals or not version:
        raise CommandError(f"--add: got {text!r}, expected NAME=VERSION")
    return name, version


def _configurations(path: Path) -> Any:
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"), parse_constant=_refuse)
        parse_configurations(content, str(path))
    except DeploymentError as error:
        raise CommandError(str(error)) from error
    except (ValueError, RecursionError) as error:
        observed = f"text that is no JSON ({error})"
        raise CommandError(f"{path}: got {observed}, expected an object") from error
    return content


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"the constant {constant}")


# --- watching -------------------------------------------------------------------------------------


class Said:
    """Says on stderr what a deployment waits for: what is new, and the same again after a while."""

    def __init__(self) -> None:
        self._text, self._again_at = "", 0.0

    def __call__(self, text: str) -> None:
        """Says it, if need be."""
        now = time.monotonic()
        if text != self._text or now >= self._again_at:
            print(text, file=sys.stderr, flush=True)
            self._text, self._again_at = text, now + _REMIND_S


def watch(
    root: DeviceRoot, deployment_id: str, timeout_s: float, say: Callable[[str], object]
) -> Record:
    """The record of a deployment that has ended.

    Args:
        root: of the device.
        deployment_id: as the device gave it.
        timeout_s: how long to watch.
        say: told many times a second what the deployment waits for.

    Raises:
        CommandError: it has not ended in time.
        DeviceError: the device has ended, or has no such deployment.
    """
    history = History(root.deployment_history)
    end = time.monotonic() + timeout_s
    while True:
        is_running = root.holder() is not None
        record = history.find(deployment_id)
        if record is None:
            raise DeviceError(f"deployment {deployment_id}: got no record, expected one")
        if record.result is not None:
            return record
        if not is_running:
            expected = "it to go on; its next start tells what has become of it"
            raise DeviceError(
                f"deployment {deployment_id}: got no core device any more, expected {expected}"
            )
        text = f"waiting for {record.waiting}" if record.waiting else _DOING[record.phase]
        say(text)
        if time.monotonic() >= end:
            observed = f"no end in {timeout_s:g} s ({text})"
            expected = "one; the device goes on, and `edgexgb device deployments` tells"
            raise CommandError(f"deployment {deployment_id}: got {observed}, expected {expected}")
        time.sleep(_POLL_S)
