"""The two answers to "which samples matter to this one?": the sketches' at once, and the exact one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from influence_core.runs.shortlist import Quality

TOP = 50
"""Samples found at each end, whatever k is: their sum is reported as a share of the total."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstAnswer:
    """What the stored sketches say before the model is opened: no number in it is exact.

    `helpful` and `harmful` have the index sample_id and the columns position (row in its split), label and estimate
    (positive = helpful), the strongest first.
    """

    sample_id: str
    split: str
    label: str
    predicted: str
    confidence: float
    """The probability that the model gives to its prediction, as stored."""
    title: str
    among: str
    helpful: pd.DataFrame
    harmful: pd.DataFrame


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The samples that matter most to one sample, with exact influence.

    `helpful` and `harmful` have the index sample_id and the columns position (row in its split), label, influence
    (exact, positive = helpful) and estimate (from the sketches), the strongest first; no row appears in both.
    """

    sample_id: str | None
    """None for a sample that was passed as input instead of by id."""
    split: str
    """"val", "test", "train", or "given"."""
    label: str
    predicted: str
    probabilities: np.ndarray
    """(c,) softmax of the model's outputs."""
    title: str
    """The influenced quantity, for example "loss of this prediction"."""
    among: str
    """The split of `helpful` and `harmful`: "train", or "val" for `affected`."""
    helpful: pd.DataFrame
    harmful: pd.DataFrame
    quality: Quality
    seconds: float

    @property
    def confidence(self) -> float:
        """The probability that the model gives to its prediction."""
        return float(self.probabilities.max())
