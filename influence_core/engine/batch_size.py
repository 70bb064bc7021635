"""Batch size from a measurement of the memory that one sample keeps alive.

A forward pass keeps what its backward pass needs. The bytes kept for three samples minus those for two are the bytes of
one sample, exactly and on any device. A batch is the largest power of two that stays within a budget. If memory runs
out all the same, because another process took it, the batch is halved and scored again: no score depends on its size.
"""

from collections.abc import Callable
from typing import TypeVar

import psutil
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss
from influence_core.engine.watching.nested import tensors_in
from influence_core.engine.watching.sample_axes import Layouts
from influence_core.engine.watching.watch import Use, Watch, scoring, trainable
from influence_core.system import scarce_memory

LARGEST = 64
"""Largest batch. 128 and 256 were as fast or slower on five models, since tiles leave the cache."""
BUDGET = 1 << 30
"""Bytes that the activations of one batch may take; a quarter of the free memory if that is less."""
SPARE = 2.0
"""Factor for gradients of activations, which live beside the activations, but not all at once: measured 1.3 to 1.8."""

Result = TypeVar("Result")


def probed_batch_size(model: nn.Module, samples: Dataset, loss: Loss, layouts: Layouts) -> int:
    """Samples a pass: a power of two from 1 to 64. Depends on the model and, if memory is scarce, on the machine."""
    if loop.count(samples) == 0:
        return 1
    kept = [_bytes_kept(model, Subset(samples, [0] * b), loss, layouts) for b in (2, 3)]
    per_sample = max(1.0, SPARE * (kept[1] - kept[0]))
    rows = LARGEST
    while rows > 1 and rows * per_sample > min(BUDGET, _free(loop.home(model)[0]) // 4):
        rows //= 2
    return rows


def _bytes_kept(model: nn.Module, samples: Dataset, loss: Loss, layouts: Layouts) -> int:
    """Bytes alive between the forward and the backward pass: saved by autograd, or kept for the contraction."""
    alive: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        alive[value.untyped_storage().data_ptr()] = value
        return value

    def called(use: Use) -> None:
        for value in tensors_in((use.args, use.kwargs)):
            keep(value)

    named = trainable(model)
    with scoring(model), torch.enable_grad():
        (batch,) = loop.batches(samples, loop.count(samples), like=model)
        watch = Watch(named, batch.inputs, layouts, called, lambda use, ds: None)
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value), watch:
            outputs = loss(loop.forward(model, batch.inputs), batch.labels)
    keep(outputs)
    return sum(value.untyped_storage().nbytes() for value in alive.values())


def _free(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return psutil.virtual_memory().available


def halved(score: Callable[[int, int], list[Result]], low: int, high: int) -> list[Result]:
    """score(low, high); when memory runs out, its two halves one after the other, down to single samples."""
    try:
        return score(low, high)
    except (MemoryError, RuntimeError) as error:
        if high - low < 2 or not scarce_memory.is_cause(error):
            raise
    middle = (low + high) // 2
    return halved(score, low, middle) + halved(score, middle, high)
