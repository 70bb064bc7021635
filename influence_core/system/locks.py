"""Who owns a run folder right now? The holder of an flock on its file `lock`, known to the kernel.

No process number is guessed and no state goes stale: whatever ends a process frees its lock. The
starter takes the lock and hands it to the child it starts, so that two starters cannot both win.
"""

import fcntl
import os
import threading
import time
from pathlib import Path

PROBES = 25  # a probe of another process may hold the lock for microseconds
_one_at_a_time = threading.Lock()
"""Between the threads of this process a probe never meets a starter: four threads that probed without pause kept a
starter out for half a second on a slow machine, and it reported a running job where there was none."""


def take(path: Path, *, patience: float = 0.02) -> int | None:
    """The descriptor of the exclusive lock, or None when somebody else holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for attempt in range(PROBES):
        try:
            with _one_at_a_time:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return descriptor
        except BlockingIOError:
            if patience and attempt < PROBES - 1:
                time.sleep(patience)
            elif not patience:
                break
    os.close(descriptor)
    return None


def held(path: Path) -> bool:
    """Whether a living process holds the lock. Probes share it, so that they do not block each other."""
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
