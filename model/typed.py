"""What a cold start needs of `typing`, whose own import is a fifth of it, and half a megabyte.

To a type checker these are typing's. At run time they do what is asked of them here, no more:
annotations are evaluated and forgotten, and a `NamedTuple` is `collections.namedtuple`.
"""

TYPE_CHECKING = False  # checkers take this name for true. Source: PEP 484, mypy, ruff

if TYPE_CHECKING:
    from typing import Any, Literal, NamedTuple, NoReturn, Protocol, TypeGuard, TypeVar, get_args
else:
    from collections import namedtuple

    _OWN = {"__annotations__", "__classcell__", "__module__", "__qualname__"}

    class _Form:
        """What an annotation such as `Literal["a", "b"] | None` is made of."""

        def __init__(self, arguments=()):
            self.arguments = arguments

        def __getitem__(self, item):
            return _Form(item if isinstance(item, tuple) else (item,))

        def __or__(self, other):
            return _Form()

        __ror__ = __or__

    class _Maker(type):
        """Makes a named tuple of a class body, as `typing.NamedTuple` does."""

        def __new__(cls, name, bases, body):
            if not bases:
                return super().__new__(cls, name, bases, body)
            fields = list(body.get("__annotations__", {}))
            defaults = [body.pop(field) for field in fields if field in body]
            made = namedtuple(name, fields, defaults=defaults, module=body["__module__"])
            for key, value in body.items():
                if key not in _OWN:
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """The base of classes that are named tuples."""

    class Protocol:
        """The base of ports."""

    Any = NoReturn = object
    Literal = TypeGuard = _Form()

    def TypeVar(_name):  # noqa: N802  (typing's name)
        return object

    def get_args(literal):
        return literal.arguments


__all__ = [
    "TYPE_CHECKING",
    "Any",
    "Literal",
    "NamedTuple",
    "NoReturn",
    "Protocol",
    "TypeGuard",
    "TypeVar",
    "get_args",
]
