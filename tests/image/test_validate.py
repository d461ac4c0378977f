"""The whole gate against real images: one digest, two doors, one report."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from model.bundle import open_bundle
from release.cli import main
from release.image.facts import MODEL_DIGEST, ImageFacts, find_image
from release.image.owner import OWNER
from release.image.validate import extracted_bundle
from release.validate import TIMED_REQUESTS, all_cases
from tests.conftest import Packed, copy_bundle, with_golden
from tests.image.conftest import docker

pytestmark = [pytest.mark.docker, pytest.mark.kernel]  # of bundles with a compact forest

ROOT = Path(__file__).parents[2]

Rebuilt = Callable[..., str]


@pytest.fixture
def rebuilt(wine: ImageFacts) -> Iterator[Rebuilt]:
    """Makes an image by hand: another bundle over the last layer, and a label that says so."""
    made: list[str] = []

    def make(bundle: Path, digest: str, *lines: str) -> str:
        for path in (bundle, *bundle.iterdir()):
            path.chmod(0o755)
        (bundle.parent / "Dockerfile").write_text(
            f"FROM {wine.id}\nCOPY {bundle.name}/ /opt/bundle/\nLABEL {MODEL_DIGEST}={digest}\n"
            + "\n".join(lines)
        )
        done = docker("build", "--quiet", str(bundle.parent))
        assert done.returncode == 0, done.stderr
        made.append(done.stdout.strip())
        return made[-1]

    yield make
    docker("image", "rm", "--force", "--no-prune", *made)


def validated(
    capsys: pytest.CaptureFixture[str], folder: Path, image: str, *words: object
) -> tuple[int, Any, str]:
    """Exit code, the report as JSON where there is one, and stderr."""
    options = ["--json", "--report", str(folder / "report")]
    code = main(["image", "validate", image, *options, *(str(word) for word in words)])
    out, err = capsys.readouterr()
    return code, json.loads(out) if out else None, err


def left() -> list[str]:
    return docker("ps", "--all", "--quiet", "--filter", f"label={OWNER}").stdout.split()


@pytest.mark.parametrize("personality", ["classic", "lite"])
def test_both_doors_run_one_digest_and_answer_to_the_last_bit(
    personality: str,
    wine: ImageFacts,
    multiclass: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One report, one image; each golden row in every form at both doors; nothing is left."""
    words = ("--bundle", multiclass.directory, "--personality", personality)
    code, report, errors = validated(capsys, tmp_path, wine.id, *words)
    assert (code, errors) == (0, "")
    assert report["passed"]
    assert report["exact"]
    assert report["image"] == wine.id
    assert report["digest"] == multiclass.bundle.digest
    assert list(report["doors"]) == ["lambda", "component"]
    alone = len(multiclass.bundle.golden)
    for door in report["doors"].values():
        assert door["container_image"] == wine.id
        groups = {group["name"]: group["passed"] for group in door["groups"]}
        assert groups["golden rows, alone"] == alone
        assert groups["bad requests"] > 10
        assert len(door["latency_ms"]) == TIMED_REQUESTS
    groups = {group["name"]: group for group in report["doors"]["lambda"]["groups"]}
    assert sum(group["passed"] for group in groups.values()) == len(all_cases(multiclass.bundle))
    assert left() == []
    name = f"validation-image-{wine.id.removeprefix('sha256:')[:16]}"
    written = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert written == [f"{name}.html", f"{name}.json"]
    assert json.loads((tmp_path / "report" / f"{name}.json").read_text()) == report
    page = (tmp_path / "report" / f"{name}.html").read_text()
    assert page.count(wine.id) == 1
    assert page.count("golden rows, alone") == 2


def test_bundle_is_read_out_of_the_image_as_it_was_packed(
    wine: ImageFacts, multiclass: Packed
) -> None:
    """Byte for byte, without running anything; the copy is gone afterwards."""
    with extracted_bundle(find_image(wine.id)) as found:
        files = {path.name: path.read_bytes() for path in found.iterdir()}
    assert files == {path.name: path.read_bytes() for path in multiclass.directory.iterdir()}
    assert not found.exists()
    assert left() == []


def test_image_of_another_bundle_than_the_given_is_refused_with_both_digests(
    wine: ImageFacts,
    multiclass: Packed,
    binary: Packed,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Before any door opens."""
    code, report, errors = validated(capsys, tmp_path, wine.id, "--bundle", binary.directory)
    assert (code, report) == (1, None)
    assert errors == (
        f"edgexgb image: error: {wine.id}: got a bundle with the digest "
        f"{multiclass.bundle.digest}, expected {binary.bundle.digest} as in --bundle\n"
    )
    assert not (tmp_path / "report").exists()


def test_damaged_bundle_in_an_image_fails_with_its_file(
    rebuilt: Rebuilt, multiclass: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A last layer with other bytes than the manifest names."""
    damaged = copy_bundle(multiclass, tmp_path)
    (damaged / "golden.jsonl").write_text("{}")
    image = rebuilt(damaged, multiclass.bundle.digest)
    code, report, errors = validated(capsys, tmp_path, image)
    assert (code, report, errors.count("\n")) == (1, None, 1)
    assert errors.startswith("edgexgb image: error: golden.jsonl: got 2 bytes with sha256")


def test_image_whose_label_is_not_its_bundles_is_refused(
    rebuilt: Rebuilt, multiclass: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A label says what fleets are told; a layer says what serves."""
    other = with_golden(multiclass, tmp_path, lambda rows: rows.pop())
    image = rebuilt(other, multiclass.bundle.digest)
    code, _, errors = validated(capsys, tmp_path, image)
    assert (code, errors.count("\n")) == (1, 1)
    assert f"expected {multiclass.bundle.digest} as its label {MODEL_DIGEST} says" in errors


def test_other_model_under_the_golden_rows_fails_at_the_lambda(
    rebuilt: Rebuilt, multiclass: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Golden rows off by their last bit, every checksum and the label right: rows are named."""

    def change(rows: list[Any]) -> None:
        other = [value * (1 + 2**-23) for value in rows[3].probabilities]
        rows[3] = rows[3]._replace(probabilities=other)

    wrong = with_golden(multiclass, tmp_path, change)
    bundle = open_bundle(wrong)
    bundle.close()
    code, report, errors = validated(
        capsys, tmp_path, rebuilt(wrong, bundle.digest), "--door", "lambda"
    )
    assert (code, report["passed"]) == (1, False)
    assert list(report["doors"]) == ["lambda"]
    groups = {group["name"]: group for group in report["doors"]["lambda"]["groups"]}
    assert groups["golden rows, alone"]["failed"] == 1
    assert groups["bad requests"]["failed"] == 0
    assert errors.splitlines()[-1].startswith(
        "edgexgb image: error: 26 checks failed; first, lambda: row 3: row 0.probabilities"
    )


def test_function_that_does_not_start_is_one_line_with_its_last_words(
    rebuilt: Rebuilt, multiclass: Packed, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the function said is in the container's log alone, which goes with it."""
    bundle = copy_bundle(multiclass, tmp_path)
    image = rebuilt(bundle, multiclass.bundle.digest, "ENV EDGEXGB_THREADS=0")
    code, report, errors = validated(capsys, tmp_path, image, "--door", "lambda")
    assert (code, report, errors.count("\n")) == (1, None, 1)
    assert errors.startswith("edgexgb image: error: the image as a Lambda: got ")
    assert "EDGEXGB_THREADS: got '0', expected a whole number above 0" in errors
    assert left() == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("door", ["lambda", "component"])
def test_signal_during_the_gate_leaves_nothing(
    door: str, number: int, code: int, wine: ImageFacts, tmp_path: Path
) -> None:
    """No container, no temporary directory, no report, no traceback."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    words = ["image", "validate", wine.id, "--door", door, "--report", str(tmp_path / "report")]
    with subprocess.Popen(
        [sys.executable, "-m", "release.cli", *words],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        filters = ("--filter", f"ancestor={wine.id}", "--filter", "status=running")
        while not docker("ps", "--quiet", *filters).stdout:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert out == ""
    assert not (tmp_path / "report").exists()
    assert list(temporary.iterdir()) == []
    assert docker("ps", "--all", "--quiet", *filters[:2]).stdout == ""
