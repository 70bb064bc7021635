"""The table of training samples behind every page: all scores of a run, from two sweeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from influence_core.engine.result import Sweep
from influence_core.scores.plain.confident_learning import confident_learning
from influence_core.scores.plain.knn_shapley import knn_shapley
from influence_core.scores.plain.outlier_gradient import forest_outlierness, share_below
from influence_core.scores.plain.outputs import baselines, softmax
from influence_core.scores.suspicion.class_mix import class_mix
from influence_core.scores.suspicion.evidence import Evidence, readings, taught_by_validation
from influence_core.scores.suspicion.suspicion import as_log_probabilities, suspicion
from influence_core.scores.suspicion.trust import OUTPUTS_READER, regime
from influence_core.scores.suspicion.witnesses import Witness
from influence_core.scores.views import Scaled, View, members, scaled, twin_groups
from influence_core.system.report import Report

CUT = 0.5
"""Suspicion from which a label counts as probably wrong: more likely wrong than right."""
SHOWN_NEIGHBOURS = 10
FEWEST_FEATURES = 8


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """One row a sample (no map yet), what the card of a sample shows beside it, and results for run.json.

    probabilities (n, c) are the model's own; beliefs (n, c) those behind suspicion; witnesses has one row a sample;
    neighbours (n, at most 10) lie near in the view that is trusted most.
    """

    table: pd.DataFrame
    probabilities: np.ndarray
    beliefs: np.ndarray
    witnesses: pd.DataFrame
    neighbours: np.ndarray
    results: dict[str, Any]


def sample_table(
    swept: Sweep,
    held_out: Sweep | None,
    inputs: View | None,
    *,
    ids: Sequence[str],
    labels: np.ndarray,
    held_out_labels: np.ndarray,
    classes: tuple[str, ...],
    objectives: Sequence[str],
    seed: int,
    on_progress: Report,
) -> ScoreTable:
    """Turn the sweeps of n training and m validation samples into scores. Signs and units: column_meanings.py.

    Args:
        swept: its products are those of the k objectives, then one a class (for the worst of them).
        held_out: None without validation samples; the table then has no influence columns.
        inputs: the view of the inputs themselves; None if there is none, the first layer is trusted most then.
    """
    names = np.asarray(classes, dtype=object)
    plain = baselines(swept.logits.numpy(), labels)
    views = _views(swept, held_out, inputs)
    evidence, nearest, copies, deepest_view = _evidence(
        views, labels, held_out_labels, len(classes), seed, on_progress
    )
    outputs = held_out.logits if held_out is not None else swept.logits[:0]
    model_evidence = Evidence(OUTPUTS_READER, "the model", swept.logits.numpy(), outputs.numpy())
    anchor = next(i for i, e in enumerate(evidence) if e.reader == "kernel")
    doubt = suspicion([*evidence, model_evidence], labels, held_out_labels, anchor=anchor)
    deepest_probe = [e for e in evidence if e.reader == "probe"][-1]
    deepest = as_log_probabilities(deepest_probe, labels, held_out_labels)
    quality, issues = confident_learning(labels, softmax(deepest.train))
    by_validation = {}
    if len(held_out_labels):
        by_validation["knn_shapley"] = knn_shapley(deepest_view, labels, held_out_labels, seed=seed)
    table = pd.DataFrame(
        {
            "sample_id": list(ids),
            "label": names[labels],
            "predicted": names[plain.predicted],
            "confidence": plain.confidence,
            "loss": swept.losses.numpy(),
            "margin": plain.margin,
            "el2n": plain.el2n,
            **_of_gradients(swept, seed),
            **_of_influence(swept, objectives),
            **by_validation,
            "confident_learning": quality,
            "suspicion": doubt.suspicion,
            **{f"suspicion_{name}": values for name, values in doubt.parts.items()},
            "suggested_label": names[doubt.suggested],
            "suggested_probability": doubt.suggested_probability,
        }
    )
    on_progress("scores", len(views) + 1, len(views) + 1)
    results = {
        "expected_errors": float(doubt.suspicion.sum()),
        "flagged": int((doubt.suspicion >= CUT).sum()),
        "noise_rate": doubt.noise.rate,
        "noise_support": doubt.noise.support,
        "noise_possible": doubt.noise.possible,
        "near_copies": copies,
        "confident_learning_issues": issues,
        "regime": regime(doubt.trust),
        "neighbours_view": doubt.view,
        "witnesses": {witness.group: witness.view for witness in doubt.witnesses},
        "validation_mix": class_mix(labels, held_out_labels, len(classes)).note(classes),
        "evidence": [
            {"name": t.evidence, "share": round(t.share, 4), "remembers": t.remembers, "why": t.why()}
            for t in doubt.trust
        ],
    }
    return ScoreTable(
        table,
        plain.probabilities,
        doubt.beliefs,
        _witness_table(ids, doubt.witnesses, names),
        nearest[doubt.view],
        results,
    )


def _witness_table(ids: Sequence[str], heard: Sequence[Witness], names: np.ndarray) -> pd.DataFrame:
    """Three columns a witness; a class takes one or two bytes, so that a million samples take 30 MB."""
    columns: dict[str, Any] = {"sample_id": list(ids)}
    for witness in heard:
        columns[f"{witness.group}_says"] = pd.Categorical.from_codes(witness.says, categories=list(names))
        columns[f"{witness.group}_probability"] = witness.probability.astype(np.float32)
        columns[f"{witness.group}_weight"] = witness.weight.astype(np.float32)
    return pd.DataFrame(columns)


def _of_gradients(swept: Sweep, seed: int) -> dict[str, np.ndarray]:
    last = swept.layer_norms[swept.last_layer].numpy()
    return {
        "grad_norm": swept.grad_norms.numpy(),
        "grad_norm_l1": swept.grad_norms_l1.numpy(),
        "grad_norm_last": last,
        "self_influence": swept.grad_norms.numpy() ** 2,
        "outlier_forest": forest_outlierness(swept.sketches.numpy(), seed=seed),
        "outlier_l1": share_below(swept.last_norm_l1.numpy()),
        "outlier_l2": share_below(last),
    }


def _of_influence(swept: Sweep, objectives: Sequence[str]) -> dict[str, np.ndarray]:
    """One column an objective, and the lowest of the class products that follow them."""
    products = swept.products.numpy()
    columns = {f"influence_{name}": products[:, k] for k, name in enumerate(objectives)}
    classes = products[:, len(objectives) :]
    return columns | ({"influence_worst_class": classes.min(1)} if classes.shape[1] else {})


def _views(swept: Sweep, held_out: Sweep | None, inputs: View | None) -> list[View]:
    """The view of the inputs if there is one, then those of the kept layers, shallow to deep."""
    layers = [name for name, f in swept.features.items() if f.shape[1] >= FEWEST_FEATURES]
    layers = layers or list(swept.features)
    held_out_features = (
        held_out.features if held_out is not None else {name: f[:0] for name, f in swept.features.items()}
    )
    views = [View(name, swept.features[name].numpy(), held_out_features[name].numpy()) for name in layers]
    return views if inputs is None else [inputs, *views]


def _evidence(
    views: Sequence[View],
    labels: np.ndarray,
    held_out_labels: np.ndarray,
    classes: int,
    seed: int,
    on_progress: Report,
) -> tuple[list[Evidence], dict[str, np.ndarray], int, Scaled]:
    """Evidence of all views, neighbours by view, the number of samples with near-copies, the deepest view.

    Each view has three readers, four with validation labels that mix the classes as train does. The deepest view is
    returned scaled.
    """
    scaled_view = scaled(views[0], seed)
    groups = members(twin_groups(scaled_view))
    evidence: list[Evidence] = []
    nearest: dict[str, np.ndarray] = {}
    for step, view in enumerate(views):
        on_progress("scores", step, len(views) + 1)
        scaled_view = scaled_view if step == 0 else scaled(view, seed)
        from_view, near = readings(scaled_view, labels, classes, groups, seed=seed)
        nearest[view.name] = near[:, :SHOWN_NEIGHBOURS].copy()  # the rest of the rows need not be kept
        taught = taught_by_validation(scaled_view, labels, held_out_labels, classes, seed=seed)
        evidence += [*from_view, *taught]
    return evidence, nearest, sum(rows.size for size, rows in groups.items() if size > 1), scaled_view
