"""The held-out samples of an objective before it is measured: their labels, groups and class names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss
from influence_core.objectives.held_out_batch import HeldOutBatch


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
        dataset: Any = self.samples
        return np.asarray([int(dataset[row][1]) for row in range(len(self))], dtype=np.int64)

    def first(self, count: int) -> HeldOutBatch:
        """The first few samples, to check what a function returns."""
        stop = min(count, len(self))
        (batch,) = loop.batches(self.samples, stop, like=self.model, stop=stop)
        return HeldOutBatch(self.model, batch.inputs, batch.labels, torch.arange(stop), self.loss)


def named_classes(model: nn.Module, samples: Any) -> tuple[str, ...]:
    """Class names from the model, else from the samples, else none."""
    names: Sequence[Any] | None = getattr(model, "classes", None) or getattr(samples, "classes", None)
    return tuple(str(name) for name in names or ())
