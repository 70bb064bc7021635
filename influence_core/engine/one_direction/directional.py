"""Products <g_i, v> of every sample's gradient with ONE direction, for any module, in two inference passes.

<g_i, v> is the directional derivative of sample i's loss, d/de l_i(theta + e v) at e = 0. No gradient is formed, so no
layer needs a rule (ways.py). A central difference is fast but rounds, so 32 samples spread over the data are compared
with autograd first (trusted_way.py). If its error is too large, forward mode is used, and compared too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.directions import Direction, check_directions
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.one_direction.trusted_way import chosen, probed
from influence_core.engine.one_direction.ways import Line, one_function
from influence_core.engine.precision import in_precision, own_precision
from influence_core.engine.repeats import steady
from influence_core.engine.watching.watch import scoring, trainable
from influence_core.errors import InfluenceError, LayerError
from influence_core.system.report import Report

AUTO_ROWS = 64
"""Samples a pass. A pass without gradients keeps little memory, and more samples were not faster."""
METHODS = ("auto", "difference", "forward")

PROBE = 32
"""Samples compared with autograd; at n = 4,000 about 0.1 inference passes with the search for a step."""


@dataclass(frozen=True, slots=True)
class Directional:
    """Products of n samples' gradients with one direction, and their measured error."""

    values: Tensor
    """(n,) <g_i, v>, rows in dataset order. With an objective's gradient as v, positive = helpful."""
    method: str
    """"difference" or "forward"; "none" where nothing had to be computed: no samples, a direction of zeros."""
    agreement: float
    """Spearman's rank correlation with one-sample autograd on up to 32 of the rows."""
    relative_error: float
    """Error on these rows, as a share of the products' root mean square."""
    step: float
    """The step e of the difference; 0 for forward mode."""


def directional(
    model: nn.Module,
    samples: Dataset,
    direction: Direction,
    *,
    loss: str | Loss = "cross_entropy",
    method: str = "auto",
    batch_size: int | str = "auto",
    precision: str = "auto",
    on_progress: Report | None = None,
) -> Tensor:
    """Products (n,) of every sample's loss gradient with one direction; the model is restored exactly afterwards.

    Sign as in `sweep`: with an objective's gradient as direction, positive = helpful: a step on the sample lowers it.

    Args:
        model: any module whose outputs the loss accepts; its layers need no rule.
        samples: map-style dataset of (input, label), n rows, never shuffled.
        direction: parameter name -> tensor of the parameter's shape; missing names count as zero.
        loss: a name of `losses.LOSSES` or a function (outputs, labels) -> (b,).
        method: "difference" (central; 2 inference passes, rounded), "forward" (about 3, exact) or "auto": the
            difference if it agrees with autograd on a sample (rank agreement 0.99, relative error 1e-2), else forward
            with a warning.
        batch_size: samples a pass.
        precision: "float32" or "float64"; float64 scores a copy of the model. "auto": that of the model.
        on_progress: called with ("directional", samples done, n).

    Returns:
        (n,) on the CPU in `precision`. `measured_directional` returns the agreement and the method with it.

    Raises:
        LayerError: samples of a batch influence each other, an operator has no forward derivative, or no method agrees
            with autograd (a forward under torch.no_grad, random numbers); it states the measured agreement.
        InfluenceError: a direction that does not fit, an averaged loss, a setting that does not exist.
    """
    return measured_directional(
        model,
        samples,
        direction,
        loss=loss,
        method=method,
        batch_size=batch_size,
        precision=precision,
        on_progress=on_progress,
    ).values


def measured_directional(
    model: nn.Module,
    samples: Dataset,
    direction: Direction,
    *,
    loss: str | Loss = "cross_entropy",
    method: str = "auto",
    batch_size: int | str = "auto",
    precision: str = "auto",
    probe: int = PROBE,
    on_progress: Report | None = None,
) -> Directional:
    """`directional` with the method, its step and its measured agreement, as a paper or a log must state them.

    probe: samples compared with autograd.
    """
    rows, samples, precision = (
        _checked_settings(method, batch_size),
        steady(samples),
        own_precision(model, precision),
    )
    scored, function, n = in_precision(model, precision), loss_by_name(loss), loop.count(samples)
    line, size = _line(scored, direction, function)
    if n == 0 or not line.along:
        return Directional(torch.zeros(n, dtype=loop.home(scored)[1]), "none", 1.0, 0.0, 0.0)
    with scoring(scored), one_function(scored):
        truth = probed(line, samples, min(n, probe), rows)
        way, name, agreement, step = chosen(method, line, truth)
        parts = []
        for batch in loop.batches(samples, rows, like=scored):
            parts.append(way(batch))
            if on_progress:
                on_progress("directional", batch.stop, n)
    values = (torch.cat(parts).cpu().double() * size).to(loop.home(scored)[1])
    return Directional(_finite(values), name, agreement.ranks, agreement.error, step)


def _line(model: nn.Module, direction: Direction, loss: Loss) -> tuple[Line, float]:
    """The line of a checked direction, scaled so that its largest entry is 1, and that entry.

    A direction of 1e-30 must not underflow. Parameters along which it is zero are left out.
    """
    _check_statistics(model)
    named = trainable(model)
    check_directions([direction], named)
    along = {name: value.detach().to(named[name]) for name, value in direction.items()}
    if not all(torch.isfinite(value).all() for value in along.values()):
        raise InfluenceError(
            "The direction holds NaN or infinite numbers, and so would every product with it. Expected finite numbers: "
            "check the samples and the loss it was computed from."
        )
    size = max((float(value.abs().max()) for value in along.values() if value.numel()), default=0.0)
    along = {name: value / size for name, value in along.items() if value.any()}
    theta = {name: named[name].detach() for name in along}
    buffers = {name: value.clone() for name, value in model.named_buffers()}
    return Line(model, theta, along, loss, buffers=buffers), size


def _check_statistics(model: nn.Module) -> None:
    """Raise LayerError when a BatchNorm has no running statistics."""
    for path, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            raise LayerError(
                f"Layer '{path}' ({type(module).__name__}) keeps no running statistics, so each sample's output "
                "depends on the rest of its batch and the gradient of one sample does not exist. Expected running "
                "statistics: train it with track_running_stats=True, or use GroupNorm."
            )


def _finite(values: Tensor) -> Tensor:
    """The products, if all are finite; else raises InfluenceError with the first bad row."""
    if not torch.isfinite(values).all():
        row = int((~torch.isfinite(values)).nonzero()[0])
        raise InfluenceError(
            f"The product of sample {row} is NaN or infinite. Expected finite numbers: check that sample, the weights "
            "and the direction."
        )
    return values


def _checked_settings(method: str, batch_size: int | str) -> int:
    """Samples a pass; InfluenceError for a method or batch size that does not exist."""
    if method not in METHODS:
        raise InfluenceError(f"Method '{method}' is not known; expected one of {', '.join(METHODS)}.")
    rows = AUTO_ROWS if batch_size == "auto" else int(batch_size)
    if rows < 1:
        raise InfluenceError(f"The batch size is {batch_size}; expected a whole number from 1 on, or 'auto'.")
    return rows
