import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from consumer.component import STOPPED
from interface.greengrass import SOCKET_VARIABLE, TOKEN_VARIABLE, connect
from nucleus.authorization import Authorization
from nucleus.configuration import ConfigurationStore
from nucleus.operations.configuration import configuration_operations
from nucleus.personality import Personality
from nucleus.platforms import this_platform
from nucleus.recipe import choose_manifest, parse_recipe
from tests.consumer.conftest import Service, rows_of
from tests.consumer.disks import Disk
from tests.device.waiting import wait_until
from tests.nucleus.conftest import RunningServer, personality, running_server

__all__ = ["personality"]  # a fixture

ROOT = Path(__file__).parents[2]
PATH = ROOT / "consumer" / "recipe.yaml"
RECIPE = yaml.safe_load(PATH.read_text(encoding="utf-8"))
NAME = RECIPE["ComponentName"]

_SERVICE = {
    "aws.greengrass.ipc.pubsub": {
        "Service:1": {"operations": ["*"], "resources": ["*"]},
    }
}


@dataclass(frozen=True, slots=True)
class Nucleus:
    """A core device with the recipe's configuration and policies, and a service on it."""

    server: RunningServer
    service: Service

    @contextmanager
    def component(self) -> "Iterator[subprocess.Popen[str]]":
        """The component, started as a nucleus does it; it ends with the test at the latest."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            SOCKET_VARIABLE: str(self.server.path),
            TOKEN_VARIABLE: self.server.token(NAME),
        }
        with subprocess.Popen(
            [sys.executable, "-m", "consumer"],
            cwd=self.server.path.parent,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                process.kill()


@contextmanager
def running_nucleus(personality: Personality, **configuration: Any) -> Iterator[Nucleus]:
    defaults = RECIPE["ComponentConfiguration"]["DefaultConfiguration"]
    store, authorization = ConfigurationStore(), Authorization(personality)
    store.open(NAME).apply({**defaults, **configuration}, [], {}, 1)
    authorization.load(NAME, defaults["accessControl"])
    authorization.load("Service", _SERVICE)
    operations = configuration_operations(store, personality)

    def authorize(component: str, service: str, operation: str, resource: str) -> None:
        authorization.check(component, service, operation, resource)

    with running_server(personality, operations, authorize=authorize) as server:
        token = server.token("Service")
        service = Service(lambda: connect(str(server.path), token))
        service.answer = lambda request: (200, service.body([len(it) for it in rows_of(request)]))
        try:
            yield Nucleus(server, service)
        finally:
            service.pubsub.close()


def test_recipe_is_one_that_both_nuclei_take(personality: Personality) -> None:
    """With a hard dependency on whom it asks, and nothing that lite would stumble over."""
    recipe = parse_recipe(PATH.read_text(encoding="utf-8"), "recipe.yaml", personality)
    manifest = choose_manifest(recipe, this_platform(personality), personality)
    ((name, dependency),) = recipe.dependencies.items()
    assert (name, dependency.requirement, dependency.hard) == ("edgexgb.Inference", ">=0.1.0", True)
    assert manifest.lifecycle["run"].script.endswith('exec "{configuration:/python}" -m consumer')


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_component_asks_over_the_bus_and_ends(personality: Personality) -> None:
    """With the recipe's own policies, in messages that both nuclei carry."""
    with running_nucleus(personality, repeat="once", maxMessageBytes="600") as nucleus:
        with nucleus.component() as process:
            out, err = process.communicate(timeout=60)
        assert max(nucleus.service.sizes) <= 600
        assert len(nucleus.service.requests) > 1
    assert err == ""
    lines = lines_of(out)
    assert [line["message"] for line in lines] == ["started", "predicted", "done"]
    assert lines[1]["predictions"] == [13] * 5
    assert lines[1]["rows"] == 12


def test_signal_ends_the_component_at_once(personality: Personality) -> None:
    """While it waits for a reply that does not come."""
    with running_nucleus(personality) as nucleus:
        nucleus.service.holds = True
        with nucleus.component() as process:
            nucleus.service.wait_for(1, timeout_s=30)
            process.send_signal(signal.SIGTERM)
            out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (STOPPED, "")
    assert lines_of(out)[-1]["message"] == "stopped"


def test_component_goes_on_while_its_disk_is_full(personality: Personality, disk: Disk) -> None:
    """It stays, keeps the file, says why, and has the results once there is room again."""
    source, results = disk.folder / "a.csv", disk.folder / "results.jsonl"
    source.write_text("x,y\n1,2\n3,4\n")
    fields = {"source": str(disk.folder), "resultFile": str(results), "intervalSeconds": "0.05"}
    with running_nucleus(personality, **fields) as nucleus, nucleus.component() as process:
        assert process.stdout is not None
        with disk.full(process.pid):
            said = next(it for it in process.stdout if "results not written" in it)
            nucleus.service.wait_for(3, timeout_s=30)  # again and again
            assert source.exists()
            assert not results.exists() or results.read_bytes() == b""
        wait_until((disk.folder / "done" / "a.csv").exists, "the end of the file")
        assert process.poll() is None
    assert json.loads(said)["error"].startswith(f"{results}: got {disk.error}, expected room for ")
    assert [json.loads(line)["row"] for line in results.read_text().splitlines()] == [0, 1]


def test_device_that_goes_away_ends_the_component_with_one(personality: Personality) -> None:
    """After brief retries, so that the nucleus starts a new one."""
    with running_nucleus(personality, timeoutSeconds="0.2") as nucleus:
        nucleus.service.holds = True
        with nucleus.component() as process:
            nucleus.service.wait_for(1, timeout_s=30)
            nucleus.server.stop()
            out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (1, "")
    last = lines_of(out)[-1]
    assert (last["message"], last["kind"]) == ("stopping", "ConnectionLostError")


def test_process_outside_a_nucleus_says_what_it_lacks() -> None:
    """And ends at once: no other attempt could help."""
    names = {SOCKET_VARIABLE, TOKEN_VARIABLE}
    done = subprocess.run(
        [sys.executable, "-m", "consumer"],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in names},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, "")
    expected = "expected the nucleus to set it in the environment"
    (line,) = lines_of(done.stdout)
    assert line["error"] == f"{SOCKET_VARIABLE}: got nothing, {expected}"
