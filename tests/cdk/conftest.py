"""What the app writes, run as a program of its own: importing the CDK starts a node."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Packed, copy_bundle

ROOT = Path(__file__).resolve().parents[2]
APP = ROOT / "cdk-ml-iot" / "app.py"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Assembly:
    """The output of a synthesis."""

    directory: Path

    def template(self, stack: str) -> Json:
        return self.json(f"edgexgb-{stack}.template.json")

    def json(self, name: str) -> Json:
        content: Json = json.loads((self.directory / name).read_bytes())
        return content

    def of_type(self, stack: str, type_: str) -> list[Json]:
        resources = self.template(stack)["Resources"].values()
        return [resource for resource in resources if resource["Type"] == type_]

    def only(self, stack: str, type_: str) -> Json:
        (resource,) = self.of_type(stack, type_)
        return resource


Synthesize = Callable[..., Assembly]


def run_app(
    out: Path, program: Path = APP, /, **context: object
) -> "subprocess.CompletedProcess[str]":
    """Runs `app.py`, or a program with its modules, with a context and no account."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))
    }
    environment |= {
        "CDK_OUTDIR": str(out),
        "CDK_CONTEXT_JSON": json.dumps(context),
        "PYTHONPATH": str(APP.parent),
    }
    return subprocess.run(
        [sys.executable, str(program)],
        cwd=out.parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def write_report(bundle: Path, *, passed: bool = True) -> Path:
    """What of the gate's report the app looks at; test_bundle.py reads a real one."""
    import hashlib

    digest = hashlib.sha256((bundle / "manifest.json").read_bytes()).hexdigest()
    report = bundle.parent / "report.json"
    report.write_text(json.dumps({"digest": digest, "passed": passed}))
    return report


@pytest.fixture(scope="session")
def cdk() -> None:
    """Skips where the CDK or node is not installed."""
    if importlib.util.find_spec("aws_cdk") is None or shutil.which("node") is None:
        pytest.skip("no CDK (make synth installs it) or no node")


@pytest.fixture(scope="session")
def synthesize(cdk: None, tmp_path_factory: pytest.TempPathFactory) -> Synthesize:
    """Synthesizes the stacks of a bundle, which must go well."""

    def run(bundle: Path, **context: object) -> Assembly:
        out = tmp_path_factory.mktemp("assembly") / "out"
        report = write_report(bundle)
        done = run_app(out, bundle=str(bundle), report=str(report), **context)
        assert done.returncode == 0, done.stderr
        return Assembly(out)

    return run


@pytest.fixture(scope="session")
def wine(multiclass: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of these tests' own."""
    return copy_bundle(multiclass, tmp_path_factory.mktemp("wine"))


@pytest.fixture(scope="session")
def assembly(synthesize: Synthesize, wine: Path) -> Assembly:
    """With every default."""
    return synthesize(wine)
