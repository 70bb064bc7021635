"""One batch of a sweep: all that is kept of its samples, as tensors with samples on axis 0.

The tensors stay on the device and none is read here, so the device never waits for Python. The sweep fetches and checks
many batches at once (`fetched`).
"""

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from influence_core.engine import batches as loop
from influence_core.engine.features import heard
from influence_core.engine.losses import Loss, finite, losses_of, shaped
from influence_core.engine.oracle import NO_GRADIENT
from influence_core.engine.readings.batch_totals import Account
from influence_core.engine.readings.contract import Buffer, Wanted
from influence_core.engine.readings.parameter_totals import Book
from influence_core.engine.rules.factors import Dense, Factor, wide
from influence_core.engine.study import Study
from influence_core.engine.watching.watch import Watch, requiring_gradients
from influence_core.errors import InfluenceError, LayerError


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sweep reads; the same for all batches.

    named: trainable parameters. wanted: what to read of each. layers: parameter names by layer path. k: directions.
    q: length of a sketch. keep: paths of the modules whose pooled inputs are kept.
    """

    named: dict[str, nn.Parameter]
    wanted: dict[str, Wanted]
    layers: dict[str, list[str]]
    study: Study
    loss: Loss
    k: int
    q: int
    keep: tuple[str, ...]
    buffer: Buffer


def one_batch(model: nn.Module, batch: loop.Batch, plan: Plan) -> dict[str, Tensor]:
    """Columns of one batch by name, each (b, ...), on the batch's device and not yet checked to be finite.

    Raises:
        LayerError: the model branched on this batch, or its loss depends on no trainable parameter.
    """
    account = Account(plan.wanted, len(batch), plan.k, plan.buffer)

    def read(name: str, factor: Factor, low: int) -> None:
        if name not in plan.study.alone:
            account.read(name, factor, low)

    shapes = {name: wanted.shape for name, wanted in plan.wanted.items()}
    book = Book(shapes, len(batch), read, lambda parts: None)
    with heard(model, plan.keep) as features, torch.enable_grad():
        outputs, losses = (_plainly if plan.study.decided else _watched)(model, batch, plan, book)
    with torch.enable_grad():
        gradients = _alone(model, batch, plan)
    for name, g in gradients.items():
        account.read(name, Dense(g), 0)
    logits = outputs if in_rows(outputs, len(batch)) else losses.new_zeros(len(batch), 0)
    readings = _entries(account, book.last, plan, losses)
    pooled = {f"feature.{path}": wide(features[path]) for path in plan.keep}
    return {"losses": wide(losses.detach()), "logits": wide(logits.detach()), **readings, **pooled}


def in_rows(outputs: object, b: int) -> TypeGuard[Tensor]:
    """Whether the outputs of b samples are one row of numbers each, as margin and EL2N need, or one number each.

    Outputs over positions are not kept: 64 words among 1,000 would be 0.25 MB of each sample, kept to the end.
    """
    return isinstance(outputs, Tensor) and outputs.ndim in (1, 2) and len(outputs) == b


def _plainly(model: nn.Module, batch: loop.Batch, plan: Plan, book: Book[None]) -> tuple[object, Tensor]:
    """Outputs and losses without gradients: each gradient of this model takes a separate pass."""
    with torch.no_grad():
        outputs = loop.outputs_of(model, batch)
        return outputs, shaped(losses_of(plan.loss, outputs, batch), len(batch))


def _watched(model: nn.Module, batch: loop.Batch, plan: Plan, book: Book[None]) -> tuple[object, Tensor]:
    """Outputs and losses; the backward pass reads the gradients into the book."""
    with Watch(plan.named, batch.inputs, plan.study.layouts, book.called, book.receive) as watch:
        outputs = loop.outputs_of(model, batch)
        losses = losses_of(plan.loss, outputs, batch)
    losses = shaped(losses, len(batch))
    if watch.decided:
        raise LayerError(
            f"The model branched on the numbers of this batch ({watch.decided}), but not with the first three samples, "
            "so a sample's result may depend on its batch. Expected no such branch, or one for every batch. Use "
            "torch.where instead."
        )
    if losses.requires_grad:
        losses.sum().backward()
        book.close(watch.leaves)
    elif not plan.study.alone:
        raise LayerError(NO_GRADIENT)
    return outputs, losses


def _alone(model: nn.Module, batch: loop.Batch, plan: Plan) -> dict[str, Tensor]:
    """Gradients (b, *shape) of the parameters whose operations cannot be watched: one backward pass a sample."""
    values = {name: plan.named[name] for name in plan.study.alone}
    if not values:
        return {}
    rows: list[tuple[Tensor, ...]] = []
    with requiring_gradients(values.values()):
        for i in range(len(batch)):
            alone = loop.alone(batch, i)
            loss = losses_of(plan.loss, loop.outputs_of(model, alone), alone).sum()
            rows.append(torch.autograd.grad(loss, list(values.values()), materialize_grads=True))
    return {name: torch.stack(column) for name, column in zip(values, zip(*rows, strict=True), strict=True)}


def _entries(account: Account, last: tuple[str, ...], plan: Plan, like: Tensor) -> dict[str, Tensor]:
    """All readings of a batch as tensors with samples on axis 0, added up over parameters at once."""
    like, b = wide(like.detach()), len(like)
    sums = account.sums(like)
    row_of = {name: row for row, name in enumerate(plan.named)}
    last = last or tuple(plan.named)[-1:]
    last_layer = list(plan.layers).index(last[-1].rpartition(".")[0])
    squares = sums[:, :, 0].to(like.dtype)
    zeros = like.new_zeros(b)
    layers = {
        f"square.{path}": sum((squares[row_of[name]] for name in names), zeros)
        for path, names in plan.layers.items()
    }
    totals = sums.sum(0).to(like.dtype)
    return {
        "square": totals[:, 0],
        **layers,
        "l1": totals[:, 1],
        "last_l1": torch.stack([sums[row_of[name], :, 1] for name in last]).sum(0).to(like.dtype),
        "products": totals[:, 2:],
        "sketches": account.sketches(plan.q, like),
        "last": torch.full((b,), last_layer, device=like.device),
    }


def fetched(columns: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU; raises InfluenceError when a number is not finite."""
    columns = {name: value.cpu() for name, value in columns.items()}
    finite(columns["losses"])
    for name in ("square", "l1", "last_l1", "products", "sketches"):
        if not torch.isfinite(columns[name]).all():
            raise InfluenceError(
                "Some gradients or directions are NaN or infinite, so the scores would be too. Expected finite "
                "numbers: check the weights, the validation samples and the loss."
            )
    return columns
