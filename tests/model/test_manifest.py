import json
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.errors import BundleError, BundleFormatError, BundleVersionError
from model.manifest import (
    FORMAT,
    Data,
    Feature,
    Histogram,
    Kind,
    Manifest,
    Policy,
    Scalar,
    Task,
    category_type,
    check_categories,
    dotted,
    encode_manifest,
    parse_manifest,
)
from model.typed import get_args

DIGEST = "0123456789abcdef" * 4

MANIFEST = Manifest(
    name="wine",
    version="1.2.3-rc.1+7",
    created="2026-01-01T00:00:00+00:00",
    machine="x86_64",
    task="multiclass",
    objective="multi:softprob",
    labels=("barolo", "grignolino", "barbera"),
    features=(
        Feature(
            name="pH",
            kind="float",
            minimum=2.7,
            maximum=4.0,
            missing_rate=0.25,
            histogram=Histogram(edges=(2.7, 3.0, 4.0), counts=(3, 4)),
        ),
        Feature(name="größe [m²]", kind="categorical", categories=("klein", "groß")),
        Feature(name="ok", kind="bool"),
    ),
    absent_field="error",
    unknown_category="missing",
    tree_range=(0, 17),
    xgboost_version=(3, 2, 0),
    metrics={"accuracy": 0.98, "baseline_accuracy": 0.4},
    data=Data(source="wine.csv", sha256=DIGEST, rows=178),
    files={"model.ubj": DIGEST, "golden.jsonl": DIGEST},
)


def document() -> dict[str, Any]:
    """`MANIFEST` as JSON values, to be changed."""
    fields: dict[str, Any] = json.loads(encode_manifest(MANIFEST))
    return fields


def refusal(change: Callable[[dict[str, Any]], object]) -> str:
    """The text with which a changed manifest is refused."""
    fields = document()
    change(fields)
    with pytest.raises(BundleFormatError) as caught:
        parse_manifest(json.dumps(fields).encode())
    return str(caught.value)


def setting(*path: str | int, to: object) -> Callable[[dict[str, Any]], None]:
    """A change that sets one value deep inside."""

    def change(fields: dict[str, Any]) -> None:
        target: Any = fields
        for key in path[:-1]:
            target = target[key]
        target[path[-1]] = to

    return change


# --- round trip -----------------------------------------------------------------------------------


def test_encoded_manifest_parses_to_the_same() -> None:
    """Nothing is lost or changed on the way through the file."""
    assert parse_manifest(encode_manifest(MANIFEST)) == MANIFEST


def test_encoding_is_utf8_text_that_people_can_read() -> None:
    """A person opens the file: one field a line, letters as letters, a line end at the end."""
    text = encode_manifest(MANIFEST).decode()
    assert text.startswith('{\n "name": "wine",\n')
    assert '"größe [m²]"' in text
    assert text.endswith("\n}\n")


_finite = st.floats(allow_nan=False, allow_infinity=False)
_text = st.text(st.characters(codec="utf-8"), max_size=8)
_digest = st.text("0123456789abcdef", min_size=64, max_size=64)
_histogram = st.builds(
    Histogram,
    edges=st.lists(_finite, max_size=3).map(tuple),
    counts=st.lists(st.integers(0, 10**9), max_size=3).map(tuple),
)


def _unique(values: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, min_size=1, max_size=4, unique=True).map(tuple)


_categories = st.one_of(
    _unique(_text), _unique(st.integers()), _unique(_finite), _unique(st.booleans())
)


@st.composite
def _features(draw: st.DrawFn) -> tuple[Feature, ...]:
    names = draw(_unique(_text))
    features = []
    for name in names:
        kind = draw(st.sampled_from(get_args(Kind)))
        features.append(
            Feature(
                name=name,
                kind=kind,
                categories=draw(_categories) if kind == "categorical" else (),
                minimum=draw(st.none() | _finite),
                maximum=draw(st.none() | _finite),
                missing_rate=draw(st.floats(0, 1)),
                histogram=draw(_histogram),
            )
        )
    return tuple(features)


@st.composite
def manifests(draw: st.DrawFn) -> Manifest:
    """Any manifest that the format allows."""
    task = draw(st.sampled_from(get_args(Task)))
    n_labels = {"regression": 0, "binary": 2, "multiclass": draw(st.integers(2, 5))}[task]
    labels = st.lists(_text, min_size=n_labels, max_size=n_labels, unique=True)
    begin = draw(st.integers(0, 10**6))
    return Manifest(
        name=draw(st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")),
        version=draw(st.from_regex(r"\A[0-9]{1,6}\.[0-9]{1,6}\.[0-9]{1,6}(-[0-9A-Za-z.-]+)?\Z")),
        created=draw(_text),
        machine=draw(_text),
        task=task,
        objective=draw(_text),
        labels=tuple(draw(labels)),
        features=draw(_features()),
        absent_field=draw(st.sampled_from(get_args(Policy))),
        unknown_category=draw(st.sampled_from(get_args(Policy))),
        tree_range=(begin, begin + draw(st.integers(1, 10**6))),
        xgboost_version=draw(st.tuples(*[st.integers(0, 99)] * 3)),
        metrics=draw(st.dictionaries(_text, _finite, max_size=3)),
        data=Data(source=draw(_text), sha256=draw(_digest), rows=draw(st.integers(1, 10**9))),
        files={"model.ubj": draw(_digest), "golden.jsonl": draw(_digest)},
    )


@given(manifests())
def test_any_manifest_survives_the_file(manifest: Manifest) -> None:
    """What `encode_manifest` writes, `parse_manifest` reads back unchanged."""
    assert parse_manifest(encode_manifest(manifest)) == manifest


# --- refusals -------------------------------------------------------------------------------------


def test_newer_format_is_refused_as_a_version() -> None:
    """An old component says that it is the one to update, before it trips over new fields."""
    content = json.dumps({"format": FORMAT + 1, "novelty": True}).encode()
    with pytest.raises(BundleVersionError) as caught:
        parse_manifest(content)
    assert str(caught.value) == (
        "manifest.json: got bundle format 3, "
        "expected at most 2: update the component before this model"
    )


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (
            b"",
            "manifest.json: got text that is no JSON (Expecting value: line 1 column 1 (char 0)), "
            "expected a JSON object",
        ),
        (b"[]", "manifest.json: got a list of 0, expected an object"),
        (b"null", "manifest.json: got null, expected an object"),
        (b"{}", "manifest.json: format: got no such field, expected one"),
        (
            b"\xff{}",
            "manifest.json: got text that is no JSON ('utf-8' codec can't decode byte 0xff in "
            "position 0: invalid start byte), expected a JSON object",
        ),
    ],
)
def test_content_that_is_no_object_is_refused(content: bytes, text: str) -> None:
    """Each kind of nonsense is called by its name."""
    with pytest.raises(BundleFormatError) as caught:
        parse_manifest(content)
    assert str(caught.value) == text


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"format":' + b"1" * 5000 + b"}"])
def test_content_that_python_cannot_hold_is_refused(content: bytes) -> None:
    """Neither depth nor digits get past the parser."""
    with pytest.raises(BundleFormatError) as caught:
        parse_manifest(content)
    assert str(caught.value).startswith("manifest.json: got text that is no JSON (")
    assert str(caught.value).endswith("), expected a JSON object")


@pytest.mark.parametrize("field", sorted(document()))
def test_missing_field_is_named(field: str) -> None:
    """Every field of the format is required."""
    text = refusal(lambda fields: fields.pop(field))
    assert text == f"manifest.json: {field}: got no such field, expected one"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("novelty",), "novelty"),
        (("features", 1, "novelty"), "features[1].novelty"),
        (("features", 0, "histogram", "novelty"), "features[0].histogram.novelty"),
        (("data", "novelty"), "data.novelty"),
    ],
)
def test_unknown_field_is_refused(path: tuple[str | int, ...], place: str) -> None:
    """A field nobody reads would be a promise nobody keeps."""
    text = refusal(setting(*path, to=1))
    assert text == f"manifest.json: {place}: got an unknown field, expected none of that name"


_NAME_FORM = "text of the form [A-Za-z0-9][A-Za-z0-9._-]{0,127}"
_DIGEST_FORM = "text of the form [0-9a-f]{64}"


@pytest.mark.parametrize(
    ("path", "value", "text"),
    [
        (("format",), 0, "format: got 0, expected an integer of at least 1"),
        (("format",), True, "format: got true, expected an integer of at least 1"),
        (("format",), "1", "format: got '1', expected an integer of at least 1"),
        (("name",), "", f"name: got '', expected {_NAME_FORM}"),
        (("name",), "a b", f"name: got 'a b', expected {_NAME_FORM}"),
        (("name",), 5, f"name: got 5, expected {_NAME_FORM}"),
        (("created",), None, "created: got null, expected text"),
        (("machine",), 1, "machine: got 1, expected text"),
        (
            ("task",),
            "ranking",
            "task: got 'ranking', expected one of regression, binary, multiclass",
        ),
        (("objective",), [], "objective: got a list of 0, expected text"),
        (("labels",), "abc", "labels: got 'abc', expected a list"),
        (("labels", 1), None, "labels[1]: got null, expected text, a finite number or a boolean"),
        (
            ("labels", 1),
            {},
            "labels[1]: got an object of 0 fields, expected text, a finite number or a boolean",
        ),
        (("labels",), ["a", "b", "a"], "labels: got one label twice, expected each label once"),
        (("labels",), ["a"], "labels: got 1, expected 2 or more for multiclass"),
        (("features",), [], "features: got none, expected one at least"),
        (("features",), {}, "features: got an object of 0 fields, expected a list"),
        (("features", 0), 7, "features[0]: got 7, expected an object"),
        (("features", 0, "name"), 1, "features[0].name: got 1, expected text"),
        (
            ("features", 0, "name"),
            "ok",
            "features: got the name 'ok' twice, expected each name once",
        ),
        (
            ("features", 0, "kind"),
            "text",
            "features[0].kind: got 'text', expected one of float, int, bool, categorical",
        ),
        (
            ("features", 0, "categories"),
            ["a"],
            "features[0].categories: got 1, expected none for kind float",
        ),
        (("features", 1, "categories"), [], "features[1].categories: got 0, expected some"),
        (
            ("features", 1, "categories"),
            ["a", "a"],
            "features[1].categories: got one category twice, expected each category once",
        ),
        (
            ("features", 1, "categories"),
            ["1", 1],
            "features[1].categories: got mixed types, "
            "expected all text, all numbers or all booleans",
        ),
        (
            ("features", 1, "categories"),
            [1, True],
            "features[1].categories: got mixed types, "
            "expected all text, all numbers or all booleans",
        ),
        (
            ("features", 0, "minimum"),
            "low",
            "features[0].minimum: got 'low', expected a finite number",
        ),
        (
            ("features", 0, "maximum"),
            float("inf"),
            "features[0].maximum: got Infinity, expected a finite number",
        ),
        (
            ("features", 0, "missing_rate"),
            None,
            "features[0].missing_rate: got null, expected a finite number",
        ),
        (
            ("features", 0, "missing_rate"),
            False,
            "features[0].missing_rate: got false, expected a finite number",
        ),
        (
            ("features", 0, "histogram", "counts", 1),
            -1,
            "features[0].histogram.counts[1]: got -1, expected an integer of at least 0",
        ),
        (
            ("features", 0, "histogram", "edges", 0),
            float("nan"),
            "features[0].histogram.edges[0]: got NaN, expected a finite number",
        ),
        (("absent_field",), "ignore", "absent_field: got 'ignore', expected one of error, missing"),
        (
            ("unknown_category",),
            None,
            "unknown_category: got null, expected one of error, missing",
        ),
        (("tree_range",), [0], "tree_range: got 1 integers, expected 2"),
        (("tree_range",), [3, 3], "tree_range: got [3, 3], expected [from, to] with from < to"),
        (("tree_range", 0), -1, "tree_range[0]: got -1, expected an integer of at least 0"),
        (("xgboost_version",), [3, 2], "xgboost_version: got 2 integers, expected 3"),
        (("metrics",), [], "metrics: got a list of 0, expected an object"),
        (
            ("metrics", "accuracy"),
            float("nan"),
            "metrics.accuracy: got NaN, expected a finite number",
        ),
        (("data", "rows"), 0, "data.rows: got 0, expected an integer of at least 1"),
        (("data", "sha256"), "ff", f"data.sha256: got 'ff', expected {_DIGEST_FORM}"),
        (("files", "model.ubj"), "ff", f"files.model.ubj: got 'ff', expected {_DIGEST_FORM}"),
        (
            ("files",),
            {"model.ubj": DIGEST},
            "files: got no golden.jsonl, expected model.ubj and golden.jsonl",
        ),
        (("files", "../x"), DIGEST, "files: got '../x', expected plain file names"),
        (
            ("files", "manifest.json"),
            DIGEST,
            "files: got 'manifest.json', expected plain file names",
        ),
        (("files", ""), DIGEST, "files: got '', expected plain file names"),
        (("files", ".."), DIGEST, "files: got '..', expected plain file names"),
    ],
)
def test_wrong_value_is_refused_with_place_observed_expected(
    path: tuple[str | int, ...], value: object, text: str
) -> None:
    """The text leads to the value and says what it should be."""
    assert refusal(setting(*path, to=value)) == f"manifest.json: {text}"


@pytest.mark.parametrize(
    ("task", "labels", "text"),
    [
        ("regression", ["a", "b"], "labels: got 2, expected 0 for regression"),
        ("binary", [], "labels: got 0, expected 2 for binary"),
        ("binary", ["a", "b", "c"], "labels: got 3, expected 2 for binary"),
    ],
)
def test_labels_that_do_not_fit_the_task_are_refused(
    task: str, labels: list[str], text: str
) -> None:
    """A regression has no labels, a binary model two."""

    def change(fields: dict[str, Any]) -> None:
        fields.update(task=task, labels=labels)

    assert refusal(change) == f"manifest.json: {text}"


def test_version_that_greengrass_would_refuse_is_refused() -> None:
    """Only semantic versions reach the device."""
    text = refusal(setting("version", to="1.0"))
    assert text == (
        "manifest.json: version: got '1.0', expected text of the form "
        r"\d{1,6}\.\d{1,6}\.\d{1,6}(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?"
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("metrics", "accuracy"), "metrics.accuracy"),
        (("features", 0, "minimum"), "features[0].minimum"),
        (("features", 0, "histogram", "edges", 1), "features[0].histogram.edges[1]"),
    ],
)
def test_number_beyond_a_double_is_refused(path: tuple[str | int, ...], place: str) -> None:
    """A whole number too large for a float is no finite number either."""
    text = refusal(setting(*path, to=10**400))
    assert text == f"manifest.json: {place}: got an integer of 1329 bits, expected a finite number"


@pytest.mark.parametrize("place", ["labels[0]", "features[1].categories[0]"])
@pytest.mark.parametrize(("value", "words"), [(float("nan"), "NaN"), (float("inf"), "Infinity")])
def test_label_or_category_that_json_cannot_carry_is_refused(
    place: str, value: float, words: str
) -> None:
    """A NaN as a label could never be sent, and as a category never be matched."""

    def change(fields: dict[str, Any]) -> None:
        if place == "labels[0]":
            fields["labels"] = [value, 1.0, 2.0]
        else:
            fields["features"][1]["categories"] = [value, 1.0]

    assert refusal(change) == (
        f"manifest.json: {place}: got {words}, expected text, a finite number or a boolean"
    )


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "a/b", "..", "."])
def test_file_name_that_no_folder_can_hold_is_refused(name: str) -> None:
    """No name in `files` reaches the file system unless it is a plain one."""

    def change(fields: dict[str, Any]) -> None:
        fields["files"][name] = DIGEST

    assert refusal(change) == f"manifest.json: files: got {name!r}, expected plain file names"


@pytest.mark.parametrize("key", ["machine", "created", "objective"])
def test_half_a_character_is_refused(key: str) -> None:
    """What reads it could not write it: no file and no terminal takes it."""
    assert refusal(lambda fields: fields.update({key: "a\ud83d"})) == (
        r"manifest.json: got half a character, '\ud83d', expected text that UTF-8 can hold"
    )


def test_whole_character_that_was_escaped_is_taken() -> None:
    """Two halves are one: it is how other writers of JSON put it."""
    fields = document()
    fields["machine"] = "\U0001f600"
    content = json.dumps(fields).encode()
    assert rb"\ud83d\ude00" in content
    assert parse_manifest(content).machine == "\U0001f600"


# --- mutations ------------------------------------------------------------------------------------

CONTENT = encode_manifest(MANIFEST)


@given(st.integers(0, len(CONTENT) - 1), st.integers(0, 255))
def test_any_changed_byte_raises_nothing_but_bundle_errors(at: int, byte: int) -> None:
    """A changed byte is refused, or leaves a manifest that is whole."""
    content = CONTENT[:at] + bytes([byte]) + CONTENT[at + 1 :]
    try:
        manifest = parse_manifest(content)
    except BundleError as error:
        assert error.file.startswith("manifest.json")
    else:
        assert parse_manifest(encode_manifest(manifest)) == manifest


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def _paths(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths to all values inside a JSON value."""
    items: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    found = [path] if path else []
    for key, item in items:
        found += _paths(item, (*path, key))
    return found


@given(st.sampled_from(_paths(document())), _json)
@example(("metrics", "accuracy"), 10**400)
@example(("data", "rows"), 10**400)
@example(("files", "model.ubj"), "\ud800")
def test_any_value_anywhere_raises_nothing_but_bundle_errors(
    path: tuple[str | int, ...], value: object
) -> None:
    """Whatever JSON stands in a field, the parser takes it or says what is wrong with it."""
    fields = document()
    setting(*path, to=value)(fields)
    try:
        parse_manifest(json.dumps(fields).encode())
    except BundleError as error:
        assert str(error).startswith("manifest.json")


@given(st.binary(max_size=200))
def test_any_bytes_raise_nothing_but_bundle_errors(content: bytes) -> None:
    """Bytes that were never a manifest are refused as such."""
    with pytest.raises(BundleError):
        parse_manifest(content)


# --- small functions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("category", "words"),
    [("red", "text"), (1, "number"), (1.5, "number"), (True, "boolean")],
)
def test_category_type_is_what_a_request_has_to_use(category: Scalar, words: str) -> None:
    """A boolean is no number, although Python thinks so."""
    assert category_type(category) == words


def test_categories_of_a_good_feature_pass() -> None:
    """A check that always raised would be noticed here."""
    check_categories(MANIFEST.features[1], "features[1]")
    check_categories(MANIFEST.features[1]._replace(categories=(1, 2.5)), "features[1]")


def test_version_is_written_with_dots() -> None:
    """Tuples are for comparing, dotted text is for reading."""
    assert dotted((3, 2, 0)) == "3.2.0"
