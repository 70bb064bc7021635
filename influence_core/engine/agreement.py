"""How well a fast derivative agrees with the true one, measured on a sample of the data against autograd.

agreement        Spearman's rank correlation, ties at their mean rank; 1 = the same order
relative_error   sqrt(sum_i (found_i - true_i)^2 / sum_i true_i^2)
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

RANKS = 0.99
ERROR = 1e-2
"""The bars: a result that agrees less is not handed out without a word."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was measured: rank correlation in [-1, 1], error as a share of the root mean square."""

    ranks: float
    error: float

    @property
    def good(self) -> bool:
        """Whether both bars are met (NaN is not)."""
        return self.ranks >= RANKS and self.error <= ERROR

    def __str__(self) -> str:
        return f"rank agreement {self.ranks:.4f}, relative error {self.error:.1e}"


def compared(found: Tensor, true: Tensor) -> Agreement:
    """Agreement of two vectors (n,), n >= 1."""
    found, true = found.double().cpu(), true.double().cpu()
    return Agreement(rank_correlation(found, true), relative_error(found, true))


def relative_error(found: Tensor, true: Tensor) -> float:
    """|found - true| / |true|; 0 when both vanish."""
    off, size = float((found - true).norm()), float(true.norm())
    return 0.0 if off == 0 else off / size if size else math.inf


def rank_correlation(found: Tensor, true: Tensor) -> float:
    """Spearman's, in [-1, 1], of two vectors (n,); NaN when one holds numbers that are not finite."""
    if not bool(torch.isfinite(found).all() and torch.isfinite(true).all()):
        return math.nan
    a, b = (rank - rank.mean() for rank in (_ranks(found), _ranks(true)))
    if not b.any():
        return 1.0  # all the same: there is no order to disagree with
    return min(1.0, float((a @ b) / (a.norm() * b.norm()).clamp_min(1e-30)))


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1, equal values at the mean of theirs."""
    _, place, counts = torch.unique(values, return_inverse=True, return_counts=True)
    return (counts.cumsum(0).double() - (counts.double() - 1) / 2)[place]
