import argparse
import math
from dataclasses import fields

import pytest

from model.errors import SourceError
from model.hyperparameters import DEFAULTS, Hyperparameters, add_arguments


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_depth", 0, "max_depth: got 0, expected a number from 1 to 30"),
        ("learning_rate", 1.5, "learning_rate: got 1.5, expected a number from 1e-06 to 1"),
        ("subsample", math.nan, "subsample: got NaN, expected a number from 0.001 to 1"),
        ("seed", -1, "seed: got -1, expected a number from 0 to 2.14748e+09"),
    ],
)
def test_hyperparameter_out_of_range_is_refused(name: str, value: float, message: str) -> None:
    """XGBoost's own error is a page of C++ frames."""
    with pytest.raises(SourceError) as caught:
        Hyperparameters(**{name: value})  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_hyperparameters_are_taken_in_both_spellings() -> None:
    """People write hyphens, SageMaker passes XGBoost's own names."""
    for field in fields(Hyperparameters):
        for flag in (f"--{field.name}", f"--{field.name.replace('_', '-')}"):
            value = getattr(parsed(flag, "1"), field.name)
            assert value == 1
            assert type(value) is type(getattr(DEFAULTS, field.name))
