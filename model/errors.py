"""What can be wrong, split by whose fault it is.

`BundleError`: the artefact. `InputError`: the caller's rows. `SourceError`: the model file or the
table that somebody wants to make a bundle of. Texts name place, observed, expected.
"""

from collections.abc import Sequence

from model.typed import NamedTuple

MAX_FAULTS = 20
"""How many faults of one request are listed; the rest are counted."""

_MAX_TEXT = 60


class BundleError(Exception):
    """A bundle that must not be served.

    Attributes:
        file: the file of the bundle that is wrong.
        observed: what was found there.
        expected: what should have been there.
    """

    def __init__(self, file: str, observed: str, expected: str) -> None:
        super().__init__(f"{file}: got {observed}, expected {expected}")
        self.file = file
        self.observed = observed
        self.expected = expected


class BundleFormatError(BundleError):
    """A file of the bundle is missing, unreadable, or not of a form that this reader knows."""


class BundleChecksumError(BundleError):
    """A file's content is not what the manifest recorded."""


class BundleVersionError(BundleError):
    """The bundle was written by something newer than what is to serve it."""


class BundleMismatchError(BundleError):
    """The files are intact but contradict each other, or the predictions they promise."""


class SourceError(Exception):
    """A model file or a table that cannot become a bundle; the text says what and why."""


class Fault(NamedTuple):
    """One thing wrong with a request.

    Attributes:
        code: a stable word from the error table of docs/requests.md.
        place: where, as a path: `records[3].pH`.
        observed: what was found, as text.
        expected: what would have been right, as text.
    """

    code: str
    place: str
    observed: str
    expected: str

    def __str__(self) -> str:
        return f"{self.place}: got {self.observed}, expected {self.expected}"


class InputError(Exception):
    """Rows or a request that the caller has to change.

    Attributes:
        faults: the first `MAX_FAULTS` faults, in the order of the rows.
        total: how many there are in all.
        code: the first fault's code.
    """

    def __init__(self, faults: Sequence[Fault], total: int | None = None) -> None:
        self.faults = tuple(faults)
        self.total = len(self.faults) if total is None else total
        self.code = self.faults[0].code
        more = f" (and {self.total - 1} more)" if self.total > 1 else ""
        super().__init__(f"{self.faults[0]}{more}")


def input_error(code: str, place: str, observed: str, expected: str) -> InputError:
    """The `InputError` of a single fault."""
    return InputError([Fault(code, place, observed, expected)])


def describe(value: object) -> str:
    """A JSON value in a few words, short enough for an error text."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return repr(shorten(value))
        case float() if value != value:  # noqa: PLR0124  (NaN alone differs from itself)
            return "NaN"
        case float() if value in {float("inf"), float("-inf")}:
            return "Infinity" if value > 0 else "-Infinity"
        case int():
            # str() of an int of thousands of digits raises by design; its size says enough.
            return str(value) if abs(value) < 10**20 else f"an integer of {value.bit_length()} bits"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object of {len(value)} fields"
        case _:
            return shorten(repr(value))


def shorten(text: str) -> str:
    """The text, cut in the middle where it is long."""
    half = _MAX_TEXT // 2
    return text if len(text) <= _MAX_TEXT else f"{text[:half]}…{text[-half:]}"
