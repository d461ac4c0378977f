import json
from pathlib import Path
from typing import Any

import pytest

from consumer.settings import Settings as ConsumerSettings
from consumer.settings import parse_settings, unknown_settings
from container.configuration import Configuration, parse_configuration
from container.settings import Settings
from nucleus.recipe import parse_recipe
from release.rollout import update
from stacks.errors import OptionsError
from stacks.recipes import (
    Stamped,
    check_size,
    component_version,
    longest_failure_s,
    read_recipe,
    stamp_archive,
    stamp_image,
)
from tests.cdk.conftest import ROOT

INFERENCE = read_recipe(ROOT / "container" / "recipe.yaml")
CONSUMER = read_recipe(ROOT / "consumer" / "recipe.yaml")
URI = f"123456789012.dkr.ecr.eu-central-1.amazonaws.com/repository@sha256:{'1' * 64}"
PUBLISH, SUBSCRIBE = "aws.greengrass#PublishToTopic", "aws.greengrass#SubscribeToTopic"


def inference(recipe: Any = INFERENCE, **others: str) -> Stamped:
    options = {"uri": URI, "content": "a", "architecture": "amd64", "nucleus": "classic"}
    return stamp_image(recipe, **{**options, **others})


def consumer(content: str = "a") -> Stamped:
    key = "consumer/{version}/edgexgb-consumer.zip"
    return stamp_archive(CONSUMER, prefix="s3://bucket/", key=key, content=content)


def defaults(stamped: Stamped) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(stamped.text)["ComponentConfiguration"]
    return dict(fields["DefaultConfiguration"])


def permitted(stamped: Stamped) -> set[tuple[str, str]]:
    policies = defaults(stamped)["accessControl"]
    assert set(policies) == {"aws.greengrass.ipc.pubsub"}
    return {
        (operation, resource)
        for policy in policies["aws.greengrass.ipc.pubsub"].values()
        for operation in policy["operations"]
        for resource in policy["resources"]
    }


def test_image_is_named_wherever_the_recipe_names_one() -> None:
    """In the artifact, and in the script that runs it; what the file had is gone."""
    (old,) = [it["URI"] for it in INFERENCE["Manifests"][1]["Artifacts"]]
    stamped = inference()
    manifest = json.loads(stamped.text)["Manifests"][1]
    assert manifest["Artifacts"] == [{"URI": f"docker:{URI}"}]
    assert URI in manifest["Lifecycle"]["startup"]["Script"]
    assert old.removeprefix("docker:") not in stamped.text


@pytest.mark.parametrize(("ours", "theirs"), [("amd64", "amd64"), ("arm64", "aarch64")])
def test_container_fits_devices_of_its_architecture(ours: str, theirs: str) -> None:
    """On others the deployment fails before anything is touched."""
    manifests = json.loads(inference(architecture=ours).text)["Manifests"]
    assert [it["Platform"].get("architecture") for it in manifests] == [None, theirs]


def test_docker_needs_two_components_on_classic() -> None:
    """Nucleus lite knows neither, and has both inside."""
    dependencies = json.loads(inference().text)["ComponentDependencies"]
    assert {name: it["VersionRequirement"] for name, it in dependencies.items()} == {
        "aws.greengrass.DockerApplicationManager": ">=2.0.0 <2.1.0",
        "aws.greengrass.TokenExchangeService": ">=2.0.0 <2.1.0",
    }
    assert "ComponentDependencies" not in json.loads(inference(nucleus="lite").text)


def test_version_follows_content() -> None:
    """Of the image, the recipe and the options; not the address, which each account has its own."""
    versions = [
        inference().version,
        inference(content="b").version,
        inference(architecture="arm64").version,
        inference(nucleus="lite").version,
        inference({**INFERENCE, "ComponentDescription": "Another"}).version,
    ]
    assert len(set(versions)) == 5
    assert inference(uri=URI.replace("eu-central-1", "us-east-1")).version == versions[0]
    assert consumer("a").version == consumer("a").version != consumer("b").version


def test_version_is_one_that_every_nucleus_reads() -> None:
    """MAJOR.MINOR of the file, and a number below 2^31, which a range of the consumer includes."""
    for stamped, recipe in ((inference(), INFERENCE), (consumer(), CONSUMER)):
        major, minor, patch = stamped.version.split(".")
        assert recipe["ComponentVersion"] == f"{major}.{minor}.0"
        assert 0 <= int(patch) < 2**31
        assert json.loads(stamped.text)["ComponentVersion"] == stamped.version


def test_consumer_names_its_archive_under_its_version() -> None:
    """A key is never written with other content, so a device never sees a checksum differ."""
    stamped = consumer()
    (manifest,) = json.loads(stamped.text)["Manifests"]
    uri = f"s3://bucket/consumer/{stamped.version}/edgexgb-consumer.zip"
    assert manifest["Artifacts"] == [{"URI": uri, "Unarchive": "ZIP"}]
    assert "{artifacts:decompressedPath}/edgexgb-consumer" in manifest["Lifecycle"]["run"]


@pytest.mark.parametrize("stamped", [inference(), consumer()], ids=["inference", "consumer"])
def test_stamped_recipe_is_one(stamped: Stamped) -> None:
    """By the reader of our own core device, and within the size that the cloud takes."""
    recipe = parse_recipe(stamped.text, stamped.name)
    assert (recipe.name, str(recipe.version)) == (stamped.name, stamped.version)
    check_size(stamped)


def test_recipe_that_is_too_large_is_refused() -> None:
    """Before an account is asked; the addresses that come later are counted."""
    stamped = Stamped(name="Large", version="1.0.0", text="x" * 15_001)
    with pytest.raises(OptionsError) as caught:
        check_size(stamped)
    assert str(caught.value) == "Large: got a recipe of 16001 bytes, expected at most 16000"


def test_recipe_without_an_image_is_refused() -> None:
    """There would be nothing to run."""
    with pytest.raises(OptionsError, match="Consumer: got 0 images, expected one"):
        inference(CONSUMER)


def test_inference_may_do_what_its_code_does() -> None:
    """Requests are heard, and probes sent to oneself; replies go to the topic and below it."""
    code = Configuration()
    assert permitted(inference()) == {
        (SUBSCRIBE, code.request_topic),
        (PUBLISH, code.request_topic),
        (PUBLISH, code.result_topic),
        (PUBLISH, f"{code.result_topic}/*"),
    }


def test_consumer_may_do_what_its_code_does() -> None:
    """Requests are sent; below the result topic it listens, and sends probes to itself."""
    code = ConsumerSettings()
    assert permitted(consumer()) == {
        (PUBLISH, code.request_topic),
        (PUBLISH, f"{code.result_topic}/*"),
        (SUBSCRIBE, f"{code.result_topic}/*"),
    }


def test_defaults_of_the_recipes_are_those_of_the_code() -> None:
    """A device without configuration of its own does what the documents say."""
    settings = Settings()
    found = parse_configuration(defaults(inference()), settings)
    assert found == parse_configuration({}, settings)
    assert parse_settings(defaults(consumer())) == ConsumerSettings()
    assert unknown_settings(defaults(consumer())) == []


def test_failure_takes_three_attempts() -> None:
    """Of start, stop and recovery, with the nucleus' defaults where the recipe says nothing."""
    recipe = {"Manifests": [{"Lifecycle": {"startup": {"Timeout": 100}, "Shutdown": "x"}}]}
    assert longest_failure_s(recipe) == 3 * (100 + 15)
    assert longest_failure_s({"Manifests": [{"Lifecycle": {"run": "x"}}]}) == 0


@pytest.mark.parametrize("content", [None, "[]", "a: b", "a: [", "Manifests: 1"])
def test_file_that_is_no_recipe_is_refused(tmp_path: Path, content: str | None) -> None:
    """With its path."""
    path = tmp_path / "recipe.yaml"
    if content is not None:
        path.write_text(content)
    with pytest.raises(OptionsError, match=r"recipe\.yaml: got no recipe"):
        read_recipe(path)


@pytest.mark.parametrize("recipe", [INFERENCE, CONSUMER], ids=["inference", "consumer"])
def test_versions_follow_the_same_rule_as_those_of_a_rollout(recipe: dict[str, Any]) -> None:
    """The app imports nothing of the project, so that the rule is written down twice."""
    for version in (recipe["ComponentVersion"], "7.3.0"):
        stamped = {**recipe, "ComponentVersion": version, "Content": "å"}
        assert component_version(stamped) == update.component_version(stamped)


def test_recipe_that_would_grow_without_bounds_is_refused(tmp_path: Path) -> None:
    """Nine lines of ten aliases each would be a thousand million words."""
    lines = ["Manifests: []", "a0: &a0 word"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    path = tmp_path / "recipe.yaml"
    path.write_text("\n".join(lines))
    with pytest.raises(OptionsError, match="got an alias, expected a recipe without any"):
        read_recipe(path)


def test_recipe_that_is_nested_too_deep_is_refused(tmp_path: Path) -> None:
    """In words of ours."""
    path = tmp_path / "recipe.yaml"
    path.write_text("Manifests: " + "[" * 5000)
    with pytest.raises(OptionsError, match="got no recipe"):
        read_recipe(path)
