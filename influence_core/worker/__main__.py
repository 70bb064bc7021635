"""Entry point of a job's child process: python -m influence_core.worker FOLDER LOCK."""

import sys
from pathlib import Path

from influence_core.errors import JobError
from influence_core.worker.child import failed, run_child
from influence_core.worker.work import work_of

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    try:
        work, stages = work_of(folder)
    except JobError as error:  # job.json is damaged
        sys.exit(failed(folder, int(sys.argv[2]), str(error)))
    sys.exit(run_child(folder, int(sys.argv[2]), work, stages))
