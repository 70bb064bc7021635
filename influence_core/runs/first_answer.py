"""The answer of the stored sketches, without the model: one matrix product, and no import of torch.

The sweep stored a sketch of every training and validation sample's own gradient. The direction of a stored sample's
loss is its own gradient, so its sketch is there already, and <g_i, g_j> is estimated for all i at once. The exact
products of explanations.py take the place of these estimates when they are ready.
"""

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.run_files.tables import HELD_OUT, RunTables
from influence_core.runs.answers import FirstAnswer

LOSS = "loss of this prediction"


def first_answer(
    run: RunTables, sample_id: str, *, split: str, among: str = "train", k: int = 10
) -> FirstAnswer | None:
    """The k samples of each end by their sketches; None for a test sample, of which no sketch is stored.

    Args:
        split: "val", "test" or "train", where the sample is.
        among: "train", or "val" for the validation samples that a training sample affects.

    Raises:
        RunError: the split has no such sample.
    """
    row = run.find(sample_id, split)
    if row is None:
        raise RunError(f"The run {run.name} has no sample {sample_id!r} in its split '{split}'.")
    if (sketch := stored_sketch(run, split, row)) is None:
        return None
    estimates = stored_sketches(run, among) @ sketch
    order = np.argsort(-estimates, kind="stable")
    order = order[order != row] if among == split else order
    facts, others = samples_of(run, split).iloc[row], samples_of(run, among)
    return FirstAnswer(
        sample_id=sample_id,
        split=split,
        label=str(facts["label"]),
        predicted=str(facts["predicted"]),
        confidence=float(facts["confidence"]),
        title=LOSS,
        among=among,
        helpful=_ranked(others, order[estimates[order] > 0][:k], estimates),
        harmful=_ranked(others, order[::-1][estimates[order[::-1]] < 0][:k], estimates),
    )


def stored_sketches(run: RunTables, split: str) -> np.ndarray:
    """Sketches (n, q) float32 of the training or validation samples."""
    return np.asarray(_kept(run, split), dtype=np.float32)


def stored_sketch(run: RunTables, split: str, row: int) -> np.ndarray | None:
    """The sketch (q,) of a sample's own gradient; None where the sweep stored none, as for test samples."""
    return np.asarray(_kept(run, split)[row], dtype=np.float32) if split in ("train", "val") else None


def _kept(run: RunTables, split: str) -> np.ndarray:
    return run.sketches if split == "train" else run.validation_sketches


def samples_of(run: RunTables, split: str) -> pd.DataFrame:
    """The run's table of the samples of a split, by sample_id."""
    return run.samples if split == "train" else run.table(HELD_OUT[split])


def _ranked(facts: pd.DataFrame, rows: np.ndarray, estimates: np.ndarray) -> pd.DataFrame:
    ranked = facts[["label"]].iloc[rows]
    ranked.insert(0, "position", rows)
    return ranked.assign(estimate=estimates[rows])
