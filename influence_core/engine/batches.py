"""Batches of samples for the model: the only loop over samples, used by every pass of the engine.

Rows come in dataset order, never shuffled. The last batch may be smaller. A batch is one row range, so a resumed run
cuts the same batches and gets the same bits.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.data import Dataset

from influence_core.data import Samples
from influence_core.engine.given_samples import count, described, joined, place_of
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.errors import InfluenceError, ModelError
from influence_core.system import scarce_memory

__all__ = ["Batch", "alone", "batches", "buffers_kept", "count", "forward", "home", "moved", "outputs_of"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows `start` to `stop` of a dataset on the model's device: inputs as collated, labels (b,)."""

    start: int
    stop: int
    inputs: Any
    labels: Tensor
    given: np.ndarray | None = None
    """The labels as the dataset gave them, to be checked without waiting for the device."""
    samples: Any = None
    """The dataset, to name its samples."""

    def __len__(self) -> int:
        return self.stop - self.start

    def named(self, row: int | None = None) -> str:
        """One row of the batch, or all, by its number in the dataset: 'sample 7', 'samples 0 to 63'."""
        if row is not None or len(self) == 1:
            return f"sample {place_of(self.samples, self.start + (row or 0))}"
        return f"samples {place_of(self.samples, self.start)} to {place_of(self.samples, self.stop - 1)}"


def batches(
    samples: Dataset, batch_size: int, *, like: nn.Module, start: int = 0, stop: int | None = None
) -> Iterator[Batch]:
    """Yield rows [start, stop) in order, floating inputs in the dtype and on the device of `like`."""
    device, dtype = home(like)
    end = count(samples) if stop is None else stop
    for low in range(start, end, batch_size):
        high = min(low + batch_size, end)
        inputs, labels = _collate(samples, low, high)
        sent = _sent(labels, device, labels.dtype)
        yield Batch(low, high, moved(inputs, device, dtype), sent, numbers_of(labels), samples)


def check_weights(model: nn.Module) -> None:
    """Raise ModelError for a network that was built without its numbers."""
    if home(model)[0].type == "meta":
        raise ModelError(
            "The model's weights are on the device 'meta', where they hold no numbers. Load them first: "
            "model.load_state_dict(weights, assign=True)."
        )


def numbers_of(labels: Tensor) -> np.ndarray:
    """Labels as numpy holds them, which knows no bfloat16."""
    return (labels.float() if labels.dtype == torch.bfloat16 else labels).numpy(force=True)


def home(model: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Device and floating dtype of a model's parameters; CPU float32 for a model without any."""
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"The model is {described(model)}; expected a torch.nn.Module, whose parameters can be differentiated."
        )
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            "The model is a TorchScript program, whose operations cannot be watched. Expected the torch.nn.Module that "
            "it was made from: build that, and load the same weights, network.load_state_dict(program.state_dict())."
        )
    if any(map(is_lazy, model.parameters())):
        raise ModelError(
            "The model has lazy layers, which have no weights before their first call. Call it once on a batch, "
            "model(inputs), and load its trained weights."
        )
    for tensor in model.parameters():
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.get_default_dtype()


def moved(inputs: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """The same nested structure on `device`, floating tensors in `dtype`; token ids keep their integers."""

    def sent(value: Tensor) -> Tensor:
        return _sent(value, device, dtype if value.is_floating_point() else value.dtype)

    return replaced(inputs, {id(value): sent(value) for value in tensors_in(inputs)})


def _sent(value: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    """The tensor on the device; to CUDA by way of pinned memory, because a copy from other memory would block."""
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device=device, dtype=dtype, non_blocking=True)


def alone(batch: Batch, row: int) -> Batch:
    """One row of a batch as a batch of one."""
    place, labels = batch.start + row, batch.labels[row : row + 1]
    given = None if batch.given is None else batch.given[row : row + 1]
    return Batch(place, place + 1, _one_of(batch.inputs, row), labels, given, batch.samples)


def _one_of(inputs: Any, row: int) -> Any:
    """The same nested structure with one row alone, still as a batch of one."""
    return replaced(inputs, {id(value): value[row : row + 1] for value in tensors_in(inputs)})


def outputs_of(model: nn.Module, batch: Batch, call: Any = None) -> Any:
    """The outputs of the model, or of a `call` of it with other parameters.

    Raises:
        ModelError: the model's own code fails; with the sample and the module.
    """
    try:
        return forward(call or model, batch.inputs)
    except InfluenceError:
        raise
    except Exception as error:
        if scarce_memory.is_cause(error):
            raise
        raise ModelError(_failed(model, batch, error)) from error


def forward(model: nn.Module, inputs: Any) -> Any:
    """Call the model: dictionaries are passed by name, lists and tuples by position, other inputs as they are."""
    if isinstance(inputs, dict):
        return model(**inputs)
    if isinstance(inputs, list | tuple):
        return model(*inputs)
    return model(inputs)


@contextmanager
def buffers_kept(model: nn.Module) -> Iterator[None]:
    """Context after which the buffers are as before: a model may count its calls."""
    kept = [(value, value.clone()) for value in model.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for value, before in kept:
                if not torch.equal(value, before):  # a write would end a training step that still needs them
                    value.copy_(before)


def _failed(model: nn.Module, batch: Batch, error: Exception) -> str:
    # whoever watches the model must not see these calls
    with torch.no_grad(), torch._C.DisableTorchFunction(), buffers_kept(model):
        failing = [row for row in range(len(batch)) if _fails(model, _one_of(batch.inputs, row))]
    which = batch.named(failing[0]) if 0 < len(failing) < len(batch) else batch.named()
    return (
        f"The model's forward failed on {which}{_place(model, error.__traceback__)}: {type(error).__name__}: {error}. "
        f"It was called with {described(batch.inputs)}. {_advice(batch.inputs, error)}"
    )


def _fails(model: nn.Module, inputs: Any) -> bool:
    try:
        forward(model, inputs)
    except Exception:
        return True
    return False


def _place(model: nn.Module, trace: TracebackType | None) -> str:
    """The innermost module of the model whose code an error passed through."""
    paths, place = {id(module): path for path, module in model.named_modules() if path}, ""
    while trace is not None:
        place = paths.get(id(trace.tb_frame.f_locals.get("self")), place)
        trace = trace.tb_next
    return f" in '{place}' ({type(model.get_submodule(place)).__name__})" if place else ""


def _advice(inputs: Any, error: Exception) -> str:
    if isinstance(inputs, Mapping):
        return "A dictionary is passed by name: its keys must be the names of the forward's arguments."
    if isinstance(inputs, list | tuple):
        return "A list or tuple is passed by position: for one input return one tensor, such as torch.tensor(input)."
    if not inputs.is_floating_point() and isinstance(error, IndexError):
        return "Expected each of these numbers below the number of words that the model knows."
    if not inputs.is_floating_point():
        return (
            "These are whole numbers; expected floating ones, in the range that the model was trained on, for example "
            "by return input.float() / 255, label."
        )
    return "Expected inputs as the model was trained on: check their shape, or resize them in the dataset."


def _collate(samples: Dataset, low: int, high: int) -> tuple[Any, Tensor]:
    """Rows low to high as one batch; DataError when an item is no pair, or shapes differ."""
    if isinstance(samples, Samples):
        return samples.batch(range(low, high))  # decodes and stacks at once: 40 times faster than one by one
    return joined(samples, low, high)
