"""Three ways to the product <g_i, v>: the change of every sample's loss along a line theta + e v.

    differences   (l_i(theta + e v) - l_i(theta - e v)) / 2e    two inference passes; rounding, and e^2 of curvature
    tangents      forward mode: dual numbers theta + eps v      about 3 inference passes; exact
    gradients     one-sample autograd, then the product         slowest; the definition, the reference for the others

The weights are never overwritten: a call gets separate tensors (torch.func.functional_call), made once for all batches.
Sources: central difference as in Forward-INF (CVPR 2024), forward mode as in PDS (ICLR 2025).
Costs: docs/cost.md, "One direction".
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, checked_losses, losses_of
from influence_core.engine.watching.fast_path import without_fast_path
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.errors import InfluenceError

Way = Callable[[loop.Batch], Tensor]
"""Function from a batch to the products (b,) of its samples' gradients with the direction."""

_ONE_THREAD = RLock()
"""Torch counts levels of dual numbers for the process: a second thread's level fails as nested, or ends the first's."""


@dataclass(frozen=True, slots=True)
class Line:
    """All points theta + e v of one model and one direction.

    theta, along: parameters and direction by name, only those that the direction names. buffers: copies, so that a
    model that counts its calls is not changed by them.
    """

    model: nn.Module
    theta: Mapping[str, Tensor]
    along: Mapping[str, Tensor]
    loss: Loss
    buffers: Mapping[str, Tensor] = field(default_factory=dict)

    def at(self, e: float) -> dict[str, Tensor]:
        """Parameters theta + e v: one copy of those that the direction names."""
        return {name: torch.add(value, self.along[name], alpha=e) for name, value in self.theta.items()}

    def outputs(self, parameters: Mapping[str, Tensor], batch: loop.Batch) -> Any:
        """Outputs of the model with these parameters instead of its own.

        It gets a copy of the inputs, since a model may change them in place and they are used more than once.
        """
        values = {**self.buffers, **parameters}
        inputs = replaced(batch.inputs, {id(x): x.clone() for x in tensors_in(batch.inputs)})

        def call(*args: Any, **kwargs: Any) -> Any:
            return functional_call(self.model, values, args, kwargs)

        return loop.outputs_of(self.model, replace(batch, inputs=inputs), call)

    def losses(self, parameters: Mapping[str, Tensor], batch: loop.Batch) -> Tensor:
        """Losses (b,) with these parameters, checked to be finite."""
        return checked_losses(losses_of(self.loss, self.outputs(parameters, batch), batch), len(batch))


def differences(line: Line, e: float) -> Way:
    """Central differences with step e; the way holds two copies of the parameters."""
    ahead, behind = line.at(e), line.at(-e)

    def way(batch: loop.Batch) -> Tensor:
        with torch.no_grad():
            return (line.losses(ahead, batch).double() - line.losses(behind, batch).double()) / (2 * e)

    return way


def tangents(line: Line) -> Way:
    """Forward mode. The way raises NotImplementedError, naming the operator, where there is no forward derivative."""
    _load_formulas()

    def way(batch: loop.Batch) -> Tensor:
        with torch.no_grad(), _ONE_THREAD, _differentiable_kernels(line.model), forward_ad.dual_level():
            pairs = {name: forward_ad.make_dual(x, line.along[name]) for name, x in line.theta.items()}
            try:
                losses, tangent = forward_ad.unpack_dual(line.losses(pairs, batch))
            except InfluenceError as error:
                if isinstance(error.__cause__, NotImplementedError):
                    raise error.__cause__ from None
                raise
            return torch.zeros_like(losses) if tangent is None else tangent

    return way


def gradients(line: Line, batch: loop.Batch) -> tuple[Tensor, Tensor]:
    """Losses (b,) and products (b,) in float64, every sample alone; its gradient is freed after the product."""

    def one(row: int) -> tuple[Tensor, Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in line.theta.items()}
        loss = line.losses(leaves, loop.alone(batch, row)).sum().double()
        if not loss.requires_grad:
            return loss, torch.zeros_like(loss)
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
        pairs = [(g, v) for g, v in zip(grads, line.along.values(), strict=True) if g is not None]
        product = sum(
            (torch.vdot(g.flatten(), v.flatten()).double() for g, v in pairs), torch.zeros_like(loss)
        )
        return loss.detach(), product.detach()

    with torch.enable_grad():
        losses, products = zip(*(one(row) for row in range(len(batch))), strict=True)
    return torch.stack(losses), torch.stack(products)


@contextmanager
def one_function(model: nn.Module) -> Iterator[None]:
    """Make the model the same function in all three ways; its attributes are restored at the end, also after an error.

    Without gradients nn.TransformerEncoderLayer takes another path, which has no forward derivative and writes zeros at
    padded positions. Attributes change because functional_call leaves its weights in the list of an nn.LSTM, and
    old-style weight_norm leaves the weight it computed last.
    """
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    try:
        with without_fast_path():
            yield
    finally:
        for module, saved in attributes:
            vars(module).clear()
            vars(module).update(saved)


@contextmanager
def _differentiable_kernels(model: nn.Module) -> Iterator[None]:
    """Use plain attention and LSTM: the fused one and oneDNN's have no forward derivative on the CPU."""
    with ExitStack() as stack:
        stack.enter_context(sdpa_kernel(SDPBackend.MATH))
        if any(isinstance(module, nn.LSTM) for module in model.modules()):
            stack.enter_context(warnings.catch_warnings())
            # torch warns of settings that it only restores
            warnings.filterwarnings("ignore", "TF32 acceleration")
            warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
            stack.enter_context(torch.backends.mkldnn.flags(enabled=False))
        yield


def _load_formulas() -> None:
    """Make torch compile its forward derivatives now, and ignore the warnings about its compiler."""
    with _ONE_THREAD, warnings.catch_warnings(), forward_ad.dual_level():
        warnings.filterwarnings("ignore", ".*torch.jit", FutureWarning)
        warnings.filterwarnings("ignore", ".*torch.jit", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))
