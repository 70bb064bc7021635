"""Choice of the way to the products <g_i, v> of one model and direction: the first that agrees with autograd.

A few samples are differentiated by autograd one by one, and each way is compared with them (agreement.py): first the
central difference, whose step is chosen on them too, then forward mode.

If the step e is too small, the rounding of the losses is divided by it. If it is too large, curvature and flipped ReLUs
add error. Best change of the loss by 2e <g, v>, as a share of it, in float32 on ResNet-18 and a transformer: 1e-4 to
3e-4 along random directions. Along gradients the error still fell at the smallest share tried (7e-3 and 2e-2).
"""

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.agreement import ERROR, RANKS, Agreement, compared, relative_error
from influence_core.engine.one_direction.ways import Line, Way, differences, gradients, tangents
from influence_core.engine.repeats import ROWS, check_repeats
from influence_core.engine.study import WITHIN, mixing_message
from influence_core.errors import LayerError

STEP_ROWS = 16
"""Number of the samples compared with autograd on which the step is chosen."""
TRIALS = 6
"""Steps tried, at most."""
RATIO = 4.0
"""Factor between steps."""
GAIN = 0.8
"""Largest share of its neighbour's error a step may have for the next one to be tried. The error of rounding falls
fourfold and that of kinks twofold a step. An error that falls less is at the rounding of the true products."""


@dataclass(frozen=True, slots=True)
class Probe:
    """r samples with their exact `products` and `losses` (r,), each computed alone by autograd."""

    parts: list[loop.Batch]
    losses: Tensor
    products: Tensor

    def judge(self, way: Way) -> Agreement:
        """Agreement of a way with the exact products."""
        return compared(torch.cat([way(part) for part in self.parts]), self.products)


def probed(line: Line, samples: Dataset, r: int, rows: int) -> Probe:
    """A probe of r samples spread over the data.

    Raises:
        LayerError: the losses of a batch are not those of its samples alone.
    """
    n = loop.count(samples)
    subset = Subset(samples, [row * n // r for row in range(r)])
    parts = list(loop.batches(subset, min(rows, STEP_ROWS), like=line.model))
    check_repeats(line.model, parts[0])
    with torch.no_grad():
        together = line.losses({}, parts[0]).double()
    truth = [gradients(line, part) for part in parts]
    losses, products = (torch.cat(column) for column in zip(*truth, strict=True))
    alone = losses[: len(together)]
    error = float(((together - alone).abs() / (1 + alone.abs())).max())
    if not error <= WITHIN[loop.home(line.model)[1]]:
        check_repeats(line.model, parts[0], thorough=True)
        raise LayerError(mixing_message(line.model, Subset(subset, [row % r for row in range(ROWS)]), error))
    return Probe(parts, losses, products)


def chosen(method: str, line: Line, probe: Probe) -> tuple[Way, str, Agreement, float]:
    """The way, its name, its agreement with autograd, and its step (0 for forward mode).

    Warns when the difference agrees too little; `_forward` raises when forward mode does too.
    """
    failure = ""
    if method != "forward":
        step = _step(line, probe)
        way = differences(line, step)
        agreement = probe.judge(way)
        if agreement.good:
            return way, "difference", agreement, step
        failure = (
            "The central difference agrees too little with autograd on "
            f"{len(probe.products)} samples: {agreement}. "
        )
        if method == "difference":
            warnings.warn(f"{failure}Expected {RANKS} and {ERROR:.0e}: use method='auto'.", stacklevel=4)
            return way, "difference", agreement, step
        del way  # it holds copies of the parameters
    way, agreement = _forward(line, probe, failure)
    if failure:
        warnings.warn(f"{failure}Forward mode is used instead: slower, {agreement}.", stacklevel=4)
    return way, "forward", agreement, 0.0


def _step(line: Line, probe: Probe) -> float:
    """The step of the central difference with the smallest error on the first samples of the probe."""
    parts = probe.parts[: max(1, STEP_ROWS // len(probe.parts[0]))]
    true = probe.products[: sum(len(part) for part in parts)]
    eps = torch.finfo(loop.home(line.model)[1]).eps
    start = first_step(probe.losses[: len(true)], true, eps, _length(line.theta) / _length(line.along))

    def error_of(e: float) -> float:
        way = differences(line, e)
        return relative_error(torch.cat([way(part) for part in parts]), true)

    return best_step(error_of, start, enough=eps**0.5)


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


def _length(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([value.norm() for value in tensors.values()]).norm())


def _forward(line: Line, probe: Probe, failure: str) -> tuple[Way, Agreement]:
    """Forward mode and its agreement; LayerError, with a remedy, when it does not run or does not agree."""
    way = tangents(line)
    try:
        agreement = probe.judge(way)
    except NotImplementedError as error:
        raise LayerError(
            f"{failure}Forward mode stops at an operator without a forward derivative: {str(error).splitlines()[0]} "
            "Expected one of the two to work. Use precision='float64', where a difference hardly rounds, or sweep(...)."
        ) from error
    if not agreement.good:
        raise LayerError(
            f"{failure}Forward mode does not agree with autograd on {len(probe.products)} samples either: "
            f"{agreement}; expected {RANKS} and {ERROR:.0e}. The forward draws random numbers, hides parameters "
            "from torch.func, or runs a part under torch.no_grad: use precision='float64' if it is rounding, else "
            "sweep(...)."
        )
    return way, agreement
