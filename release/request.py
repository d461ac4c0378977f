"""`edgexgb request`: rows to predictions over pub/sub, as a consumer component asks."""

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from consumer.client import MAX_MESSAGE_BYTES, InferenceClient
from consumer.errors import InferenceError
from consumer.prediction import Prediction
from interface.errors import TransportError
from model.bundle import open_bundle
from model.golden import GoldenRow, differences
from nucleus.root import DeviceRoot
from release.device import add_root
from release.errors import CommandError
from release.show import show_predictions


def add_request(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_root(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "rows",
        nargs="?",
        help="a file of rows: CSV, JSON, JSON lines or Parquet; or the JSON itself",
    )
    what.add_argument(
        "--golden",
        type=Path,
        metavar="BUNDLE",
        help="the bundle's golden rows; fails unless the answers are the recorded ones",
    )
    parser.add_argument("--timeout", type=_seconds, default=10.0, help="in seconds (default: 10)")
    parser.add_argument("--top-k", type=int, help="list the K likeliest labels")
    parser.add_argument("--threshold", type=float, help="of a binary model")
    parser.add_argument("--request-topic", default="edgexgb/requests")
    parser.add_argument("--result-topic", default="edgexgb/results")
    parser.add_argument(
        "--max-message-bytes",
        type=int,
        default=MAX_MESSAGE_BYTES,
        help=f"of one request; larger batches are cut (default: {MAX_MESSAGE_BYTES})",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "json", "table"),
        default="auto",
        help="(default: a table on a terminal, JSON elsewhere)",
    )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")


def request(arguments: argparse.Namespace) -> int:
    """Runs the command; the exit code.

    Raises:
        CommandError: no core device, no answer, or a refusal; says which.
    """
    golden: Sequence[GoldenRow] | None = None
    if arguments.golden is not None:
        with contextlib.closing(open_bundle(arguments.golden)) as bundle:
            golden, exact = bundle.golden, bundle.is_exact
        prediction = _predict(arguments, [row.row for row in golden])
        found = differences(golden, prediction.predictions, prediction.probabilities, exact=exact)
        for difference in found:
            print(f"differs: {difference}", file=sys.stderr)
        equality = "to the last bit" if exact else "within 1e-6 (another architecture)"
        model = f"{prediction.model} {prediction.version}"
        print(f"{model}: {len(golden) - len(found)} of {len(golden)} golden rows equal {equality}")
        return 1 if found else 0
    prediction = _predict(arguments, _rows(arguments.rows))
    body = _body(prediction)
    if arguments.format == "table" or (arguments.format == "auto" and sys.stdout.isatty()):
        show_predictions(body, None, Console())
    else:
        print(json.dumps(body, indent=2, ensure_ascii=False))
    return 0


def _predict(arguments: argparse.Namespace, rows: Any) -> Prediction:
    # The device's SDK takes a tenth of a second to import.
    from interface.greengrass import connect

    root = DeviceRoot(arguments.root)
    root.running()
    socket, token = root.read_tools_token()
    try:
        with InferenceClient(
            lambda: connect(socket, token),
            request_topic=arguments.request_topic,
            result_topic=arguments.result_topic,
            max_message_bytes=arguments.max_message_bytes,
            name="request",
        ) as client:
            return client.predict(
                rows, arguments.timeout, top_k=arguments.top_k, threshold=arguments.threshold
            )
    except (InferenceError, TransportError) as error:
        raise CommandError(f"{error.code}: {error}") from error


def _rows(text: str) -> Any:
    """The rows in a file, on stdin, or in the argument itself."""
    if text == "-":
        return _json(sys.stdin.read(), "stdin")
    if text.lstrip().startswith(("{", "[")):
        return _json(text, "the rows")
    from model.tables import read_table, to_records  # pandas, for Parquet and JSON lines

    return to_records(read_table(Path(text)))


def _json(text: str, place: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise CommandError(f"{place}: got text that is no JSON ({error}), expected rows") from error


def _body(prediction: Prediction) -> Mapping[str, Any]:
    """The prediction as the body of an answer, see docs/requests.md, section 6."""
    body: dict[str, Any] = {
        "model": {"name": prediction.model, "version": prediction.version},
        "predictions": list(prediction.predictions),
    }
    if prediction.labels is not None and prediction.top_k is None:
        body["labels"] = list(prediction.labels)
        body["probabilities"] = [list(row) for row in prediction.probabilities or ()]
    if prediction.top_k is not None:
        body["topK"] = [
            [{"label": one.label, "probability": one.probability} for one in row]
            for row in prediction.top_k
        ]
    return body
