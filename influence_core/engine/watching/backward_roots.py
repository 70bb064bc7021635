"""How does a backward pass run over activations alone? Identities of autograd that listen or begin a graph, and a
number at which a graph ends with a given gradient."""

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


class End(torch.autograd.Function):
    """A number whose gradient at `value` is the one given: `torch.autograd.grad(End.apply(value, d), leaf)`.

    The same as `torch.autograd.grad(value, leaf, d)`, for which torch loads sympy to compare two shapes: 483 modules
    and 40 MB, 0.4 of what a training pass of the transformer takes.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return value.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.gradient, None
