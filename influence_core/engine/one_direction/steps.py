"""Step of a central difference, chosen on samples with known products.

If the step e is too small, the rounding of the losses is divided by it. If it is too large, curvature and flipped ReLUs
add error. Best change of the loss by 2e <g, v>, as a share of it, in float32 on ResNet-18 and a transformer: 1e-4 to
3e-4 along random directions. Along gradients the error still fell at the smallest share tried (7e-3 and 2e-2).
"""

import math
from collections.abc import Callable

from torch import Tensor

TRIALS = 6
"""Steps tried, at most."""
RATIO = 4.0
"""Factor between steps."""
GAIN = 0.8
"""Largest share of its neighbour's error a step may have for the next one to be tried. The error of rounding falls
fourfold and that of kinks twofold a step. An error that falls less is at the rounding of the true products."""


def first_step(losses: Tensor, products: Tensor, eps: float, scale: float) -> float:
    """First step of the search: it changes the losses by the share eps^0.4 (1.7e-3 in float32).

    eps^(1/3) would be best for a smooth loss; ReLUs, whose error grows with e and not with its square, need less.
    If all losses or all products are zero, `scale` = |theta| / |v| replaces loss / product.
    """
    size, slope = float(losses.double().norm()), float(products.double().norm())
    return eps**0.4 * (size / slope if size and slope else scale or 1.0)


def best_step(error_of: Callable[[float], float], start: float, enough: float) -> float:
    """Step with the smallest error on a grid of factor 4 around `start`, by descent, in at most 6 trials.

    The search stops at an error of `enough`: a trial costs 16 samples twice, and sqrt(eps) (3.5e-4 in float32, 1.5e-8
    in float64) is far below the largest error accepted.
    """
    errors = {0: error_of(start)}
    for side in (-1, 1):
        exponent = side
        while len(errors) < TRIALS and not min(errors.values()) <= enough:
            errors[exponent] = error_of(start * RATIO**exponent)
            if not errors[exponent] < GAIN * errors[exponent - side]:
                break
            exponent += side
    return start * RATIO ** min(errors, key=lambda exponent: (math.isnan(errors[exponent]), errors[exponent]))
