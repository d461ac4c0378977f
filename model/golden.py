"""Golden rows: what the notebook's model predicted, and whether a prediction is the same."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence

from model.errors import BundleFormatError, describe
from model.manifest import GOLDEN, Scalar, is_finite_number
from model.typed import Any, NamedTuple

RELATIVE_TOLERANCE = 1e-6
"""How far a prediction may be off on another architecture than the one that recorded it."""


class GoldenRow(NamedTuple):
    """One row of the user's data with the original model's answer.

    Attributes:
        row: the features by name, None where missing.
        prediction: what the model's `predict` gave: a number, or a label as the user wrote it.
        probabilities: one for each label, where the model gives them.
        actual: the true value, where it is known.
    """

    row: dict[str, Scalar | None]
    prediction: Scalar
    probabilities: tuple[float, ...] | None = None
    actual: Scalar | None = None


def encode_golden(rows: Iterable[GoldenRow]) -> bytes:
    """The bytes of `golden.jsonl`: one JSON object a line, absent what is None."""
    lines = []
    for row in rows:
        fields: dict[str, object] = {"row": row.row, "prediction": row.prediction}
        if row.probabilities is not None:
            fields["probabilities"] = row.probabilities
        if row.actual is not None:
            fields["actual"] = row.actual
        lines.append(json.dumps(fields, ensure_ascii=False, allow_nan=False))
    return "".join(f"{line}\n" for line in lines).encode()


def parse_golden(content: bytes) -> list[GoldenRow]:
    """The rows in the bytes of `golden.jsonl`.

    Raises:
        BundleFormatError: a line is no golden row, or there is none.
    """
    rows = []
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise BundleFormatError(GOLDEN, f"bytes that are no UTF-8 ({error})", "text") from error
    # JSON text may hold what `splitlines` takes for a line's end.
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, start=1):
        place = f"{GOLDEN}: line {number}"
        try:
            fields = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise BundleFormatError(place, "text that is no JSON", "a JSON object") from error
        if not isinstance(fields, dict) or not isinstance(fields.get("row"), dict):
            raise BundleFormatError(place, describe(fields), "an object with a row")
        rows.append(_to_golden(fields, place))
    if not rows:
        raise BundleFormatError(GOLDEN, "no rows", "one at least")
    return rows


def _to_golden(fields: Mapping[str, Any], place: str) -> GoldenRow:
    prediction, actual = fields.get("prediction"), fields.get("actual")
    if not isinstance(prediction, Scalar):
        observed = f"the prediction {describe(prediction)}"
        raise BundleFormatError(place, observed, "a number or a label")
    if actual is not None and not isinstance(actual, Scalar):
        observed = f"the true value {describe(actual)}"
        raise BundleFormatError(place, observed, "a number or a label")
    values = fields.get("probabilities")
    if values is not None and not (isinstance(values, list) and all(map(is_finite_number, values))):
        observed = f"the probabilities {describe(values)}"
        raise BundleFormatError(place, observed, "a list of numbers")
    probabilities = None if values is None else tuple(values)
    return GoldenRow(
        row=fields["row"], prediction=prediction, probabilities=probabilities, actual=actual
    )


class Difference(NamedTuple):
    """One value that is not as recorded: where, what came, what was recorded."""

    place: str
    observed: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: got {self.observed}, expected {self.expected}"


def describe_equality(*, exact: bool) -> str:
    """In which sense predictions are equal to what was recorded; see `difference`."""
    return "to the last bit" if exact else "within 1e-6 (another architecture)"


def differences(
    golden: Sequence[GoldenRow],
    predictions: Sequence[object],
    probabilities: Sequence[Sequence[object]] | None,
    *,
    exact: bool,
) -> list[Difference]:
    """The first difference of each row that is not as recorded; see `difference`.

    Args:
        golden: n golden rows.
        predictions: `(n,)` of the model under test.
        probabilities: `(n, n_labels)` likewise; None where it gave none.
        exact: whether every bit counts.
    """
    rows = zip(golden, predictions, probabilities or [()] * len(golden), strict=True)
    found = (
        difference(row, prediction, values, exact=exact, place=f"row {i}")
        for i, (row, prediction, values) in enumerate(rows)
    )
    return [difference for difference in found if difference]


def difference(
    expected: GoldenRow,
    prediction: object,
    probabilities: Sequence[object] | None,
    *,
    exact: bool,
    place: str,
) -> Difference | None:
    """What is not the same as recorded; None where all is.

    Args:
        expected: the golden row.
        prediction: what the model under test gave.
        probabilities: likewise; None where it gave none.
        exact: whether every bit counts (the recording architecture), or `RELATIVE_TOLERANCE`.
        place: the row's own place, for the text.
    """
    if not _same(expected.prediction, prediction, exact=exact):
        return Difference(
            f"{place}.prediction", describe(prediction), describe(expected.prediction)
        )
    wanted = expected.probabilities or ()
    found = probabilities or ()
    if len(found) != len(wanted):
        return Difference(f"{place}.probabilities", f"{len(found)} values", str(len(wanted)))
    for i, pair in enumerate(zip(wanted, found, strict=True)):
        if not _same(*pair, exact=exact):
            return Difference(f"{place}.probabilities[{i}]", describe(pair[1]), describe(pair[0]))
    return None


def _same(wanted: object, got: object, *, exact: bool) -> bool:
    if type(wanted) is float and type(got) is float and not exact:
        return math.isclose(wanted, got, rel_tol=RELATIVE_TOLERANCE, abs_tol=RELATIVE_TOLERANCE**2)
    return type(wanted) is type(got) and wanted == got
