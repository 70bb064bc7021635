"""An objective from a user's own function of (model, inputs, labels), to be lowered.

(b,)   one number a sample: the objective is their mean, from ordinary batches, with an interval
()     one number of the whole split: computed in one piece, so the split must fit into memory; no interval
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from influence_core.errors import InfluenceError
from influence_core.objectives.held_out import HeldOut, HeldOutBatch
from influence_core.objectives.objective import Objective

Function = Callable[[nn.Module, Any, Tensor], Tensor]


@dataclass(frozen=True)
class Own(Objective):
    """A user's own scalar function; `title` completes "a training step on this sample raises ..."."""

    function: Function
    name: str
    title: str
    unit: str = ""
    whole: bool = False
    linear: ClassVar[bool] = True

    @classmethod
    def of(cls, function: Function) -> "Own":
        """An objective named after the function."""
        name = getattr(function, "__name__", type(function).__name__)
        return cls(function, name=name, title=name.replace("_", " "))

    def bound(self, held: HeldOut) -> Self:
        with torch.no_grad():
            few = held.first(2)
            result = self.function(few.model, few.inputs, few.labels)
        shape = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
        if shape not in ((), (len(few),)):
            raise InfluenceError(
                f"The objective '{self.name}' returned {shape} for {len(few)} samples; expected a tensor of shape "
                f"({len(few)},), one number a sample, or (), one number of the whole split."
            )
        return replace(self, whole=shape == ())

    def readings(self, batch: HeldOutBatch) -> Tensor:
        result = self.function(batch.model, batch.inputs, batch.labels)
        return result.reshape(1) if self.whole else result
