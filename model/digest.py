"""SHA-256, by whichever implementation gets a cold start done sooner."""

from collections.abc import Callable

from model.typed import Any

_LARGE_BYTES = 500_000
"""From here OpenSSL's speed makes up for the milliseconds that it takes to load."""


def sha256(content: bytes) -> str:
    """The digest in hexadecimal."""
    small = _small()
    if small is None or len(content) >= _LARGE_BYTES:
        import hashlib

        return hashlib.sha256(content).hexdigest()
    digest: str = small(content).hexdigest()
    return digest


def _small() -> Callable[[bytes], Any] | None:
    """The interpreter's own, without OpenSSL; None where it has none.

    Source: CPython 3.13, `Lib/random.py`, which takes `_sha2` for the same reason.
    """
    try:
        from _sha2 import sha256 as found  # type: ignore[import-not-found]  # 3.12 and later
    except ImportError:
        try:
            from _sha256 import sha256 as found  # type: ignore[import-not-found]
        except ImportError:
            return None
    return found  # type: ignore[no-any-return]
