"""How does a backward pass run over activations alone? Two identities of autograd that listen or begin a graph."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Root(torch.autograd.Function):
    """Make a tensor part of the graph without making it a leaf, so that in-place activations may follow it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None


class Fan(torch.autograd.Function):
    """Hand the gradients of all outputs of one operation to a receiver at once."""

    @staticmethod
    def forward(
        ctx: Any, receive: Callable[[tuple[Tensor, ...]], None], anchor: Tensor, *values: Tensor
    ) -> Any:
        ctx.receive = receive
        return tuple(value.view_as(value) for value in values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        ctx.receive(gradients)
        return None, None, *gradients
