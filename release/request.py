"""`edgexgb request`: rows to predictions over pub/sub, as a consumer component asks."""

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from consumer.client import MAX_MESSAGE_BYTES, InferenceClient
from consumer.errors import InferenceError, RequestTimeoutError
from consumer.prediction import Prediction
from consumer.rows import READERS, RowsError, read_rows
from interface.envelope import REQUEST_TOPIC, RESULT_TOPIC
from interface.errors import EnvelopeError, TransportError
from nucleus.root import DeviceRoot
from release.bus import connector
from release.device import add_root, whole
from release.errors import CommandError
from release.replay import replay
from release.show import show_predictions


def add_request(parser: argparse.ArgumentParser) -> None:
    """Adds the command's arguments."""
    add_root(parser)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "rows",
        nargs="?",
        help="a file of rows: CSV, JSON, JSON lines or Parquet; - for stdin; or the JSON itself",
    )
    what.add_argument(
        "--golden",
        type=Path,
        metavar="BUNDLE",
        help="the bundle's golden rows; fails unless the answers are the recorded ones",
    )
    parser.add_argument(
        "--timeout", type=_seconds, metavar="S", default=10.0, help="in seconds (default: 10)"
    )
    parser.add_argument("--top-k", type=whole, metavar="K", help="list the K likeliest labels")
    parser.add_argument("--threshold", type=float, metavar="P", help="of a binary model")
    add_topics(parser)
    parser.add_argument(
        "--max-message-bytes",
        type=whole,
        metavar="N",
        default=MAX_MESSAGE_BYTES,
        help=f"of one request; larger batches are cut (default: {MAX_MESSAGE_BYTES})",
    )
    parser.add_argument(
        "--format",
        choices=("auto", "json", "table"),
        default="auto",
        help="(default: a table on a terminal, JSON elsewhere)",
    )


def add_topics(parser: argparse.ArgumentParser) -> None:
    """Adds where the component is asked, and below which it replies."""
    for name, topic in (("request", REQUEST_TOPIC), ("result", RESULT_TOPIC)):
        parser.add_argument(
            f"--{name}-topic",
            type=_topic,
            default=topic,
            metavar="TOPIC",
            help=f"(default: {topic})",
        )


def _seconds(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 < float(text) < 86_400:
            return float(text)
    raise argparse.ArgumentTypeError(f"got {text!r}, expected a number of seconds above 0")


def _topic(text: str) -> str:
    if not text or set("+#*") & set(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected a topic without wildcards")
    return text


def request(arguments: argparse.Namespace) -> int:
    """Runs the command; the exit code.

    Raises:
        CommandError: no rows, no core device, no answer, or a refusal; says which.
        BundleError: the bundle of `--golden` cannot be opened.
        OSError: the rows cannot be read.
    """
    if arguments.golden is not None:
        return _compare(arguments)
    prediction = _predict(arguments, _rows(arguments.rows))
    body = _body(prediction)
    if arguments.format == "table" or (arguments.format == "auto" and sys.stdout.isatty()):
        show_predictions(body, None, Console())
    else:
        print(json.dumps(body, indent=2, ensure_ascii=False))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    """Asks for the golden rows; 1 where an answer is not the recorded one."""
    if arguments.top_k is not None or arguments.threshold is not None:
        observed = "--top-k or --threshold beside it"
        raise CommandError(f"--golden: got {observed}, expected neither")
    found = replay(arguments.golden, lambda rows: _predict(arguments, rows))
    for difference in found.differences:
        print(f"differs: {difference}", file=sys.stderr)
    print(f"{found.model}: {found}")
    return 1 if found.differences else 0


def _predict(arguments: argparse.Namespace, rows: Any) -> Prediction:
    with asking(
        DeviceRoot(arguments.root),
        request_topic=arguments.request_topic,
        result_topic=arguments.result_topic,
        max_message_bytes=arguments.max_message_bytes,
        name="request",
    ) as client:
        return client.predict(
            rows, arguments.timeout, top_k=arguments.top_k, threshold=arguments.threshold
        )


@contextlib.contextmanager
def asking(root: DeviceRoot, **settings: Any) -> Iterator[InferenceClient]:
    """A client of the component on a device that runs; what it cannot do is the user's to read.

    Args:
        root: of the device.
        **settings: of `InferenceClient`.

    Raises:
        CommandError: there is no answer, or a refusal.
        DeviceError: no device runs.
    """
    connect = connector(root)
    try:
        with InferenceClient(connect, **settings) as client:
            yield client
    except RequestTimeoutError as error:
        hint = "`edgexgb device status` shows whether the component runs"
        raise CommandError(f"{error.code}: {error}; {hint}") from error
    except (InferenceError, TransportError) as error:
        raise CommandError(f"{error.code}: {error}") from error
    except EnvelopeError as error:
        raise CommandError(f"--result-topic: {error}") from error


def _rows(text: str) -> Any:
    """The rows in a file, on stdin, or in the argument itself.

    Cells of CSV go as they are, so that errors speak of the user's own.
    """
    try:
        if text == "-":
            return _from_stdin()
        if text.lstrip().startswith(("{", "[")):
            return READERS[".json"](text, "the rows")
        path = Path(text)
        if path.suffix.lower() in READERS:
            return read_rows(path)
    except RowsError as error:
        raise CommandError(str(error)) from error
    from model.tables import read_table, to_records  # pandas, for Parquet

    return to_records(read_table(path))


def _from_stdin() -> Any:
    """JSON or JSON lines where it begins so, else CSV.

    Raises:
        RowsError: it is none of them.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RowsError(f"stdin: got bytes that are no UTF-8 ({error}), expected rows") from error
    if not text.lstrip().startswith(("{", "[")):
        return READERS[".csv"](text, "stdin")
    lines = [line for line in text.split("\n") if line.strip()]
    if len(lines) > 1 and all(_is_object(line) for line in lines[:2]):
        return READERS[".jsonl"](text, "stdin")
    return READERS[".json"](text, "stdin")


def _is_object(line: str) -> bool:
    """Whether a line alone is a JSON object, as of JSON lines."""
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


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
