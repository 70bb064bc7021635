"""How many labels are wrong in all: one number, with an interval for how far suspicion itself may be off.

    value      found + sum of s over the undecided
    low, high  found + sum of sigmoid(logit(s) + shift) over the undecided, shift = the two ends of a range

`found` counts the decisions that changed or removed a sample: what was reviewed is known and needs no estimate. The
shift is how far suspicion can be miscalibrated; where most suspicions are near 0 or 1 it moves the sum little, where
they are vague it moves it much. Chance alone, the spread of n coins, is several times narrower and missed the truth
(on the two first data sets tried 337 to 373 for 400, and 51 to 69 for 38).

The range was chosen over the trainings of benchmarks/detection/run.py, which prints how many of them hold the truth:
docs/detection.md, "How many labels are wrong". To let the decisions also correct the undecided (a shift and a slope
fitted to them) was tried and left out: the most suspicious samples say little of the others.
"""

import numpy as np

from influence_core.judging.intervals import Estimate

SHIFT = 1.5
UNTOLD_SHIFT = 3.0
"""Where wrong labels cannot be told from hard ones: up to here, and down to none at all."""
TOLD = 0.5
"""Least `noise_support` from which the estimated share counts as measured."""


def expected_errors(suspicion: np.ndarray, support: float, decided: np.ndarray | None = None) -> Estimate:
    """Number of wrong labels among n, with the interval of the docstring above.

    Args:
        suspicion: (n,) in [0, 1].
        support: `noise_support` of the run, in [0, 1].
        decided: (n,) 1.0 = found wrong, 0.0 = found right, NaN = undecided; None = all undecided.
    """
    decided = np.full(len(suspicion), np.nan) if decided is None else decided
    found, rest = float(np.nansum(decided)), suspicion[np.isnan(decided)].astype(float)
    low, high = (-SHIFT, SHIFT) if support >= TOLD else (-np.inf, UNTOLD_SHIFT)
    return Estimate(found + float(rest.sum()), *(found + _shifted_sum(rest, shift) for shift in (low, high)))


def _shifted_sum(suspicion: np.ndarray, shift: float) -> float:
    """Sum of sigmoid(logit(s) + shift), which is s / (s + (1 - s) exp(-shift)); 0 at minus infinity."""
    if shift == -np.inf:
        return 0.0
    return float((suspicion / (suspicion + (1 - suspicion) * np.exp(-shift))).sum())
