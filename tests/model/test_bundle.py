import hashlib
import json
import math
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from model.bundle import Bundle, check_replay, open_bundle
from model.errors import (
    BundleChecksumError,
    BundleError,
    BundleFormatError,
    BundleMismatchError,
    BundleVersionError,
    InputError,
)
from model.features import Table
from model.golden import encode_golden, parse_golden
from tests.conftest import (
    ANSWERS,
    BUNDLE_FILES,
    CULTIVARS,
    DIAGNOSES,
    Packed,
    Row,
    bits,
    change_manifest,
    copy_bundle,
    in_memory,
    replace_file,
    with_golden,
    without_forest,
)

NAMES = ["multiclass", "binary", "regression", "mixed"]


@pytest.fixture(params=NAMES)
def packed(request: pytest.FixtureRequest) -> Packed:
    """Each of the bundles in turn."""
    found: Packed = request.getfixturevalue(request.param)
    return found


def assert_same(bundle: Bundle, packed: Packed, rows: Any) -> None:
    """All sample rows, as `rows` has them, are predicted as by the object in memory."""
    predictions, probabilities = in_memory(packed, packed.frame)
    found = bundle.predict(rows)
    if probabilities is None:
        assert found.probabilities is None
        assert bits(found.predictions) == bits(predictions)
    else:
        assert found.probabilities is not None
        assert found.predictions == predictions
        assert bits(found.probabilities) == bits(probabilities)


# --- predictions ----------------------------------------------------------------------------------


def test_batch_equals_the_object_in_memory_to_the_last_bit(packed: Packed) -> None:
    """What the notebook predicted is what the bundle predicts."""
    assert_same(packed.bundle, packed, packed.rows)


def test_columns_in_another_order_change_nothing(packed: Packed) -> None:
    """Columns are matched by name, in records and in the split form (requests 1.2)."""
    turned = [dict(reversed(row.items())) for row in packed.rows]
    assert_same(packed.bundle, packed, turned)
    names = sorted(packed.rows[0], key=lambda name: name[::-1])
    table = Table(names, [[row[name] for name in names] for row in packed.rows])
    assert_same(packed.bundle, packed, table)


def test_row_alone_equals_its_place_in_the_batch(packed: Packed) -> None:
    """One row or many, the bits are the same."""
    together = packed.bundle.predict(packed.rows)
    for i, row in enumerate(packed.rows):
        alone = packed.bundle.predict([row])
        assert alone.predictions == together.predictions[i : i + 1]
        if together.probabilities is not None:
            assert alone.probabilities is not None
            assert bits(alone.probabilities) == bits(together.probabilities[i : i + 1])


def test_rows_through_json_text_lose_no_bit(packed: Packed) -> None:
    """What a request writes as text arrives as the same float32."""
    assert_same(packed.bundle, packed, json.loads(json.dumps(packed.rows)))


def test_probabilities_survive_json_text(packed: Packed) -> None:
    """What a reply writes as text is the same number to its reader."""
    found = packed.bundle.predict(packed.rows)
    answers = found.probabilities or found.predictions
    assert json.loads(json.dumps(answers)) == answers


@pytest.mark.parametrize(
    ("name", "labels"),
    [("multiclass", CULTIVARS), ("binary", DIAGNOSES), ("mixed", ANSWERS)],
)
def test_predictions_of_a_classifier_are_the_users_labels(
    name: str, labels: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """Every label occurs, as it was written; each is the likeliest of its row."""
    bundle = request.getfixturevalue(name).bundle
    found = bundle.predict(request.getfixturevalue(name).rows)
    assert set(found.predictions) == set(labels)
    for said, row in zip(found.predictions, found.probabilities, strict=True):
        assert said == labels[row.index(max(row))]


def test_predictions_of_a_regression_are_floats(regression: Packed) -> None:
    """A number is a Python float, which JSON can hold."""
    found = regression.bundle.predict(regression.rows[:2])
    assert found.probabilities is None
    assert [type(value) for value in found.predictions] == [float, float]


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_second_label_is_said_above_the_threshold(binary: Packed, threshold: float) -> None:
    """Strictly above it, as XGBoost has it with 0.5 (requests 2.1)."""
    found = binary.bundle.predict(binary.rows, threshold)
    assert found.probabilities is not None
    wanted = [DIAGNOSES[pair[1] > threshold] for pair in found.probabilities]
    assert found.predictions == wanted


def test_probability_at_the_threshold_says_the_first_label(binary: Packed) -> None:
    """A tie goes to the first label."""
    row = binary.rows[0]
    found = binary.bundle.predict([row])
    assert found.probabilities is not None
    at = found.probabilities[0][1]
    assert binary.bundle.predict([row], at).predictions == [DIAGNOSES[0]]
    below = math.nextafter(at, 0)
    assert binary.bundle.predict([row], below).predictions == [DIAGNOSES[1]]


def test_equal_probabilities_say_the_first_label(multiclass: Packed) -> None:
    """As numpy's argmax has it."""

    class Undecided:
        n_outputs = 3

        def predict(self, matrix: "array[float]", n_rows: int) -> list[float]:
            return [0.25, 0.375, 0.375]

        def close(self) -> None:
            pass

    bundle = Bundle(multiclass.manifest, "digest", list, Undecided())
    assert bundle.predict(multiclass.rows[:1]).predictions == ["grignolino"]


@pytest.mark.parametrize("output", [math.nan, math.inf, -math.inf])
def test_output_that_json_cannot_hold_is_an_error(regression: Packed, output: float) -> None:
    """An engine that overflows is not passed on as if it had predicted."""

    class Overflowing:
        n_outputs = 1

        def predict(self, matrix: "array[float]", n_rows: int) -> list[float]:
            return [1.0, output]

        def close(self) -> None:
            pass

    bundle = Bundle(regression.manifest, "digest", list, Overflowing())
    with pytest.raises(ArithmeticError) as caught:
        bundle.predict(regression.rows[:2])
    text = "the model's output: got a NaN or infinity, expected numbers"
    assert str(caught.value) == text


def test_wrong_rows_are_an_input_error(mixed: Packed) -> None:
    """The encoder's refusal comes through as it is."""
    with pytest.raises(InputError) as caught:
        mixed.bundle.predict([{**mixed.rows[0], "size": "big"}])
    assert str(caught.value) == "records[0].size: got 'big', expected a number or null"


def test_eight_threads_at_once_get_the_same_bits(mixed: Packed) -> None:
    """One bundle serves several threads."""
    wanted = mixed.bundle.predict(mixed.rows)

    def predict(_: int) -> bool:
        return mixed.bundle.predict(mixed.rows) == wanted

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(predict, range(200)))


# --- properties -----------------------------------------------------------------------------------

_ROW = st.fixed_dictionaries(
    {
        "colour": st.sampled_from(["red", "green", "blue", None]),
        "grade": st.sampled_from([10, 20, 30, None]),
        "active": st.sampled_from([True, False, None]),
        "count": st.none() | st.integers(-100, 100),
        "size": st.none() | st.floats(-3e38, 3e38),
    }
)
_ROWS = st.lists(_ROW, min_size=1, max_size=8)


@given(rows=_ROWS, seed=st.randoms(use_true_random=False))
def test_order_of_rows_never_matters(mixed: Packed, rows: list[Row], seed: Any) -> None:
    """Rows in another order give the same predictions in that order."""
    order = list(range(len(rows)))
    seed.shuffle(order)
    straight = mixed.bundle.predict(rows)
    turned = mixed.bundle.predict([rows[i] for i in order])
    assert straight.probabilities is not None
    assert turned.predictions == [straight.predictions[i] for i in order]
    assert bits(turned.probabilities) == bits([straight.probabilities[i] for i in order])


@given(rows=_ROWS)
def test_batch_always_equals_its_single_rows(mixed: Packed, rows: list[Row]) -> None:
    """No row influences another."""
    together = mixed.bundle.predict(rows)
    alone = [mixed.bundle.predict([row]) for row in rows]
    assert together.predictions == [single.predictions[0] for single in alone]
    assert bits(together.probabilities) == bits([single.probabilities for single in alone])


@given(rows=_ROWS, order=st.permutations(["colour", "grade", "active", "count", "size"]))
def test_order_of_columns_never_matters(mixed: Packed, rows: list[Row], order: list[str]) -> None:
    """Any order of fields, and the split form, give the same bits."""
    wanted = mixed.bundle.predict(rows)
    assert mixed.bundle.predict([{name: row[name] for name in order} for row in rows]) == wanted
    assert mixed.bundle.predict(Table(order, [[row[n] for n in order] for row in rows])) == wanted


@given(rows=_ROWS)
def test_absent_equals_null_under_the_missing_policy(lenient: Packed, rows: list[Row]) -> None:
    """Leaving a field out is then the same as null (bundle 2.1, `absent_field`)."""
    bare = [{name: value for name, value in row.items() if value is not None} for row in rows]
    assert lenient.bundle.predict(bare) == lenient.bundle.predict(rows)


@given(row=_ROW, name=st.sampled_from(["colour", "grade", "active", "count", "size"]))
def test_absent_is_a_missing_feature_under_the_error_policy(
    mixed: Packed, row: Row, name: str
) -> None:
    """The field that is left out is the one that is named."""
    bare = {key: value for key, value in row.items() if key != name}
    with pytest.raises(InputError) as caught:
        mixed.bundle.predict([bare])
    assert (caught.value.code, caught.value.total) == ("missing_feature", 1)
    assert caught.value.faults[0].place == f"records[0].{name}"


@given(
    row=_ROW, colour=st.text(max_size=6).filter(lambda text: text not in {"red", "green", "blue"})
)
def test_unknown_category_follows_the_policy(
    mixed: Packed, lenient: Packed, row: Row, colour: str
) -> None:
    """Refused, or the same as null: the manifest decides (bundle 2.1, `unknown_category`)."""
    strange, missing = {**row, "colour": colour}, {**row, "colour": None}
    assert lenient.bundle.predict([strange]) == lenient.bundle.predict([missing])
    with pytest.raises(InputError) as caught:
        mixed.bundle.predict([strange])
    assert (caught.value.code, caught.value.total) == ("unknown_category", 1)


# --- opening --------------------------------------------------------------------------------------


def test_opened_bundle_knows_its_manifest_digest_and_golden_rows(multiclass: Packed) -> None:
    """The digest of the manifest names the whole bundle (bundle 1.2)."""
    bundle = multiclass.bundle
    content = (multiclass.directory / "manifest.json").read_bytes()
    assert bundle.digest == hashlib.sha256(content).hexdigest()
    assert (bundle.manifest.name, bundle.manifest.version) == ("wine", "1.2.3")
    assert list(bundle.golden) == parse_golden((multiclass.directory / "golden.jsonl").read_bytes())


def test_other_files_in_the_directory_are_ignored(regression: Packed, tmp_path: Path) -> None:
    """A note beside the bundle does no harm (bundle 1.1)."""
    directory = copy_bundle(regression, tmp_path)
    (directory / "NOTES.txt").write_text("x")
    open_bundle(directory).close()


def test_number_of_threads_changes_no_bit(mixed: Packed) -> None:
    """A device with two cores answers as one with one."""
    threaded = open_bundle(mixed.directory, n_threads=2)
    assert threaded.predict(mixed.rows) == mixed.bundle.predict(mixed.rows)
    threaded.close()


def refusal(directory: Path, kind: type[BundleError]) -> BundleError:
    """The error with which a directory is refused; of exactly this kind."""
    with pytest.raises(BundleError) as caught:
        open_bundle(directory)
    assert type(caught.value) is kind
    return caught.value


def test_absent_directory_is_refused(tmp_path: Path) -> None:
    """The text tells that not even the directory is there."""
    error = refusal(tmp_path / "nowhere", BundleFormatError)
    assert str(error) == (
        f"{tmp_path}/nowhere/manifest.json: got no such directory, expected a bundle's file"
    )


FORMAT_1 = Path(__file__).parents[1] / "data" / "bundles" / "format-1"
FOREST = pytest.param("model.forest", marks=pytest.mark.kernel)
"""A file that only a bundle packed with the kernel has."""
FILES = ["manifest.json", "model.ubj", FOREST, "golden.jsonl"]


@pytest.mark.parametrize("name", FILES)
def test_missing_file_is_refused(multiclass: Packed, tmp_path: Path, name: str) -> None:
    """Each file of the bundle is needed."""
    directory = copy_bundle(multiclass, tmp_path)
    (directory / name).unlink()
    error = refusal(directory, BundleFormatError)
    assert str(error) == f"{directory}/{name}: got no such file, expected a bundle's file"


@pytest.mark.parametrize("name", FILES)
def test_directory_in_place_of_a_file_is_refused(
    multiclass: Packed, tmp_path: Path, name: str
) -> None:
    """What the system says about a file is passed on."""
    directory = copy_bundle(multiclass, tmp_path)
    (directory / name).unlink()
    (directory / name).mkdir()
    error = refusal(directory, BundleFormatError)
    assert str(error) == f"{directory}/{name}: got Is a directory, expected a readable file"


_CUTS: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda content: b"",
    "first byte alone": lambda content: content[:1],
    "half": lambda content: content[: len(content) // 2],
    "last byte lost": lambda content: content[:-1],
    "one byte more": lambda content: content + b"\0",
}


@pytest.mark.parametrize("cut", _CUTS)
@pytest.mark.parametrize("name", ["model.ubj", FOREST, "golden.jsonl"])
def test_file_of_another_length_is_refused(
    multiclass: Packed, tmp_path: Path, name: str, cut: str
) -> None:
    """The checksum is compared before the file is parsed."""
    directory = copy_bundle(multiclass, tmp_path)
    path = directory / name
    recorded = multiclass.manifest.files[name]
    path.write_bytes(_CUTS[cut](path.read_bytes()))
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    error = refusal(directory, BundleChecksumError)
    assert str(error) == (
        f"{name}: got {path.stat().st_size} bytes with sha256 {found[:12]}…, "
        f"expected sha256 {recorded[:12]}…, as in the manifest"
    )


@pytest.mark.parametrize("cut", ["emptied", "first byte alone", "half"])
def test_truncated_manifest_is_refused(multiclass: Packed, tmp_path: Path, cut: str) -> None:
    """No part of a manifest is a manifest."""
    path = copy_bundle(multiclass, tmp_path) / "manifest.json"
    path.write_bytes(_CUTS[cut](path.read_bytes()))
    error = refusal(path.parent, BundleFormatError)
    assert error.file == "manifest.json"
    assert error.observed.startswith("text that is no JSON (")
    assert error.expected == "a JSON object"


@pytest.mark.parametrize("part", range(10))
@pytest.mark.parametrize("name", ["model.ubj", FOREST, "golden.jsonl"])
def test_flipped_byte_anywhere_in_a_file_is_refused(
    multiclass: Packed, tmp_path: Path, name: str, part: int
) -> None:
    """Every tenth of a file is covered by its checksum, first and last byte included."""
    path = copy_bundle(multiclass, tmp_path) / name
    content = bytearray(path.read_bytes())
    content[part * (len(content) - 1) // 9] ^= 0x01
    path.write_bytes(content)
    error = refusal(path.parent, BundleChecksumError)
    assert error.file == name


@pytest.mark.parametrize("part", range(100))
def test_flipped_byte_anywhere_in_the_manifest_raises_nothing_but_bundle_errors(
    mixed: Packed, tmp_path: Path, part: int
) -> None:
    """A flip is refused with the file's name, or hit what nothing can check, such as a date."""
    path = copy_bundle(mixed, tmp_path) / "manifest.json"
    content = bytearray(path.read_bytes())
    at = part * (len(content) - 1) // 99
    content[at] ^= 0x01
    path.write_bytes(content)
    try:
        bundle = open_bundle(path.parent)
    except BundleError as error:
        names = {"manifest.json", *BUNDLE_FILES}
        assert error.file.split(":")[0] in names or error.file.startswith(str(path.parent))
    else:
        changed = bundle.manifest
        assert changed.features[0].name == mixed.manifest.features[0].name
        assert changed.files == mixed.manifest.files
        assert changed.objective == "binary:logistic"
        # XGBoost would serve another range of trees; the gate is there for that.
        assert changed.tree_range == (0, 6) or bundle.replay()
        bundle.close()


def _renamed(fields: dict[str, Any]) -> None:
    fields["features"][1]["name"] = "malic"


def _reordered(fields: dict[str, Any]) -> None:
    fields["features"][:2] = reversed(fields["features"][:2])


def _feature_lost(fields: dict[str, Any]) -> None:
    fields["features"].pop()


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        pytest.param(
            _renamed,
            BundleMismatchError,
            "model.ubj: features: got 'malic_acid' at place 1, "
            "expected 'malic', as in the manifest",
            id="feature renamed",
        ),
        pytest.param(
            _reordered,
            BundleMismatchError,
            "model.ubj: features: got 'alcohol' at place 0, "
            "expected 'malic_acid', as in the manifest",
            id="features reordered",
        ),
        pytest.param(
            _feature_lost,
            BundleMismatchError,
            "model.ubj: features: got 13, expected 12, as in the manifest",
            id="feature lost",
        ),
        pytest.param(
            lambda fields: fields["labels"].pop(),
            BundleMismatchError,
            "model.ubj: classes: got 3, expected 2, as in the manifest",
            id="label removed",
        ),
        pytest.param(
            lambda fields: fields.update(format=3),
            BundleVersionError,
            "manifest.json: got bundle format 3, "
            "expected at most 2: update the component before this model",
            id="newer format",
        ),
        pytest.param(
            lambda fields: fields.update(xgboost_version=[99, 0, 0]),
            BundleVersionError,
            "manifest.json: xgboost_version: got a model written by XGBoost 99.0.0, "
            "expected at most {version}, the version installed here",
            id="newer XGBoost",
        ),
        pytest.param(
            lambda fields: fields.update(objective="multi:softmax"),
            BundleMismatchError,
            "model.ubj: objective: got 'multi:softprob', "
            "expected 'multi:softmax', as in the manifest",
            id="objective changed",
        ),
        pytest.param(
            lambda fields: fields.update(tree_range=[0, 5]),
            BundleMismatchError,
            "model.ubj: boosting rounds: got 4, expected 5 at least, as in the manifest",
            id="tree range beyond the model",
        ),
        pytest.param(
            lambda fields: fields["files"].update({"extra.bin": "0" * 64}),
            BundleFormatError,
            "{directory}/extra.bin: got no such file, expected a bundle's file",
            id="file named that is not there",
        ),
        pytest.param(
            lambda fields: fields.update(task="binary", labels=["a", "b"]),
            BundleMismatchError,
            "model.ubj: classes: got 3, expected 0, as in the manifest",
            id="task changed",
        ),
    ],
)
def test_manifest_that_contradicts_the_model_is_refused(
    multiclass: Packed,
    tmp_path: Path,
    change: Callable[[dict[str, Any]], object],
    kind: type[BundleError],
    text: str,
) -> None:
    """Well-formed but wrong: the text names the file and what does not fit (bundle 4.1)."""
    directory = without_forest(copy_bundle(multiclass, tmp_path))
    change_manifest(directory, change)
    version = ".".join(map(str, multiclass.manifest.xgboost_version))
    wanted = text.format(directory=directory, version=version)
    assert str(refusal(directory, kind)) == wanted


@pytest.mark.kernel
@pytest.mark.parametrize(
    ("change", "text"),
    [
        pytest.param(
            _renamed,
            "features: got 'malic_acid' at place 1, expected 'malic', as in the manifest",
            id="feature renamed",
        ),
        pytest.param(
            _feature_lost, "features: got 13, expected 12, as in the manifest", id="feature lost"
        ),
        pytest.param(
            lambda fields: fields.update(objective="multi:softmax"),
            "objective: got 'multi:softprob', expected 'multi:softmax', as in the manifest",
            id="objective changed",
        ),
        pytest.param(
            lambda fields: fields.update(tree_range=[0, 5]),
            "boosting rounds: got 0 to 4, expected 0 to 5, as in the manifest",
            id="tree range beyond the model",
        ),
    ],
)
def test_manifest_that_contradicts_the_forest_is_refused(
    multiclass: Packed, tmp_path: Path, change: Callable[[dict[str, Any]], object], text: str
) -> None:
    """The kernel's file is audited as XGBoost's is."""
    directory = copy_bundle(multiclass, tmp_path)
    change_manifest(directory, change)
    assert str(refusal(directory, BundleMismatchError)) == f"model.forest: {text}"


def test_bundle_of_format_1_is_opened() -> None:
    """Devices in the field hold such bundles; XGBoost serves them (bundle 5.1)."""
    with closing(open_bundle(FORMAT_1)) as bundle:
        assert bundle.manifest.format == 1
        assert bundle.manifest.forest.refusal == "the bundle is of format 1"
        check_replay(bundle)


@pytest.mark.parametrize("name", ["a\x00b", "\ud800", "x" * 300])
def test_file_name_that_no_file_can_have_is_refused(
    regression: Packed, tmp_path: Path, name: str
) -> None:
    """The file system's own exceptions stay inside."""
    directory = copy_bundle(regression, tmp_path)
    change_manifest(directory, lambda fields: fields["files"].update({name: "0" * 64}))
    refusal(directory, BundleFormatError)


def test_model_of_another_bundle_is_refused(
    multiclass: Packed, regression: Packed, tmp_path: Path
) -> None:
    """Also where somebody updated the checksum."""
    directory = without_forest(copy_bundle(multiclass, tmp_path))
    replace_file(directory, "model.ubj", regression.model)
    error = refusal(directory, BundleMismatchError)
    assert str(error) == "model.ubj: features: got 10, expected 13, as in the manifest"


# --- mutations ------------------------------------------------------------------------------------

_mutation = st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 4))
"""Where (as a share of the length), what is written there, and how many bytes it takes away."""


def mutate(content: bytes, mutation: tuple[float, bytes, int]) -> bytes:
    share, insert, removed = mutation
    at = int(share * len(content))
    return content[:at] + insert + content[at + removed :]


def open_and_replay(directory: Path) -> None:
    """What the component does before it says that it is ready."""
    bundle = open_bundle(directory)
    try:
        check_replay(bundle)
    finally:
        bundle.close()


@pytest.fixture(scope="module")
def scratch(mixed: Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that a property test may write over and over."""
    return copy_bundle(mixed, tmp_path_factory.mktemp("scratch"))


@given(mutation=_mutation)
def test_mutated_manifest_raises_nothing_but_bundle_errors(
    mixed: Packed, scratch: Path, mutation: tuple[float, bytes, int]
) -> None:
    """Bytes lost, added or changed anywhere: refused, or harmless down to the golden rows."""
    content = (mixed.directory / "manifest.json").read_bytes()
    (scratch / "golden.jsonl").write_bytes((mixed.directory / "golden.jsonl").read_bytes())
    (scratch / "manifest.json").write_bytes(mutate(content, mutation))
    try:
        open_and_replay(scratch)
    except BundleError as error:
        assert error.file


@given(mutation=_mutation)
@example(mutation=(0.0, b'{"row": {"size": NaN}, "prediction": "yes"}\n', 0))
@example(mutation=(0.0, b'{"row": {"size": 1}, "prediction": "yes"}\n', 0))
@example(mutation=(0.0, b'{"row": {}, "prediction": 1, "probabilities": 5}\n', 0))
def test_mutated_golden_rows_raise_nothing_but_bundle_errors(
    mixed: Packed, scratch: Path, mutation: tuple[float, bytes, int]
) -> None:
    """A golden row that cannot even be predicted is a mismatch of the bundle too."""
    for name in BUNDLE_FILES:
        (scratch / name).write_bytes((mixed.directory / name).read_bytes())
    content = (mixed.directory / "golden.jsonl").read_bytes()
    replace_file(scratch, "golden.jsonl", mutate(content, mutation))
    try:
        open_and_replay(scratch)
    except BundleError as error:
        assert error.file.startswith("golden.jsonl")


# --- golden rows ----------------------------------------------------------------------------------


def test_golden_rows_replay_without_a_difference(packed: Packed) -> None:
    """A good bundle keeps its promises on the machine that made them (bundle 4.2)."""
    assert packed.bundle.is_exact
    assert packed.bundle.replay() == []
    check_replay(packed.bundle)


def test_prediction_that_is_not_as_recorded_is_named(regression: Packed, tmp_path: Path) -> None:
    """The first difference is shown, to the last bit, and all are counted."""
    recorded = [row.prediction for row in regression.bundle.golden]
    assert isinstance(recorded[3], float)
    moved = math.nextafter(recorded[3], math.inf)

    def change(rows: list[Any]) -> None:
        rows[3] = rows[3]._replace(prediction=moved)
        rows[5] = rows[5]._replace(prediction=0.0)

    bundle = open_bundle(with_golden(regression, tmp_path, change))
    assert [found.place for found in bundle.replay()] == ["row 3.prediction", "row 5.prediction"]
    with pytest.raises(BundleMismatchError) as caught:
        check_replay(bundle)
    assert str(caught.value) == (
        f"golden.jsonl: row 3.prediction: got {recorded[3]}, expected {moved} "
        f"(2 of {len(recorded)} golden rows differ)"
    )
    bundle.close()


def test_probability_that_is_not_as_recorded_is_named(binary: Packed, tmp_path: Path) -> None:
    """A label may stay the same while its probability moved."""
    recorded = binary.bundle.golden[0]
    assert recorded.probabilities is not None
    first, second = recorded.probabilities
    moved = (first, math.nextafter(second, 2))

    def change(rows: list[Any]) -> None:
        rows[0] = rows[0]._replace(probabilities=moved)

    bundle = open_bundle(with_golden(binary, tmp_path, change))
    assert [str(found) for found in bundle.replay()] == [
        f"row 0.probabilities[1]: got {second}, expected {moved[1]}"
    ]
    bundle.close()


def test_other_architecture_replays_within_the_tolerance(
    regression: Packed, tmp_path: Path
) -> None:
    """There a last bit is no difference, but a wrong number is (bundle 4.2)."""
    recorded = regression.bundle.golden[3].prediction
    assert isinstance(recorded, float)

    def change(rows: list[Any]) -> None:
        rows[3] = rows[3]._replace(prediction=recorded * (1 + 5e-7))
        rows[5] = rows[5]._replace(prediction=recorded * 2)

    directory = copy_bundle(regression, tmp_path)
    rows = list(regression.bundle.golden)
    change(rows)
    replace_file(directory, "golden.jsonl", encode_golden(rows))
    change_manifest(directory, lambda fields: fields.update(machine="another"))
    bundle = open_bundle(directory)
    assert not bundle.is_exact
    assert [found.place for found in bundle.replay()] == ["row 5.prediction"]
    bundle.close()


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ({"size": 1}, "missing_feature"),
        ({"size": "big"}, "not_a_number"),
        ({"x": 1}, "unknown_feature"),
    ],
)
def test_golden_row_that_the_model_does_not_take_is_a_mismatch(
    mixed: Packed, tmp_path: Path, row: Row, text: str
) -> None:
    """A bundle whose own rows are refused is broken; the caller of `check_replay` sees no other."""

    def change(rows: list[Any]) -> None:
        whole = row if text == "missing_feature" else {**mixed.rows[0], **row}
        rows[0] = rows[0]._replace(row=whole)

    bundle = open_bundle(with_golden(mixed, tmp_path, change))
    with pytest.raises(BundleMismatchError) as caught:
        check_replay(bundle)
    assert caught.value.file.startswith("golden.jsonl")
    bundle.close()


# --- without the audit ----------------------------------------------------------------------------


def test_unaudited_bundle_reads_golden_rows_when_asked_and_checks_them_then(
    regression: Packed, tmp_path: Path
) -> None:
    """A cold start leaves them unread; whoever wants them gets good ones, or an error."""
    directory = copy_bundle(regression, tmp_path)
    assert open_bundle(directory, audit=False).golden == regression.bundle.golden
    with (directory / "golden.jsonl").open("ab") as file:
        file.write(b" ")
    bundle = open_bundle(directory, audit=False)
    with pytest.raises(BundleChecksumError, match=r"golden\.jsonl: got .* bytes with sha256"):
        _ = bundle.golden
    with pytest.raises(BundleChecksumError, match=r"golden\.jsonl: got .* bytes with sha256"):
        open_bundle(directory)


def test_unaudited_bundle_without_a_forest_still_compares_the_model(
    regression: Packed, tmp_path: Path
) -> None:
    """Whatever is read is compared: here the file that XGBoost is about to load."""
    directory = without_forest(copy_bundle(regression, tmp_path))
    with (directory / "model.ubj").open("ab") as file:
        file.write(b" ")
    with pytest.raises(BundleChecksumError, match=r"model\.ubj: got"):
        open_bundle(directory, audit=False)


@pytest.mark.kernel
@pytest.mark.parametrize("part", range(20))
def test_flipped_byte_anywhere_in_the_forest_is_refused_without_the_audit(
    mixed: Packed, tmp_path: Path, part: int
) -> None:
    """By its CRC-32, or by what its header says."""
    path = copy_bundle(mixed, tmp_path) / "model.forest"
    content = bytearray(path.read_bytes())
    content[part * (len(content) - 1) // 19] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"^model\.forest: "):
        open_bundle(path.parent, audit=False)


@pytest.mark.kernel
def test_forest_of_another_bundle_is_refused_without_the_audit(
    regression: Packed, tmp_path: Path
) -> None:
    """Also one that is intact, and of the same features and rounds: the manifest names the file."""
    directory = copy_bundle(regression, tmp_path)
    change_manifest(directory, lambda fields: fields["forest"].update(crc32="0123abcd"))
    with pytest.raises(BundleMismatchError, match=r"CRC-32 .*, expected 0123abcd, as in the manif"):
        open_bundle(directory, audit=False)
