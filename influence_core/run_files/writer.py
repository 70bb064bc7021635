"""The one writer of a folder: whoever analyses, verifies, records or predicts into a folder holds its lock.

A job's lock is handed over by its starter and belongs to its process. Any other work, from a command or from Python,
takes the lock for as long as it goes on.
"""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from influence_core.errors import RunError
from influence_core.run_files.progress import FILE, WAITING, read_progress
from influence_core.system import atomic, locks

LOCK = "lock"
OF_A_JOB = ("pid", "cancel")
"""What the last job in a folder left about its process. The number would belong to somebody else by now."""
_until_closed: Counter[Path] = Counter()
"""How often this process became the writer of a folder by `become_writer`, and has not ended that."""


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Be the only one to write into a folder during the block; it is created when missing.

    Raises:
        RunError: another process, or other work of this one, writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with locks.holding(folder / LOCK) as held:
        if not held:
            raise _taken(folder)
        if not locks.is_adopted(folder / LOCK):
            _tidied(folder)
        yield


def become_writer(folder: Path) -> None:
    """Be the only process to write into a folder until `end_writing`, or until this process ends.

    Raises:
        RunError: another process writes there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if locks.is_adopted(folder / LOCK):
        if folder.resolve() in _until_closed:  # not in a job, which keeps its lock
            _until_closed[folder.resolve()] += 1
        return
    if (descriptor := locks.acquire(folder / LOCK)) is None:
        raise _taken(folder)
    locks.adopt(descriptor)
    _until_closed[folder.resolve()] += 1  # a recorder whose folder was deleted counts, until it goes
    _tidied(folder)


def end_writing(folder: Path) -> None:
    """Let other processes write into a folder again, once for each `become_writer`; a job keeps its lock."""
    place = folder.resolve()
    if place in _until_closed:
        _until_closed[place] -= 1
        if not _until_closed[place]:
            del _until_closed[place]
            locks.release(folder / LOCK)


def refuse_others(folder: Path) -> None:
    """Raise RunError while somebody else writes into a folder."""
    if locks.is_locked(folder / LOCK) and not locks.is_mine(folder / LOCK):
        raise _taken(folder)


os.register_at_fork(after_in_child=_until_closed.clear)  # the locks themselves are given back in locks.py


def _tidied(folder: Path) -> None:
    for name in OF_A_JOB:
        (folder / name).unlink(missing_ok=True)
    if (read_progress(folder) or {}).get("state") in WAITING:  # it died; "queued" would hold up the queue
        (folder / FILE).unlink()
    atomic.remove_unfinished(folder)


def _taken(folder: Path) -> RunError:
    return RunError(
        f"Another process works in {folder}, and only one at a time may. Wait until it has finished, stop it, or "
        f"choose another folder."
    )
