import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from container.handler import make_handler
from container.settings import Settings
from model.bundle import Bundle, open_bundle
from model.golden import GoldenRow
from release.cases import Case
from release.targets import InProcess, Reply
from release.validate import MAX_FAILURES, TIMED_REQUESTS, Group, Report, all_cases, validate
from tests.conftest import Packed, with_golden


def run(bundle: Bundle, target: Any) -> Report:
    return validate(bundle, target, all_cases(bundle))


def in_process(bundle: Bundle) -> InProcess:
    return InProcess(make_handler(bundle, Settings()))


@pytest.mark.parametrize("name", ["multiclass", "binary", "regression", "mixed"])
def test_honest_bundle_passes(name: str, request: pytest.FixtureRequest) -> None:
    """A bundle that predicts what was recorded passes every case of the gate."""
    packed: Packed = request.getfixturevalue(name)
    report = run(packed.bundle, in_process(packed.bundle))
    assert [group.failures for group in report.groups if group.failed] == []
    assert report.passed
    assert report.exact
    assert report.skipped == 0
    assert report.digest == packed.bundle.digest
    assert sum(group.passed for group in report.groups) == len(all_cases(packed.bundle))
    assert len(report.latency_ms) == TIMED_REQUESTS
    assert 0 < report.p50_ms <= report.p99_ms


def test_last_bit_of_one_row_fails_and_is_named(regression: Packed, tmp_path: Path) -> None:
    """A recorded number that is one float32 off fails in every form, with row, got and expected."""
    real = regression.bundle.golden[3].prediction
    assert isinstance(real, float)
    other = real * (1 + 2**-23)

    def change(rows: list[GoldenRow]) -> None:
        rows[3] = rows[3]._replace(prediction=other)

    bundle = open_bundle(with_golden(regression, tmp_path, change))
    report = run(bundle, in_process(bundle))
    assert not report.passed
    groups = {group.name: group for group in report.groups}
    wanted = f"row 0.prediction: got {real!r}, expected {other!r}"
    assert groups["golden rows, alone"].failures == [f"row 3: {wanted}"]
    assert groups["golden rows, columns shuffled"].failed == 2
    assert groups["golden rows, function-url"].failed == 3
    assert groups["bad requests"].failed == 0
    bundle.close()


def test_other_label_fails_and_is_named(multiclass: Packed, tmp_path: Path) -> None:
    """A recorded label that is another one fails."""

    def change(rows: list[GoldenRow]) -> None:
        other = "barbera" if rows[0].prediction != "barbera" else "barolo"
        rows[0] = rows[0]._replace(prediction=other)

    bundle = open_bundle(with_golden(multiclass, tmp_path, change))
    report = run(bundle, in_process(bundle))
    groups = {group.name: group for group in report.groups}
    assert groups["golden rows, alone"].failed == 1
    assert groups["golden rows, alone"].failures[0].startswith("row 0: row 0.prediction: got 'bar")
    bundle.close()


class Changed:
    """A target that changes what another one answers."""

    name = "changed"
    takes_any_bytes = False

    def __init__(self, inner: InProcess, change: Callable[[Any], Any]) -> None:
        self._inner = inner
        self._change = change

    def invoke(self, event: bytes) -> Reply:
        reply = self._inner.invoke(event)
        return Reply(json.dumps(self._change(reply.json())).encode(), reply.seconds)

    def cold_start_ms(self) -> float | None:
        return 12.5


def test_target_that_accepts_everything_fails_the_bad_requests(multiclass: Packed) -> None:
    """A function that answers bad requests with 200 does not pass."""
    bundle = multiclass.bundle
    target = Changed(in_process(bundle), lambda response: {**response, "statusCode": 200})
    report = run(bundle, target)
    groups = {group.name: group for group in report.groups}
    assert groups["bad requests"].passed == 0
    assert "expected 400 no_rows" in groups["bad requests"].failures[0]


def test_target_with_another_model_fails(multiclass: Packed) -> None:
    """A function that serves another version of the model does not pass, whatever it predicts."""

    def change(response: Any) -> Any:
        if isinstance(response["body"], dict) and "model" in response["body"]:
            response["body"]["model"]["version"] = "9.9.9"
        return response

    report = run(multiclass.bundle, Changed(in_process(multiclass.bundle), change))
    groups = {group.name: group for group in report.groups}
    assert groups["golden rows, alone"].passed == 0
    assert groups["golden rows, alone"].failures[0] == (
        "row 0: model: got {'name': 'wine', 'version': '9.9.9'}, "
        "expected {'name': 'wine', 'version': '1.2.3'}"
    )


def test_target_whose_interface_refuses_bytes_skips_those_cases(multiclass: Packed) -> None:
    """Events that the target's own API would refuse are counted as skipped, not as passed."""
    report = run(
        multiclass.bundle, Changed(in_process(multiclass.bundle), lambda response: response)
    )
    not_json = [case for case in all_cases(multiclass.bundle) if not case.is_json]
    assert report.passed
    assert report.skipped == len(not_json) > 0
    assert report.init_ms == 12.5


def test_fresh_process_is_measured_for_a_cold_start(multiclass: Packed) -> None:
    """In-process, the first invocation is that of a new interpreter, not of this one."""
    report = validate(
        multiclass.bundle,
        in_process(multiclass.bundle),
        all_cases(multiclass.bundle)[:1],
        cold_start_of=multiclass.directory,
    )
    assert report.first_invocation_ms > 10 * report.p50_ms


def test_many_failures_are_counted_beyond_those_listed() -> None:
    """A group lists its first failures and counts the others."""
    group = Group("many")
    case = Case(group="many", name="row", event=b"", check=lambda _: "wrong")
    for _ in range(MAX_FAILURES + 5):
        group.add(case, "wrong")
    assert (len(group.failures), group.failed) == (MAX_FAILURES, MAX_FAILURES + 5)


def test_report_as_json_holds_the_verdict(multiclass: Packed) -> None:
    """Programs read verdict, digest and times without computing them."""
    report = run(multiclass.bundle, in_process(multiclass.bundle))
    fields = json.loads(report.to_json())
    assert fields["passed"] is True
    assert fields["digest"] == multiclass.bundle.digest
    assert fields["p50_ms"] == report.p50_ms
    assert fields["groups"][0]["failed"] == 0


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"predictions": 5}, "got 0 predictions, expected 1"),
        ({"probabilities": 5}, "row 0.probabilities: got 0 values, expected 3"),
        ({"probabilities": [5]}, "row 0.probabilities: got 0 values, expected 3"),
        ({"probabilities": [[1], [1]]}, "got 2 rows of probabilities, expected 1"),
    ],
)
def test_target_that_answers_something_else_fails(
    multiclass: Packed, body: dict[str, Any], problem: str
) -> None:
    """Another function's reply is a failure with a text, whatever its shape."""
    model = {"name": "wine", "version": "1.2.3"}
    good = {"model": model, "predictions": [multiclass.bundle.golden[0].prediction]}
    case = all_cases(multiclass.bundle)[0]
    assert case.check({"statusCode": 200, "body": {**good, **body}}) == problem
