"""Temporary folders that go with their process, also with one that was killed.

The process holds a lock on its folder (flock on the folder itself), which the kernel frees whatever ends the process.
The next process that looks for orphans removes the folders that nobody holds.
"""

import fcntl
import os
import shutil
import stat
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path

PREFIX = "influence-temporary-"
"""No other folder is called so: what begins with it and has no owner is removed."""


class TemporaryFolder:
    """A folder that disappears with the last reference to it, or with the process."""

    def __init__(self, within: Path | None = None):
        self.path, lock = _held_folder(within)
        self.remove = weakref.finalize(self, _remove, self.path, lock, os.getpid())

    def __enter__(self) -> Path:
        return self.path

    def __exit__(self, *_: object) -> None:
        self.remove()


def _held_folder(within: Path | None) -> tuple[Path, int]:
    """Create a folder and hold it; another one if it was taken for an orphan before it was held."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=within))
        with suppress(FileNotFoundError):
            lock = os.open(path, os.O_RDONLY)
            with suppress(OSError):  # a disk without locks
                fcntl.flock(lock, fcntl.LOCK_EX)
            if path.is_dir():
                return path, lock
            os.close(lock)


def _remove(path: Path, lock: int, owner: int) -> None:
    if os.getpid() == owner:  # a forked data loader shares the folder and must not delete it
        shutil.rmtree(path, ignore_errors=True)
        os.close(lock)


def remove_orphans(within: Path | None = None) -> int:
    """Remove the temporary folders whose process has ended, and return their number."""
    try:
        place = Path(tempfile.gettempdir()) if within is None else within
    except OSError:  # none can be written to: the disk is full
        return 0
    return sum(map(_removed, list(place.glob(f"{PREFIX}*"))))


def _removed(folder: Path) -> bool:
    with suppress(OSError):  # gone, held, or somebody else's
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
            return False
        lock = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(folder, ignore_errors=True)
            return True
        finally:
            os.close(lock)
    return False
