"""The predicted effect of leaving samples out, from the influences that the run has measured: no further pass.

Without sample i an objective f changes by about +influence_i (predicted_effects.py), a batch by the sum. The sum has a
sign and an order, but no scale. So it stands beside random batches of the same size and class mix.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from influence_core.repair.predicted_effects import BATCHES, beaten
from influence_core.run_files.tables import RunTables


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What leaving samples out does to one objective, which is better when it falls."""

    change: float
    """Sum of their influences, the predicted change to first order; negative: it falls."""
    better_than_random: float
    """Share of random batches of the same size and class mix that are predicted to do worse; 0.5 = chance."""


def left_out(run: RunTables, samples: Sequence[str], objective: str, *, seed: int = 0) -> LeftOut:
    """The predicted effect on an objective whose influence the run has measured."""
    values = run.samples[f"influence_{objective}"].to_numpy(float)
    rows = np.array([run.position(sample) for sample in samples], dtype=np.int64)
    total, random = float(values[rows].sum()), _random_batches(run, rows, values, seed)
    return LeftOut(total, float(beaten(random, total)))


def _random_batches(run: RunTables, rows: np.ndarray, values: np.ndarray, seed: int) -> np.ndarray:
    """Sums over random batches with as many samples of each given label, drawn with replacement (BATCHES,)."""
    labels, generator = run.samples["label"].to_numpy(), np.random.default_rng(seed)
    total = np.zeros(BATCHES)
    for label in np.unique(labels[rows]):
        members, count = np.flatnonzero(labels == label), int((labels[rows] == label).sum())
        total += values[generator.choice(members, (BATCHES, count))].sum(axis=1)
    return total
