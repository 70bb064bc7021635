"""Files of an analysis: tables of training and held-out samples, cells, layers, attacks, and the accuracies."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from influence_core.analysis.adversarial_examples import write_examples
from influence_core.analysis.request import Request
from influence_core.analysis.robustness_curve import robustness
from influence_core.analysis.sample_table import CUT, ScoreTable
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.result import Sweep
from influence_core.inputs import facts as identity
from influence_core.judging.intervals import share
from influence_core.run_files.folder import update_run
from influence_core.scores.plain.outputs import baselines


def accuracies(request: Request, swept: Sweep, held_out: Sweep | None) -> dict[str, Any]:
    """The accuracy on every split, as results for run.json; writes the held-out tables on the way."""

    def right(logits: Tensor, samples: Any) -> np.ndarray:
        return logits.argmax(1).numpy() == samples.labels

    train_accuracy = float(right(swept.logits, request.train).mean())
    facts: dict[str, Any] = {"train_accuracy": train_accuracy, "cut": CUT}
    if held_out is not None:
        facts["validation_accuracy"] = share(right(held_out.logits, request.val)).to_json()
        _write_held_out(request, "validation", request.val, held_out.logits, held_out.grad_norms)
    if request.test is not None and len(request.test):
        logits = identity.logits_of(request.model, request.test)
        facts["test_accuracy"] = share(right(logits, request.test)).to_json()
        _write_held_out(request, "test", request.test, logits)
    return facts


def write_cells(request: Request) -> None:
    """Write the cells of tables as they stand in the source, for people to read; nothing for other data."""
    for name, samples in (("", request.train), ("validation_", request.val), ("test_", request.test)):
        cells = getattr(samples, "cells", None)
        if cells is not None:
            cells.to_parquet(request.folder / f"{name}cells.parquet")


def _write_held_out(
    request: Request, split: str, samples: Any, logits: Tensor, grad_norms: Tensor | None = None
) -> None:
    """Write a table of m rows: sample_id, label, predicted, confidence, loss (cross-entropy, nats) and the groups.

    grad_norms (m,), over all layers, becomes the column grad_norm; None for samples that were not swept.
    """
    labels, names = samples.labels, np.asarray(request.classes, dtype=object)
    plain = baselines(logits.numpy(), labels)
    losses = torch.nn.functional.cross_entropy(logits.double(), torch.from_numpy(labels), reduction="none")
    columns = {
        "sample_id": list(samples.ids),
        "label": names[labels],
        "predicted": names[plain.predicted],
        "confidence": plain.confidence,
        "loss": losses.numpy().astype("float32"),
    }
    if grad_norms is not None:
        columns["grad_norm"] = grad_norms.numpy()
    table = pd.DataFrame(columns | columns_of_groups(samples))
    table.to_parquet(request.folder / f"{split}.parquet", index=False)


def columns_of_groups(samples: Any) -> dict[str, np.ndarray]:
    """The group columns of a split, by name."""
    return {str(name): values.to_numpy() for name, values in samples.groups.items()}


def write_tables(request: Request, table: pd.DataFrame, swept: Sweep, scored: ScoreTable) -> None:
    """Write the table of training samples and, in its order, what layers, the model, readers and neighbours say."""
    table.to_parquet(request.folder / "samples.parquet", index=False)
    layers = pd.DataFrame({path: values.numpy() for path, values in swept.layer_norms.items()})
    layers.insert(0, "sample_id", table["sample_id"].to_numpy())
    long = layers.melt("sample_id", var_name="layer", value_name="grad_norm")
    long.to_parquet(request.folder / "layers.parquet", index=False)
    scored.witnesses.to_parquet(request.folder / "witnesses.parquet", index=False)
    np.save(request.folder / "probabilities.npy", scored.probabilities.astype(np.float32))
    np.save(request.folder / "beliefs.npy", scored.beliefs.astype(np.float32))
    np.save(request.folder / "neighbours.npy", scored.neighbours)


def write_robustness(request: Request) -> None:
    facts, examples = robustness(
        in_precision(request.model, exact_name(request.precision)),
        request.val,
        loss=request.loss,
        seed=request.seed,
        on_progress=lambda done, total: request.report("objective", done, total),
    )
    write_examples(examples, request.folder)
    update_run(request.folder, robustness=facts)
