"""Is every gradient of this model seen, and how? Three samples are compared with autograd before a sweep.

The engine cannot know that an operation hides its parameters (compiled code, an autograd function of one's own), or
that samples of a batch influence each other. So the model is run on two and three samples to find the axes that count
them (sample_axes.py), each of three samples is run alone (another loss means that samples mix: refused), and the
engine's gradients are compared with autograd's, parameter by parameter. A parameter that differs is scored by one
backward pass a sample: exact, slowest, and reported. So is every parameter of a model that decides by what its batch
holds (`if x.mean() > 0`): it is scored with batches of one. In float32 a difference is judged again in float64, since
rounding alone may turn a ReLU over: one unit of 512 is several per cent of a gradient.
"""

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, Subset

from influence_core.engine import batches as loop
from influence_core.engine.losses import Loss, checked
from influence_core.engine.oracle import per_sample_gradients
from influence_core.engine.readings.parameter_totals import Book
from influence_core.engine.rules.factors import Dense, Factor, samples_of, written_out
from influence_core.engine.watching.nested import tensors_in
from influence_core.engine.watching.sample_axes import Key, Layouts, compared
from influence_core.engine.watching.watch import Watch, scoring, trainable
from influence_core.errors import LayerError

ROWS = 3
WITHIN = {torch.float32: 1e-4, torch.float64: 1e-9}
"""Largest difference in one parameter, as a share of the sample's whole gradient; in a loss, of 1 + the loss."""
AT_ONCE = 4_000_000
"""Numbers of written-out gradients up to which all samples are compared at once (16 MB); else one after another. All
three of stock ResNet-18 at once took 316 MB, four times a training pass; of ConvNeXt 674 MB."""
NOTHING = {torch.float32: 1e-6, torch.float64: 1e-12}
"""A whole gradient below this is rounding (the loss of a sample that is certain) and is not told from zero."""


@dataclass(frozen=True, slots=True)
class Study:
    """What was found about a model: sample axes, the way to each parameter's gradient, and who needs a pass alone."""

    layouts: Layouts
    ways: Mapping[str, str]
    alone: tuple[str, ...]
    decided: str = ""
    """How the model turns its batch into a decision (then every sample is scored as a batch of its own), or nothing."""


def studied(model: nn.Module, samples: Dataset, loss: Loss) -> Study:
    """Look at a model with a few samples; it comes back as it was.

    Raises:
        LayerError: samples of a batch influence each other, by the name of the first module where they do.
    """
    n = loop.count(samples)
    if n == 0:
        return Study(Layouts({}), {}, ())
    few = Subset(samples, [row % n for row in range(ROWS)])
    layouts, decided = _looked(model, few, loss)
    if decided:
        names = tuple(trainable(model))
        return Study(layouts, dict.fromkeys(names, "alone"), names, decided)
    numbers = sum(value.numel() for value in trainable(model).values())
    ways, wrong = _compared(model, few, loss, layouts, step=ROWS if ROWS * numbers <= AT_ONCE else 1)
    if wrong and loop.home(model)[1] == torch.float32:
        ways, wrong = _compared(copy.deepcopy(model).double(), few, loss, layouts, step=1)
    mixing = wrong.pop("", None)
    if mixing is not None:
        raise LayerError(mixing_message(model, few, mixing))
    return Study(layouts, {**ways, **dict.fromkeys(wrong, "alone")}, tuple(sorted(wrong)))


def _looked(model: nn.Module, few: Dataset, loss: Loss) -> tuple[Layouts, str]:
    """Sample axes, and how the model decides by its batch, if it does."""
    spread: frozenset[Key] = frozenset()
    while True:
        two, three = [_watched(model, Subset(few, range(b)), loss, spread) for b in (2, ROWS)]
        layouts = compared(two.sightings, three.sightings)
        if layouts.spread() <= spread:  # what a repeated parameter meets next is only now seen as it will be
            other = {seen.key for seen in two.sightings} ^ {seen.key for seen in three.sightings}
            return layouts, two.decided or three.decided or ("its own operations" if other else "")
        spread |= layouts.spread()


def _watched(model: nn.Module, few: Dataset, loss: Loss, spread: frozenset[Key]) -> Watch:
    named = trainable(model)
    (batch,) = loop.batches(few, loop.count(few), like=model)
    with scoring(model), torch.enable_grad():
        watch = Watch(named, batch.inputs, None, lambda use: None, lambda use, ds: None, spread)
        with _placed(model, watch), watch:
            loss(loop.forward(model, batch.inputs), batch.labels)
    return watch


@contextmanager
def _placed(model: nn.Module, watch: Watch) -> Iterator[None]:
    """Tell the watch which module is at work, so that a refusal can name it."""
    stack: list[str] = []

    def enter(path: str) -> Any:
        def note(module: nn.Module, args: Any) -> None:
            stack.append(path)
            watch.where = path

        return note

    def leave(module: nn.Module, args: Any, output: Any) -> None:
        stack.pop()
        watch.where = stack[-1] if stack else ""

    handles = []
    for path, module in model.named_modules():
        handles += [module.register_forward_pre_hook(enter(path)), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _compared(
    model: nn.Module, few: Dataset, loss: Loss, layouts: Layouts, step: int = ROWS
) -> tuple[dict[str, str], dict[str, float]]:
    """Ways by parameter, and how far off each parameter is that differs; under "" the losses, if samples mix.

    Gradients are written out for `step` samples at once and forgotten parameter by parameter.
    """
    dtype, named = loop.home(model)[1], trainable(model)
    with scoring(model), torch.enable_grad():
        with _asked(named):
            alone = [
                checked(loss(loop.forward(model, b.inputs), b.labels), 1)
                for b in loop.batches(few, 1, like=model)
            ]
        single, wrong, ways = torch.cat([value.detach() for value in alone]), {}, {}
        for low in range(0, ROWS, step):
            truth = _truth(model, named, Subset(few, range(low, low + step)), loss)
            losses, errors, ways = _by_engine(model, few, loss, layouts, truth, low)
            apart = float(((losses - single).abs() / (1 + single.abs())).max())
            shares = _shares(truth, errors, NOTHING.get(dtype, 1e-3)) | {"": apart}
            within = WITHIN.get(dtype, 1e-2)
            wrong.update({name: share for name, share in shares.items() if not share <= within})
            del truth  # before the next sample's is written out: both at once were 86 MB of stock ResNet-18
    return ways, wrong


def _truth(
    model: nn.Module, named: Mapping[str, nn.Parameter], few: Dataset, loss: Loss
) -> Mapping[str, Tensor]:
    """Gradients (step, *shape) by parameter, every sample alone through autograd."""
    try:
        with _asked(named):
            return per_sample_gradients(model, few, loss)
    except RuntimeError:  # the engine may know the place and the way out, so it speaks first
        return {name: value.new_zeros(0, *value.shape) for name, value in named.items()}


@contextmanager
def _asked(named: Mapping[str, nn.Parameter]) -> Iterator[None]:
    """Parameters that ask for gradients, as in training: else torch takes a short cut of its own through encoders."""
    try:
        for value in named.values():
            value.requires_grad_(True)
        yield
    finally:
        for value in named.values():
            value.requires_grad_(False)


def _shares(truth: Mapping[str, Tensor], errors: Mapping[str, Tensor], nothing: float) -> dict[str, float]:
    """Largest error of each parameter, as a share of a sample's whole gradient; one that was not found is all error."""
    sizes = {name: g.reshape(len(g), -1).norm(dim=1) for name, g in truth.items()}
    whole = torch.stack(list(sizes.values())).norm(dim=0).clamp_min(nothing)
    return {name: float((errors.get(name, size) / whole).max()) for name, size in sizes.items()}


def _by_engine(
    model: nn.Module, few: Dataset, loss: Loss, layouts: Layouts, truth: Mapping[str, Tensor], low: int
) -> tuple[Tensor, dict[str, Tensor], dict[str, str]]:
    """Losses (b,), how far the gradients of the samples from `low` on are from the truth (step,), and their ways."""
    named = {name: value for name, value in model.named_parameters() if name in truth}
    shapes = {name: tuple(value.shape) for name, value in named.items()}

    def error(name: str, factor: Factor, at: int) -> Tensor:
        first, last = max(low, at), min(low + len(truth[name]), at + samples_of(factor))
        own = truth[name][first - low : max(first, last) - low]
        if not len(own):
            return own.new_zeros(0)
        g = written_out(factor, shapes[name], first - at, last - at)
        anew = not isinstance(factor, Dense)  # written for us alone, so the difference can take its place
        apart = g.sub_(own) if anew else g - own
        return apart.reshape(len(own), -1).norm(dim=1)

    book = Book(shapes, ROWS, read=error, join=torch.cat)
    (batch,) = loop.batches(few, ROWS, like=model)
    watch = Watch(named, batch.inputs, layouts, book.called, book.receive)
    with watch:
        losses = loss(loop.forward(model, batch.inputs), batch.labels)
    losses = checked(losses, ROWS)
    if losses.requires_grad:  # the sweep itself says what it means when not
        losses.sum().backward()
        book.close(watch.leaves)
    return losses.detach(), book.found, book.ways


def mixing_message(model: nn.Module, few: Dataset, share: float) -> str:
    """The sentence for a model whose samples are not independent, with the first module where it shows."""
    together, alone = [
        _outputs(model, batches) for batches in (_as_one(model, few), loop.batches(few, 1, like=model))
    ]
    place = next(
        (path for path, values in alone.items() if not _same_rows(together.get(path), values)),
        "the model itself",
    )
    return (
        f"A sample's loss depends on the other samples of its batch (off by {share:.1%}), first seen in '{place}': "
        "then the gradient of one sample does not exist. Expected layers that treat each sample alone: BatchNorm with "
        "running statistics, no mean over the batch, one row a sample. Replace that layer, for example by GroupNorm."
    )


def _as_one(model: nn.Module, few: Dataset) -> Any:
    return loop.batches(few, ROWS, like=model)


def _outputs(model: nn.Module, batches: Any) -> dict[str, list[Tensor]]:
    """First tensor that each module returned, batch by batch, in the order of the modules' ends."""
    kept: dict[str, list[Tensor]] = {}

    def listener(path: str) -> Any:
        def keep(module: nn.Module, args: Any, output: Any) -> None:
            kept.setdefault(path, []).extend(tensors_in(output)[:1])

        return keep

    handles = [module.register_forward_hook(listener(path)) for path, module in model.named_modules() if path]
    try:
        with scoring(model), torch.no_grad():
            for batch in batches:
                loop.forward(model, batch.inputs)
    finally:
        for handle in handles:
            handle.remove()
    return kept


def _same_rows(together: list[Tensor] | None, alone: list[Tensor]) -> bool:
    """Whether a module's output for the whole batch is those for its samples, wherever they can be compared."""
    if together is None or len(together) * ROWS != len(alone) or not alone:
        return True
    whole, rows = together[0], torch.cat(alone[:: len(together)])
    return whole.shape != rows.shape or torch.allclose(whole, rows, rtol=1e-3, atol=1e-4)
