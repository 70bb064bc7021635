"""The one call behind the app, the command and a notebook: from a model and its data to a run folder.

    thumbnails -> objective gradients -> ONE sweep over train -> sweep over validation -> scores -> map -> check -> seal

Every stage is a function of the inputs and the seed, and the sweep keeps finished shards, so a run that was stopped
at any moment continues to the same table. Nothing here knows a score's formula: see engine/ and scores/.
"""

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from influence_core import identity
from influence_core.adversarial_examples import write_examples
from influence_core.aims import Aims, aims, check_columns
from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.sweep import Direction, Sweep, sweep
from influence_core.errors import Cancelled, DataError
from influence_core.evidence_layers import evidence_layers
from influence_core.held_out_table import held_out_table
from influence_core.meanings import CHECKPOINTS, check_free, meanings
from influence_core.objectives import ROBUSTNESS, Objective, resolved
from influence_core.preflight import preflight, with_ways
from influence_core.reopened import Inputs
from influence_core.repeatability import repeatability
from influence_core.robustness import robustness
from influence_core.runs import (
    Run,
    cancel_run,
    fail_run,
    finish_run,
    open_run,
    pack_thumbnails,
    start_run,
    update_run,
)
from influence_core.scores.ensembles import Member, Weights, along, ensemble_influence
from influence_core.scores.gradient_map import MapProcess
from influence_core.tables import CUT, sample_table, wilson

SKETCH = 256
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class _Job:
    """What is analysed: a model, three splits in the form the model reads, and how."""

    model: nn.Module
    train: Any
    val: Any
    test: Any
    objectives: tuple[Objective, ...]
    loss: str | Loss
    precision: str
    batch_size: int | str
    seed: int
    folder: Path
    report: Progress
    classes: tuple[str, ...]
    evidence: tuple[str, ...]
    checkpoints: tuple[Member, ...]


def analyze(
    model: nn.Module,
    train: Dataset,
    val: Dataset,
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
    splits = [identity.fitted(split, model) for split in (train, val, test)]
    check_inputs(model, *splits)
    classes = identity.class_names(model, splits[0])
    job = _Job(
        model=model,
        train=splits[0],
        val=splits[1],
        test=splits[2],
        objectives=resolved(objectives, classes),
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
    check_free(identity.group_names(job.train), job.objectives)
    check_columns(job.objectives, identity.groups_of(job.train), identity.groups_of(job.val))
    start_run(folder, description=_description(job, source))
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


def _finish(job: _Job, drawing: MapProcess) -> Run:
    clock = _Clock()
    if hasattr(job.train, "picture"):
        pack_thumbnails(job.train, job.folder, job.report)
        for split, samples in (("val", job.val), ("test", job.test)):
            if samples is not None and hasattr(samples, "picture"):
                pack_thumbnails(samples, job.folder, split=split)
    clock.lap("thumbnails")
    aimed = _aims(job)
    update_run(job.folder, objectives=aimed.facts, notes=aimed.notes)
    if any(isinstance(one, ROBUSTNESS) for one in aimed.objectives):
        _write_robustness(job)
    clock.lap("objective")
    swept = _sweep(job, job.train, aimed.directions, stage="sweep", shards=job.folder / "shards" / "train")
    np.save(job.folder / "sketches.npy", swept.sketches.numpy().astype(np.float32))
    drawing.begin(job.folder)
    facts = with_ways(preflight(job.model, precision=job.precision), swept.ways)
    update_run(job.folder, preflight=facts.to_json())
    clock.lap("sweep")
    held_out = _sweep(job, job.val, (), stage="validation", shards=None)
    np.save(job.folder / "validation_sketches.npy", held_out.sketches.numpy().astype(np.float32))
    clock.lap("validation")
    found = sample_table(
        swept,
        held_out,
        ids=identity.ids_of(job.train),
        labels=identity.labels_of(job.train),
        held_out_labels=identity.labels_of(job.val),
        classes=job.classes,
        objectives=[o.name for o in aimed.objectives],
        groups=identity.groups_of(job.train),
        seed=job.seed,
        on_progress=job.report,
    )
    clock.lap("scores")
    table = _with_map(job, _with_checkpoints(job, aimed.objectives, found.table), drawing)
    clock.lap("map")
    job.report("check", 0, 1)
    repeats = repeatability(
        job.model,
        job.train,
        swept,
        directions=aimed.directions,
        loss=job.loss,
        precision=job.precision,
        seed=job.seed,
    )
    job.report("check", 1, 1)
    clock.lap("check")
    _write_cells(job)
    _write(job, table, swept, found.probabilities, found.neighbours)
    finish_run(
        job.folder,
        columns=meanings(
            [c for c in table if c not in identity.group_names(job.train)], aimed.objectives, swept.last_layer
        ),
        reproducibility=repeats,
        results={**found.results, **_accuracies(job, swept, held_out)},
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


def _aims(job: _Job) -> Aims:
    return aims(
        in_precision(job.model, exact_name(job.precision)),
        job.val,
        job.objectives,
        loss=job.loss,
        classes=job.classes,
        groups=identity.groups_of(job.val),
        train_groups=identity.groups_of(job.train),
        seed=job.seed,
        on_progress=lambda done, total: job.report("objective", done, total),
    )


def _sweep(
    job: _Job, samples: Any, directions: Sequence[Direction], *, stage: str, shards: Path | None
) -> Sweep:
    return sweep(
        job.model,
        samples,
        directions=directions,
        sketch=SKETCH,
        loss=job.loss,
        precision=job.precision,
        batch_size=job.batch_size,
        seed=job.seed,
        features=job.evidence,
        shards=shards,
        fingerprint=identity.fingerprint(samples) if shards else "",
        on_progress=lambda _, done, total: job.report(stage, done, total),
    )


def _with_map(job: _Job, table: pd.DataFrame, drawing: MapProcess) -> pd.DataFrame:
    waited = 0
    while not drawing.done(0.25):
        waited += 1
        job.report(
            "map", min(waited, 39), 40
        )  # umap-learn reports nothing: about ten seconds, shown as a guess
    layout = drawing.result()
    job.report("map", 40, 40)
    return table.assign(map_x=layout[:, 0], map_y=layout[:, 1])


def _with_checkpoints(job: _Job, objectives: Sequence[Objective], table: pd.DataFrame) -> pd.DataFrame:
    """Influence summed over the checkpoints, one column an objective."""
    if not job.checkpoints:
        return table
    found = ensemble_influence(
        job.model,
        job.train,
        [(objective, job.val) for objective in objectives],
        job.checkpoints,
        loss=job.loss,
        batch_size=job.batch_size,
        on_progress=lambda done, total: job.report("scores", done, total),
    )
    names = [f"influence_{objective.name}{CHECKPOINTS}" for objective in objectives]
    return table.assign(**dict(zip(names, found.products.T.numpy(), strict=True)))


def _accuracies(job: _Job, swept: Sweep, held_out: Sweep) -> dict[str, Any]:
    def right(logits: torch.Tensor, samples: Any) -> np.ndarray:
        return logits.argmax(1).numpy() == identity.labels_of(samples)

    facts: dict[str, Any] = {
        "train_accuracy": float(right(swept.logits, job.train).mean()),
        "validation_accuracy": wilson(right(held_out.logits, job.val)),
        "cut": CUT,
    }
    _write_held_out(job, "validation", job.val, held_out.logits, held_out.grad_norms)
    if job.test is not None and len(job.test):
        logits = identity.logits_of(job.model, job.test)
        facts["test_accuracy"] = wilson(right(logits, job.test))
        _write_held_out(job, "test", job.test, logits, None)
    return facts


def _write_cells(job: _Job) -> None:
    """The rows of a table as they stand in the source, for a person to read; nothing for anything else."""
    for name, samples in (("", job.train), ("validation_", job.val), ("test_", job.test)):
        cells = getattr(samples, "cells", None)
        if cells is not None:
            cells.to_parquet(job.folder / f"{name}cells.parquet")


def _write_held_out(
    job: _Job, split: str, samples: Any, logits: torch.Tensor, norms: torch.Tensor | None
) -> None:
    table = held_out_table(samples, logits, job.classes, identity.groups_of(samples), norms)
    table.to_parquet(job.folder / f"{split}.parquet", index=False)


def _write(
    job: _Job, table: pd.DataFrame, swept: Sweep, probabilities: np.ndarray, nearest: np.ndarray
) -> None:
    table.to_parquet(job.folder / "samples.parquet", index=False)
    layers = pd.DataFrame({path: values.numpy() for path, values in swept.layer_norms.items()})
    layers.insert(0, "sample_id", table["sample_id"].to_numpy())
    long = layers.melt("sample_id", var_name="layer", value_name="grad_norm")
    long.to_parquet(job.folder / "layers.parquet", index=False)
    np.save(job.folder / "probabilities.npy", probabilities.astype(np.float32))
    np.save(job.folder / "neighbours.npy", nearest)


def _write_robustness(job: _Job) -> None:
    facts, examples = robustness(
        in_precision(job.model, exact_name(job.precision)),
        job.val,
        loss=job.loss,
        seed=job.seed,
        on_progress=lambda done, total: job.report("objective", done, total),
    )
    write_examples(examples, job.folder)
    update_run(job.folder, robustness=facts)


def check_inputs(model: nn.Module, train: Any, val: Any, test: Any) -> None:
    """Raise unless there is something to score, something to measure by, and the labels are the model's classes."""
    for name, split in (("training", train), ("validation", val)):
        fewest = (
            2 if name == "training" else 1
        )  # one sample alone has no neighbour and nothing to stand out from
        if split is None or loop.count(split) < fewest:
            raise DataError(
                f"The {name} split has {loop.count(split) if split is not None else 'no'} samples; expected at least "
                f"{fewest}. Influence needs training samples to score and validation samples to measure them by."
            )
    identity.check_labels(model, train, val, *([test] if test is not None and len(test) else []))


def _description(job: _Job, source: Any) -> dict[str, Any]:
    name = getattr(source, "name", None) or job.folder.name
    return {
        "name": name,
        "inputs": {
            "dataset": {
                "path": str(Path(source.path).resolve()) if source is not None else None,
                "name": name,
                "fingerprint": identity.fingerprint(job.train, job.val, job.test),
                "classes": list(job.classes),
                "n_train": len(job.train),
                "n_val": len(job.val),
                "n_test": len(job.test) if job.test is not None else 0,
                "notes": list(getattr(source, "notes", ())),
                "options": dict(getattr(source, "options", {})),
            },
            "model": identity.model_facts(job.model),
        },
        "settings": {
            "objectives": [o.name for o in job.objectives],
            "loss": job.loss
            if isinstance(job.loss, str)
            else getattr(job.loss, "__qualname__", "own function"),
            "precision": job.precision,
            "batch_size": job.batch_size,
            "sketch": SKETCH,
            "evidence_layers": list(job.evidence),
            **({"checkpoints": [member.mark for member in job.checkpoints]} if job.checkpoints else {}),
        },
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "scikit-learn", "umap-learn", "numpy")},
        },
        "seed": job.seed,
        "preflight": preflight(job.model, precision=job.precision).to_json(),
    }
