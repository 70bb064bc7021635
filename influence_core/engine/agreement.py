"""Agreement of a fast derivative with the true one, measured against autograd on a sample of the data.

ranks    Spearman's rank correlation, ties at their mean rank; 1 = the same order
error    sqrt(sum_i (found_i - true_i)^2 / sum_i true_i^2)
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RANKS = 0.99
ERROR = 1e-2
"""Thresholds: a result that agrees less comes with a warning or an error."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """Rank correlation in [-1, 1], and the error as a share of the root mean square."""

    ranks: float
    error: float

    @property
    def good(self) -> bool:
        """Whether both thresholds are met; NaN never meets one."""
        return self.ranks >= RANKS and self.error <= ERROR

    def __str__(self) -> str:
        return f"rank agreement {self.ranks:.4f}, relative error {self.error:.1e}"


def compared(measured: Tensor, true: Tensor) -> Agreement:
    """Agreement of two vectors (n,), n >= 1."""
    measured, true = measured.double().cpu(), true.double().cpu()
    return Agreement(rank_correlation(measured, true), relative_error(measured, true))


def relative_error(measured: Tensor, true: Tensor) -> float:
    """|found - true| / |true|; 0 when both are zero, infinite when only `true` is."""
    error, length = float((measured - true).norm()), float(true.norm())
    return 0.0 if error == 0 else error / length if length else math.inf


def rank_correlation(measured: Tensor, true: Tensor) -> float:
    """Spearman's rank correlation, in [-1, 1], of two vectors (n,), n >= 1; NaN when a number is not finite."""
    if not bool(torch.isfinite(measured).all() and torch.isfinite(true).all()):
        return math.nan
    if bool((true == true[0]).all()):
        return 1.0  # all equal: there is no order to disagree with
    if bool((measured == measured[0]).all()):
        return 0.0  # one value for all shows nothing of the order
    from scipy.stats import rankdata  # takes up to a second to load, and not every sweep needs it

    ranks = [rankdata(values.double().cpu().numpy()) for values in (measured, true)]
    return float(np.corrcoef(ranks)[0, 1])
