"""What comes back: the body of a good reply, checked, and the parts of a batch joined."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from consumer.errors import MalformedReplyError, ModelChangedError

Scalar = str | int | float | bool

_SCALARS = frozenset({str, int, float, bool})
_NUMBERS = frozenset({int, float})


@dataclass(frozen=True, slots=True)
class Likely:
    """One of the likeliest labels of a row."""

    label: Scalar
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says about some rows; see docs/requests.md, section 6.

    Attributes:
        model: its name.
        version: its version.
        predictions: one for each row, in order: a number, or a label as the user wrote it.
        labels: all labels in the model's order, where it gives probabilities.
        probabilities: for each row one for each label, where the model gives them.
        top_k: for each row the likeliest labels, where `top_k` was asked.
    """

    model: str
    version: str
    predictions: tuple[Scalar, ...]
    labels: tuple[Scalar, ...] | None = None
    probabilities: tuple[tuple[float, ...], ...] | None = None
    top_k: tuple[tuple[Likely, ...], ...] | None = None


def parse_prediction(body: Mapping[str, Any], n_rows: int) -> Prediction:
    """The prediction in the body of a reply.

    Raises:
        MalformedReplyError: the body is not that of an answer to this many rows.
    """
    model = body.get("model")
    fields = model if isinstance(model, dict) else {}
    name, version = fields.get("name"), fields.get("version")
    if not isinstance(name, str) or not isinstance(version, str):
        raise _malformed("model", "no name and version", "both as text")
    predictions = _rows(body, "predictions", n_rows)
    _check("predictions", predictions, _SCALARS, "text, numbers or booleans")
    labels, probabilities, top_k = body.get("labels"), None, None
    if labels is not None:
        if not isinstance(labels, list):
            raise _malformed("labels", f"a {type(labels).__name__}", "a list")
        _check("labels", labels, _SCALARS, "text, numbers or booleans")
    if "probabilities" in body:
        probabilities = tuple(map(_probabilities, _rows(body, "probabilities", n_rows)))
    if "topK" in body:
        top_k = tuple(map(_likeliest, _rows(body, "topK", n_rows)))
    return Prediction(
        model=name,
        version=version,
        predictions=tuple(predictions),
        labels=None if labels is None else tuple(labels),
        probabilities=probabilities,
        top_k=top_k,
    )


def _rows(body: Mapping[str, Any], name: str, n_rows: int) -> list[Any]:
    value = body.get(name)
    if not isinstance(value, list):
        raise _malformed(name, f"a {type(value).__name__}", "a list")
    if len(value) != n_rows:
        raise _malformed(name, f"{len(value)} items", f"one for each of {n_rows} rows")
    return value


def _probabilities(row: object) -> tuple[float, ...]:
    if not isinstance(row, list):
        raise _malformed("probabilities", f"a {type(row).__name__} as a row", "a list")
    _check("probabilities", row, _NUMBERS, "numbers")
    return tuple(row)


def _likeliest(row: object) -> tuple[Likely, ...]:
    try:
        found = tuple(Likely(one["label"], one["probability"]) for one in row)  # type: ignore[attr-defined]
    except (TypeError, KeyError) as error:
        raise _malformed("topK", "another thing", "label and probability") from error
    _check("topK", [one.label for one in found], _SCALARS, "labels of text, numbers or booleans")
    _check("topK", [one.probability for one in found], _NUMBERS, "probabilities as numbers")
    return found


def _check(field: str, values: list[Any], kinds: frozenset[type], expected: str) -> None:
    """Lets pass plain values alone; lists in lists may be too deep to be compared, or written."""
    if odd := set(map(type, values)) - kinds:
        raise _malformed(field, " and ".join(sorted(f"a {it.__name__}" for it in odd)), expected)


def _malformed(field: str, observed: str, expected: str) -> MalformedReplyError:
    return MalformedReplyError(f"reply.body.{field}: got {observed}, expected {expected}")


def join(parts: Sequence[Prediction]) -> Prediction:
    """One prediction of all rows, part after part; not a bit of any is touched.

    Raises:
        ModelChangedError: the parts are not from one model.
    """
    first = parts[0]
    for part in parts:
        if _identity(part) != _identity(first):
            raise ModelChangedError(
                f"reply: got answers of {first.model} {first.version} and of "
                f"{part.model} {part.version}, expected one model for the whole batch"
            )
    return Prediction(
        model=first.model,
        version=first.version,
        predictions=tuple(chain.from_iterable(part.predictions for part in parts)),
        labels=first.labels,
        probabilities=None
        if first.probabilities is None
        else tuple(chain.from_iterable(part.probabilities or () for part in parts)),
        top_k=None
        if first.top_k is None
        else tuple(chain.from_iterable(part.top_k or () for part in parts)),
    )


def _identity(part: Prediction) -> tuple[object, ...]:
    shape = part.probabilities is None, part.top_k is None
    return part.model, part.version, part.labels, shape
