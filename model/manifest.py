"""The manifest of a bundle: parsed and validated before anything else is opened.

The normative description is docs/bundle.md. Standard library only.
"""

import json
import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from model.errors import BundleFormatError, BundleVersionError, describe
from model.typed import Any, Literal, NamedTuple, TypeGuard, TypeVar, get_args

FORMAT = 2
"""The manifest format that this code writes, and the newest that it reads.

To bump it: raise the number, describe the change in docs/bundle.md and CHANGELOG.md, keep a reader
for the previous number in `parse_manifest` (devices in the field hold old bundles), and record a
bundle of the old format under tests/data/ with a test that opens it.
"""

MANIFEST = "manifest.json"
MODEL = "model.ubj"
FOREST = "model.forest"
GOLDEN = "golden.jsonl"

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A model's name: what a Greengrass component name may hold (letters, digits, `-`, `_`, `.`)."""

FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
"""A file of a bundle: a plain name on every system."""

VERSION = re.compile(r"\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")
"""A semantic version, at most 64 characters. Source: semver.org; Greengrass component versions."""

Scalar = str | int | float | bool
Task = Literal["regression", "binary", "multiclass"]
Kind = Literal["float", "int", "bool", "categorical"]
Policy = Literal["error", "missing"]


class Histogram(NamedTuple):
    """How often the training data fell where.

    Attributes:
        edges: for numbers, the n + 1 borders of the n bins; empty for categories and booleans.
        counts: rows in each bin, or for each category (a boolean: false, true).
    """

    edges: tuple[float, ...]
    counts: tuple[int, ...]


class Feature(NamedTuple):
    """One input column, and what the training data held in it.

    Attributes:
        name: as the model knows it; requests match by it.
        kind: what a request may hold; `int` was whole numbers in training, any number is taken.
        categories: for `categorical`, in the order of XGBoost's codes; else empty.
        minimum: the smallest value seen, None where there was none or there is no order.
        maximum: the largest.
        missing_rate: the share of missing values, 0 to 1.
        histogram: the distribution, for noticing drift later.
    """

    name: str
    kind: Kind
    categories: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    missing_rate: float = 0.0
    histogram: Histogram = Histogram(edges=(), counts=())


class Data(NamedTuple):
    """Where the features' statistics and golden rows come from.

    Attributes:
        source: a file's name, or a data set's.
        sha256: of the file's bytes; of the table as CSV where there was no file.
        rows: how many.
    """

    source: str
    sha256: str
    rows: int


class Forest(NamedTuple):
    """Whether the model's compact form is in the bundle.

    Attributes:
        proved_rows: for how many rows it gave XGBoost's own bits when the bundle was packed.
        refusal: why it is not there; empty where it is.
        crc32: of the file, as its header has it: 8 hexadecimal digits, empty where it is not there.
            A cold start compares this one, and leaves the sha256 to the audit.
    """

    proved_rows: int = 0
    refusal: str = ""
    crc32: str = ""


_FORMAT_1 = Forest(refusal="the bundle is of format 1")


class Manifest(NamedTuple):
    """All that is known of a model without opening it.

    Attributes:
        format: see `FORMAT`.
        name: the model's name.
        version: its semantic version.
        created: when it was packed, ISO 8601 in UTC.
        machine: the architecture that recorded the golden rows, as `platform.machine()` names it.
        task: what a prediction is: a number, one of two labels, one of several.
        objective: XGBoost's name of the objective.
        labels: the class labels as the user wrote them, in XGBoost's order; empty for regression.
        features: the inputs, in the order of the model's columns.
        absent_field: whether a row may leave a feature out, which then counts as missing.
        unknown_category: whether a category never seen counts as missing.
        tree_range: boosting rounds to use, from (included) and to (excluded).
        xgboost_version: of the library that wrote `model.ubj`.
        metrics: what training measured on rows held out; the baseline's under `baseline_…`.
        data: where statistics and golden rows come from.
        files: sha256 of each other file of the bundle, by its name.
        forest: whether the compact form is among the files.
    """

    name: str
    version: str
    created: str
    machine: str
    task: Task
    objective: str
    labels: tuple[Scalar, ...]
    features: tuple[Feature, ...]
    absent_field: Policy
    unknown_category: Policy
    tree_range: tuple[int, int]
    xgboost_version: tuple[int, int, int]
    metrics: Mapping[str, float]
    data: Data
    files: Mapping[str, str]
    forest: Forest = Forest(refusal="it was not tried")
    format: int = FORMAT


def encode_manifest(manifest: Manifest) -> bytes:
    """The bytes of `manifest.json`."""
    return (json.dumps(manifest_fields(manifest), indent=1, ensure_ascii=False) + "\n").encode()


def manifest_fields(manifest: Manifest) -> dict[str, Any]:
    """The manifest as a JSON object."""
    fields: dict[str, Any] = _to_json(manifest)
    return fields


def _to_json(value: Any) -> Any:
    if isinstance(value, tuple):
        if hasattr(value, "_asdict"):
            return {name: _to_json(item) for name, item in value._asdict().items()}
        return [_to_json(item) for item in value]
    return value


def parse_manifest(content: bytes) -> Manifest:
    """The manifest in the bytes of `manifest.json`.

    Raises:
        BundleVersionError: the format is newer than `FORMAT`.
        BundleFormatError: anything else is not as docs/bundle.md says.
    """
    try:
        document = json.loads(content.decode())
    except (ValueError, RecursionError) as error:
        raise _wrong("", f"text that is no JSON ({error})", "a JSON object") from error
    top = _Reader(document, "")
    number = top.take("format", _integer(1))
    if number > FORMAT:
        expected = f"at most {FORMAT}: update the component before this model"
        raise BundleVersionError(MANIFEST, f"bundle format {number}", expected)
    manifest = Manifest(
        format=number,
        name=top.take("name", _matching(NAME)),
        version=top.take("version", _matching(VERSION)),
        created=top.take("created", _text),
        machine=top.take("machine", _text),
        task=top.take("task", _one_of(Task)),
        objective=top.take("objective", _text),
        labels=top.take("labels", _tuple(_scalar)),
        features=top.take("features", _tuple(_feature)),
        absent_field=top.take("absent_field", _one_of(Policy)),
        unknown_category=top.take("unknown_category", _one_of(Policy)),
        tree_range=top.take("tree_range", _integers(2)),
        xgboost_version=top.take("xgboost_version", _integers(3)),
        metrics=top.take("metrics", _mapping(_number)),
        data=top.take("data", _data),
        files=top.take("files", _mapping(_matching(re.compile("[0-9a-f]{64}")))),
        forest=top.take("forest", _forest) if number > 1 else _FORMAT_1,
    )
    top.finish()
    _check_consistency(manifest)
    if rb"\ud" in content.lower():  # a cold start need not look for what is not there
        _check_characters(document)
    return manifest


def _check_characters(document: object) -> None:
    """Refuses half a surrogate pair, which only an escape can write, and no file or terminal."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = error.object[error.start]
        raise _wrong("", f"half a character, {half!r}", "text that UTF-8 can hold") from error


def _check_consistency(manifest: Manifest) -> None:
    """Refuses what is well-formed by itself but makes no sense together."""
    names = [feature.name for feature in manifest.features]
    if not names:
        raise _wrong("features", "none", "one at least")
    if repeated := sorted(name for name, count in Counter(names).items() if count > 1):
        raise _wrong("features", f"the name {repeated[0]!r} twice", "each name once")
    n_labels = len(manifest.labels)
    wanted = {"regression": (0, 0), "binary": (2, 2), "multiclass": (2, math.inf)}[manifest.task]
    if not wanted[0] <= n_labels <= wanted[1]:
        expected = f"{wanted[0]}{' or more' if wanted[1] == math.inf else ''} for {manifest.task}"
        raise _wrong("labels", str(n_labels), expected)
    if len({json.dumps(label) for label in manifest.labels}) != n_labels:
        raise _wrong("labels", "one label twice", "each label once")
    if manifest.tree_range[0] >= manifest.tree_range[1]:
        raise _wrong("tree_range", str(list(manifest.tree_range)), "[from, to] with from < to")
    for required in (MODEL, GOLDEN):
        if required not in manifest.files:
            raise _wrong("files", f"no {required}", f"{MODEL} and {GOLDEN}")
    if stray := [n for n in manifest.files if not FILE.fullmatch(n) or n == MANIFEST]:
        raise _wrong("files", repr(stray[0]), "plain file names")
    _check_forest(manifest)


def _check_forest(manifest: Manifest) -> None:
    has_forest = not manifest.forest.refusal
    if has_forest != (FOREST in manifest.files):
        there = "none" if has_forest else "one"
        raise _wrong(f"files.{FOREST}", there, "one where forest.refusal is empty, else none")
    if has_forest != bool(manifest.forest.crc32):
        expected = "8 hexadecimal digits where forest.refusal is empty, else nothing"
        raise _wrong("forest.crc32", repr(manifest.forest.crc32), expected)


# --- reading JSON values: each reader takes (value, place) and returns the value or raises --------


def _wrong(place: str, observed: str, expected: str) -> BundleFormatError:
    return BundleFormatError(f"{MANIFEST}: {place}" if place else MANIFEST, observed, expected)


_T = TypeVar("_T")


class _Reader:
    """An object whose fields are taken one by one, so that none is missing and none is left."""

    def __init__(self, value: object, place: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(place, describe(value), "an object")
        self._fields: dict[str, Any] = dict(value)
        self._place = f"{place}." if place else ""

    def take(self, key: str, read: Callable[[object, str], _T]) -> _T:
        place = f"{self._place}{key}"
        if key not in self._fields:
            raise _wrong(place, "no such field", "one")
        return read(self._fields.pop(key), place)

    def finish(self) -> None:
        if self._fields:
            unknown = next(iter(self._fields))
            raise _wrong(f"{self._place}{unknown}", "an unknown field", "none of that name")


def _text(value: object, place: str) -> str:
    if not isinstance(value, str):
        raise _wrong(place, describe(value), "text")
    return value


def _scalar(value: object, place: str) -> Scalar:
    if not isinstance(value, Scalar) or (isinstance(value, float) and not math.isfinite(value)):
        raise _wrong(place, describe(value), "text, a finite number or a boolean")
    return value


def _number(value: object, place: str) -> float:
    if not is_finite_number(value):
        raise _wrong(place, describe(value), "a finite number")
    return value


def is_finite_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number that float64 can hold; a boolean is none."""
    # Comparing is exact; turning a whole number of hundreds of digits into a float fails.
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return -sys.float_info.max <= value <= sys.float_info.max


def _optional_number(value: object, place: str) -> float | None:
    return None if value is None else _number(value, place)


def _integer(at_least: int) -> Callable[[object, str], int]:
    def read(value: object, place: str) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise _wrong(place, describe(value), f"an integer of at least {at_least}")
        return value

    return read


def _integers(count: int) -> Callable[[object, str], Any]:
    def read(value: object, place: str) -> tuple[int, ...]:
        items = _tuple(_integer(0))(value, place)
        if len(items) != count:
            raise _wrong(place, f"{len(items)} integers", str(count))
        return items

    return read


def _matching(pattern: re.Pattern[str]) -> Callable[[object, str], str]:
    def read(value: object, place: str) -> str:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _wrong(place, describe(value), f"text of the form {pattern.pattern}")
        return value

    return read


def _one_of(literal: Any) -> Callable[[object, str], Any]:
    def read(value: object, place: str) -> str:
        if value not in get_args(literal):
            raise _wrong(place, describe(value), f"one of {', '.join(get_args(literal))}")
        return str(value)

    return read


def _tuple(read_item: Callable[[object, str], _T]) -> Callable[[object, str], tuple[_T, ...]]:
    def read(value: object, place: str) -> tuple[_T, ...]:
        if not isinstance(value, list):
            raise _wrong(place, describe(value), "a list")
        return tuple(read_item(item, f"{place}[{i}]") for i, item in enumerate(value))

    return read


def _floats(value: object, place: str) -> tuple[float, ...]:
    # At a glance, since there are hundreds and a cold start waits; else one by one, to name it.
    if isinstance(value, list) and set(map(type, value)) == {float} and math.isfinite(sum(value)):
        return tuple(value)
    return _tuple(_number)(value, place)


def _counts(value: object, place: str) -> tuple[int, ...]:
    if isinstance(value, list) and set(map(type, value)) == {int} and min(value) >= 0:
        return tuple(value)
    return _tuple(_integer(0))(value, place)


def _mapping(read_item: Callable[[object, str], _T]) -> Callable[[object, str], dict[str, _T]]:
    def read(value: object, place: str) -> dict[str, _T]:
        if not isinstance(value, dict):
            raise _wrong(place, describe(value), "an object")
        return {key: read_item(item, f"{place}.{key}") for key, item in value.items()}

    return read


def _histogram(value: object, place: str) -> Histogram:
    fields = _Reader(value, place)
    histogram = Histogram(
        edges=fields.take("edges", _floats),
        counts=fields.take("counts", _counts),
    )
    fields.finish()
    return histogram


def _feature(value: object, place: str) -> Feature:
    fields = _Reader(value, place)
    feature = Feature(
        name=fields.take("name", _text),
        kind=fields.take("kind", _one_of(Kind)),
        categories=fields.take("categories", _tuple(_scalar)),
        minimum=fields.take("minimum", _optional_number),
        maximum=fields.take("maximum", _optional_number),
        missing_rate=fields.take("missing_rate", _number),
        histogram=fields.take("histogram", _histogram),
    )
    fields.finish()
    check_categories(feature, place)
    return feature


def check_categories(feature: Feature, place: str) -> None:
    """Refuses categories that a request could not be matched with without doubt.

    Raises:
        BundleFormatError: none for a categorical feature, some for another, mixed types, repeats.
    """
    if (feature.kind == "categorical") != bool(feature.categories):
        expected = "some" if feature.kind == "categorical" else f"none for kind {feature.kind}"
        raise _wrong(f"{place}.categories", str(len(feature.categories)), expected)
    if len({category_type(category) for category in feature.categories}) > 1:
        raise _wrong(f"{place}.categories", "mixed types", "all text, all numbers or all booleans")
    if len(set(feature.categories)) != len(feature.categories):
        raise _wrong(f"{place}.categories", "one category twice", "each category once")


def category_type(category: Scalar) -> str:
    """The type a request must use for a category, in the words of an error text."""
    if isinstance(category, bool):
        return "boolean"
    return "text" if isinstance(category, str) else "number"


def _data(value: object, place: str) -> Data:
    fields = _Reader(value, place)
    data = Data(
        source=fields.take("source", _text),
        sha256=fields.take("sha256", _matching(re.compile("[0-9a-f]{64}"))),
        rows=fields.take("rows", _integer(1)),
    )
    fields.finish()
    return data


def _forest(value: object, place: str) -> Forest:
    fields = _Reader(value, place)
    forest = Forest(
        proved_rows=fields.take("proved_rows", _integer(0)),
        refusal=fields.take("refusal", _text),
        crc32=fields.take("crc32", _matching(re.compile("([0-9a-f]{8})?"))),
    )
    fields.finish()
    return forest


def dotted(version: Sequence[int]) -> str:
    """A version as people write it: `3.2.0`."""
    return ".".join(map(str, version))
