"""Inputs of layers, pooled to one vector a sample during a sweep, and which layers have one row a sample.

Pictures of up to 256 channels keep 2 x 2 regions, because position carries information. Sequences are averaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from influence_core.engine import batches as loop
from influence_core.engine.watching.watch import scoring


@contextmanager
def heard(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Pooled inputs (b, f) of the modules at these paths; the forward pass inside the context fills them in."""
    pooled: dict[str, Tensor] = {}

    def listener(path: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            pooled[path] = _pooled(module, args[0].detach())

        return keep

    handles = [model.get_submodule(path).register_forward_pre_hook(listener(path)) for path in paths]
    try:
        yield pooled
    finally:
        for handle in handles:
            handle.remove()


def _pooled(layer: nn.Module, inputs: Tensor) -> Tensor:
    """A layer's input as features (b, f): positions averaged, channels kept, in the layer's axis order."""
    if inputs.ndim == 2:
        return inputs.clone()
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        regions = 2 if inputs.shape[1] <= 256 else 1
        return functional.adaptive_avg_pool2d(inputs.flatten(3), regions).flatten(1)
    if isinstance(layer, nn.Conv1d):
        return inputs.mean(2)
    return inputs.flatten(1, -2).mean(1)


def first_axis_counts(model: nn.Module, one: Any, two: Any) -> dict[str, bool]:
    """Whether each module's first argument has one row a sample, from inputs of one sample and of two.

    By path, in the order of first calls. The model runs in evaluation mode and is restored afterwards.
    """
    single, double = _shapes(model, one), _shapes(model, two)
    return {p: shape[0] == 1 and double.get(p) == (2, *shape[1:]) for p, shape in single.items()}


def _shapes(model: nn.Module, inputs: Any) -> dict[str, tuple[int, ...]]:
    """Shape of each module's first argument in its last call, in the order of first calls."""
    shapes: dict[str, tuple[int, ...]] = {}

    def listener(path: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...]) -> None:
            first = args[0] if args else None
            if isinstance(first, Tensor) and first.is_floating_point() and first.ndim >= 2:
                shapes[path] = tuple(first.shape)
            else:
                shapes[path] = (0,)

        return note

    handles = [module.register_forward_pre_hook(listener(path)) for path, module in model.named_modules()]
    try:
        with scoring(model), torch.no_grad():
            loop.forward(model, inputs)
    finally:
        for handle in handles:
            handle.remove()
    return shapes
