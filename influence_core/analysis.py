"""The one call behind the app, the command and a notebook: from a model and its data to a run folder.

    thumbnails -> sweep over validation -> objective gradients -> ONE sweep over train -> scores -> map -> check -> seal

Every stage is a function of the inputs and the seed, and the sweep keeps finished shards, so a run that was stopped
at any moment continues to the same table. Nothing here knows a score's formula: see engine/ and scores/.
"""

import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
from influence_core.data import Samples
from influence_core.derived_groups import CLUSTER_COLUMN, Assign, gradient_clusters, with_derived_groups
from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.sweep import Direction, Sweep, sweep
from influence_core.errors import Cancelled, DataError, LayerError
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
from influence_core.scores.class_influence import class_directions
from influence_core.scores.ensembles import Member, Weights, along, ensemble_influence
from influence_core.scores.gradient_map import MapProcess
from influence_core.scores.input_view import input_view
from influence_core.scores.layer_aware import BATCH, layer_aware_influence
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
    aum: np.ndarray | None


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
    aum: np.ndarray | None = None,
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
        aum: (n,) area under the margin, where training was watched: low = learnt late; it then counts in suspicion.
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
    splits = with_derived_groups(*splits)
    job = _Job(
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
        aum=aum,
    )
    check_free(identity.group_names(job.train), job.objectives)
    if job.val is not None:
        check_columns(
            job.objectives, *map(identity.groups_of, splits[:2]), gradient_clusters=_has_clusters(job.train)
        )
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
    held_out, clusters = _validation(job)
    if held_out is not None:
        job = replace(job, val=_clustered(job.val, held_out, clusters))
    clock.lap("validation")
    aimed = _aims(job)
    layer_aware, unheard = _layer_aware(job)
    update_run(job.folder, objectives=aimed.facts, notes=(*aimed.notes, *unheard))
    if any(isinstance(one, ROBUSTNESS) for one in aimed.objectives):
        _write_robustness(job)
    directions = [*aimed.directions, *_class_directions(job)]
    clock.lap("objective")
    swept = _sweep(job, job.train, directions, stage="sweep", shards=job.folder / "shards" / "train")
    np.save(job.folder / "sketches.npy", swept.sketches.numpy().astype(np.float32))
    drawing.begin(job.folder)
    facts = with_ways(preflight(job.model, precision=job.precision), swept.ways)
    update_run(job.folder, preflight=facts.to_json())
    clock.lap("sweep")
    job = replace(job, train=_clustered(job.train, swept, clusters))
    seen = input_view(job.model, job.train, job.val, seed=job.seed)
    found = sample_table(
        swept,
        held_out,
        seen,
        ids=identity.ids_of(job.train),
        labels=identity.labels_of(job.train),
        held_out_labels=_held_out_labels(job),
        classes=job.classes,
        objectives=[o.name for o in aimed.objectives],
        groups=identity.groups_of(job.train),
        aum=job.aum,
        seed=job.seed,
        on_progress=job.report,
    )
    clock.lap("scores")
    table = _with_checkpoints(job, aimed.objectives, found.table.assign(**layer_aware))
    table = _with_map(job, table, drawing)
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


def _validation(job: _Job) -> tuple[Sweep | None, Assign | None]:
    """The sweep over validation samples, where there are any, and the clusters of their gradients."""
    held_out = _sweep(job, job.val, (), stage="validation", shards=None) if job.val is not None else None
    sketches = held_out.sketches.numpy() if held_out is not None else np.zeros((0, SKETCH))
    np.save(job.folder / "validation_sketches.npy", sketches.astype(np.float32))
    if held_out is None or not _has_clusters(job.train):
        return held_out, None
    return held_out, gradient_clusters(held_out.sketches, seed=job.seed)


def _has_clusters(train: Any) -> bool:
    """Ours only: another dataset's table holds the columns its owner knows."""
    return isinstance(train, Samples)


def _clustered(samples: Any, swept: Sweep, clusters: Assign | None) -> Any:
    """The samples with the cluster of the gradient map each is in, as a group column."""
    if clusters is None:
        return samples
    return samples.with_groups(pd.DataFrame({CLUSTER_COLUMN: clusters(swept.sketches)}))


class _Clock:
    """Seconds a stage, rounded to what is meaningful."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self.last = perf_counter()

    def lap(self, stage: str) -> None:
        now = perf_counter()
        self.laps[stage] = round(now - self.last, 2)
        self.last = now


def _held_out_labels(job: _Job) -> np.ndarray:
    return identity.labels_of(job.val) if job.val is not None else np.zeros(0, dtype=np.int64)


def _class_directions(job: _Job) -> list[Direction]:
    """Beyond the objectives asked for: each class's own validation loss, for the worst class of every sample."""
    if job.val is None:
        return []
    scored = in_precision(job.model, exact_name(job.precision))
    return class_directions(scored, job.val, _held_out_labels(job), loss=job.loss)


def _aims(job: _Job) -> Aims:
    if job.val is None:
        return Aims((), (), {}, ("Without validation samples there is nothing to measure influence by.",))
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


def _layer_aware(job: _Job) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The column of layer-aware influence, or none and the reason. Costs an inference pass over train and val."""
    if job.val is None:
        return {}, ()
    try:
        found = layer_aware_influence(
            in_precision(job.model, exact_name(job.precision)),
            job.train,
            job.val,
            loss=job.loss,
            batch_size=job.batch_size if isinstance(job.batch_size, int) else BATCH,
            on_progress=lambda _, done, total: job.report("objective", done, total),
        ).numpy()
    except LayerError as error:
        return {}, (f"Layer-aware influence was left out. {error}",)
    if not np.isfinite(found).all():
        return {}, (
            f"Layer-aware influence was left out. It is no finite number for {int((~np.isfinite(found)).sum())} of "
            f"{len(found)} training samples.",
        )
    return {"layer_aware": found}, ()


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
    if not job.checkpoints or not objectives:
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


def _accuracies(job: _Job, swept: Sweep, held_out: Sweep | None) -> dict[str, Any]:
    def right(logits: torch.Tensor, samples: Any) -> np.ndarray:
        return logits.argmax(1).numpy() == identity.labels_of(samples)

    facts: dict[str, Any] = {
        "train_accuracy": float(right(swept.logits, job.train).mean()),
        "cut": CUT,
    }
    if held_out is not None:
        facts["validation_accuracy"] = wilson(right(held_out.logits, job.val))
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
    # one training sample alone has no neighbour and nothing to stand out from
    for name, split, fewest in (("training", train, 2), ("validation", val, 1)):
        if split is None and name == "validation":
            continue
        if split is None or loop.count(split) < fewest:
            raise DataError(
                f"The {name} split has {loop.count(split) if split is not None else 'no'} samples; expected at least "
                f"{fewest}. Influence needs training samples to score and validation samples to measure them by; "
                "without any, give val=None."
            )
    identity.check_labels(model, train, *(split for split in (val, test) if split is not None and len(split)))


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
                "n_val": len(job.val) if job.val is not None else 0,
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
