"""What does each stage of an analysis compute? One call of the engine or of a score each; analyze.py is the order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence_core.analysis.column_meanings import CHECKPOINTS
from influence_core.analysis.derived_groups import CLUSTER_COLUMN, Assign, gradient_clusters
from influence_core.analysis.measured_objectives import Aims, aims
from influence_core.analysis.request import SKETCH, Job
from influence_core.data import Samples
from influence_core.engine.directions import Direction
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.result import Sweep
from influence_core.engine.sweep import sweep
from influence_core.errors import LayerError
from influence_core.inputs import facts as identity
from influence_core.inputs.fingerprints import fingerprint
from influence_core.objectives import Objective
from influence_core.scores.gradient_map import MapProcess
from influence_core.scores.influence.ensembles import ensemble_influence
from influence_core.scores.influence.layer_aware import BATCH, layer_aware_influence
from influence_core.scores.influence.worst_class import class_directions


def validation(job: Job) -> tuple[Sweep | None, Assign | None]:
    """The sweep over validation samples, where there are any, and the clusters of their gradients."""
    held_out = sweep_of(job, job.val, (), stage="validation", shards=None) if job.val is not None else None
    sketches = held_out.sketches.numpy() if held_out is not None else np.zeros((0, SKETCH))
    np.save(job.folder / "validation_sketches.npy", sketches.astype(np.float32))
    if held_out is None or not has_clusters(job.train):
        return held_out, None
    return held_out, gradient_clusters(held_out.sketches, seed=job.seed)


def has_clusters(train: Any) -> bool:
    """Ours only: another dataset's table holds the columns its owner knows."""
    return isinstance(train, Samples)


def clustered(samples: Any, swept: Sweep, clusters: Assign | None) -> Any:
    """The samples with the cluster of the gradient map each is in, as a group column."""
    if clusters is None:
        return samples
    return samples.with_groups(pd.DataFrame({CLUSTER_COLUMN: clusters(swept.sketches)}))


def held_out_labels(job: Job) -> np.ndarray:
    return job.val.labels if job.val is not None else np.zeros(0, dtype=np.int64)


def directions_of_classes(job: Job) -> list[Direction]:
    """Beyond the objectives asked for: each class's own validation loss, for the worst class of every sample."""
    if job.val is None:
        return []
    scored = in_precision(job.model, exact_name(job.precision))
    return class_directions(scored, job.val, held_out_labels(job), loss=job.loss)


def aims_of(job: Job) -> Aims:
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


def layer_aware_column(job: Job) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
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


def sweep_of(
    job: Job, samples: Any, directions: Sequence[Direction], *, stage: str, shards: Path | None
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
        fingerprint=fingerprint(samples) if shards else "",
        on_progress=lambda _, done, total: job.report(stage, done, total),
    )


def with_map(job: Job, table: pd.DataFrame, drawing: MapProcess) -> pd.DataFrame:
    waited = 0
    while not drawing.done(0.25):
        waited += 1
        job.report(
            "map", min(waited, 39), 40
        )  # umap-learn reports nothing: about ten seconds, shown as a guess
    layout = drawing.result()
    job.report("map", 40, 40)
    return table.assign(map_x=layout[:, 0], map_y=layout[:, 1])


def with_checkpoints(job: Job, objectives: Sequence[Objective], table: pd.DataFrame) -> pd.DataFrame:
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
