"""What does an analysis leave in its run folder beside scores? Held-out tables, cells, layers, attacks, accuracies."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from influence_core.analysis.adversarial_examples import write_examples
from influence_core.analysis.request import Job
from influence_core.analysis.robustness_curve import robustness
from influence_core.analysis.sample_table import CUT
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.result import Sweep
from influence_core.inputs import facts as identity
from influence_core.judging.intervals import share
from influence_core.run_files.folder import update_run
from influence_core.scores.plain.outputs import baselines


def accuracies(job: Job, swept: Sweep, held_out: Sweep | None) -> dict[str, Any]:
    def right(logits: torch.Tensor, samples: Any) -> np.ndarray:
        return logits.argmax(1).numpy() == samples.labels

    facts: dict[str, Any] = {
        "train_accuracy": float(right(swept.logits, job.train).mean()),
        "cut": CUT,
    }
    if held_out is not None:
        facts["validation_accuracy"] = share(right(held_out.logits, job.val)).to_json()
        write_held_out(job, "validation", job.val, held_out.logits, held_out.grad_norms)
    if job.test is not None and len(job.test):
        logits = identity.logits_of(job.model, job.test)
        facts["test_accuracy"] = share(right(logits, job.test)).to_json()
        write_held_out(job, "test", job.test, logits, None)
    return facts


def write_cells(job: Job) -> None:
    """The rows of a table as they stand in the source, for a person to read; nothing for anything else."""
    for name, samples in (("", job.train), ("validation_", job.val), ("test_", job.test)):
        cells = getattr(samples, "cells", None)
        if cells is not None:
            cells.to_parquet(job.folder / f"{name}cells.parquet")


def write_held_out(
    job: Job, split: str, samples: Any, logits: torch.Tensor, norms: torch.Tensor | None
) -> None:
    table = held_out_table(samples, logits, job.classes, identity.groups_of(samples), norms)
    table.to_parquet(job.folder / f"{split}.parquet", index=False)


def held_out_table(
    samples: Any,
    logits: Tensor,
    classes: tuple[str, ...],
    groups: pd.DataFrame | None,
    grad_norms: Tensor | None = None,
) -> pd.DataFrame:
    """sample_id, label, predicted, confidence, loss (cross-entropy, nats) and the group columns, m rows.

    grad_norm is there where the samples were swept: each one's gradient norm (m,), all layers.
    """
    labels = samples.labels
    plain = baselines(logits.numpy(), labels)
    losses = torch.nn.functional.cross_entropy(logits.double(), torch.from_numpy(labels), reduction="none")
    table = pd.DataFrame(
        {
            "sample_id": list(samples.ids),
            "label": [classes[label] for label in labels],
            "predicted": [classes[int(label)] for label in plain.predicted],
            "confidence": plain.confidence,
            "loss": losses.numpy().astype("float32"),
        }
    )
    if grad_norms is not None:
        table["grad_norm"] = grad_norms.numpy()
    if groups is not None:
        table = table.assign(**{str(name): groups[name].to_numpy() for name in groups.columns})
    return table


def write_tables(
    job: Job, table: pd.DataFrame, swept: Sweep, probabilities: np.ndarray, nearest: np.ndarray
) -> None:
    table.to_parquet(job.folder / "samples.parquet", index=False)
    layers = pd.DataFrame({path: values.numpy() for path, values in swept.layer_norms.items()})
    layers.insert(0, "sample_id", table["sample_id"].to_numpy())
    long = layers.melt("sample_id", var_name="layer", value_name="grad_norm")
    long.to_parquet(job.folder / "layers.parquet", index=False)
    np.save(job.folder / "probabilities.npy", probabilities.astype(np.float32))
    np.save(job.folder / "neighbours.npy", nearest)


def write_robustness(job: Job) -> None:
    facts, examples = robustness(
        in_precision(job.model, exact_name(job.precision)),
        job.val,
        loss=job.loss,
        seed=job.seed,
        on_progress=lambda done, total: job.report("objective", done, total),
    )
    write_examples(examples, job.folder)
    update_run(job.folder, robustness=facts)
