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
from influence_core.engine.watching.watch import heard_calls, scoring
from influence_core.errors import LayerError


@contextmanager
def heard(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """Pooled inputs (b, f) of the modules at these paths; the forward pass inside the context fills them in.

    Raises:
        LayerError: the pass did not call one of the modules.
    """
    pooled: dict[str, Tensor] = {}

    def keep(path: str, args: tuple[Any, ...]) -> None:
        pooled[path] = _pooled(model.get_submodule(path), args[0].detach())

    with heard_calls([(path, model.get_submodule(path)) for path in paths], keep):
        yield pooled
    if silent := [path for path in paths if path not in pooled]:
        raise LayerError(
            f"The forward pass never called {', '.join(silent)}, so there are no inputs to keep. Expected modules that "
            "the model calls: an attention, for one, reads the weights of its `out_proj` without calling it."
        )


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

    def note(path: str, args: tuple[Any, ...]) -> None:
        found = [x for x in args[:1] if isinstance(x, Tensor) and x.is_floating_point() and x.ndim >= 2]
        shapes[path] = tuple(found[0].shape) if found else (0,)

    with heard_calls(model.named_modules(), note), scoring(model), torch.no_grad():
        loop.forward(model, inputs)
    return shapes
