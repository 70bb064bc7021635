"""The one call behind the app, the command and a notebook: from a model and its data to a run folder.

    thumbnails -> sweep over validation -> objective gradients -> ONE sweep over train -> scores -> map -> check -> seal

Every stage is a function of the inputs and the seed, and the sweep keeps finished shards, so a run that was stopped
at any moment continues to the same table. Nothing here knows a score's formula: see engine/ and scores/.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import Dataset

from influence_core.analysis.column_meanings import check_free, meanings
from influence_core.analysis.derived_groups import with_derived_groups
from influence_core.analysis.measured_objectives import check_columns
from influence_core.analysis.outputs import accuracies, write_cells, write_robustness, write_tables
from influence_core.analysis.repeatability import repeatability
from influence_core.analysis.request import Job, Progress, checked_inputs, description
from influence_core.analysis.sample_table import sample_table
from influence_core.analysis.steps import (
    aims_of,
    clustered,
    directions_of_classes,
    has_clusters,
    held_out_labels,
    layer_aware_column,
    sweep_of,
    validation,
    with_checkpoints,
    with_map,
)
from influence_core.engine.losses import Loss
from influence_core.engine.preflight import preflight, with_ways
from influence_core.errors import Cancelled
from influence_core.inputs import facts as identity
from influence_core.inputs.described import adapted
from influence_core.inputs.reopened import Inputs
from influence_core.objectives import ROBUSTNESS, Objective, resolved
from influence_core.run_files.folder import cancel_run, fail_run, finish_run, start_run, update_run
from influence_core.run_files.thumbnails import pack_thumbnails
from influence_core.runs.run import Run, open_run
from influence_core.scores.gradient_map import MapProcess
from influence_core.scores.influence.ensembles import Weights, along
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view


def analyze(
    model: nn.Module,
    train: Dataset,
    val: Dataset | None,
    *,
    test: Dataset | None = None,
    objectives: Sequence[str | Objective | Callable[..., torch.Tensor]] = ("utility",),
    loss: str | Loss = "cross_entropy",
    precision: str = "float32",
    batch_size: int | str = "auto",
    checkpoints: Sequence[tuple[Weights, float]] = (),
    seed: int = 0,
    out: str | Path | None = None,
    source: Any = None,
    drawing: MapProcess | None = None,
    on_progress: Progress | None = None,
) -> Run:
    """Score every training sample and write what was found to a run folder.

    Args:
        model: a classifier that returns logits (b, c); left as it was found.
        train, val, test: map-style datasets of (input, label); never shuffled. `test` is read once, for its accuracy.
            Without `val` (None) nothing is said about influence; suspicion is still found.
        objectives: influence on what: names (objectives/names.py), Objectives, or functions of (model, inputs,
            labels); measured on `val`. What cannot be measured there is left out, with a note in run.json.
        loss: as in `sweep`; the plain signals and suspicion read the outputs as logits of classes.
        checkpoints: pairs of a state dict saved while training and the learning rate then, for influence summed over
            them (TracInCP) in columns of its own, influence_<objective>_checkpoints; one more sweep for each.
        out: the run folder; None for a temporary one. A folder with an unfinished run of the same inputs is continued.
        source: the opened Dataset the splits came from; its path, name and notes go into run.json.
        drawing: a MapProcess started earlier, while slow imports went on; it is closed here.
        on_progress: called as on_progress(stage, done, total) with the names of STAGES.

    Returns:
        The finished run. Positive influence = helpful; suspicion 1 = surely wrong.

    Raises:
        InfluenceError: bad inputs, each with a sentence; `on_progress` may raise Cancelled to stop.
    """
    folder = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="influence-"))
    splits = [adapted(identity.fitted(split, model)) for split in (train, val, test)]
    classes = checked_inputs(model, *splits)
    splits = with_derived_groups(*splits)
    job = Job(
        model=model,
        train=splits[0],
        val=splits[1],
        test=splits[2],
        objectives=resolved(objectives, classes) if val is not None else (),
        loss=loss,
        precision=precision,
        batch_size=batch_size,
        seed=seed,
        folder=folder,
        report=on_progress or (lambda stage, done, total: None),
        classes=classes,
        evidence=evidence_layers(model, splits[0]),
        checkpoints=tuple(along(checkpoints)),
    )
    check_free(job.train.groups.columns, job.objectives)
    if job.val is not None:
        check_columns(
            job.objectives, *map(identity.groups_of, splits[:2]), gradient_clusters=has_clusters(job.train)
        )
    start_run(folder, description=description(job, source))
    drawing = drawing or MapProcess(seed=seed)
    try:
        return _finish(job, drawing)
    except (Cancelled, KeyboardInterrupt):
        cancel_run(folder)
        raise
    except BaseException as error:
        fail_run(folder, str(error) or type(error).__name__)
        raise
    finally:
        drawing.close()


def _finish(job: Job, drawing: MapProcess) -> Run:
    clock = _Clock()
    if hasattr(job.train, "picture"):
        pack_thumbnails(job.train, job.folder, job.report)
        for split, samples in (("val", job.val), ("test", job.test)):
            if samples is not None and hasattr(samples, "picture"):
                pack_thumbnails(samples, job.folder, split=split)
    clock.lap("thumbnails")
    held_out, clusters = validation(job)
    if held_out is not None:
        job = replace(job, val=clustered(job.val, held_out, clusters))
    clock.lap("validation")
    aimed = aims_of(job)
    layer_aware, unheard = layer_aware_column(job)
    update_run(job.folder, objectives=aimed.facts, notes=(*aimed.notes, *unheard))
    if any(isinstance(one, ROBUSTNESS) for one in aimed.objectives):
        write_robustness(job)
    directions = [*aimed.directions, *directions_of_classes(job)]
    clock.lap("objective")
    swept = sweep_of(job, job.train, directions, stage="sweep", shards=job.folder / "shards" / "train")
    np.save(job.folder / "sketches.npy", swept.sketches.numpy().astype(np.float32))
    drawing.begin(job.folder)
    facts = with_ways(preflight(job.model, precision=job.precision), swept.ways)
    update_run(job.folder, preflight=facts.to_json())
    clock.lap("sweep")
    job = replace(job, train=clustered(job.train, swept, clusters))
    seen = input_view(job.model, job.train, job.val, seed=job.seed)
    found = sample_table(
        swept,
        held_out,
        seen,
        ids=job.train.ids,
        labels=job.train.labels,
        held_out_labels=held_out_labels(job),
        classes=job.classes,
        objectives=[o.name for o in aimed.objectives],
        groups=identity.groups_of(job.train),
        seed=job.seed,
        on_progress=job.report,
    )
    clock.lap("scores")
    table = with_checkpoints(job, aimed.objectives, found.table.assign(**layer_aware))
    table = with_map(job, table, drawing)
    clock.lap("map")
    job.report("check", 0, 1)
    repeats = repeatability(
        job.model,
        job.train,
        swept,
        directions=directions,
        loss=job.loss,
        precision=job.precision,
        seed=job.seed,
    )
    job.report("check", 1, 1)
    clock.lap("check")
    write_cells(job)
    write_tables(job, table, swept, found.probabilities, found.neighbours)
    finish_run(
        job.folder,
        columns=meanings(
            [c for c in table if c not in job.train.groups.columns], aimed.objectives, swept.last_layer
        ),
        reproducibility=repeats,
        results={**found.results, **accuracies(job, swept, held_out)},
        timings=clock.laps,
    )
    run = open_run(job.folder)
    run.remember(Inputs(job.model, job.train, job.val, job.test, job.loss, shared=True))
    return run


class _Clock:
    """Seconds a stage, rounded to what is meaningful."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.laps[stage] = round(now - self.last, 2)
        self.last = now
