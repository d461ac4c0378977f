"""The components' own recipes, and others made from them."""

from importlib.resources import files
from pathlib import Path


def recipe_text(package: str) -> str:
    """The recipe of `container` or `consumer`."""
    return (files(package) / "recipe.yaml").read_text(encoding="utf-8")


def write_named_inference(folder: Path, name: str) -> Path:
    """A recipe of the inference component under another name, with topics of that name."""
    text = recipe_text("container")
    text = text.replace("edgexgb.Inference", name).replace("edgexgb/", f"{name}/")
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path
