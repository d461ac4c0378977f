import io
import json
from typing import Any

import pytest

from container.handler import make_handler
from container.settings import Settings
from handlers.gate import check
from handlers.golden import parse_golden
from handlers.reply import RefusedError
from tests.conftest import Packed

IMAGE = "registry/repository:tag"
DIGEST = "registry/repository@sha256:0123"


class Functions:
    """Lambda's API with our handler behind it, in this process."""

    def __init__(self, packed: Packed, image: str = IMAGE, resolved: str = DIGEST) -> None:
        self.handler = make_handler(packed.bundle, Settings())
        self.code = {"ImageUri": image, "ResolvedImageUri": resolved}
        self.requests = 0
        self.error: bytes | None = None

    def get_function(self, *, FunctionName: str) -> dict[str, Any]:
        assert FunctionName == "wine"
        return {"Code": self.code}

    def invoke(self, *, FunctionName: str, Payload: bytes) -> dict[str, Any]:
        assert FunctionName == "wine"
        self.requests += 1
        if self.error is not None:
            return {"FunctionError": "Unhandled", "Payload": io.BytesIO(self.error)}
        answer = json.dumps(self.handler(Payload, None)).encode()
        return {"StatusCode": 200, "Payload": io.BytesIO(answer)}


def properties(packed: Packed, **others: str) -> dict[str, str]:
    manifest = packed.manifest
    return {
        "FunctionName": "wine",
        "ImageUri": IMAGE,
        "ModelName": manifest.name,
        "ModelVersion": manifest.version,
        "Exact": "true",
        **others,
    }


def golden(packed: Packed) -> list[dict[str, Any]]:
    return parse_golden((packed.directory / "golden.jsonl").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", ["multiclass", "binary", "regression", "mixed"])
def test_function_that_predicts_as_recorded_passes(
    name: str, request: pytest.FixtureRequest
) -> None:
    """For every task; each row is asked alone and with all others, and the image is its digest."""
    packed: Packed = request.getfixturevalue(name)
    functions, rows = Functions(packed), golden(packed)
    assert check(properties(packed), rows, functions) == {"ImageUri": DIGEST}
    assert functions.requests == 1 + len(rows)


@pytest.mark.parametrize("exact", ["true", "false"])
def test_another_prediction_fails_the_stack(regression: Packed, exact: str) -> None:
    """Beyond the tolerance, exact or not; the reason names the row."""
    rows = golden(regression)
    recorded = rows[3]["prediction"]
    rows[3]["prediction"] = recorded * 1.001
    with pytest.raises(RefusedError) as caught:
        check(properties(regression, Exact=exact), rows, Functions(regression))
    assert str(caught.value) == (
        f"golden rows, all rows at once: row 3, prediction: got {recorded}, "
        f"expected {recorded * 1.001}"
    )


def test_function_of_another_image_is_refused(multiclass: Packed) -> None:
    """What passed would be another one than what devices get."""
    functions = Functions(multiclass, image="registry/repository:old")
    with pytest.raises(RefusedError) as caught:
        check(properties(multiclass), golden(multiclass), functions)
    expected = "wine: got the image registry/repository:old, expected registry/repository:tag"
    assert str(caught.value) == expected
    assert functions.requests == 0


def test_image_without_a_digest_is_refused(multiclass: Packed) -> None:
    """Devices pin it by digest."""
    functions = Functions(multiclass, resolved=IMAGE)
    with pytest.raises(RefusedError, match="expected one named by digest"):
        check(properties(multiclass), golden(multiclass), functions)


def test_function_that_fails_is_refused(multiclass: Packed) -> None:
    """Such as one that cannot open its bundle; the reason has its error."""
    functions = Functions(multiclass)
    functions.error = b'{"errorMessage": "no bundle"}'
    with pytest.raises(RefusedError, match=r"got an error .*no bundle"):
        check(properties(multiclass), golden(multiclass), functions)


def test_another_model_is_refused(multiclass: Packed) -> None:
    """Even one that predicts the same."""
    with pytest.raises(RefusedError, match=r'all rows at once: model: got \{"name": "wine"'):
        check(
            properties(multiclass, ModelVersion="9.9.9"), golden(multiclass), Functions(multiclass)
        )
