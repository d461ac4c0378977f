from typing import Any

from handlers.publish import publish


def test_archive_is_copied_to_its_key() -> None:
    """From the CDK's bucket to ours."""
    copies: list[dict[str, Any]] = []

    class Objects:
        def copy_object(self, **request: Any) -> dict[str, Any]:
            copies.append(request)
            return {}

    properties = {"FromBucket": "a", "FromKey": "b.zip", "ToBucket": "c", "ToKey": "d/e.zip"}
    assert publish(properties, Objects()) == {}
    assert copies == [
        {"CopySource": {"Bucket": "a", "Key": "b.zip"}, "Bucket": "c", "Key": "d/e.zip"}
    ]
