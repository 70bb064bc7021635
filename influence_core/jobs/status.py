"""State of jobs: progress, place in the queue, and end.

run.json holds the end, the lock shows whether the process exists, progress.json holds the progress. A job without an
end whose lock is free was interrupted.
"""

import os
import time
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from influence_core.jobs.process import is_running, run_folder_at
from influence_core.run_files.folder import read_description
from influence_core.run_files.progress import read_progress
from influence_core.system import locks as job_lock

WAITING = {"queued", "running"}
ENDS = {"finished", "cancelled", "failed"}
PLACES = ("*/job.json", "*/advice/job.json", "*/verifications/*/job.json")
SHOWN_LINES, SHOWN_BYTES = 20, 8_000  # of the log
STARTING, SILENT = 10.0, 120.0  # seconds
INTERRUPTED = (
    "The job ended without a message: the system stopped it, often for lack of memory, or the machine was "
    "restarted. Finished shards are kept: resume it, with a smaller batch size if memory was the reason."
)


@dataclass(frozen=True)
class JobStatus:
    """The state of a job: queued, running, finished, cancelled, failed or interrupted.

    `fraction` is of the whole run; `rate` in units of the stage per second; `eta` in seconds, None while unknown.
    `position` is 1 for the job that starts next. `log` holds the last lines if the job failed or was interrupted. A run
    made without a job is not `steerable`: it can be watched, not cancelled or launched.
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
    position: int | None = None
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
    steerable = (folder / "job.json").exists()
    state, reason = _state(folder) if steerable else _state_of_a_run(folder)
    progress = read_progress(folder) or {}
    fields = {name: progress[name] for name in JobStatus.__match_args__ if name in progress}
    fields |= {"folder": folder.name, "state": state, "message": reason, "steerable": steerable}
    if state == "queued":
        fields["position"] = _position(folder)
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
    waiting = []
    for path in chain.from_iterable(map(Path(root).glob, PLACES)):
        progress = read_progress(path.parent) or {}
        if progress.get("state") == "queued" and job_lock.is_locked(path.parent / "lock"):
            waiting.append((str(progress.get("queued")), path.parent.relative_to(root).as_posix()))
    return [name for _, name in sorted(waiting)]


def runs_root_of(folder: Path) -> Path:
    """The root whose queue a job is in; jobs on a finished run are inside the run's folder."""
    run = next((parent for parent in folder.parents[:2] if (parent / "run.json").exists()), folder)
    return run.parent


def last_lines(folder: Path) -> tuple[str, ...]:
    """The end of the job's log."""
    try:
        with (folder / "log.txt").open("rb") as log:
            log.seek(max(0, os.fstat(log.fileno()).st_size - SHOWN_BYTES))
            return tuple(log.read().decode(errors="replace").splitlines()[-SHOWN_LINES:])
    except FileNotFoundError:
        return ()


def run_state(folder: Path) -> str | None:
    """The state in run.json, None before there is one."""
    return read_description(folder)["state"] if (folder / "run.json").exists() else None


def end_of(folder: Path) -> tuple[str, str | None] | None:
    """The end of a job (finished, cancelled or failed) and its reason; None while it has not ended."""
    if (folder / "run.json").exists():
        record, reason = read_description(folder), "reason"
    else:  # work without its own run, or whose run had not begun
        record, reason = read_progress(folder) or {}, "message"
    return (record["state"], record.get(reason)) if record.get("state") in ENDS else None


def _state(folder: Path) -> tuple[str, str | None]:
    """State and reason; read twice if the lock is free, because a job may begin or end between two reads."""
    for _ in range(2):
        running = is_running(folder)
        if (end := end_of(folder)) is not None:
            return end
        progress = read_progress(folder)
        if running or (progress is None and _age(folder / "job.json") < STARTING):
            return (progress["state"] if progress else "queued"), None
    return ("cancelled", None) if (folder / "cancel").exists() else ("interrupted", INTERRUPTED)


def _state_of_a_run(folder: Path) -> tuple[str, str | None]:
    """State and reason of a run without a job, which holds no lock: silent for long, it counts as interrupted."""
    silent = _age(folder / "progress.json") > SILENT and _age(folder / "run.json") > SILENT
    if (end := end_of(folder)) is not None:
        return end
    return ("interrupted", INTERRUPTED) if silent or not (folder / "run.json").exists() else ("running", None)


def _age(path: Path) -> float:
    """Seconds since a file was written; infinite if it does not exist."""
    return time.time() - path.stat().st_mtime if path.exists() else float("inf")


def _position(folder: Path) -> int | None:
    root = runs_root_of(folder)
    waiting, name = queue(root), folder.relative_to(root).as_posix()
    return waiting.index(name) + 1 if name in waiting else None
