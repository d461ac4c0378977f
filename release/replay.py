"""A bundle's golden rows against what a component says over the bus."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from consumer.prediction import Prediction
from model.bundle import open_bundle
from model.golden import describe_equality, differences


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """How a replay went.

    Attributes:
        model: who answered: name and version.
        n_rows: that were asked for.
        n_equal: of them, whose answer is the recorded one.
        is_exact: whether every bit counted.
        differences: everything that is not as it should be, in words.
    """

    model: str
    n_rows: int
    n_equal: int
    is_exact: bool
    differences: Sequence[str]

    def __str__(self) -> str:
        equal = f"{self.n_equal} of {self.n_rows} golden rows equal"
        return f"{equal} {describe_equality(exact=self.is_exact)}"


def replay(
    bundle_path: Path, predict: Callable[[Sequence[Mapping[str, Any]]], Prediction]
) -> Replay:
    """Asks for the golden rows of a bundle, and compares.

    Args:
        bundle_path: the bundle's directory.
        predict: asks.

    Raises:
        BundleError: the bundle cannot be opened.
    """
    with contextlib.closing(open_bundle(bundle_path)) as bundle:
        manifest, golden, exact = bundle.manifest, bundle.golden, bundle.is_exact
    prediction = predict([row.row for row in golden])
    found = differences(golden, prediction.predictions, prediction.probabilities, exact=exact)
    texts = [str(difference) for difference in found]
    served = f"{prediction.model} {prediction.version}"
    expected = f"{manifest.name} {manifest.version}"
    if served != expected:
        texts.insert(0, f"the model: got {served}, expected {expected} as in the bundle")
    return Replay(
        model=served,
        n_rows=len(golden),
        n_equal=len(golden) - len(found),
        is_exact=exact,
        differences=texts,
    )
