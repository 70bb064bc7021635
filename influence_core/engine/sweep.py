"""What does every training sample's gradient look like? One forward and one backward pass over the data, in order.

For each batch: forward; backward of the summed per-sample losses to the activations only; at every operation that uses
a parameter the per-sample gradient is contracted to norms, products and a sketch (contractions.py) and forgotten.
Samples do not meet in evaluation mode, so row i of an output gradient is the gradient of sample i's own loss.
Finished row ranges go to disk when a folder is given (shards.py). What is kept of a sample is a few hundred numbers
(q, k, one a layer, and the features asked for), never its gradient.
"""

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.batch_size import halved, probed_batch_size
from influence_core.engine.book import Book
from influence_core.engine.contractions import Buffer, Readings, Wanted, contract, joined
from influence_core.engine.directions import Direction, check_directions
from influence_core.engine.factors import Dense
from influence_core.engine.features import heard
from influence_core.engine.identity import key_of
from influence_core.engine.losses import Loss, checked, loss_by_name
from influence_core.engine.shards import read_shard, write_shard
from influence_core.engine.sketch import folding_map
from influence_core.engine.study import Study, studied
from influence_core.engine.taps import Watch, scoring, trainable
from influence_core.errors import InfluenceError, LayerError

Progress = Callable[[str, int, int], None]

SHARD_ROWS = 512
"""Rows of one file on disk, rounded to whole batches: what a killed run can lose."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """Per-sample quantities of n samples, rows in dataset order, float32 unless the sweep ran in float64.

    Norms are not signed and positive means unusual. A product is positive when a gradient step on the sample moves
    the parameters against the direction: with an objective's gradient as direction, positive = helpful.
    """

    losses: Tensor
    """(n,) each sample's own loss."""
    logits: Tensor
    """(n, c) the model's outputs, in evaluation mode."""
    grad_norms: Tensor
    """(n,) L2 norm of the gradient over all trainable parameters."""
    grad_norms_l1: Tensor
    """(n,) L1 norm of the same."""
    layer_norms: dict[str, Tensor]
    """L2 norm by layer path, each (n,)."""
    last_layer: str
    """Path of the layer used last: the head of a classifier."""
    last_norm_l1: Tensor
    """(n,) L1 norm over the last layer alone."""
    products: Tensor
    """(n, k) inner product with each direction."""
    sketches: Tensor
    """(n, q) folded gradients: inner products of rows estimate those of the gradients, without bias."""
    features: dict[str, Tensor]
    """Inputs of the layers asked for, pooled to at most 2 x 2 positions, each (n, f)."""
    ways: dict[str, str]
    """How each parameter's gradient was found: a key of `engine.uses.HOW`."""


@dataclass(frozen=True, slots=True)
class _Plan:
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


def sweep(
    model: nn.Module,
    samples: Dataset,
    *,
    directions: Sequence[Direction] | None = None,
    sketch: int = 256,
    loss: str | Loss = "cross_entropy",
    precision: str = "float32",
    batch_size: int | str = "auto",
    seed: int = 0,
    features: Sequence[str] = (),
    shards: Path | None = None,
    fingerprint: str = "",
    on_progress: Progress | None = None,
) -> Sweep:
    """Exact per-sample norms, products and sketches of every sample, in one pass.

    Args:
        model: any module whose outputs the loss understands; left exactly as it was found.
        samples: map-style dataset of (input, label), n rows, never shuffled.
        directions: k mappings parameter name -> tensor of the parameter's shape (missing names count as zero).
        sketch: q, the length of each sketch; 0 for none.
        loss: a name of `losses.LOSSES` or a function (outputs, labels) -> (b,).
        precision: "float32" or "float64"; float64 scores a copy of the model.
        batch_size: samples a pass, "auto" for what fits (batch_size.py); does not change a score.
        features: module paths whose pooled inputs are kept.
        shards: folder for finished row ranges; a second call with the same inputs continues there.
        fingerprint: identity of the samples' content, needed to trust shards of an earlier process.

    Raises:
        LayerError: samples of a batch influence each other, by the module's name, with the way out.
        InfluenceError: a direction that does not fit, a loss that was averaged, a precision not offered.
    """
    scored, function = in_precision(model, precision), loss_by_name(loss)
    _check_settings(batch_size, shards, fingerprint)
    plan = _planned(scored, samples, directions or (), sketch, function, seed, features)
    rows = _rows(scored, samples, plan, batch_size)
    settings = (sketch, seed, rows, precision, tuple(features))
    key = key_of(scored, directions or (), function, settings, fingerprint) if shards else ""
    with scoring(scored):
        n = loop.count(samples)
        span = max(1, SHARD_ROWS // rows) * rows
        parts = []
        for start in range(0, n, span):
            stop = min(start + span, n)
            found = read_shard(shards, start, key) if shards else None
            if found is None:
                found = _joined(_swept(scored, samples, plan, rows, start, stop, on_progress, n))
                if shards:
                    write_shard(shards, start, key, found)
            parts.append(found)
            _report(on_progress, stop, n)
        return _as_sweep(_joined(parts), plan)


def _planned(
    model: nn.Module,
    samples: Dataset,
    directions: Sequence[Direction],
    q: int,
    loss: Loss,
    seed: int,
    keep: Sequence[str],
) -> _Plan:
    """What to read: of the parameters that are trainable at this moment, so before the model is frozen."""
    named = trainable(model)
    check_directions(directions, named)
    wanted = {name: _wanted(name, value, directions, q, seed) for name, value in named.items()}
    layers: dict[str, list[str]] = {}
    for name in named:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    study = studied(model, samples, loss)
    return _Plan(named, wanted, layers, study, loss, len(directions), q, tuple(keep), Buffer())


def _wanted(name: str, value: Tensor, directions: Sequence[Direction], q: int, seed: int) -> Wanted:
    shape = tuple(value.shape)
    along = [d[name].detach().to(value).contiguous() if name in d else None for d in directions]
    return Wanted(shape, tuple(along), folding_map(name, shape, q, seed, value) if q else None)


def _swept(
    model: nn.Module,
    samples: Dataset,
    plan: _Plan,
    rows: int,
    start: int,
    stop: int,
    on_progress: Progress | None,
    n: int,
) -> Iterator[dict[str, Tensor]]:
    def score(low: int, high: int) -> list[dict[str, Tensor]]:
        (batch,) = loop.batches(samples, high - low, like=model, start=low, stop=high)
        return [_one_batch(model, batch, plan)]

    for low in range(start, stop, rows):
        high = min(low + rows, stop)
        yield from halved(score, low, high)
        _report(on_progress, high, n)


def _one_batch(model: nn.Module, batch: loop.Batch, plan: _Plan) -> dict[str, Tensor]:
    shapes = {name: wanted.shape for name, wanted in plan.wanted.items()}
    book = Book(
        shapes, len(batch), lambda name, factor: contract(factor, plan.wanted[name], plan.buffer), joined
    )
    with heard(model, plan.keep) as features, torch.enable_grad():
        outputs, losses = (_plainly if plan.study.decided else _watched)(model, batch, plan, book)
    with torch.enable_grad():
        single = _alone(model, batch, plan)
    for name, g in single.items():
        book.found[name] = contract(Dense(g), plan.wanted[name], plan.buffer)
    logits = outputs if isinstance(outputs, Tensor) else torch.zeros(len(batch), 0)
    read = _entries(book.found, book.last, plan, losses)
    kept = {f"feature.{path}": features[path].cpu() for path in plan.keep}
    return {"losses": losses.detach().cpu(), "logits": logits.detach().cpu(), **read, **kept}


def _plainly(model: nn.Module, batch: loop.Batch, plan: _Plan, book: Book[Readings]) -> tuple[object, Tensor]:
    """Outputs and losses alone: every gradient of this model takes a pass of its own."""
    with torch.no_grad():
        outputs = loop.forward(model, batch.inputs)
        return outputs, checked(plan.loss(outputs, batch.labels), len(batch))


def _watched(model: nn.Module, batch: loop.Batch, plan: _Plan, book: Book[Readings]) -> tuple[object, Tensor]:
    """Outputs and losses; the gradients are read into the book in the backward pass."""
    with Watch(plan.named, batch.inputs, plan.study.layouts, book.called, book.receive) as watch:
        outputs = loop.forward(model, batch.inputs)
        losses = plan.loss(outputs, batch.labels)
    losses = checked(losses, len(batch))
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


def _alone(model: nn.Module, batch: loop.Batch, plan: _Plan) -> dict[str, Tensor]:
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


def _entries(
    found: Mapping[str, Readings], last: tuple[str, ...], plan: _Plan, like: Tensor
) -> dict[str, Tensor]:
    """All readings of a batch as tensors with samples on axis 0, on the CPU."""

    def total(field: str, names: Iterable[str], *width: int) -> Tensor:
        values = [getattr(found[name], field) for name in names if name in found]
        whole = (
            torch.stack(values).sum(0).cpu() if values else like.new_zeros(len(like), *width).detach().cpu()
        )
        if not torch.isfinite(whole).all():
            raise InfluenceError(
                "Some gradients or directions are NaN or infinite, so the scores would be too. Expected finite "
                "numbers: check the weights, the validation samples and the loss."
            )
        return whole

    last = last or tuple(plan.named)[-1:]
    place = list(plan.layers).index(last[-1].rpartition(".")[0])
    return {
        "square": total("square", found),
        **{f"square.{path}": total("square", names) for path, names in plan.layers.items()},
        "l1": total("l1", found),
        "last_l1": total("l1", last),
        "products": total("products", found, plan.k),
        "sketches": total("sketch", found, plan.q),
        "last": torch.full((len(like),), place),
    }


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    listed = list(parts)
    return {name: torch.cat([part[name] for part in listed]) for name in listed[0]} if listed else {}


def _as_sweep(found: dict[str, Tensor], plan: _Plan) -> Sweep:
    found = found or _nothing(plan)
    paths = list(plan.layers)
    return Sweep(
        losses=found["losses"],
        logits=found["logits"],
        grad_norms=found["square"].sqrt(),
        grad_norms_l1=found["l1"],
        layer_norms={path: found[f"square.{path}"].sqrt() for path in paths},
        last_layer=paths[int(found["last"][0]) if len(found["last"]) else -1],
        last_norm_l1=found["last_l1"],
        products=found["products"],
        sketches=found["sketches"],
        features={path: found[f"feature.{path}"] for path in plan.keep},
        ways=dict(plan.study.ways),
    )


def _nothing(plan: _Plan) -> dict[str, Tensor]:
    """The tensors of a sweep over no samples at all."""
    names = ["square", "losses", "l1", "last_l1", "last", *(f"square.{path}" for path in plan.layers)]
    wide = {
        "products": plan.k,
        "sketches": plan.q,
        "logits": 0,
        **{f"feature.{path}": 0 for path in plan.keep},
    }
    return {name: torch.zeros(0) for name in names} | {name: torch.zeros(0, w) for name, w in wide.items()}


def in_precision(model: nn.Module, precision: str) -> nn.Module:
    """The model itself when it already has this precision, else a converted copy."""
    if precision not in ("float32", "float64"):
        raise InfluenceError(f"Precision '{precision}' was asked for; expected 'float32' or 'float64'.")
    wanted = getattr(torch, precision)
    return model if loop.home(model)[1] == wanted else copy.deepcopy(model).to(wanted)


def _check_settings(batch_size: int | str, shards: Path | None, fingerprint: str) -> None:
    if shards and not fingerprint:
        raise InfluenceError(
            "Shards were asked for without a fingerprint, so those of other samples could be taken for these. Expected "
            "fingerprint=, a text that changes with the samples' content."
        )
    if batch_size != "auto" and int(batch_size) < 1:
        raise InfluenceError(f"The batch size is {batch_size}; expected a whole number from 1 on, or 'auto'.")


def _rows(model: nn.Module, samples: Dataset, plan: _Plan, batch_size: int | str) -> int:
    if plan.study.decided:
        return 1
    if batch_size == "auto":
        return probed_batch_size(model, samples, plan.loss, plan.study.layouts)
    return int(batch_size)


def _report(on_progress: Progress | None, done: int, total: int) -> None:
    if on_progress:
        on_progress("sweep", done, total)
