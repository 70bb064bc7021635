"""The child of the tests of jobs: real machinery, small work. Counts to a number, one shard a step.

    python slow_worker.py FOLDER LOCK        (started by jobs.launch with this file as its command)

job.json's settings: steps, seconds (a step), deaf (never reports, so that cancel must end it), error, die.
"""

import os
import signal
import sys
import time
from pathlib import Path

from influence_core.jobs import submission as jobs
from influence_core.system.report import Report
from influence_core.worker.child import run_child

STAGES = (("count", "Counting", 1.0),)


def count(folder: Path, on_progress: Report) -> None:
    """Make one shard a step, and skip those that are there."""
    settings = jobs.read_job(folder).settings
    steps, shards = settings["steps"], folder / "shards"
    shards.mkdir(exist_ok=True)
    for step in range(steps):
        if (shards / str(step)).exists():
            continue
        if not settings.get("deaf"):
            on_progress("count", step, steps)
        time.sleep(settings["seconds"])
        (shards / str(step)).write_text(str(os.getpid()))
        if settings.get("error") == step:
            raise ValueError("step went wrong")
        if settings.get("die") == step and not (folder / "died").exists():
            (folder / "died").touch()
            print("about to be killed by the system", flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
    on_progress("count", steps, steps)


if __name__ == "__main__":
    sys.exit(run_child(Path(sys.argv[1]), int(sys.argv[2]), count, STAGES))
