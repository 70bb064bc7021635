"""How fast does every sample's loss change while its outputs move? <dl_i/dz_i, dz_i>, one look at the outputs.

A difference l(z + d/2) - l(z - d/2) subtracts two numbers near 10 to find one near 1e-4 and rounds; its value is the
slope at z along d, up to the third order of d, and the slope subtracts nothing. It is autograd of the loss alone, or a
closed form. With p = softmax(z), cross-entropy's is sum_c (p_c - [c = y]) d_c, written as

    sum_c p_c (d_c - d_y)

so that a confident sample (p_y near 1) does not subtract 1 from p_y. On 64 texts of 64 tokens and 1,000 words, float32:
two losses 21 ms and an error of 3.4e-3 at a step of 1e-3, two losses in float64 98 ms, autograd 20 ms and 1.3e-7, the
closed form 11 ms and 1e-7.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from influence_core.engine.losses import IGNORED, LOSSES, Loss, checked

Slope = Callable[[Tensor, Tensor, Tensor], Tensor]

PIECE = 2**15
"""Numbers that a closed form looks at at once: they stay in the cache and take no fresh memory in every batch.

Both passes and the loss of a transformer, 64 texts of 64,000 outputs, in inference passes: 2.10; in pieces of 2^17, or
as a whole, 2.34 and 2.36.
"""


def change(loss: Loss, before: Tensor, after: Tensor, labels: Tensor, at: float = 0.5) -> Tensor:
    """Change (b,) of every sample's loss from outputs `before` to `after` (b, ...), by its slope between them.

    at: where the slope is taken, 0 = before, 0.5 = in the middle, which errs by the third order only.
    """
    rows = max(1, PIECE * len(before) // max(1, before.numel())) if loss in CLOSED else max(1, len(before))
    pieces = zip(before.split(rows), after.split(rows), labels.split(rows), strict=True)
    return torch.cat([_moved(loss, *piece, at) for piece in pieces])


def _moved(loss: Loss, before: Tensor, after: Tensor, labels: Tensor, at: float) -> Tensor:
    moved = after - before
    return slope(loss, torch.add(before, moved, alpha=at) if at else before, moved, labels)


def slope(loss: Loss, outputs: Tensor, change: Tensor, labels: Tensor) -> Tensor:
    """Derivative (b,) of every sample's loss at `outputs`, (b,) or (b, ...), along `change` of the same shape.

    Raises:
        InfluenceError: losses that are averaged or not finite (where there is a closed form, the slope says it).
    """
    closed = CLOSED.get(loss)
    if closed and not labels.is_floating_point():
        return closed(outputs, change, labels)
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        values = checked(loss(leaf, labels), len(outputs))
        if not values.requires_grad:
            return torch.zeros_like(values)
        (found,) = torch.autograd.grad(values.sum(), leaf, allow_unused=True)
    return torch.zeros_like(values) if found is None else (found * change).reshape(len(values), -1).sum(1)


def has_slope(loss: Loss, outputs: Any, labels: Tensor) -> bool:
    """Whether a loss can be differentiated by its outputs: one tensor, samples first, not overwritten in place, not
    sent to NumPy."""
    if (
        not isinstance(outputs, Tensor)
        or not outputs.is_floating_point()
        or outputs.shape[:1] != labels.shape[:1]
    ):
        return False
    try:
        slope(loss, outputs, torch.zeros_like(outputs), labels)
        return _by_rows(loss, outputs, labels)
    except (RuntimeError, TypeError):
        return False  # its own error, if it has one, is raised by the call that follows


def _by_rows(loss: Loss, outputs: Tensor, labels: Tensor) -> bool:
    """Whether the first sample's loss depends on the first row alone: as many steps as samples may stand there."""
    leaf = outputs.detach().requires_grad_()
    with torch.enable_grad():
        first = loss(leaf, labels)[0]
        found = torch.autograd.grad(first, leaf, allow_unused=True)[0] if first.requires_grad else None
    return found is None or not found[1:].any()


def _cross_entropy(outputs: Tensor, change: Tensor, labels: Tensor) -> Tensor:
    """Of outputs (b, c) or (b, ..., c), the mean over positions as in `losses`; an ignored position has no slope."""
    kept = labels != IGNORED
    own = change.gather(-1, labels.where(kept, 0).unsqueeze(-1))
    found = outputs.softmax(-1).mul_(change - own).sum(-1)
    return (found * kept).reshape(len(found), -1).mean(1)


CLOSED: dict[Loss, Slope] = {LOSSES["cross_entropy"]: _cross_entropy}
