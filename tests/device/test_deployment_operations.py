"""The operations on deployments, as the unmodified client of AWS meets them on a device."""

import contextlib
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from awsiot.greengrasscoreipc import connect, model
from awsiot.greengrasscoreipc.clientv2 import GreengrassCoreIPCClientV2

from release.components import INFERENCE
from tests.conftest import Packed
from tests.device.conftest import Begin
from tests.device.held import HeldComponent
from tests.device.running import RunningDevice
from tests.device.updates import predict_version, write_update
from tests.device.waiting import WAIT_S, wait_until


@contextlib.contextmanager
def sdk(device: RunningDevice) -> Iterator[Any]:
    """A client with the tools' token."""
    socket, token = device.root.read_tools_token()
    connection = connect(ipc_socket=socket, authtoken=token, timeout=WAIT_S)
    client = GreengrassCoreIPCClientV2(client=connection)
    try:
        yield client
    finally:
        client.close().result(WAIT_S)


def create(client: Any, recipes: Path, version: str, **merge: str) -> str:
    """The id of a deployment of the inference component."""
    return str(
        client.create_local_deployment(
            recipe_directory_path=str(recipes),
            root_component_versions_to_add={INFERENCE: version},
            component_to_configuration={INFERENCE: {"MERGE": merge}},
        ).deployment_id
    )


def wait_status(client: Any, deployment_id: str, *wanted: str) -> Any:
    """The deployment, once it has one of these states."""

    def look() -> Any:
        found = client.get_local_deployment_status(deployment_id=deployment_id).deployment
        return found if found.status in wanted else None

    return wait_until(look, f"a deployment that is {wanted}")


@pytest.mark.parametrize("personality", ["classic"], scope="session")
def test_deployments_are_listed_followed_and_canceled(
    begin: Begin, held: HeldComponent, mixed: Packed, better: Packed, tmp_path: Path
) -> None:
    """One that waits for a busy component, one in the queue; and then none that works."""
    device = begin(python=str(held.python))
    recipes = write_update(tmp_path / "recipes", "0.2.0")
    good = {"bundle": str(better.directory), "python": sys.executable}
    held.hold()
    with sdk(device) as client, device.client() as asker, ThreadPoolExecutor(1) as threads:
        asked = threads.submit(asker.predict, mixed.rows[0], WAIT_S)
        wait_until(held.waits, "a request in flight")
        first = create(client, recipes, "0.2.0", **good)
        wait_status(client, first, "IN_PROGRESS")
        second = create(client, recipes, "0.2.0", **good)
        listed = client.list_local_deployments().local_deployments
        assert [(it.deployment_id, it.status) for it in listed] == [
            (first, "IN_PROGRESS"),
            (second, "QUEUED"),
        ]
        for deployment_id in (second, first):
            response = client.cancel_local_deployment(deployment_id=deployment_id)
            assert response.message == f"deployment {deployment_id} is cancelled"
            found = wait_status(client, deployment_id, "CANCELED")
            assert found.deployment_status_details is None
        held.let()
        assert asked.result(WAIT_S).version == mixed.manifest.version
        assert device.component()["version"] == "0.1.0"

        third = create(client, recipes, "0.2.0", **good)
        found = wait_status(client, third, "SUCCEEDED", "FAILED")
        assert found.deployment_status_details.detailed_deployment_status == "SUCCESSFUL"
        assert predict_version(device, mixed) == better.manifest.version
        with pytest.raises(model.InvalidArgumentsError) as refused:
            client.cancel_local_deployment(deployment_id=third)
        assert refused.value.message.startswith(f"deployment {third}: got SUCCESSFUL, expected")

        fourth = create(client, recipes, "0.2.0", bundle="/nowhere")
        found = wait_status(client, fourth, "SUCCEEDED", "FAILED")
        details = found.deployment_status_details
        assert found.status == "FAILED"
        assert details.detailed_deployment_status == "FAILED_ROLLBACK_COMPLETE"
        assert "expected a bundle's file" in details.deployment_failure_cause
        for ask in (client.cancel_local_deployment, client.get_local_deployment_status):
            with pytest.raises(model.ResourceNotFoundError) as unknown:
                ask(deployment_id=str(uuid4()))
            assert unknown.value.resource_type == "LocalDeployment"


@pytest.mark.parametrize("personality", ["lite"], scope="session")
def test_lite_creates_deployments_and_tells_nothing_of_them(begin: Begin) -> None:
    """It has no such operations."""
    device = begin()
    with sdk(device) as client:
        for ask in (
            client.list_local_deployments,
            lambda: client.get_local_deployment_status(deployment_id=str(uuid4())),
            lambda: client.cancel_local_deployment(deployment_id=str(uuid4())),
        ):
            with pytest.raises(model.ServiceError):
                ask()
