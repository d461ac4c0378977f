"""What is fuzzed: for each target a function that takes any bytes and raises only on a finding.

Errors that are documented are caught here, by their classes. Whatever else comes out, an
AssertionError among it, is a fault of ours. Nothing here needs the fuzzer itself, so that the suite
replays the seeds everywhere.
"""

import base64
import contextlib
import hashlib
import json
import logging
import re
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from consumer.errors import MalformedReplyError, parse_error
from consumer.health import parse_health
from consumer.prediction import join, parse_prediction
from container.configuration import parse_configuration
from container.events import HEALTH, encode_response
from container.handler import STATUS, BundleHandler, make_handler
from container.health import Health
from container.service import LONGEST_REFUSAL_BYTES, BundleService
from container.settings import Settings, SettingsError
from interface.envelope import check_reply_topic, parse_reply
from interface.errors import EnvelopeError
from interface.json_message import encode_message
from model.bundle import Bundle, check_replay, open_bundle
from model.errors import BundleError
from model.forest import UnsupportedForestError, encode_forest
from model.manifest import Policy, encode_manifest, parse_manifest
from nucleus.errors import InterpolationError, RecipeError
from nucleus.eventstream.encode import encode_message as encode_frame
from nucleus.eventstream.message import Message
from nucleus.eventstream.rpc import (
    ConnectRequested,
    OperationRequested,
    ProtocolViolated,
    ServerProtocol,
)
from nucleus.interpolation import (
    ComponentPaths,
    InterpolationContext,
    interpolate,
    interpolate_variable,
)
from nucleus.personality import CLASSIC, LITE, Personality
from nucleus.recipe import MAX_RECIPE_BYTES, choose_manifest, parse_recipe
from tests.fuzz.words import JSON_WORDS, RECIPE_WORDS, REPLY_WORDS
from tests.nucleus.wire import decode_all

DATA = Path(__file__).parents[1] / "data"
SEEDS = DATA / "fuzz"
SERVED = DATA / "bundles" / "format-2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One entry for bytes from outside.

    Attributes:
        run: raises on a finding, and on nothing else.
        max_bytes: of an input.
        words: what the fuzzer puts in besides what it finds out itself.
    """

    run: Callable[[bytes], None]
    max_bytes: int = 4096
    words: tuple[bytes, ...] = field(default=())


def read_seeds(target: str) -> Iterator[tuple[str, bytes]]:
    """The seeds of a target, by name: good inputs, and those that were once a finding."""
    for path in sorted((SEEDS / target).iterdir()):
        yield path.name, path.read_bytes()


# --- the event stream -----------------------------------------------------------------------------


_LIMIT = 3000


def eventstream(data: bytes) -> None:
    """Frames, then what they mean: the same however they are cut, and bounded."""
    if not data:
        return
    stream = _sealed(data[1:]) if data[0] & 1 else data[1:]
    personality = LITE if data[0] & 2 else CLASSIC
    found = decode_all([stream], _LIMIT)
    step = 1 + (data[0] >> 2)
    pieces = [stream[i : i + step] for i in range(0, len(stream), step)]
    assert decode_all(pieces, _LIMIT) == found
    protocol = ServerProtocol(personality)
    for message in found[0]:
        assert decode_all([encode_frame(message)], _LIMIT) == ([message], "")
        _follow(protocol, message)


def _follow(protocol: ServerProtocol, message: Message) -> None:
    match protocol.receive(message):
        case ConnectRequested(token):
            protocol.refuse() if token is None else protocol.accept()
        case OperationRequested(stream_id, _, request):
            assert request is None or isinstance(request, dict)
            protocol.keep_open(stream_id)
        case ProtocolViolated():
            assert protocol.receive(message) is None


def _sealed(data: bytes) -> bytes:
    """The same bytes with right checksums, wherever the lengths allow for it."""
    stream, at = bytearray(data), 0
    while at + 16 <= len(stream):
        (total,) = struct.unpack_from(">I", stream, at)
        if not 16 <= total <= len(stream) - at:
            total = len(stream) - at
            struct.pack_into(">I", stream, at, total)
        struct.pack_into(">I", stream, at + 8, zlib.crc32(stream[at : at + 8]))
        end = at + total - 4
        struct.pack_into(">I", stream, end, zlib.crc32(stream[at:end]))
        at += total
    return bytes(stream)


# --- requests and replies -------------------------------------------------------------------------


def request(data: bytes) -> None:
    """An event of any shape: one answer with a status of the table, by both readers the same."""
    if not data:
        return
    policy, shape = divmod(data[0], len(_EVENTS))
    events = _EVENTS[shape](data[1:])
    scanning, general, service = _handlers(_POLICIES[policy % 2])
    for event in events:
        with _quiet():
            response = scanning(event)
            other = general(event)
        assert _timeless(other) == _timeless(response)
        _check_response(response)
        if isinstance(event, bytes):
            with _quiet():
                _check_replies(service, event)


def _direct(body: bytes) -> list[object]:
    parsed: list[object] = []
    with contextlib.suppress(ValueError, RecursionError):
        parsed.append(json.loads(body))
    return [body, *parsed]


def _bus_json(body: bytes) -> list[object]:
    """As another component would publish it as a `jsonMessage`."""
    try:
        return [encode_message(json.loads(body))]
    except (ValueError, RecursionError):
        return []


def _with_body(event: Mapping[str, Any], media_type: str = "") -> Callable[[bytes], list[object]]:
    def events(body: bytes) -> list[object]:
        # A byte that is none becomes half a character, which an escape in the event could write.
        text = body.decode("utf-8", "surrogateescape")
        headers = {"headers": {"Content-Type": media_type}} if media_type else {}
        packed = base64.b64encode(body).decode()
        return [
            {**event, **headers, "body": text},
            {**event, **headers, "body": packed, "isBase64Encoded": True},
            {**event, **headers, "body": text, "isBase64Encoded": True},
        ]

    return events


_HTTP: dict[str, dict[str, Any]] = {
    "wrapped": {},
    "rest": {"httpMethod": "POST", "requestContext": {"resourcePath": "/"}},
    "http": {"requestContext": {"http": {"method": "POST"}}, "version": "2.0"},
    "alb": {"httpMethod": "POST", "requestContext": {"elb": {}}},
    "alb-multi": {
        "requestContext": {"elb": {}},
        "multiValueHeaders": {},
        "multiValueQueryStringParameters": {"topK": ["2"]},
    },
}
_EVENTS: list[Callable[[bytes], list[object]]] = [
    _direct,
    _bus_json,
    *(_with_body(event) for event in _HTTP.values()),
    *(_with_body(event, "text/csv") for event in _HTTP.values()),
]


_POLICIES: tuple[Policy, Policy] = ("error", "missing")


@cache
def _handlers(policy: Policy) -> tuple[BundleHandler, BundleHandler, BundleService]:
    settings = Settings(max_rows=50, max_request_bytes=3000, max_reply_bytes=20_000)
    bundle = _served(policy)
    scanning = make_handler(bundle, settings)
    general = BundleHandler(bundle, settings, scanner=None)
    reporting = make_handler(bundle, settings, Health(bundle))
    return scanning, general, BundleService(reporting, "edgexgb/results")


@cache
def _served(policy: Policy) -> Bundle:
    """A bundle with every kind of feature, open; the policy is that for what it does not know."""
    with tempfile.TemporaryDirectory(prefix="edgexgb-fuzz-") as folder:
        directory = Path(shutil.copytree(SERVED, folder, dirs_exist_ok=True))
        manifest = directory / "manifest.json"
        fields = json.loads(manifest.read_bytes())
        fields |= {"absent_field": policy, "unknown_category": policy}
        manifest.write_text(json.dumps(fields))
        return open_bundle(directory)


def _timeless(response: Mapping[str, Any]) -> str:
    """The response as JSON text, without the time that has passed since a deadline."""
    return re.sub(r"a deadline \d+ ms ago", "", encode_response(response))


def _check_response(response: Mapping[str, Any]) -> None:
    text = encode_response(response)
    assert text.isascii()
    again = json.loads(text, parse_constant=_refuse)
    body = again["body"]
    body = json.loads(body, parse_constant=_refuse) if isinstance(body, str) else body
    if again["statusCode"] == 200:
        if "ready" in body:
            assert body.keys() == {"ready", "model", "engine"}
            return
        assert len(body["predictions"]) == len(body.get("probabilities") or body.get("topK")) > 0
        return
    error = body["error"]
    assert again["statusCode"] == STATUS[error["code"]]
    assert error["code"] not in {"internal", "busy"}
    assert 1 <= len(error["details"]) <= 20
    for detail in error["details"]:
        assert set(detail) == {"code", "place", "observed", "expected"}
        assert all(len(value) < 400 for value in detail.values()), detail


def _check_replies(service: BundleService, event: bytes) -> None:
    (answer,) = service.answer([event])
    assert answer.topic == "edgexgb/results" or answer.topic.startswith("edgexgb/results/")
    busy = service.refuse(event, 100)
    assert busy.topic.startswith("edgexgb/results")
    if answer.kind == HEALTH:
        assert parse_health(json.loads(answer.payload)["body"]).ready is False
    elif not answer.kind:
        assert not service.is_urgent(event)
    for one in (answer, busy):
        small = service.too_large(one, LONGEST_REFUSAL_BYTES)
        assert len(small.payload) <= LONGEST_REFUSAL_BYTES
        # An event of HTTP has a response of HTTP, whose body is text and which has no id.
        assert json.loads(small.payload).get("id") == json.loads(one.payload).get("id")


def _refuse(name: str) -> None:
    raise AssertionError(f"JSON: got {name}, expected a number")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Nothing is worth a line in the log: that would be an answer `internal`."""
    handler = _Failing(level=logging.WARNING)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)


class _Failing(logging.Handler):
    def handle(self, record: logging.LogRecord) -> bool:
        if record.exc_info and record.exc_info[1]:
            raise AssertionError(record.getMessage()) from record.exc_info[1]
        raise AssertionError(record.getMessage())


def reply(data: bytes) -> None:
    """What anybody may publish at a requester's topic, and the topic that a request names."""
    with contextlib.suppress(EnvelopeError):
        found = parse_reply(data)
        with contextlib.suppress(MalformedReplyError):
            prediction = parse_prediction(found.body, 1)
            assert len(prediction.predictions) == 1
            assert join([prediction, prediction]).labels == prediction.labels
        with contextlib.suppress(MalformedReplyError):
            assert parse_health(found.body).model is not None
        error = parse_error(found.body, 7, "data")
        assert error.code
        assert len(error.details) <= 20
    with contextlib.suppress(EnvelopeError, UnicodeDecodeError):
        topic = check_reply_topic(data.decode(), "a/b")
        assert topic == "a/b" or topic.startswith("a/b/")
        assert not set("+#*") & set(topic)


def configuration(data: bytes) -> None:
    """Whatever a deployment puts into the component's configuration."""
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        return
    if isinstance(fields, dict):
        with contextlib.suppress(SettingsError):
            found = parse_configuration(fields, Settings())
            assert found.serving.max_rows >= 1
            assert found.serving.max_reply_bytes <= found.limits.max_message_bytes
            assert found.limits.max_message_bytes >= LONGEST_REFUSAL_BYTES


# --- bundles --------------------------------------------------------------------------------------


def manifest(data: bytes) -> None:
    """The first file that is opened; what is read is written the same."""
    with contextlib.suppress(BundleError):
        found = parse_manifest(data)
        if found.format == 2:
            assert parse_manifest(encode_manifest(found)) == found


def bundle(data: bytes) -> None:
    """A directory with one hostile file, whose checksums are right."""
    if not data:
        return
    name, content = _FILES[data[0] % len(_FILES)], data[1:]
    folder = _folder()
    good = {path.name: path.read_bytes() for path in SERVED.iterdir()}
    if name == "model.forest" and len(content) > 16:
        content = content[:12] + struct.pack("<I", zlib.crc32(content[16:])) + content[16:]
    files = {**good, name: content}
    if name != "manifest.json":
        fields = json.loads(good["manifest.json"])
        fields["files"][name] = hashlib.sha256(content).hexdigest()
        fields["forest"]["crc32"] = files["model.forest"][12:16][::-1].hex()
        files["manifest.json"] = json.dumps(fields).encode()
    for file, bytes_ in files.items():
        (folder / file).write_bytes(bytes_)
    for audit in (True, False):
        with contextlib.suppress(BundleError):
            opened = open_bundle(folder, audit=audit)
            with contextlib.closing(opened), contextlib.suppress(BundleError, ArithmeticError):
                _use(opened)


def _use(opened: Bundle) -> None:
    handler = make_handler(opened, Settings())
    rows = [golden.row for golden in opened.golden]
    _check_response(handler(rows))
    check_replay(opened)


_FILES = ("manifest.json", "golden.jsonl", "model.forest")


@cache
def _folder() -> Path:
    # One process, one directory; the system's temporary files are nobody's to keep.
    return Path(tempfile.mkdtemp(prefix="edgexgb-fuzz-"))


def model_file(data: bytes) -> None:
    """A model file on the way into a bundle: `encode_forest` reads it without XGBoost."""
    with contextlib.suppress(UnsupportedForestError, ValueError):
        encode_forest(data)


# --- recipes --------------------------------------------------------------------------------------


def recipe(data: bytes) -> None:
    """Any text as a recipe, for both nuclei; then what they would run."""
    text = data.decode("utf-8", "replace")
    for personality in (CLASSIC, LITE):
        with contextlib.suppress(RecipeError):
            found = parse_recipe(text, "recipe.yaml", personality)
            assert found.name.strip(".")
            assert "/" not in found.name
            assert "/" not in str(found.version)
            for dependency in found.dependencies.values():
                dependency.is_met_by(found.version)
            platform = {"os": "linux", "architecture": "amd64", "runtime": "aws_nucleus_lite"}
            chosen = choose_manifest(found, platform, personality, {"file.zip"})
            scripts = [step.script for step in chosen.lifecycle.values()]
            for script in (*scripts, *chosen.setenv.values()):
                _interpolate(script, found.configuration, personality)


def interpolation(data: bytes) -> None:
    """A script with any braces."""
    values: dict[str, Any] = {"a": {"b": '$(x)`y`"z"\\', "c": [1, None]}, "": "{a:b}"}
    for personality in (CLASSIC, LITE):
        _interpolate(data.decode("utf-8", "replace"), values, personality)


def _interpolate(text: str, values: Mapping[str, Any], personality: Personality) -> None:
    context = InterpolationContext(
        component="own.Name",
        configuration=lambda name: values if name in {"own.Name", "other"} else None,
        paths=lambda _: ComponentPaths(artifacts="/a", artifacts_unarchived="/u", work="/w"),
        kernel_root="/gg",
        thing_name="thing",
        dependencies={"other"},
        personality=personality,
    )
    for put_in in (interpolate, interpolate_variable):
        with contextlib.suppress(InterpolationError):
            put_in(text, context)


# --- all of them ----------------------------------------------------------------------------------


def planted(data: bytes) -> None:
    """A fault to be found, so that the fuzzer's silence elsewhere says something.

    Raises:
        LookupError: the bytes begin with one word, which chance alone would hardly bring up.
    """
    # One step after the other: the fuzzer sees how far it has come.
    if data[:1] == b"n" and data[1:2] == b"e" and data[2:3] == b"e" and data[3:4] == b"d":
        raise LookupError("the needle")


TARGETS: dict[str, Target] = {
    "eventstream": Target(
        run=eventstream,
        words=(b":message-type", b":message-flags", b":stream-id", b"operation", b":version"),
    ),
    "request": Target(run=request, words=JSON_WORDS, max_bytes=3500),
    "reply": Target(
        run=reply,
        words=(*JSON_WORDS, *REPLY_WORDS),
    ),
    "configuration": Target(
        run=configuration,
        words=(b'"requestTopic"', b'"resultTopic"', b'"maxRows"', b'"logLevel"', b'"1.0"', b"1e9"),
        max_bytes=1024,
    ),
    "manifest": Target(run=manifest, words=(*JSON_WORDS, b'"format"', b'"features"', b'"labels"')),
    "bundle": Target(run=bundle, words=(*JSON_WORDS, b'"row"', b'"prediction"')),
    "model_file": Target(run=model_file, max_bytes=8192, words=(b"[$", b"#L", b"#l", b"Z", b"[#")),
    "recipe": Target(run=recipe, words=RECIPE_WORDS, max_bytes=MAX_RECIPE_BYTES // 4),
    "interpolation": Target(run=interpolation, words=RECIPE_WORDS, max_bytes=1024),
}
"""By name; each has a directory of seeds in tests/data/fuzz/."""

PLANTED = Target(run=planted, max_bytes=64, words=(b"haystack",))
