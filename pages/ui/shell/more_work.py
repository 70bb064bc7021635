"""The one door for long work: it checks the visitor's role, then starts, resumes or stops a job.

No other file of the pages may call what starts or stops work; a test reads their source. A click without the role is
refused here, also one that arrives after the role was taken away (visitor.py).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from influence_core.errors import RunError
from influence_core.jobs import repair_jobs
from influence_core.jobs import submission as jobs
from influence_core.jobs.submission import JobSpec
from influence_core.repair.repairs import Repair
from influence_core.runs.run import Run
from influence_core.training.recorded_training import recording_recipe
from influence_core.training.recorder import FOLDER, recordings_of
from pages.ui.shell import visitor
from pages.ui.shell.places import runs_root

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def start(
    action: Callable[Arguments, Result], *arguments: Arguments.args, **keywords: Arguments.kwargs
) -> Result:
    """Call what starts or stops work; raises AccessError unless the visitor is an owner."""
    visitor.require("owner", "start or stop work")
    return action(*arguments, **keywords)


def for_owners(*, disabled: bool = False, help: str | None = None) -> dict[str, Any]:
    """Keywords of a button that starts or stops work: for whoever may not, it is drawn disabled and says why."""
    if visitor.may("owner"):
        return {"disabled": disabled, "help": help}
    return {
        "disabled": True,
        "help": "Only owners start or stop work here. Ask the person who runs this server.",
    }


def analyse(spec: JobSpec) -> str:
    """Start an analysis; returns the folder name of its run."""
    return start(jobs.submit, runs_root(), spec)


def resume(folder: Path) -> None:
    """Resume a job that stopped early."""
    start(jobs.launch, folder)


def cancel(folder: Path) -> None:
    """Ask a job to stop."""
    start(jobs.cancel, folder)


def stop_at_once(folder: Path) -> None:
    """Kill the process of a job that does not react to `cancel`."""
    start(jobs.kill, folder)


def record(run: Run) -> None:
    """Start recording a training of the run's model, unless a recording is running."""
    spec = record_spec(run)
    if not any(
        (folder / "job.json").exists() and jobs.status(folder).active for folder in recordings_of(run.path)
    ):
        start(jobs.submit, run.path / FOLDER, spec)


def predict(run: Run, *, also: tuple[str, ...] = ()) -> None:
    """Start a prediction for the samples in doubt and for those in `also`."""
    start(repair_jobs.submit_prediction, run, also=also)


def verify(run: Run, repair: Repair, **settings: Any) -> None:
    """Start a verification of a repair."""
    start(repair_jobs.submit_verification, run, repair, **settings)


# ---------------------------------------------------------------------------------------------- specifications of jobs


def spec_of(run: Run) -> JobSpec | None:
    """The job that made a run, or would have made it from the same files; None for a run of objects in Python."""
    if (run.path / "job.json").exists():
        return jobs.read_job(run.path)
    inputs, settings = run.description["inputs"], run.description["settings"]
    dataset, model = inputs["dataset"].get("path"), inputs["model"].get("path")
    if not dataset or not model:
        return None
    return JobSpec(
        dataset=dataset,
        model=model,
        name=run.path.name,
        settings={"precision": settings.get("precision", "float32"), "seed": run.description.get("seed", 0)},
        dataset_options=dict(inputs["dataset"].get("options") or {}),
        model_options={"architecture": inputs["model"].get("architecture")},
    )


def spec_with(run: Run, objective: str) -> JobSpec | None:
    """The run's analysis with one more objective; None when the run does not record its files."""
    if (spec := spec_of(run)) is None:
        return None
    objectives = dict.fromkeys([*spec.settings.get("objectives", ["utility"]), objective])
    return replace(spec, settings={**spec.settings, "objectives": list(objectives)})


def spec_with_robustness(run: Run) -> JobSpec | None:
    """The run's analysis with robustness among its objectives; None when the run does not record its files."""
    spec = spec_with(run, "robustness")
    return None if spec is None else replace(spec, name=f"{run.path.name}-robustness")


def record_spec(run: Run) -> JobSpec:
    """The job that retrains the run's model and records it; raises RunError when the run does not record its files."""
    if (spec := spec_of(run)) is None:
        raise RunError(
            "This run was made in Python and does not record where its files are. Record its training from Python."
        )
    inputs = run.description["inputs"]
    recipe = recording_recipe(inputs["model"]["parameters"], inputs["dataset"]["n_train"])
    return replace(spec, name="training", work="record", settings=recipe.to_json())
