"""Deployments of small shell scripts, on a device in this process."""

import asyncio
import shutil
import signal
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from nucleus.deployments.document import ConfigurationUpdate, Deployment
from nucleus.deployments.history import Phase, Result
from nucleus.errors import DeploymentError
from nucleus.personality import CLASSIC, LITE, Personality
from tests.nucleus.deploying import (
    SLEEP,
    Deploying,
    adding,
    configuring,
    placement,
    play,
    write_recipe,
)
from tests.nucleus.recording import RecordingStream

CRASH = {"startup": "exit 3"}


def artifact(folder: Path, name: str, version: str, content: bytes) -> Path:
    """The user's directory of artifacts, with one file more."""
    path = folder / name / version / "file.zip"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return folder


def zipped(folder: Path, text: str) -> bytes:
    path = folder / "made.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("said.txt", f"{text}\n")
    return path.read_bytes()


NEEDS_FILE = [{"URI": "s3://bucket/file.zip", "Unarchive": "ZIP"}]

# --- what goes well -------------------------------------------------------------------------------


def test_update_replaces_the_component_and_is_kept(
    tmp_path: Path, personality: Personality
) -> None:
    """The device goes on with it when it is started with the same again."""
    first = [placement("A")]
    recipes = write_recipe(tmp_path / "recipes", "A", "1.1.0")

    async def update(device: Deploying) -> None:
        record = await device.deploy(adding(recipes, A="1.1.0"))
        assert (record.result, record.message) == (Result.SUCCESSFUL, "")
        assert device.versions() == {"A": ("1.1.0", "RUNNING")}

    async def look(device: Deploying) -> None:
        assert device.versions() == {"A": ("1.1.0", "RUNNING")}

    play(tmp_path / "root", first, update, personality=personality)
    shown = play(tmp_path / "root", first, look, personality=personality)
    assert "going on with what ran here last: A 1.1.0" in shown


def test_device_goes_on_without_the_users_files(tmp_path: Path) -> None:
    """Recipes and artifacts are the device's own, and an update finds the artifacts it needs."""
    say = {"run": f"cat {{artifacts:decompressedPath}}/file/said.txt; {SLEEP}"}
    artifacts = artifact(tmp_path / "files", "A", "1.0.0", zipped(tmp_path, "hello"))
    first = placement("A", lifecycle=say, artifacts=NEEDS_FILE, directory=artifacts)
    recipes = write_recipe(tmp_path / "recipes", "B", "1.0.0")

    async def update(device: Deploying) -> None:
        assert (await device.deploy(adding(recipes, B="1.0.0"))).result is Result.SUCCESSFUL

    async def look(device: Deploying) -> None:
        await device.until(lambda: device.log("A").count("stdout. hello") == 2)
        assert list(device.versions()) == ["A", "B"]

    play(tmp_path / "root", [first], update)
    (artifacts / "A" / "1.0.0" / "file.zip").unlink()
    (recipes / "B-1.0.0.json").unlink()
    play(tmp_path / "root", [], look)


def test_start_with_something_else_begins_anew(tmp_path: Path) -> None:
    """So does one that says so; nothing of the old configuration is left."""

    async def configure(device: Deploying) -> None:
        assert (await device.deploy(configuring("A", x=2))).result is Result.SUCCESSFUL

    def seen(placements: list[Any], **options: Any) -> Any:
        found = []

        async def look(device: Deploying) -> None:
            found.append(device.configuration("A"))

        play(tmp_path / "root", placements, look, **options)
        return found[0]

    one, other = (placement("A", version, configuration={"x": 1}) for version in ("1.0.0", "1.0.1"))
    play(tmp_path / "root", [one], configure)
    assert seen([one]) == {"x": 2}
    assert seen([]) == {"x": 2}
    assert seen([other]) == {"x": 1}
    play(tmp_path / "root", [other], configure)
    assert seen([other], is_fresh=True) == {"x": 1}


def test_configuration_keeps_its_values_until_they_are_reset(tmp_path: Path) -> None:
    """An old default is a value; new keys arrive; reset comes before merge."""
    first = placement("A", configuration={"a": 1, "b": 1, "c": 1, "d": [1]})
    new = {"a": 2, "b": 2, "c": 2, "d": [2], "e": 2}
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", configuration=new)
    update = ConfigurationUpdate(merge={"c": 3, "f": 3}, reset=("/b", "/c"))

    async def scene(device: Deploying) -> None:
        deployment = adding(recipes, A="2.0.0")
        await device.deploy(
            Deployment(add=deployment.add, recipes=recipes, configurations={"A": update})
        )
        assert device.configuration("A") == {"a": 1, "b": 2, "c": 3, "d": [1], "e": 2, "f": 3}

    play(tmp_path / "root", [first], scene)


def test_value_written_after_the_deployment_was_made_outlives_it(tmp_path: Path) -> None:
    """The younger one wins, whichever arrives first."""

    async def scene(device: Deploying) -> None:
        late = Deployment(
            created_ms=5_000, configurations={"A": ConfigurationUpdate(merge={"x": 5})}
        )
        assert (await device.deploy(late)).result is Result.SUCCESSFUL
        assert device.configuration("A") == {"x": 1}

    play(tmp_path / "root", [placement("A", configuration={"x": 1})], scene)


def test_configuration_alone_restarts_nothing_on_classic(
    tmp_path: Path, personality: Personality
) -> None:
    """Nucleus lite restarts the component; neither touches another one."""

    async def scene(device: Deploying) -> None:
        before = {name: it["pid"] for name, it in device.components().items()}
        assert (await device.deploy(configuring("A", x=2))).result is Result.SUCCESSFUL
        after = {name: it["pid"] for name, it in device.components().items()}
        assert (before["A"] == after["A"]) is (personality is CLASSIC)
        assert before["B"] == after["B"]

    first = [placement("A", configuration={"x": 1}), placement("B")]
    play(tmp_path / "root", first, scene, personality=personality)


def test_configuration_in_a_script_restarts_its_component(tmp_path: Path) -> None:
    """For the script is another one then."""
    first = placement("A", run=f"echo x is {{configuration:/x}}; {SLEEP}", configuration={"x": 1})

    async def scene(device: Deploying) -> None:
        await device.deploy(configuring("A", x=2))
        await device.until(lambda: "x is 2" in device.log("A"))

    play(tmp_path / "root", [first], scene)


def test_another_shutdown_restarts_nothing_and_serves_from_the_next_start(tmp_path: Path) -> None:
    """The script that a component was started with stops it."""
    first = placement("A", lifecycle={"run": SLEEP, "shutdown": "echo old end"})
    recipes = write_recipe(
        tmp_path / "recipes", "A", "1.0.0", lifecycle={"run": SLEEP, "shutdown": "echo new end"}
    )

    async def scene(device: Deploying) -> None:
        pid = device.components()["A"]["pid"]
        assert (await device.deploy(adding(recipes, A="1.0.0"))).result is Result.SUCCESSFUL
        assert device.components()["A"]["pid"] == pid
        device.device.restart("A")
        await device.until(lambda: device.components()["A"]["pid"] not in {pid, None})
        assert device.log("A").count("old end") > 0
        assert "new end" not in device.log("A")

    play(tmp_path / "root", [first], scene)
    assert "stdout. new end" in (tmp_path / "root" / "logs" / "A.log").read_text()


def test_dependants_wait_for_what_is_replaced(tmp_path: Path) -> None:
    """They stop and start with it; the new one is there before they run again."""
    needs = {"A": {"VersionRequirement": ">=1.0.0", "DependencyType": "HARD"}}
    order = tmp_path / "order"
    started = placement("A", lifecycle={"startup": f"echo A1 >> {order}"})
    dependant = placement("B", run=f"echo B >> {order}; {SLEEP}", needs=needs)
    recipes = write_recipe(
        tmp_path / "recipes", "A", "2.0.0", lifecycle={"startup": f"sleep 0.3; echo A2 >> {order}"}
    )

    async def scene(device: Deploying) -> None:
        await device.deploy(adding(recipes, A="2.0.0"))
        await device.until(lambda: order.read_text().split() == ["A1", "B", "A2", "B"])

    play(tmp_path / "root", [started, dependant], scene)


def test_removal_takes_along_what_nobody_needs_any_more(tmp_path: Path) -> None:
    """But not what somebody else needs; the configuration goes, too."""
    needs = {"C": {"VersionRequirement": "*"}}
    recipes = tmp_path / "recipes"
    for name in "AB":
        write_recipe(recipes, name, "1.0.0", needs=needs)
    write_recipe(recipes, "C", "1.0.0", configuration={"x": 1})

    async def scene(device: Deploying) -> None:
        await device.deploy(adding(recipes, A="1.0.0", B="1.0.0"))
        assert sorted(device.versions()) == ["A", "B", "C"]
        await device.deploy(Deployment(remove=("A",)))
        assert sorted(device.versions()) == ["B", "C"]
        await device.deploy(Deployment(remove=("B",)))
        assert device.versions() == {}
        with pytest.raises(KeyError):
            device.configuration("C")

    play(tmp_path / "root", [], scene)


def test_component_that_is_broken_is_tried_again_by_any_deployment(tmp_path: Path) -> None:
    """As a nucleus reinstalls what is BROKEN."""
    ready = tmp_path / "ready"
    first = placement("A", lifecycle={"startup": f"test -e {ready}"})

    async def scene(device: Deploying) -> None:
        assert device.versions()["A"] == ("1.0.0", "BROKEN")
        ready.touch()
        recipes = write_recipe(tmp_path / "recipes", "B", "1.0.0")
        assert (await device.deploy(adding(recipes, B="1.0.0"))).result is Result.SUCCESSFUL
        await device.until(lambda: device.versions()["A"] == ("1.0.0", "RUNNING"))

    play(tmp_path / "root", [first], scene)


def test_deployments_are_made_one_after_the_other(tmp_path: Path) -> None:
    """In the order in which they came."""
    for version in ("1.1.0", "1.2.0", "1.3.0"):
        recipes = write_recipe(tmp_path / "recipes", "A", version)

    async def scene(device: Deploying) -> None:
        ids = [device.submit(adding(recipes, A=it)) for it in ("1.1.0", "1.3.0", "1.2.0")]
        records = [await device.ended(it) for it in ids]
        assert [it.result for it in records] == [Result.SUCCESSFUL] * 3
        assert [it.number for it in records] == [1, 2, 3]
        assert device.versions()["A"] == ("1.2.0", "RUNNING")

    play(tmp_path / "root", [placement("A")], scene)


# --- what fails -----------------------------------------------------------------------------------


def test_crash_at_start_is_undone_on_classic_alone(
    tmp_path: Path, personality: Personality
) -> None:
    """The old version runs with the old configuration; lite leaves what has failed."""
    write_recipe(tmp_path / "recipes", "B", "1.0.0")
    recipes = write_recipe(
        tmp_path / "recipes", "A", "2.0.0", lifecycle=CRASH, configuration={"y": 2}
    )
    rolls_back = personality is CLASSIC

    async def scene(device: Deploying) -> None:
        deployment = Deployment(
            add=adding(A="2.0.0", B="1.0.0").add,
            recipes=recipes,
            configurations={"A": ConfigurationUpdate(merge={"x": 2})},
        )
        record = await device.deploy(deployment)
        why = "A 2.0.0 is BROKEN: startup: got exit code 3, expected 0; see "
        assert record.message.startswith(why)
        if rolls_back:
            assert record.result is Result.FAILED_ROLLBACK_COMPLETE
            assert device.versions() == {"A": ("1.0.0", "RUNNING")}
            assert device.configuration("A") == {"x": 1}
        else:
            assert record.result is Result.FAILED_ROLLBACK_NOT_REQUESTED
            assert device.versions()["A"] == ("2.0.0", "BROKEN")
            assert device.configuration("A") == {"x": 2, "y": 2}

    async def look(device: Deploying) -> None:
        assert device.versions()["A"] == (
            ("1.0.0", "RUNNING") if rolls_back else ("2.0.0", "BROKEN")
        )

    first = [placement("A", configuration={"x": 1})]
    play(tmp_path / "root", first, scene, personality=personality)
    play(tmp_path / "root", first, look, personality=personality)


def test_failure_is_left_where_rollback_is_not_wanted(tmp_path: Path) -> None:
    """What is broken is what the device has from then on."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle=CRASH)

    async def scene(device: Deploying) -> None:
        add = adding(A="2.0.0").add
        record = await device.deploy(Deployment(add=add, recipes=recipes, rolls_back=False))
        assert record.result is Result.FAILED_ROLLBACK_NOT_REQUESTED
        assert device.versions() == {"A": ("2.0.0", "BROKEN")}

    play(tmp_path / "root", [placement("A")], scene)


def test_hang_at_start_is_undone_when_its_time_is_over(tmp_path: Path) -> None:
    """Three times, as any error of a component."""
    hang = {"startup": {"Script": SLEEP, "Timeout": 0.2}}
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle=hang)

    async def scene(device: Deploying) -> None:
        record = await device.deploy(adding(recipes, A="2.0.0"))
        assert record.result is Result.FAILED_ROLLBACK_COMPLETE
        assert "startup: got no RUNNING in 0.2 s, expected it" in record.message
        assert device.versions() == {"A": ("1.0.0", "RUNNING")}

    play(tmp_path / "root", [placement("A")], scene)


def test_old_version_that_breaks_too_is_said(tmp_path: Path) -> None:
    """Both are named."""
    once = tmp_path / "once"
    first = placement("A", lifecycle={"startup": f"test ! -e {once} && touch {once}"})
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle=CRASH)

    async def scene(device: Deploying) -> None:
        record = await device.deploy(adding(recipes, A="2.0.0"))
        assert record.result is Result.FAILED_UNABLE_TO_ROLLBACK
        assert "A 2.0.0 is BROKEN: startup: got exit code 3" in record.message
        assert "back in the old version, A 1.0.0 is BROKEN: startup: got exit" in record.message

    play(tmp_path / "root", [first], scene)


def test_same_version_with_other_files_is_undone_with_the_files(tmp_path: Path) -> None:
    """An artifact under an old name is the old one again after a rollback."""
    say = f"cat {{artifacts:decompressedPath}}/file/said.txt; {SLEEP}"
    old = artifact(tmp_path / "old", "A", "1.0.0", zipped(tmp_path, "old file"))
    new = artifact(tmp_path / "new", "A", "1.0.0", zipped(tmp_path, "new file"))
    recipes = write_recipe(
        tmp_path / "recipes",
        "A",
        "1.0.0",
        artifacts=NEEDS_FILE,
        lifecycle={"startup": "cat {artifacts:decompressedPath}/file/said.txt; exit 1"},
    )
    first = placement("A", run=say, artifacts=NEEDS_FILE, directory=old)

    async def scene(device: Deploying) -> None:
        add = adding(A="1.0.0").add
        record = await device.deploy(Deployment(add=add, recipes=recipes, artifacts=new))
        assert record.result is Result.FAILED_ROLLBACK_COMPLETE
        await device.until(lambda: device.log("A").count("stdout. old file") == 2)
        assert "stdout. new file" in device.log("A")

    play(tmp_path / "root", [first], scene)


@pytest.mark.parametrize(
    ("deployment", "text"),
    [
        (adding(A="9.0.0"), "A=9.0.0: got no such recipe (versions at hand: 1.0.0), expected"),
        (adding(Needy="1.0.0"), "Needy 1.0.0: ComponentDependencies.None: got no such component"),
        (adding(Torn="1.0.0"), "Manifests[0].Artifacts[0].URI: got 'file.zip' (File is not a zip"),
        (adding(Far="1.0.0"), "Manifests[0].Artifacts[0].URI: got 's3://bucket/none' (nothing is"),
        (Deployment(remove=("B",)), "removal of B: got no such root component, expected one of: A"),
        (configuring("B", x=1), "configuration of B: got no root component, expected one of the"),
    ],
    ids=["version", "dependency", "zip", "artifact", "removal", "configuration"],
)
def test_what_cannot_be_changes_nothing(deployment: Deployment, text: str, tmp_path: Path) -> None:
    """The components go on, the same processes."""
    recipes = tmp_path / "recipes"
    write_recipe(recipes, "Needy", "1.0.0", needs={"None": {"VersionRequirement": "^1.0.0"}})
    write_recipe(recipes, "Torn", "1.0.0", artifacts=NEEDS_FILE)
    write_recipe(recipes, "Far", "1.0.0", artifacts=[{"URI": "s3://bucket/none"}])
    artifacts = artifact(tmp_path / "files", "Torn", "1.0.0", b"no zip")

    async def scene(device: Deploying) -> None:
        before = device.components()
        record = await device.deploy(
            Deployment(
                add=deployment.add,
                remove=deployment.remove,
                configurations=deployment.configurations,
                recipes=recipes,
                artifacts=artifacts,
            )
        )
        assert record.result is Result.FAILED_NO_STATE_CHANGE
        assert text in record.message
        assert device.components() == before

    play(tmp_path / "root", [placement("A")], scene)
    states = tmp_path / "root" / "deployments" / "states"
    assert len(list(states.iterdir())) == 1


@pytest.mark.parametrize(
    ("content", "text"),
    [("{", "expected JSON or YAML"), ("{}", "RecipeFormatVersion: got nothing, expected text")],
)
def test_recipe_that_is_none_changes_nothing(content: str, text: str, tmp_path: Path) -> None:
    """Its file is named."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")
    (recipes / "other.yaml").write_text(content)

    async def scene(device: Deploying) -> None:
        record = await device.deploy(adding(recipes, A="2.0.0"))
        assert record.result is Result.FAILED_NO_STATE_CHANGE
        assert record.message.startswith(str(recipes / "other.yaml"))
        assert text in record.message

    play(tmp_path / "root", [placement("A")], scene)


def test_policy_that_lite_refuses_changes_nothing(tmp_path: Path) -> None:
    """The device goes on with the old policies."""
    policy = {"operations": ["aws.greengrass#PublishToTopic"], "resources": ["a/?"]}
    access = {"accessControl": {"aws.greengrass.ipc.pubsub": {"A:1": policy}}}

    async def scene(device: Deploying) -> None:
        record = await device.deploy(configuring("A", **access))
        assert record.result is Result.FAILED_NO_STATE_CHANGE
        assert "a/?" in record.message
        assert device.configuration("A") == {}

    play(tmp_path / "root", [placement("A")], scene, personality=LITE)


# --- asking ---------------------------------------------------------------------------------------


def _has(items: list[Any], n_items: int) -> bool:
    return len(items) == n_items


def test_component_that_defers_is_asked_again_until_it_agrees(tmp_path: Path) -> None:
    """Nothing is stopped before, and the history says for whom it waits."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        notices, stream = device.device.notices, RecordingStream()
        notices.subscribe("A", stream)
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        for n in range(3):
            await device.until(partial(_has, stream.events, n + 1))
            assert device.versions()["A"] == ("1.0.0", "RUNNING")
            notices.answer("A", deployment_id, 200 if n < 2 else 0)
            if n == 0:
                await device.until(lambda: "asked" in device.record(deployment_id).waiting)
                record = device.record(deployment_id)
                assert record.waiting == "A, which asked for 0.2 s"
                assert record.phase is Phase.NOTIFYING
        assert (await device.ended(deployment_id)).result is Result.SUCCESSFUL
        asked = {"preUpdateEvent": {"deploymentId": deployment_id, "isGgcRestarting": False}}
        told = {"postUpdateEvent": {"deploymentId": deployment_id}}
        await device.until(lambda: len(stream.events) == 4)
        assert [event for _, event in stream.events] == [asked, asked, asked, told]

    play(tmp_path / "root", [placement("A")], scene)


def test_component_that_does_not_answer_agrees_when_its_time_is_over(tmp_path: Path) -> None:
    """It costs the deployment that time, and no more."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        device.device.notices.subscribe("A", RecordingStream())
        assert (await device.deploy(adding(recipes, A="2.0.0"))).result is Result.SUCCESSFUL

    play(tmp_path / "root", [placement("A")], scene, notify_s=0.2)


def test_what_a_component_writes_while_it_defers_is_kept(tmp_path: Path) -> None:
    """The deployment is made from what is there when it begins."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        notices, stream = device.device.notices, RecordingStream()
        notices.subscribe("A", stream)
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        await device.until(lambda: stream.events)
        device.device._store["A"].merge((), {"x": 7}, 2**52)
        notices.answer("A", deployment_id, 0)
        await device.ended(deployment_id)
        assert device.configuration("A") == {"x": 7}

    play(tmp_path / "root", [placement("A", configuration={"x": 1})], scene)


# --- cancelling -----------------------------------------------------------------------------------


def test_deployment_that_waits_in_the_queue_is_canceled(tmp_path: Path) -> None:
    """It never begins, and the one before it goes on."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        notices, stream = device.device.notices, RecordingStream()
        notices.subscribe("A", stream)
        first = device.submit(adding(recipes, A="2.0.0"))
        await device.until(lambda: stream.events)
        second = device.submit(Deployment(remove=("A",)))
        device.device.deployments.cancel(second)
        record = device.record(second)
        assert (record.result, record.phase) == (Result.CANCELED, Phase.DONE)
        assert record.message == "cancelled before it began"
        notices.answer("A", first, 0)
        assert (await device.ended(first)).result is Result.SUCCESSFUL
        stream.close()
        third = await device.deploy(configuring("A", x=1))
        assert third.result is Result.SUCCESSFUL
        assert device.versions() == {"A": ("2.0.0", "RUNNING")}

    play(tmp_path / "root", [placement("A")], scene)


@pytest.mark.parametrize("answers", [False, True], ids=["asked", "deferred"])
def test_deployment_that_asks_is_canceled(tmp_path: Path, answers: bool) -> None:
    """Nothing has changed, nothing is left of it, and the components hear of its end."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        notices, stream = device.device.notices, RecordingStream()
        notices.subscribe("A", stream)
        before = device.components()
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        await device.until(lambda: stream.events)
        if answers:
            notices.answer("A", deployment_id, 600_000)
            await device.until(lambda: "asked for" in device.record(deployment_id).waiting)
        device.device.deployments.cancel(deployment_id)
        record = await device.ended(deployment_id)
        assert record.result is Result.CANCELED
        assert record.message == "cancelled before anything was touched"
        assert device.components() == before
        assert stream.events[-1][1] == {"postUpdateEvent": {"deploymentId": deployment_id}}
        with pytest.raises(LookupError):
            notices.answer("A", deployment_id, 0)
        with pytest.raises(DeploymentError, match=r": got CANCELED, expected one that has not"):
            device.device.deployments.cancel(deployment_id)

    play(tmp_path / "root", [placement("A")], scene)
    assert len(list((tmp_path / "root" / "deployments" / "states").iterdir())) == 1


def test_deployment_that_is_prepared_is_canceled(tmp_path: Path) -> None:
    """Before any component is asked."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0")

    async def scene(device: Deploying) -> None:
        stream = RecordingStream()
        device.device.notices.subscribe("A", stream)
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        while device.record(deployment_id).phase is Phase.QUEUED:  # noqa: ASYNC110  (the next turn)
            await asyncio.sleep(0)
        assert device.record(deployment_id).phase is Phase.PREPARING
        device.device.deployments.cancel(deployment_id)
        assert (await device.ended(deployment_id)).result is Result.CANCELED
        assert not [event for _, event in stream.events if "preUpdateEvent" in event]
        assert device.versions() == {"A": ("1.0.0", "RUNNING")}

    play(tmp_path / "root", [placement("A")], scene)


def test_deployment_that_stops_and_starts_goes_on(tmp_path: Path) -> None:
    """A half of it would be neither the old state nor the new one."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle={"startup": SLEEP})

    async def scene(device: Deploying) -> None:
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        await device.until(lambda: device.versions().get("A") == ("2.0.0", "STARTING"))
        with pytest.raises(DeploymentError) as caught:
            device.device.deployments.cancel(deployment_id)
        assert str(caught.value) == (
            f"deployment {deployment_id}: got ACTIVATING, "
            "expected one that has not begun to stop and start components"
        )
        with pytest.raises(KeyError):
            device.device.deployments.cancel("another")
        device.device.report("A", "RUNNING")
        assert (await device.ended(deployment_id)).result is Result.SUCCESSFUL

    play(tmp_path / "root", [placement("A")], scene)


# --- a device that ends in between ----------------------------------------------------------------


def test_device_that_is_stopped_in_the_middle_starts_from_what_ran_before(tmp_path: Path) -> None:
    """The history says so at once."""
    recipes = write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle={"startup": SLEEP})

    async def stop(device: Deploying) -> None:
        deployment_id = device.submit(adding(recipes, A="2.0.0"))
        await device.until(lambda: device.versions().get("A") == ("2.0.0", "STARTING"))
        assert device.record(deployment_id).waiting == "A 2.0.0 (STARTING)"
        device.submit(adding(recipes, A="2.0.0"))

    async def look(device: Deploying) -> None:
        one, other = device.history.read()
        assert one.result is Result.FAILED_ROLLBACK_COMPLETE
        assert one.message == (
            "the device ended in the middle (ACTIVATING); it starts from what ran before"
        )
        assert other.result is Result.FAILED_NO_STATE_CHANGE
        assert other.message == "the device ended before it began (QUEUED)"
        assert device.versions() == {"A": ("1.0.0", "RUNNING")}

    play(tmp_path / "root", [placement("A")], stop)
    play(tmp_path / "root", [], look)


_CRASHING = """
import asyncio, os, shutil, signal, sys
from pathlib import Path
from tests.nucleus.deploying import Deploying, play
from nucleus.deployments.document import ConfigurationUpdate, Deployment
from semantic_version import Version

root, files, left = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
counting = False

def deadly(function):
    def call(*arguments, **options):
        global left
        if counting:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call

for owner, names in (
    (Path, ("replace", "symlink_to", "mkdir", "unlink", "write_bytes")),
    (os, ("link", "fsync", "open")),
    (shutil, ("copy2", "rmtree")),
):
    for name in names:
        setattr(owner, name, deadly(getattr(owner, name)))

async def scene(device):
    global counting
    counting = True
    record = await device.deploy(
        Deployment(
            add={"A": Version("2.0.0")},
            recipes=files / "recipes",
            artifacts=files / "new",
            configurations={"A": ConfigurationUpdate(merge={"x": 2})},
        )
    )
    counting = False
    print(record.result)

play(root, [], scene)
"""


@pytest.mark.parametrize(("ending", "every"), [("", 4), ("exit 1", 9)], ids=["good", "bad"])
def test_device_that_is_killed_anywhere_starts_from_the_old_or_the_new(
    ending: str, every: int, tmp_path: Path
) -> None:
    """Before each of its steps on the disk: recipe, artifact and configuration are of one state."""
    say = (
        "echo saw {artifacts:decompressedPath} $(cat {artifacts:decompressedPath}/file/said.txt) "
        f"{{configuration:/x}}; {SLEEP}"
    )
    old = artifact(tmp_path / "old", "A", "1.0.0", zipped(tmp_path, "file-1"))
    artifact(tmp_path / "new", "A", "2.0.0", zipped(tmp_path, "file-2"))
    steps = {"startup": ending} if ending else {"run": say}
    write_recipe(tmp_path / "recipes", "A", "2.0.0", lifecycle=steps, artifacts=NEEDS_FILE)
    first = placement("A", run=say, artifacts=NEEDS_FILE, directory=old, configuration={"x": 1})
    seen = {}
    expected = {
        "1.0.0": ("file-1", "1"),
        "2.0.0": ("file-2", "2"),
    }

    def check(root: Path, step: int) -> None:
        async def look(device: Deploying) -> None:
            [(version, state)] = device.versions().values()
            assert state == "RUNNING"
            await device.until(lambda: "stdout. saw" in device.log("A"))
            said = device.log("A").rpartition("stdout. saw ")[2].partition(". {")[0].split()
            assert Path(said[0]).name == version
            assert tuple(said[1:]) == expected[version]
            records = device.history.read()
            result = records[-1].result if records else None
            assert (result is Result.SUCCESSFUL) == (version == "2.0.0")
            seen[step] = version
            states = root / "deployments" / "states"
            assert len(list(states.iterdir())) == 1

        root.joinpath("logs", "A.log").unlink(missing_ok=True)
        play(root, [], look)

    async def nothing(device: Deploying) -> None:
        pass

    play(tmp_path / "first", [first], nothing)
    for step in range(1, 1000, every):
        root = tmp_path / f"root{step}"
        shutil.copytree(tmp_path / "first", root, symlinks=True)
        done = subprocess.run(
            [sys.executable, "-c", _CRASHING, str(root), str(tmp_path), str(step)],
            capture_output=True,
            check=False,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        if done.returncode == 0:
            assert done.stdout.strip() == ("FAILED_ROLLBACK_COMPLETE" if ending else "SUCCESSFUL")
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        check(root, step)
    assert set(seen.values()) == ({"1.0.0"} if ending else {"1.0.0", "2.0.0"})
    assert list(seen.values()) == sorted(seen.values())
