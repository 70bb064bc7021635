"""What does an analysis leave in its run folder beside scores? Held-out tables, cells, layers, attacks, accuracies."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from influence_core import identity
from influence_core.adversarial_examples import write_examples
from influence_core.analysis_job import Job
from influence_core.engine.precision import exact_name, in_precision
from influence_core.engine.result import Sweep
from influence_core.held_out_table import held_out_table
from influence_core.robustness import robustness
from influence_core.runs import (
    update_run,
)
from influence_core.tables import CUT, wilson


def accuracies(job: Job, swept: Sweep, held_out: Sweep | None) -> dict[str, Any]:
    def right(logits: torch.Tensor, samples: Any) -> np.ndarray:
        return logits.argmax(1).numpy() == identity.labels_of(samples)

    facts: dict[str, Any] = {
        "train_accuracy": float(right(swept.logits, job.train).mean()),
        "cut": CUT,
    }
    if held_out is not None:
        facts["validation_accuracy"] = wilson(right(held_out.logits, job.val))
        write_held_out(job, "validation", job.val, held_out.logits, held_out.grad_norms)
    if job.test is not None and len(job.test):
        logits = identity.logits_of(job.model, job.test)
        facts["test_accuracy"] = wilson(right(logits, job.test))
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
