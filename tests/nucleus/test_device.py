"""Devices in this process, with components that are small shell scripts."""

import asyncio
import json
import os
import stat
import zipfile
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from nucleus import device as device_module
from nucleus.device import TOOLS, Device, Placement
from nucleus.errors import DeviceError, RecipeError
from nucleus.mqtt_message import MqttMessage
from nucleus.operation import Caller
from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.root import DeviceRoot
from tests.nucleus.recording import open_stream
from tests.nucleus.test_broker import free_port, real_broker

PATIENCE_S = 30.0

Scene = Callable[["Running"], Awaitable[None]]


def recipe(name: str, lifecycle: Mapping[str, Any], **fields: Any) -> Placement:
    """A component whose one manifest both nuclei take."""
    manifest = {"Platform": {"os": "linux", "runtime": "*"}, "Lifecycle": lifecycle}
    manifest["Artifacts"] = fields.pop("artifacts", [])
    directory = fields.pop("directory", None)
    content = {
        "RecipeFormatVersion": "2020-01-25",
        "ComponentName": name,
        "ComponentVersion": "1.0.0",
        "Manifests": [manifest],
        **fields,
    }
    return Placement(place=f"{name}.json", recipe=json.dumps(content), artifacts=directory)


def configured(**values: Any) -> dict[str, Any]:
    return {"ComponentConfiguration": {"DefaultConfiguration": values}}


class Running:
    """A device that runs, and what it has shown."""

    def __init__(self, device: Device, shown: list[str]) -> None:
        self.device = device
        self.root = device.root
        self.shown = shown

    def states(self) -> dict[str, str]:
        return {it["name"]: it["state"] for it in self.root.read_status()["components"]}

    def component(self, name: str) -> dict[str, Any]:
        found = [it for it in self.root.read_status()["components"] if it["name"] == name]
        return dict(found[0])

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():  # noqa: ASYNC110  (files have no event to wait for)
                await asyncio.sleep(0.01)

    async def settled(self) -> None:
        await self.until(lambda: bool(self.root.read_status()["settled"]))

    def log(self, name: str) -> str:
        return self.root.log(name).read_text()


async def run(
    root: Path, placements: Sequence[Placement], scene: Scene, shown: list[str], **options: Any
) -> None:
    """Runs a device for the length of the scene."""
    device = Device(DeviceRoot(root), placements, show=shown.append, **options)
    stop = asyncio.Event()
    task = asyncio.create_task(device.run(stop))
    try:
        while not shown and not task.done():  # noqa: ASYNC110  (nor has a list)
            await asyncio.sleep(0.01)
        if not task.done():
            await scene(Running(device, shown))
    finally:
        stop.set()
        await task


def play(
    root: Path,
    placements: Sequence[Placement],
    scene: Scene,
    *,
    shown: list[str] | None = None,
    **options: Any,
) -> list[str]:
    """What a device has shown that ran for the length of the scene."""
    shown = [] if shown is None else shown
    asyncio.run(run(root, placements, scene, shown, **options))
    return shown


async def nothing(running: Running) -> None:
    await running.settled()


def notes(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def note(path: Path, word: str) -> str:
    return f"echo {word} >> '{path}'"


# --- components -----------------------------------------------------------------------------------


def test_components_start_and_stop_in_the_order_of_their_dependencies(
    tmp_path: Path, personality: Personality
) -> None:
    """The dependant after what it needs, and before it when all stop."""
    file = tmp_path / "notes"
    waits = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
    placements = [
        recipe(
            "App",
            {"run": f"{note(file, 'app')}; {waits}", "shutdown": note(file, "app-ends")},
            ComponentDependencies={"Base": {"VersionRequirement": ">=1.0.0"}},
        ),
        recipe(
            "Base",
            {
                "install": note(file, "install"),
                "startup": f"sleep 0.2; {note(file, 'base')}",
                "shutdown": note(file, "base-ends"),
            },
        ),
    ]

    async def scene(running: Running) -> None:
        await running.settled()
        assert running.states() == {"Base": "RUNNING", "App": "RUNNING"}
        await running.until(lambda: "app" in notes(file))

    shown = play(tmp_path / "root", placements, scene, personality=personality)
    # Nucleus lite has no shutdown step.
    ends = ["app-ends", "base-ends"] if personality is CLASSIC else []
    assert notes(file) == ["install", "base", "app", *ends]
    assert shown[0] == f"core device ({personality.name}) at {tmp_path}/root"
    assert shown[-1] == "core device stopped"
    order = [line for line in shown if line.endswith(("RUNNING", "FINISHED", "stopping"))]
    assert order == [
        "Base 1.0.0 is RUNNING",
        "App 1.0.0 is RUNNING",
        "stopping",
        "App 1.0.0 is FINISHED",
        "Base 1.0.0 is FINISHED",
    ]


def test_artifacts_are_where_placeholders_say(tmp_path: Path, personality: Personality) -> None:
    """A file, and a zip file's content, in a root with a space in its path."""
    here = tmp_path / "artifacts" / "App" / "1.0.0"
    here.mkdir(parents=True)
    (here / "words.txt").write_text("from-a-file\n")
    with zipfile.ZipFile(here / "pack.zip", "w") as archive:
        archive.writestr("run.sh", 'cat "$1"; echo from-a-zip\n')
    script = 'sh "{artifacts:decompressedPath}/pack/run.sh" "{artifacts:path}/words.txt" > out'
    placement = recipe(
        "App",
        {"run": script},
        artifacts=[
            {"URI": "s3://bucket/words.txt"},
            {"URI": "s3://bucket/pack.zip", "Unarchive": "ZIP"},
        ],
        directory=tmp_path / "artifacts",
    )

    async def scene(running: Running) -> None:
        await running.until(lambda: running.states() == {"App": "FINISHED"})

    play(tmp_path / "a root", [placement], scene, personality=personality)
    out = tmp_path / "a root" / "work" / "App" / "out"
    assert notes(out) == ["from-a-file", "from-a-zip"]


def test_configuration_of_the_deployment_wins_over_the_default(
    tmp_path: Path, personality: Personality
) -> None:
    """And what it does not name keeps its default."""
    placement = recipe(
        "App",
        {"run": "echo {configuration:/a} {configuration:/deep/b} {configuration:/deep/c} > out"},
        **configured(a="one", deep={"b": "two", "c": "three"}),
    )
    merge = {"App": {"deep": {"b": "TWO"}}}

    async def scene(running: Running) -> None:
        await running.until(lambda: running.states() == {"App": "FINISHED"})
        effective = json.loads(running.root.configuration.read_text())
        assert effective["services"]["App"]["deep"] == {"b": "TWO", "c": "three"}

    play(tmp_path, [placement], scene, personality=personality, configurations=merge)
    assert notes(tmp_path / "work" / "App" / "out") == ["one TWO three"]


def test_manifest_is_chosen_by_the_platform_given(tmp_path: Path, personality: Personality) -> None:
    """As with the nucleus's setting `platformOverride`."""
    content = json.loads(recipe("App", {"run": "echo small > out"}).recipe)
    other = {"os": "linux", "architecture": "arm", "runtime": "*"}
    manifest = {"Platform": other, "Lifecycle": {"run": "echo arm > out"}}
    content["Manifests"].insert(0, manifest)
    placement = Placement(place="App.json", recipe=json.dumps(content))

    async def scene(running: Running) -> None:
        await running.until(lambda: running.states() == {"App": "FINISHED"})

    for platform, expected in (({}, "small"), ({"architecture": "arm"}, "arm")):
        play(tmp_path, [placement], scene, personality=personality, platform=platform)
        assert notes(tmp_path / "work" / "App" / "out") == [expected]


def test_container_is_its_scripts_business(
    tmp_path: Path, personality: Personality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a `docker:` artifact nothing is pulled; the script finds `docker` on the path."""
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/calls"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{docker.parent}:{os.environ['PATH']}")
    placement = recipe(
        "App", {"run": "docker run --rm image:1"}, artifacts=[{"URI": "docker:image:1"}]
    )

    async def scene(running: Running) -> None:
        await running.until(lambda: running.states() == {"App": "FINISHED"})

    play(tmp_path / "root", [placement], scene, personality=personality)
    assert notes(tmp_path / "calls") == ["run --rm image:1"]


def test_broken_component_says_why_and_where_its_log_is(
    tmp_path: Path, personality: Personality
) -> None:
    """After three attempts; the device goes on with the others."""
    placements = [
        recipe("Bad", {"startup": "echo reason; exit 7"}),
        recipe("Good", {"run": "sleep 60"}),
    ]

    async def scene(running: Running) -> None:
        await running.settled()
        assert running.states() == {"Bad": "BROKEN", "Good": "RUNNING"}
        assert running.component("Bad")["errors"] == 3
        assert running.component("Bad")["last_error"] == "startup: got exit code 7, expected 0"
        assert running.log("Bad").count("stdout. reason") == 3

    shown = play(tmp_path, placements, scene, personality=personality)
    why = f": startup: got exit code 7, expected 0; see {tmp_path}/logs/Bad.log"
    assert [line for line in shown if "ERRORED" in line] == [f"Bad 1.0.0 is ERRORED{why}"] * 2
    assert f"Bad 1.0.0 is BROKEN{why}" in shown


def test_component_restarts_by_hand(tmp_path: Path) -> None:
    """With another process, and the same token."""
    placement = recipe("App", {"run": 'echo "$SVCUID" >> tokens; sleep 60'})
    tokens = tmp_path / "work" / "App" / "tokens"

    async def scene(running: Running) -> None:
        await running.until(lambda: len(notes(tokens)) == 1)
        first = running.component("App")["pid"]
        running.device.restart("App")
        await running.until(lambda: len(notes(tokens)) == 2)
        assert running.component("App")["pid"] != first
        assert not psutil.pid_exists(first)
        with pytest.raises(KeyError):
            running.device.restart("Nobody")
        with pytest.raises(KeyError):
            running.device.report("Nobody", "RUNNING")

    play(tmp_path, [placement], scene)
    assert len(set(notes(tokens))) == 1


def test_nothing_is_known_of_components_before_they_start(tmp_path: Path) -> None:
    """A tool may connect in the instant before."""
    device = Device(DeviceRoot(tmp_path), [recipe("App", {"run": "true"})])
    with pytest.raises(KeyError):
        device.restart("App")
    with pytest.raises(KeyError):
        device.report("App", "RUNNING")


def test_slow_stop_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """People should not think that it hangs."""
    monkeypatch.setattr(device_module, "_REMIND_S", 0.1)
    placement = recipe("Slow", {"run": "sleep 60", "shutdown": "sleep 0.5"})
    shown = play(tmp_path, [placement], nothing)
    assert "still stopping Slow" in shown


# --- what components get --------------------------------------------------------------------------


def environment_of(tmp_path: Path, personality: Personality) -> tuple[dict[str, str], DeviceRoot]:
    placement = recipe(
        "App",
        {
            "Setenv": {"MANIFEST": "m"},
            "startup": {"Script": "env -0 > env", "Setenv": {"STEP": "s"}},
        },
    )
    play(tmp_path, [placement], nothing, personality=personality, thing_name="thing")
    content = (tmp_path / "work" / "App" / "env").read_text()
    pairs = [line.partition("=") for line in content.split("\0") if line]
    return {name: value for name, _, value in pairs}, DeviceRoot(tmp_path)


def test_environment_is_that_of_a_real_component(
    tmp_path: Path, personality: Personality, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the developer guide lists, and nothing that the device's own holds by chance.

    Source: AWS IoT Greengrass V2 developer guide, component environment variables.
    """
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("PYTHONPATH", "mine")
    monkeypatch.setenv("https_proxy", "proxy")
    found, root = environment_of(tmp_path, personality)
    socket = str(root.socket)
    assert found["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH_FOR_COMPONENT"] == socket
    assert found["AWS_GG_NUCLEUS_DOMAIN_SOCKET_FILEPATH"] == socket
    assert len(found["SVCUID"]) == 16
    assert found["AWS_CONTAINER_AUTHORIZATION_TOKEN"] == found["SVCUID"]
    assert found["AWS_IOT_THING_NAME"] == "thing"
    assert found["AWS_REGION"] == found["AWS_DEFAULT_REGION"] == "local"
    assert found["GGC_VERSION"].count(".") == 2
    assert found["https_proxy"] == "proxy"
    assert found["PATH"] == os.environ["PATH"]
    assert found["PWD"] == f"{tmp_path}/work/App"
    assert (found["MANIFEST"], found["STEP"]) == ("m", "s")
    assert not {"AWS_SECRET_ACCESS_KEY", "PYTHONPATH"} & found.keys()


def test_tokens_are_in_no_file_and_no_process_listing(
    tmp_path: Path, personality: Personality
) -> None:
    """But in the one file that this user's tools read, and nobody else may."""
    placement = recipe("App", {"run": 'printf %s "$SVCUID" > token; sleep 60'})
    token_file = tmp_path / "work" / "App" / "token"

    async def scene(running: Running) -> None:
        await running.until(lambda: token_file.exists() and len(token_file.read_text()) == 16)
        socket, tools = running.root.read_tools_token()
        assert socket == str(running.root.socket)
        (file,) = (tmp_path / "cli_ipc_info").iterdir()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        secrets = [token_file.read_text(), tools]
        assert secrets[0] != secrets[1]
        shell = psutil.Process(running.component("App")["pid"])
        for process in (shell, *shell.children(recursive=True), psutil.Process()):
            assert not any(secret in " ".join(process.cmdline()) for secret in secrets)

    shown = play(tmp_path, [placement], scene, personality=personality)
    token = token_file.read_text()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path != token_file]
    assert {"device.lock", "status.json", "App.log", "effectiveConfig.json"} <= {
        path.name for path in files
    }
    assert [path for path in files if token in path.read_text()] == []
    tools = DeviceRoot(tmp_path).read_tools_token()[1]
    (only,) = [path for path in files if tools in path.read_text()]
    assert only.parent.name == "cli_ipc_info"
    assert not {token, tools} & set("\n".join(shown).split())


# --- the device itself ----------------------------------------------------------------------------


def test_second_device_in_a_root_is_refused(tmp_path: Path) -> None:
    """It would take the socket away; the first goes on."""
    placement = recipe("App", {"run": "sleep 60"})

    async def scene(running: Running) -> None:
        await running.settled()
        second = Device(DeviceRoot(tmp_path), [placement])
        with pytest.raises(DeviceError) as caught:
            await second.run(asyncio.Event())
        assert str(caught.value) == (
            f"{tmp_path}: got a core device that runs (pid {os.getpid()}), expected none; "
            "`edgexgb device stop` ends it"
        )
        assert running.root.socket.exists()
        assert running.states() == {"App": "RUNNING"}

    play(tmp_path, [placement], scene)
    assert DeviceRoot(tmp_path).holder() is None
    assert not DeviceRoot(tmp_path).socket.exists()


def test_device_of_a_deep_root_has_its_socket_elsewhere(tmp_path: Path) -> None:
    """Paths of sockets are short; nothing is left of the other directory."""
    path = tmp_path / ("d" * 110)

    async def scene(running: Running) -> None:
        await running.settled()
        assert running.root.socket.is_socket()
        assert not running.root.socket.is_relative_to(path)

    play(path, [recipe("App", {"run": "sleep 60"})], scene)
    assert not DeviceRoot(path).socket.parent.exists()


def test_placeholder_without_value_fails_on_lite_before_anything_starts(tmp_path: Path) -> None:
    """And leaves neither the socket nor the root taken."""
    placement = recipe("App", {"run": "echo {configuration:/none}"})
    shown: list[str] = []
    with pytest.raises(RecipeError) as caught:
        play(tmp_path, [placement], nothing, shown=shown, personality=LITE)
    assert str(caught.value) == (
        "App.json: Manifests[0]: {configuration:/none}: got no such configuration, expected a value"
    )
    assert not any("INSTALLED" in line for line in shown)
    assert not DeviceRoot(tmp_path).socket.exists()
    assert DeviceRoot(tmp_path).holder() is None


def test_policy_that_lite_refuses_fails_the_start(tmp_path: Path) -> None:
    """As it fails a deployment there."""
    policy = {"operations": ["aws.greengrass#PublishToTopic"], "resources": ["a?"]}
    access = {"aws.greengrass.ipc.pubsub": {"App:1": policy}}
    placement = recipe("App", {"run": "true"}, **configured(accessControl=access))
    with pytest.raises(DeviceError, match=r"resources"):
        play(tmp_path, [placement], nothing, personality=LITE)


def test_configuration_for_nobody_is_refused(tmp_path: Path) -> None:
    """Most likely its name is misspelt."""
    with pytest.raises(DeviceError) as caught:
        Device(DeviceRoot(tmp_path), [recipe("App", {"run": "true"})], configurations={"Appp": {}})
    assert str(caught.value) == "configuration: got one for 'Appp', expected one of: App"


def test_broker_url_is_checked_before_anything_starts(tmp_path: Path) -> None:
    """With the password kept out of the text."""
    with pytest.raises(DeviceError) as caught:
        Device(DeviceRoot(tmp_path), [], broker="http://user:SECRET@host")
    assert str(caught.value).startswith("broker: got http://host, expected mqtt://")
    assert "SECRET" not in str(caught.value)


def test_something_else_at_the_socket_fails_the_start(tmp_path: Path) -> None:
    """Nobody's file is removed."""
    (tmp_path / "ipc.socket").write_text("precious")
    with pytest.raises(DeviceError) as caught:
        play(tmp_path, [recipe("App", {"run": "true"})], nothing)
    assert str(caught.value) == (
        f"the core device: {tmp_path}/ipc.socket: got another file, expected a socket or nothing"
    )
    assert (tmp_path / "ipc.socket").read_text() == "precious"


def test_status_that_cannot_be_written_stops_no_component(tmp_path: Path) -> None:
    """A full disk is trouble enough."""
    placement = recipe("App", {"run": "sleep 60"})

    async def scene(running: Running) -> None:
        await running.settled()
        file = tmp_path / "status.json"
        file.unlink()
        (file / "in the way").mkdir(parents=True)
        running.device.restart("App")
        async with asyncio.timeout(PATIENCE_S):
            while running.shown.count("App 1.0.0 is RUNNING") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    shown = play(tmp_path, [placement], scene)
    assert shown[-2:] == ["App 1.0.0 is FINISHED", "core device stopped"]


def test_messages_pass_between_device_and_broker(tmp_path: Path) -> None:
    """Each way, and each is shown; not its payload."""
    message = MqttMessage(topic="news/today", payload=b"PAYLOAD", qos=1)

    async def scene(running: Running) -> None:
        operations = running.device.mqtt.operations()
        tools = Caller(TOOLS, 1)
        stream = open_stream(operations, "SubscribeToIoTCore", tools, topicName="news/#", qos="1")
        async with asyncio.timeout(PATIENCE_S):
            while not stream.events:  # the broker may not have taken the subscription yet
                running.device.mqtt.publish(message, "App")
                await asyncio.sleep(0.1)
        assert stream.events[0][1]["message"]["topicName"] == "news/today"

    async def with_broker() -> None:
        port = free_port()
        async with real_broker(port):
            url = f"mqtt://127.0.0.1:{port}"
            await run(tmp_path, [recipe("App", {"run": "sleep 60"})], scene, shown, broker=url)

    shown: list[str] = []
    asyncio.run(with_broker())
    assert "IoT Core -> news/today: 7 bytes from App" in shown
    assert "IoT Core <- news/today: 7 bytes" in shown
    assert not any("PAYLOAD" in line for line in shown)
