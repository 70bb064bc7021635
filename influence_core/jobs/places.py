"""Where jobs lie: in the folders of a root of runs, and up to three levels inside a run.

    <root>/<run>/job.json                         an analysis
    <root>/<run>/advice/job.json                  work on a finished run, in a folder of its own
    <root>/<run>/verifications/<number>/job.json
    <root>/<run>/recordings/<name>/job.json

One walk finds them all, so that no kind of work can be forgotten in a list.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from influence_core.run_files.folder import FOLDER_NAME

DEEPEST = 3
"""Levels below a run at which work may have its folder."""


def all_jobs(root: Path) -> Iterator[Path]:
    """Folders of all jobs of a root, in no order. A folder that is neither a run nor a job is not looked into."""
    for run in _entries(str(root)):
        if _is_folder(run):
            inside = {entry.name for entry in _entries(run.path)}
            if not inside.isdisjoint({"job.json", "run.json"}):
                yield from jobs_below(Path(run.path))


def jobs_below(folder: Path) -> Iterator[Path]:
    """Folders of the jobs in a run, its own included: it comes first."""
    yield from map(Path, _walk(str(folder), DEEPEST))


def runs_root_of(folder: Path) -> Path:
    """The root whose queue a job is in; jobs on a finished run are inside the run's folder."""
    run = next((parent for parent in folder.parents[:DEEPEST] if (parent / "run.json").exists()), folder)
    return run.parent


def _walk(folder: str, levels: int) -> Iterator[str]:
    """Texts, not paths: 300 runs are walked at each look at the queue, ten folders each."""
    entries = _entries(folder)
    if any(entry.name == "job.json" for entry in entries):
        yield folder
    if levels:
        for entry in filter(_is_folder, entries):
            yield from _walk(entry.path, levels - 1)


def _entries(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # gone since, or not readable
        return []


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """No link, and a name that a run may have."""
    return FOLDER_NAME.fullmatch(entry.name) is not None and entry.is_dir(follow_symlinks=False)
