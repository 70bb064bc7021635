"""Exclusive locks on run folders, by flock on the file `lock`.

The kernel knows the owner. No process number is guessed and no state goes stale: whatever ends a process frees its
lock. The starter acquires the lock and hands it to the child it starts, so that two starters cannot both win. A forked
child gives its copies back at once, or it would keep a dead parent's lock.

On a disk without locks (Lustre as it is often mounted) every lock is granted and none is seen: a command works there as
it would without them, and a job, which is known by its lock alone, says that its queue does not know it.
"""

import errno
import fcntl
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNSUPPORTED = {errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL}
"""How a disk without locks answers."""
PROBES = 25  # a probe of another process may hold the lock for microseconds
_one_at_a_time = threading.Lock()
"""Keeps probes and starters of this process apart. Four threads that probed without pause kept a starter out for half a
second on a slow machine; it then reported a running job where there was none."""

Identity = tuple[int, int]
"""Device and number of a lock's file, the same by whatever path it is opened."""
_mine: dict[Identity, int] = {}
"""Descriptors of the locks that this process holds for its own work."""
_adopted: set[Identity] = set()
"""Those of them that belong to the process, not to one piece of work in it."""


def acquire(path: Path, *, patience: float = 0.02) -> int | None:
    """Acquire the exclusive lock and return its descriptor, or None when another process holds it.

    `patience` is the pause in seconds before each further attempt; 0 means a single attempt.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)  # others may look who works
    for attempt in range(PROBES if patience else 1):
        if attempt:
            time.sleep(patience)
        with _one_at_a_time:
            if _locked(descriptor, fcntl.LOCK_EX):
                return descriptor
    os.close(descriptor)
    return None


def is_locked(path: Path) -> bool:
    """Whether a running process holds the lock. Probes use a shared lock, so they do not block each other."""
    with _one_at_a_time:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)  # also on a disk that is read only
        except (FileNotFoundError, PermissionError):  # the second: another user's, before version 0.6
            return False
        try:
            return not _locked(descriptor, fcntl.LOCK_SH)
        finally:
            os.close(descriptor)


def _locked(descriptor: int, kind: int) -> bool:
    """Whether the lock could be had; a disk without locks grants it."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return True


def adopt(descriptor: int) -> None:
    """Keep a lock until this process ends or releases it; all work of the process then holds it."""
    os.set_inheritable(descriptor, False)
    identity = _identity(os.fstat(descriptor))
    _mine[identity] = descriptor
    _adopted.add(identity)


def is_mine(path: Path) -> bool:
    """Whether this process holds the lock for its own work."""
    return _identity_at(path) in _mine


def is_adopted(path: Path) -> bool:
    """Whether the lock belongs to this process as a whole: it is a job, or records a training."""
    return _identity_at(path) in _adopted


def release(path: Path) -> None:
    """Free a lock that this process adopted."""
    if (identity := _identity_at(path)) in _adopted:
        _adopted.discard(identity)
        os.close(_mine.pop(identity))


@contextmanager
def holding(path: Path) -> Iterator[bool]:
    """Hold the lock during the block; False when another process, or other work of this one, holds it."""
    if is_adopted(path):
        yield True
        return
    if (descriptor := acquire(path)) is None:
        yield False
        return
    identity = _identity(os.fstat(descriptor))
    _mine[identity] = descriptor
    try:
        yield True
    finally:
        del _mine[identity]
        os.close(descriptor)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _identity_at(path: Path) -> Identity | None:
    try:
        return _identity(path.stat())
    except OSError:
        return None


def _give_back() -> None:
    global _one_at_a_time
    _one_at_a_time = threading.Lock()  # another thread of the parent may hold it, and is not there to free it
    for descriptor in _mine.values():
        with suppress(OSError):
            os.close(descriptor)
    _mine.clear()
    _adopted.clear()


os.register_at_fork(after_in_child=_give_back)
