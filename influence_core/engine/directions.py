"""Directions: one tensor a parameter, such as an objective's gradient; missing parameters count as zero."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from influence_core.engine.readings.contract import Buffer, Wanted, contract
from influence_core.engine.readings.sketch import folding_map
from influence_core.engine.rules.factors import Dense
from influence_core.engine.watching.watch import trainable
from influence_core.errors import InfluenceError

Direction = Mapping[str, Tensor]


def check_directions(directions: Sequence[Direction], named: Mapping[str, Tensor]) -> None:
    """Raise InfluenceError unless every direction names trainable parameters and has their shapes."""
    for index, direction in enumerate(directions):
        for name, tensor in direction.items():
            if name not in named:
                raise InfluenceError(
                    f"Direction {index} names the parameter '{name}', which is not a trainable parameter of the model "
                    f"({len(named)} are). Take names from dict(model.named_parameters())."
                )
            if tensor.shape != named[name].shape:
                raise InfluenceError(
                    f"Direction {index} has shape {tuple(tensor.shape)} for '{name}'; expected "
                    f"{tuple(named[name].shape)}, the parameter's own shape."
                )


def sketch_of(model: nn.Module, direction: Direction, *, q: int, seed: int) -> Tensor:
    """Sketch (q,) of a direction: what a sweep with this q and seed would store of a sample with this gradient.

    Its inner products with stored sketches estimate <g_i, v> (sketch.py). So the few training samples worth an exact
    product are selected among n without a pass over them.

    Raises:
        InfluenceError: a direction that does not fit the model's trainable parameters.
    """
    named, buffer = trainable(model), Buffer()
    check_directions([direction], named)
    total = torch.zeros(q, dtype=torch.float64)
    for name, value in direction.items():
        shape = tuple(value.shape)
        folding = folding_map(name, shape, q, seed, value)
        readings = contract(Dense(value.detach()[None]), Wanted(shape, (), folding), buffer)
        total += folding.closed(readings.folded)[0].to(total)
    return total.float()
