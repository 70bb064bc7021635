"""How well a fast derivative agrees with the true one, measured on a sample of the data against autograd.

    agreement        Spearman's rank correlation, ties at their mean rank; 1 = the same order
    relative_error   sqrt(sum_i (found_i - true_i)^2 / sum_i true_i^2)

The step e of a central difference is found the same way. Too small and the rounding of the losses is divided by it, too
large and curvature and turned-over ReLUs enter. Best change of the loss by 2e <g, v>, as a share of it, in float32 on
ResNet-18 and a transformer: 1e-4 to 3e-4 along random directions; along gradients the error still fell at the smallest
share tried (7e-3 and 2e-2).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

RANKS = 0.99
ERROR = 1e-2
"""The bars: a result that agrees less is not handed out without a word."""

TRIALS = 6
RATIO = 4.0
GAIN = 0.8
"""A step must leave at most this share of its neighbour's error for the next one to be tried. Rounding falls fourfold
and kinks twofold a step; what falls less is already at the floor of the true products' own rounding."""


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


def first_step(losses: Tensor, products: Tensor, eps: float, scale: float) -> float:
    """Where to begin the search: a step that changes the losses by the share eps^0.4 (1.7e-3 in float32).

    eps^(1/3) would be best for a smooth loss; ReLUs, whose error grows with e and not with its square, ask for less.
    Where no product is known to differ from zero, `scale` = |theta| / |v| takes the place of loss / product.
    """
    size, slope = float(losses.double().norm()), float(products.double().norm())
    return eps**0.4 * (size / slope if size and slope else scale or 1.0)


def best_step(error_of: Callable[[float], float], start: float, enough: float) -> float:
    """The step with the smallest error on a grid of factor 4 around `start`, walking downhill, at most 6 trials.

    It stops at an error of `enough`: a trial costs 16 samples twice, and sqrt(eps) (3.5e-4 in float32, 1.5e-8 in
    float64) is far below the bar.
    """
    errors = {0: error_of(start)}
    for side in (-1, 1):
        place = side
        while len(errors) < TRIALS and not min(errors.values()) <= enough:
            errors[place] = error_of(start * RATIO**place)
            if not errors[place] < GAIN * errors[place - side]:
                break
            place += side
    return start * RATIO ** min(errors, key=lambda place: (math.isnan(errors[place]), errors[place]))


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
