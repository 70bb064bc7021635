"""Seeded training of a model: the same recipe gives the same weights, bit for bit.

Used to make the sample data and to verify repairs. One loop: shuffled batches of nearly equal size, cross entropy,
AdamW or SGD, a cosine schedule down to zero. The last epoch counts, or with `patience` the one of lowest validation
loss; test data is never read. Every sample's loss and margin of each epoch are by-products of the forward pass
(recorded by recorder.py). Bit for bit holds on one machine with one number of threads, also after a stop.

A removed sample keeps its position and has weight 0. So all others keep their order, and two trainings differ by the
change alone.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from influence_core.data.samples import Samples
from influence_core.errors import DataError, ModelError
from influence_core.models.opened import OpenedModel
from influence_core.models.preprocessing import preprocessed
from influence_core.system.report import Report
from influence_core.training import resumption as training_state
from influence_core.training.recipe import Recipe

__all__ = ["Epoch", "Recipe", "accuracy", "augmented", "predict", "reproducible", "train"]

SHIFT = 2  # largest shift of a picture by augmentation, in pixels
PRELOAD = 1 << 30  # bytes of decoded inputs kept in memory; decoding again took a tenth of an epoch's time


@dataclass(frozen=True, slots=True)
class Epoch:
    """The record of one epoch, complete after its last step; n training samples in the order of the dataset.

    number: epochs done, from 1; loss: mean over the samples seen, in nats; learning_rate: that of the last step.
    losses, margins: (n,) float32, each sample's loss, and its given label's logit minus the best other one, at its
        training step; NaN for samples of weight 0.
    validation_loss: None without validation samples.
    """

    number: int
    loss: float
    learning_rate: float
    losses: np.ndarray
    margins: np.ndarray
    validation_loss: float | None = None


OnEpoch = Callable[[Epoch], None]


def train(
    model: OpenedModel,
    samples: Samples,
    recipe: Recipe,
    *,
    weights: np.ndarray | None = None,
    validation: Samples | None = None,
    checkpoint: Path | None = None,
    on_progress: Report | None = None,
    on_epoch: OnEpoch | None = None,
) -> None:
    """Train the model in place.

    Args:
        model: Starts from its current weights; its training or evaluation mode is restored afterwards.
        samples: n training samples; they are brought to the model's format here.
        recipe: Seeds shuffling, dropout and augmentation.
        weights: (n,) factor of each sample's loss; 0 leaves a sample out. Default: all 1.
        validation: Samples whose loss is measured after each epoch; recipe.patience needs them to decide when to stop.
        checkpoint: A file rewritten after each epoch and removed at the end. A later call with the same model,
            samples and recipe continues after the last whole epoch, to the same bits as without the stop.
        on_progress: Called as ("train", steps done, steps in all) after each step; may raise Cancelled.
        on_epoch: Called with each Epoch, model in training mode; on resuming also with the earlier epochs.

    Raises:
        DataError: no sample has a weight above 0, or weights of a wrong shape.
        ModelError: the loss became infinite, or patience without validation samples.
    """
    weights, takes_part = checked_weights(weights, len(samples))
    if recipe.patience and validation is None:
        raise ModelError("recipe.patience needs validation samples to decide when to stop: give validation=.")
    source = _Inputs(preprocessed(samples, model.preprocessing))
    steps = -(-int(takes_part.sum()) // recipe.batch_size)
    order = np.random.default_rng(recipe.seed)
    was_training = model.training
    key = training_state.key_of(model, samples, recipe, weights) if checkpoint else ""
    with reproducible(recipe.seed), _channels_last(model, source):
        optimizer = make_optimizer(model, recipe)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
        model.train()
        state = training_state.State(model, optimizer, schedule, checkpoint, key)
        try:
            for earlier in state.resumed():
                order.permutation(len(samples))
                if on_epoch:
                    on_epoch(Epoch(**earlier))
            for number in range(state.epochs_done + 1, recipe.epochs + 1):
                if state.waited_in_vain(recipe.patience):
                    break
                # Drawn over all samples, also those left out: the others keep their order.
                shuffled = order.permutation(len(samples))
                # Parts of nearly equal size: a last batch of one sample would break batch norm.
                parts = np.array_split(shuffled[takes_part[shuffled]], steps)
                losses, margins = np.full((2, len(samples)), np.nan, np.float32)
                rate = 0.0
                for step, part in enumerate(parts):
                    losses[part], margins[part] = train_step(model, source, part, optimizer, recipe, weights)
                    rate = float(schedule.get_last_lr()[0])
                    schedule.step()
                    if on_progress:
                        on_progress("train", (number - 1) * steps + step + 1, recipe.epochs * steps)
                mean = float(np.nanmean(losses, dtype=np.float64))
                held_out = None if validation is None else mean_loss(model, validation)
                epoch = Epoch(number, mean, rate, losses, margins, held_out)
                state.keep(epoch, watched=bool(recipe.patience))
                if on_epoch:
                    on_epoch(epoch)
            state.settle(best=bool(recipe.patience))
        finally:
            model.zero_grad(set_to_none=True)
            model.train(was_training)


def checked_weights(weights: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights (n,) float32 and which samples take part (n,) bool."""
    factors = np.ones(n, np.float32) if weights is None else np.asarray(weights, np.float32)
    if factors.shape != (n,) or not np.isfinite(factors).all() or (factors < 0).any():
        raise DataError(
            f"weights must be {n:,} finite numbers of 0 or more, one a sample; got {factors.shape}."
        )
    if not (factors > 0).any():
        raise DataError("No training sample is left. Keep some samples of at least two classes, then train.")
    return factors, factors > 0


def train_step(
    model: nn.Module,
    samples: "_Inputs",
    positions: np.ndarray,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Take one descent step on a batch; returns each sample's loss and margin (b,) before the step."""
    inputs, labels = samples.batch(positions)
    device = next(model.parameters()).device
    inputs = augmented(inputs) if recipe.augment and inputs.dim() == 4 else inputs
    inputs, labels = inputs.to(device), labels.to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        outputs = model(inputs)
    outputs = outputs.float()
    losses = nn.functional.cross_entropy(outputs, labels, reduction="none")
    loss = (losses * torch.from_numpy(weights[positions]).to(device)).mean()
    if not torch.isfinite(loss):
        raise ModelError(
            f"Training diverged: the loss became {loss.item()}. Lower the learning rate ({recipe})."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return losses.detach().cpu().numpy(), margins_of(outputs.detach(), labels).cpu().numpy()


def margins_of(outputs: Tensor, labels: Tensor) -> Tensor:
    """The given label's logit minus the largest other one, (b, c), (b,) -> (b,); negative: another class wins."""
    given = outputs.gather(1, labels[:, None]).squeeze(1)
    others = outputs.scatter(1, labels[:, None], -torch.inf)
    return given - others.max(1).values


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=rate, weight_decay=decay)
    return torch.optim.SGD(parameters, lr=rate, momentum=0.9, weight_decay=decay)


def augmented(inputs: Tensor) -> Tensor:
    """Mirror half of the pictures and shift each one by up to SHIFT pixels, (b, c, h, w) -> same shape."""
    b, c, h, w = inputs.shape
    mirrored = torch.where(torch.rand(b, 1, 1, 1) < 0.5, inputs.flip(3), inputs)
    padded = nn.functional.pad(mirrored, [SHIFT] * 4)
    rows = torch.arange(h) + torch.randint(0, 2 * SHIFT + 1, (b, 1))
    columns = torch.arange(w) + torch.randint(0, 2 * SHIFT + 1, (b, 1))
    picture, channel = torch.arange(b).view(b, 1, 1, 1), torch.arange(c).view(1, c, 1, 1)
    return padded[picture, channel, rows.view(b, 1, h, 1), columns.view(b, 1, 1, w)]


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch and require deterministic operations; restore both afterwards.

    New memory is not filled first: that took a tenth of the time, and only makes reads of uninitialised memory repeat.
    """
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    filling: Any = torch.utils.deterministic  # its one attribute is a property that pyright does not see
    was_filling = filling.fill_uninitialized_memory
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        filling.fill_uninitialized_memory = False
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_on, warn_only=was_warning)
            filling.fill_uninitialized_memory = was_filling


@torch.no_grad()
def predict(model: OpenedModel, samples: Samples, batch_size: int = 256) -> Tensor:
    """Return class probabilities (n, classes) float32 in evaluation mode; the mode is restored."""
    samples = preprocessed(samples, model.preprocessing)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        parts = np.array_split(np.arange(len(samples)), -(-len(samples) // batch_size))
        return torch.cat([model(samples.batch(part)[0].to(device)).softmax(1).cpu() for part in parts])
    finally:
        model.train(was_training)


def mean_loss(model: OpenedModel, samples: Samples) -> float:
    """Return the mean loss of the given labels, in nats."""
    given = predict(model, samples)[torch.arange(len(samples)), torch.from_numpy(samples.labels)]
    return float(-given.clamp_min(1e-12).log().mean())


def accuracy(model: OpenedModel, samples: Samples) -> float:
    """Return the share of samples whose most likely class is the given label."""
    return float((predict(model, samples).argmax(1).numpy() == samples.labels).mean())


class _Inputs:
    """Batches of a dataset, decoded once if they fit in memory."""

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        first = samples.batch([0])[0]
        fits = first.nbytes * len(samples) <= PRELOAD
        self.decoded = samples.batch(range(len(samples)))[0] if fits else None
        self.pictures = first.dim() == 4

    def batch(self, positions: np.ndarray) -> tuple[Tensor, Tensor]:
        if self.decoded is None:
            return self.samples.batch(positions)
        return self.decoded[torch.from_numpy(positions)], torch.from_numpy(self.samples.labels[positions])


@contextmanager
def _channels_last(model: nn.Module, inputs: _Inputs) -> Iterator[None]:
    """Store pictures and weights channels last: a fifth less time on a CPU, and different rounding."""
    if not inputs.pictures:
        yield
        return
    model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    if inputs.decoded is not None:
        inputs.decoded = inputs.decoded.contiguous(memory_format=torch.channels_last)
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
