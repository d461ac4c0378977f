"""Recipes as files."""

from pathlib import Path

from nucleus.errors import RecipeError

_SUFFIXES = frozenset({".yaml", ".yml", ".json"})


def recipe_files(directory: Path | None) -> list[Path]:
    """The files of a directory that can be recipes, in order; none where there is none.

    Raises:
        OSError: the directory cannot be read.
    """
    if directory is None:
        return []
    return sorted(it for it in directory.iterdir() if it.suffix.lower() in _SUFFIXES)


def read_recipe(path: Path) -> str:
    """The text of a recipe.

    Raises:
        RecipeError: it is no text.
        OSError: it cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")  # editors may write a byte order mark
    except UnicodeDecodeError as error:
        raise RecipeError(str(path), "bytes that are no UTF-8", "a recipe") from error
