"""One row, JSON text to JSON text, and a process's first prediction: ours beside the usual ways.

All in one run on one machine, interleaved, so that the ratios mean something where the machine is
noisy. Medians; run it again before you believe a difference of a few percent.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost
from rich.console import Console
from rich.table import Table

from container.handler import make_handler
from container.settings import Settings
from model.bundle import open_bundle
from model.dataset import load_dataset
from model.train import train

ROUNDS = 20
REQUESTS = 50
STARTS = 7

_OURS = """
from container import lambda_function
lambda_function.handler(open(r"{event}", "rb").read(), None)
"""
_SAMPLE = """
import json, sys
import pandas as pd, xgboost
model = xgboost.XGBClassifier()
model.load_model(r"{model}")
rows = pd.DataFrame(json.load(open(r"{event}"))["records"])
json.dumps(model.predict(rows).tolist())
"""


def main() -> None:
    """Prints both tables."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        result = train(
            load_dataset("wine"),
            name="wine",
            version="1.0.0",
            out=directory / "wine",
            plots=directory / "plots",
            progress=False,
        )
        model = directory / "wine.json"
        result.model.save_model(model)
        bundle = open_bundle(directory / "wine")
        event = json.dumps({"records": [bundle.golden[0].row]})
        event_file = directory / "event.json"
        event_file.write_text(event)
        console = Console()
        console.print(
            f"{platform.machine()}, {os.cpu_count()} cores, Python {sys.version.split()[0]}"
        )
        handler = make_handler(bundle, Settings())
        _print(
            console,
            "one row, JSON text to JSON text",
            "µs",
            _latencies(
                {
                    "this handler": lambda: json.dumps(handler(event.encode(), None)),
                    "json + Booster.inplace_predict": _inplace(result.model, event),
                    "the usual sample: pandas + the scikit-learn wrapper": _sample(
                        result.model, event
                    ),
                }
            ),
        )
        environment = {**os.environ, "EDGEXGB_BUNDLE": str(directory / "wine")}
        scripts = {
            "bare Python": "pass",
            "this handler": _OURS.format(event=event_file),
            "the usual sample": _SAMPLE.format(model=model, event=event_file),
        }
        _print(console, "process start to first prediction", "ms", _starts(scripts, environment))


def _inplace(model: xgboost.XGBClassifier, event: str) -> Callable[[], str]:
    booster = model.get_booster()
    booster.set_param({"nthread": 1})
    names = booster.feature_names or []

    def predict() -> str:
        rows = json.loads(event)["records"]
        matrix = np.array([[row[name] for name in names] for row in rows], dtype="float32")
        return json.dumps(booster.inplace_predict(matrix, validate_features=False).tolist())

    return predict


def _sample(model: xgboost.XGBClassifier, event: str) -> Callable[[], str]:
    def predict() -> str:
        rows = pd.read_json(StringIO(json.dumps(json.loads(event)["records"])))
        return json.dumps(model.predict(rows).tolist())

    return predict


def _latencies(ways: dict[str, Callable[[], str]]) -> dict[str, float]:
    """Microseconds of each way: the median of `ROUNDS` means, the ways taking turns."""
    found: dict[str, list[float]] = {name: [] for name in ways}
    for predict in ways.values():
        predict()
    for _ in range(ROUNDS):
        for name, predict in ways.items():
            start = time.perf_counter()
            for _ in range(REQUESTS):
                predict()
            found[name].append((time.perf_counter() - start) / REQUESTS * 1e6)
    return {name: statistics.median(values) for name, values in found.items()}


def _starts(scripts: dict[str, str], environment: dict[str, str]) -> dict[str, float]:
    """Milliseconds of each script in a new interpreter, the scripts taking turns."""
    found: dict[str, list[float]] = {name: [] for name in scripts}
    for _ in range(STARTS):
        for name, script in scripts.items():
            start = time.perf_counter()
            subprocess.run(
                [sys.executable, "-c", script],
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
            )
            found[name].append((time.perf_counter() - start) * 1e3)
    return {name: statistics.median(values) for name, values in found.items()}


def _print(console: Console, title: str, unit: str, found: dict[str, float]) -> None:
    table = Table(title=title, title_justify="left")
    table.add_column("")
    table.add_column(unit, justify="right")
    table.add_column("× this handler", justify="right")
    for name, value in found.items():
        table.add_row(name, f"{value:.1f}", f"{value / found['this handler']:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
