"""How is a model trained here? Small, seeded and honest: the same recipe gives the same weights, bit for bit.

Used to make the sample data and to verify repairs by training again. One loop: shuffled batches of nearly
equal size, cross entropy, AdamW or SGD, a cosine schedule down to zero, no early stopping: the last epoch
counts. Bit for bit holds on one machine with one number of threads; other hardware may round differently.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from influence_core.data.samples import Samples
from influence_core.errors import ModelError
from influence_core.models.opened import OpenedModel
from influence_core.models.preprocessing import fitted

SHIFT = 2  # pixels that augmentation moves a picture at most


@dataclass(frozen=True)
class Recipe:
    """How to train. learning_rate is the highest one; the cosine schedule ends at zero."""

    epochs: int = 10
    batch_size: int = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    seed: int = 0
    augment: bool = False

    def __post_init__(self):
        if self.epochs < 1 or self.batch_size < 1 or self.learning_rate <= 0 or self.weight_decay < 0:
            raise ModelError(
                f"{self} cannot be followed: epochs, batch_size and learning_rate must be positive."
            )
        if self.optimizer not in ("adamw", "sgd"):
            raise ModelError(f"No optimizer is called {self.optimizer!r}; expected adamw or sgd.")


def train(
    model: OpenedModel,
    samples: Samples,
    recipe: Recipe,
    on_progress: Callable[[str, int, int], None] | None = None,
    on_epoch: Callable[[int, float], None] | None = None,
) -> None:
    """Train the model in place on all samples.

    Args:
        model: Starts from the weights it has; its training or evaluation mode is restored afterwards.
        samples: n training samples; they are fitted to the model's preprocessing here.
        recipe: Seeds shuffling, dropout and augmentation.
        on_progress: Called as ("train", steps done, steps in all) after each step.
        on_epoch: Called as (epochs done, mean loss of the epoch) after each epoch, model in training mode.
    """
    samples = fitted(samples, model.preprocessing)
    steps = -(-len(samples) // recipe.batch_size)
    order = np.random.default_rng(recipe.seed)
    was_training = model.training
    with reproducible(recipe.seed):
        optimizer = make_optimizer(model, recipe)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs * steps)
        model.train()
        try:
            for epoch in range(recipe.epochs):
                loss = 0.0
                # Parts of nearly equal size: a last batch of one sample would break batch norm.
                for step, positions in enumerate(np.array_split(order.permutation(len(samples)), steps)):
                    loss += train_step(model, samples, positions, optimizer, recipe) * len(positions)
                    schedule.step()
                    if on_progress:
                        on_progress("train", epoch * steps + step + 1, recipe.epochs * steps)
                if on_epoch:
                    on_epoch(epoch + 1, loss / len(samples))
        finally:
            model.zero_grad(set_to_none=True)
            model.train(was_training)


def train_step(
    model: nn.Module,
    samples: Samples,
    positions: np.ndarray,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
) -> float:
    """One descent step on a batch; returns its mean loss before the step."""
    inputs, labels = samples.batch(positions)
    device = next(model.parameters()).device
    inputs = augmented(inputs) if recipe.augment and inputs.dim() == 4 else inputs
    loss = nn.functional.cross_entropy(model(inputs.to(device)), labels.to(device))
    if not torch.isfinite(loss):
        raise ModelError(
            f"Training diverged: the loss became {loss.item()}. Lower the learning rate ({recipe})."
        )
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.item()


def make_optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        parameters, lr=recipe.learning_rate, momentum=0.9, weight_decay=recipe.weight_decay
    )


def augmented(inputs: torch.Tensor) -> torch.Tensor:
    """Mirror half of the pictures and shift each by up to SHIFT pixels, (b, c, h, w) -> same shape."""
    b, c, h, w = inputs.shape
    mirrored = torch.where(torch.rand(b, 1, 1, 1) < 0.5, inputs.flip(3), inputs)
    padded = nn.functional.pad(mirrored, [SHIFT] * 4)
    rows = torch.arange(h) + torch.randint(0, 2 * SHIFT + 1, (b, 1))
    columns = torch.arange(w) + torch.randint(0, 2 * SHIFT + 1, (b, 1))
    picture, channel = torch.arange(b).view(b, 1, 1, 1), torch.arange(c).view(1, c, 1, 1)
    return padded[picture, channel, rows.view(b, 1, h, 1), columns.view(b, 1, 1, w)]


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """Seed torch and demand deterministic operations; give both back as they were."""
    was_on = torch.are_deterministic_algorithms_enabled()
    was_warning = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(was_on, warn_only=was_warning)


@torch.no_grad()
def predict(model: OpenedModel, samples: Samples, batch_size: int = 256) -> torch.Tensor:
    """Return class probabilities (n, classes) float32 in evaluation mode; the mode is restored."""
    samples = fitted(samples, model.preprocessing)
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        parts = np.array_split(np.arange(len(samples)), -(-len(samples) // batch_size))
        return torch.cat([model(samples.batch(part)[0].to(device)).softmax(1).cpu() for part in parts])
    finally:
        model.train(was_training)


def accuracy(model: OpenedModel, samples: Samples) -> float:
    """Return the share of samples whose most likely class is the given label."""
    return float((predict(model, samples).argmax(1).numpy() == samples.labels).mean())
