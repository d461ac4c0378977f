"""The bench itself, with a tiny model and with numbers that were made up: never a time."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from array import array
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console

import bench.__main__ as bench_main
from bench.__main__ import INTERRUPTED, is_equal, main, measure
from bench.budgets import BUDGETS, Budget, Verdict, judge
from bench.crew import Crew, Served, WorkerError
from bench.models import ROOT, SPECS, build
from bench.plan import FULL, PLANS, QUICK, SMOKE, Plan
from bench.plots import draw
from bench.progress import Progress
from bench.remarks import REMARKS, explain
from bench.report import write_docs
from bench.spread import quantiles, spread
from bench.tables import Table, to_tables
from bench.worker import _call_together, _compare

Json = dict[str, Any]


@pytest.fixture(scope="module")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> tuple[int, Path, str]:
    """A run of the smallest plan: its exit code, its file, what it printed."""
    folder = tmp_path_factory.mktemp("bench")
    output = io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        code = main(["--plan", "smoke", "--out", str(folder)])
    return code, folder / "smoke.json", output.getvalue()


def _measured(p50: float, iqr: float = 0.0) -> Json:
    found = {"p50": p50, "iqr": iqr, "p99": p50, "n": 100, "cpu_us": p50}
    return {**found, "quantiles": {"0.5": p50, "0.99": 2 * p50}}


def _way(p50: float, detail: str = "a library 1.0", *, equal: bool = True) -> Json:
    same = {"equal": equal, "differing": 0.0 if equal else 0.5, "max_relative": 1e-7}
    return {
        "detail": detail,
        "equal": {**same, "replies": same},
        "rows_1": _measured(p50),
        "rows_10": _measured(2 * p50),
    }


def _cell(**ratios: float) -> Json:
    return {
        key: {"rate": 1e6 * ratio, "ratio": {"p50": ratio, "iqr": 0.1, "p99": 2.0, "n": 9}}
        for key, ratio in ratios.items()
    }


def _component(p50: float) -> Json:
    latency = {"us": _measured(p50), "quantiles": {}, "per_second": 1e6 / p50}
    return {
        "latency": {"consumers_1": latency, "consumers_8": latency},
        "window": {"in_flight_256": {"answered_per_second": 900.0, "busy_share": 0.25}},
    }


def _function(ms: float) -> Json:
    return {"warm_ms": _measured(ms), "cold_ms": _measured(90 * ms), "rss_bytes": 2e7 * ms}


@pytest.fixture
def sections() -> Json:
    """A run's numbers for model a, made up, in which one budget alone is missed: the batches."""
    stages = {"read": 4.0, "predict": 3.0, "rest": 2.0, "write": 1.0}
    ways = {"sample": _way(3100.0), "capi": _way(66.0), "ours": _way(10.0, "ForestEngine, avx2")}
    sizes = {
        "rows_1": {"capi": _measured(60.0), "ours": _measured(1.0)},
        "rows_1000": {"capi": _measured(2000.0), "ours": _measured(1000.0)},
        "rows_10000": {"capi": _measured(9000.0), "ours": _measured(9000.0)},
    }
    details = {"capi": "XGBoostEngine", "ours": "ForestEngine, avx2"}
    run = {"details": details, "reasons": {"tl2cgen": "not installed"}, "sizes": sizes}
    cells = {
        "interpreter_1": _cell(callers_1=1.0, callers_4=0.8),
        "engine_1": _cell(callers_1=1.0, callers_4=0.97),
        "handler_1": _cell(callers_1=1.0, callers_4=1.5),
    }
    start = {"ms": _measured(17.0), "rss_bytes": 1e7}
    installed = {
        "the Lambda door": {"bytes": 2_000_000, "packages": {"awslambdaric": 2_000_000}},
        "the device door": {"bytes": 12_500_000, "packages": {"awscrt": 12_500_000}},
        "our own code": {"bytes": 1_000_000, "packages": {}},
        "XGBoost's library, where no forest serves": {"bytes": 18_000_000, "packages": {}},
    }
    return {
        "rows": {
            "a": {
                "ways": ways,
                "reasons": {"onnx": "no categories"},
                "stages": {"rows_1": stages, "rows_10": stages},
            }
        },
        "batches": {"a": {"threads_1": run}},
        "concurrency": {"a": {"threads_1": cells}},
        "starts": {
            "models": {"a": {"ways": {"ours": start}, "reasons": {"mlserver": "not installed"}}},
            "installed": installed,
            "imports": {"Lambda": {"total": 21.0, "json": 20.0}},
        },
        "invocations": {"a": {"empty": _function(1.0), "ours": _function(1.05)}},
        "bus": {
            "a": {
                "bench.Echo": _component(1000.0),
                "bench.Ours": _component(1050.0),
                "bench.Unbatched": _component(1050.0),
            }
        },
        "growth": {"trees": {"10": {"ours": _measured(5.0)}, "50": {"ours": _measured(6.0)}}},
    }


def _verdict(verdicts: list[Verdict], key: str) -> Verdict:
    return next(verdict for verdict in verdicts if verdict.key == key)


def _cells_of(tables: list[Table], title: str) -> dict[str, list[str]]:
    table = next(table for table in tables if title in table.title)
    return {row[0]: list(row[1:]) for row in table.rows}


# --- a run from end to end ------------------------------------------------------------------------


def test_smoke_run_measures_its_sections_and_finds_equality(smoke: tuple[int, Path, str]) -> None:
    """A run of the smallest plan has each section's numbers, and all ways agree to the bit."""
    code, path, _ = smoke
    run = json.loads(path.read_bytes())
    assert (code, run["complete"], run["failed"]) == (0, True, {})
    assert tuple(run["sections"]) == SMOKE.sections
    ways = run["sections"]["rows"]["tiny"]["ways"]
    assert set(ways) == {"capi", "ours"}
    for way in ways.values():
        assert way["equal"]["equal"]
        assert way["equal"]["replies"]["equal"]


def test_smoke_run_prints_tables_and_verdicts(smoke: tuple[int, Path, str]) -> None:
    """The terminal gets every section's table, and each budget with a verdict."""
    _, path, printed = smoke
    for words in ("One row and ten rows", "Batches", "Several callers at once", "Start", "Budgets"):
        assert words in printed
    assert printed.count("not measured") == 6  # no sample, no emulator, no bus
    assert str(path) in printed
    assert (path.parent / "rows.png").read_bytes().startswith(b"\x89PNG")


def test_run_that_was_kept_is_shown_and_written_as_docs(
    smoke: tuple[int, Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--from` measures nothing, and `--write-docs` links pictures that are there and small."""
    _, path, _ = smoke
    docs = tmp_path / "benchmark.md"
    assert main(["--from", str(path), "--write-docs", str(docs)]) == 0
    assert "Budgets" in capsys.readouterr().out
    text = docs.read_text()
    assert text.index("## Budgets") < text.index("## One row and ten rows")
    links = [line.partition("](")[2].rstrip(")") for line in text.splitlines() if line[:1] == "!"]
    assert links == [f"benchmark/{name}.png" for name in ("rows", "latency", "batches", "growth")]
    assert sum((tmp_path / link).stat().st_size for link in links) < 400_000


def test_section_that_fails_leaves_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A failure is written down under its section's name, and the run goes on."""

    def fail(_plan: Plan, _progress: Progress) -> Json:
        raise RuntimeError("no emulator here")

    monkeypatch.setattr(bench_main, "_prepare", lambda _plan, _progress: {})
    monkeypatch.setattr(
        bench_main, "SECTIONS", {"invocations": fail, "bus": lambda _plan, _progress: {}}
    )
    path = tmp_path / "run.json"
    output = io.StringIO()
    run = measure(SMOKE, ["invocations", "bus"], path, Progress(Console(file=output)))
    assert run == json.loads(path.read_bytes())
    assert run["failed"] == {"invocations": "RuntimeError: no emulator here"}
    assert list(run["sections"]) == ["bus"]
    assert "invocations  0 s, RuntimeError: no emulator here" in output.getvalue()


def test_interrupted_run_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A Ctrl-C in the second section leaves the first one's numbers, a line, and exit code 130."""

    def interrupt(_plan: Plan, _progress: Progress) -> Json:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_main, "_prepare", lambda _plan, _progress: {})
    monkeypatch.setattr(
        bench_main, "SECTIONS", {"rows": lambda _plan, _progress: {}, "batches": interrupt}
    )
    code = main(["--plan", "smoke", "--out", str(tmp_path), "rows", "batches"])
    path = tmp_path / "smoke-rows-batches.json"
    kept = json.loads(path.read_bytes())
    assert code == INTERRUPTED
    assert (kept["complete"], kept["sections"]) == (False, {"rows": {}})
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == f"interrupted; {path} has rows"
    assert captured.err == ""


def test_interrupted_process_leaves_one_line_and_no_worker(tmp_path: Path) -> None:
    """A real SIGINT in the middle of a section ends the workers too, without a traceback."""
    program = (
        "import dataclasses, sys\n"
        "import bench.__main__ as main, bench.plan as plan\n"
        "long = dataclasses.replace(plan.SMOKE, rounds=1_000_000, ways=('ours',))\n"
        "plan.PLANS['smoke'] = long\n"
        "sys.exit(main.main(sys.argv[1:]))\n"
    )
    words = ["--plan", "smoke", "--out", str(tmp_path), "rows"]
    with subprocess.Popen(
        [sys.executable, "-u", "-c", program, *words],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        while "model tiny, 1 rows" not in process.stdout.readline():
            assert process.poll() is None
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert len(children) == 1
    assert process.returncode == INTERRUPTED
    assert out.splitlines() == ["interrupted; nothing was measured"]
    assert err == ""
    assert not any(child.is_running() for child in children)


# --- workers --------------------------------------------------------------------------------------


def test_worker_that_dies_says_its_last_lines(capfd: pytest.CaptureFixture[str]) -> None:
    """Its reason has the exit code and the last line; the end of its log goes to stderr."""
    with Crew(["ours"], build(SPECS["tiny"])) as crew:
        served = crew.demand("ours")
        with served.log.open("ab") as log:
            log.write(b"first\nout of memory\n")
        os.kill(served._process.pid, signal.SIGKILL)
        with pytest.raises(WorkerError, match=r"^ended with code -9: out of memory$"):
            served.ask("equal")
    assert f"{served.log.name}: out of memory" in capfd.readouterr().err


def test_worker_that_fails_is_dismissed_with_its_reason() -> None:
    """A way that cannot do its turn is left out, and the others go on."""
    with Crew(["capi", "ours"], build(SPECS["tiny"])) as crew:

        def turn(served: Served) -> Json:
            rows = 0 if served.way == "capi" else 1
            found: Json = served.ask("text", rows=rows, at_least_s=0.0)
            return found

        found = crew.take_turns(2, turn)
        assert list(found) == ["ours"]
        assert found["ours"]["n"] == 10
        with pytest.raises(WorkerError, match=r"^model tiny: capi does not serve: ") as caught:
            crew.demand("capi")
        assert str(caught.value).endswith("tiny-capi.log)")


def test_way_that_is_not_installed_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """A competitor without its environment is no failure."""
    monkeypatch.setattr("bench.crew.EXTRA_PYTHON", Path("/nowhere/python"))
    crew = Crew(["onnx"], Path("tiny"))
    assert crew.reasons == {"onnx": "not installed; `make bench` installs it"}


def test_callers_call_in_as_many_threads() -> None:
    """Each of the threads calls once at least, and the calls of all are counted."""
    seen: set[int] = set()
    together = threading.Barrier(3)

    def call(number: int) -> None:
        seen.add(number)
        together.wait(10)

    start = time.perf_counter()
    rate = _call_together(3, 0.0, call)
    assert rate >= 3 / (time.perf_counter() - start)
    assert seen == {0, 1_000, 2_000}


def test_caller_that_fails_is_heard() -> None:
    """An error in a thread is the turn's error."""
    with pytest.raises(ZeroDivisionError):
        _call_together(2, 0.0, lambda number: 1 // (number - number))


def test_comparison_counts_bits_and_not_nearness() -> None:
    """A zero of the other sign differs, and a NaN equals itself."""
    reference = array("f", [0.0, 1.0, float("nan"), 2.0])
    assert _compare(reference, reference)["equal"]
    found = _compare(array("f", [-0.0, 1.0, float("nan"), 2.5]), reference)
    assert found == {"equal": False, "differing": 0.5, "max_relative": 0.25}


# --- numbers --------------------------------------------------------------------------------------


def test_spread_of_turns_has_the_quartiles_of_their_medians() -> None:
    """The median and the 99th percentile are of all values, the quartiles of the turns."""
    found = spread([[1.0, 2.0, 9.0], [3.0, 4.0, 5.0], [6.0, 6.0, 6.0]])
    assert (found.p50, found.p99, found.iqr, found.n) == (5.0, 9.0, 2.0, 9)


def test_spread_of_one_turn_has_the_quartiles_of_its_values() -> None:
    """Where there are no turns, the values speak for themselves; one alone has no spread."""
    assert spread([[1.0, 2.0, 3.0, 4.0, 5.0]]).iqr == 2.0
    assert spread([[7.0]]).iqr == 0.0


def test_quantiles_are_left_out_where_there_are_too_few_values() -> None:
    """A hundred values have a 99th percentile, and none of 99.9 %."""
    found = quantiles([[float(n) for n in range(1, 101)]])
    assert found["0.99"] == 99.0
    assert found["0.5"] == 50.0
    assert "0.999" not in found
    assert list(quantiles([[1.0, 2.0]])) == ["0.5"]


# --- budgets --------------------------------------------------------------------------------------


def test_budgets_that_are_met_and_missed_are_said_to_be(sections: Json) -> None:
    """The made-up run misses one budget, and its value is the least of the large batches."""
    verdicts = judge(sections, ["a"])
    assert [verdict.key for verdict in verdicts if not verdict.met] == ["batches"]
    missed = _verdict(verdicts, "batches")
    assert (missed.value, missed.limit, missed.met) == (1.0, "≥ 1.4 ×", False)
    assert _verdict(verdicts, "rows").value == 310.0
    assert _verdict(verdicts, "installed").value == 15.5


def test_upper_limit_is_missed_above_it(sections: Json) -> None:
    """A ratio over a limit from above is not met, whatever the other models have."""
    sections["invocations"]["a"]["ours"] = _function(1.2)
    assert _verdict(judge(sections, ["a"]), "warm").met is False
    sections["invocations"]["b"] = sections["invocations"]["a"]
    assert _verdict(judge(sections, ["b"]), "warm").met is True  # whose limit is 1.25


def test_concurrency_is_met_within_its_spread_and_not_beyond(sections: Json) -> None:
    """0.97 ± 0.05 may be 1; 0.9 ± 0.05 is less."""
    verdict = _verdict(judge(sections, ["a"]), "concurrency")
    assert (verdict.value, verdict.slack, verdict.met) == (0.97, 0.05, True)
    sections["concurrency"]["a"]["threads_1"]["engine_1"] = _cell(callers_1=1.0, callers_4=0.9)
    assert _verdict(judge(sections, ["a"]), "concurrency").met is False


def test_consumers_together_are_measured_by_the_least(sections: Json) -> None:
    """What any number of consumers gets less than one does alone is missed."""
    latency = sections["bus"]["a"]["bench.Ours"]["latency"]
    latency["consumers_1"]["per_second"] = 1000.0
    latency["consumers_4"] = {"per_second": 1200.0}
    latency["consumers_8"] = {"per_second": 1100.0}
    verdict = _verdict(judge(sections, ["a"]), "consumers")
    assert (verdict.value, verdict.met) == (1.1, True)
    latency["consumers_8"]["per_second"] = 900.0
    assert _verdict(judge(sections, ["a"]), "consumers").met is False


def test_reply_that_is_not_equal_misses_the_first_budget(sections: Json) -> None:
    """One differing bit in replies is enough, for the verdict and for the exit code."""
    assert is_equal({"sections": sections})
    replies = {"equal": False, "differing": 0.01, "max_relative": 1e-7}
    sections["rows"]["a"]["ways"]["ours"]["equal"]["replies"] = replies
    assert _verdict(judge(sections, ["a"]), "equality").met is False
    assert not is_equal({"sections": sections})


def test_handler_that_does_not_serve_is_not_equal(sections: Json) -> None:
    """A run without our handler does not pass for one in which all agree; its tables still show."""
    del sections["rows"]["a"]["ways"]["ours"]
    sections["rows"]["a"] |= {"stages": {}, "reasons": {"ours": "ended with code -11"}}
    del sections["batches"]["a"]["threads_1"]["sizes"]["rows_1"]["ours"]
    assert not is_equal({"sections": sections})
    verdicts = judge(sections, ["a"])
    assert _verdict(verdicts, "rows").met is None
    cells = _cells_of(to_tables(sections, verdicts), "model a, one row, JSON text")
    assert cells["this handler, the bundle's engine"][0] == "ended with code -11"


def test_engine_with_xgboost_counts_its_library_as_installed(sections: Json) -> None:
    """A bundle that XGBoost serves needs the library, and says so."""
    sections["rows"]["a"]["ways"]["ours"]["detail"] = "XGBoostEngine"
    verdict = _verdict(judge(sections, ["a"]), "installed")
    assert (verdict.value, verdict.met) == (33.5, False)


def test_budget_without_numbers_is_not_measured() -> None:
    """A run of a few sections has no verdict about the others; a limit has no say then."""
    verdicts = judge({}, ["a", "b", "c"])
    assert len(verdicts) == 3 * len(BUDGETS)
    assert {verdict.met for verdict in verdicts} == {None}


@pytest.mark.parametrize(("value", "met"), [(0.9, False), (1.0, True), (1.1, True)])
def test_lower_limit_includes_itself(value: float, *, met: bool) -> None:
    """A number at its limit meets it."""
    budget = Budget(
        key="k", what="w", limits=(1.0,), at_least=True, measure=lambda _sections, _model: value
    )
    assert [verdict.met for verdict in judge({}, ["c"], [budget])] == [met]


def test_missed_budget_gets_its_remark_and_a_met_one_none(sections: Json) -> None:
    """A remark for the model goes before that for all; without one, the place to write is named."""
    verdicts = judge(sections, ["a"])
    what = "batches of 1 000 rows and more, same threads, against XGBoost's C API: the least"
    remarks = {("batches", ""): "all", ("batches", "a"): "memory", ("rows", "a"): "never shown"}
    assert list(explain(verdicts, remarks)) == [f"{what}, model a: memory"]
    assert list(explain(verdicts, {("batches", ""): "all"})) == [f"{what}, model a: all"]
    assert "bench/remarks.py is the place" in next(explain(verdicts, {}))
    others = [replace(verdict, model=model) for verdict in verdicts for model in ("a", "b")]
    assert list(explain(others, {("batches", ""): "all"})) == [f"{what}, models a, b: all"]


def test_remarks_name_budgets_that_exist() -> None:
    """No remark is about a budget that nobody measures."""
    assert {key for key, _ in REMARKS} <= {budget.key for budget in BUDGETS}


# --- tables, pictures, text -----------------------------------------------------------------------


def test_tables_say_numbers_reasons_and_verdicts(sections: Json) -> None:
    """Each section's table has what was measured, with units and ratios."""
    tables = to_tables(sections, judge(sections, ["a"]))
    rows = _cells_of(tables, "model a, one row, JSON text")
    assert rows["this handler, the bundle's engine"] == [
        *("ForestEngine, avx2", "10.0", "0.0", "10.0", "10.0", "310.0", "to the bit")
    ]
    assert rows["json + ONNX Runtime"][0] == "no categories"
    stages = _cells_of(tables, "where the time of this handler goes")
    assert stages["model a, 1 rows"] == [
        *("4.0 (40%)", "3.0 (30%)", "2.0 (20%)", "1.0 (10%)", "10.0")
    ]
    batches = _cells_of(tables, "model a, threads: 1")
    assert batches["this engine against the C API"] == ["", "60.00 ×", "2.00 ×", "1.00 ×"]
    callers = _cells_of(tables, "of all callers together")
    assert callers["engine, 1 rows, threads: 1"][1] == "970.0 (× 0.97 ± 0.05)"
    imports = _cells_of(tables, "import times")
    assert imports == {"json": ["20.0"], "others": ["1.0"], "all": ["21.0"]}
    bus = _cells_of(tables, "requests in flight")
    assert bus["this component"] == ["900 (25%)"]


def test_budget_table_has_value_limit_and_verdict(sections: Json) -> None:
    """What is missed cannot be overlooked."""
    table = to_tables(sections, judge(sections, ["a"]))[-1]
    assert table.section == "Budgets"
    cells = {row[0]: list(row[1:]) for row in table.rows}
    assert cells["emulator, warm, against an empty function"] == ["a", "1.05 ×", "≤ 1.1 ×", "met"]
    missed = next(row for row in table.rows if row[0].startswith("batches"))
    assert list(missed[1:]) == ["a", "1 ×", "≥ 1.4 ×", "NOT MET"]
    slack = next(row for row in table.rows if row[0].startswith("several threads"))
    assert list(slack[1:]) == ["a", "0.97 ± 0.05 ×", "≥ 1 ×", "met"]


def test_pictures_are_drawn_of_every_section(sections: Json, tmp_path: Path) -> None:
    """A run with all sections has all pictures, each a PNG."""
    pictures = draw(sections, tmp_path / "new")
    assert [picture.path.name for picture in pictures] == [
        *("rows.png", "latency.png", "batches.png", "bus.png", "growth.png")
    ]
    assert all(picture.path.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    assert draw({}, tmp_path) == []


def test_docs_say_what_is_missing_and_what_stands_in_the_way(
    sections: Json, tmp_path: Path
) -> None:
    """Remarks follow the budgets; a run that was interrupted, or failed in part, says so."""
    run = {
        "started": "2026-01-01T00:00:00+00:00",
        "seconds": 9.0,
        "plan": "full",
        "commit": "abc",
        "machine": {"cpu": "C", "cores": 2, "vectors": ["avx2"], "kernel": "L", "load": 0.1},
        "python": "3.11",
        "versions": {"numpy": "2"},
        "competitors": {},
        "complete": False,
        "failed": {"growth": "RuntimeError: no"},
        "sections": sections,
    }
    path = tmp_path / "benchmark.md"
    write_docs(path, run, to_tables(sections, judge(sections, ["a"])), remarks=["a remark"])
    lines = path.read_text().splitlines()
    assert "- compared with: no competitors installed" in lines
    assert f"- incomplete: it was interrupted; it has {', '.join(sections)}" in lines
    assert "- growth failed: RuntimeError: no" in lines
    assert lines.index("- a remark.") < lines.index("## One row and ten rows")


def test_plans_measure_sections_that_exist() -> None:
    """A plan names sections, ways and models that there are, and one caller comes first."""
    for plan in PLANS.values():
        assert set(plan.sections) <= set(bench_main.SECTIONS)
        assert set(plan.start_ways) <= set(FULL.ways)
        assert {*plan.models, *plan.bus_models} <= set(SPECS)
        assert plan.callers[0] == 1
    assert "tl2cgen" not in QUICK.ways  # minutes to compile


def test_progress_on_a_terminal_is_one_line(sections: Json) -> None:
    """A terminal's line is written over; elsewhere, each step has its own."""
    output = io.StringIO()
    progress = Progress(Console(file=output, force_terminal=True, width=40))
    progress.open_section("rows")
    progress.begin(2)
    progress.step("model [a], with a name that is longer than the line")
    assert output.getvalue() == "\r\x1b[Krows  1 of 2: model [a], with a name th"
    plain = io.StringIO()
    progress = Progress(Console(file=plain))
    progress.open_section("rows")
    progress.begin(2)
    progress.step("model [a]")
    assert plain.getvalue() == "rows  1 of 2: model [a]\n"
