"""Training dynamics: one row a sample, from the recorded numbers of every epoch.

    confidence    mean over epochs of p(given label) = exp(-loss)         Swayamdipta et al. 2020, arXiv 2009.10795
    variability   its standard deviation over epochs                       the same
    aum           mean margin over epochs, in logits; low = fits badly     Pleiss et al. 2020, arXiv 2001.10528
    forgotten     how often right in one epoch and wrong in the next       Toneva et al. 2019, arXiv 1812.05159
    learned       first epoch from which it stayed right to the end; 0 = not right at the end
    never         never right in any epoch
    influence     mean over epochs, positive = helpful (where it was recorded)
    kept          mean share of steps that a filter let through (where one was on)

As in the sources, loss and margin are those of the training step itself. Epochs that did not see a sample are left out
of its numbers. Only one epoch is in memory at a time.
"""

import numpy as np
import pandas as pd

from influence_core.errors import RunError
from influence_core.training.recorder import COLUMNS, Recording

FEWEST = 3
"""Fewest epochs from which standard deviation and forgetting are meaningful."""


def training_dynamics(recording: Recording) -> pd.DataFrame:
    """One row a sample, index sample_id, with `label` and the columns above.

    Raises:
        RunError: fewer than FEWEST epochs are recorded.
    """
    if recording.epochs < FEWEST:
        raise RunError(
            f"The recording in {recording.folder} has {recording.epochs} epochs; training dynamics need at least "
            f"{FEWEST}. Train longer, or wait for the next epoch."
        )
    n = int(recording.facts["n"])
    mean = {name: _Mean(n) for name in ("confidence", "aum", "influence", "kept")}
    forgotten, learned = np.zeros(n, np.int64), np.zeros(n, np.int64)
    ever, right_before = np.zeros(n, bool), np.zeros(n, bool)
    for number in range(1, recording.epochs + 1):
        epoch = dict(zip(COLUMNS, recording.epoch(number), strict=True))
        epoch |= {"confidence": np.exp(-epoch["loss"].astype(np.float64)), "aum": epoch["margin"]}
        for name, running in mean.items():
            running.add(epoch[name])
        right = np.where(np.isnan(epoch["margin"]), right_before, epoch["margin"] > 0)  # not seen: unchanged
        forgotten += right_before & ~right
        learned = np.where(right, np.where(learned > 0, learned, number), 0)
        ever |= right
        right_before = right
    columns = {
        "label": recording.samples["label"].to_numpy(),
        "confidence": mean["confidence"].value(),
        "variability": mean["confidence"].spread(),
        "aum": mean["aum"].value(),
        "forgotten": forgotten,
        "learned": learned,
        "never": ~ever,
        "influence": mean["influence"].value(),
        "kept": mean["kept"].value(),
    }
    return pd.DataFrame(columns, index=pd.Index(recording.samples["sample_id"], name="sample_id"))


class _Mean:
    """Running mean and standard deviation (n,) without NaN, one epoch at a time (Welford)."""

    def __init__(self, n: int) -> None:
        self.count, self.mean, self.square = np.zeros(n), np.zeros(n), np.zeros(n)

    def add(self, values: np.ndarray) -> None:
        measured = ~np.isnan(values)
        self.count += measured
        step = np.where(measured, values - self.mean, 0.0)
        self.mean += step / np.maximum(self.count, 1)
        self.square += step * np.where(measured, values - self.mean, 0.0)

    def value(self) -> np.ndarray:
        return np.where(self.count > 0, self.mean, np.nan)

    def spread(self) -> np.ndarray:
        return np.where(self.count > 0, np.sqrt(self.square / np.maximum(self.count, 1)), np.nan)
