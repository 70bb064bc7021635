"""Predictions and verifications as jobs, in the folder of their run and in the same queue as analyses.

    RUN/advice/job.json              kind "predict": influence under candidate labels (repair/predicted_effects.py)
    RUN/verifications/<n>/job.json   kind "verify": its changes are frozen in changes.parquet on submission, so that
                                     later decisions do not change them

Process, lock, progress, cancel and resume are those of submission.py.
"""

from pathlib import Path
from typing import Any

from influence_core.errors import JobError
from influence_core.jobs import submission as jobs
from influence_core.jobs.places import jobs_below
from influence_core.repair.repairs import Repair
from influence_core.runs.run import Run
from influence_core.system import atomic
from influence_core.system.safe_tables import write_parquet
from influence_core.verification.results import CHANGES, new_folder

PREDICT, VERIFY = "predict", "verify"


def submit_prediction(run: Run, *, also: tuple[str, ...] = ()) -> Path:
    """Start a job that computes predictions for the samples in doubt and those in `also`; returns its folder."""
    folder = run.path / "advice"
    folder.mkdir(exist_ok=True)
    jobs.write_task(folder, {"kind": PREDICT, "also": list(also)})
    jobs.launch(folder)
    return folder


def submit_verification(run: Run, repair: Repair, **settings: Any) -> Path:
    """Start a job that verifies a repair; returns its folder.

    settings: keywords of verify as JSON, a recipe as its fields.
    """
    folder = new_folder(run)
    write_parquet(repair.changes.reset_index(), folder / CHANGES)
    facts = {"name": repair.name, "run": repair.run, "made": repair.made}
    facts |= {"undone": repair.undone, "aim": repair.aim, "changes": atomic.sha256(folder / CHANGES)}
    jobs.write_task(folder, {"kind": VERIFY, "repair": facts, "settings": settings})
    jobs.launch(folder)
    return folder


def kind_of(folder: Path) -> str:
    """Kind of the job in this folder: analyse, record, predict or verify."""
    content = jobs.read_task(folder)
    return str(content.get("kind") or content.get("work", "analyse"))


def title_of(folder: Path) -> str:
    """Title of work on a finished run, for the screen; also of a job whose task cannot be read."""
    try:
        kind, content = kind_of(folder), jobs.read_task(folder)
    except JobError:
        return "Work on this run"
    if kind == VERIFY:
        return f"Verifying {content['repair']['name']}"
    return "Trying every candidate label" if kind == PREDICT else "Recording a training"


def active(run_folder: Path) -> list[Path]:
    """Folders of the jobs on a finished run that are queued or running."""
    return [
        folder for folder in jobs_below(run_folder) if folder != run_folder and jobs.status(folder).active
    ]
