"""Turns at something that only one may do at a time: who comes first is first, among threads and processes.

Writers that sleep and try again are served by chance: with twenty of them some waited 16 s for a transaction of 15 ms.
Two locks make a line: who stands at its head holds the place of the next one until the turn comes. With one, whoever
gave the turn on took it again before the next one had woken up. The kernel gives both on whatever ends their holder.
"""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def turn(path: Path, patience: float) -> Iterator[None]:
    """Wait in the line of this file, made when missing, and have the turn until the block ends.

    Raises:
        TimeoutError: If it did not come within `patience` seconds.
    """
    place = _locked(path.with_name(f"{path.name}-next"), patience)
    try:
        mine = _locked(path, patience)
    finally:
        os.close(place)
    try:
        yield
    finally:
        os.close(mine)


def _locked(path: Path, patience: float) -> int:
    """Return a descriptor that holds the lock of this file until it is closed."""
    descriptor = _opened(path)
    if not _at_once(descriptor):
        _Waiting(descriptor).until(patience)
    return descriptor


def _opened(path: Path) -> int:
    """Open the file to write, as NFS demands of a lock; to read, enough elsewhere, where another user made it."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except PermissionError:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _at_once(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError:  # a disk without locks
        os.close(descriptor)
        raise


class _Waiting:
    """A wait that can be given up. The kernel's wait has no limit, so a thread of its own does the waiting."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._came, self._deciding, self._given_up = threading.Event(), threading.Lock(), False
        threading.Thread(target=self._wait, daemon=True).start()

    def until(self, patience: float) -> None:
        self._came.wait(patience)
        with self._deciding:
            if self._came.is_set():
                return
            self._given_up = True
        raise TimeoutError(f"no turn within {patience:g} seconds")

    def _wait(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._deciding:
            self._came.set()
            if self._given_up:
                os.close(self._descriptor)  # passes the turn on
