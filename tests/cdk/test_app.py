import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.cdk.conftest import ROOT, Assembly, Json, Synthesize, run_app, write_report
from tests.conftest import Packed, replace_file

FUNCTION, GATE = "AWS::Lambda::Function", "Custom::Gate"
VERSION = "AWS::GreengrassV2::ComponentVersion"


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from leaves(item, f"{path}/{key}")
    else:
        yield path, value


def changes(before: Json, after: Json) -> set[str]:
    """The paths at which two documents differ, without the hashes in logical ids."""
    paths = {path for path, _ in set(leaves(before)) ^ set(leaves(after))}
    return {path.split("/Fn::")[0] for path in paths}


def recipe_text(resource: Json) -> str:
    """A component version's recipe with all tokens as `…`."""
    (_, parts) = resource["Properties"]["InlineRecipe"]["Fn::Join"]
    return "".join(part if isinstance(part, str) else "…" for part in parts)


def gate_of(assembly: Assembly) -> Json:
    return assembly.only("release", GATE)


def model_function(assembly: Assembly) -> Json:
    functions = assembly.of_type("release", FUNCTION)
    (function,) = [it for it in functions if it["Properties"].get("PackageType") == "Image"]
    return function


# --- rules of others ------------------------------------------------------------------------------


def test_templates_break_no_rule_of_cdk_nag(assembly: Assembly) -> None:
    """Not even a warning; the reason of what is acknowledged is in the template."""
    assert assembly.json("validation-report.json")["pluginReports"] == []
    resources = assembly.template("release")["Resources"]
    found = {
        (name, it["id"].split("[")[0])
        for name, resource in resources.items()
        for it in resource.get("Metadata", {}).get("cdk_nag", {}).get("rules_to_suppress", [])
        if it["reason"]
    }
    assert found == {
        ("ArchivesAccessLogsF1ACFB94", "AwsSolutions-S1"),
        ("ArchivesAccessLogsPolicyA7A94753", "AwsSolutions-S1"),  # of the same bucket
        ("DevicesPolicyD71595F3", "AwsSolutions-IAM5"),
    }


def test_broken_rule_ends_the_synthesis(cdk: None, wine: Path, tmp_path: Path) -> None:
    """The control of the test above: a bucket as nobody should have one."""
    program = tmp_path / "program.py"
    program.write_text(
        "import app, aws_cdk, aws_cdk.aws_s3\n"
        "tree = aws_cdk.App(context=app._defaults())\n"
        "app.build(tree)\n"
        "aws_cdk.aws_s3.Bucket(tree.node.find_child('edgexgb-release'), 'Open')\n"
        "tree.synth()\n"
    )
    report = write_report(wine)
    done = run_app(tmp_path / "out", program, bundle=str(wine), report=str(report))
    assert done.returncode == 1
    assert "AwsSolutions-S10" in done.stdout + done.stderr


def test_templates_break_no_rule_of_cfn_lint(assembly: Assembly) -> None:
    """But W3005, for the CDK names dependencies that are implied."""
    templates = [str(path) for path in assembly.directory.glob("*.template.json")]
    assert len(templates) == 2
    command = [
        str(Path(sys.executable).with_name("cfn-lint")),
        "--ignore-checks",
        "W3005",
        "--",
        *templates,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# --- what is deployed, and when -------------------------------------------------------------------


def test_fleet_is_deployed_only_when_asked_for(
    assembly: Assembly, synthesize: Synthesize, wine: Path
) -> None:
    """The canaries come first; the fleet's stack is not even there before."""
    stacks = {path.name for path in assembly.directory.glob("*.template.json")}
    assert stacks == {"edgexgb-release.template.json", "edgexgb-canary.template.json"}
    context = {
        "deployToFleet": "true",
        "architecture": "arm64",
        "nucleus": "lite",
        "nucleusVersion": "2.5.0",
        "consumer": "false",
        "tokenExchangeRole": "GreengrassV2TokenExchangeRole",
        "configuration": '{"edgexgb.Inference": {"maxRows": "100"}}',
        "inferenceVersion": "0.1.7",
        "fleet": {"rollback": False, "notify": False, "abortPercent": 2.5},
    }
    full = synthesize(wine, **context)
    deployment = full.only("fleet", "AWS::GreengrassV2::Deployment")["Properties"]
    assert deployment["TargetArn"]["Fn::Join"][1][-1] == ":thinggroup/edgexgb-fleet"
    assert deployment["Components"] == {
        "edgexgb.Inference": {
            "ComponentVersion": "0.1.7",
            "ConfigurationUpdate": {"Reset": [""], "Merge": '{"maxRows": "100"}'},
        },
        "aws.greengrass.NucleusLite": {"ComponentVersion": "2.5.0"},
    }
    assert deployment["DeploymentPolicies"] == {
        "FailureHandlingPolicy": "DO_NOTHING",
        "ComponentUpdatePolicy": {"Action": "SKIP_NOTIFY_COMPONENTS", "TimeoutInSeconds": 60},
    }
    assert deployment["IotJobConfiguration"]["AbortConfig"]["CriteriaList"] == [
        {
            "Action": "CANCEL",
            "FailureType": "ALL",
            "MinNumberOfExecutedThings": 10,
            "ThresholdPercentage": 2.5,
        }
    ]
    assert model_function(full)["Properties"]["Architectures"] == ["arm64"]
    recipe = json.loads(recipe_text(full.of_type("release", VERSION)[0]))
    assert recipe["Manifests"][1]["Platform"]["architecture"] == "aarch64"
    assert "ComponentDependencies" not in recipe
    policy = full.only("release", "AWS::IAM::ManagedPolicy")["Properties"]
    assert policy["Roles"] == ["GreengrassV2TokenExchangeRole"]
    for name in ("canary", "fleet"):
        manifest = full.json("manifest.json")["artifacts"][f"edgexgb-{name}"]
        assert "edgexgb-release" in manifest["dependencies"]


def test_canaries_notify_and_go_back(assembly: Assembly) -> None:
    """Without options: components are asked, devices roll back, one failure stops the rest."""
    deployment = assembly.only("canary", "AWS::GreengrassV2::Deployment")["Properties"]
    assert deployment["DeploymentPolicies"] == {
        "FailureHandlingPolicy": "ROLLBACK",
        "ComponentUpdatePolicy": {"Action": "NOTIFY_COMPONENTS", "TimeoutInSeconds": 60},
    }
    assert deployment["IotJobConfiguration"] == {
        "AbortConfig": {
            "CriteriaList": [
                {
                    "Action": "CANCEL",
                    "FailureType": "ALL",
                    "MinNumberOfExecutedThings": 1,
                    "ThresholdPercentage": 1,
                }
            ]
        },
        "TimeoutConfig": {"InProgressTimeoutInMinutes": 60},
        "JobExecutionsRolloutConfig": {
            "MaximumPerMinute": 50,
            "ExponentialRate": {
                "BaseRatePerMinute": 5,
                "IncrementFactor": 1.5,
                "RateIncreaseCriteria": {"NumberOfSucceededThings": 5},
            },
        },
    }


def test_deployed_versions_are_those_of_the_release(assembly: Assembly) -> None:
    """By number, for an import from the other stack would keep that from being updated."""
    deployed = assembly.only("canary", "AWS::GreengrassV2::Deployment")["Properties"]["Components"]
    made = [json.loads(recipe_text(it)) for it in assembly.of_type("release", VERSION)]
    assert {it["ComponentName"]: it["ComponentVersion"] for it in made} == {
        name: it["ComponentVersion"] for name, it in deployed.items()
    }
    assert "Fn::ImportValue" not in json.dumps(assembly.template("canary"))
    assert "Export" not in json.dumps(assembly.template("release")["Outputs"])


# --- the gate -------------------------------------------------------------------------------------


def test_component_versions_need_the_gate(assembly: Assembly) -> None:
    """And the image that they name is the one that the gate saw running, by digest."""
    resources = assembly.template("release")["Resources"]
    (gate,) = [name for name, it in resources.items() if it["Type"] == GATE]
    versions = assembly.of_type("release", VERSION)
    assert len(versions) == 2
    assert all(gate in it["DependsOn"] for it in versions)
    text = json.dumps(versions[0]["Properties"]["InlineRecipe"])
    assert text.count(json.dumps({"Fn::GetAtt": [gate, "ImageUri"]})) == 2


def test_gate_asks_the_function_with_the_image(assembly: Assembly) -> None:
    """It is told the very reference that the function is defined with."""
    gate, function = gate_of(assembly)["Properties"], model_function(assembly)["Properties"]
    assert gate["ImageUri"] == function["Code"]["ImageUri"]
    assert (gate["ModelName"], gate["ModelVersion"]) == ("wine", "1.2.3")
    assert gate["ServiceTimeout"] == "600"
    resources = assembly.template("release")["Resources"]
    assert resources[gate["FunctionName"]["Ref"]]["Properties"] == function


def test_gate_has_the_golden_rows(assembly: Assembly, wine: Path) -> None:
    """In its own code, beside the handlers."""
    files = assembly.json("edgexgb-release.assets.json")["files"].values()
    sources = [assembly.directory / it["source"]["path"] for it in files]
    rows = [path / "handlers" / "golden.jsonl" for path in sources]
    (found,) = [path for path in rows if path.is_file()]
    assert found.read_bytes() == (wine / "golden.jsonl").read_bytes()


# --- rights ---------------------------------------------------------------------------------------


def test_devices_may_pull_this_image_and_read_this_prefix(assembly: Assembly) -> None:
    """And nothing else."""
    policy = assembly.only("release", "AWS::IAM::ManagedPolicy")["Properties"]
    statements = policy["PolicyDocument"]["Statement"]
    assert [it["Action"] for it in statements] == [
        "ecr:GetAuthorizationToken",
        ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"],
        "s3:GetObject",
    ]
    repository = json.dumps(statements[1]["Resource"])
    assert "cdk-edgexgb-container-assets-" in repository  # which only this app fills
    assert "*" not in repository
    assert statements[2]["Resource"]["Fn::Join"][1][1] == "/consumer/*"


def test_functions_may_do_what_they_do(assembly: Assembly) -> None:
    """Each has a role of its own, with its log and what its task needs."""
    actions = {}
    for name, role in assembly.template("release")["Resources"].items():
        if role["Type"] == "AWS::IAM::Role":
            (policy,) = role["Properties"]["Policies"]
            statements = policy["PolicyDocument"]["Statement"]
            assert statements[0]["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
            assert "ManagedPolicyArns" not in role["Properties"]
            actions[name.split("Role")[0]] = [it["Action"] for it in statements[1:]]
            assert all(it["Resource"] != "*" for it in statements)
    assert actions == {
        "ArchivesPublish": ["s3:GetObject", "s3:PutObject"],
        "Validation": [],
        "ValidationTestEventRegistry": ["schemas:CreateRegistry"],
        "ValidationGate": [["lambda:GetFunction", "lambda:InvokeFunction"]],
    }


def test_buckets_are_closed_and_encrypted(assembly: Assembly) -> None:
    """And kept, since devices read from them."""
    buckets = assembly.of_type("release", "AWS::S3::Bucket")
    assert len(buckets) == 2
    for bucket in buckets:
        properties = bucket["Properties"]
        assert set(properties["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = properties["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
        assert bucket["DeletionPolicy"] == bucket["UpdateReplacePolicy"] == "Retain"


def test_component_versions_are_retained(assembly: Assembly) -> None:
    """A device may have to go back to one."""
    for version in assembly.of_type("release", VERSION):
        assert version["UpdateReplacePolicy"] == "Retain"
        assert version["DeletionPolicy"] == "RetainExceptOnCreate"


def test_version_of_a_model_can_be_found(assembly: Assembly, multiclass: Packed) -> None:
    """By tags, for its patch number says nothing to people."""
    inference, _ = assembly.of_type("release", VERSION)
    assert inference["Properties"]["Tags"] == {
        "edgexgb:model": "wine 1.2.3",
        "edgexgb:bundle": multiclass.bundle.digest,
    }


def test_logs_have_an_end(assembly: Assembly) -> None:
    """Of all four functions."""
    logs = assembly.of_type("release", "AWS::Logs::LogGroup")
    assert [it["Properties"]["RetentionInDays"] for it in logs] == [30] * 4


# --- assets ---------------------------------------------------------------------------------------


def test_image_is_hashed_and_not_built(assembly: Assembly) -> None:
    """With an explicit platform, the model's facts, and nothing of this machine."""
    assets = assembly.json("edgexgb-release.assets.json")
    (image,) = assets["dockerImages"].values()
    source = image["source"]
    assert source["platform"] == "linux/amd64"
    arguments = source["dockerBuildArgs"]
    assert {name: arguments[name] for name in ("MODEL_NAME", "MODEL_VERSION")} == {
        "MODEL_NAME": "wine",
        "MODEL_VERSION": "1.2.3",
    }
    assert "REVISION" not in arguments
    assert (assembly.directory / source["directory"] / "bundle" / "model.ubj").is_file()
    assert str(ROOT) not in json.dumps(assets)


def test_changing_only_the_model_changes_its_version_and_image(
    assembly: Assembly, synthesize: Synthesize, wine: Path, tmp_path: Path
) -> None:
    """And nothing else, in any stack; the golden rows stay as they are here."""
    other = Path(shutil.copytree(wine, tmp_path / "bundle"))
    replace_file(other, "model.ubj", b"another model")
    after = synthesize(other)
    image = "/Resources/ValidationFunction0B4D9E78/Properties/Code/ImageUri"
    assert changes(assembly.template("release"), after.template("release")) == {
        image,
        "/Resources/ValidationGate30B0DB77/Properties/ImageUri",
        "/Resources/InferenceVersion903262CB/Properties/InlineRecipe",
        "/Resources/InferenceVersion903262CB/Properties/Tags/edgexgb:bundle",
        "/Outputs/InferenceVersion/Value",
    }
    assert changes(assembly.template("canary"), after.template("canary")) == {
        "/Resources/Deployment/Properties/Components/edgexgb.Inference/ComponentVersion"
    }
    assets = [it.json("edgexgb-release.assets.json") for it in (assembly, after)]
    different = set(assets[0]["dockerImages"]) ^ set(assets[1]["dockerImages"])
    assert len(different) == 2
    files = [set(it["files"]) for it in assets]
    assert len(files[0] ^ files[1]) == 2  # the template itself, before and after
    recipes = [
        json.loads(recipe_text(it.of_type("release", VERSION)[0])) for it in (assembly, after)
    ]
    assert changes(*recipes) == {"/ComponentVersion"}


def test_context_that_is_no_good_ends_in_one_line(cdk: None, tmp_path: Path) -> None:
    """No traceback; the line says what was expected."""
    done = run_app(tmp_path / "out", bundle="b", report="r", canary={"abortPercent": 200})
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == (
        "canary.abortPercent: got 200, expected a number from 0.01 to 100 with at most 2 digits "
        "after the point"
    )
    assert "Traceback" not in done.stderr
