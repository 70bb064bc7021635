"""The analysis behind the app, the command and a notebook: from a model and its data to a run folder.

    thumbnails -> sweep over validation -> objective gradients -> ONE sweep over train -> scores -> map -> check -> seal

Every stage depends on the inputs and the seed alone, and the sweep keeps finished shards. So a run that was stopped at
any moment continues to the same table. Formulas of scores are in engine/ and scores/.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress
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
from influence_core.analysis.measured_objectives import check_columns, measured_objectives
from influence_core.analysis.outputs import (
    accuracies,
    columns_of_groups,
    write_cells,
    write_robustness,
    write_tables,
)
from influence_core.analysis.repeatability import repeatability
from influence_core.analysis.request import Request, checked_inputs, description
from influence_core.analysis.sample_table import sample_table
from influence_core.analysis.steps import (
    clustered,
    directions_of_classes,
    held_out_labels,
    layer_aware_column,
    sweep_of,
    validation,
    with_checkpoints,
    with_map,
)
from influence_core.engine.losses import Loss
from influence_core.engine.plausibility import doubts
from influence_core.engine.precision import own_precision
from influence_core.engine.preflight import preflight, with_ways
from influence_core.errors import Cancelled
from influence_core.inputs import facts as identity
from influence_core.inputs.described import adapted
from influence_core.inputs.reopened import Inputs
from influence_core.objectives import ROBUSTNESS, Objective, resolved
from influence_core.run_files.folder import cancel_run, fail_run, finish_run, start_run, update_run
from influence_core.run_files.thumbnails import pack_thumbnails
from influence_core.run_files.writer import only_writer
from influence_core.runs.run import Run, open_run
from influence_core.scores.gradient_map import MapProcess
from influence_core.scores.influence.ensembles import Weights, along
from influence_core.scores.suspicion.evidence_layers import evidence_layers
from influence_core.scores.suspicion.input_view import input_view
from influence_core.system import disk_full
from influence_core.system.report import Report
from influence_core.system.temporary import TemporaryFolder


def analyze(
    model: nn.Module,
    train: Dataset,
    val: Dataset | None,
    *,
    test: Dataset | None = None,
    objectives: Sequence[str | Objective | Callable[..., torch.Tensor]] = ("utility",),
    loss: str | Loss = "cross_entropy",
    precision: str = "auto",
    batch_size: int | str = "auto",
    checkpoints: Sequence[tuple[Weights, float]] = (),
    seed: int = 0,
    out: str | Path | None = None,
    source: Any = None,
    drawing: MapProcess | None = None,
    on_progress: Report | None = None,
) -> Run:
    """Score every training sample and write the scores to a run folder.

    Args:
        model: a classifier that returns logits (b, c); left unchanged.
        train, val, test: map-style datasets of (input, label), or DataLoaders of them; never shuffled. `test` is read
            for its accuracy alone. Without `val` (None) there are no influence columns; suspicion is still estimated.
        objectives: targets of influence: names (objectives/names.py), Objectives, or functions of (model, inputs,
            labels); measured on `val`. Objectives that cannot be measured are left out, with a note in run.json.
        loss: as in `sweep`; the plain signals and suspicion read the outputs as logits of classes.
        checkpoints: pairs of a state dict saved during training and the learning rate then. Influence summed over them
            (TracInCP) goes into separate columns, influence_<objective>_checkpoints; one more sweep a checkpoint.
        out: the run folder; None for a temporary one, removed with the run that is returned. A folder with an
            unfinished run of the same inputs is continued.
        source: the opened Dataset the splits came from; its path, name and notes go into run.json.
        drawing: a MapProcess started earlier, during slow imports; it is closed here.
        on_progress: called as on_progress(stage, done, total) with the names of STAGES.

    Returns:
        The finished run. Positive influence = helpful; suspicion 1 = certainly wrong.

    Raises:
        InfluenceError: inputs that cannot be analysed; the message says why. `on_progress` may raise Cancelled to stop.
    """
    temporary = TemporaryFolder() if out is None else None
    folder = temporary.path if temporary is not None else Path(out or ".")
    splits = [adapted(identity.in_model_format(adapted(split), model)) for split in (train, val, test)]
    classes = checked_inputs(model, *splits)
    splits = with_derived_groups(*splits)
    request = Request(
        model,
        *splits,
        objectives=resolved(objectives, classes) if val is not None else (),
        loss=loss,
        precision=own_precision(model, precision),
        batch_size=batch_size,
        seed=seed,
        folder=folder,
        report=on_progress or (lambda stage, done, total: None),
        classes=classes,
        evidence=evidence_layers(model, splits[0]),
        checkpoints=tuple(along(checkpoints)),
        notes=(
            *getattr(model, "notes", ()),
            *doubts(model, splits[0] if val is None else splits[1], classes),
        ),
    )
    check_free(request.train.groups.columns, request.objectives)
    check_columns(request)
    with only_writer(folder):
        start_run(folder, description=description(request, source))
        drawing = drawing or MapProcess(seed=seed)
        try:
            run = _finish(request, drawing)
        except (Cancelled, KeyboardInterrupt):
            cancel_run(folder)
            raise
        except BaseException as error:
            with suppress(OSError):  # the disk may be full; the run then counts as interrupted
                fail_run(folder, disk_full.sentence(error, folder) or str(error) or type(error).__name__)
            raise
        finally:
            drawing.close()
    run.keep(temporary)
    return run


def _finish(request: Request, drawing: MapProcess) -> Run:
    clock = _Clock()
    if hasattr(request.train, "picture"):
        pack_thumbnails(request.train, request.folder, request.report)
        for split, samples in (("val", request.val), ("test", request.test)):
            if samples is not None and hasattr(samples, "picture"):
                pack_thumbnails(samples, request.folder, split=split)
    clock.lap("thumbnails")
    held_out, clusters = validation(request)
    if held_out is not None:
        request = replace(request, val=clustered(request.val, held_out, clusters))
    clock.lap("validation")
    measured = measured_objectives(request)
    layer_aware, notes = layer_aware_column(request)
    update_run(request.folder, objectives=measured.facts, notes=(*request.notes, *measured.notes, *notes))
    if any(isinstance(one, ROBUSTNESS) for one in measured.objectives):
        write_robustness(request)
    directions = [*measured.directions, *directions_of_classes(request)]
    clock.lap("objective")
    swept = sweep_of(
        request, request.train, directions, stage="sweep", shards=request.folder / "shards" / "train"
    )
    np.save(request.folder / "sketches.npy", swept.sketches.numpy().astype(np.float32))
    drawing.begin(request.folder)
    facts = with_ways(preflight(request.model, precision=request.precision), swept.ways)
    update_run(request.folder, preflight=facts.to_json())
    clock.lap("sweep")
    request = replace(request, train=clustered(request.train, swept, clusters))
    input_evidence = input_view(request.model, request.train, request.val, seed=request.seed)
    scored = sample_table(
        swept,
        held_out,
        input_evidence,
        ids=request.train.ids,
        labels=request.train.labels,
        held_out_labels=held_out_labels(request),
        classes=request.classes,
        objectives=[o.name for o in measured.objectives],
        seed=request.seed,
        on_progress=request.report,
    )
    clock.lap("scores")
    table = scored.table.assign(**columns_of_groups(request.train), **layer_aware)
    table = with_checkpoints(request, measured.objectives, table)
    table = with_map(request, table, drawing)
    clock.lap("map")
    request.report("check", 0, 1)
    repeats = repeatability(
        request.model,
        request.train,
        swept,
        directions=directions,
        loss=request.loss,
        precision=request.precision,
        seed=request.seed,
    )
    request.report("check", 1, 1)
    clock.lap("check")
    write_cells(request)
    write_tables(request, table, swept, scored)
    finish_run(
        request.folder,
        columns=meanings(
            [c for c in table if c not in request.train.groups.columns], measured.objectives, swept.last_layer
        ),
        reproducibility=repeats,
        results={**scored.results, **accuracies(request, swept, held_out)},
        timings=clock.laps,
    )
    run = open_run(request.folder)
    run.attach_inputs(
        Inputs(request.model, request.train, request.val, request.test, request.loss, shared=True)
    )
    return run


class _Clock:
    """Seconds of each stage, to two decimals."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.laps[stage] = round(now - self.last, 2)
        self.last = now
