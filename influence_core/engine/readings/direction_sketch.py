"""Sketch of a direction: the one that a sweep would store for a sample with this gradient.

Inner products of stored sketches with it estimate those of the gradients, <g_i, v> (sketch.py). So the few training
samples worth an exact product are selected among n without a pass over them.
"""

import torch
from torch import Tensor, nn

from influence_core.engine.directions import Direction, check_directions
from influence_core.engine.readings.contract import Buffer, Wanted, contract
from influence_core.engine.readings.sketch import folding_map
from influence_core.engine.rules.factors import Dense
from influence_core.engine.watching.watch import trainable


def sketch_of(model: nn.Module, direction: Direction, *, q: int, seed: int) -> Tensor:
    """Sketch (q,) of a direction under the folding maps of a sweep with the same q and seed.

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
