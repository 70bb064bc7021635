"""The inputs of a model's linear and convolution layers, collected by hooks during a forward pass.

A layer's per-sample weight gradient is sum_t d_t a_t^T over its positions t (factors.py). Layer-aware influence gives
every position the same d / T, so only the mean over positions of the layer's input is needed:

    linear         a (b, f), or the mean over tokens of (b, ..., f)
    convolution    the mean over output positions of the input window, (b, channels * kernel): one product with the
                   share of positions that read a pixel; no window is ever copied
    bias           a constant 1

Where the outputs have positions (b, s, c), layers with s tokens keep them all. The inputs of a module that is called
twice are added, as in its gradient. The model is not changed; `close` removes every hook.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from influence_core.engine.features import first_axis_counts
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.errors import LayerError

HEARD = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
AT_ONCE = 2048
"""Pixels up to which all axes are averaged in one product: 0.6 instead of 2.8 ms for (128, 32, 14, 14)."""


def mean_rows(rows: Tensor) -> Tensor:
    """A layer's inputs with the mean over its positions taken: (b, f) or (b, t, f) -> (b, f)."""
    return rows if rows.ndim == 2 else rows.mean(1)


class LayerInputs:
    """Hooks on the layers of a model. `collect` returns the inputs of the last forward pass and clears them.

    `inputs` are the model's own inputs in that pass, in the form that `engine.batches.forward` takes.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None = None) -> None:
        """Hook these paths, or every trainable linear and convolution layer.

        Raises:
            LayerError: a path that is no such layer, or a model without any.
        """
        self.model = model
        self.paths = _paths_to_hook(model, layers)
        self.inputs: Any = None
        self._collected: dict[str, Tensor] = {}
        self._checked, self._busy, self._paused = False, False, False
        self._handles = [model.register_forward_pre_hook(self._begin, with_kwargs=True)]
        for path in self.paths:
            self._handles.append(model.get_submodule(path).register_forward_pre_hook(self._listener(path)))

    def collect(self) -> dict[str, Tensor]:
        """Inputs of each layer in the last forward pass, first calls first: (b, f), or (b, t, f) of several positions.

        Raises:
            LayerError: no layer was called.
        """
        collected, self._collected = self._collected, {}
        if not collected:
            raise LayerError(
                f"None of the layers {', '.join(self.paths[:6])} was called since the last batch was scored. Expected "
                "one forward pass of the model for each call: run outputs = model(inputs) first."
            )
        return collected

    def pause(self, paused: bool) -> None:
        """Ignore forward passes while `paused`: those that do not belong to the current batch."""
        self._paused = paused

    def close(self) -> None:
        """Remove every hook; the model is as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._paused or self._busy:
            return
        self._collected, self.inputs = {}, kwargs or (args[0] if len(args) == 1 else args)
        tensors = tensors_in(self.inputs)
        if not self._checked and tensors and len(tensors[0]) > 1:
            self._busy = True
            try:
                self._check(self.inputs)
            finally:
                self._busy = False
            self._checked = True

    def _check(self, inputs: Any) -> None:
        """Check that layers have samples on their first axis: time-first tokens would be taken for samples."""
        one, two = (replaced(inputs, {id(x): x[:k] for x in tensors_in(inputs)}) for k in (1, 2))
        counts = first_axis_counts(self.model, one, two)
        for path in self.paths:
            if path in counts and not counts[path]:
                raise LayerError(
                    f"Layer '{path}' does not receive one row a sample, so its inputs cannot be told apart by sample. "
                    "Expected samples on the first axis (batch_first=True). Name the layers to listen to: layers=[...]."
                )

    def _listener(self, path: str) -> Any:
        def collect(module: nn.Module, args: tuple[Any, ...]) -> None:
            if self._paused or self._busy or not args:
                return
            with torch.no_grad():
                inputs = _read(module, args[0].detach())
            earlier = self._collected.get(path)
            if earlier is not None and earlier.shape != inputs.shape:
                earlier, inputs = mean_rows(earlier), mean_rows(inputs)
            self._collected[path] = inputs if earlier is None else earlier + inputs

        return collect


def _paths_to_hook(model: nn.Module, layers: Sequence[str] | None) -> tuple[str, ...]:
    modules = dict(model.named_modules())
    wrong = [path for path in layers or () if not isinstance(modules.get(path), HEARD)]
    if wrong:
        raise LayerError(
            f"'{wrong[0]}' is {type(modules[wrong[0]]).__name__ if wrong[0] in modules else 'no module of the model'}; "
            "expected the path of a linear or convolution layer, as in model.named_modules()."
        )
    paths = layers or [
        path
        for path, module in modules.items()
        if isinstance(module, HEARD) and any(value.requires_grad for value in module.parameters())
    ]
    if not paths:
        raise LayerError(
            f"{type(model).__name__} has no trainable linear or convolution layer. Expected at least one: layer-aware "
            "influence is computed from their inputs. `sweep` scores any model."
        )
    return tuple(paths)


def _read(module: nn.Module, x: Tensor) -> Tensor:
    if isinstance(module, nn.Linear):
        tokens = x.reshape(len(x), -1, x.shape[-1])
        if module.bias is not None:
            tokens = functional.pad(tokens, (0, 1), value=1.0)
        return tokens if tokens.shape[1] > 1 else tokens[:, 0]
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    mean = mean_window(module, x)
    return functional.pad(mean, (0, 1), value=1.0) if module.bias is not None else mean


def mean_window(module: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """The mean over output positions of a convolution's input window: (b, c, ...) -> (b, c * kernel), taps last."""
    padding = tuple(module._reversed_padding_repeated_twice)  # last axis first, (before, after) each
    if module.padding_mode != "zeros":
        x, padding = functional.pad(x, padding, mode=module.padding_mode), (0,) * len(padding)
    shape = tuple(x.shape[2:])
    if prod(shape) <= AT_ONCE:
        all_shares = _shares(shape, module.kernel_size, module.stride, module.dilation, padding)
        return functional.linear(x.flatten(2), all_shares.to(x)).flatten(1)
    for axis, length in enumerate(shape):
        steps = (one[axis : axis + 1] for one in (module.kernel_size, module.stride, module.dilation))
        shares = _shares((length,), *steps, padding[2 * (len(shape) - 1 - axis) :][:2])
        x = (x.movedim(2 + axis, -1) @ shares.to(x).T).movedim(-1, 2 + axis)
    return x.flatten(1)


@lru_cache(maxsize=256)
def _shares(
    shape: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[int, ...],
) -> Tensor:
    """(taps, pixels) float64: the share of output positions at which a tap reads a pixel; padding is zero."""
    shares = torch.ones(1, 1, dtype=torch.float64)
    for axis, length in enumerate(shape):
        before, after = padding[2 * (len(shape) - 1 - axis) :][:2]
        reach = dilation[axis] * (kernel[axis] - 1)
        positions = (length + before + after - reach - 1) // stride[axis] + 1
        along_axis = torch.zeros(kernel[axis], length, dtype=torch.float64)
        for tap in range(kernel[axis]):
            pixels = torch.arange(positions) * stride[axis] + tap * dilation[axis] - before
            along_axis[tap, pixels[(pixels >= 0) & (pixels < length)]] = 1 / positions
        shares = torch.kron(shares, along_axis)
    return shares
