"""The memory that this process may still take, and a limit on it while a file of unknown origin is read.

A file states sizes that cost it nothing: 4 MB can hold 4 GB of zeros. Readers compare what a file needs with `spare()`
before they read it; what they cannot foresee ends at `limited()`, as a MemoryError and not as a dead machine.
"""

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

SHARE = 0.6
"""Share of the free memory that reading files may take."""


def spare() -> int:
    """Return the bytes this process may still take: what is free on the machine, in its container, below its limit."""
    rooms = [psutil.virtual_memory().available]
    with suppress(OSError, ValueError):  # no container, or one without a limit ("max")
        group = Path("/sys/fs/cgroup")
        most, used = ((group / f"memory.{name}").read_text() for name in ("max", "current"))
        rooms.append(int(most) - int(used))
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY:
        rooms.append(limit - addressed())
    return max(0, min(rooms))


def addressed() -> int:
    """Return the bytes of address space in use, which the system's limit counts."""
    if sys.platform != "linux":
        return psutil.Process().memory_info().vms
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


@contextmanager
def limited(share: float = SHARE) -> Iterator[None]:
    """Let this process take at most a share of the free memory while the block runs, on Linux."""
    before, hard = resource.getrlimit(resource.RLIMIT_AS)
    if sys.platform == "linux":
        most = addressed() + int(share * spare())
        resource.setrlimit(
            resource.RLIMIT_AS, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
        )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (before, hard))
