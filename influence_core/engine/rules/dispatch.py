"""Per-sample gradients of one use of a parameter: the ways from an operation to factors, cheapest first.

    rule        a closed form of layer_rules.py: linear, convolution, normalisation, embedding, matrix product
    broadcast   sums, products, where, expand: differentiated once with the parameter expanded to the whole batch
    vmap        any other operation: its own vector-Jacobian product, all samples at once
    loop        operations that vmap does not support (recurrent layers): the same, one sample after another

    alone       what cannot be watched (compiled code, custom autograd functions): the whole model, one sample at a time

All are exact. Samples are brought to axis 0 first (sample_axes.py); rows of the same sample are added up afterwards.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import grad, vmap

from influence_core.engine.rules.factors import Dense, Factor, regrouped
from influence_core.engine.rules.layer_rules import RULES
from influence_core.engine.watching.backward_roots import End
from influence_core.engine.watching.nested import replaced, tensors_in
from influence_core.engine.watching.operations import in_place
from influence_core.engine.watching.sample_axes import by_rows
from influence_core.engine.watching.watch import ParameterTensor, Use

HOW = {
    "rule": "exact",
    "broadcast": "exact",
    "vmap": "exact, by vmap (slower)",
    "loop": "exact, sample by sample (slow)",
    "alone": "exact, one backward pass a sample (slowest)",
}
"""Wording of each way in the preflight, cheapest first."""


@dataclass(frozen=True, slots=True)
class Part:
    """Per-sample gradient of a parameter or derived tensor (`held`) in one use, and the way to it: a key of HOW."""

    held: ParameterTensor
    factor: Factor
    way: str


def parts(use: Use, ds: tuple[Tensor, ...], b: int) -> list[Part]:
    """One part for every parameter of this use, from the gradients at its outputs.

    Raises:
        LayerError: its input was overwritten, or a tensor has no axis that counts b samples.
    """
    use.check_untouched()
    with torch.no_grad():
        if len(ds) == 1 and (by_rule := _by_rule(use, ds[0], b)) is not None:
            return by_rule
    if len(ds) == 1 and use.key[0] in BROADCAST:
        return _by_broadcast(use, ds[0], b)
    return _by_vjp(use, ds, b)


def _by_rule(use: Use, d: Tensor, b: int) -> list[Part] | None:
    """Parts by a closed form; None when no rule fits the operation, the place of its parameters or its sample axis."""
    rule, axis = RULES.get(use.operation), use.sighting.output_axes[0]
    if rule is None or axis is None:
        return None
    try:
        arguments = dict(rule.signature.bind(*use.args, **use.kwargs).arguments)
    except TypeError:
        return None
    data = arguments[rule.data]
    mixed_axes = len(arguments.get("normalized_shape", (0,)))  # trailing axes that the operation mixes
    if id(data) in use.held or axis.at >= (1 if rule.first_axis_only else d.ndim - mixed_axes):
        return None
    rows, inputs = (by_rows(value, axis, b, use.path).flatten(0, 1) for value in (d, data))
    factors = rule.make(rows, **{**arguments, rule.data: inputs})
    parameters = {name: use.held[id(value)] for name, value in arguments.items() if id(value) in use.held}
    if len(parameters) < len(use.held) or not parameters.keys() <= factors.keys():
        return None
    return [
        Part(held, regrouped(factors[name](), b, tuple(held.value.shape)), "rule")
        for name, held in parameters.items()
    ]


BROADCAST = {
    *("add", "sub", "mul", "div", "true_divide", "rsub", "pow", "maximum", "minimum", "where", "lerp"),
    *("addcmul", "addcdiv", "masked_fill", "expand", "expand_as", "broadcast_to"),
    *("add_", "sub_", "mul_", "div_", "__rsub__", "__rdiv__", "__rpow__"),
}
"""Operations in which every number of the output depends on one number of the parameter, which is repeated to fit."""


def _by_broadcast(use: Use, d: Tensor, b: int) -> list[Part]:
    """Expand each parameter to the whole output, differentiate once, and sum over repetitions."""
    operation = getattr(torch, use.key[0][:-1]) if in_place(use.operation) else use.operation
    by_parameter = []
    for index, held in use.held.items():
        value = next(x for x in tensors_in((use.args, use.kwargs)) if id(x) == index)
        with torch.enable_grad():
            expanded = value.expand(d.shape).requires_grad_()
            args, kwargs = replaced((use.args, use.kwargs), {index: expanded})
            (gradient,) = torch.autograd.grad(End.apply(operation(*args, **kwargs), d), expanded)
        by_parameter.append(Part(held, Dense(_gathered(gradient, use, held.value, b)), "broadcast"))
    return by_parameter


def _gathered(gradient: Tensor, use: Use, value: Tensor, b: int) -> Tensor:
    """The gradient of an expanded parameter (shape of the output) -> (b, *parameter shape)."""
    axis = use.sighting.output_axes[0]
    rows = by_rows(gradient, axis, b, use.path)
    padded = [1] * (gradient.ndim - value.ndim) + list(value.shape)
    padded.pop(axis.at if axis else 0)  # on this axis the parameter was repeated for every row
    repeated = [2 + position for position, size in enumerate(padded) if size == 1]
    return rows.sum((1, *repeated)).reshape(b, *value.shape)


def _by_vjp(use: Use, ds: tuple[Tensor, ...], b: int) -> list[Part]:
    """The operation's vector-Jacobian product for each sample: by vmap, or by a loop where vmap does not support it."""
    leaves = tensors_in((use.args, use.kwargs))
    axes = dict(zip((id(leaf) for leaf in leaves), use.sighting.input_axes, strict=True))
    sample_axes = {key: axis for key, axis in axes.items() if axis is not None and key not in use.held}
    by_id = {id(leaf): leaf for leaf in leaves}
    rows = {key: by_rows(by_id[key], axis, b, use.path) for key, axis in sample_axes.items()}
    outs = use.sighting.output_axes
    back = [None if axis is None else by_rows(d, axis, b, use.path) for d, axis in zip(ds, outs, strict=True)]
    values = {key: leaf for key, leaf in by_id.items() if key in use.held}
    if not sample_axes:
        return _by_blocks(use, values, back)

    def pulled(values: dict[int, Tensor], rows: dict[int, Tensor], back: list[Tensor | None]) -> Tensor:
        placed = {key: row.movedim(0, sample_axes[key].at) for key, row in rows.items()}
        args, kwargs = replaced((use.args, use.kwargs), {**placed, **values})
        if use.key[0].endswith("_"):
            args = (args[0].clone(), *args[1:])  # it writes into its first argument
        outputs = tensors_in(use.operation(*args, **kwargs))
        pairs = zip(outputs, back, outs, strict=True)
        return torch.stack(
            [(x.movedim(a.at, 0) * d).sum() for x, d, a in pairs if d is not None and a is not None]
        ).sum()

    gradients, way = _vmapped(pulled, values, rows, back, b)
    return [Part(use.held[key], Dense(gradients[key]), way) for key in values]


def _by_blocks(use: Use, held: dict[int, Tensor], back: list[Tensor | None]) -> list[Part]:
    """Parts of an operation that repeats parameters for each sample: the gradient of sample i is in its own rows."""
    with torch.enable_grad():
        leaves = {key: value.detach().requires_grad_() for key, value in held.items()}
        outputs = tensors_in(use.operation(*replaced(use.args, leaves), **replaced(use.kwargs, leaves)))
        outs, blocks = [], []
        for x, d, axis in zip(outputs, back, use.sighting.output_axes, strict=True):
            if d is not None and axis is not None:
                block = torch.diag_embed(d.movedim(0, -1)).movedim((-2, -1), (0, 1))  # (b, b, f, ...)
                block = block.transpose(1, 2) if axis.inner else block
                outs.append(x)
                blocks.append(block.flatten(1, 2).movedim(1, 1 + axis.at))
        values = list(leaves.values())
        grads = torch.autograd.grad(outs, values, blocks, is_grads_batched=True, materialize_grads=True)
    return [Part(use.held[key], Dense(g), "vmap") for key, g in zip(leaves, grads, strict=True)]


def _vmapped(
    pulled: Callable[..., Tensor],
    values: dict[int, Tensor],
    rows: dict[int, Tensor],
    back: list[Tensor | None],
    b: int,
) -> tuple[dict[int, Tensor], str]:
    """Gradients (b, *shape) of `pulled` by key of `values`, and the way taken: "vmap" or "loop"."""
    axes = [None if d is None else 0 for d in back]
    with torch.enable_grad():
        try:
            with warnings.catch_warnings():  # vmap warns of operations that it runs one sample at a time
                warnings.simplefilter("ignore", UserWarning)
                return vmap(grad(pulled), in_dims=(None, 0, axes))(values, rows, back), "vmap"
        except (RuntimeError, NotImplementedError, ValueError):
            pass  # no rule for vmap, or no sample in the arguments: the loop below raises the real error
        leaves = {key: value.detach().requires_grad_() for key, value in values.items()}
        by_sample = []
        for i in range(b):
            own = {key: row[i] for key, row in rows.items()}
            total = pulled(leaves, own, [None if d is None else d[i] for d in back])
            by_sample.append(torch.autograd.grad(total, list(leaves.values()), materialize_grads=True))
    return dict(zip(leaves, map(torch.stack, zip(*by_sample, strict=True)), strict=True)), "loop"
