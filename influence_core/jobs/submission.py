"""Jobs that survive a click, a reload, a crash or a restart of the server: submit, launch, cancel, read.

Each job is a detached child process. Its whole state is in the run folder, so that every browser shows the same:

    job.json        the task (JobSpec); written once
    lock            held by the child for its whole life, handed over by the starter (system/locks.py)
    progress.json   queued or running, progress and speed (run_files/progress.py)
    run.json        the end: finished, cancelled or failed (run_files/folder.py)
    cancel          a flag: stop requested
    log.txt, pid    output of the child; its process group

A job that is not finished can be launched again and continues from its last shard.
This module imports neither Streamlit nor torch; the child is worker/child.py.
"""

import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from influence_core.errors import DamagedError, JobError
from influence_core.jobs import process as job_process
from influence_core.jobs.process import is_running, job_folder_at, kill, limit
from influence_core.jobs.status import status
from influence_core.run_files import seals
from influence_core.run_files.folder import continue_run
from influence_core.run_files.progress import read_progress, write_progress
from influence_core.run_files.state import end_of, run_state
from influence_core.system import jail
from influence_core.system import locks as job_lock
from influence_core.system.temporary import remove_orphans
from influence_core.system.times import utc_now

__all__ = ["JobSpec", "cancel", "is_running", "kill", "launch", "limit", "read_job", "status", "submit"]

ENDING = 5.0  # longest time a process takes to end on a busy machine, in seconds
JAIL = jail.__file__
WORKER = (sys.executable, "-I", JAIL, sys.executable, "-P", "-m", "influence_core.worker")
"""Without a network if the system permits that: the work reads files of unknown origin, and needs no network."""


@dataclass(frozen=True)
class JobSpec:
    """The task of a job.

    Args:
        dataset: Path for open_dataset.
        model: Path for open_model.
        name: Name of the run; its folder gets a similar name.
        work: "analyse", or "record" a training for the Dynamics page.
        settings: Keywords of analyze, such as objectives; the fields of a Recipe for "record".
        dataset_options: Keywords of open_dataset, such as skip_unreadable.
        model_options: Keywords of open_model, such as architecture.
        recipe: Keywords of training.Recipe: first train a small network on the data, and save it in the folder `model`.
        upload: Id of the upload the data came with; the run is shared and deleted with it (intake/uploads.py).
    """

    dataset: str
    model: str
    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    model_options: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] | None = None
    upload: str | None = None
    work: str = "analyse"


def submit(root: Path | str, spec: JobSpec, *, command: Sequence[str] = WORKER) -> str:
    """Create a run folder for a job, start the job, and return the folder's name."""
    spec = _checked(spec)
    root = Path(root)
    root.mkdir(parents=True, exist_ok=True)
    folder = _new_folder(root, spec.name)
    write_task(folder, asdict(spec))
    launch(folder, command=command)
    return folder.name


def launch(folder: Path | str, *, command: Sequence[str] = WORKER) -> bool:
    """Start a job, or resume one that was cancelled, failed or interrupted; False if it is queued or running already.

    `command` gets the folder and the descriptor of the lock as arguments.
    """
    folder = job_folder_at(folder)
    remove_orphans()
    if (descriptor := _lock_of(folder)) is None:
        return False
    try:
        if (state := run_state(folder)) == "finished":
            raise JobError(f"The run in {folder} is already finished. Open it, or submit a new job.")
        if state is not None:
            continue_run(folder)
        for stale in ("cancel", "pid"):
            (folder / stale).unlink(missing_ok=True)
        earlier = read_progress(folder) or {}
        progress = {name: earlier[name] for name in ("fraction", "stage_count") if name in earlier}
        write_progress(folder, {**progress, "state": "queued", "queued": utc_now()})
        job_process.start(folder, descriptor, command)
    finally:
        os.close(descriptor)  # the child has its own copy of the lock; this one must not outlive it
    return True


def _lock_of(folder: Path) -> int | None:
    """The job's lock; None while the job is active. An ended job is waited for: its process holds the lock a moment."""
    deadline = time.monotonic() + ENDING
    while (descriptor := job_lock.acquire(folder / "lock")) is None:
        if end_of(folder) is None or time.monotonic() > deadline:
            return None
    return descriptor


def cancel(folder: Path | str) -> None:
    """Request the job to stop, and return at once; it stops within 2 seconds and keeps its finished shards."""
    (job_folder_at(folder) / "cancel").touch()


def read_job(folder: Path | str) -> JobSpec:
    """Read the task of a job."""
    content = read_task(job_folder_at(folder))
    fields = {name: content[name] for name in JobSpec.__match_args__ if name in content}
    if missing := [name for name in ("dataset", "model", "name") if not isinstance(fields.get(name), str)]:
        raise JobError(f"{folder}/job.json lacks {', '.join(missing)}: it is damaged. Start the work anew.")
    return JobSpec(**fields)


def write_task(folder: Path, content: Mapping[str, Any]) -> None:
    """Write job.json, once, with its own seal."""
    seals.write_json(folder / "job.json", {"format": 1, "submitted": utc_now(), **content})


def read_task(folder: Path) -> dict[str, Any]:
    """Return the content of job.json.

    Raises:
        JobError: it is missing or damaged.
    """
    try:
        return seals.read_json(folder / "job.json")
    except DamagedError as error:
        raise JobError(f"{error} Start the work anew.") from error


def _checked(spec: JobSpec) -> JobSpec:
    """The task with absolute paths that exist, valid from any working directory."""
    absolute = {name: os.path.abspath(getattr(spec, name)) for name in ("dataset", "model")}
    for name, path in absolute.items():
        if not os.path.exists(path):
            raise JobError(f"The {name} {path} does not exist. Choose a path that does.")
    if not spec.name.strip():
        raise JobError("The job has no name; expected one, such as that of the dataset.")
    return replace(spec, **absolute)


def _new_folder(root: Path, name: str) -> Path:
    """Create a folder: the name made fit for a path, with a number if it is taken."""
    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:80] or "run"
    for number in range(1, 10_000):
        folder = root / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir()
            return folder
        except FileExistsError:
            continue
    raise JobError(f"There are 10,000 runs called {stem!r} in {root}. Choose another name.")
