"""What a process holds after a burst: no more than before it."""

import ctypes

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""Parameters of mallopt. Source: glibc, malloc/malloc.h."""

_BLOCK_BYTES = 128 * 1024
"""From this size on, a block is a mapping of its own. It is glibc's default as long as no such
block was freed."""


def return_memory() -> bool:
    """Has this process return to the system what it does not need any more.

    By default glibc takes the size of each large block that is freed for the new limit below which
    blocks come from its heap, up to 32 MiB; and a heap shrinks from its end alone. So one burst of
    large messages, or one subscriber that does not read, raised a process's memory for as long as
    it lived. A limit that is set stays. One heap for all threads is enough where they take turns.

    Returns:
        Whether the C library is one that can be told; else nothing was done.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is None:  # musl returns memory by itself
        return False
    options = {_MMAP_THRESHOLD: _BLOCK_BYTES, _TRIM_THRESHOLD: _BLOCK_BYTES, _ARENA_MAX: 1}
    return all(set_option(option, value) for option, value in options.items())
