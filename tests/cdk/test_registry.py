from types import SimpleNamespace
from typing import Any

import pytest

from handlers.registry import ensure


class ConflictError(Exception):
    pass


class Registries:
    """An account, with or without the registry."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.exceptions: Any = SimpleNamespace(ConflictException=ConflictError)

    def create_registry(self, *, RegistryName: str, Description: str) -> dict[str, Any]:
        if RegistryName in self.names:
            raise ConflictError
        self.names.add(RegistryName)
        return {}


@pytest.mark.parametrize("before", [[], ["lambda-testevent-schemas"]])
def test_registry_is_there_afterwards(before: list[str]) -> None:
    """Whether or not somebody had shared an event before."""
    account = Registries(*before)
    found = ensure({"RegistryName": "lambda-testevent-schemas"}, account)
    assert found == {"Name": "lambda-testevent-schemas"}
    assert account.names == {"lambda-testevent-schemas"}
