"""The range and the unit in which an input may be changed, by what the model reads.

pictures of our models    pixels in [0, 1] before normalisation; strength 0.03 = 3 % of the pixel range
tables and features       no bounds; strength in standard deviations of each feature
any other module          pictures (c, h, w): between the smallest and largest value seen in each channel, strength
                          as a share of that range; vectors: standard deviations of the held-out samples
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.errors import ObjectiveError

LOOKED_AT = 512
"""Held-out samples whose range stands for that of inputs without a description."""


@dataclass(frozen=True)
class InputSpace:
    """`unit` broadcasts over a batch of inputs; `low` and `high` too, or None where there are no bounds."""

    unit: Tensor
    low: Tensor | None
    high: Tensor | None
    pictures: bool

    @property
    def words(self) -> str:
        """The unit of strength, in words."""
        return "share of the pixel range" if self.pictures else "standard deviations of each feature"

    @property
    def usual(self) -> float:
        """The default strength: 8/255 for pictures, as is customary; 0.1 deviations for features."""
        return 8 / 255 if self.pictures else 0.1

    def inside(self, inputs: Tensor) -> Tensor:
        """The nearest inputs within the bounds."""
        if self.low is None or self.high is None:
            return inputs
        return torch.minimum(torch.maximum(inputs, self.low), self.high)

    def near(self, inputs: Tensor, start: Tensor, strength: float) -> Tensor:
        """The nearest inputs within the bounds, no entry further than `strength` units from `start`."""
        reach = strength * self.unit
        return self.inside(torch.minimum(torch.maximum(inputs, start - reach), start + reach))


def input_space(model: nn.Module, samples: Dataset) -> InputSpace:
    """The input space of these samples for this model.

    Raises:
        ObjectiveError: inputs that cannot be changed by a little, such as token ids.
    """
    few = _few(model, samples)
    if not isinstance(few, Tensor) or not few.is_floating_point():
        kind = str(few.dtype) if isinstance(few, Tensor) else type(few).__name__
        raise ObjectiveError(
            f"Robustness needs inputs that can be changed by a little, one tensor of floating numbers; found {kind}. "
            "Leave robustness out for this data."
        )
    described: Any = getattr(model, "preprocessing", None)
    pictures = few.ndim == 4
    if described is not None and pictures:
        one = few.new_ones(())
        return InputSpace(one, 0 * one, one, True)
    if described is not None:
        return InputSpace(few.new_tensor(described.std), None, None, False)
    if not pictures:
        return InputSpace(few.std(0, correction=0), None, None, False)
    low, high = (edge.view(1, -1, 1, 1) for edge in (few.amin((0, 2, 3)), few.amax((0, 2, 3))))
    return InputSpace(high - low, low, high, True)


def _few(model: nn.Module, samples: Dataset) -> Any:
    stop = min(LOOKED_AT, loop.count(samples))
    (batch,) = loop.batches(samples, stop, like=model, stop=stop)
    return batch.inputs
