"""The text of a recipe, JSON or YAML, as sections that know their place."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from nucleus.errors import RecipeError

_log = logging.getLogger(__name__)


def describe(value: object) -> str:
    """A JSON value in a few words, for an error's text."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…")
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, Sequence):
        return "a list"
    return f"the number {value}"


_MAX_SHOWN = 60

MAX_LEVELS = 100
"""Of a recipe: what reads it follows them by recursion. Real ones have ten."""


@dataclass(frozen=True, slots=True)
class Section:
    """An object within a recipe; a field that is null is absent.

    Attributes:
        place: where it stands.
        fields: as written.
        exact_keys: whether the case of a key counts, as on nucleus lite.
    """

    place: str
    fields: Mapping[str, object]
    exact_keys: bool

    def value(self, name: str) -> object:
        """The field's value; None where it is absent.

        Raises:
            RecipeError: two keys differ by nothing but their case.
        """
        return self.fields.get(self._key(name))

    def text(self, name: str) -> str:
        """A field that must be there and must be text.

        Raises:
            RecipeError: it is absent, empty or of another kind.
        """
        value = self.value(name)
        if not isinstance(value, str) or not value:
            raise RecipeError(self.place_of(name), describe(value), "text")
        return value

    def optional_text(self, name: str, default: str = "") -> str:
        """A field that is text where it is there.

        Raises:
            RecipeError: it is of another kind.
        """
        value = self.value(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise RecipeError(self.place_of(name), describe(value), "text")
        return value

    def section(self, name: str) -> "Section":
        """A field that is an object; an empty one where it is absent.

        Raises:
            RecipeError: it is of another kind.
        """
        return self._at(name, self.value(name))

    def sections(self, name: str) -> list["Section"]:
        """A field that is a list of objects; an empty one where it is absent.

        Raises:
            RecipeError: it, or an item, is of another kind.
        """
        value = self.value(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise RecipeError(self.place_of(name), describe(value), "a list of objects")
        found = []
        for i, item in enumerate(value):
            if not isinstance(item, dict):
                raise RecipeError(f"{self.place_of(name)}[{i}]", describe(item), "an object")
            found.append(Section(f"{self.place_of(name)}[{i}]", item, self.exact_keys))
        return found

    def members(self) -> Iterator[tuple[str, "Section"]]:
        """Every field, each of which must be an object, with its key as written.

        Raises:
            RecipeError: one is of another kind.
        """
        for key, value in self.fields.items():
            yield key, self._at(key, value)

    def _at(self, key: str, value: object) -> "Section":
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise RecipeError(self.place_of(key), describe(value), "an object")
        return Section(self.place_of(key), value, self.exact_keys)

    def place_of(self, name: str) -> str:
        """Where a field stands, with its key as written."""
        joint = "." if ": " in self.place else ": "
        return f"{self.place}{joint}{self._key(name)}"

    def warn_of_others(self, known: frozenset[str]) -> None:
        """Logs every key that no nucleus knows, and that one ignores: most are misspelt."""
        folded = known if self.exact_keys else {name.lower() for name in known}
        for key in self.fields:
            if (key if self.exact_keys else key.lower()) not in folded:
                _log.warning("%s: got a field no nucleus knows; it is ignored", self.place_of(key))

    def _key(self, name: str) -> str:
        if self.exact_keys:
            return name
        found = [key for key in self.fields if key.lower() == name.lower()]
        if len(found) > 1:
            raise RecipeError(self.place, f"both {found[0]!r} and {found[1]!r}", "one of them")
        return found[0] if found else name


def parse_text(text: str, place: str, *, exact_keys: bool, only_text: bool) -> Section:
    """The outermost section of a recipe.

    Args:
        text: JSON where it begins with a brace, else YAML.
        place: how errors call it, such as its file name.
        exact_keys: see `Section`.
        only_text: whether YAML's scalars all stay text, as nucleus lite has it.

    Raises:
        RecipeError: it is neither, it is no object, or a key stands twice.
    """
    try:
        if text.lstrip().startswith("{"):
            tree = json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        else:
            tree = _YamlTree(only_text).value(yaml.compose(text, yaml.SafeLoader))
    except RecursionError as error:
        raise RecipeError(place, "too many levels", "a recipe of a few") from error
    except yaml.MarkedYAMLError as error:
        where = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        problem = (error.problem or "a mistake").removeprefix("but found ")
        raise RecipeError(place, f"{problem}{where}", "YAML") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # the last over "\\Uffffffff"
        raise RecipeError(place, str(error).splitlines()[0], "JSON or YAML") from error
    if not isinstance(tree, dict):
        raise RecipeError(place, describe(tree), "an object")
    if _is_deeper(tree, MAX_LEVELS):
        raise RecipeError(place, f"more than {MAX_LEVELS} levels", "a recipe of a few")
    return Section(place, tree, exact_keys)


def _is_deeper(tree: object, levels: int) -> bool:
    """Whether there are more levels of objects and lists than so many."""
    level: list[Any] = [tree]
    for _ in range(levels):
        inside = (it.values() if isinstance(it, dict) else it for it in level)
        level = [it for items in inside for it in items if isinstance(it, dict | list)]
        if not level:
            return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            message = f"the key {key!r} twice"
            raise ValueError(message)
        found[key] = value
    return found


def _refuse_constant(name: str) -> None:
    message = f"{name}, which is no JSON"
    raise ValueError(message)


class _YamlTree:
    """YAML's nodes as values, as the nucleus reads them: no dates, and `yes` and `no` are text.

    Aliases are refused: few lines of them make a tree of any size.

    Source: jackson-dataformat-yaml, YAMLParser.
    """

    def __init__(self, only_text: bool) -> None:  # noqa: FBT001  (private)
        self._only_text = only_text
        self._seen: set[int] = set()

    def value(self, node: yaml.Node | None) -> Any:
        """The value of a node and of all below it.

        Raises:
            yaml.MarkedYAMLError: an alias, a tag of its own, or a key twice or of no text.
        """
        if node is None:
            return None
        if id(node) in self._seen:
            raise _mistake("an alias", node)
        self._seen.add(id(node))
        if node.tag.removeprefix(_STANDARD) not in _KINDS:
            raise _mistake(f"the tag {node.tag!r}", node)
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item) for item in node.value]
        found: dict[str, Any] = {}
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise _mistake("a key that is no text", key)
            if key.value in found:
                raise _mistake(f"the key {key.value!r} twice", key)
            found[key.value] = self.value(item)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        text: str = node.value
        kind = node.tag.removeprefix(_STANDARD)
        if kind == "null":
            return None
        if self._only_text or kind == "str":
            return text
        if text.lower() in {"true", "false"}:
            return text.lower() == "true"
        try:
            # What JSON takes for a number is one; `0x10`, `1_000` and dates stay text.
            return json.loads(text, parse_constant=_refuse_constant)
        except ValueError:
            return text


_STANDARD = "tag:yaml.org,2002:"
_KINDS = {"map", "seq", "str", "null", "bool", "int", "float", "timestamp", "merge", "value"}


def _mistake(problem: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
