"""The process of a job: starting it, checking it, ending it."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from influence_core.errors import JobError
from influence_core.run_files.folder import FOLDER_NAME
from influence_core.system import locks as job_lock
from influence_core.system.processors import cores

_children: dict[int, subprocess.Popen[bytes]] = {}  # kept to collect the exit status of ended ones


def start(folder: Path, descriptor: int, command: Sequence[str]) -> None:
    """Start the child in a separate session, so that neither Ctrl-C nor the end of the server reaches it."""
    package = str(Path(__file__).resolve().parents[2])
    paths = [package, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
    environment.setdefault("OMP_NUM_THREADS", str(max(1, cores() // limit())))
    with (folder / "log.txt").open("ab") as log:
        child = subprocess.Popen(
            [*command, str(folder.resolve()), str(descriptor)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=(descriptor,),
            start_new_session=True,
        )
    _children[child.pid] = child
    (folder / "pid").write_text(str(child.pid))


def is_running(folder: Path | str) -> bool:
    """Whether the job's process exists, also while it waits in the queue."""
    collect_ended()
    return job_lock.is_locked(run_folder_at(folder) / "lock")


def collect_ended() -> None:
    """Collect the exit status of ended children, which would stay in the list of processes."""
    for number, child in list(_children.items()):
        if child.poll() is not None:
            _children.pop(number, None)


def kill(folder: Path | str) -> bool:
    """End the job's processes at once, for a job that does not react to cancel; False if it has no process."""
    folder = job_folder_at(folder)
    (folder / "cancel").touch()
    for _ in range(50):  # the starter may be about to write the process number
        if not is_running(folder):
            return False
        if _ended_group(folder):
            return True
        time.sleep(0.02)
    raise JobError(f"The job in {folder} has written no process number. End its process by hand.")


def _ended_group(folder: Path) -> bool:
    """End the job's process group, data loaders included; the held lock shows that the number is still the job's."""
    try:
        number = int((folder / "pid").read_text())
        if number > 1:  # 0 would end this process's own group, 1 every process
            os.killpg(number, signal.SIGKILL)
        return number > 1
    except (FileNotFoundError, ValueError, ProcessLookupError):
        return False


def limit() -> int:
    """Number of jobs that may run at the same time: INFLUENCE_JOBS, or one."""
    text = os.environ.get("INFLUENCE_JOBS", "1")
    if not re.fullmatch(r"[1-9]\d?", text):
        raise JobError(f"INFLUENCE_JOBS is {text!r}; expected a whole number from 1 to 99.")
    return int(text)


def run_folder_at(folder: Path | str) -> Path:
    """Check that a run folder exists and that its name is safe in a path.

    Raises:
        JobError: a name that could lead elsewhere, or no such folder.
    """
    folder = Path(folder)
    if not FOLDER_NAME.fullmatch(folder.name):
        raise JobError(f"{folder.name!r} cannot be the folder name of a run. Choose a run from the list.")
    if not folder.is_dir():
        raise JobError(f"There is no run in {folder}. Choose a run from the list.")
    return folder


def job_folder_at(folder: Path | str) -> Path:
    """Check as `run_folder_at`, and that the folder was made by submit; a JobError where it has no job.json."""
    folder = run_folder_at(folder)
    if not (folder / "job.json").is_file():
        raise JobError(
            f"{folder} has no job.json: it was not started as a job, so it cannot be controlled as one."
        )
    return folder
