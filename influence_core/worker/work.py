"""The work of each kind of job: analyse, record, predict, verify. Each one imports torch when it begins."""

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from influence_core.jobs.repair_jobs import PREDICT, VERIFY, kind_of
from influence_core.jobs.submission import JobSpec, read_job, read_task
from influence_core.run_files.progress import RECORDING, STAGES, TRAINING, Stage
from influence_core.runs.run import open_run
from influence_core.scores.gradient_map import MapProcess
from influence_core.system.report import Report
from influence_core.verification.results import frozen_repair
from influence_core.worker.child import Work

OPENING: Stage = ("open", "Opening dataset and model", 0.02)
PREDICT_STAGES: tuple[Stage, ...] = (
    ("inputs", "Opening model and data", 0.2),
    ("candidates", "Trying every candidate label", 0.8),
)


def work_of(folder: Path) -> tuple[Work, tuple[Stage, ...]]:
    """The function that does this job's work, and its stages."""
    kind = kind_of(folder)
    if kind == PREDICT:
        return predict, PREDICT_STAGES
    if kind == VERIFY:
        from influence_core.verification.verify import STAGES as VERIFY_STAGES

        return verify, VERIFY_STAGES
    if kind == "record":
        return record, (OPENING, *RECORDING)
    training = () if read_job(folder).recipe is None else (TRAINING,)
    return analyse, (OPENING, *training, *STAGES)


def analyse(folder: Path, on_progress: Report) -> None:
    """Analyse the dataset of a job with its model."""
    spec = read_job(folder)
    # the map compiles while torch is imported
    with closing(MapProcess(seed=spec.settings.get("seed", 0))) as drawing:
        from influence_core.analysis.analyze import analyze

        model, dataset = _opened(spec, on_progress, folder)
        analyze(
            model,
            dataset.train,
            dataset.val,
            test=dataset.test,
            source=dataset,
            drawing=drawing,
            out=folder,
            on_progress=on_progress,
            **spec.settings,
        )


def record(folder: Path, on_progress: Report) -> None:
    """Train the model again and record every sample."""
    from influence_core.training.recipe import recipe_from
    from influence_core.training.recorded_training import record_training

    spec = read_job(folder)
    model, dataset = _opened(spec, on_progress, folder)
    record_training(
        model, dataset.train, dataset.val, folder, recipe=recipe_from(spec.settings), on_progress=on_progress
    )


def predict(folder: Path, on_progress: Report) -> None:
    """Compute influence under candidate labels for a run, stored in its folder."""
    from influence_core.inputs.reopened import reopen
    from influence_core.repair.candidate_labels import prepare

    run = open_run(folder.parent)
    on_progress("inputs", 0, 1)
    inputs = reopen(run)
    on_progress("inputs", 1, 1)
    prepare(run, inputs, also=tuple(read_task(folder)["also"]), on_progress=on_progress)


def verify(folder: Path, on_progress: Report) -> None:
    """Verify the repair of a job by trainings with it and without."""
    from influence_core.training.recipe import recipe_from
    from influence_core.verification.verify import verify as verified

    content = read_task(folder)
    settings = dict(content["settings"])
    if settings.get("recipe") is not None:
        settings["recipe"] = recipe_from(settings["recipe"])
    repair = frozen_repair(folder, content["repair"])
    verified(folder.parents[1], repair, out=folder, on_progress=on_progress, **settings)


def _opened(spec: JobSpec, on_progress: Report, folder: Path) -> tuple[Any, Any]:
    """Model and dataset of a job; with a recipe, the model is trained on the data first."""
    from influence_core.data import open_dataset
    from influence_core.inputs.pair import paired
    from influence_core.models import open_model

    on_progress(OPENING[0], 0, 2)
    dataset = open_dataset(spec.dataset, **spec.dataset_options)
    on_progress(OPENING[0], 1, 2)
    if spec.recipe is None:
        model = open_model(spec.model, **_model_options(spec.model_options))
    else:
        from influence_core.training.first_model import trained_model

        model = trained_model(dataset, spec.recipe, folder / "model", on_progress)
    dataset = paired(model, dataset)
    on_progress(OPENING[0], 2, 2)
    return model, dataset


def _model_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a model, with a Preprocessing made from its JSON fields."""
    from influence_core.models import Preprocessing

    if not isinstance(content := options.get("preprocessing"), Mapping):
        return dict(options)
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in content.items()
    }
    return {**options, "preprocessing": Preprocessing(**fields)}
