"""An update is deployed on a core device of this machine, and asked all the while."""

import contextlib
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nucleus.deployments.history import History, Record, Result
from nucleus.errors import DeviceError
from nucleus.root import DeviceRoot
from release.bus import connected
from release.components import INFERENCE, PROCESS
from release.deploy import watch
from release.request import asking
from release.rollout.traffic import Asker, Traffic
from release.rollout.update import Update

_ANSWER_S = 10.0
"""For an answer before the deployment, and after it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of an update.

    Attributes:
        version: of the component, as it was to be.
        before: the component's version before; None where there was none.
        record: of the deployment.
        answered_before: who answered before it: the model's name and version; empty for nobody.
        traffic: from before the deployment until after it.
    """

    version: str
    before: str | None
    record: Record
    answered_before: str = ""
    traffic: Traffic = field(default_factory=Traffic)

    @property
    def is_accepted(self) -> bool:
        """Whether the device runs the update."""
        return self.record.result is Result.SUCCESSFUL


def under_way(root: DeviceRoot) -> list[str]:
    """The ids of deployments that have not ended, the oldest first.

    Raises:
        DeviceError: the history cannot be read.
    """
    records = History(root.deployment_history).read()
    return [record.id for record in records if record.result is None]


def version_on(root: DeviceRoot) -> tuple[str | None, str]:
    """Version and state of the inference component on a device that runs; None where it has none.

    Raises:
        DeviceError: no device runs.
    """
    for one in root.read_status()["components"]:
        if one["name"] == INFERENCE:
            return one["version"], one["state"]
    return None, ""


def _runs(root: DeviceRoot) -> bool:
    with contextlib.suppress(DeviceError):  # it ended just after the deployment, which has a result
        return version_on(root)[1] == "RUNNING"
    return False


def roll_out(  # noqa: PLR0913  (the keywords are settings with defaults)
    root: DeviceRoot,
    update: Update,
    *,
    rows: Sequence[Mapping[str, Any]] = (),
    topics: Mapping[str, str] | None = None,
    configuration: Mapping[str, Any] | None = None,
    resets: bool = False,
    rolls_back: bool = True,
    timeout_s: float = 900.0,
    say: Callable[[str], object] = lambda _: None,
) -> Outcome:
    """Deploys an update on a device that runs, and waits for its end.

    Args:
        root: of the device.
        update: of the inference component.
        rows: asked for in turn, from before the deployment until after it; none for no traffic.
        topics: of the component, as `InferenceClient` takes them, where they are others.
        configuration: merged into the component's own.
        resets: whether it is set back to the recipe's defaults before.
        rolls_back: whether the device goes back where the update fails.
        timeout_s: how long to watch.
        say: told many times a second what the deployment waits for.

    Raises:
        CommandError: the device did not take the deployment, or it has not ended in time.
        DeviceError: no device runs, or it has ended.
        OSError: a file cannot be read or written.
    """
    before, _ = version_on(root)
    with tempfile.TemporaryDirectory(prefix="edgexgb-rollout-") as folder:
        recipes, artifacts = update.write(Path(folder))
        merged = dict(configuration or {})
        if root.running()["platform"].get("runtime") == PROCESS:
            merged = {"python": sys.executable, **merged}
        change = {"MERGE": merged, **({"RESET": [""]} if resets else {})}
        request = {
            "rootComponentVersionsToAdd": {INFERENCE: update.version},
            "componentToConfiguration": {INFERENCE: change},
            "failureHandlingPolicy": "ROLLBACK" if rolls_back else "DO_NOTHING",
            "recipeDirectoryPath": str(recipes.resolve()),
            "artifactsDirectoryPath": str(artifacts.resolve()),
        }

        def deploy() -> Record:
            with connected(root) as device:
                deployment_id = device.create_local_deployment(request)
            return watch(root, deployment_id, timeout_s, say)

        if not rows:
            return Outcome(version=update.version, before=before, record=deploy())
        with (
            asking(root, **(topics or {}), name="rollout") as client,
            Asker(client, rows) as asker,
        ):
            if _runs(root):
                say("asking the version that runs")
                asker.wait_for_answer(_ANSWER_S)
            answered_before = asker.traffic().last
            record = deploy()
            if _runs(root):
                say("asking what runs now")
                asker.wait_for_answer(_ANSWER_S)
    return Outcome(
        version=update.version,
        before=before,
        record=record,
        answered_before=answered_before,
        traffic=asker.traffic(),
    )
