"""Requests straight into the float32 matrix, where the C extension `model._rows` is installed.

It reads only what is beyond doubt, and gives the matrix that `FeatureEncoder` would give. All other
requests, and all where no compiler was there to build it, take the general path.
"""

import json
from array import array
from collections.abc import Mapping, Sequence
from types import ModuleType

from model.features import Matrix
from model.manifest import Feature, Policy, Scalar, category_type

_rows: ModuleType | None
try:
    from model import _rows
except ImportError:
    _rows = None

_EXACT_MAX = 2**53
"""Up to here each whole number is a float64."""

_NO_ROW = frozenset({"records", "body", "columns", "data", "op", "requestContext"})
"""Fields by which an event is not one row, or might not be.

Source: docs/requests.md, 1.5, 4.1, 9.1.
"""

_Column = tuple[bytes | None, int, tuple[bytes | float | None, ...]]


Fields = Mapping[str, Scalar | None]
"""What stands beside the rows: `id`, `replyTo`, `deadlineMs`, `topK`, `threshold`; not checked."""


class RowScanner:
    """Reads the plain requests of one model; safe to use from several threads."""

    def __init__(
        self, extension: ModuleType, columns: tuple[_Column, ...], **options: bool
    ) -> None:
        self._scan = extension.Scanner(columns, **options).scan

    def scan(self, event: bytes, max_rows: int) -> tuple[Matrix, Fields | None] | None:
        """The request in a JSON text; None where the general path has to read it.

        Args:
            event: the text in UTF-8.
            max_rows: a request of more is none of those that are read here.

        Returns:
            The rows, one at least, and what stands beside them (None where nothing does).
        """
        found = self._scan(event, max_rows)
        if found is None:
            return None
        values, n_rows, fields = found
        return Matrix(array("f", values), n_rows), fields


def make_scanner(features: Sequence[Feature], *, absent_field: Policy) -> RowScanner | None:
    """The scanner of a model's requests; None where the extension is not installed."""
    if _rows is None:
        return None
    return RowScanner(
        _rows,
        tuple(_column(feature, _rows) for feature in features),
        absent_is_missing=absent_field == "missing",
        takes_one_row=_NO_ROW.isdisjoint(feature.name for feature in features),
    )


def write_numbers(numbers: list[float] | list[list[float]]) -> str:
    """The compact JSON text of finite float64 values, or of lists of them.

    Each has the fewest digits that give it back, as `json.dumps` writes it.

    Raises:
        ValueError: one of them is a NaN or an infinity.
    """
    if _rows is None:
        return json.dumps(numbers, allow_nan=False, separators=(",", ":"))
    text: str = _rows.write_numbers(numbers)
    return text


def _column(feature: Feature, extension: ModuleType) -> _Column:
    name = _encode(feature.name)
    if feature.kind == "bool":
        return name, extension.BOOLEAN, ()
    if feature.kind != "categorical":
        return name, extension.NUMBER, ()
    categories = feature.categories
    match category_type(categories[0]):
        case "text":
            return name, extension.TEXTS, tuple(_encode(str(it)) for it in categories)
        case "boolean":
            return name, extension.BOOLEANS, tuple(bool(it) for it in categories)
        case _:
            numbers = tuple(number for number in categories if not isinstance(number, str))
            if any(abs(number) > _EXACT_MAX for number in numbers):
                # Two of them could be one float64; such a column is never read here.
                return None, extension.NUMBERS, ()
            return name, extension.NUMBERS, numbers


def _encode(text: str) -> bytes | None:
    try:
        return text.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can write
        return None
