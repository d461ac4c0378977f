"""The image's entry and self-test, in processes of their own: they decide what is imported."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from container.self_test import self_test
from tests.conftest import Packed, copy_bundle, without_forest

ROOT = Path(__file__).parents[2]


def entry(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """`container.entry` with nothing else in the environment."""
    return subprocess.run(
        [sys.executable, "-m", "container.entry", *arguments],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_no_arguments_without_a_runtime_are_refused() -> None:
    """The Lambda needs its runtime; the line says what else there is."""
    done = entry()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "AWS_LAMBDA_RUNTIME_API: got nothing, expected the address that Lambda or its emulator "
        "sets; else say component or --self-test\n"
    )


@pytest.mark.parametrize("arguments", [["sh"], ["component", "x"], ["--self-test", ""]])
def test_other_arguments_are_refused(arguments: list[str]) -> None:
    """Nothing is guessed."""
    done = entry(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"arguments: got {' '.join(arguments)!r}, expected nothing (the Lambda), component, "
        "or --self-test\n"
    )


def test_component_is_the_component(multiclass: Packed) -> None:
    """Without a core device it gives up, after the golden rows."""
    done = entry("component", EDGEXGB_BUNDLE=str(multiclass.directory))
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert [line["message"] for line in lines] == [
        "bundle opened",
        "golden rows replayed",
        "giving up",
    ]


def test_self_test_prints_one_line_of_json(multiclass: Packed) -> None:
    """What was replayed, and by which engine."""
    done = entry("--self-test", EDGEXGB_BUNDLE=str(multiclass.directory))
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (0, "", 1)
    assert json.loads(done.stdout) == {
        "selfTest": "passed",
        "model": "wine",
        "version": "1.2.3",
        "digest": multiclass.bundle.digest,
        "engine": multiclass.bundle.engine,
        "goldenRows": len(multiclass.bundle.golden),
        "exact": True,
    }


def test_self_test_without_a_forest_names_the_other_engine(
    multiclass: Packed, tmp_path: Path
) -> None:
    """XGBoost's library serves."""
    bundle = without_forest(copy_bundle(multiclass, tmp_path))
    assert self_test({"EDGEXGB_BUNDLE": str(bundle)})["engine"] == "xgboost"


@pytest.mark.parametrize(
    ("variables", "error"),
    [
        ({"EDGEXGB_BUNDLE": "/nowhere"}, "/nowhere/manifest.json: got no such directory"),
        ({"EDGEXGB_THREADS": "0"}, "EDGEXGB_THREADS: got '0', expected a whole number above 0"),
    ],
)
def test_failed_self_test_says_why_in_one_line(variables: dict[str, str], error: str) -> None:
    """Also where the environment is wrong."""
    done = entry("--self-test", **variables)
    assert (done.returncode, done.stderr, done.stdout.count("\n")) == (1, "", 1)
    found = json.loads(done.stdout)
    assert found["selfTest"] == "failed"
    assert found["error"].startswith(error)


def test_entry_imports_nothing_before_it_knows_what_to_run() -> None:
    """Each of the three pays for itself alone."""
    code = (
        "import sys; before = set(sys.modules); import container.entry;"
        "print(sorted(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); {code}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    imported = set(json.loads(done.stdout.replace("'", '"')))
    assert {"container", "container.entry"} <= imported
    assert imported.isdisjoint(_COSTLY)


_COSTLY = {
    *("json", "logging", "re", "pathlib", "dataclasses", "threading", "signal", "enum", "typing"),
    *("model", "interface", "awslambdaric", "container.settings", "container.component"),
}
