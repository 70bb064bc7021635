"""`HeldOutBatch`: a batch of held-out samples with the model's outputs and losses."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import Tensor, nn

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, checked_losses


@dataclass(frozen=True)
class HeldOutBatch:
    """A batch of held-out samples. Outputs and losses are computed on first use, then shared."""

    model: nn.Module
    inputs: Any
    labels: Tensor
    """(b, ...) on the model's device."""
    rows: Tensor
    """(b,) int64: positions in the held-out split, independent of the batch."""
    loss: Loss

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def outputs(self) -> Any:
        """The model's outputs, logits (b, c) for a classifier."""
        return loop.forward(self.model, self.inputs)

    @cached_property
    def losses(self) -> Tensor:
        """Each sample's own loss (b,)."""
        return checked_losses(self.loss(self.outputs, self.labels), len(self))

    def with_inputs(self, inputs: Any) -> HeldOutBatch:
        """The same samples with other inputs, such as attacked ones; outputs and losses are recomputed."""
        return replace(self, inputs=inputs)
