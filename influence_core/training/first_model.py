"""No model yet: which small network can learn this data in minutes, so that a person with only images can start?

Pictures: `small_cnn` on at most 64 x 64 pixels; rows of numbers: `mlp`. Normalised by the training data's own mean and
standard deviation, trained by the recipe of train.py on the training split as it is, wrong labels included: what the
model learned from them is what the analysis looks for. No number of it was tuned on anybody's test data.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from influence_core.data import Dataset
from influence_core.data.appearance import appearance
from influence_core.models import OpenedModel, Preprocessing, build_network, open_model, save_model
from influence_core.run_files.progress import TRAINING
from influence_core.training.train import Recipe, train

SMALLEST, LARGEST = 16, 64
STEPS = 1_500
"""Descent steps that are aimed at: half a minute to three minutes on two cores."""
EPOCHS = (5, 40)


def small_network(dataset: Dataset, *, seed: int = 0) -> OpenedModel:
    """Build an untrained network that fits the dataset, seeded."""
    facts = appearance(dataset.train)
    if dataset.train.kind == "array":
        architecture = "mlp"
        how = Preprocessing(facts["features"], None, tuple(facts["mean"]), tuple(facts["std"]))
    else:
        architecture = "small_cnn"
        side = min(LARGEST, max(SMALLEST, min(facts["size"])))
        how = Preprocessing(facts["channels"], (side, side), tuple(facts["mean"]), tuple(facts["std"]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build_network(
            architecture, classes=len(dataset.classes), channels=how.channels, size=how.size
        )
    return OpenedModel(network, classes=dataset.classes, preprocessing=how, architecture=architecture)


def recipe_for(samples: int, options: Mapping[str, Any]) -> Recipe:
    """About STEPS steps, in whole epochs; `options` are keywords of Recipe and win."""
    size = int(options.get("batch_size", 64))
    steps = -(-samples // size)
    epochs = min(EPOCHS[1], max(EPOCHS[0], round(STEPS / steps)))
    return Recipe(**{"epochs": epochs, "batch_size": size, **options})


def trained_model(
    dataset: Dataset, options: Mapping[str, Any], folder: Path, report: Callable[[str, int, int], None]
) -> OpenedModel:
    """Train a small network and keep it in `folder`; one that was finished there before a stop is opened instead.

    Args:
        dataset: Its training split is learned, as it is.
        options: Keywords of Recipe; may be empty.
        folder: Where model.safetensors and model.json are kept.
        report: Called as (stage, done, total); may raise Cancelled.
    """
    kept = folder / "model.safetensors"
    if kept.exists() and kept.with_name("model.json").exists():
        report(TRAINING[0], 1, 1)
        return open_model(kept)
    recipe = recipe_for(len(dataset.train), options)
    model = small_network(dataset, seed=recipe.seed)
    train(model, dataset.train, recipe, on_progress=lambda _, done, total: report(TRAINING[0], done, total))
    folder.mkdir(parents=True, exist_ok=True)
    save_model(model, kept)
    return model.eval()
