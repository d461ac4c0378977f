import json
from pathlib import Path

import pytest

from container.handler import make_handler
from container.settings import Settings
from release.report import write_report
from release.targets import InProcess
from release.validate import validate
from stacks.bundle import check_report, read_bundle
from stacks.errors import OptionsError
from tests.cdk.conftest import write_report as write_short_report
from tests.conftest import Packed, change_manifest, copy_bundle, without_forest


def test_bundle_is_read_as_the_project_reads_it(mixed: Packed) -> None:
    """Name, version, digest, machine, files and golden rows."""
    bundle = read_bundle(mixed.directory)
    manifest = mixed.manifest
    assert (bundle.name, bundle.version) == (manifest.name, manifest.version)
    assert (bundle.digest, bundle.machine) == (mixed.bundle.digest, manifest.machine)
    assert bundle.files == ["manifest.json", *manifest.files]
    assert [row["row"] for row in bundle.golden] == [row.row for row in mixed.bundle.golden]


def test_engine_follows_the_compact_forest(mixed: Packed, tmp_path: Path) -> None:
    """XGBoost's library is in the image only where it is needed."""
    bundle = copy_bundle(mixed, tmp_path)
    (bundle / "model.forest").write_bytes(b"")
    digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    change_manifest(bundle, lambda fields: fields["files"].update({"model.forest": digest}))
    assert read_bundle(bundle).engine == "forest"
    assert read_bundle(without_forest(bundle)).engine == "xgboost"


def test_damaged_file_is_refused(mixed: Packed, tmp_path: Path) -> None:
    """By its checksum."""
    bundle = copy_bundle(mixed, tmp_path)
    (bundle / "model.ubj").write_bytes(b"")
    with pytest.raises(
        OptionsError, match=r"got sha256 e3b0.* of model\.ubj, expected .* manifest"
    ):
        read_bundle(bundle)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "got 'No such file or directory for manifest.json', expected a bundle"),
        ("{", "expected a bundle"),
        ("[]", "expected a bundle"),
        ("{}", r"\(KeyError: 'files'\), expected a bundle"),
    ],
)
def test_directory_without_a_bundle_is_refused(
    tmp_path: Path, content: str | None, expected: str
) -> None:
    """With what was found."""
    if content is not None:
        (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(OptionsError, match=expected):
        read_bundle(tmp_path)


def test_report_of_the_gate_is_accepted(multiclass: Packed, tmp_path: Path) -> None:
    """A real one, of this bundle."""
    target = InProcess(make_handler(multiclass.bundle, Settings()))
    report, _ = write_report(validate(multiclass.bundle, target, []), tmp_path)
    check_report(report, read_bundle(multiclass.directory))


def test_report_of_another_bundle_is_refused(
    multiclass: Packed, mixed: Packed, tmp_path: Path
) -> None:
    """Both digests are said."""
    report = write_short_report(copy_bundle(mixed, tmp_path))
    with pytest.raises(OptionsError) as caught:
        check_report(report, read_bundle(multiclass.directory))
    assert str(caught.value) == (
        f"report: {report}: got a report of the bundle {mixed.bundle.digest}, "
        f"expected one of the bundle {multiclass.bundle.digest}"
    )


def test_report_with_failures_is_refused(mixed: Packed, tmp_path: Path) -> None:
    """What fails on the workstation is not sent to the cloud."""
    bundle = copy_bundle(mixed, tmp_path)
    report = write_short_report(bundle, passed=False)
    with pytest.raises(OptionsError, match="got a report with failures, expected one without"):
        check_report(report, read_bundle(bundle))


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({"digest": "x"})])
def test_file_that_is_no_report_is_refused(mixed: Packed, tmp_path: Path, content: str) -> None:
    """It says which command makes one."""
    path = tmp_path / "report.json"
    path.write_text(content)
    with pytest.raises(OptionsError, match="got no report, expected the JSON that `edgexgb val"):
        check_report(path, read_bundle(mixed.directory))
