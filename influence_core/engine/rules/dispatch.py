"""What is the per-sample gradient of one use of a parameter? The way from an operation to factors, cheapest first.

    rule        a closed form of layer_rules.py: linear, convolution, normalisation, embedding, matrix product
    broadcast   sums, products, where, expand: differentiated once with the parameter spread over the whole batch
    vmap        any other operation: its own vector-Jacobian product, all samples at once
    loop        where vmap knows no way (recurrent layers): the same, one sample after another

    alone       what no operation shows (compiled code, own autograd functions): the whole model, one sample at a time

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
from influence_core.engine.watching.sample_axes import by_rows
from influence_core.engine.watching.watch import Held, Use

HOW = {
    "rule": "exact",
    "broadcast": "exact",
    "vmap": "exact, by vmap (slower)",
    "loop": "exact, sample by sample (slow)",
    "alone": "exact, one backward pass a sample (slowest)",
}
"""What the preflight says of each way."""


@dataclass(frozen=True, slots=True)
class Part:
    """The per-sample gradient of one parameter, or of a derived tensor, in one use; and the way it was found."""

    held: Held
    factor: Factor
    way: str


def parts(use: Use, ds: tuple[Tensor, ...], b: int) -> list[Part]:
    """One part for every parameter that this use met, from the gradients at its outputs."""
    use.check_untouched()
    with torch.no_grad():
        if len(ds) == 1 and (listed := _by_rule(use, ds[0], b)) is not None:
            return listed
    if len(ds) == 1 and use.key[0] in BROADCAST:
        return _by_broadcast(use, ds[0], b)
    return _by_vjp(use, ds, b)


def _by_rule(use: Use, d: Tensor, b: int) -> list[Part] | None:
    """None when the operation has no rule, or its parameters or samples stand where the rule does not expect them."""
    found, axis = RULES.get(use.operation), use.sighting.output_axes[0]
    if found is None or axis is None:
        return None
    try:
        arguments = dict(found.signature.bind(*use.args, **use.kwargs).arguments)
    except TypeError:
        return None
    data = arguments[found.data]
    summed = len(arguments.get("normalized_shape", (0,)))  # trailing axes that the operation mixes
    if id(data) in use.held or axis.at >= (1 if found.first_axis_only else d.ndim - summed):
        return None
    rows, given = (by_rows(value, axis, b, use.path).flatten(0, 1) for value in (d, data))
    made = found.make(rows, **{**arguments, found.data: given})
    met = {name: use.held[id(value)] for name, value in arguments.items() if id(value) in use.held}
    if len(met) < len(use.held) or not met.keys() <= made.keys():
        return None
    return [
        Part(held, regrouped(made[name](), b, tuple(held.value.shape)), "rule") for name, held in met.items()
    ]


BROADCAST = {
    *("add", "sub", "mul", "div", "true_divide", "rsub", "pow", "maximum", "minimum", "where", "lerp"),
    *("addcmul", "addcdiv", "masked_fill", "expand", "expand_as", "broadcast_to"),
    *("add_", "sub_", "mul_", "div_", "__add__", "__radd__", "__sub__", "__rsub__", "__mul__", "__rmul__"),
    *("__truediv__", "__rtruediv__", "__rdiv__", "__pow__", "__rpow__"),
    *("__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__"),
}
"""Operations in which every number of the output sees one number of the parameter, which is repeated to fit."""
_OUT_OF_PLACE = {
    "__iadd__": torch.add,
    "__isub__": torch.sub,
    "__imul__": torch.mul,
    "__itruediv__": torch.div,
    "__idiv__": torch.div,
}


def _by_broadcast(use: Use, d: Tensor, b: int) -> list[Part]:
    """Spread each parameter over the whole output, differentiate once, and add up what was a repetition."""
    name = use.key[0]
    operation = _OUT_OF_PLACE.get(name, use.operation)
    if name.endswith("_") and not name.endswith("__"):
        operation = getattr(torch, name[:-1])
    listed = []
    for index, held in use.held.items():
        value = next(x for x in tensors_in((use.args, use.kwargs)) if id(x) == index)
        with torch.enable_grad():
            spread = value.expand(d.shape).requires_grad_()
            args, kwargs = replaced((use.args, use.kwargs), {index: spread})
            (gradient,) = torch.autograd.grad(End.apply(operation(*args, **kwargs), d), spread)
        listed.append(Part(held, Dense(_gathered(gradient, use, held.value, b)), "broadcast"))
    return listed


def _gathered(gradient: Tensor, use: Use, value: Tensor, b: int) -> Tensor:
    """The gradient of a spread parameter (shape of the output) -> (b, *parameter shape)."""
    axis = use.sighting.output_axes[0]
    rows = by_rows(gradient, axis, b, use.path)
    padded = [1] * (gradient.ndim - value.ndim) + list(value.shape)
    padded.pop(axis.at if axis else 0)  # there the parameter was repeated for every row
    repeated = [2 + at for at, size in enumerate(padded) if size == 1]
    return rows.sum((1, *repeated)).reshape(b, *value.shape)


def _by_vjp(use: Use, ds: tuple[Tensor, ...], b: int) -> list[Part]:
    """The operation's own vector-Jacobian product, one sample each: vmap, or a loop where vmap knows no way."""
    leaves = tensors_in((use.args, use.kwargs))
    axes = dict(zip((id(leaf) for leaf in leaves), use.sighting.input_axes, strict=True))
    ours = {key: axis for key, axis in axes.items() if axis is not None and key not in use.held}
    rows = {id(leaf): by_rows(leaf, ours[id(leaf)], b, use.path) for leaf in leaves if id(leaf) in ours}
    outs = use.sighting.output_axes
    back = [None if axis is None else by_rows(d, axis, b, use.path) for d, axis in zip(ds, outs, strict=True)]
    values = {id(leaf): leaf for leaf in leaves if id(leaf) in use.held}
    if not ours:
        return _by_blocks(use, values, back)

    def pulled(values: dict[int, Tensor], rows: dict[int, Tensor], back: list[Tensor | None]) -> Tensor:
        placed = {key: row.movedim(0, ours[key].at) for key, row in rows.items()}
        args, kwargs = replaced((use.args, use.kwargs), {**placed, **values})
        if use.key[0].endswith("_"):
            args = (args[0].clone(), *args[1:])  # it writes into its first argument
        found = tensors_in(use.operation(*args, **kwargs))
        pairs = zip(found, back, outs, strict=True)
        return torch.stack(
            [(x.movedim(a.at, 0) * d).sum() for x, d, a in pairs if d is not None and a is not None]
        ).sum()

    gradients, way = _vmapped(pulled, values, rows, back, b)
    return [Part(use.held[key], Dense(gradients[key]), way) for key in values]


def _by_blocks(use: Use, values: dict[int, Tensor], back: list[Tensor | None]) -> list[Part]:
    """Parameters repeated for each sample by an operation of their own: sample i's gradient in its rows alone."""
    with torch.enable_grad():
        own = {key: value.detach().requires_grad_() for key, value in values.items()}
        found = tensors_in(use.operation(*replaced(use.args, own), **replaced(use.kwargs, own)))
        outs, blocks = [], []
        for x, d, axis in zip(found, back, use.sighting.output_axes, strict=True):
            if d is not None and axis is not None:
                apart = torch.diag_embed(d.movedim(0, -1)).movedim((-2, -1), (0, 1))  # (b, b, f, ...)
                apart = apart.transpose(1, 2) if axis.inner else apart
                outs.append(x)
                blocks.append(apart.flatten(1, 2).movedim(1, 1 + axis.at))
        grads = torch.autograd.grad(
            outs, list(own.values()), blocks, is_grads_batched=True, allow_unused=True, materialize_grads=True
        )
    return [Part(use.held[key], Dense(g), "vmap") for key, g in zip(own, grads, strict=True)]


def _vmapped(
    pulled: Callable[..., Tensor],
    values: dict[int, Tensor],
    rows: dict[int, Tensor],
    back: list[Tensor | None],
    b: int,
) -> tuple[dict[int, Tensor], str]:
    axes = [None if d is None else 0 for d in back]
    with torch.enable_grad():
        try:
            with warnings.catch_warnings():  # it warns of operations that it takes one sample at a time
                warnings.simplefilter("ignore", UserWarning)
                return vmap(grad(pulled), in_dims=(None, 0, axes))(values, rows, back), "vmap"
        except (RuntimeError, NotImplementedError, ValueError):
            pass  # no rule for vmap, or no sample at all in the arguments: the loop raises what is really wrong
        found: dict[int, list[Tensor]] = {key: [] for key in values}
        for i in range(b):
            own = {key: value.detach().requires_grad_() for key, value in values.items()}
            one = pulled(
                own, {key: row[i] for key, row in rows.items()}, [None if d is None else d[i] for d in back]
            )
            grads = torch.autograd.grad(one, list(own.values()), allow_unused=True, materialize_grads=True)
            for key, gradient in zip(own, grads, strict=True):
                found[key].append(gradient)
    return {key: torch.stack(listed) for key, listed in found.items()}, "loop"
