"""Study of a model before a sweep: three samples are compared with autograd, parameter by parameter.

The engine cannot know that an operation hides its parameters (compiled code, a custom autograd function), or that
samples of a batch influence each other. So it takes three steps, once the same batch has given the same outputs twice
(repeats.py):

    1. The model runs on two and on three samples, to find the axes that count them (sample_axes.py).
    2. Each of the three samples runs alone. Another loss means that samples mix, and the model is refused.
    3. The engine's gradients are compared with autograd's.

A parameter whose gradient differs is scored by one backward pass a sample: exact, slowest, and reported. So is every
parameter of a model that branches on the numbers of its batch (`if x.mean() > 0`): it is scored in batches of one.
A difference in float32 is measured again in float64, since rounding alone may flip a ReLU: one unit of 512 is several
per cent of a gradient.
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, checked_losses, losses_of
from influence_core.engine.oracle import NO_GRADIENT, per_sample_gradients
from influence_core.engine.readings.parameter_totals import Book
from influence_core.engine.repeats import ROWS, check_repeats
from influence_core.engine.rules.factors import Dense, Factor, samples_of, written_out
from influence_core.engine.watching.nested import tensors_in
from influence_core.engine.watching.sample_axes import Key, Layouts, compared
from influence_core.engine.watching.watch import Watch, heard_calls, requiring_gradients, scoring, trainable
from influence_core.errors import LayerError, ModelError

WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest error allowed: of a parameter, as a share of the sample's whole gradient; of a loss, of 1 + loss."""
AT_ONCE = 4_000_000
"""Numbers of written-out gradients up to which all samples are compared at once (16 MB); else one after another. All
three at once took 316 MB on stock ResNet-18, four times a training pass, and 674 MB on ConvNeXt."""
NOTHING = {torch.float32: 1e-6, torch.float64: 1e-12}
"""Length below which a whole gradient counts as zero: that of a sample predicted with certainty is only rounding."""


@dataclass(frozen=True, slots=True)
class Study:
    """Facts about a model: sample axes, ways to the parameters' gradients, and parameters that need separate passes."""

    layouts: Layouts
    ways: Mapping[str, str]
    alone: tuple[str, ...]
    decided: str = ""
    """Operation by which the model branches on its batch, or empty. If set, samples are scored in batches of one."""


def study_model(model: nn.Module, samples: Dataset, loss: Loss) -> Study:
    """Study a model with three samples; it is restored afterwards.

    Raises:
        LayerError: samples of a batch influence each other, or the model draws random numbers; names the first module
            where it shows.
        ModelError, DataError: outputs and labels that the loss cannot read.
    """
    n = loop.count(samples)
    if n == 0:
        return Study(Layouts({}), {}, ())
    few = Subset(samples, [row % n for row in range(ROWS)])
    (batch,) = loop.batches(few, ROWS, like=model)
    check_repeats(model, batch)
    layouts, decided = _sample_axes(model, few, loss)
    if decided:
        names = tuple(trainable(model))
        return Study(layouts, dict.fromkeys(names, "alone"), names, decided)
    numbers = sum(value.numel() for value in trainable(model).values())
    ways, wrong = _measured_errors(model, few, loss, layouts, step=ROWS if ROWS * numbers <= AT_ONCE else 1)
    if wrong and loop.home(model)[1] == torch.float32:
        ways, wrong = _measured_errors(copy.deepcopy(model).double(), few, loss, layouts, step=1)
    mixing = wrong.pop("", None)
    if mixing is not None:
        check_repeats(model, batch, thorough=True)
        raise LayerError(mixing_message(model, few, mixing))
    return Study(layouts, {**ways, **dict.fromkeys(wrong, "alone")}, tuple(sorted(wrong)))


def _sample_axes(model: nn.Module, few: Dataset, loss: Loss) -> tuple[Layouts, str]:
    """Sample axes, and the operation by which the model branches on its batch, or empty."""
    spread: frozenset[Key] = frozenset()
    while True:
        two, three = [_watched(model, Subset(few, range(b)), loss, spread) for b in (2, ROWS)]
        layouts = compared(two.sightings, three.sightings)
        if layouts.spread() <= spread:  # else watch again: a repeated parameter changes what follows it
            unmatched = {one.key for one in two.sightings} ^ {one.key for one in three.sightings}
            return layouts, two.decided or three.decided or ("its own operations" if unmatched else "")
        spread |= layouts.spread()


def _watched(model: nn.Module, few: Dataset, loss: Loss, spread: frozenset[Key]) -> Watch:
    """The record of one forward pass in which sample axes are still unknown."""
    named = trainable(model)
    (batch,) = loop.batches(few, loop.count(few), like=model)
    with scoring(model), torch.enable_grad():
        watch = Watch(named, batch.inputs, None, lambda use: None, lambda use, ds: None, spread)
        running = [""]

        def enter(path: str, args: Any) -> None:
            running.append(path)
            watch.where = path

        def leave(path: str, output: Any) -> None:
            running.pop()
            watch.where = running[-1]

        with heard_calls(model.named_modules(), enter, leave), watch:
            losses_of(loss, loop.outputs_of(model, batch), batch)
    return watch


def _measured_errors(
    model: nn.Module, few: Dataset, loss: Loss, layouts: Layouts, step: int
) -> tuple[dict[str, str], dict[str, float]]:
    """Ways by parameter, and the error of each parameter that is off; under "" that of the losses, if samples mix.

    Gradients are written out for `step` samples at once, and freed parameter by parameter.
    """
    dtype, named = loop.home(model)[1], trainable(model)
    with scoring(model), torch.enable_grad():
        with requiring_gradients(named.values()):
            losses_alone = [
                checked_losses(losses_of(loss, loop.outputs_of(model, b), b), 1)
                for b in loop.batches(few, 1, like=model)
            ]
        if not any(value.requires_grad for value in losses_alone):
            raise LayerError(NO_GRADIENT)
        alone, wrong, ways = torch.cat([value.detach() for value in losses_alone]), {}, {}
        for low in range(0, ROWS, step):
            truth = _truth(model, named, Subset(few, range(low, low + step)), loss)
            losses, errors, ways = _engine_errors(model, few, loss, layouts, truth, low)
            loss_error = float(((losses - alone).abs() / (1 + alone.abs())).max())
            shares = _error_shares(truth, errors, NOTHING.get(dtype, 1e-3)) | {"": loss_error}
            tolerance = WITHIN.get(dtype, 1e-2)
            wrong.update({name: share for name, share in shares.items() if not share <= tolerance})
            del truth  # before the next sample's is written out: both at once took 86 MB on stock ResNet-18
    return ways, wrong


def _truth(
    model: nn.Module, named: Mapping[str, nn.Parameter], few: Dataset, loss: Loss
) -> Mapping[str, Tensor]:
    """Gradients (step, *shape) by parameter, every sample alone through autograd."""
    try:
        with requiring_gradients(named.values()):
            return per_sample_gradients(model, few, loss)
    except (
        RuntimeError,
        ModelError,
    ):  # the engine's own error may name the layer and a remedy, so it comes first
        return {name: value.new_zeros(0, *value.shape) for name, value in named.items()}


def _error_shares(
    truth: Mapping[str, Tensor], errors: Mapping[str, Tensor], zero_length: float
) -> dict[str, float]:
    """Largest error of each parameter, as a share of a sample's whole gradient; one without a reading is all error."""
    sizes = {name: g.reshape(len(g), -1).norm(dim=1) for name, g in truth.items()}
    total = torch.stack(list(sizes.values())).norm(dim=0).clamp_min(zero_length)
    return {name: float((errors.get(name, size) / total).max()) for name, size in sizes.items()}


def _engine_errors(
    model: nn.Module, few: Dataset, loss: Loss, layouts: Layouts, truth: Mapping[str, Tensor], low: int
) -> tuple[Tensor, dict[str, Tensor], dict[str, str]]:
    """Losses (b,), errors (step,) by parameter of the gradients of the samples from `low` on, and ways by parameter."""
    named = {name: value for name, value in model.named_parameters() if name in truth}
    shapes = {name: tuple(value.shape) for name, value in named.items()}

    def read_error(name: str, factor: Factor, row: int) -> Tensor:
        first, last = max(low, row), min(low + len(truth[name]), row + samples_of(factor))
        exact = truth[name][first - low : max(first, last) - low]
        if not len(exact):
            return exact.new_zeros(0)
        g = written_out(factor, shapes[name], first - row, last - row)
        is_copy = not isinstance(factor, Dense)  # then the difference can be written in place
        error = g.sub_(exact) if is_copy else g - exact
        return error.reshape(len(exact), -1).norm(dim=1)

    book = Book(shapes, ROWS, read=read_error, join=torch.cat)
    (batch,) = loop.batches(few, ROWS, like=model)
    with Watch(named, batch.inputs, layouts, book.called, book.receive) as watch:
        losses = losses_of(loss, loop.outputs_of(model, batch), batch)
    losses = checked_losses(losses, ROWS)
    if losses.requires_grad:  # if not, the sweep raises the error
        losses.sum().backward()
        book.close(watch.leaves)
    return losses.detach(), book.found, book.ways


def mixing_message(model: nn.Module, few: Dataset, share: float) -> str:
    """Error message for a model whose samples are not independent; names the first module where it shows."""
    together, alone = [_outputs(model, loop.batches(few, rows, like=model)) for rows in (ROWS, 1)]
    off = (path for path, values in alone.items() if not _same_rows(together.get(path), values))
    place = next(off, "the model itself")
    return (
        f"A sample's loss depends on the other samples of its batch (off by {share:.1%}), first seen in '{place}': "
        "then the gradient of one sample does not exist. Expected layers that treat each sample alone: BatchNorm with "
        "running statistics, no mean over the batch, one row a sample. Replace that layer, for example by GroupNorm."
    )


def _outputs(model: nn.Module, batches: Any) -> dict[str, list[Tensor]]:
    """First tensor that each module returned, by path, batch by batch; modules in the order in which they finish."""
    outputs: dict[str, list[Tensor]] = {}

    def keep(path: str, output: Any) -> None:
        outputs.setdefault(path, []).extend(tensors_in(output)[:1])

    parts = [(path, module) for path, module in model.named_modules() if path]
    with heard_calls(parts, after=keep), scoring(model), torch.no_grad():
        for batch in batches:
            loop.outputs_of(model, batch)
    return outputs


def _same_rows(together: list[Tensor] | None, alone: list[Tensor]) -> bool:
    """Whether a module's output for the batch equals those for single samples; True where they cannot be compared."""
    if together is None or len(together) * ROWS != len(alone) or not alone:
        return True
    batch, rows = together[0], torch.cat(alone[:: len(together)])
    return batch.shape != rows.shape or torch.allclose(batch, rows, rtol=1e-3, atol=1e-4)
