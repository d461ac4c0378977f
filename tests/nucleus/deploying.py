"""Deployments on a device in this process, whose components are small shell scripts."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from semantic_version import Version

from nucleus.deployments.document import ConfigurationUpdate, Deployment
from nucleus.deployments.history import History, Record
from nucleus.device import Device, Placement
from nucleus.root import DeviceRoot

PATIENCE_S = 30.0

SLEEP = "sleep 1000 & wait"

Scene = Callable[["Deploying"], Awaitable[None]]


def recipe_text(name: str, version: str, lifecycle: Mapping[str, Any], **fields: Any) -> str:
    """A component whose one manifest both nuclei take.

    Args:
        name: of the component.
        version: of the component.
        lifecycle: its steps.
        fields: `configuration`, `needs` and `artifacts`.
    """
    manifest = {"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": lifecycle}
    manifest["Artifacts"] = fields.get("artifacts", [])
    return json.dumps(
        {
            "RecipeFormatVersion": "2020-01-25",
            "ComponentName": name,
            "ComponentVersion": version,
            "ComponentConfiguration": {"DefaultConfiguration": fields.get("configuration", {})},
            "ComponentDependencies": fields.get("needs", {}),
            "Manifests": [manifest],
        }
    )


def write_recipe(folder: Path, name: str, version: str, *, run: str = SLEEP, **fields: Any) -> Path:
    """A recipe among those of a deployment; its directory."""
    folder.mkdir(exist_ok=True)
    lifecycle = fields.pop("lifecycle", {"run": run})
    text = recipe_text(name, version, lifecycle, **fields)
    (folder / f"{name}-{version}.json").write_text(text)
    return folder


def placement(name: str, version: str = "1.0.0", *, run: str = SLEEP, **fields: Any) -> Placement:
    """A component that a device starts with."""
    artifacts = fields.pop("directory", None)
    lifecycle = fields.pop("lifecycle", {"run": run})
    text = recipe_text(name, version, lifecycle, **fields)
    return Placement(place=f"{name}.json", recipe=text, artifacts=artifacts)


def adding(recipes: Path | None = None, /, **versions: str) -> Deployment:
    """A deployment that adds components."""
    add = {name: Version(version) for name, version in versions.items()}
    return Deployment(add=add, recipes=recipes)


def configuring(name: str, *reset: str, **merge: Any) -> Deployment:
    """A deployment that changes nothing but a configuration."""
    update = ConfigurationUpdate(merge=merge, reset=reset)
    return Deployment(configurations={name: update})


class Deploying:
    """A device that runs, and what it says of itself."""

    def __init__(self, device: Device) -> None:
        self.device = device
        self.root = device.root
        self.history = History(device.root.deployment_history)

    async def deploy(self, deployment: Deployment) -> Record:
        """What has become of a deployment."""
        return await self.ended(self.submit(deployment))

    def submit(self, deployment: Deployment) -> str:
        """The id of a deployment that was taken."""
        self.device.deployments.submit(deployment)
        return deployment.id

    async def ended(self, deployment_id: str) -> Record:
        """The record of a deployment that has ended."""
        await self.until(lambda: self.record(deployment_id).result is not None)
        return self.record(deployment_id)

    def record(self, deployment_id: str) -> Record:
        """The record of a deployment."""
        return next(it for it in self.history.read() if it.id == deployment_id)

    def components(self) -> dict[str, dict[str, Any]]:
        """The status of the components, by name."""
        return {it["name"]: it for it in self.root.read_status()["components"]}

    def versions(self) -> dict[str, tuple[str, str]]:
        """Version and state of the components."""
        return {name: (it["version"], it["state"]) for name, it in self.components().items()}

    def configuration(self, name: str) -> Any:
        """A component's configuration, as it is on the disk for people."""
        return json.loads(self.root.configuration.read_text())["services"][name]

    def log(self, name: str) -> str:
        """What a component has said."""
        return self.root.log(name).read_text()

    async def until(self, condition: Callable[[], object]) -> None:
        """Waits for what comes by itself."""
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  (files have no event to wait for)
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        """Waits until each component is where it stays."""
        await self.until(lambda: self.root.read_status()["settled"])


async def _run(device: Device, scene: Scene, shown: list[str]) -> None:
    stop = asyncio.Event()
    task = asyncio.create_task(device.run(stop))
    try:
        while not shown and not task.done():  # noqa: ASYNC110  (nor has a list)
            await asyncio.sleep(0.01)
        if not task.done():
            deploying = Deploying(device)
            await deploying.settled()
            await scene(deploying)
    finally:
        stop.set()
        await task


def play(root: Path, placements: list[Placement], scene: Scene, **options: Any) -> list[str]:
    """What a device has shown that ran for the length of the scene."""
    shown: list[str] = []
    device = Device(DeviceRoot(root), placements, show=shown.append, **options)
    asyncio.run(_run(device, scene, shown))
    return shown
