"""What does a layer see of a sample? Inputs of chosen modules, pooled to a vector, kept while a sweep goes on.

Pictures keep 2 x 2 regions up to 256 channels: where something is also says what it is. Sequences are averaged.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn import functional


@contextmanager
def heard(model: nn.Module, paths: Sequence[str]) -> Iterator[dict[str, Tensor]]:
    """The pooled inputs (b, f) of the modules at these paths, filled in by the forward pass inside."""
    found: dict[str, Tensor] = {}

    def listener(path: str) -> Any:
        def keep(module: nn.Module, args: tuple[Any, ...]) -> None:
            found[path] = _pooled(module, args[0].detach())

        return keep

    handles = [model.get_submodule(path).register_forward_pre_hook(listener(path)) for path in paths]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _pooled(layer: nn.Module, inputs: Tensor) -> Tensor:
    """A layer's input as features (b, f): positions averaged, channels kept, in the layer's own axis order."""
    if inputs.ndim == 2:
        return inputs.clone()
    if isinstance(layer, nn.Conv2d | nn.Conv3d):
        regions = 2 if inputs.shape[1] <= 256 else 1
        return functional.adaptive_avg_pool2d(inputs.flatten(3), regions).flatten(1)
    if isinstance(layer, nn.Conv1d):
        return inputs.mean(2)
    return inputs.flatten(1, -2).mean(1)
