"""The processors this process may use."""

import os


def cores() -> int:
    """How many; not every system can tell those it may use from those it has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
