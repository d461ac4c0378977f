"""What a way to serve must know of a model besides its file. Standard library only."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What is known of a model.

    Attributes:
        key: of what made the directory.
        spec: of the model.
        features: names in order.
        categories: of each categorical feature, in the order of their codes.
        n_outputs: for each row.
        n_trees: of all classes together.
        n_nodes: of all trees.
    """

    key: str
    spec: dict[str, Any]
    features: list[str]
    categories: dict[str, list[str]]
    n_outputs: int
    n_trees: int
    n_nodes: int


def read_meta(directory: Path) -> Meta:
    """What is known of the model in a directory."""
    return Meta(**json.loads((directory / "meta.json").read_bytes()))
