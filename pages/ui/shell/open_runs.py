"""The finished runs that this server keeps open, shared by its pages and the routes of their pictures."""

import threading
from functools import lru_cache
from pathlib import Path

from influence_core.runs.run import Run, open_run

_opening = threading.Lock()


def opened(folder: Path) -> Run:
    """The run in this folder; opened and checked once, and again when its run.json changes.

    Raises:
        RunError, OSError: it cannot be opened.
    """
    written = (folder / "run.json").stat().st_mtime_ns
    with _opening:  # a first page asks for sixty thumbnails at once: without the lock each would open the run
        return _open_once(folder.resolve(), written)


@lru_cache(maxsize=16)
def _open_once(folder: Path, written: int) -> Run:
    return open_run(folder)
