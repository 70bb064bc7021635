"""The number of processors this process may use."""

import os


def cores() -> int:
    """Return the usable processors, or all of them where the system does not distinguish the two."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
