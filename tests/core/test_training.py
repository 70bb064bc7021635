"""Laws of training: a recipe is all it depends on, and nothing else is changed by it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from influence_core.data import samples_from_arrays
from influence_core.errors import Cancelled, ModelError
from influence_core.models import OpenedModel, Preprocessing, build_network
from influence_core.training import Recipe, accuracy, augmented, predict, train
from tests.pictures import pixels

RECIPE = Recipe(epochs=3, batch_size=16, learning_rate=1e-2, seed=1)


def samples(n: int = 65):
    labels = np.arange(n) % 2
    images = np.stack([pixels("dark" if label else "bright", seed) for seed, label in enumerate(labels)])
    return samples_from_arrays(images, labels, classes=("bright", "dark"))


def fresh(architecture: str = "small_cnn", seed: int = 0) -> OpenedModel:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build_network(architecture, classes=2, channels=1, size=(8, 8))
    pre = Preprocessing(channels=1, size=(8, 8), mean=(0.5,), std=(0.5,))
    return OpenedModel(network, classes=("bright", "dark"), preprocessing=pre, architecture=architecture)


def trained(recipe: Recipe, **options) -> OpenedModel:
    model = fresh()
    train(model, samples(), recipe, **options)
    return model


@pytest.mark.parametrize("augment", [False, True])
def test_the_same_recipe_gives_the_same_bits(augment):
    recipe = replace(RECIPE, augment=augment)
    torch.manual_seed(1)
    first = trained(recipe).fingerprint
    torch.manual_seed(2)
    np.random.seed(3)
    assert trained(recipe).fingerprint == first, "training must not depend on the global random state"


def test_every_part_of_the_recipe_matters():
    changes = ({}, {"seed": 2}, {"epochs": 4}, {"batch_size": 8}, {"learning_rate": 2e-2})
    changes += ({"weight_decay": 0.5}, {"optimizer": "sgd"}, {"augment": True})
    prints = {trained(replace(RECIPE, **change)).fingerprint for change in changes}
    assert len(prints) == len(changes)


def test_it_learns():
    model = trained(RECIPE)
    assert accuracy(model, samples()) > 0.95
    probabilities = predict(model, samples(), batch_size=7)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(65))
    torch.testing.assert_close(probabilities, predict(model, samples(), batch_size=65), rtol=1e-4, atol=1e-5)


def test_training_changes_no_state_but_the_weights():
    model = fresh().eval()
    torch.manual_seed(7)
    expected = torch.rand(2)
    torch.manual_seed(7)
    train(model, samples(), RECIPE)
    assert torch.equal(torch.rand(2), expected), "the global random state was moved"
    assert not torch.are_deterministic_algorithms_enabled()
    assert not model.training
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_state_is_given_back_when_a_person_cancels():
    model = fresh().eval()

    def cancel(stage: str, done: int, total: int) -> None:
        raise Cancelled("stop")

    with pytest.raises(Cancelled):
        train(model, samples(), RECIPE, on_progress=cancel)
    assert not model.training
    assert not torch.are_deterministic_algorithms_enabled()


def test_progress_counts_every_step_and_epochs_are_told():
    steps, epochs = [], []
    trained(
        RECIPE,
        on_progress=lambda stage, done, total: steps.append((stage, done, total)),
        on_epoch=lambda epoch, loss: epochs.append((epoch, loss)),
    )
    assert steps == [("train", step + 1, 15) for step in range(15)]
    assert [epoch for epoch, _ in epochs] == [1, 2, 3]
    assert epochs[2][1] < epochs[0][1], "the loss must fall"


def test_frozen_parameters_stay():
    model = fresh("mlp")
    model.network.hidden1.weight.requires_grad_(False)
    before = model.network.hidden1.weight.clone()
    train(model, samples(), RECIPE)
    assert torch.equal(model.network.hidden1.weight, before)


def test_a_last_batch_of_one_sample_does_not_break_batch_norm():
    model = fresh()
    train(model, samples(17), replace(RECIPE, epochs=1))


def test_augmentation_only_mirrors_and_shifts():
    torch.manual_seed(0)
    inputs = torch.zeros(64, 2, 9, 9)
    inputs[:, 0, 4, 4] = 1
    moved = augmented(inputs)
    assert moved.shape == inputs.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(64)), "the one bright pixel must stay in the picture"
    assert moved[:, 1].sum() == 0
    assert len({tuple(picture.nonzero()[0].tolist()) for picture in moved}) > 15


def test_impossible_recipes_are_refused_and_divergence_is_named():
    with pytest.raises(ModelError, match="must be positive"):
        Recipe(epochs=0)
    with pytest.raises(ModelError, match="'adam'"):
        Recipe(optimizer="adam")  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="diverged"):
        trained(replace(RECIPE, learning_rate=1e30, optimizer="sgd"))
