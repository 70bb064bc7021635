"""What does one batch of a sweep give? Everything that is kept of its samples, as tensors with samples on axis 0.

They stay on the device, and no number is asked of it, so that it never waits for Python: the sweep fetches and checks
many batches at once (`fetched`).
"""

from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import Tensor, nn

from influence_core.engine import batches as loop
from influence_core.engine.features import heard
from influence_core.engine.losses import Loss, finite, shaped
from influence_core.engine.readings.batch_totals import Account
from influence_core.engine.readings.contract import Buffer, Wanted
from influence_core.engine.readings.parameter_totals import Book
from influence_core.engine.rules.factors import Dense, Factor, wide
from influence_core.engine.study import Study
from influence_core.engine.watching.watch import Watch
from influence_core.errors import InfluenceError, LayerError


@dataclass(frozen=True, slots=True)
class Plan:
    """What one sweep wants of each parameter; the same for all batches."""

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
    account = Account(plan.wanted, len(batch), plan.k, plan.buffer)

    def read(name: str, factor: Factor, low: int) -> None:
        if name not in plan.study.alone:
            account.read(name, factor, low)

    shapes = {name: wanted.shape for name, wanted in plan.wanted.items()}
    book = Book(shapes, len(batch), read, lambda parts: None)
    with heard(model, plan.keep) as features, torch.enable_grad():
        outputs, losses = (_plainly if plan.study.decided else _watched)(model, batch, plan, book)
    with torch.enable_grad():
        single = _alone(model, batch, plan)
    for name, g in single.items():
        account.read(name, Dense(g), 0)
    logits = outputs if in_rows(outputs, len(batch)) else losses.new_zeros(len(batch), 0)
    found = _entries(account, book.last, plan, losses)
    kept = {f"feature.{path}": wide(features[path]) for path in plan.keep}
    return {"losses": wide(losses.detach()), "logits": wide(logits.detach()), **found, **kept}


def in_rows(outputs: object, b: int) -> TypeGuard[Tensor]:
    """Whether outputs of b samples are one row of numbers each, as margin and EL2N ask for, or one number. Those of 64
    words among 1,000 would be 0.25 MB of each sample, kept to the end."""
    return isinstance(outputs, Tensor) and outputs.ndim in (1, 2) and len(outputs) == b


def _plainly(model: nn.Module, batch: loop.Batch, plan: Plan, book: Book[None]) -> tuple[object, Tensor]:
    """Outputs and losses alone: every gradient of this model takes a pass of its own."""
    with torch.no_grad():
        outputs = loop.forward(model, batch.inputs)
        return outputs, shaped(plan.loss(outputs, batch.labels), len(batch))


def _watched(model: nn.Module, batch: loop.Batch, plan: Plan, book: Book[None]) -> tuple[object, Tensor]:
    """Outputs and losses; the gradients are read into the book in the backward pass."""
    with Watch(plan.named, batch.inputs, plan.study.layouts, book.called, book.receive) as watch:
        outputs = loop.forward(model, batch.inputs)
        losses = plan.loss(outputs, batch.labels)
    losses = shaped(losses, len(batch))
    if watch.decided:
        raise LayerError(
            f"The model decided by the numbers of this batch ({watch.decided}), but not with the first three samples, "
            "so samples may have been treated by their company. Expected no such decision, or one for every "
            "batch. Use torch.where instead."
        )
    if losses.requires_grad:
        losses.sum().backward()
        book.close(watch.leaves)
    elif not plan.study.alone:
        raise LayerError(
            "The loss does not depend on any trainable layer, so every gradient is zero. Expected outputs "
            "computed with gradients: remove torch.no_grad() or .detach() from the model's forward."
        )
    return outputs, losses


def _alone(model: nn.Module, batch: loop.Batch, plan: Plan) -> dict[str, Tensor]:
    """Gradients (b, *shape) of the parameters that no operation shows: one backward pass a sample."""
    values = {name: plan.named[name] for name in plan.study.alone}
    if not values:
        return {}
    rows: list[tuple[Tensor, ...]] = []
    for value in values.values():
        value.requires_grad_(True)
    try:
        for i in range(len(batch)):
            loss = plan.loss(loop.forward(model, loop.one_of(batch.inputs, i)), batch.labels[i : i + 1]).sum()
            found = torch.autograd.grad(
                loss, list(values.values()), allow_unused=True, materialize_grads=True
            )
            rows.append(found)
    finally:
        for value in values.values():
            value.requires_grad_(False)
    return {name: torch.stack(column) for name, column in zip(values, zip(*rows, strict=True), strict=True)}


def _entries(account: Account, last: tuple[str, ...], plan: Plan, like: Tensor) -> dict[str, Tensor]:
    """All readings of a batch as tensors with samples on axis 0, added up over parameters in one go."""
    like, b = wide(like.detach()), len(like)
    sums = account.sums(like)
    row = {name: place for place, name in enumerate(plan.named)}
    last = last or tuple(plan.named)[-1:]
    place = list(plan.layers).index(last[-1].rpartition(".")[0])
    squares = sums[:, :, 0].to(like.dtype)
    nothing = like.new_zeros(b)
    layers = {
        f"square.{path}": sum((squares[row[name]] for name in inside), nothing)
        for path, inside in plan.layers.items()
    }
    whole = sums.sum(0).to(like.dtype)
    return {
        "square": whole[:, 0],
        **layers,
        "l1": whole[:, 1],
        "last_l1": torch.stack([sums[row[name], :, 1] for name in last]).sum(0).to(like.dtype),
        "products": whole[:, 2:],
        "sketches": account.sketches(plan.q, like),
        "last": torch.full((b,), place, device=like.device),
    }


def fetched(found: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors on the CPU, checked to be finite."""
    here = {name: value.cpu() for name, value in found.items()}
    finite(here["losses"])
    for name in ("square", "l1", "last_l1", "products", "sketches"):
        if not torch.isfinite(here[name]).all():
            raise InfluenceError(
                "Some gradients or directions are NaN or infinite, so the scores would be too. Expected finite "
                "numbers: check the weights, the validation samples and the loss."
            )
    return here
