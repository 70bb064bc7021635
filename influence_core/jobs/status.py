"""How a job is doing, and how long until it begins.

run.json says how it ended, its lock whether it lives, progress.json how far it is. A job without an end, and whose lock
nobody holds, was interrupted: it died without a word.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path

from influence_core.jobs.process import alive, run_folder_at
from influence_core.run_files.folder import read_description
from influence_core.run_files.progress import read_progress
from influence_core.system import locks as job_lock

WAITING = {"queued", "running"}
ENDS = {"finished", "cancelled", "failed"}
PLACES = ("*/job.json", "*/advice/job.json", "*/verifications/*/job.json")
SHOWN_LINES, SHOWN_BYTES = 20, 8_000  # of the log
STARTING, SILENT = 10.0, 120.0  # seconds
INTERRUPTED = (
    "The job ended without a word: the system stopped it, often for lack of memory, or the machine was "
    "restarted. Finished shards are kept: resume it, with a smaller batch size if it was memory."
)


@dataclass(frozen=True)
class JobStatus:
    """How a job is doing. `state` is queued, running, finished, cancelled, failed or interrupted.

    `fraction` is of the whole run; `eta` in seconds, None while unknown; `position` is 1 for the job
    that starts next; `log` holds the last lines when the job failed or was interrupted. A run
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
        """Whether it is worth looking again soon."""
        return self.state in WAITING

    @property
    def resumable(self) -> bool:
        """Whether launch would continue it."""
        return self.steerable and self.state in {"cancelled", "failed", "interrupted"}


def status(folder: Path | str) -> JobStatus:
    """How a job is doing, as one consistent answer. Also answers for runs that were made without a job."""
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
    """Folders, relative to the root, of the jobs that wait for their turn, the next one first."""
    waiting = []
    for path in (path for places in PLACES for path in Path(root).glob(places)):
        progress = read_progress(path.parent) or {}
        if progress.get("state") == "queued" and job_lock.is_locked(path.parent / "lock"):
            waiting.append((str(progress.get("queued")), path.parent.relative_to(root).as_posix()))
    return [name for _, name in sorted(waiting)]


def runs_root_of(folder: Path) -> Path:
    """The root whose queue a job stands in: jobs on a finished run live inside its folder."""
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
    """How work ended, finished, cancelled or failed, and why; None while it has no end."""
    if (folder / "run.json").exists():
        said, reason = read_description(folder), "reason"
    else:  # work without a run of its own, or whose run had not begun
        said, reason = read_progress(folder) or {}, "message"
    return (said["state"], said.get(reason)) if said.get("state") in ENDS else None


def _state(folder: Path) -> tuple[str, str | None]:
    """State and reason; looked at twice when nobody holds the lock: a job may begin or end between two looks."""
    for _ in range(2):
        living = alive(folder)
        if (end := end_of(folder)) is not None:
            return end
        progress = read_progress(folder)
        if living or (progress is None and _age(folder / "job.json") < STARTING):
            return (progress["state"] if progress else "queued"), None
    return ("cancelled", None) if (folder / "cancel").exists() else ("interrupted", INTERRUPTED)


def _state_of_a_run(folder: Path) -> tuple[str, str | None]:
    """Without a job nobody holds the lock: a run that reports nothing any more is taken for interrupted."""
    silent = _age(folder / "progress.json") > SILENT and _age(folder / "run.json") > SILENT
    if (end := end_of(folder)) is not None:
        return end
    return ("interrupted", INTERRUPTED) if silent or not (folder / "run.json").exists() else ("running", None)


def _age(path: Path) -> float:
    """Seconds since a file was written; endless when it is not there."""
    return time.time() - path.stat().st_mtime if path.exists() else float("inf")


def _position(folder: Path) -> int | None:
    root = runs_root_of(folder)
    waiting, name = queue(root), folder.relative_to(root).as_posix()
    return waiting.index(name) + 1 if name in waiting else None
