"""Autograd functions for a backward pass over activations alone.

Root and Fan are identities: one begins a graph, the other reports gradients. End closes a graph with a chosen gradient.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Root(torch.autograd.Function):
    """Identity that makes a tensor part of the graph but no leaf, so that in-place activations may follow it."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, anchor: Tensor) -> Tensor:
        ctx.mark_dirty(value)
        return value

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return None, None


class Fan(torch.autograd.Function):
    """Identity that passes the gradients of all outputs of one operation to a receiver at once."""

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
    """A zero whose gradient at `value` is `gradient`: `torch.autograd.grad(End.apply(value, d), leaf)`.

    The same as `torch.autograd.grad(value, leaf, d)`, for which torch loads sympy to compare two shapes: 483 modules
    and 40 MB, 0.4 of the memory of a training pass of the transformer.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return value.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        return ctx.gradient, None
