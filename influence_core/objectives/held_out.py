"""The held-out samples of an objective: labels, groups and class names of all, outputs and losses of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, as_labels, checked_losses, losses_of


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
        return loop.outputs_of(self.model, self._batch)

    @cached_property
    def losses(self) -> Tensor:
        """Each sample's own loss (b,)."""
        return checked_losses(losses_of(self.loss, self.outputs, self._batch), len(self))

    @property
    def classes(self) -> Tensor:
        """Class numbers (b,) int64, whatever the shape and format of the labels."""
        return as_labels(self._batch)

    @property
    def _batch(self) -> loop.Batch:
        """The same as the engine takes it, with the samples named by `rows`."""
        return loop.Batch(0, len(self), self.inputs, self.labels, samples=Subset(self, self.rows))  # pyright: ignore

    def with_inputs(self, inputs: Any) -> HeldOutBatch:
        """The same samples with other inputs, such as attacked ones; outputs and losses are recomputed."""
        return replace(self, inputs=inputs)


@dataclass(frozen=True)
class HeldOut:
    """The m held-out samples of one objective. Labels are read on first use."""

    samples: Dataset
    model: nn.Module
    loss: Loss
    classes: tuple[str, ...] = ()
    """Class names in the order of the outputs; empty where there are none."""
    groups: pd.DataFrame | None = None
    """Group columns (m rows), None where the samples carry none."""
    train_groups: pd.DataFrame | None = None
    """The same columns of the training samples, to report groups without held-out samples."""

    def __len__(self) -> int:
        return loop.count(self.samples)

    @cached_property
    def labels(self) -> np.ndarray:
        """Given labels (m,) int64."""
        stored: Any = getattr(self.samples, "labels", None)
        if isinstance(stored, np.ndarray):
            return stored
        parts = [as_labels(batch) for batch in loop.batches(self.samples, 64, like=nn.Identity())]
        return torch.cat(parts).numpy() if parts else np.zeros(0, np.int64)

    def first(self, count: int) -> HeldOutBatch:
        """The first few samples, to check what a function returns."""
        stop = min(count, len(self))
        (batch,) = loop.batches(self.samples, stop, like=self.model, stop=stop)
        return HeldOutBatch(self.model, batch.inputs, batch.labels, torch.arange(stop), self.loss)


def named_classes(model: nn.Module, samples: Any) -> tuple[str, ...]:
    """Class names from the model, else from the samples, else none."""
    names: Sequence[Any] | None = getattr(model, "classes", None) or getattr(samples, "classes", None)
    return tuple(str(name) for name in names or ())
