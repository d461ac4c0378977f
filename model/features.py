"""Records to the float32 matrix that an engine reads, in the manifest's order, checked on the way.

Columns are matched by name. A missing value (JSON null) is NaN in the matrix; nothing else is:
NaN, infinities, and numbers that float32 cannot hold are refused.
"""

import json
import math
import re
from array import array
from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter

from model.errors import MAX_FAULTS, Fault, InputError, describe, input_error, shorten
from model.manifest import Feature, Policy, Scalar, category_type
from model.typed import Any, NamedTuple

FLOAT32_MAX = 3.4028234663852886e38
"""The largest finite float32. Source: IEEE 754 binary32."""

_NUMERIC = frozenset({float, int})
_EXACT_MAX = 2.0**53
"""Up to here each whole number is a float64, and rounding to float32 happens once."""

_NAN = math.nan
_PLAIN = re.compile(r"\w+")
_MAX_NAMES = 8


class Table(NamedTuple):
    """Rows as lists under one list of column names (pandas' *split* form, CSV).

    Attributes:
        columns: the names, as the caller gave them.
        rows: one list of values for each row.
        place: where the rows stand, for error texts.
        columns_place: where the names stand.
        textual: whether the values are cells of text, to be read as their column's kind says; an
            empty one is a missing value.
    """

    columns: Sequence[object]
    rows: Sequence[object]
    place: str = "data"
    columns_place: str = "columns"
    textual: bool = False


class Matrix(NamedTuple):
    """Rows that were encoded already; see `model.rows`.

    Attributes:
        values: `(n_rows * n_features,) float32`, as `FeatureEncoder.encode` gives it.
        n_rows: how many there are, at least 1.
    """

    values: "array[float]"
    n_rows: int


Rows = Sequence[object] | Table | Matrix
"""A list of records (objects) or a `Table`, whose items are checked by `FeatureEncoder`; or a
`Matrix`, which is past that."""


class _Faults:
    """Collects the first `MAX_FAULTS` faults and counts the others."""

    def __init__(self) -> None:
        self._first: list[Fault] = []
        self._total = 0

    @property
    def listing(self) -> bool:
        """Whether a further fault would still be listed, and so is worth describing."""
        return len(self._first) < MAX_FAULTS

    def add(self, code: str, place: str, observed: str, expected: str) -> None:
        self._total += 1
        if self.listing:
            self._first.append(Fault(code, place, observed, expected))

    def check(self) -> None:
        if self._first:
            raise InputError(self._first, self._total)


class _Column(NamedTuple):
    """How one feature's values become float32."""

    name: str
    convert: Callable[[object], float | None]
    parse: Callable[[str], object]
    code: str
    expected: str


class FeatureEncoder:
    """Turns rows into the matrix of one model."""

    def __init__(
        self, features: Sequence[Feature], *, absent_field: Policy, unknown_category: Policy
    ) -> None:
        self._columns = [_column(feature, unknown_category) for feature in features]
        self._names = [feature.name for feature in features]
        self._known = frozenset(self._names)
        self._absent_is_missing = absent_field == "missing"
        self._all_numeric = all(feature.kind in {"float", "int"} for feature in features)
        getter = itemgetter(*self._names)
        # Only read as numbers once every type was seen to be one.
        self._values: Callable[[Mapping[str, Any]], Sequence[float]] = (
            getter if len(self._names) > 1 else lambda record: (getter(record),)
        )

    def encode(self, rows: Rows) -> "array[float]":
        """The matrix of the rows, row after row: `(n_rows * n_features,) float32`.

        Raises:
            InputError: `no_rows`, `malformed_request` (a row is no object), `unknown_feature`,
                `missing_feature`, `not_a_number`, `unknown_category`; all faults of all rows.
        """
        if isinstance(rows, Matrix):
            return rows.values
        if isinstance(rows, Table):
            return self._encode_table(rows)
        return self._encode_records(rows, "records")

    def _encode_table(self, table: Table) -> "array[float]":
        faults = _Faults()
        columns = self._check_columns(table, faults)
        if not table.rows:
            raise input_error("no_rows", table.place, "no rows", "one row at least")
        records: list[object] = []
        by_name = {column.name: column.parse for column in self._columns}
        parsers = [by_name[name] for name in columns]
        for i, row in enumerate(table.rows):
            if isinstance(row, list) and len(row) == len(columns):
                values = [f(v) for f, v in zip(parsers, row, strict=True)] if table.textual else row
                records.append(dict(zip(columns, values, strict=True)))
            else:
                count = f"{len(columns)} values, one for each column"
                observed = f"{len(row)} values" if isinstance(row, list) else describe(row)
                faults.add("malformed_request", f"{table.place}[{i}]", observed, count)
        faults.check()
        return self._encode_records(records, table.place)

    def _check_columns(self, table: Table, faults: _Faults) -> list[str]:
        """The column names, once they are those of the model (raises otherwise)."""
        columns: list[str] = []
        for i, name in enumerate(table.columns):
            place = f"{table.columns_place}[{i}]"
            if not isinstance(name, str):
                faults.add("malformed_request", place, describe(name), "a column's name as text")
            elif name in columns:
                faults.add("malformed_request", place, f"{describe(name)} again", "each name once")
            elif name not in self._known:
                self._add_unknown(faults, place, name, f"the unknown field {describe(name)}")
            else:
                columns.append(name)
        if not self._absent_is_missing:
            for name in self._names:
                if name not in table.columns:
                    observed = f"no column {describe(name)}"
                    faults.add("missing_feature", table.columns_place, observed, "every feature")
        faults.check()
        return columns

    def _encode_records(self, records: Sequence[object], place: str) -> "array[float]":
        if not records:
            raise input_error("no_rows", place, "no rows", "one row at least")
        matrix = array("f")
        faults = _Faults()
        for i, record in enumerate(records):
            if not (self._all_numeric and self._extend_fast(matrix, record)):
                self._extend_checked(matrix, record, f"{place}[{i}]", faults)
        faults.check()
        return matrix

    def _extend_fast(self, matrix: "array[float]", record: object) -> bool:
        """Appends a row of nothing but good numbers; any other is left, and False returned."""
        if type(record) is not dict or len(record) != len(self._names):
            return False
        try:
            values = self._values(record)
        except KeyError:
            return False
        if not _NUMERIC.issuperset(map(type, values)):
            return False
        # A NaN fails the sum; an infinity, or what needs a closer look, fails the bounds.
        if max(values) > _EXACT_MAX or min(values) < -_EXACT_MAX or math.isnan(sum(values)):
            return False
        matrix.extend(values)
        return True

    def _extend_checked(
        self, matrix: "array[float]", record: object, place: str, faults: _Faults
    ) -> None:
        """Appends any row, or adds all that is wrong with it to the faults."""
        if not isinstance(record, dict):
            expected = "an object of feature names and values"
            faults.add("malformed_request", place, describe(record), expected)
            return
        found = 0
        for column in self._columns:
            value = record.get(column.name, _ABSENT)
            if value is _ABSENT:
                if not self._absent_is_missing:
                    where = _field(place, column.name)
                    faults.add("missing_feature", where, "no such field", column.expected)
                matrix.append(_NAN)
                continue
            found += 1
            number = _NAN if value is None else column.convert(value)
            if number is None:
                where = _field(place, column.name)
                faults.add(column.code, where, describe(value), column.expected)
                number = _NAN
            matrix.append(number)
        if found != len(record):
            for name in record:
                if name not in self._known:
                    self._add_unknown(faults, _field(place, name), name)

    def _add_unknown(
        self, faults: _Faults, place: str, name: str, observed: str = "an unknown field"
    ) -> None:
        expected = "a feature of the model"
        if faults.listing:
            # Comparing names is slow; only a fault that will be listed is worth it, or the import.
            import difflib

            close = difflib.get_close_matches(shorten(name), self._names, n=1)
            expected += f" (did you mean {close[0]!r}?)" if close else f" ({self._some_names()})"
        faults.add("unknown_feature", place, observed, expected)

    def _some_names(self) -> str:
        return _listing([repr(name) for name in self._names])


_ABSENT = object()


def _listing(names: Sequence[str]) -> str:
    more = f", … {len(names)} in all" if len(names) > _MAX_NAMES else ""
    return ", ".join(names[:_MAX_NAMES]) + more


def _field(place: str, name: str) -> str:
    """The path of a field: dotted where the name is a plain word, else in brackets."""
    name = shorten(name)
    if _PLAIN.fullmatch(name):
        return f"{place}.{name}"
    return f"{place}[{json.dumps(name, ensure_ascii=False)}]"


def _column(feature: Feature, unknown_category: Policy) -> _Column:
    match feature.kind:
        case "bool":
            expected = "true, false or null"
            return _Column(feature.name, _boolean, _parse_boolean, "not_a_number", expected)
        case "categorical":
            names = _listing([describe(category) for category in feature.categories])
            return _Column(
                feature.name,
                _category_converter(feature.categories, unknown_category),
                _category_parser(feature.categories),
                "unknown_category",
                f"one of {names}, or null",
            )
        case "float" | "int":
            expected = "a number or null"
            return _Column(feature.name, _number, _parse_number_cell, "not_a_number", expected)


def _number(value: object) -> float | None:
    # `bool` is an `int` to Python; to a caller it is not a number.
    if type(value) is float and -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return value
    if type(value) is int and -FLOAT32_MAX <= value <= FLOAT32_MAX:
        return _rounded_once(value)
    return None


def _rounded_once(value: int) -> float:
    """A float64 that rounds to the same float32 as the whole number itself does.

    Through the nearest float64 it would be rounded twice. Kept are 26 bits and whether there were
    more: enough to round 24 of them correctly.
    """
    dropped = abs(value).bit_length() - 26
    if dropped <= 53 - 26:
        return float(value)
    kept = abs(value) >> dropped
    kept |= (kept << dropped) != abs(value)
    return math.copysign(float(kept << dropped), value)


def _boolean(value: object) -> float | None:
    if isinstance(value, bool | int | float) and value in {0, 1}:
        return float(value)
    return None


def _category_converter(
    categories: Sequence[Scalar], unknown_category: Policy
) -> Callable[[object], float | None]:
    codes: dict[object, float] = {category: float(i) for i, category in enumerate(categories)}
    wanted = category_type(categories[0])
    unknown = _NAN if unknown_category == "missing" else None

    def convert(value: object) -> float | None:
        # 1, 1.0 and True are one dictionary key; only what the category's own type says counts.
        if not isinstance(value, Scalar) or category_type(value) != wanted:
            return None
        if isinstance(value, float) and not math.isfinite(value):
            return None
        return codes.get(value, unknown)

    return convert


# --- cells of text, such as CSV's: what cannot be read stays text, for the error to show ----------


def parse_number(text: str) -> float | None:
    """The finite number in a text; None for any other."""
    try:
        number = float(text)
    except ValueError:
        return None
    # Python alone takes `1_0`, `nan` and digits of other scripts.
    return number if math.isfinite(number) and "_" not in text and text.isascii() else None


def _parse_number_cell(text: str) -> object:
    number = parse_number(text)
    return number if number is not None else text.strip() or None


def _parse_boolean(text: str) -> object:
    text = text.strip()
    if text.lower() in {"true", "false"}:
        return text.lower() == "true"
    # A column of 1.0 and 0.0 is what pandas writes where booleans are missing.
    number = parse_number(text)
    return number == 1 if number in {0, 1} else text or None


def _category_parser(categories: Sequence[Scalar]) -> Callable[[str], object]:
    if isinstance(categories[0], str):
        return lambda text: text or None
    if isinstance(categories[0], bool):
        return _parse_boolean
    return _parse_number_cell
