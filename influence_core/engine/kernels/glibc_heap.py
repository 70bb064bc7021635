"""Who holds freed memory, the process or the system? glibc decides by sizes; a sweep knows better, at two seams.

While batches follow each other, what one frees the next needs at once. glibc gives it back all the same, and every
page is made anew: 10,000 of them in a batch of the ViT and 4,000 more than in training of the transformer, 0.04 of a
training pass. Before and after, free pages between blocks in use would stay, and a heap hold twice what lives.
"""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 32 << 20
"""Bytes of the largest block that glibc takes from its heap. Freed blocks of that size bring it there by itself."""


def give_back() -> None:
    """Return free pages of the heap to the system, where its C library knows how (glibc); elsewhere nothing happens."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@contextmanager
def holding() -> Iterator[None]:
    """Meanwhile freed memory stays with the process; then it is given back, and glibc's own limits hold (those it ends
    at in any process that frees large blocks).

    The limits are the process's: of two sweeps in threads the first to end gives them back, and the other is slower.
    """
    library = _library()
    if library is None:
        yield
        return
    library.mallopt(MMAP_THRESHOLD, LARGEST)
    library.mallopt(TRIM_THRESHOLD, (1 << 31) - 1)
    try:
        yield
    finally:
        library.mallopt(TRIM_THRESHOLD, 2 * LARGEST)
        library.malloc_trim(0)


@cache
def _library() -> Any:
    """The C library if it is glibc, or None."""
    try:
        library = ctypes.CDLL(None)
    except (TypeError, OSError):  # a system that does not tell what is loaded, as in threads._loaded
        return None
    return library if hasattr(library, "malloc_trim") and hasattr(library, "mallopt") else None
