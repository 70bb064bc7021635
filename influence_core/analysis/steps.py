"""Steps of an analysis, each one call of the engine or of a score; analyze.py puts them in order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from influence_core.analysis.column_meanings import CHECKPOINTS
from influence_core.analysis.derived_groups import CLUSTER_COLUMN, Assign, gradient_clusters, has_clusters
from influence_core.analysis.request import SKETCH, Request
from influence_core.engine.directions import Direction
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.result import Sweep
from influence_core.engine.sweep import sweep
from influence_core.errors import LayerError
from influence_core.inputs.fingerprints import fingerprint
from influence_core.objectives import Objective
from influence_core.scores.gradient_map import MapProcess
from influence_core.scores.influence.ensembles import ensemble_influence
from influence_core.scores.influence.layer_aware import BATCH, layer_aware_influence
from influence_core.scores.influence.worst_class import class_directions


def validation(request: Request) -> tuple[Sweep | None, Assign | None]:
    """The sweep over validation samples and the clusters of their gradients; None where there are none."""
    held_out, sketches = None, np.zeros((0, SKETCH))
    if request.val is not None:
        held_out = sweep_of(request, request.val, stage="validation")
        sketches = held_out.sketches.numpy()
    np.save(request.folder / "validation_sketches.npy", sketches.astype(np.float32))
    if held_out is None or not has_clusters(request.train):
        return held_out, None
    return held_out, gradient_clusters(held_out.sketches, seed=request.seed)


def clustered(samples: Any, swept: Sweep, clusters: Assign | None) -> Any:
    """The samples with their gradient cluster as a group column; unchanged without clusters."""
    if clusters is None:
        return samples
    return samples.with_groups(pd.DataFrame({CLUSTER_COLUMN: clusters(swept.sketches)}))


def held_out_labels(request: Request) -> np.ndarray:
    return request.val.labels if request.val is not None else np.zeros(0, dtype=np.int64)


def directions_of_classes(request: Request) -> list[Direction]:
    """Directions of the validation loss of each class, for the worst class of every sample."""
    if request.val is None:
        return []
    scored = in_precision(request.model, exact_name(request.precision))
    return class_directions(scored, request.val, held_out_labels(request), loss=request.loss)


def layer_aware_column(request: Request) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """The column of layer-aware influence, or no column and a note. Costs an inference pass over train and val."""
    if request.val is None:
        return {}, ()
    try:
        influence = layer_aware_influence(
            in_precision(request.model, exact_name(request.precision)),
            request.train,
            request.val,
            loss=request.loss,
            batch_size=request.batch_size if isinstance(request.batch_size, int) else BATCH,
            on_progress=lambda _, done, total: request.report("objective", done, total),
        ).numpy()
    except LayerError as error:
        return {}, (f"Layer-aware influence was left out. {error}",)
    if not np.isfinite(influence).all():
        return {}, (
            f"Layer-aware influence was left out. It is not finite for {int((~np.isfinite(influence)).sum())} of "
            f"{len(influence)} training samples.",
        )
    return {"layer_aware": influence}, ()


def sweep_of(
    request: Request,
    samples: Any,
    directions: Sequence[Direction] = (),
    *,
    stage: str,
    shards: Path | None = None,
) -> Sweep:
    return sweep(
        request.model,
        samples,
        directions=directions,
        sketch=SKETCH,
        loss=request.loss,
        precision=request.precision,
        batch_size=request.batch_size,
        seed=request.seed,
        features=request.evidence,
        shards=shards,
        fingerprint=fingerprint(samples) if shards else "",
        on_progress=lambda _, done, total: request.report(stage, done, total),
    )


def with_map(request: Request, table: pd.DataFrame, drawing: MapProcess) -> pd.DataFrame:
    """The table with the two columns of the map, once its process has finished."""
    waited = 0
    while not drawing.done(0.25):
        waited += 1  # umap-learn reports no progress: about ten seconds are assumed
        request.report("map", min(waited, 39), 40)
    layout = drawing.result()
    request.report("map", 40, 40)
    return table.assign(map_x=layout[:, 0], map_y=layout[:, 1])


def with_checkpoints(request: Request, objectives: Sequence[Objective], table: pd.DataFrame) -> pd.DataFrame:
    """Influence summed over the checkpoints, one column an objective."""
    if not request.checkpoints or not objectives:
        return table
    ensemble = ensemble_influence(
        request.model,
        request.train,
        [(objective, request.val) for objective in objectives],
        request.checkpoints,
        loss=request.loss,
        batch_size=request.batch_size,
        on_progress=lambda done, total: request.report("scores", done, total),
    )
    names = [f"influence_{objective.name}{CHECKPOINTS}" for objective in objectives]
    return table.assign(**dict(zip(names, ensemble.products.T.numpy(), strict=True)))
