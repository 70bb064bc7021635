"""Layer-aware influence (LAI): which samples help, from forward passes alone.

Yang, Huang, Liu, arXiv 2510.16007: the gradient at every layer is replaced by the one at the output, d = dl/doutputs
(p - y for cross entropy), so no backward pass through the network is needed:

    LAI_j = mean_v <d_j, d_v> sum_l <a^l_j, a^l_v>          positive = helpful

With M_l = mean_v d_v a^l_v^T this is sum_l d_j^T M_l a^l_j: one small matrix a layer represents the whole validation
split, and no pair of samples is ever formed. Exact (the inner product of gradients) for one linear layer, and for a
convolution whose mean over positions is the output; below the head an approximation.

With outputs (b, t, c) and layers of t tokens the product runs over all token pairs: <sum_t d_t a_t^T, sum_s d_s a_s^T>.
That costs as many products as the outputs times the inputs of all layers: for a small decoder with 1,000 words more
than a training step. During training the inputs are therefore folded to a few numbers first, which keeps their inner
products without bias.

Without validation samples v runs over the other samples of the batch: b/(b-1) (LAI_j - self_j/b). The self term is a
square; with it hardly any score would fall below zero.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.losses import (
    IGNORED,
    LOSSES,
    Loss,
    check_classes,
    checked_losses,
    logits_in,
    loss_by_name,
    losses_of,
    no_tensor,
)
from influence_core.engine.readings.sketch import FoldingMap, folding_map
from influence_core.engine.repeats import repeating, steady
from influence_core.engine.watching.watch import scoring
from influence_core.errors import DataError, ModelError
from influence_core.scores.influence.layer_inputs import LayerInputs, mean_rows
from influence_core.system.report import Report

BATCH = 128
WORTH = 2
"""Inputs of a position are folded where they are more than WORTH times as many as the numbers they become."""


@dataclass(frozen=True, slots=True)
class Pair:
    """Some layers' share of each sample's surrogate gradient sum_t d_t a_t^T: d (b, t, c) and a (b, t, f)."""

    d: Tensor
    a: Tensor


def output_gradient(outputs: Tensor, batch: loop.Batch, loss: Loss) -> Tensor:
    """d = gradient of each sample's own loss at the outputs, in their shape; the network is not differentiated."""
    outputs = logits_in(outputs) if loss is LOSSES["cross_entropy"] else _one_tensor(outputs)
    fits = batch.labels.shape == outputs.shape[:-1] and batch.labels.dtype == torch.int64
    if loss is LOSSES["cross_entropy"] and fits:  # otherwise the loss reports what does not fit
        check_classes(outputs, batch)
        return _cross_entropy_gradient(outputs.detach(), batch.labels)
    with torch.enable_grad():
        leaf = outputs.detach().requires_grad_()
        losses = checked_losses(losses_of(loss, leaf, batch), len(outputs))
        (d,) = torch.autograd.grad(losses.sum(), leaf)
    return d


def _one_tensor(outputs: Any) -> Tensor:
    if not isinstance(outputs, Tensor):
        raise ModelError(no_tensor(outputs))
    return outputs


def _cross_entropy_gradient(outputs: Tensor, labels: Tensor) -> Tensor:
    """p - y over the number of positions, zero where a label is left out.

    By autograd it took two to three times as long, a 30th of a small decoder's step.
    """
    counted = labels != IGNORED
    d = outputs.softmax(-1)
    d.scatter_add_(
        -1, labels.where(counted, 0).unsqueeze(-1), d.new_full((1,), -1.0).expand(*labels.shape, 1)
    )
    d.mul_((counted.to(d.dtype) / max(1, labels[:1].numel())).unsqueeze(-1))
    checked_losses(d.flatten(1).sum(1), len(outputs))
    return d


def pairs(d: Tensor, layer_inputs: Mapping[str, Tensor], fold: int | None = None) -> list[Pair]:
    """One pair with t = 1 for the layers without the outputs' positions, another pair for the layers with them.

    fold: how many numbers the inputs of all layers at one position become (`folded`); None to keep them all.
    """
    b, positions = len(d), d.shape[1] if d.ndim == 3 else 1
    by_token = {
        path: rows.to(d.dtype) for path, rows in layer_inputs.items() if rows.shape[1:-1] == (positions,)
    }
    pooled = [mean_rows(rows).to(d.dtype) for path, rows in layer_inputs.items() if path not in by_token]
    over_positions = d.sum(1) if d.ndim == 3 else d.reshape(b, -1)
    pooled_pair = [Pair(over_positions.unsqueeze(1), torch.cat(pooled, 1).unsqueeze(1))] if pooled else []
    if not by_token:
        return pooled_pair
    wide = sum(rows.shape[2] for rows in by_token.values())
    if fold is not None and wide > WORTH * fold:
        return [*pooled_pair, Pair(d, folded(by_token, fold))]
    return [*pooled_pair, Pair(d, torch.cat(list(by_token.values()), 2))]


def folded(tokens: Mapping[str, Tensor], q: int) -> Tensor:
    """Inputs of several layers (b, t, f) as one (b, t, q) whose inner products are, without bias, the sum of theirs.

    Each layer's f numbers go to q buckets with random signs (sketch.py). Equal paths and shapes give the same buckets
    in every process.
    """
    total = torch.zeros(())
    for path, rows in tokens.items():
        flat = rows.flatten(0, 1)
        mapped = _map_of(path, rows.shape[2], q, rows.dtype, rows.device)
        total = total + mapped.closed(mapped.fold(flat, 0)).unflatten(0, rows.shape[:2])
    return total


@lru_cache(maxsize=1024)
def _map_of(path: str, f: int, q: int, dtype: torch.dtype, device: torch.device) -> FoldingMap:
    return folding_map(path, (1, f), q, 0, torch.zeros((), dtype=dtype, device=device))


def summed(batch: Sequence[Pair]) -> list[Tensor]:
    """Sum over samples and positions of d a^T, one (c, f) for each pair."""
    return [pair.d.flatten(0, 1).T @ pair.a.flatten(0, 1) for pair in batch]


def products(batch: Sequence[Pair], sums: Sequence[Tensor]) -> Tensor:
    """Inner product of each sample's surrogate gradient with the sum, (b,)."""
    return torch.stack([((p.d @ m) * p.a).sum((1, 2)) for p, m in zip(batch, sums, strict=True)]).sum(0)


def squares(batch: Sequence[Pair]) -> Tensor:
    """Self term (b,): each sample's product with itself, over all pairs of its positions."""
    self_products = [((p.d @ p.d.transpose(1, 2)) * (p.a @ p.a.transpose(1, 2))).sum((1, 2)) for p in batch]
    return torch.stack(self_products).sum(0)


def leave_one_out(batch: Sequence[Pair]) -> Tensor:
    """Each sample against the mean of the b - 1 others of its batch, (b,)."""
    b = len(batch[0].d)
    if b < 2:
        raise DataError(
            "A batch of one sample has no other sample to measure by. Expected at least two, or a validation split."
        )
    return (products(batch, summed(batch)) - squares(batch)) / (b - 1)


def layer_aware_influence(
    model: nn.Module,
    train: Dataset,
    val: Dataset | None,
    *,
    loss: str | Loss = "cross_entropy",
    layers: Sequence[str] | None = None,
    batch_size: int = BATCH,
    on_progress: Report | None = None,
) -> Tensor:
    """LAI of every training sample of a trained model, (n,) on the CPU; positive = helpful, negative = harmful.

    One inference pass over `val` and one over `train` in evaluation mode; the model is left unchanged.

    Args:
        val: the samples to measure by; None for the leave-one-out form (two passes over `train`).
        loss: as in `sweep`.
        layers: paths of linear and convolution layers, None for all trainable ones.

    Raises:
        LayerError: a layer whose rows are not samples, or no layer to collect inputs from.
    """
    train, val = repeating(model, train), None if val is None else steady(val)
    function, measured = loss_by_name(loss), train if val is None else val
    n, m = loop.count(train), loop.count(measured)
    if m < (2 if val is None else 1):
        raise DataError(
            f"There are {m} samples to measure influence by; expected at least one besides each sample."
        )
    inputs = LayerInputs(model, layers)

    def batched(samples: Dataset, stage: str) -> Iterator[list[Pair]]:
        for batch in loop.batches(samples, batch_size, like=model):
            outputs = loop.outputs_of(model, batch)
            yield pairs(output_gradient(outputs, batch, function), inputs.collect())
            if on_progress:
                on_progress(stage, batch.stop, loop.count(samples))

    try:
        with scoring(model), torch.no_grad():
            *_, total = accumulate(
                (summed(batch) for batch in batched(measured, "objective")),
                lambda sums, more: [a + b for a, b in zip(sums, more, strict=True)],
            )
            if val is None:
                rows = [(products(b, total) - squares(b)) / (n - 1) for b in batched(train, "sweep")]
            else:
                rows = [products(b, total) / m for b in batched(train, "sweep")]
    finally:
        inputs.close()
    return torch.cat(rows).cpu()
