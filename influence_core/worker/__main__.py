"""Entry point of a job's child process: python -m influence_core.worker FOLDER LOCK."""

import sys
from pathlib import Path

from influence_core.errors import JobError
from influence_core.run_files.progress import write_progress
from influence_core.worker.child import run_child
from influence_core.worker.work import work_of

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        work, stages = work_of(folder)
    except JobError as error:  # job.json is damaged
        write_progress(folder, {"state": "failed", "message": str(error)})
        sys.exit(f"{error}")
    sys.exit(run_child(folder, int(sys.argv[2]), work, stages))
