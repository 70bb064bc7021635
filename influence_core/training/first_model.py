"""A first model for data that comes without one: a small network, trained in minutes.

Pictures: `small_cnn` on at most 64 x 64 pixels; rows of numbers: `mlp`. Inputs are normalised by the mean and standard
deviation of the training split. The training split is learned as it is (train.py), wrong labels included: the analysis
looks for what the model learned from them. No number was tuned on test data.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from influence_core.data import Dataset
from influence_core.data.appearance import appearance
from influence_core.errors import ModelError
from influence_core.models import OpenedModel, Preprocessing, open_model, save_model
from influence_core.run_files.progress import TRAINING
from influence_core.system import atomic
from influence_core.system.report import Report
from influence_core.training.recipe import Recipe, new_model
from influence_core.training.train import train

SMALLEST, LARGEST = 16, 64
STEPS = 1_500
"""Target number of descent steps: half a minute to three minutes on two cores."""
EPOCHS = (5, 40)
ORIGIN = "trained_on.json"
"""What the network in a folder was trained on: another one is never taken for it."""


def small_network(dataset: Dataset, *, seed: int = 0) -> OpenedModel:
    """Build an untrained network for the dataset; the seed decides its weights."""
    facts = appearance(dataset.train)
    if dataset.train.kind == "array":
        architecture, channels, size = "mlp", facts["features"], None
    else:
        side = min(LARGEST, max(SMALLEST, min(facts["size"])))
        architecture, channels, size = "small_cnn", facts["channels"], (side, side)
    preprocessing = Preprocessing(channels, size, tuple(facts["mean"]), tuple(facts["std"]))
    return new_model(architecture, dataset.classes, preprocessing, seed=seed)


def recipe_for(samples: int, options: Mapping[str, Any]) -> Recipe:
    """A recipe of about STEPS steps, in whole epochs; `options` (keywords of Recipe) take precedence."""
    size = int(options.get("batch_size", 64))
    steps = -(-samples // size)
    epochs = min(EPOCHS[1], max(EPOCHS[0], round(STEPS / steps)))
    return Recipe(**{"epochs": epochs, "batch_size": size, **options})


def trained_model(dataset: Dataset, options: Mapping[str, Any], folder: Path, report: Report) -> OpenedModel:
    """Train a small network and save it in `folder`; one of the same samples and options there is opened instead.

    Args:
        dataset: Its training split is learned as it is.
        options: Keywords of Recipe; may be empty.
        folder: Folder of model.safetensors and model.json.
        report: Called as (stage, done, total); may raise Cancelled.

    Raises:
        ModelError: the folder holds a model that was not trained here.
    """
    weights, origin = folder / "model.safetensors", folder / ORIGIN
    learned = atomic.plain({"samples": dataset.train.fingerprint, "options": dict(options)})
    if weights.exists() and not origin.exists():
        raise ModelError(
            f"{folder} holds a model that was not trained for this run. Choose another folder for the run, or analyse "
            f"with that model: --model {folder}."
        )
    if weights.exists() and atomic.read_json(origin) == learned:
        report(TRAINING[0], 1, 1)
        return open_model(weights)
    recipe = recipe_for(len(dataset.train), options)
    model = small_network(dataset, seed=recipe.seed)
    train(model, dataset.train, recipe, on_progress=lambda _, done, total: report(TRAINING[0], done, total))
    folder.mkdir(parents=True, exist_ok=True)
    weights.unlink(missing_ok=True)  # never one model under the other's name, wherever this is stopped
    atomic.write_json(origin, learned)
    save_model(model, weights)
    return open_model(weights)
