"""The sweep: exact per-sample gradient quantities by one forward and one backward pass over the data, in order.

For each batch: forward; backward of the summed per-sample losses to the activations only; at every operation that uses
a parameter the per-sample gradient is contracted to norms, products and a sketch (contract.py) and freed.
In evaluation mode samples do not influence each other, so row i of an output gradient is the gradient of sample i's own
loss. Finished row ranges are written to disk when a folder is given (shards.py). A few hundred numbers are kept of a
sample (q, k, one a layer, and the requested features), never its gradient.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from influence_core.engine import batches as loop
from influence_core.engine.batch_size import halved, probed_batch_size
from influence_core.engine.directions import Direction, check_directions
from influence_core.engine.losses import Loss, loss_by_name
from influence_core.engine.one_batch import Plan, fetched, one_batch
from influence_core.engine.precision import (
    CHECK_ROWS,
    check_ranks,
    exact_name,
    in_precision,
    on_wide_outputs,
    own_precision,
    spread_over,
)
from influence_core.engine.readings.batch_totals import Table
from influence_core.engine.readings.contract import Buffer, Wanted
from influence_core.engine.readings.sketch import folding_map
from influence_core.engine.repeats import compared, steady
from influence_core.engine.result import Sweep
from influence_core.engine.rules.factors import wide
from influence_core.engine.shards import key_of, read_shard, write_shard
from influence_core.engine.study import Study, study_model
from influence_core.engine.watching.watch import scoring, trainable
from influence_core.errors import InfluenceError
from influence_core.system.report import Report

SHARD_ROWS = 512
"""Rows of one file on disk, rounded down to whole batches: the most that a killed run can lose."""


def sweep(
    model: nn.Module,
    samples: Dataset,
    *,
    directions: Sequence[Direction] | None = None,
    sketch: int = 256,
    loss: str | Loss = "cross_entropy",
    precision: str = "auto",
    batch_size: int | str = "auto",
    seed: int = 0,
    features: Sequence[str] = (),
    shards: Path | None = None,
    fingerprint: str = "",
    study: Study | None = None,
    on_progress: Report | None = None,
) -> Sweep:
    """Exact per-sample norms, products and sketches of every sample, in one pass.

    Args:
        model: any module whose outputs the loss accepts; restored exactly afterwards.
        samples: map-style dataset of (input, label), n rows, never shuffled; or a DataLoader of one. Every read of a
            sample is compared with its first read; how many were read again, `Sweep.compared` says.
        directions: k mappings parameter name -> tensor of the parameter's shape (missing names count as zero).
        sketch: q, the length of each sketch; 0 for none.
        loss: a name of `losses.LOSSES` or a function (outputs, labels) -> (b,).
        precision: "auto": that of the model, float64 or else float32; another one scores a copy of the model.
            "bfloat16" is for a model on a GPU, if its order of samples is that of float32 (rank agreement 0.99 in
            every norm and product on 64), else it is refused.
        batch_size: samples a pass, or "auto" for as many as fit (batch_size.py); no score depends on it.
        features: module paths whose pooled inputs are kept.
        shards: folder for finished row ranges; a second call with the same inputs continues from them.
        study: result of `study_model` for this model and loss in this precision; None to study it now.
        fingerprint: identity of the samples' content; required with `shards`.

    Raises:
        LayerError: samples of a batch influence each other, or the model draws random numbers; names the module and a
            remedy.
        DataError: a sample differs when it is read again, cannot be read, or has no class of the model as label.
        ModelError: the model's own code fails, or its outputs are not what the loss reads.
        InfluenceError: a direction that does not fit, an averaged loss, a precision not offered, numbers not finite.
    """
    precision = own_precision(model, precision)
    scored, function = in_precision(model, precision), loss_by_name(loss)
    _check_settings(batch_size, shards, fingerprint)
    samples = steady(samples)
    if precision == "bfloat16":
        _check_agreement(model, samples, directions or (), loss)
    study = study or study_model(in_precision(model, exact_name(precision)), samples, function)
    scored_loss = on_wide_outputs(function) if precision == "bfloat16" else function
    plan = _planned(scored, study, directions or (), sketch, scored_loss, seed, features)
    rows = _rows(scored, samples, plan, batch_size)
    settings = (sketch, seed, rows, precision, tuple(features))
    key = key_of(scored, directions or (), function, settings, fingerprint) if shards else ""
    with scoring(scored):
        n = loop.count(samples)
        span, table = max(1, SHARD_ROWS // rows) * rows, Table(n)
        for start in range(0, n, span):
            stop = min(start + span, n)
            columns = read_shard(shards, start, key) if shards else None
            if columns is not None:
                table.put(start, columns)
            else:
                _fill(table, start, _swept(scored, samples, plan, rows, start, stop, on_progress, n))
                columns = fetched(table.rows(start, stop))
                if shards:
                    write_shard(shards, start, key, columns)
            _report(on_progress, stop, n)
        return _as_sweep(table.columns, plan, compared(samples))


def _planned(
    model: nn.Module,
    study: Study,
    directions: Sequence[Direction],
    q: int,
    loss: Loss,
    seed: int,
    keep: Sequence[str],
) -> Plan:
    """What to read. Covers the parameters trainable now, so it must be made before `scoring` freezes the model."""
    named = trainable(model)
    check_directions(directions, named)
    wanted = {name: _wanted(name, value, directions, q, seed) for name, value in named.items()}
    layers: dict[str, list[str]] = {}
    for name in named:
        layers.setdefault(name.rpartition(".")[0], []).append(name)
    return Plan(named, wanted, layers, study, loss, len(directions), q, tuple(keep), Buffer())


def _wanted(name: str, value: Tensor, directions: Sequence[Direction], q: int, seed: int) -> Wanted:
    shape, like = tuple(value.shape), wide(value.detach())
    along = [d[name].detach().to(like).contiguous() if name in d else None for d in directions]
    return Wanted(shape, tuple(along), folding_map(name, shape, q, seed, like) if q else None)


def _swept(
    model: nn.Module,
    samples: Dataset,
    plan: Plan,
    rows: int,
    start: int,
    stop: int,
    on_progress: Report | None,
    n: int,
) -> Iterator[dict[str, Tensor]]:
    def score(low: int, high: int) -> list[dict[str, Tensor]]:
        (batch,) = loop.batches(samples, high - low, like=model, start=low, stop=high)
        return [one_batch(model, batch, plan)]

    for low in range(start, stop, rows):
        high = min(low + rows, stop)
        yield from halved(score, low, high)
        _report(on_progress, high, n)


def _fill(table: Table, start: int, pieces: Iterator[dict[str, Tensor]]) -> None:
    """Write the batches to the table: one by one on a CPU; from a device all at once, so that it never waits."""
    for columns in pieces:
        if columns["losses"].device.type != "cpu":
            columns = _joined(chain([columns], pieces))
        start = table.put(start, columns)
        del columns  # its rows are written: free them before the next batch


def _joined(parts: Iterable[dict[str, Tensor]]) -> dict[str, Tensor]:
    batches = list(parts)
    return {name: torch.cat([part[name] for part in batches]) for name in batches[0]} if batches else {}


def _as_sweep(columns: dict[str, Tensor], plan: Plan, compared: int) -> Sweep:
    columns = columns or _nothing(plan)
    paths = list(plan.layers)
    return Sweep(
        losses=columns["losses"],
        logits=columns["logits"],
        grad_norms=columns["square"].sqrt(),
        grad_norms_l1=columns["l1"],
        layer_norms={path: columns[f"square.{path}"].sqrt() for path in paths},
        last_layer=paths[int(columns["last"][0]) if len(columns["last"]) else -1],
        last_norm_l1=columns["last_l1"],
        products=columns["products"],
        sketches=columns["sketches"],
        features={path: columns[f"feature.{path}"] for path in plan.keep},
        ways=dict(plan.study.ways),
        compared=compared,
    )


def _nothing(plan: Plan) -> dict[str, Tensor]:
    """The columns of a sweep over no samples."""
    names = ["square", "losses", "l1", "last_l1", "last", *(f"square.{path}" for path in plan.layers)]
    widths = {"products": plan.k, "sketches": plan.q, "logits": 0}
    widths |= {f"feature.{path}": 0 for path in plan.keep}
    return {name: torch.zeros(0) for name in names} | {name: torch.zeros(0, w) for name, w in widths.items()}


def _check_agreement(
    model: nn.Module, samples: Dataset, directions: Sequence[Direction], loss: str | Loss
) -> None:
    """Raise InfluenceError unless bfloat16 puts samples in the same order as float32, by norms and by products."""
    checked, function = spread_over(samples), loss_by_name(loss)
    study = study_model(in_precision(model, "float32"), checked, function)
    sweeps = {}
    for precision in ("float32", "bfloat16"):
        scored = in_precision(model, precision)
        plan = _planned(scored, study, directions, 0, on_wide_outputs(function), 0, ())
        rows, n = 1 if study.decided else CHECK_ROWS, loop.count(checked)
        with scoring(scored):
            columns = _joined(_swept(scored, checked, plan, rows, 0, n, None, n))
            sweeps[precision] = _as_sweep(fetched(columns), plan, compared(checked))
    check_ranks(sweeps["bfloat16"], sweeps["float32"])


def _check_settings(batch_size: int | str, shards: Path | None, fingerprint: str) -> None:
    if shards and not fingerprint:
        raise InfluenceError(
            "Shards were requested without a fingerprint, so those of other samples could be taken for these. Expected "
            "fingerprint=, a text that changes with the samples' content."
        )
    if batch_size != "auto" and int(batch_size) < 1:
        raise InfluenceError(f"The batch size is {batch_size}; expected a whole number from 1 on, or 'auto'.")


def _rows(model: nn.Module, samples: Dataset, plan: Plan, batch_size: int | str) -> int:
    """Samples a pass."""
    if plan.study.decided:
        return 1
    if batch_size == "auto":
        return probed_batch_size(model, samples, plan.loss, plan.study.layouts)
    return int(batch_size)


def _report(on_progress: Report | None, done: int, total: int) -> None:
    if on_progress:
        on_progress("sweep", done, total)
