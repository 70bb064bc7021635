"""The way to the products <g_i, v> that may be trusted for this model and this direction: the first that agrees.

A few samples are taken through autograd one by one, and each way is judged by them (agreement.py): the central
difference, whose step is found on them too, then forward mode.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.agreement import (
    ERROR,
    RANKS,
    Agreement,
    compared,
    relative_error,
)
from influence_core.engine.one_direction.steps import best_step, first_step
from influence_core.engine.one_direction.ways import (
    Line,
    Way,
    differences,
    gradients,
    tangents,
)
from influence_core.engine.study import ROWS, WITHIN, mixing_message
from influence_core.errors import LayerError

STEP_ROWS = 16
"""Of the samples compared with autograd, those that the step is chosen on."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A few samples and the truth about them: `products` and `losses` (r,) from each sample alone."""

    parts: list[loop.Batch]
    losses: Tensor
    products: Tensor

    def judge(self, way: Way) -> Agreement:
        return compared(torch.cat([way(part) for part in self.parts]), self.products)


def probed(line: Line, samples: Dataset, r: int, rows: int) -> Probe:
    """Samples spread over the data, each alone through autograd.

    Raises:
        LayerError: the losses of a batch are not those of its samples alone.
    """
    n = loop.count(samples)
    few = Subset(samples, [row * n // r for row in range(r)])
    parts = list(loop.batches(few, min(rows, STEP_ROWS), like=line.model))
    with torch.no_grad():
        together = line.losses({}, parts[0]).double()
    truth = [gradients(line, part) for part in parts]
    losses, products = (torch.cat(column) for column in zip(*truth, strict=True))
    alone = losses[: len(together)]
    apart = float(((together - alone).abs() / (1 + alone.abs())).max())
    if not apart <= WITHIN[loop.home(line.model)[1]]:
        raise LayerError(mixing_message(line.model, Subset(few, [row % r for row in range(ROWS)]), apart))
    return Probe(parts, losses, products)


def chosen(method: str, line: Line, probe: Probe) -> tuple[Way, str, Agreement, float]:
    """The way to take, its name, how it agreed, and its step."""
    measured = ""
    if method != "forward":
        step = _step(line, probe)
        way = differences(line, step)
        found = probe.judge(way)
        if found.good:
            return way, "difference", found, step
        measured = (
            "The central difference agrees too little with autograd on "
            f"{len(probe.products)} samples: {found}. "
        )
        if method == "difference":
            warnings.warn(f"{measured}Expected {RANKS} and {ERROR:.0e}: use method='auto'.", stacklevel=4)
            return way, "difference", found, step
        del way  # copies of the parameters
    way, found = _forward(line, probe, measured)
    if measured:
        warnings.warn(f"{measured}Forward mode is used instead: slower, {found}.", stacklevel=4)
    return way, "forward", found, 0.0


def _step(line: Line, probe: Probe) -> float:
    parts = probe.parts[: max(1, STEP_ROWS // len(probe.parts[0]))]
    true = probe.products[: sum(len(part) for part in parts)]
    eps = torch.finfo(loop.home(line.model)[1]).eps
    start = first_step(probe.losses[: len(true)], true, eps, _length(line.theta) / _length(line.along))

    def error_of(e: float) -> float:
        way = differences(line, e)
        return relative_error(torch.cat([way(part) for part in parts]), true)

    return best_step(error_of, start, enough=eps**0.5)


def _length(tensors: Mapping[str, Tensor]) -> float:
    return float(torch.stack([value.norm() for value in tensors.values()]).norm())


def _forward(line: Line, probe: Probe, measured: str) -> tuple[Way, Agreement]:
    """Forward mode and its agreement, or a sentence with the way out."""
    way = tangents(line)
    try:
        found = probe.judge(way)
    except NotImplementedError as error:
        raise LayerError(
            f"{measured}Forward mode stops at an operator without a forward derivative: {str(error).splitlines()[0]} "
            "Expected one of the two to work. Use precision='float64', where a difference hardly rounds, or sweep(...)."
        ) from error
    if not found.good:
        raise LayerError(
            f"{measured}Forward mode does not agree with autograd on {len(probe.products)} samples either: {found}; "
            f"expected {RANKS} and {ERROR:.0e}. The forward draws random numbers, hides parameters from torch.func, or "
            "runs a part under torch.no_grad: use precision='float64' if it is rounding, else sweep(...)."
        )
    return way, found
