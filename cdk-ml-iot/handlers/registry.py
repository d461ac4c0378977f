"""Makes the registry of shareable test events where the account has none yet.

There is one for an account and region; the console makes it with the first event that somebody
shares. So a stack that declared it would fail wherever that has happened.
"""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from handlers.reply import answer

logging.getLogger().setLevel(logging.INFO)


class Registries(Protocol):
    """What is needed of the schema registry's API, as boto3 has it."""

    exceptions: Any

    def create_registry(self, *, RegistryName: str, Description: str) -> dict[str, Any]:
        """Makes one."""
        ...


def handle(event: dict[str, Any], context: object) -> None:
    """Lambda's handler."""
    del context
    import boto3  # what Lambda's own Python brings

    answer(event, lambda properties: ensure(properties, boto3.client("schemas")))


def ensure(properties: Mapping[str, Any], registries: Registries) -> dict[str, str]:
    """The attribute `Name`; the registry is there.

    Args:
        properties: `RegistryName`.
        registries: the schema registry's API.
    """
    name = properties["RegistryName"]
    try:
        registries.create_registry(RegistryName=name, Description="Shareable test events")
    except registries.exceptions.ConflictException:
        logging.getLogger(__name__).info("the registry was there")
    return {"Name": name}
