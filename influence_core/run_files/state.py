"""The state of the work in a folder: queued, running, finished, cancelled, failed or interrupted.

run.json holds the end, the lock shows whether the process exists, progress.json holds the progress. Work without an
end whose lock is free was interrupted.
"""

import time
from pathlib import Path

from influence_core.run_files.folder import read_description
from influence_core.run_files.progress import read_progress
from influence_core.run_files.writer import LOCK
from influence_core.system import locks

ENDS = {"finished", "cancelled", "failed"}
STARTING, SILENT = 10.0, 120.0  # seconds
INTERRUPTED = (
    "The job ended without a message: the system stopped it, often for lack of memory, or the machine was "
    "restarted. Finished shards are kept: resume it, with a smaller batch size if memory was the reason."
)

Ended = tuple[str, str | None]
"""A state and its reason."""


def state_of(folder: Path) -> Ended:
    """State and reason of the work in a folder; the folder of a job has a job.json."""
    return _of_a_job(folder) if (folder / "job.json").exists() else _of_a_run(folder)


def run_state(folder: Path) -> str | None:
    """The state in run.json, None before there is one."""
    return read_description(folder)["state"] if (folder / "run.json").exists() else None


def end_of(folder: Path) -> Ended | None:
    """The end of a job (finished, cancelled or failed) and its reason; None while it has not ended."""
    if (folder / "run.json").exists():
        record, reason = read_description(folder), "reason"
    else:  # work without its own run, or whose run had not begun
        record, reason = read_progress(folder) or {}, "message"
    return (record["state"], record.get(reason)) if record.get("state") in ENDS else None


def _of_a_job(folder: Path) -> Ended:
    """State and reason; read twice if the lock is free, because a job may begin or end between two reads."""
    for _ in range(2):
        running = locks.is_locked(folder / LOCK)
        if (end := end_of(folder)) is not None:
            return end
        progress = read_progress(folder)
        if running or (progress is None and _age(folder / "job.json") < STARTING):
            continued = run_state(folder) == "running"  # by a command, or from Python: it waits in no queue
            return (progress["state"] if progress else "running" if continued else "queued"), None
    return ("cancelled", None) if (folder / "cancel").exists() else ("interrupted", INTERRUPTED)


def _of_a_run(folder: Path) -> Ended:
    """State and reason of a run without a job; one of version 0.5, which held no lock, by how long it is silent."""
    if (end := end_of(folder)) is not None:
        return end
    if (folder / LOCK).exists():
        alive = locks.is_locked(folder / LOCK)
    else:
        alive = min(_age(folder / "progress.json"), _age(folder / "run.json")) <= SILENT
    return ("running", None) if alive and (folder / "run.json").exists() else ("interrupted", INTERRUPTED)


def _age(path: Path) -> float:
    """Seconds since a file was written; infinite if it does not exist."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")
