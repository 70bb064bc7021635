"""Exclusive locks on run folders, by flock on the file `lock`.

The kernel knows the owner. No process number is guessed and no state goes stale: whatever ends a process frees its
lock. The starter acquires the lock and hands it to the child it starts, so that two starters cannot both win.
"""

import fcntl
import os
import threading
import time
from contextlib import suppress
from pathlib import Path

PROBES = 25  # a probe of another process may hold the lock for microseconds
_one_at_a_time = threading.Lock()
"""Keeps probes and starters of this process apart. Four threads that probed without pause kept a starter out for half a
second on a slow machine; it then reported a running job where there was none."""


def acquire(path: Path, *, patience: float = 0.02) -> int | None:
    """Acquire the exclusive lock and return its descriptor, or None when another process holds it.

    `patience` is the pause in seconds before each further attempt; 0 means a single attempt.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for attempt in range(PROBES if patience else 1):
        if attempt:
            time.sleep(patience)
        with suppress(BlockingIOError), _one_at_a_time:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
    os.close(descriptor)
    return None


def is_locked(path: Path) -> bool:
    """Whether a running process holds the lock. Probes use a shared lock, so they do not block each other."""
    with _one_at_a_time:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
