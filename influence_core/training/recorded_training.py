"""Training a model again while recording every sample, epoch by epoch.

The weights of a finished model do not show how they were learned. So a copy is trained by train.py, as the recipe says
from new or from the existing weights. Each epoch is recorded as it ends: every sample's loss and margin at its training
step, and its layer-aware influence on the validation loss at the end of the epoch (about one inference pass). After a
stop the training continues from the last whole epoch.
"""

from pathlib import Path
from typing import Any

from influence_core.inputs import facts as identity
from influence_core.inputs.described import adapted
from influence_core.models import OpenedModel
from influence_core.scores.influence.layer_aware import layer_aware_influence
from influence_core.system.report import Report
from influence_core.training.recipe import Recipe, starting_model, suggested
from influence_core.training.recorder import Recorder, Recording, open_recording
from influence_core.training.train import Epoch, train


def recording_recipe(parameters: int, n: int) -> Recipe:
    """`suggested`, but at least eight epochs: a curve of five points shows little."""
    recipe = suggested(parameters, n)
    return Recipe(**{**recipe.to_json(), "epochs": max(8, recipe.epochs)})


def record_training(
    model: OpenedModel,
    samples: Any,
    val: Any,
    folder: Path | str,
    *,
    recipe: Recipe | None = None,
    on_progress: Report | None = None,
) -> Recording:
    """Train a copy of the model and record it; the model stays unchanged.

    Args:
        samples, val: training samples, in the order of the run, and those that influence is measured on.
        folder: folder of the recording; `recording_folder(run.path)` for the Dynamics page. An unfinished recording is
            continued.
        recipe: default: recording_recipe.

    Raises:
        RunError: the folder holds another recording. InfluenceError: as train.
    """
    recipe = recipe or recording_recipe(sum(p.numel() for p in model.parameters()), len(samples))
    samples = adapted(samples)
    names = identity.class_names(model, samples)
    labels = [names[label] for label in samples.labels]
    recorder = Recorder(folder, samples.ids, labels, settings=recipe.to_json())
    learner = starting_model(model, recipe)
    assert isinstance(learner, OpenedModel)
    held_out = identity.in_model_format(val, learner)
    in_format = identity.in_model_format(samples, learner)

    def write(epoch: Epoch) -> None:
        if epoch.number <= recorder.epochs:
            return  # a resumed training reports its earlier epochs again
        rows = range(len(samples))
        influence = layer_aware_influence(learner, in_format, held_out)
        recorder.numbers(rows, loss=epoch.losses, margin=epoch.margins, influence=influence)
        recorder.end_epoch()

    checkpoint = recorder.folder / "checkpoint.pt"
    train(learner, samples, recipe, checkpoint=checkpoint, on_progress=on_progress, on_epoch=write)
    recorder.close()
    return open_recording(folder)
