"""Copies an artifact from where the CDK puts files to a key that devices will know for good."""

import logging
from collections.abc import Mapping
from typing import Any, Protocol

from handlers.reply import answer

logging.getLogger().setLevel(logging.INFO)


class Objects(Protocol):
    """What is needed of S3's API, as boto3 has it."""

    def copy_object(self, *, CopySource: dict[str, str], Bucket: str, Key: str) -> dict[str, Any]:
        """Copies one."""
        ...


def handle(event: dict[str, Any], context: object) -> None:
    """Lambda's handler."""
    del context
    import boto3  # what Lambda's own Python brings

    answer(event, lambda properties: publish(properties, boto3.client("s3")))


def publish(properties: Mapping[str, Any], objects: Objects) -> dict[str, str]:
    """Copies the object; a key holds its content's version, so a second copy changes nothing.

    Args:
        properties: `FromBucket`, `FromKey`, `ToBucket`, `ToKey`.
        objects: S3's API.
    """
    objects.copy_object(
        CopySource={"Bucket": properties["FromBucket"], "Key": properties["FromKey"]},
        Bucket=properties["ToBucket"],
        Key=properties["ToKey"],
    )
    return {}
