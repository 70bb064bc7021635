"""The child process of a job: it waits for its turn, does the work (work.py), and records the end.

    python -m influence_core.worker FOLDER LOCK       (started by jobs.launch, which hands over the lock)

A watchdog checks for the cancel flag ten times a second. The work then has one second to stop by itself at its next
report of progress; after that the process is ended. So a stop takes two seconds at most. It is safe at any moment
because files get their names only when complete.
"""

import os
import signal
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from influence_core.errors import Cancelled, InfluenceError, JobError, RunError
from influence_core.jobs.places import runs_root_of
from influence_core.jobs.process import limit
from influence_core.jobs.status import queue
from influence_core.run_files.folder import cancel_run, fail_run
from influence_core.run_files.progress import ProgressWriter, Stage, read_progress, write_progress
from influence_core.run_files.state import run_state
from influence_core.system import atomic, disk_full, scarce_memory
from influence_core.system import locks as job_lock
from influence_core.system.report import Report
from influence_core.system.times import utc_now

LOOK = 0.1  # seconds between two checks for the cancel flag
GRACE = 1.0  # seconds the work has to stop by itself
TURN = 0.2  # seconds between two checks of the queue
LOST = 10  # checks in which a waiting job is not in its queue before it gives up: two seconds
NICENESS = 5
STOPPED = "Stopped on request. Finished work is kept: resume to continue from there."

Work = Callable[[Path, Report], None]


def run_child(folder: Path, lock: int, work: Work, stages: tuple[Stage, ...]) -> int:
    """Wait for the job's turn, do its work and record how it ended. Exit code: 1 when it failed, else 0.

    `lock` is the descriptor of the folder's lock: kept open, and not inherited by other programs. `work` is called
    with the folder and on_progress, which raises Cancelled when a stop was requested.
    """
    job_lock.adopt(lock)
    os.nice(NICENESS)
    stop = threading.Event()
    ended = threading.Lock()  # its holder records the end
    threading.Thread(target=_watch, args=(folder, stop, ended), daemon=True).start()
    try:
        atomic.remove_unfinished(folder)
        _log(f"process {os.getpid()} waits for its turn")
        slot = _wait_for_turn(folder, stop)  # held until this process ends
        _log(f"begins, holding slot {slot}")
        writer = ProgressWriter(folder, stages)
        work(folder, _stoppable(writer, stop))
        return _end(folder, ended, "finished", None)
    except Cancelled:
        return _end(folder, ended, "cancelled", STOPPED)
    except BaseException as error:  # a KeyboardInterrupt or MemoryError too is a failure with a reason
        with suppress(OSError):  # the log may be on a full disk
            traceback.print_exc()
        return _end(folder, ended, "failed", _reason(error, folder))


def failed(folder: Path, lock: int, message: str) -> int:
    """Record the end of a job that cannot begin; returns the exit code."""
    job_lock.adopt(lock)
    return _end(folder, threading.Lock(), "failed", message)


def _stoppable(writer: ProgressWriter, stop: threading.Event) -> Report:
    def on_progress(stage: str, done: int, total: int) -> None:
        if stop.is_set():
            raise Cancelled(STOPPED)
        writer(stage, done, total)

    return on_progress


def _watch(folder: Path, stop: threading.Event, ended: threading.Lock) -> None:
    while not (folder / "cancel").exists():
        time.sleep(LOOK)
    stop.set()
    time.sleep(GRACE)
    _end(folder, ended, "cancelled", STOPPED)
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # together with the processes that the work started
    os._exit(0)


def _wait_for_turn(folder: Path, stop: threading.Event) -> int:
    """Wait until the job is first in the queue and a slot is free; the slot is held until this process ends."""
    root = runs_root_of(folder)
    name, missed = folder.relative_to(root).as_posix(), 0
    slots = root / ".slots"
    slots.mkdir(exist_ok=True)
    while not stop.wait(TURN):
        waiting = queue(root)
        missed = 0 if name in waiting else missed + 1
        if missed > LOST:
            raise JobError(
                f"The job {name} waits, but is not in the queue of {root}, so its turn would never come. Start the "
                f"work anew; if it happens again, report this message."
            )
        if waiting[:1] != [name]:
            continue
        for number in range(limit()):
            if (slot := job_lock.acquire(slots / str(number), patience=0)) is not None:
                write_progress(folder, {**(read_progress(folder) or {}), "state": "running"})
                return slot
    raise Cancelled(STOPPED)


def _end(folder: Path, ended: threading.Lock, state: str, message: str | None) -> int:
    """Record the end of the job once, though the watchdog and the work may both try; returns the exit code."""
    if not ended.acquire(blocking=False):
        time.sleep(3 * GRACE)  # the other caller is about to end the process
        return 0
    with suppress(OSError):  # on a full disk the end cannot be recorded; the job then counts as interrupted
        if (folder / "run.json").exists():
            state, message = _ended_run(folder, state, message or "")
        else:
            write_progress(folder, {**(read_progress(folder) or {}), "state": state, "message": message})
    _log(f"{state}{f': {message}' if message else ''}")
    return 1 if state == "failed" else 0


def _log(line: str) -> None:
    with suppress(OSError):  # a full disk must not end the work
        print(f"--- {utc_now()} {line}", flush=True)


def _ended_run(folder: Path, state: str, reason: str) -> tuple[str, str | None]:
    """Record the end in run.json; a run that was sealed in the meantime is finished."""
    mark = {"cancelled": cancel_run, "failed": fail_run}.get(state)
    try:
        if mark is not None:
            mark(folder, reason)
    except RunError as error:
        _log(str(error))
    return ("finished", None) if _is_finished(folder) else (state, reason)


def _is_finished(folder: Path) -> bool:
    try:
        return run_state(folder) == "finished"
    except RunError:  # run.json is damaged
        return False


def _reason(error: BaseException, folder: Path) -> str:
    if (full := disk_full.sentence(error, folder)) is not None:
        return full
    if isinstance(error, InfluenceError):
        return str(error)
    if scarce_memory.is_cause(error):
        return "There was not enough memory. Resume with a smaller batch size; finished shards are kept."
    return f"{type(error).__name__}: {error}"
