"""The step of a central difference, found on samples whose products are known.

Where the step e is too small, the rounding of the losses is divided by it; where it is too large, curvature and
turned-over ReLUs enter. Best change of the loss by 2e <g, v>, as a share of it, in float32 on ResNet-18 and a
transformer: 1e-4 to 3e-4 along random directions; along gradients the error still fell at the smallest share tried
(7e-3 and 2e-2).
"""

import math
from collections.abc import Callable

from torch import Tensor

TRIALS = 6
RATIO = 4.0
GAIN = 0.8
"""A step must leave at most this share of its neighbour's error for the next one to be tried. Rounding falls fourfold
and kinks twofold a step; what falls less is already at the floor of the true products' own rounding."""


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
