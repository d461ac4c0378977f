"""What people read on a terminal: bundles, replies and reports as tables."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from model.bundle import Bundle
from model.golden import GoldenRow, describe_equality
from model.manifest import Feature, dotted
from release.components import INFERENCE
from release.terminal import shown
from release.validate import Report

_COLOURS = {"RUNNING": "green", "FINISHED": "green", "ERRORED": "red", "BROKEN": "red"}
_BLOCKS = "▁▂▃▄▅▆▇█"
_MAX_SHOWN = 6


def show_bundle(bundle: Bundle, console: Console) -> None:
    """Prints a bundle: what it is, what it takes, what training measured."""
    manifest = bundle.manifest
    first, last = manifest.tree_range
    facts = {
        "digest": f"sha256:{bundle.digest}",
        "task": f"{manifest.task} ({manifest.objective})",
        "labels": _listing([repr(label) for label in manifest.labels]) or "none",
        "rounds": f"{last - first}, written by XGBoost {dotted(manifest.xgboost_version)}",
        "engine": f"XGBoost itself: {manifest.forest.refusal}"
        if manifest.forest.refusal
        else f"compact forest, equal to XGBoost on {manifest.forest.proved_rows} rows",
        "data": f"{manifest.data.source}, {manifest.data.rows} rows, "
        f"sha256:{manifest.data.sha256[:12]}…",
        "golden rows": f"{len(bundle.golden)}, recorded on {manifest.machine}",
        "absent field": "an error" if manifest.absent_field == "error" else "a missing value",
        "unknown category": "an error" if manifest.unknown_category == "error" else "missing",
        "packed": manifest.created,
    }
    table = Table(title=f"{manifest.name} {manifest.version}", title_justify="left", box=None)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.show_header = False
    for name, value in facts.items():
        table.add_row(name, shown(value))
    for name, measured in manifest.metrics.items():
        table.add_row(shown(name.replace("_", " ")), f"{measured:.4g}")
    console.print(table)
    console.print()
    console.print(_feature_table(manifest.features))


def _feature_table(features: Sequence[Feature]) -> Table:
    table = Table(title=f"{len(features)} features", title_justify="left")
    for heading in ("name", "kind", "in training", "missing", "distribution"):
        table.add_column(heading, justify="right" if heading == "missing" else "left")
    for feature in features:
        if feature.kind == "categorical":
            seen = _listing([str(category) for category in feature.categories])
        elif feature.minimum is None:
            seen = "nothing"
        elif feature.kind == "bool":
            seen = "false, true"
        else:
            seen = f"{feature.minimum:g} … {feature.maximum:g}"
        bars = sparkline(feature.histogram.counts)
        missing = f"{feature.missing_rate:.0%}" if feature.missing_rate else ""
        table.add_row(shown(feature.name), feature.kind, shown(seen), missing, bars)
    return table


def _listing(texts: Sequence[str]) -> str:
    more = f", … ({len(texts)})" if len(texts) > _MAX_SHOWN else ""
    return ", ".join(texts[:_MAX_SHOWN]) + more


def sparkline(counts: Sequence[int]) -> str:
    """Counts as a row of blocks, the highest as a full one, none as a blank."""
    highest = max(counts, default=0)
    shown = (_BLOCKS[-(-count * len(_BLOCKS) // highest) - 1] if count else " " for count in counts)
    return "".join(shown)


def show_device(status: Mapping[str, Any], console: Console) -> None:
    """Prints a core device's components and their states."""
    title = f"{status['thing_name']} ({status['personality']}), pid {status['pid']}"
    table = Table(title=title, title_justify="left")
    for heading in ("component", "version", "state", "for", "errors", "pid"):
        table.add_column(heading, justify="right" if heading in {"for", "errors"} else "left")
    for component in status["components"]:
        state = component["state"]
        colour = _COLOURS.get(state, "yellow")
        table.add_row(
            shown(component["name"]),
            shown(component["version"]),
            f"[{colour}]{state}[/{colour}]",
            _duration(time.monotonic() - component["since_s"]),
            str(component["errors"]),
            "" if component["pid"] is None else str(component["pid"]),
        )
    console.print(table)
    for component in status["components"]:
        if component["last_error"]:
            text = f"{component['name']}: {component['last_error']}"
            console.print(f"[red]error[/red] {shown(text)}", soft_wrap=True)
    if any(component["name"] == INFERENCE for component in status["components"]):
        _show_health(status["health"], console)


def _show_health(health: Mapping[str, Any] | None, console: Console) -> None:
    """Prints how the inference component is, on a line; another has its last error."""
    if health is None:
        console.print(f"{INFERENCE}: no answer")
        return
    refused = ", ".join(f"{code} {n}" for code, n in health["refused"].items())
    facts = [
        "ready" if health["ready"] else "not ready",
        f"{health['model']} {health['version']} ({health['engine']})",
        f"waiting {health['waiting']}"
        + ("" if health["max_waiting"] is None else f" of {health['max_waiting']}"),
        f"served {health['served']}",
        f"refused {sum(health['refused'].values())}" + (f" ({refused})" if refused else ""),
        f"failed {health['failed']}",
    ]
    if health["p50_ms"] is not None:
        facts.append(f"p50 {health['p50_ms']:.3g} ms, p99 {health['p99_ms']:.3g} ms")
    if health["resident_bytes"] is not None:
        facts.append(f"{health['resident_bytes'] / 1e6:.0f} MB")
    console.print(f"{INFERENCE}: {shown(', '.join(facts))}", soft_wrap=True)
    if (error := health["last_error"]) is not None:
        text = f"{INFERENCE}: {error['code']} at {error['when']}: {error['message']}"
        console.print(f"[yellow]last error[/yellow] {shown(text)}", soft_wrap=True)


def _duration(seconds: float) -> str:
    """A time span in its two largest units."""
    whole = max(0, int(seconds))
    for size, unit, smaller in ((86_400, "d", "h"), (3600, "h", "min"), (60, "min", "s")):
        if whole >= size:
            rest = whole % size // {"h": 3600, "min": 60, "s": 1}[smaller]
            return f"{whole // size} {unit} {rest} {smaller}"
    return f"{whole} s"


def show_predictions(
    body: Mapping[str, Any], golden: Sequence[GoldenRow] | None, console: Console
) -> None:
    """Prints a good reply as a table, beside the true values where they are known."""
    model = body["model"]
    actual = [row.actual for row in golden] if golden else []
    has_actual = any(value is not None for value in actual)
    table = Table(title=shown(f"{model['name']} {model['version']}"), title_justify="left")
    table.add_column("row", justify="right")
    table.add_column("prediction")
    if has_actual:
        table.add_column("true")
    labels = body.get("labels", [])
    for label in labels:
        table.add_column(shown(f"p({label})"), justify="right")
    if "topK" in body:
        table.add_column("likeliest")
    for i, prediction in enumerate(body["predictions"]):
        cells = [str(i), _number(prediction)]
        if has_actual:
            truth = _number(actual[i])
            wrong = body.get("labels") and actual[i] != prediction
            cells.append(f"[red]{truth}[/red]" if wrong else truth)
        if labels:
            cells += [f"{value:.4f}" for value in body["probabilities"][i]]
        if "topK" in body:
            likeliest = (f"{x['label']} {x['probability']:.4f}" for x in body["topK"][i])
            cells.append(shown(", ".join(likeliest)))
        table.add_row(*cells)
    console.print(table)


def _number(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else shown(str(value))


def show_report(report: Report, console: Console) -> None:
    """Prints the gate's result: each group, and the first thing wrong in each that failed."""
    table = Table(
        title=f"{report.name} {report.version} against {report.target}", title_justify="left"
    )
    table.add_column("what was sent")
    table.add_column("passed", justify="right")
    table.add_column("failed", justify="right")
    for group in report.groups:
        failed = f"[red]{group.failed}[/red]" if group.failed else "0"
        table.add_row(group.name, str(group.passed), failed)
    console.print(table)
    for group in report.groups:
        for failure in group.failures:
            console.print(f"[red]differs[/red] {group.name}, {shown(failure)}", soft_wrap=True)
    console.print(f"equality: {describe_equality(exact=report.exact)}")
    init = "" if report.init_ms is None else f" (init {report.init_ms:.0f} ms)"
    console.print(
        f"first invocation: {report.first_invocation_ms:.0f} ms{init}; "
        f"warm, one row: p50 {report.p50_ms:.2f} ms, p99 {report.p99_ms:.2f} ms"
    )
