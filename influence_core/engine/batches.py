"""Batches of samples for the model: the only loop over samples, used by every pass of the engine.

Rows come in dataset order, never shuffled. The last batch may be smaller. A batch is one row range, so a resumed run
cuts the same batches and gets the same bits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

from influence_core.data import Samples
from influence_core.errors import DataError


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows `start` to `stop` of a dataset on the model's device: inputs as collated, labels (b,)."""

    start: int
    stop: int
    inputs: Any
    labels: Tensor

    def __len__(self) -> int:
        return self.stop - self.start


def batches(
    samples: Dataset, batch_size: int, *, like: nn.Module, start: int = 0, stop: int | None = None
) -> Iterator[Batch]:
    """Yield rows [start, stop) in order, floating inputs in the dtype and on the device of `like`."""
    device, dtype = home(like)
    end = count(samples) if stop is None else stop
    for low in range(start, end, batch_size):
        high = min(low + batch_size, end)
        inputs, labels = _collate(samples, low, high)
        yield Batch(low, high, moved(inputs, device, dtype), _sent(labels, device, labels.dtype))


def count(samples: Dataset) -> int:
    """Number of samples.

    Raises:
        DataError: a dataset without a length, such as an iterable one: it cannot be scored by row.
    """
    if not hasattr(samples, "__len__"):
        raise DataError(
            f"{type(samples).__name__} has no length. Scores need rows that can be read again: "
            "give a map-style dataset with __len__ and __getitem__."
        )
    return len(samples)  # pyright: ignore[reportArgumentType]


def home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating dtype of a model's parameters; CPU float32 for a model without any."""
    for tensor in model.parameters():
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.get_default_dtype()


def moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The same nested structure on `device`, floating tensors in `dtype`; token ids keep their integers."""
    if isinstance(inputs, Tensor):
        target = dtype if inputs.is_floating_point() else inputs.dtype
        return _sent(inputs, device, target)
    if isinstance(inputs, dict):
        return {key: moved(value, device, dtype) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(moved(value, device, dtype) for value in inputs)
    return inputs


def _sent(value: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The tensor on the device; to CUDA by way of pinned memory, because a copy from other memory would block."""
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device=device, dtype=dtype, non_blocking=True)


def one_of(inputs: Any, row: int) -> Any:
    """The same nested structure with one row alone, still as a batch of one."""
    if isinstance(inputs, Tensor):
        return inputs[row : row + 1]
    if isinstance(inputs, dict):
        return {key: one_of(value, row) for key, value in inputs.items()}
    if isinstance(inputs, list | tuple):
        return type(inputs)(one_of(value, row) for value in inputs)
    return inputs


def forward(model: nn.Module, inputs: Any) -> Any:
    """Call the model: dictionaries are passed by name, lists and tuples by position, other inputs as they are."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, list | tuple):
        return model(*inputs)
    return model(inputs)


def _collate(samples: Dataset, low: int, high: int) -> tuple[Any, Tensor]:
    """Rows low to high as one batch; DataError when an item is no pair, or shapes differ."""
    if isinstance(samples, Samples):
        return samples.batch(range(low, high))  # decodes and stacks at once: 40 times faster than one by one
    items = [samples[row] for row in range(low, high)]
    if not isinstance(items[0], tuple | list) or len(items[0]) != 2:
        raise DataError(
            f"Sample {low} is a {type(items[0]).__name__}; expected a pair (input, label). "
            "Wrap the dataset so that dataset[i] returns (input, label)."
        )
    try:
        inputs, labels = default_collate(items)
    except RuntimeError as error:
        raise DataError(
            f"Samples {low} to {high - 1} do not stack into one batch: {error}. "
            "All inputs of a split need one shape: resize them, or give the model's preprocessing."
        ) from error
    return inputs, torch.as_tensor(labels)
