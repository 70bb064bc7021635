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
    for folder in _folders(root):
        if (folder / "job.json").exists() or (folder / "run.json").exists():
            yield from jobs_below(folder)


def jobs_below(folder: Path, levels: int = DEEPEST) -> Iterator[Path]:
    """Folders of the jobs in a run, its own included: it comes first."""
    if (folder / "job.json").exists():
        yield folder
    if levels:
        for inner in _folders(folder):
            yield from jobs_below(inner, levels - 1)


def runs_root_of(folder: Path) -> Path:
    """The root whose queue a job is in; jobs on a finished run are inside the run's folder."""
    run = next((parent for parent in folder.parents[:DEEPEST] if (parent / "run.json").exists()), folder)
    return run.parent


def _folders(folder: Path) -> list[Path]:
    """The folders directly inside, without links and names that no run has."""
    try:
        with os.scandir(folder) as entries:
            names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:  # gone since, or not readable
        return []
    return [folder / name for name in sorted(names) if FOLDER_NAME.fullmatch(name)]
