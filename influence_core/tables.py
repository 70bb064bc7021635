"""Which numbers does a run keep of each training sample? The table behind every page, from two sweeps."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.engine.sweep import Sweep
from influence_core.scores.baselines import baselines
from influence_core.scores.evidence import Evidence, neighbours, probe
from influence_core.scores.outlier_gradient import forest_outlierness, share_below
from influence_core.scores.suspicion import suspicion

CUT = 0.5
"""Suspicion from which a label counts as probably wrong: more likely wrong than right."""
SHOWN_NEIGHBOURS = 10
FEWEST_FEATURES = 8


@dataclass(frozen=True, slots=True)
class Found:
    """The table (one row a sample, no map yet), class probabilities (n, c), up to 10 neighbours, facts for run.json."""

    table: pd.DataFrame
    probabilities: np.ndarray
    neighbours: np.ndarray
    results: dict[str, Any]


def sample_table(
    swept: Sweep,
    held_out: Sweep,
    *,
    ids: Sequence[str],
    labels: np.ndarray,
    held_out_labels: np.ndarray,
    classes: tuple[str, ...],
    objectives: Sequence[str],
    groups: pd.DataFrame | None,
    seed: int,
    on_progress: Callable[[str, int, int], None],
) -> Found:
    """Turn the sweeps of n training and m validation samples into scores. Signs and units: meanings.py."""
    names = np.asarray(classes, dtype=object)
    plain = baselines(swept.logits.numpy(), labels)
    evidence, nearest = _evidence(swept, held_out, labels, len(classes), seed, on_progress)
    doubt = suspicion(evidence, labels, held_out_labels, len(classes))
    table = pd.DataFrame(
        {
            "sample_id": list(ids),
            "label": names[labels],
            "predicted": names[plain.predicted],
            "confidence": plain.confidence,
            "loss": swept.losses.numpy(),
            "margin": plain.margin,
            "el2n": plain.el2n,
            "grad_norm": swept.grad_norms.numpy(),
            "grad_norm_l1": swept.grad_norms_l1.numpy(),
            "grad_norm_last": swept.layer_norms[swept.last_layer].numpy(),
            "outlier_forest": forest_outlierness(swept.sketches.numpy(), seed=seed),
            "outlier_l1": share_below(swept.last_norm_l1.numpy()),
            "outlier_l2": share_below(swept.layer_norms[swept.last_layer].numpy()),
            **{f"influence_{name}": swept.products[:, k].numpy() for k, name in enumerate(objectives)},
            "suspicion": doubt.suspicion,
            **{f"suspicion_{name}": values for name, values in doubt.parts.items()},
            "suggested_label": names[doubt.suggested],
            "suggested_probability": doubt.suggested_probability,
        }
    )
    if groups is not None:
        table = table.assign(**{str(name): groups[name].to_numpy() for name in groups.columns})
    steps = len(evidence) // 2 + 1
    on_progress("scores", steps, steps)
    results = {
        "expected_errors": float(doubt.suspicion.sum()),
        "flagged": int((doubt.suspicion >= CUT).sum()),
        "noise_rate": doubt.noise_rate,
        "evidence_weights": doubt.weights,
    }
    return Found(table, plain.probabilities, nearest[:, :SHOWN_NEIGHBOURS], results)


def _evidence(
    swept: Sweep,
    held_out: Sweep,
    labels: np.ndarray,
    classes: int,
    seed: int,
    on_progress: Callable[[str, int, int], None],
) -> tuple[list[Evidence], np.ndarray]:
    """A probe and a neighbour vote for each kept layer; neighbours are those of the deepest one."""
    layers = [name for name, f in swept.features.items() if f.shape[1] >= FEWEST_FEATURES]
    layers = layers or list(swept.features)
    evidence, nearest = [], np.zeros((len(labels), 0), dtype=np.int32)
    for step, layer in enumerate(layers):
        on_progress("scores", step, len(layers) + 1)
        pair = swept.features[layer].numpy(), labels, held_out.features[layer].numpy(), classes
        evidence.append(probe(layer, *pair, seed=seed))
        vote, nearest = neighbours(layer, *pair, seed=seed)
        evidence.append(vote)
    return evidence, nearest


def wilson(right: np.ndarray) -> dict[str, float]:
    """A share with its 95 % Wilson interval: {"value", "low", "high"}."""
    n, share, z = len(right), float(np.mean(right)), 1.959964
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return {"value": share, "low": float(max(0.0, centre - half)), "high": float(min(1.0, centre + half))}
