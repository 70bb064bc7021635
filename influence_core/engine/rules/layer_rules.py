"""Rules: from an operation to the factors of its per-sample gradients, one small pure function per kind.

With `input` an operation's input and `d` the gradient of each sample's loss at its output, samples on axis 0, a rule
returns one factor (factors.py) for each parameter, as a function that makes it: only needed ones are made. Rules
belong to operations, not to modules, so they hold for a functional call, a tied weight, a subclass and an ordinary
layer alike. One more operation = one more function under `@rule`. An operation without a rule is differentiated by vmap
(dispatch.py). Sources: factors.py.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import FunctionType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from influence_core.engine.rules.convolutions import convolved, transposed
from influence_core.engine.rules.factors import Dense, Factor, Outer, merged_rows

Made = dict[str, Callable[[], Factor]]


@dataclass(frozen=True, slots=True)
class Rule:
    """Rule of one operation. `make` returns its factors, `signature` names its arguments, `data` the one with samples.

    first_axis_only: samples must lie on axis 0, before positions.
    """

    make: Callable[..., Made]
    signature: inspect.Signature
    data: str
    first_axis_only: bool


RULES: dict[Callable[..., Any], Rule] = {}


def rule(*operations: Callable[..., Any], first_axis_only: bool = True) -> Callable[..., Callable[..., Made]]:
    """Register a rule; `first_axis_only=False` where samples may lie on any axis but the last ones, which are mixed.

    Arguments are named as the operation names them; those written in C do not say, so there the rule lists all.
    """

    def register(make: Callable[..., Made]) -> Callable[..., Made]:
        full = inspect.signature(make)
        own = full.replace(parameters=list(full.parameters.values())[1:])
        for operation in operations:
            signature = inspect.signature(operation) if isinstance(operation, FunctionType) else own
            RULES[operation] = Rule(make, signature, next(iter(signature.parameters)), first_axis_only)
        return make

    return register


@rule(functional.linear, first_axis_only=False)
def linear(d: Tensor, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Made:
    d_rows = d.reshape(len(d), -1, d.shape[-1]).transpose(1, 2).unsqueeze(1)
    a_rows = input.reshape(len(d), -1, input.shape[-1]).transpose(1, 2).unsqueeze(1)
    return {"weight": lambda: Outer(d_rows, a_rows), "bias": lambda: Dense(d_rows.sum(3)[:, 0])}


@rule(
    torch.matmul,
    torch.mm,
    torch.Tensor.matmul,
    torch.Tensor.mm,
    torch.Tensor.__matmul__,
    first_axis_only=False,
)
def matmul(d: Tensor, input: Tensor, other: Tensor) -> Made:
    """`input @ other` with parameters as a matrix on the right: a linear layer with rows and columns exchanged."""
    if other.ndim != 2 or input.ndim < 2:
        return {}
    d_rows = d.reshape(len(d), -1, d.shape[-1]).transpose(1, 2).unsqueeze(1)
    a_rows = input.reshape(len(d), -1, input.shape[-1]).transpose(1, 2).unsqueeze(1)
    return {"other": lambda: Outer(a_rows, d_rows)}


@rule(functional.conv1d, functional.conv2d, functional.conv3d)
def conv(
    d: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Made:
    return {
        "weight": lambda: convolved(d, input, weight.shape, stride, padding, dilation, groups),
        "bias": lambda: Dense(d.flatten(2).sum(2)),
    }


@rule(functional.conv_transpose1d, functional.conv_transpose2d, functional.conv_transpose3d)
def conv_transpose(
    d: Tensor,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Made:
    """As `conv` with input and output exchanged: windows are cut from d, one for each pixel of the input."""
    return {
        "weight": lambda: transposed(d, input, weight.shape, stride, padding, dilation, groups),
        "bias": lambda: Dense(d.flatten(2).sum(2)),
    }


def _scaled(d: Tensor, normal: Tensor) -> Made:
    """Weight and bias per channel (axis 1) after a normalisation."""
    b, channels = d.shape[:2]
    return {
        "weight": lambda: Dense((d * normal).reshape(b, channels, -1).sum(2)),
        "bias": lambda: Dense(d.reshape(b, channels, -1).sum(2)),
    }


@rule(functional.batch_norm)
def batch_norm(
    d: Tensor,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    eps: float = 1e-5,
    **others: Any,
) -> Made:
    """With running statistics only; watch.py refuses batch statistics, with which one sample has no gradient."""
    return _scaled(d, functional.batch_norm(input, running_mean, running_var, eps=eps))


@rule(functional.instance_norm)
def instance_norm(
    d: Tensor,
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    use_input_stats: bool = True,
    eps: float = 1e-5,
    **others: Any,
) -> Made:
    if use_input_stats:
        return _scaled(d, functional.instance_norm(input, eps=eps))
    return _scaled(d, functional.batch_norm(input, running_mean, running_var, eps=eps))


@rule(functional.group_norm)
def group_norm(d: Tensor, input: Tensor, num_groups: int, eps: float = 1e-5, **others: Any) -> Made:
    return _scaled(d, functional.group_norm(input, num_groups, eps=eps))


def _over_positions(values: Tensor, shape: Any) -> Dense:
    """Values (b, ..., *shape) summed over positions."""
    return Dense(values.reshape(len(values), -1, *shape).sum(1))


@rule(functional.layer_norm, first_axis_only=False)
def layer_norm(d: Tensor, input: Tensor, normalized_shape: Any, eps: float = 1e-5, **others: Any) -> Made:
    def scaled() -> Dense:
        return _over_positions(d * functional.layer_norm(input, normalized_shape, eps=eps), normalized_shape)

    return {"weight": scaled, "bias": lambda: _over_positions(d, normalized_shape)}


@rule(functional.rms_norm, first_axis_only=False)
def rms_norm(
    d: Tensor, input: Tensor, normalized_shape: Any, eps: float | None = None, **others: Any
) -> Made:
    normal = functional.rms_norm(input, normalized_shape, eps=eps)
    return {"weight": lambda: _over_positions(d * normal, normalized_shape)}


@rule(functional.embedding, first_axis_only=False)
def embedding(
    d: Tensor, input: Tensor, weight: Tensor, padding_idx: int | None = None, **others: Any
) -> Made:
    """Only the used rows are stored. The padding row gets no gradient, as in torch."""
    ids = input.reshape(len(d), -1)

    def rows() -> Factor:
        gradients = d.reshape(*ids.shape, -1)
        if padding_idx is not None:
            gradients = gradients * (ids != padding_idx % weight.shape[0]).unsqueeze(2)
        return merged_rows(ids, gradients, weight.shape[0])

    return {"weight": rows}


@rule(functional.embedding_bag)
def embedding_bag(
    d: Tensor,
    input: Tensor,
    weight: Tensor,
    mode: str = "mean",
    per_sample_weights: Tensor | None = None,
    padding_idx: int | None = None,
    **others: Any,
) -> Made:
    """Bags of one length, summed or averaged; other bags have no factors here and are differentiated by vmap."""
    if mode == "max" or input.ndim != 2:
        return {}
    mask = torch.ones_like(input, dtype=d.dtype)
    if padding_idx is not None:
        mask = (input != padding_idx % weight.shape[0]).to(d)
    share = mask if per_sample_weights is None else mask * per_sample_weights
    if mode == "mean":
        share = share / mask.sum(1, keepdim=True).clamp_min(1)
    shared = share.unsqueeze(2)
    return {"weight": lambda: merged_rows(input, shared * d.unsqueeze(1), weight.shape[0])}
