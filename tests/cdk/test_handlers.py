"""Each handler as Lambda calls it, with a client of AWS's own library that reaches nobody.

The stub checks every request against AWS's model of the API.
"""

import io
import json
from collections.abc import Mapping
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from container.handler import make_handler
from container.settings import Settings
from handlers import gate, publish, registry, reply
from tests.conftest import Packed

Answers = list[dict[str, Any]]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    """What CloudFormation gets."""
    sent: Answers = []
    monkeypatch.setattr(reply, "_put", lambda address, body: sent.append(json.loads(body)))
    return sent


def stub(monkeypatch: pytest.MonkeyPatch, service: str) -> Stubber:
    client = boto3.client(
        service,
        region_name="eu-central-1",
        aws_access_key_id="none",
        aws_secret_access_key="none",
    )
    monkeypatch.setattr(boto3, "client", lambda name, **options: {service: client}[name])
    return Stubber(client)


def request(**properties: str) -> dict[str, Any]:
    return {
        "RequestType": "Update",
        "ResponseURL": "https://bucket/key",
        "StackId": "stack",
        "RequestId": "request",
        "LogicalResourceId": "Resource",
        "PhysicalResourceId": "Resource",
        "ResourceProperties": properties,
    }


def said(answers: Answers) -> tuple[str, str, Mapping[str, str]]:
    (answer,) = answers
    return answer["Status"], answer["Reason"], answer["Data"]


def test_gate_replays_the_rows_beside_it(
    regression: Packed, monkeypatch: pytest.MonkeyPatch, answers: Answers
) -> None:
    """All at once, then each alone; the stack gets the digest."""
    monkeypatch.setattr(gate, "_GOLDEN", regression.directory / "golden.jsonl")
    lambda_ = stub(monkeypatch, "lambda")
    code = {"ImageUri": "r:tag", "ResolvedImageUri": "r@sha256:0"}
    lambda_.add_response("get_function", {"Code": code}, {"FunctionName": "f"})
    handler = make_handler(regression.bundle, Settings())
    rows = [row.row for row in regression.bundle.golden]
    for records in (rows, *([row] for row in rows)):
        payload = json.dumps({"records": records}).encode()
        content = json.dumps(handler(payload, None)).encode()
        answer = {"StatusCode": 200, "Payload": io.BytesIO(content)}
        lambda_.add_response("invoke", answer, {"FunctionName": "f", "Payload": payload})
    manifest = regression.manifest
    event = request(
        FunctionName="f",
        ImageUri="r:tag",
        ModelName=manifest.name,
        ModelVersion=manifest.version,
        Exact="true",
    )
    with lambda_:
        gate.handle(event, None)
        lambda_.assert_no_pending_responses()
    assert said(answers) == ("SUCCESS", "", {"ImageUri": "r@sha256:0"})


def test_publish_copies(monkeypatch: pytest.MonkeyPatch, answers: Answers) -> None:
    """One object."""
    s3 = stub(monkeypatch, "s3")
    copy = {"CopySource": {"Bucket": "a", "Key": "b.zip"}, "Bucket": "c", "Key": "d.zip"}
    s3.add_response("copy_object", {}, copy)
    with s3:
        publish.handle(request(FromBucket="a", FromKey="b.zip", ToBucket="c", ToKey="d.zip"), None)
    assert said(answers) == ("SUCCESS", "", {})


@pytest.mark.parametrize("code", [None, "ConflictException"])
def test_registry_may_be_there_already(
    monkeypatch: pytest.MonkeyPatch, answers: Answers, code: str | None
) -> None:
    """AWS's own error for that is taken for success."""
    schemas = stub(monkeypatch, "schemas")
    if code is None:
        schemas.add_response("create_registry", {})
    else:
        schemas.add_client_error("create_registry", code)
    with schemas:
        registry.handle(request(RegistryName="lambda-testevent-schemas"), None)
    assert said(answers) == ("SUCCESS", "", {"Name": "lambda-testevent-schemas"})


def test_refusal_of_an_account_fails_the_stack(
    monkeypatch: pytest.MonkeyPatch, answers: Answers
) -> None:
    """With AWS's own words, and not with silence."""
    schemas = stub(monkeypatch, "schemas")
    schemas.add_client_error("create_registry", "ForbiddenException", "not you")
    with schemas:
        registry.handle(request(RegistryName="lambda-testevent-schemas"), None)
    status, reason, _ = said(answers)
    assert status == "FAILED"
    assert "(ForbiddenException)" in reason
    assert "not you" in reason
