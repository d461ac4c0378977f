"""The `edgexgb` command.

Results go to stdout, everything else to stderr. It exits with 0, with 1 when something is wrong
with what it was given or found, with 2 when it was called wrongly; an error is one line.
"""

import argparse
import contextlib
import io
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from rich.console import Console

from container.bodies import CSV_TYPE
from container.handler import make_handler
from container.settings import SettingsError, read_settings
from model.bundle import Bundle, open_bundle
from model.errors import BundleError, SourceError
from model.golden import GoldenRow
from model.hyperparameters import add_arguments, add_policies
from model.manifest import MANIFEST, manifest_fields, parse_manifest
from nucleus.errors import DeviceError, RecipeError
from release.arguments import port
from release.device import add_device
from release.errors import CommandError
from release.image.build import add_image
from release.request import add_request, request
from release.rollout.command import add_rollout, rollout
from release.terminal import printable

_TARGETS = "in-process, rie (the emulator), http://HOST:PORT, or lambda:NAME"


_USER_ERRORS = (
    BundleError,
    CommandError,
    DeviceError,
    RecipeError,
    SettingsError,
    SourceError,
)


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code."""
    parser = _parser()
    words = sys.argv[1:] if argv is None else list(argv)
    arguments = parser.parse_args(words)
    arguments.words = words  # `device start --detach` says them again
    if isinstance(sys.stdout, io.TextIOWrapper):  # what the terminal cannot show is no error
        sys.stdout.reconfigure(errors="backslashreplace")
    # A closed terminal or a plain kill unwinds like Ctrl-C, so that what we started ends with us.
    for signal_number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(signal_number, _stop)
    try:
        code: int = arguments.run(arguments)
        if sys.stdout is not None:  # as where a shell has closed it: `>&-`
            sys.stdout.flush()
    except _USER_ERRORS as error:
        _say(f"{parser.prog} {arguments.command}: error: {error}")
        return 1
    except BrokenPipeError:
        # The reader (`head`, say) has gone; nothing can be told to it, and python would try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        _say(f"{parser.prog} {arguments.command}: error: {place}{error.strerror or error}")
        return 1
    except KeyboardInterrupt:
        _say(f"{parser.prog} {arguments.command}: stopped")
        return 130
    return code


def _stop(signal_number: int, frame: object) -> NoReturn:
    del frame
    raise SystemExit(128 + signal_number)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgexgb",
        description="From an XGBoost model to a validated Lambda and a Greengrass component.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[Any], int] | None, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(run=run)
        return added

    add_arguments(command("train", _train, "train on a table or a data set, and pack the model"))
    _add_pack(command("pack", _pack, "make a bundle of a model that was trained elsewhere"))
    inspect = command("inspect", _inspect, "show what a bundle is, takes and was measured at")
    inspect.add_argument("bundle", type=Path, help="the bundle's directory")
    inspect.add_argument("--json", action="store_true", help="print JSON")
    events = command("events", _events, "write test events for the Lambda console")
    events.add_argument("bundle", type=Path, help="the bundle's directory")
    events.add_argument("--out", type=Path, help="where to (default: BUNDLE-events)")
    serve = command("serve", _serve, "serve a bundle on loopback until Ctrl-C")
    serve.add_argument("bundle", type=Path, help="the bundle's directory")
    serve.add_argument("--rie", action="store_true", help="as a Lambda, in AWS's emulator")
    serve.add_argument("--port", type=port, help="(default: a free one)")
    _add_invoke(command("invoke", _invoke, "send an event or rows, and print the answer"))
    _add_validate(command("validate", _validate, "replay the golden rows and report what differs"))
    add_image(command("image", None, "the image that is both Lambda and component"))
    add_device(command("device", None, "a Greengrass core device on this machine"))
    add_rollout(command("rollout", rollout, "bring a bundle to a core device as an update"))
    add_request(command("request", request, "send rows over pub/sub, as a consumer component does"))
    return parser


def _say(text: str) -> None:
    print(printable(" ".join(text.split())), file=sys.stderr)


# --- making bundles -------------------------------------------------------------------------------


def _train(arguments: argparse.Namespace) -> int:
    # pandas, scikit-learn and XGBoost's package: two seconds that no other command should spend.
    from model.train import run, summarize

    print(summarize(run(arguments)))
    return 0


def _add_pack(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, help="XGBoost's .json or .ubj, a joblib or pickle file")
    parser.add_argument("--rows", type=Path, required=True, help="sample rows: CSV, Parquet, JSON")
    parser.add_argument("--target", help="the column of the true values among the rows")
    parser.add_argument("--labels", help="class labels in the order of class numbers: A,B,…")
    parser.add_argument(
        "--categories",
        type=Path,
        help="JSON file of {feature: [categories in the order of their codes in training]}",
    )
    parser.add_argument("--trust", action="store_true", help="open a pickle, which runs its code")
    parser.add_argument("--name", help="the model's name (default: the file's)")
    parser.add_argument("--version", default="1.0.0", help="a semantic version (default: 1.0.0)")
    parser.add_argument("--out", type=Path, help="the bundle (default: build/NAME-VERSION)")
    add_policies(parser)


def _pack(arguments: argparse.Namespace) -> int:
    from model.pack import pack
    from model.source import load_model
    from model.tables import fingerprint, read_table

    trained = load_model(arguments.model, trust=arguments.trust)
    rows = read_table(arguments.rows)
    target = None
    if arguments.target is not None:
        if arguments.target not in rows:
            observed = f"no column {arguments.target!r}"
            raise SourceError(
                f"{arguments.rows}: got {observed}, expected the target among the rows"
            )
        target = list(rows.pop(arguments.target))
    first, last = trained.tree_range
    if last - first < trained.rounds:
        _say(f"using {last - first} of {trained.rounds} boosting rounds (best_iteration)")
    name = arguments.name or arguments.model.stem
    directory = pack(
        trained,
        rows,
        name=name,
        version=arguments.version,
        out=arguments.out or Path("build") / f"{name}-{arguments.version}",
        target=target,
        labels=_labels(arguments.labels),
        categories=_categories(arguments.categories),
        data=fingerprint(rows, source=arguments.rows.name, path=arguments.rows),
        absent_field=arguments.absent_field,
        unknown_category=arguments.unknown_category,
    )
    if refusal := parse_manifest((directory / MANIFEST).read_bytes()).forest.refusal:
        _say(f"XGBoost itself will serve the model: {refusal}")
    print(directory)
    return 0


def _labels(text: str | None) -> list[str | int | float | bool] | None:
    """Labels as the user wrote them: numbers where all are whole numbers, else text."""
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if all(part.removeprefix("-").isdigit() for part in parts):
        return [int(part) for part in parts]
    return list(parts)


def _categories(path: Path | None) -> dict[str, list[Any]] | None:
    if path is None:
        return None
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SourceError(f"{path}: got text that is no JSON ({error}), expected JSON") from error
    if not isinstance(found, dict) or not all(isinstance(item, list) for item in found.values()):
        raise SourceError(f"{path}: got another form, expected an object of lists of categories")
    return found


# --- looking at them ------------------------------------------------------------------------------


def _inspect(arguments: argparse.Namespace) -> int:
    from release.show import show_bundle

    with contextlib.closing(open_bundle(arguments.bundle)) as bundle:
        if arguments.json:
            fields = {**manifest_fields(bundle.manifest), "digest": bundle.digest}
            print(json.dumps({**fields, "golden_rows": len(bundle.golden)}, indent=2))
        else:
            show_bundle(bundle, Console())
    return 0


def _events(arguments: argparse.Namespace) -> int:
    from release.console import write_events

    out = arguments.out or Path(f"{arguments.bundle}-events")
    with contextlib.closing(open_bundle(arguments.bundle)) as bundle:
        files = write_events(bundle, out)
    for file in files:
        print(file)
    return 0


# --- serving and asking ---------------------------------------------------------------------------


def _serve(arguments: argparse.Namespace) -> int:
    with contextlib.closing(open_bundle(arguments.bundle)) as bundle:
        if not arguments.rie:
            _serve_here(bundle, arguments)
    if arguments.rie:  # the function opens the bundle for itself; here it was only audited
        _serve_emulator(arguments)
    _say("stopped")
    return 0


def _serve_emulator(arguments: argparse.Namespace) -> None:
    import time

    from release.emulator import INVOCATIONS, run_emulator

    with run_emulator(arguments.bundle, port=arguments.port, show_log=True) as emulator:
        print(f"{emulator.url}{INVOCATIONS}", flush=True)
        _say("serving in the runtime interface emulator; Ctrl-C stops")
        with contextlib.suppress(KeyboardInterrupt):
            while emulator.is_running():
                time.sleep(0.2)
            raise CommandError("the emulator: got an exit, expected it to run until Ctrl-C")


def _serve_here(bundle: Bundle, arguments: argparse.Namespace) -> None:
    from release.serve import Server

    with Server(make_handler(bundle, read_settings(os.environ)), port=arguments.port) as server:
        print(server.url, flush=True)
        _say("serving rows by POST, as a function URL would; Ctrl-C stops")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()


def _add_target(parser: argparse.ArgumentParser, default: str) -> None:
    parser.add_argument("--target", default=default, help=f"{_TARGETS} (default: {default})")
    parser.add_argument("--endpoint-url", help="of the Lambda API, for lambda:NAME")


def _add_invoke(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, nargs="?", help="for in-process, rie and --sample")
    _add_target(parser, "in-process")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--event", help="a file, - for stdin, or the JSON itself; sent as it is")
    what.add_argument("--rows", type=Path, help="rows: CSV, JSON, JSON lines or Parquet")
    what.add_argument("--sample", type=int, metavar="N", help="N of the bundle's golden rows")
    parser.add_argument("--top-k", type=int, help="list the K likeliest labels")
    parser.add_argument("--threshold", type=float, help="of a binary model")
    parser.add_argument(
        "--format",
        choices=("auto", "json", "table"),
        default="auto",
        help="(default: a table on a terminal, JSON elsewhere)",
    )


def _invoke(arguments: argparse.Namespace) -> int:
    from release.show import show_predictions
    from release.targets import open_target

    golden: Sequence[GoldenRow] | None = None
    if arguments.sample is not None:
        if arguments.bundle is None or arguments.sample < 1:
            observed = "no bundle" if arguments.bundle is None else str(arguments.sample)
            raise CommandError(f"--sample: got {observed}, expected a bundle and a number above 0")
        with contextlib.closing(open_bundle(arguments.bundle)) as bundle:
            golden = _spread(bundle.golden, arguments.sample)
    event = _event(arguments, golden)
    with open_target(arguments.target, arguments.bundle, arguments.endpoint_url) as target:
        response = target.invoke(event).json()
    good = isinstance(response, dict) and response.get("statusCode") == 200
    as_table = arguments.format == "table" or (arguments.format == "auto" and sys.stdout.isatty())
    if good and as_table:
        body = response["body"]  # text in the HTTP forms
        show_predictions(json.loads(body) if isinstance(body, str) else body, golden, Console())
    else:
        print(json.dumps(response, indent=2, ensure_ascii=False))
    return 0 if good else 1


def _spread(golden: Sequence[GoldenRow], n: int) -> Sequence[GoldenRow]:
    """N rows from all over; as they are in the order of the data, the first may be all alike."""
    n = min(n, len(golden))
    return [golden[i * len(golden) // n] for i in range(n)]


def _event(arguments: argparse.Namespace, golden: Sequence[GoldenRow] | None) -> bytes:
    """The bytes to send."""
    options = {"topK": arguments.top_k, "threshold": arguments.threshold}
    options = {name: value for name, value in options.items() if value is not None}
    if golden is not None:
        return json.dumps({"records": [row.row for row in golden], **options}).encode()
    if arguments.rows is not None:
        return json.dumps({**_rows_event(arguments.rows), **options}).encode()
    if options:
        raise CommandError("--event: got options beside it, expected them inside the event")
    text: str = arguments.event
    if text == "-":
        return sys.stdin.buffer.read()
    if text.lstrip().startswith(("{", "[")):
        return text.encode()
    return Path(text).read_bytes()


def _rows_event(path: Path) -> dict[str, Any]:
    """Rows of a file as an event; CSV goes as it is, so that errors speak of the user's cells."""
    if path.suffix.lower() == ".csv":
        try:
            text = path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise CommandError(f"{path}: got bytes that are no UTF-8, expected UTF-8") from error
        return {"body": text, "headers": {"Content-Type": CSV_TYPE}}
    from model.tables import read_table, to_records  # pandas, for Parquet and JSON lines

    return {"records": to_records(read_table(path))}


# --- the gate -------------------------------------------------------------------------------------


def _add_validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="the bundle's directory")
    _add_target(parser, "in-process")
    parser.add_argument("--report", type=Path, help="where to (default: BUNDLE-report)")
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def _validate(arguments: argparse.Namespace) -> int:
    from rich.progress import Progress

    from release.report import write_report
    from release.show import show_report
    from release.targets import open_target
    from release.validate import TIMED_REQUESTS, all_cases, validate

    where = arguments.report or Path(f"{arguments.bundle}-report")
    in_process = arguments.target == "in-process"
    with (
        contextlib.closing(open_bundle(arguments.bundle)) as bundle,
        open_target(arguments.target, arguments.bundle, arguments.endpoint_url) as target,
        Progress(console=Console(stderr=True), transient=True) as progress,
    ):
        cases = all_cases(bundle)
        bar = progress.add_task("validating", total=len(cases) + TIMED_REQUESTS)
        report = validate(
            bundle,
            target,
            cases,
            cold_start_of=arguments.bundle if in_process else None,
            on_request=lambda: progress.advance(bar),
        )
    files = write_report(report, where)
    if arguments.json:
        print(report.to_json())
    else:
        show_report(report, Console())
        print(f"report: {files[1]} (and .json)")
    if not report.passed:
        failed = [group for group in report.groups if group.failed]
        first = f"first: {failed[0].failures[0]}"
        _say(f"edgexgb validate: error: {report.n_failed} checks failed; {first}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
