"""Tables that several modules' tests train on."""

from typing import Any

import numpy as np
import pandas as pd


def machines(n: int = 200) -> pd.DataFrame:
    """Every kind of column, missing values in three of them; `hot` can be learned."""
    draw = np.random.default_rng(3)
    celsius = draw.normal(60, 15, n).round(1)
    return pd.DataFrame(
        {
            "celsius": np.where(draw.random(n) < 0.1, np.nan, celsius),
            "starts": draw.integers(0, 40, n),
            "site": draw.choice(np.array(["north", "south", None]), n),
            "serviced": draw.choice(np.array([True, False, None]), n),
            "indoors": draw.choice([True, False], n),
            "hot": np.where(celsius > 60, "yes", "no"),
        }
    )


def numbers(y: Any) -> pd.DataFrame:
    """One feature, the target `y`."""
    return pd.DataFrame({"x": np.arange(len(y), dtype=float), "y": y})
