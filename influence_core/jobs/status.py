"""State of jobs: progress, place in the queue, and end.

What has ended, and how, is judged by run_files/state.py.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from influence_core.jobs.places import all_jobs, runs_root_of
from influence_core.jobs.process import collect_ended, run_folder_at
from influence_core.run_files.progress import WAITING, read_progress
from influence_core.run_files.state import state_of
from influence_core.system import locks as job_lock

SHOWN_LINES, SHOWN_BYTES = 20, 8_000  # of the log


@dataclass(frozen=True)
class JobStatus:
    """The state of a job: queued, running, finished, cancelled, failed or interrupted.

    `fraction` is of the whole run; `rate` in units of the stage per second; `eta` in seconds, None while unknown.
    `ahead` counts the jobs at work and those that start before a queued one. `log` holds the last lines if the job
    failed or was interrupted. A run made without a job is not `steerable`: it can be watched, not cancelled or
    launched.
    """

    folder: str
    state: str
    stage: str | None = None
    stage_title: str = ""
    stage_index: int = 0
    stage_count: int = 0
    done: int = 0
    total: int = 0
    fraction: float = 0.0
    rate: float | None = None
    eta: float | None = None
    updated: str | None = None
    message: str | None = None
    ahead: int | None = None
    cancelling: bool = False
    log: tuple[str, ...] = ()
    steerable: bool = True

    @property
    def active(self) -> bool:
        """Whether the job is queued or running, so that its state will change."""
        return self.state in WAITING

    @property
    def resumable(self) -> bool:
        """Whether launch would continue the job."""
        return self.steerable and self.state in {"cancelled", "failed", "interrupted"}


def status(folder: Path | str) -> JobStatus:
    """Read the state of a job, or of a run that was made without a job."""
    folder = run_folder_at(folder)
    collect_ended()
    steerable = (folder / "job.json").exists()
    state, reason = state_of(folder)
    progress = read_progress(folder) or {}
    fields = {name: progress[name] for name in JobStatus.__match_args__ if name in progress}
    fields |= {"folder": folder.name, "state": state, "message": reason, "steerable": steerable}
    if state == "queued":
        fields["ahead"] = _ahead(folder)
    if state != "running":
        fields |= {"eta": None, "rate": None}
    if state in WAITING:
        fields["cancelling"] = (folder / "cancel").exists()
    if state in {"failed", "interrupted"}:
        fields["log"] = last_lines(folder)
    if state == "finished":
        fields["fraction"] = 1.0
    return JobStatus(**fields)


def queue(root: Path | str) -> list[str]:
    """Folders, relative to the root, of the queued jobs, the next one first."""
    root, waiting = Path(root), []
    for folder in all_jobs(root):
        progress = read_progress(folder) or {}
        if progress.get("state") == "queued" and job_lock.is_locked(folder / "lock"):
            waiting.append((str(progress.get("queued")), folder.relative_to(root).as_posix()))
    return [name for _, name in sorted(waiting)]


def last_lines(folder: Path) -> tuple[str, ...]:
    """The end of the job's log."""
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - SHOWN_BYTES))
            return tuple(log.read().decode(errors="replace").splitlines()[-SHOWN_LINES:])
    except FileNotFoundError:
        return ()


def _ahead(folder: Path) -> int | None:
    root = runs_root_of(folder)
    waiting, name = queue(root), folder.relative_to(root).as_posix()
    return waiting.index(name) + len(_at_work(root)) if name in waiting else None


def _at_work(root: Path) -> list[Path]:
    return [
        folder
        for folder in all_jobs(root)
        if (read_progress(folder) or {}).get("state") == "running" and job_lock.is_locked(folder / "lock")
    ]
