"""Text of others on a terminal: labels, names and log lines may hold what a terminal obeys."""

import unicodedata

from rich.markup import escape

_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Control and format characters, half pairs, line and paragraph separators.

Source: Unicode 15, general categories; the right-to-left marks and overrides are in Cf.
"""


def printable(text: str) -> str:
    r"""The text with what would steer a terminal, or break the line, as escapes: `\x1b`."""
    if text.isprintable():
        return text
    return "".join(_escape(it) if unicodedata.category(it) in _CATEGORIES else it for it in text)


def shown(text: str) -> str:
    """The same for a cell or a line of rich's, whose own marks are taken as text, too."""
    return escape(printable(text))


def _escape(character: str) -> str:
    return character if character == "\t" else character.encode("unicode_escape").decode()
