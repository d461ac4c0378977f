from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from release.report import histogram, render_page, write_report
from release.validate import Group, Report

REPORT = Report(
    name="wine",
    version="1.2.3",
    digest="ab" * 32,
    target="rie",
    created="2026-01-01T00:00:00+00:00",
    machine="x86_64",
    exact=True,
    groups=[Group("golden rows, alone", passed=64)],
    skipped=0,
    first_invocation_ms=123.4,
    init_ms=None,
    latency_ms=[0.5 + i / 1000 for i in range(300)],
)
FAILED = replace(
    REPORT,
    groups=[Group("golden rows", passed=1, failed=25, failures=["row 3: got <b>, expected"])],
)


class _Checker(HTMLParser):
    """Collects text, and tags that load something from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.outside: list[str] = []

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.outside += [tag for name, _ in attrs if name in {"src", "href"}]


def page(report: Report) -> _Checker:
    checker = _Checker()
    checker.feed(render_page(report))
    return checker


def test_files_are_named_by_digest_and_target(tmp_path: Path) -> None:
    """The same model and target overwrite their report; another target has its own."""
    files = write_report(REPORT, tmp_path / "reports")
    assert [file.name for file in files] == [
        "validation-abababababababab-rie.json",
        "validation-abababababababab-rie.html",
    ]
    other = write_report(replace(REPORT, target="http://127.0.0.1:9"), tmp_path / "reports")
    assert other[0].name == "validation-abababababababab-http-127.0.0.1-9.json"
    assert len(list((tmp_path / "reports").iterdir())) == 4


def test_page_of_a_pass_says_so_and_loads_nothing() -> None:
    """The page stands alone: verdict, digest, checks and times, and no address to load from."""
    found = page(REPORT)
    assert "passed" in found.text
    assert "none failed" in found.text
    assert f"sha256:{'ab' * 32}" in found.text
    assert "123.4 ms" in found.text
    assert "init phase" not in found.text
    assert found.outside == []


def test_page_of_a_failure_lists_what_differs() -> None:
    """Failures are shown, escaped, and those beyond the list are counted."""
    found = page(FAILED)
    assert "25 failed" in found.text
    assert "row 3: got <b>, expected" in found.text
    assert "… and 24 more" in found.text


def test_page_shows_the_platforms_init_duration() -> None:
    """What a platform says of its init phase is shown as its word."""
    assert "80.0 ms, as the platform reports it" in page(replace(REPORT, init_ms=80.0)).text


def test_histogram_counts_every_request() -> None:
    """The bars' heights add up to all requests, slow ones in the last bar."""
    bars = histogram([0.1, 0.1, 0.1, 99.0], upper=1.0)
    assert [round(bar.height, 3) for bar in bars] == [120, 40]
    assert bars[-1].x == pytest.approx(640 * 39 / 40)
