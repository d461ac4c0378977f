import io
import json
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from release.image.report import DoorReport, ImageReport, show_image_report, write_image_report
from tests.release.test_report import FAILED, REPORT

ID = f"sha256:{'cd' * 32}"


def report(*, component_failed: bool = False) -> ImageReport:
    component = replace(FAILED if component_failed else REPORT, target="component:classic")
    return ImageReport(
        image=ID,
        reference="edgexgb-wine:1.2.3",
        doors=[
            DoorReport(door="lambda", image=ID, report=replace(REPORT, target="the Lambda")),
            DoorReport(door="component", image=ID, report=component),
        ],
    )


def test_what_holds_of_both_doors_is_said_once() -> None:
    """Model, bundle and image above; at each door what its own container ran and answered."""
    fields = json.loads(report().to_json())
    assert fields["passed"] is True
    assert (fields["image"], fields["reference"]) == (ID, "edgexgb-wine:1.2.3")
    assert (fields["name"], fields["version"], fields["digest"]) == ("wine", "1.2.3", "ab" * 32)
    for door, target in (("lambda", "the Lambda"), ("component", "component:classic")):
        found = fields["doors"][door]
        assert (found["container_image"], found["target"], found["passed"]) == (ID, target, True)
        assert found["groups"] == [
            {"name": "golden rows, alone", "passed": 64, "failed": 0, "failures": []}
        ]
        assert "digest" not in found


def test_failure_at_one_door_fails_the_image() -> None:
    """However well the other one went."""
    failed = report(component_failed=True)
    assert not failed.passed
    assert failed.n_failed == 25
    fields = json.loads(failed.to_json())
    assert fields["passed"] is False
    assert [door["passed"] for door in fields["doors"].values()] == [True, False]


def test_page_has_one_digest_and_a_chapter_for_each_door(tmp_path: Path) -> None:
    """Named by the image's digest; its verdict is that of both."""
    files = write_image_report(report(component_failed=True), tmp_path / "report")
    assert [file.name for file in files] == [
        "validation-image-cdcdcdcdcdcdcdcd.json",
        "validation-image-cdcdcdcdcdcdcdcd.html",
    ]
    page = files[1].read_text()
    assert page.count(ID) == 1
    assert page.count('class="door"') == 2
    assert page.index("the Lambda") < page.index("component:classic")
    assert "wine 1.2.3: failed" in page
    assert page.count("<svg") == 2


def test_terminal_says_which_digest_both_ran() -> None:
    """After the tables of both."""
    written = io.StringIO()
    show_image_report(report(), Console(width=200, file=written))
    text = written.getvalue()
    assert text.index("against the Lambda") < text.index("against component:classic")
    assert text.endswith(
        f"image: {ID}\nrun by the container of lambda and component, as docker says of each\n"
    )
